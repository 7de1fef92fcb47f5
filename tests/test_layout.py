"""The walls of the house: imports point upstream, files stay short, notebooks stay clean."""

from __future__ import annotations

import ast
import doctest
import json
import statistics
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import vec2slug_lib

ROOT = Path(__file__).parents[1]
LIBRARY = sorted((ROOT / "vec2slug_lib").rglob("*.py"))
CHAPTERS = sorted((ROOT / "notebooks" / "chapters").glob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
BENCHMARKS = sorted((ROOT / "benchmarks").glob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ROOMS = sorted(path.parent.name for path in ROOT.glob("vec2slug_lib/*/__init__.py"))
# All that is loaded with what a user imports to make slugs.
INFERENCE_LOADS = {
    "common", "common.private", "common.errors", "common.files", "common.slugs", "common.vectors",
    "common.vocabulary", "common.neighbours", "common.english", "common.graphs",
    "common.workspace", "inference", "inference.scores", "inference.settings",
    "inference.beam_search", "inference.mbr", "inference.steppers", "inference.predictor",
    "inference.index", "inference.rows", "inference.familiarity", "inference.unique",
    "inference.release_folder", "inference.text_words", "inference.text_model",
    "inference.grounding", "inference.text_search",
}  # fmt: skip


def test_only_the_front_door_stands_outside_the_rooms():
    assert [path.name for path in ROOT.glob("vec2slug_lib/*.py")] == ["__init__.py"]


def test_every_room_has_its_contract():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    (layers,) = (c["layers"] for c in contracts["contracts"] if c["type"] == "layers")
    named = {
        name.strip().removeprefix("vec2slug_lib.") for row in layers for name in row.split("|")
    }
    assert named == {*ROOMS, "chapters"}


def test_rooms_say_what_they_are_for():
    for room in ROOMS:
        text = ast.get_docstring(
            ast.parse((ROOT / "vec2slug_lib" / room / "__init__.py").read_text())
        )
        assert text is not None
        assert 5 <= len(text.splitlines()) <= 10, room


def test_tests_mirror_the_rooms():
    folders = {path.parent.name for path in TESTS if path.parent.name != "tests"}
    assert folders == {*ROOMS, "chapters"}


def test_inference_needs_neither_torch_nor_the_rest_of_the_library():
    # None in sys.modules makes an import of that name fail.
    heavy = ["torch", "pandas", "pyarrow", "transformers", "sklearn", "plotly", "openai"]
    code = f"""
import sys
sys.modules.update(dict.fromkeys({heavy}))
import vec2slug_lib.inference
vec2slug_lib.SlugPredictor, vec2slug_lib.Index, vec2slug_lib.slugify
print(*(name.partition(".")[2] for name in sys.modules if name.startswith("vec2slug_lib.")))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert set(run.stdout.split()) <= INFERENCE_LOADS


@pytest.mark.parametrize("name", vec2slug_lib.__all__)
def test_every_name_of_the_front_door_is_there(name):
    assert name in dir(vec2slug_lib)
    found = getattr(vec2slug_lib, name)
    assert found.__name__ == name or name == "load_dataset"
    assert found.__doc__


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(vec2slug_lib.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    names = [alias.name for node in block.body for alias in node.names]
    assert sorted(names) == sorted(vec2slug_lib.__all__)


def test_what_the_front_door_lacks_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'slugifier'"):
        vec2slug_lib.slugifier  # noqa: B018


def test_the_front_doors_example_runs():
    tried = doctest.testmod(vec2slug_lib)
    assert tried.attempted >= 3
    assert not tried.failed


@pytest.mark.parametrize(
    "path",
    [*LIBRARY, *CHAPTERS, *TESTS, *BENCHMARKS],
    ids=lambda path: f"{path.parent.name}/{path.stem}",
)
def test_files_are_short(path):
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines < 400


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_clean(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] for cell in code), "clear all outputs before you commit"
    assert all(cell["execution_count"] is None for cell in code)
    tagged = [cell for cell in code if "parameters" in cell["metadata"].get("tags", [])]
    assert tagged == code[:1], "the first code cell, and no other, has the tag `parameters`"
    assert cells[0]["cell_type"] == "markdown"
    assert "".join(cells[0]["source"]).startswith("# ")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_that_a_reader_sees_are_short(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    shown = [
        len("".join(cell["source"]).splitlines())
        for cell in cells
        if cell["cell_type"] == "code" and "remove-cell" not in cell["metadata"].get("tags", [])
    ]
    assert max(shown) <= 20
    assert statistics.median(shown) <= 8
