"""The Batch API against a local server: nothing lost, nothing paid for twice."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from openai_server import OpenAIServer, vector

from vec2slug_lib.cli.main import main
from vec2slug_lib.common import files
from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.embedding import openai_batch
from vec2slug_lib.embedding.openai_batch import BatchJob
from vec2slug_lib.embedding.openai_embedder import OpenAIEmbedder

TEXTS = [f"text {i}" for i in range(25)]
IDS = [f"id {i}" for i in range(25)]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Ten rows a batch, and no pauses."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-0123456789")
    monkeypatch.setattr(openai_batch, "BATCH_ROWS", 10)
    monkeypatch.setattr("time.sleep", lambda seconds: None)


@pytest.fixture
def server():
    with OpenAIServer() as running:
        yield running


def job(server, out, texts=TEXTS):
    embedder = OpenAIEmbedder("local", base_url=server.url, dimensions=8)
    return BatchJob(IDS[: len(texts)], texts, embedder, out)


def check(out):
    expected = np.array([vector(text, 8) for text in TEXTS])
    np.testing.assert_allclose(np.load(out), expected, atol=1e-6)
    assert not out.with_name(f"{out.name}.batches").exists()


def paid(server):
    """How often each text was in a batch that the server has answered in full or in part."""
    answers: Counter[str] = Counter()
    for batch in server.batches.values():
        for line in server.files[batch.get("output_file_id", "")].splitlines():
            answer = json.loads(line)
            answers[answer["custom_id"]] += answer["response"]["status_code"] == 200
    return answers


def test_vectors_come_in_the_order_of_the_texts(server, tmp_path):
    server.looks = 3
    job(server, tmp_path / "out.npy").run()
    check(tmp_path / "out.npy")
    files = [server.files[batch["input_file_id"]] for batch in server.batches.values()]
    assert [len(file.splitlines()) for file in files] == [10, 10, 5]
    job(server, tmp_path / "out.npy").run()  # it is done: nothing is asked for again
    assert len(server.batches) == 3


@pytest.mark.parametrize("ending", ["expire", "errors"])
def test_rows_without_a_vector_are_asked_for_again_and_no_others(server, tmp_path, ending):
    server.endings = ["", ending, ending]
    job(server, tmp_path / "out.npy").run()
    check(tmp_path / "out.npy")
    assert set(paid(server).values()) == {1}


@pytest.mark.parametrize("fault", ["429", "500", "drop"])
def test_passing_faults_at_every_request(server, tmp_path, fault):
    server.faults = [fault, "none", "none"] * 40
    job(server, tmp_path / "out.npy").run()
    check(tmp_path / "out.npy")
    assert set(paid(server).values()) == {1}


def test_a_batch_whose_making_was_not_heard_of_is_found_again(server, tmp_path):
    server.faults = ["none", "lost"]  # the file arrives, the answer to the batch does not
    job(server, tmp_path / "out.npy").run()
    check(tmp_path / "out.npy")
    assert len(server.batches) == 3


class Killed(BaseException):
    """As if the process had been killed."""


@pytest.mark.parametrize("at", range(23))
def test_a_job_that_was_killed_anywhere_goes_on(server, tmp_path, monkeypatch, at):
    server.endings, server.looks = ["expire"], 2
    count, write = iter(range(1000)), files.write_json

    def killing(*arguments):
        if next(count) == at:
            raise Killed
        write(*arguments)

    monkeypatch.setattr(openai_batch, "write_json", killing)
    try:
        job(server, tmp_path / "out.npy").run()
    except Killed:
        monkeypatch.setattr(openai_batch, "write_json", write)
        job(server, tmp_path / "out.npy").run()
    check(tmp_path / "out.npy")
    assert set(paid(server).values()) == {1}


def test_the_command_names_the_cost_and_asks(server, tmp_path, capsys, monkeypatch):
    documents = tmp_path / "documents.parquet"
    pd.DataFrame({"id": IDS, "text": ["word " * 800] * len(IDS)}).to_parquet(documents)
    arguments = ["embed", str(documents), "--embedder", "openai", "--model", "local"]
    arguments += ["--base-url", server.url, "--out", str(tmp_path / "out.npy"), "--wait", "0"]
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert "0.03 million tokens" in told  # 25 texts of 4,000 bytes
    assert "expected --yes" in told
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: "n")
    assert main([*arguments, "--batch", "--price", "1000"]) == 1
    assert "about 12.50 dollars" in capsys.readouterr().err  # half of 0.025 times 1,000
    assert not server.files
    assert not server.requests
    monkeypatch.setattr("builtins.input", lambda question: "y")
    assert main([*arguments, "--batch"]) == 0
    assert np.load(tmp_path / "out.npy").shape == (25, 8)
    assert main(["embed", str(documents), "--batch"]) == 2


@pytest.mark.parametrize("ending", ["", "expire"])
def test_texts_that_were_cut_are_counted_once_as_without_batches(server, tmp_path, ending):
    server.endings = [ending]
    texts = [text * (2000 if i in (0, 9, 17) else 1) for i, text in enumerate(TEXTS)]
    batches = job(server, tmp_path / "out.npy", texts)
    batches.run()
    direct = OpenAIEmbedder("local", base_url=server.url, dimensions=8)
    vectors = direct.embed(texts)
    assert batches.embedder.truncated == direct.truncated == 3
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), vectors, atol=1e-6)


def test_a_row_that_never_gets_a_vector_is_named(server, tmp_path):
    server.endings = ["errors"] * 100
    with pytest.raises(Vec2SlugError, match="expected a vector of row"):
        job(server, tmp_path / "out.npy").run()
    server.endings = []
    assert list((tmp_path / "out.npy.batches").glob("*.npz"))  # what was paid for is there


def test_a_refused_batch_is_explained_and_made_again(server, tmp_path):
    server.endings = ["fail"]
    with pytest.raises(Vec2SlugError, match="bad input"):
        job(server, tmp_path / "out.npy").run()
    job(server, tmp_path / "out.npy").run()
    check(tmp_path / "out.npy")
    assert len(server.batches) == 4


def test_another_jobs_files_are_refused(server, tmp_path):
    job(server, tmp_path / "out.npy").run()
    with pytest.raises(Vec2SlugError, match="got another job's: documents is 20 here and 25 there"):
        job(server, tmp_path / "out.npy", TEXTS[:20])
    with pytest.raises(Vec2SlugError, match=r"\.npy"):
        job(server, tmp_path / "out.bin")
