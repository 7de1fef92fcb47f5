"""Commands that ask servers: their options, and what they say of bad texts."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from openai_server import OpenAIServer, vector
from prose import PROSE

from vec2slug_lib.cli import data, paper
from vec2slug_lib.cli.main import main
from vec2slug_lib.cli.options import open_as_asked

TEXTS = [f"text {n}" for n in range(20)]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-key")
    monkeypatch.setattr("time.sleep", lambda seconds: None)


@pytest.fixture
def server():
    with OpenAIServer() as running:
        yield running


def command(server, documents, out, *more):
    given = ["--embedder", "openai", "--model", "local", "--base-url", server.url]
    return ["embed", str(documents), *given, "--yes", "--out", str(out), *more]


def documents(path, texts):
    rows = [{"id": f"id {n}", "url": f"https://e.org/{n}", "text": t} for n, t in enumerate(texts)]
    pd.DataFrame(rows).to_parquet(path)
    return path


def poisoned(body):
    words = {"error": {"message": "unsupported value: NaN"}}
    return (500, words) if any("BAD" in text for text in body["input"]) else None


def test_a_poisoned_text_is_one_line_and_then_skipped(server, tmp_path, capsys):
    server.rule = poisoned
    path = documents(tmp_path / "d.parquet", [*TEXTS, "BAD", "the last"])
    arguments = command(server, path, tmp_path / "o.npy", "--batch-size", "8")
    assert main(arguments) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("vec2slug: expected a vector of row 20 (id id 20), but the server says")
    assert "500 unsupported value: NaN" in told
    sent = len(server.embedded)
    assert main([*arguments, "--skip-bad"]) == 0
    output = capsys.readouterr()
    assert "21 vectors of local" in output.out
    assert f"skipped 1 bad texts, listed in {tmp_path / 'o.npy.bad'}" in output.err
    assert not set(server.embedded[sent:]) & set(TEXTS)
    (line,) = map(json.loads, (tmp_path / "o.npy.bad").read_text().splitlines())
    assert (line["row"], line["id"]) == (20, "id 20")
    found = np.load(tmp_path / "o.npy")
    assert np.isnan(found[20]).all()
    np.testing.assert_allclose(found[21], vector("the last", 8), atol=1e-6)


@pytest.mark.parametrize("more", [[], ["--batch", "--wait", "0"]])
def test_texts_that_are_none_are_one_line_and_then_skipped(server, tmp_path, capsys, more):
    kinds = pa.array([b"good", b"", None, b"\xed\xa0\x80", b"\xff", b"fine"], pa.binary())
    texts = pa.Array.from_buffers(pa.string(), len(kinds), kinds.buffers())
    pq.write_table(pa.table({"id": list("abcdef"), "text": texts}), tmp_path / "d.parquet")
    arguments = command(server, tmp_path / "d.parquet", tmp_path / "o.npy", *more)
    assert main(arguments) == 2
    assert "expected a text in row 1 (id b), but it is empty" in capsys.readouterr().err
    assert main([*arguments, "--skip-bad"]) == 0
    listed = [json.loads(line) for line in (tmp_path / "o.npy.bad").read_text().splitlines()]
    assert "".join(line["id"] for line in listed) == "bcde"
    found = np.load(tmp_path / "o.npy")
    assert np.isnan(found).all(axis=1).tolist() == [False, True, True, True, True, False]


def test_texts_that_are_numbers_are_named(server, tmp_path, capsys):
    path = documents(tmp_path / "d.parquet", [1, 2])
    assert main(command(server, path, tmp_path / "o.npy")) == 2
    assert "expected a text in row 0 (id id 0), but it is no text but 1" in capsys.readouterr().err
    assert main(command(server, path, tmp_path / "o.npy", "--skip-bad")) == 2
    assert "expected a vector of one text at least" in capsys.readouterr().err


def test_the_slugs_of_a_file_with_skipped_rows(server, tmp_path, capsys):
    server.width = 384
    server.rule = poisoned
    path = documents(tmp_path / "d.parquet", ["one text", "BAD", "another text"])
    out = tmp_path / "o.npy"
    assert main(command(server, path, out, "--skip-bad")) == 0
    capsys.readouterr()
    assert main(["--vectors", str(out), "--fast", "--skip-bad"]) == 0
    output = capsys.readouterr()
    assert [bool(line) for line in output.out.splitlines()] == [True, False, True]
    assert "skipped 1 bad rows" in output.err


@pytest.mark.parametrize("name", ["embed", "paper"])
def test_options_of_servers_reach_every_embedder(name, monkeypatch):
    opened = []
    module = {"embed": data, "paper": paper}[name]
    monkeypatch.setattr(module, "embed_file", lambda options, *_: opened.append(options))
    given = ["--embedder", "openai", "--model", "m", "--base-url", "http://127.0.0.1:9/v1",
             "--dimensions", "5", "--batch-size", "7", "--timeout", "3", "--skip-bad"]  # fmt: skip
    if name == "embed":
        data.embed(["d.parquet", *given])
    else:
        opened.append(paper.paper_options(given))
    embedder = open_as_asked(opened[0])
    assert opened[0].skip_bad
    assert (embedder.model, embedder.asked, embedder.limit) == ("m", 5, 7)
    assert (embedder.server, embedder.client.timeout) == ("http://127.0.0.1:9/v1", 3)


def test_options_of_chat_models_reach_both_commands(server, tmp_path):
    path = documents(tmp_path / "d.parquet", [f"Old keeper north {PROSE}."])
    given = ["--base-url", server.url, "--answer-tokens", "900", "--timeout", "5"]
    out = str(tmp_path / "a.jsonl")
    assert main(["baseline", "llm", str(path), "--model", "m", "--out", out, *given]) == 0
    taken = ["--take", f"{path}=1", "--chat", "m", "--yes", "--out", str(tmp_path / "out"), *given]
    assert main(["feasibility", *taken]) == 0
    assert [body["max_tokens"] for body in server.bodies] == [900, 900]


def test_feasibility_asks_before_it_asks_again(server, tmp_path, capsys):
    path = documents(tmp_path / "d.parquet", [f"Old keeper {n} north {PROSE}." for n in range(3)])
    arguments = ["feasibility", "--take", f"{path}=3", "--out", str(tmp_path / "out")]
    arguments += ["--base-url", server.url]
    assert main([*arguments, "--chat", "m", "--yes"]) == 0
    assert main([*arguments, "--chat", "m"]) == 0  # nothing is asked
    assert len(server.bodies) == 3
    assert main([*arguments, "--chat", "other"]) == 2
    assert "3 pages for other: at most about" in capsys.readouterr().err
    assert len(server.bodies) == 3
