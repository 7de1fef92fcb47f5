"""Jobs with texts that have no vector, and with servers that die."""

import collections
import json

import numpy as np
import pytest
from fake_embedder import IDS, TEXTS, Fake
from openai_server import OpenAIServer, vector

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.embedding import job
from vec2slug_lib.embedding.base import TextsRefused
from vec2slug_lib.embedding.job import embed_documents
from vec2slug_lib.embedding.openai_embedder import OpenAIEmbedder

ODD = [*TEXTS[:3], "", *TEXTS[3:9], None, "\ud800 x", 7, *TEXTS[9:], "BAD"]
ODD_IDS = [f"odd-{i}" for i in range(len(ODD))]
BAD = {3: "is empty", 10: "is no text but None", 11: "lone surrogate", 12: "is no text but 7"}


class Picky(Fake):
    """Has no vector for some texts."""

    def embed(self, texts):
        vectors = super().embed(texts)
        reasons = {row: "the server says: 500" for row, text in enumerate(texts) if "BAD" in text}
        if reasons:
            vectors[list(reasons)] = np.nan
            raise TextsRefused(vectors, reasons)
        return vectors


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_bad_texts_are_skipped_and_listed(tmp_path):
    out = tmp_path / "v.npy"
    assert embed_documents(ODD_IDS, ODD, Picky(), out, skip_bad=True) == 5
    vectors, bad = np.load(out), [*BAD, len(ODD) - 1]
    assert np.isnan(vectors[bad]).all()
    good = np.delete(np.arange(len(ODD)), bad)
    np.testing.assert_allclose(vectors[good], [vector(ODD[row], 6) for row in good], atol=1e-6)
    listed = lines(tmp_path / "v.npy.bad")
    assert [(line["row"], line["id"]) for line in listed] == [(row, f"odd-{row}") for row in bad]
    assert all(BAD.get(line["row"], "says: 500") in line["reason"] for line in listed)
    assert job.read_bad(out).keys() == set(bad)
    again = Picky()
    assert embed_documents(ODD_IDS, ODD, again, out, skip_bad=True) == 5
    assert again.asked == []
    with pytest.raises(Vec2SlugError, match="expected a text in row 3"):
        embed_documents(ODD_IDS, ODD, again, out)


def test_a_refused_text_is_named_and_skipped_when_asked_for(tmp_path):
    texts = [*TEXTS[:12], "BAD", *TEXTS[12:]]
    ids = [f"n{i}" for i in range(len(texts))]
    out = tmp_path / "v.npy"
    for _ in range(2):  # nothing is lost, and it stays named
        with pytest.raises(Vec2SlugError, match=r"row 12 \(id n12\), but the server says: 500"):
            embed_documents(ids, texts, Picky(), out)
    rest = Picky()
    assert embed_documents(ids, texts, rest, out, skip_bad=True) == 1
    assert flat(rest.asked) == texts[12:]
    with pytest.raises(Vec2SlugError, match="an earlier run skipped 1, listed in"):
        embed_documents(ids, texts, Picky(), out)


def test_skipped_rows_of_a_job_that_was_stopped_are_remembered(tmp_path):
    texts = ["BAD", *TEXTS]
    ids = [f"n{i}" for i in range(len(texts))]
    with pytest.raises(RuntimeError):
        embed_documents(ids, texts, FailingPicky(), tmp_path / "v.npy", skip_bad=True)
    with pytest.raises(Vec2SlugError, match=r"row 0 \(id n0\), but the server"):
        embed_documents(ids, texts, Picky(), tmp_path / "v.npy")
    rest = Picky()
    assert embed_documents(ids, texts, rest, tmp_path / "v.npy", skip_bad=True) == 1
    assert "BAD" not in flat(rest.asked)


class FailingPicky(Picky):
    def embed(self, texts):
        if len(self.asked) == 2:
            raise RuntimeError
        return super().embed(texts)


def test_a_job_without_any_vector_has_no_file(tmp_path):
    with pytest.raises(Vec2SlugError, match="a vector of one text at least, but row 0 has none"):
        embed_documents(["a", "b"], ["", "BAD"], Picky(), tmp_path / "v.npy", skip_bad=True)
    assert not (tmp_path / "v.npy").exists()


def flat(batches):
    return [text for batch in batches for text in batch]


def counts(server):
    return collections.Counter(flat(server.requests))


def test_vectors_of_another_server_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    with OpenAIServer(width=6) as one, OpenAIServer(width=6) as other:
        embed_documents(IDS, TEXTS, OpenAIEmbedder("local", one.url), tmp_path / "v.npy")
        with pytest.raises(Vec2SlugError, match="server is http://127"):
            embed_documents(IDS, TEXTS, OpenAIEmbedder("local", other.url), tmp_path / "v.npy")
        embed_documents(IDS, TEXTS, OpenAIEmbedder("local", f"{one.url}/"), tmp_path / "v.npy")
        assert counts(one) == {**dict.fromkeys(TEXTS, 1), "word": 2}


def test_what_came_before_the_servers_death_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with OpenAIServer(width=6) as server:
        embedder = OpenAIEmbedder("local", server.url, dimensions=6, retries=1, batch_size=5)
        server.rule = lambda body: "drop" if len(server.requests) > 3 else None
        with pytest.raises(Vec2SlugError, match="Connection error"):
            embed_documents(IDS, TEXTS, embedder, tmp_path / "v.npy", skip_bad=True)
        server.rule = lambda body: None
        server.requests.clear()
        embed_documents(IDS, TEXTS, embedder, tmp_path / "v.npy", skip_bad=True)
        assert flat(server.requests) == TEXTS[15:]
    assert not (tmp_path / "v.npy.bad").exists()
