"""A book that lacks a page of its table is not published."""

import sys
from pathlib import Path

import pytest
import yaml

sys.path.append(str(Path(__file__).parents[1] / "book" / "_ext"))
import pages

ROOT = Path(__file__).parents[1]
TOC = {
    "format": "jb-book",
    "root": "book/intro",
    "parts": [
        {
            "caption": "Chapters",
            "chapters": [{"file": "notebooks/01", "sections": [{"file": "notebooks/02"}]}],
        }
    ],
}
NAMED = ["book/intro", "notebooks/01", "notebooks/02"]


@pytest.fixture
def book(tmp_path):
    """A table of contents, and a folder with all of its pages."""
    for name in NAMED:
        page = tmp_path / "html" / f"{name}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.touch()
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump(TOC))
    return str(tmp_path / "_toc.yml"), str(tmp_path / "html")


def test_a_whole_book(book, capsys):
    assert pages.main(*book) == 0
    assert not capsys.readouterr().err


@pytest.mark.parametrize("name", NAMED)
def test_a_missing_page_is_named(book, capsys, name):
    (Path(book[1]) / f"{name}.html").unlink()
    assert pages.main(*book) == 1
    assert f"names {name}, but" in capsys.readouterr().err


def test_a_table_without_pages(book):
    Path(book[0]).write_text("format: jb-book")
    assert pages.main(*book) == 1


def test_the_books_own_table_names_every_notebook():
    named = set(pages.named(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))))
    notebooks = {f"notebooks/{path.stem}" for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert notebooks <= named
    assert all(any(ROOT.glob(f"{name}.*")) for name in named)
