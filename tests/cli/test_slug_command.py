"""What people ask of slugs on the command line: formats, ids, pipes, lengths, no slug twice."""

import io
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from vec2slug_lib.cli.main import main
from vec2slug_lib.common.slugs import STOPWORDS, words
from vec2slug_lib.common.vectors import Floats
from vec2slug_lib.inference.predictor import SlugPredictor
from vec2slug_lib.inference.settings import SlugSettings


def run(capsys, *arguments):
    """Exit code, lines of output, and error text of the command."""
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out.splitlines(), captured.err


@pytest.fixture
def rows() -> Floats:
    return np.random.default_rng(0).normal(size=(12, 24)).astype(np.float32)


@pytest.fixture
def table(rows, tmp_path):
    path = tmp_path / "pages.parquet"
    ids = [f"page-{row}" for row in range(len(rows))]
    pd.DataFrame({"id": ids, "title": ids, "embedding": list(rows)}).to_parquet(path)
    return path


def test_an_id_stands_beside_its_slug_and_guesses_are_said(capsys, release, rows, table, tmp_path):
    expected = SlugPredictor.from_dir(release).predict(rows)
    code, lines, error = run(capsys, "--vectors", table, "--model", release)
    assert code == 0
    assert lines == [f"page-{row}\t{slug}" for row, slug in enumerate(expected)]
    assert "embedding" in error
    assert error.startswith("vec2slug: ")
    _, lines, error = run(
        capsys, "--vectors", table, "--model", release, "--json", "--column", "embedding",
        "--id-column", "title",
    )  # fmt: skip
    found = [json.loads(line) for line in lines]
    assert [(line["id"], line["slug"]) for line in found] == [
        (f"page-{row}", slug) for row, slug in enumerate(expected)
    ]
    assert error == ""
    out = tmp_path / "slugs.parquet"
    assert run(capsys, "--vectors", table, "--model", release, "--out", out)[0] == 0
    assert pd.read_parquet(out)["slug"].tolist() == expected


def test_a_row_without_an_id_is_named(capsys, release, rows, tmp_path):
    ids = ["a", "b", None, "d"]
    pd.DataFrame({"id": ids, "embedding": list(rows[:4])}).to_parquet(tmp_path / "rows.parquet")
    code, lines, error = run(capsys, "--vectors", tmp_path / "rows.parquet", "--model", release)
    assert (code, len(lines)) == (2, 2)
    assert "expected an id in each row, but row 2 has no id" in error


def test_no_slug_twice_in_any_order_and_none_that_is_taken(capsys, release, rows, tmp_path):
    rows = rows[[0, 1, 2, 3, 0, 0]]
    np.save(tmp_path / "rows.npy", rows)
    np.save(tmp_path / "back.npy", rows[::-1])
    _, best, _ = run(capsys, "--vectors", tmp_path / "rows.npy", "--model", release)
    (tmp_path / "taken.txt").write_text(f"https://example.org/a/{best[1]}/\n{best[2]}\n")
    asked = ("--model", release, "--unique", "--taken", tmp_path / "taken.txt")
    code, lines, _ = run(capsys, "--vectors", tmp_path / "rows.npy", *asked)
    assert code == 0
    assert len(set(lines)) == 6
    assert not {best[1], best[2]} & set(lines)
    assert best[0] in lines
    _, back, _ = run(capsys, "--vectors", tmp_path / "back.npy", *asked)
    assert sorted(back) == sorted(lines)
    assert back[2:5] == lines[3:0:-1]


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        (["--max-chars", 20], SlugSettings(max_chars=20)),
        (["--max-words", 2], SlugSettings(max_words=2)),
        (["--min-words", 5, "--max-words", 6], SlugSettings(min_words=5, max_words=6)),
        (["--min-words", 9], SlugSettings(min_words=9)),
        (["--stopwords", "drop"], SlugSettings(stopwords="drop")),
    ],
)
def test_lengths_and_stopwords_are_as_asked(capsys, release, rows, tmp_path, options, settings):
    np.save(tmp_path / "rows.npy", rows)
    code, lines, _ = run(capsys, "--vectors", tmp_path / "rows.npy", "--model", release, *options)
    assert code == 0
    assert lines == SlugPredictor.from_dir(release, settings=settings).predict(rows)
    for slug in lines:
        assert len(slug) <= (settings.max_chars or 80)
        least = settings.min_words or min(3, settings.max_words or 3)
        assert len(words(slug)) <= (settings.max_words or max(8, least))
        if settings.stopwords == "drop":
            assert not set(words(slug)) & STOPWORDS
        else:
            assert len(words(slug)) >= least


