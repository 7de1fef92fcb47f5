import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vec2slug_lib.cli.main import main
from vec2slug_lib.common.slugs import is_valid


def run(capsys, *arguments):
    """Exit code, lines of output, and error text of the command."""
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out.splitlines(), captured.err


@pytest.fixture
def vectors(tmp_path):
    path = tmp_path / "vectors.npy"
    np.save(path, np.random.default_rng(0).normal(size=(3, 24)).astype(np.float32))
    return path


def test_one_slug_a_row(capsys, release, vectors):
    code, lines, _ = run(capsys, "--vectors", vectors, "--model", release)
    assert code == 0
    assert len(lines) == 3
    assert all(is_valid(line) for line in lines)


def test_candidates_with_scores(capsys, release, vectors):
    _, best, _ = run(capsys, "--vectors", vectors, "--model", release)
    code, lines, _ = run(capsys, "--vectors", vectors, "--model", release, "--top-k", 2)
    assert code == 0
    groups = [group.split("\n") for group in "\n".join(lines).strip().split("\n\n")]
    assert [group[0].split("\t")[0] for group in groups] == best
    for group in groups:
        scores = [float(line.split("\t")[1]) for line in group]
        assert len(group) == 2
        assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.ones((2, 7)), r"expected vectors of shape \[N, 24\], got an array of shape \[2, 7\]"),
        (np.full((1, 24), np.nan), "not finite"),
        (np.zeros((1, 24)), "zero"),
        (np.ones((0, 24)), "at least one row"),
        (np.array([["x"] * 24]), "numbers"),
        (b"", "an empty file"),
        (b"\x93NUMPY\x01", r"bad\.npy, but: "),
        (b"not an array", "a text without a row of numbers"),
        (None, "found no file"),
    ],
)
def test_bad_vectors_give_one_line_and_exit_code_2(capsys, release, tmp_path, content, message):
    path = tmp_path / "bad.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content)
    code, lines, error = run(capsys, "--vectors", path, "--model", release)
    assert code == 2
    assert lines == []
    assert error.startswith("vec2slug: ")
    assert error.count("\n") == 1
    assert re.search(message, error)


@pytest.mark.parametrize("kind", ["rows.jsonl", "rows.csv", "rows.parquet"])
def test_what_came_before_a_bad_row_of_any_file_is_printed(capsys, release, tmp_path, kind):
    rows = np.random.default_rng(0).normal(size=(5, 24)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    _, expected, _ = run(capsys, "--vectors", tmp_path / "rows.npy", "--model", release)
    path, lists = tmp_path / kind, [row.tolist() for row in rows]
    lists[3] = lists[3][:-1]
    if kind == "rows.parquet":
        pd.DataFrame({"embedding": lists}).to_parquet(path)
    else:
        texts = [json.dumps(row)[1:-1] for row in lists]
        path.write_text("\n".join(texts if kind == "rows.csv" else map("[{}]".format, texts)))
    code, lines, error = run(capsys, "--vectors", path, "--model", release)
    assert (code, lines) == (2, expected[:3])
    assert f"{path}: expected vectors of one width, but row 3 has 23 numbers" in error
    out = tmp_path / "out.jsonl"
    assert run(capsys, "--vectors", path, "--model", release, "--out", out)[0] == 2
    assert len((tmp_path / "out.jsonl.part").read_text().splitlines()) == 3
    code, lines, _ = run(capsys, "--vectors", path, "--model", release, "--skip-bad")
    assert (code, lines) == (0, [*expected[:3], "", expected[4]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected a text or --vectors"),
        (["some text", "--vectors", "x.npy"], "expected a text or --vectors"),
        (["text", "--top-k", "0"], "--top-k of 1 or more"),
        (["   "], "expected a text in row 0"),
        (["text", "--index", "no-such-folder"], "expected pairs in no-such-folder"),
        (["--vectors", "x.npy", "--model", "nowhere"], "found no file"),
        (["train", "9z"], "expected experiment to be one of"),
        (["train", "3i", "--preset", "huge"], "expected preset to be one of"),
        (["corpus", "build", "no-such-folder"], "expected parquet, JSON lines or Markdown"),
        (["embed", "no-such-file"], "expected id and text"),
        (["export", "no-such-folder"], "expected a file at"),
    ],
)
def test_bad_calls(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, lines, error = run(capsys, *arguments)
    assert (code, lines) == (2, [])
    assert message in error


def test_released_model_names_texts_without_network(capsys, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # nothing listens there
    texts = ("How bees find their way back to the hive", "A short history of the sewing machine")
    code, lines, _ = run(capsys, *texts)
    assert code == 0
    assert len(set(lines)) == 2
    assert all(is_valid(line) for line in lines)
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(texts) + "\n"))
    assert run(capsys, "-")[1] == lines


def test_from_documents_to_data(capsys, tmp_path, monkeypatch):
    """corpus build, embed, data build: the whole line over real files."""
    monkeypatch.chdir(tmp_path)
    words = "river stone lamp cloud garden winter bridge silver market forest".split()
    rng, rows = np.random.default_rng(0), []
    for i in range(40):
        name = "-".join(rng.permutation(words)[:4])
        text = f"The {name.replace('-', ' and the ')} were seen by many people. "
        text += " ".join(rng.permutation((words + "old new tall small bright dark".split()) * 4))
        rows.append({"url": f"https://e.org/{name}-{chr(97 + i % 26)}{i}x", "text": text})
    with open("raw.jsonl", "w") as file:  # noqa: PTH123
        file.writelines(json.dumps(row) + "\n" for row in rows)
    code, lines, _ = run(capsys, "corpus", "build", "raw.jsonl", "--workers", 1)
    assert code == 0, lines
    kept = int(lines[-1].split()[-1])
    assert kept >= 20
    assert run(capsys, "embed", "work/corpus/documents.parquet")[0] == 0
    assert np.load("work/vectors.npy").shape == (kept, 384)
    assert run(capsys, "data", "build", "--pairs", kept)[0] == 0
    assert len(pd.read_parquet("data/pairs.parquet")) == kept


@pytest.mark.parametrize("option", ["--out", "--vectors", "--pairs"])
def test_pages_of_other_sources_take_no_option_of_the_data_folder(capsys, option):
    with pytest.raises(SystemExit, match="2"):
        main(["data", "left-out", option, "5"])
    assert f"unrecognized arguments: {option} 5" in capsys.readouterr().err


def test_pages_of_other_sources_are_looked_for_in_the_wide_corpus(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("VEC2SLUG_WORK", str(tmp_path))
    code, _, error = run(capsys, "data", "left-out")
    assert code == 2
    assert str(tmp_path / "wide" / "documents.parquet") in error


def test_the_installed_command_and_a_closed_pipe(release, tmp_path):
    np.save(tmp_path / "v.npy", np.ones((50, 24), np.float32))
    command = f"vec2slug --vectors {tmp_path / 'v.npy'} --model {release} | head -1"
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    done = subprocess.run(
        command, shell=True, capture_output=True, text=True, env=environment, check=False
    )
    assert is_valid(done.stdout.strip())
    assert "Traceback" not in done.stderr
