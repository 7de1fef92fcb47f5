"""The embedding job: whatever happens on the way, the file is that of an unbroken run."""

import collections
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_embedder import IDS, TEXTS, Fake
from hypothesis import given
from hypothesis import strategies as st
from openai_server import OpenAIServer, vector

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.jobs import one_writer
from vec2slug_lib.embedding import job, minilm, wordpiece
from vec2slug_lib.embedding.base import check_texts, slices
from vec2slug_lib.embedding.job import embed_documents
from vec2slug_lib.embedding.openai_embedder import OpenAIEmbedder

ROOT = Path(__file__).parents[2]


def fail_at(number, error=RuntimeError):
    def change(count, vectors):
        if count == number:
            raise error
        return vectors

    return change


def flat(batches):
    return [text for batch in batches for text in batch]


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_one_unit_row_a_text_in_order_and_nothing_left_over(tmp_path):
    out = tmp_path / "vectors.npy"
    embed_documents(IDS, TEXTS, Fake(), out)
    found = np.load(out, allow_pickle=False)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [vector(text, 6) for text in TEXTS], atol=1e-6)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [".vectors.npy.lock", "vectors.npy", "vectors.npy.json"]
    manifest = json.loads((tmp_path / "vectors.npy.json").read_text())
    assert manifest == manifest | {"embedder": "fake", "dimensions": 6, "documents": 23}


def test_the_same_run_gives_the_same_bytes(tmp_path):
    for name in ("a.npy", "b.npy"):
        embed_documents(IDS, TEXTS, Fake(), tmp_path / name)
    assert digest(tmp_path / "a.npy") == digest(tmp_path / "b.npy")


@pytest.mark.parametrize("number", [1, 2, 5])
def test_a_failed_run_goes_on_where_it_stopped(tmp_path, number):
    embed_documents(IDS, TEXTS, Fake(), tmp_path / "whole.npy")
    first, second = Fake(change=fail_at(number)), Fake()
    with pytest.raises(RuntimeError):
        embed_documents(IDS, TEXTS, first, tmp_path / "broken.npy")
    assert not (tmp_path / "broken.npy").exists()
    embed_documents(IDS, TEXTS, second, tmp_path / "broken.npy")
    assert flat(first.asked[: number - 1] + second.asked) == TEXTS
    assert digest(tmp_path / "broken.npy") == digest(tmp_path / "whole.npy")


def test_a_finished_job_asks_for_nothing(tmp_path):
    embed_documents(IDS, TEXTS, Fake(), tmp_path / "v.npy")
    again = Fake()
    embed_documents(IDS, TEXTS, again, tmp_path / "v.npy")
    assert again.asked == []


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(
    ("ids", "texts", "width", "message"),
    [
        (IDS, [*TEXTS[:-1], "other"], 6, "documents_sha256 is"),
        ([*IDS[:-1], "other"], TEXTS, 6, "documents_sha256 is"),
        (IDS[1:], TEXTS[1:], 6, "documents is 22 here and 23 there"),
        (IDS, TEXTS, 7, "dimensions is 7 here and 6 there"),
    ],
)
def test_another_jobs_files_are_refused(tmp_path, finished, ids, texts, width, message):
    first = Fake() if finished else Fake(change=fail_at(3))
    try:
        embed_documents(IDS, TEXTS, first, tmp_path / "v.npy")
    except RuntimeError:
        assert not finished
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    other = Fake(width)
    with pytest.raises(Vec2SlugError, match=message):
        embed_documents(ids, texts, other, tmp_path / "v.npy")
    assert other.asked == []
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_ids_and_texts_do_not_run_together_in_the_digest(tmp_path):
    embed_documents(["ab"], ["c"], Fake(), tmp_path / "v.npy")
    with pytest.raises(Vec2SlugError, match="documents_sha256"):
        embed_documents(["a"], ["bc"], Fake(), tmp_path / "v.npy")


def test_a_file_of_unknown_origin_is_not_overwritten(tmp_path):
    (tmp_path / "v.npy").write_bytes(b"mine")
    with pytest.raises(Vec2SlugError, match="files of something else"):
        embed_documents(IDS, TEXTS, Fake(), tmp_path / "v.npy")
    assert (tmp_path / "v.npy").read_bytes() == b"mine"