def test_words_of_a_file_are_left_out(capsys, release, rows, tmp_path):
    np.save(tmp_path / "rows.npy", rows)
    (tmp_path / "words.txt").write_text("The of\na\n")
    _, lines, _ = run(
        capsys, "--vectors", tmp_path / "rows.npy", "--model", release,
        "--stopwords", tmp_path / "words.txt",
    )  # fmt: skip
    assert not {"the", "of", "a"} & {word for line in lines for word in words(line)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["text", "--column", "x"], "--vectors FILE beside --column"),
        (["text", "--max-words", "0"], "max_words of 1 or more, got 0"),
        (["text", "--max-words", "2", "--min-words", "3"], "min_words of at most max_words"),
        (["text", "--stopwords", "nowhere.txt"], "nowhere.txt"),
        (["text", "--taken", "nowhere.txt"], "expected slugs in nowhere.txt"),
        (["text", "--unique", "--top-k", "3"], "one slug a row beside --unique"),
        (["text", "--out", "slugs.csv"], "a file ending in .jsonl, .txt, .parquet"),
        (["text", "--max-chars", "3"], "3 words that fit in 3 characters"),
    ],
)
def test_what_does_not_go_together_is_refused(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, lines, error = run(capsys, *arguments)
    assert (code, lines) == (2, [])
    assert message in error
    assert error.count("\n") == 1


def command(*arguments, **options):
    whole = [sys.executable, "-m", "vec2slug_lib.cli", *map(str, arguments)]
    return subprocess.run(whole, capture_output=True, check=False, **options)


def test_texts_and_vectors_come_through_a_pipe(tmp_path, rows, release):
    texts = ["How bees find their way back", "  ", "A short history of the sewing machine"]
    done = command("-", input="\r\n".join(texts).encode())
    assert done.returncode == 2
    assert done.stdout.decode().count("\n") == 1  # what came before the bad line
    assert b"row 1, but it is empty" in done.stderr
    done = command("-", "--skip-bad", "--json", input="\n".join(texts).encode())
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [bool(line["slug"]) for line in found] == [True, False, True]
    assert "is empty" in found[1]["reason"]
    lines = "\n".join(json.dumps(row.tolist()) for row in rows)
    done = command("--vectors", "-", "--model", release, input=lines.encode())
    assert done.stdout.decode().splitlines() == SlugPredictor.from_dir(release).predict(rows)


def test_a_file_of_texts_goes_on_where_it_was_stopped(capsys, tmp_path, monkeypatch):
    texts = [f"A short history of the {name}" for name in ("lamp", "plough", "loom", "quill")]
    out = tmp_path / "slugs.jsonl"
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join([*texts[:2], " ", *texts[2:]])))
    assert run(capsys, "-", "--out", out)[0] == 2
    assert len((tmp_path / "slugs.jsonl.part").read_text().splitlines()) == 2
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(texts)))
    assert run(capsys, "-", "--out", out)[0] == 0
    found = [json.loads(line)["slug"] for line in out.read_text().splitlines()]
    assert found == run(capsys, *texts)[1]


def test_a_text_that_is_not_english_is_warned_of_once(capsys):
    german = "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit "
    german += "Vernunft und Gewissen begabt und sollen einander im Geist der Brüderlichkeit "
    german += "begegnen."
    code, lines, error = run(capsys, german, german, "How bees find their way back to the hive")
    assert (code, len(lines)) == (0, 3)
    assert error.count("expected English text") == 1
    assert "vec2slug paper" in error
