"""The Batch API against a local server: nothing lost, nothing paid for twice."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from openai_server import OpenAIServer, vector

from vec2slug_lib.cli.main import main
from vec2slug_lib.common import files
from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.jobs import one_writer
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
    message = (
        r"expected a vector of row \d+ \(id id \d+\), got none in 5 batches: cannot embed this"
    )
    with pytest.raises(Vec2SlugError, match=message):
        job(server, tmp_path / "out.npy").run()
    server.endings = []
    assert list((tmp_path / "out.npy.batches").glob("*.npz"))  # what was paid for is there


def test_rows_that_never_get_a_vector_are_skipped_when_asked_for(server, tmp_path):
    """Beside one that is no text, and one whose vector is not finite."""
    texts = [*TEXTS[:5], None, *TEXTS[6:]]
    server.hopeless = {TEXTS[11]: 500, TEXTS[20]: np.nan}
    embedder = OpenAIEmbedder("local", base_url=server.url, dimensions=8)
    assert BatchJob(IDS, texts, embedder, tmp_path / "out.npy", skip_bad=True).run() == 3
    vectors = np.load(tmp_path / "out.npy")
    assert np.flatnonzero(np.isnan(vectors).any(axis=1)).tolist() == [5, 11, 20]
    listed = [json.loads(line) for line in (tmp_path / "out.npy.bad").read_text().splitlines()]
    assert [(line["row"], line["id"]) for line in listed] == [
        (5, "id 5"),
        (11, "id 11"),
        (20, "id 20"),
    ]
    assert ["no text" in listed[0]["reason"], "cannot" in listed[1]["reason"]] == [True, True]
    assert "is not finite" in listed[2]["reason"]
    good = np.delete(np.arange(25), [5, 11, 20])
    np.testing.assert_allclose(vectors[good], [vector(texts[n], 8) for n in good], atol=1e-6)


def test_a_plan_that_was_half_written_at_a_kill_is_none(server, tmp_path, monkeypatch):
    def killed(path, content):
        path.with_name(f".{path.stem}-x{path.suffix}").write_text("{")
        raise Killed

    write = openai_batch.write_json
    monkeypatch.setattr(openai_batch, "write_json", killed)
    with pytest.raises(Killed):
        job(server, tmp_path / "out.npy").run()
    monkeypatch.setattr(openai_batch, "write_json", write)
    assert any((tmp_path / "out.npy.batches").glob(".*.json"))
    job(server, tmp_path / "out.npy").run()
    check(tmp_path / "out.npy")


def test_one_process_runs_a_job(server, tmp_path):
    with one_writer(tmp_path / "out.npy"), pytest.raises(Vec2SlugError, match="to be alone"):
        job(server, tmp_path / "out.npy").run()
    assert not server.batches


def test_batches_of_the_same_documents_at_another_width_are_not_taken_up(server, tmp_path):
    """Only a job's own: here of one that was killed before it heard of them."""
    count, write = iter(range(1000)), files.write_json
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openai_batch, "write_json", lambda *given: killing(next(count), write, given))
        with pytest.raises(Killed):
            job(server, tmp_path / "a.npy").run()
    embedder = OpenAIEmbedder("local", base_url=server.url, dimensions=5)
    BatchJob(IDS, TEXTS, embedder, tmp_path / "b.npy").run()
    assert np.load(tmp_path / "b.npy").shape == (25, 5)


def killing(number, write, given):
    if number == 3:  # after three plans
        raise Killed
    write(*given)


FULL = """
import sys
from pathlib import Path
from unittest import mock
from vec2slug_lib.embedding.openai_batch import BatchJob
from vec2slug_lib.embedding.openai_embedder import OpenAIEmbedder

ids, texts = [str(n) for n in range(2000)], [f"text {n}" for n in range(2000)]
embedder = OpenAIEmbedder("local", base_url=sys.argv[1], dimensions=8)
out = Path(sys.argv[2]) / "out.npy"
filler = Path(sys.argv[2]) / "filler"
job = BatchJob(ids, texts, embedder, out)
join = job._join

def full():
    with filler.open("wb", 0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    join()

job._join = full
try:
    job.run(0)
except OSError as error:
    print("OSError", error.errno)
print(sorted(path.name for path in out.parent.iterdir() if path.name != ".out.npy.lock"))
filler.unlink()
job._join = join
job.run(0)
print(out.stat().st_size)
"""


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a file system in memory")
def test_a_full_disk_is_an_error_and_nothing_is_lost(server, tmp_path):
    """On a file system of 300 KiB, of which nothing is left for the last step."""
    script = tmp_path / "full.py"
    script.write_text(FULL)
    mount = f"mount -t tmpfs -o size=300k none {tmp_path / 'disk'}"
    run = f"{sys.executable} {script} {server.url} {tmp_path / 'disk'}"
    (tmp_path / "disk").mkdir()
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", f"{mount} && {run}"]
    if shutil.which("unshare") is None or subprocess.run([*command[:4], "true"]).returncode:
        pytest.skip("needs namespaces")
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    error, left, size = done.stdout.splitlines()
    assert error == "OSError 28"
    assert left == "['filler', 'out.npy.batches', 'out.npy.json']"
    assert int(size) == 128 + 2000 * 8 * 4


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