def spoil(value):
    """Set one value of the second batch."""

    def change(number, vectors):
        if number == 2:
            vectors[3] = value
        return vectors

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (spoil(np.nan), r"row 8 \(id id-8\), but its vector is not finite.*--skip-bad"),
        (spoil(np.inf), r"row 8 \(id id-8\), but its vector is not finite.*--skip-bad"),
        (spoil(0), r"row 8 \(id id-8\), but its vector is zero.*--skip-bad"),
        (lambda number, vectors: vectors[:, :5] if number == 2 else vectors, r"shape \[N, 6\]"),
        (lambda number, vectors: vectors[:4] if number == 2 else vectors, "expected 5 vectors"),
    ],
)
def test_bad_vectors_stop_the_job_and_good_ones_stay(tmp_path, change, message):
    with pytest.raises(Vec2SlugError, match=message):
        embed_documents(IDS, TEXTS, Fake(change=change), tmp_path / "v.npy")
    second = Fake()
    embed_documents(IDS, TEXTS, second, tmp_path / "v.npy")
    # Those before the bad row in its own batch too.
    assert flat(second.asked) == TEXTS[8 if "row 8" in message else 5 :]


def test_a_job_goes_on_in_batches_of_another_size(tmp_path):
    embed_documents(IDS, TEXTS, Fake(), tmp_path / "whole.npy")
    with pytest.raises(RuntimeError):
        embed_documents(IDS, TEXTS, Fake(change=fail_at(3)), tmp_path / "v.npy")
    other = Fake()
    other.batches = lambda texts: slices([1] * len(texts), 4, 4)
    embed_documents(IDS, TEXTS, other, tmp_path / "v.npy")
    assert [len(texts) for texts in other.asked] == [4, 4, 4, 1]
    assert digest(tmp_path / "v.npy") == digest(tmp_path / "whole.npy")


def test_a_job_reads_its_texts_in_chunks(tmp_path, monkeypatch):
    embed_documents(IDS, TEXTS, Fake(), tmp_path / "whole.npy")
    monkeypatch.setattr(job, "CHUNK", 7)
    embedder = Fake()
    embed_documents(IDS, TEXTS, embedder, tmp_path / "v.npy")
    assert [len(texts) for texts in embedder.asked] == [5, 2, 5, 2, 5, 2, 2]
    assert digest(tmp_path / "v.npy") == digest(tmp_path / "whole.npy")


def test_parts_without_their_description_are_not_taken_up(tmp_path):
    with pytest.raises(RuntimeError):
        embed_documents(IDS, TEXTS, Fake(change=fail_at(3)), tmp_path / "v.npy")
    (tmp_path / "v.npy.json").unlink()
    with pytest.raises(Vec2SlugError, match="files of something else"):
        embed_documents(IDS, TEXTS[::-1], Fake(), tmp_path / "v.npy")


def test_a_damaged_part_is_named(tmp_path):
    with pytest.raises(RuntimeError):
        embed_documents(IDS, TEXTS, Fake(change=fail_at(3)), tmp_path / "v.npy")
    part = tmp_path / "v.npy.parts" / "000001.npy"
    part.write_bytes(part.read_bytes()[:-9])
    with pytest.raises(Vec2SlugError, match=r"expected vectors in .*000001.npy, but.*remove it"):
        embed_documents(IDS, TEXTS, Fake(), tmp_path / "v.npy")
    part.unlink()
    embed_documents(IDS, TEXTS, Fake(), tmp_path / "v.npy")


def test_one_process_writes_a_file(tmp_path):
    with one_writer(tmp_path / "v.npy"), pytest.raises(Vec2SlugError, match="to be alone"):
        embed_documents(IDS, TEXTS, Fake(), tmp_path / "v.npy")


@pytest.mark.parametrize(
    ("ids", "texts", "message"),
    [
        ([], [], "at least one"),
        (["a"], ["b", "c"], "1 ids and 2 texts"),
        (["a", "b"], ["c", ""], "row 1"),
    ],
)
def test_bad_documents_are_refused_before_anything_is_asked(tmp_path, ids, texts, message):
    embedder = Fake()
    with pytest.raises(Vec2SlugError, match=message):
        embed_documents(ids, texts, embedder, tmp_path / "v.npy")
    assert embedder.asked == []
    assert list(tmp_path.iterdir()) == []


def test_output_is_npy(tmp_path):
    with pytest.raises(Vec2SlugError, match=r"ending in \.npy"):
        embed_documents(IDS, TEXTS, Fake(), tmp_path / "v.npz")


@pytest.mark.parametrize("text", ["", " \n\t", None, 3, "a \ud800 b"])
def test_check_texts_names_the_row(text):
    with pytest.raises(Vec2SlugError, match="row 2"):
        check_texts(["a", "é😀", text])


def test_progress_and_time_left_on_stderr(tmp_path, capfd):
    embed_documents(IDS, TEXTS, Fake(), tmp_path / "v.npy")
    shown = capfd.readouterr()
    assert "23/23" in shown.err
    assert "<" in shown.err  # tqdm: elapsed<left
    assert shown.out == ""


@given(st.lists(st.integers(0, 9)), st.integers(1, 5), st.integers(1, 20))
def test_slices_are_greedy(sizes, count, budget):
    """Against a loop that takes one row after the other."""
    pieces = []
    for row, size in enumerate(sizes):
        if (
            not pieces
            or len(pieces[-1]) == count
            or sum(sizes[r] for r in pieces[-1]) + size > budget
        ):
            pieces.append([])
        pieces[-1].append(row)
    found = list(slices(sizes, count, budget))
    assert [list(range(len(sizes)))[piece] for piece in found] == pieces


# A run in its own process that kills itself: just before it asks for its third batch ("ask"), or
# when half of its third file is written ("write").
RUN = """
import json, os, signal, sys
import numpy as np
from vec2slug_lib.embedding import job

ids, texts, url, out, moment = json.loads(sys.argv[1])
if url:
    from vec2slug_lib.embedding import openai_embedder
    openai_embedder.BATCH = 5
    embedder = openai_embedder.OpenAIEmbedder("local", url, dimensions=6, retries=0)
else:
    from vec2slug_lib.embedding import minilm, wordpiece
    wordpiece.PIECE = 5
    embedder = minilm.MiniLMEmbedder("cpu")
embed, save, calls = embedder.embed, np.save, {"ask": 0, "write": 0}

def reached(name):
    calls[name] += 1
    return name == moment and calls[name] == 3

def killed_embed(texts):
    if reached("ask"):
        os.kill(os.getpid(), signal.SIGKILL)
    return embed(texts)

def killed_save(path, vectors):
    save(path, vectors)
    if reached("write"):
        os.truncate(path, os.path.getsize(path) // 2)
        os.kill(os.getpid(), signal.SIGKILL)

embedder.embed, job.np.save = killed_embed, killed_save
job.embed_documents(ids, texts, embedder, out)
"""


def run(url, out, moment=None):
    arguments = json.dumps([IDS, TEXTS, url, str(out), moment])
    environment = os.environ | {"OPENAI_API_KEY": "sk-test", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", RUN, arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("moment", ["ask", "write"])
def test_minilm_killed_and_started_again(tmp_path, monkeypatch, moment):
    monkeypatch.setattr(wordpiece, "PIECE", 5)
    embedder = minilm.MiniLMEmbedder("cpu")
    embed_documents(IDS, TEXTS, embedder, tmp_path / "whole.npy")
    assert run(None, tmp_path / "v.npy", moment).returncode == -signal.SIGKILL
    assert not (tmp_path / "v.npy").exists()
    assert len(list((tmp_path / "v.npy.parts").glob("0*.npy"))) == 2
    embed_documents(IDS, TEXTS, embedder, tmp_path / "v.npy")
    assert digest(tmp_path / "v.npy") == digest(tmp_path / "whole.npy")
    assert not (tmp_path / "v.npy.parts").exists()


def counts(server):
    return collections.Counter(flat(server.requests))


def test_openai_killed_and_started_again(tmp_path):
    """Killed between two requests: no text is sent twice."""
    with OpenAIServer(width=6) as server:
        assert run(server.url, tmp_path / "v.npy", "ask").returncode == -signal.SIGKILL
        assert sum(counts(server).values()) == 10
        again = run(server.url, tmp_path / "v.npy")
        assert again.returncode == 0, again.stderr
        assert counts(server) == dict.fromkeys(TEXTS, 1)
        assert run(server.url, tmp_path / "whole.npy").returncode == 0
    assert digest(tmp_path / "v.npy") == digest(tmp_path / "whole.npy")


def test_openai_killed_while_a_request_is_on_its_way(tmp_path, monkeypatch):
    """Only the request whose answer nobody has is sent again."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setattr("vec2slug_lib.embedding.openai_embedder.BATCH", 5)
    with OpenAIServer(width=6) as server:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        arguments = json.dumps([IDS, TEXTS, server.url, str(tmp_path / "v.npy"), None])
        client = subprocess.Popen([sys.executable, "-c", RUN, arguments], cwd=ROOT, env=environment)
        server.on_request = lambda: len(server.requests) == 3 and client.kill()
        assert client.wait(60) == -signal.SIGKILL
        server.on_request = lambda: None
        embedder = OpenAIEmbedder("local", server.url, dimensions=6)
        embed_documents(IDS, TEXTS, embedder, tmp_path / "v.npy")
        assert counts(server) == dict.fromkeys(TEXTS, 1) | dict.fromkeys(TEXTS[10:15], 2)
        embed_documents(IDS, TEXTS, embedder, tmp_path / "whole.npy")
    assert digest(tmp_path / "v.npy") == digest(tmp_path / "whole.npy")
