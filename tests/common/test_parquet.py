"""Columns on the disk behave as lists, whatever the row groups and the order of reading."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vec2slug_lib.common import parquet
from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.parquet import open_documents, open_parquet
from vec2slug_lib.embedding.base import slices
from vec2slug_lib.embedding.job import embed_documents

TEXTS = [f"text {i} é" for i in range(57)]
IDS = [f"id {i}" for i in range(57)]


@pytest.fixture(scope="module", params=[1, 4, 5, 1000])
def path(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("documents") / "documents.parquet"
    table = pa.table({"id": IDS, "other": range(57), "text": TEXTS})
    pq.write_table(table, path, row_group_size=request.param)
    return path


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(parquet, "BATCH", 3)


ROW = st.integers(-57, 56)
BOUND = st.none() | st.integers(-70, 70)
STEP = st.none() | st.integers(1, 4) | st.integers(-3, -1)


@pytest.mark.usefixtures("small")
def test_rows_and_slices_in_any_order_are_those_of_a_list(path):
    @given(st.lists(ROW | st.builds(slice, BOUND, BOUND, STEP), max_size=12))
    def same(keys):
        ids, texts = open_documents(path)
        assert (len(ids), len(texts)) == (57, 57)
        for key in keys:
            assert texts[key] == TEXTS[key]
            assert ids[key] == IDS[key]

    same()


@pytest.mark.usefixtures("small")
def test_iterators_and_slices_do_not_disturb_each_other(path):
    ids, texts = open_documents(path)
    for row, (name, text) in enumerate(zip(ids, texts, strict=True)):
        assert (name, text, texts[row // 2]) == (IDS[row], TEXTS[row], TEXTS[row // 2])
    assert list(texts) == list(texts) == TEXTS
    assert "text 3 é" in texts
    for row in (57, -58):
        with pytest.raises(IndexError):
            texts[row]


@pytest.mark.usefixtures("small")
def test_forwards_the_file_is_read_once(path):
    _, texts = open_documents(path)
    starts, batches = [], texts._batches
    texts._batches = lambda group: starts.append(group) or batches(group)
    assert [texts[piece] for piece in slices([1] * 57, 10, 10)] == [
        TEXTS[start : start + 10] for start in range(0, 57, 10)
    ]
    assert starts == []  # beyond the reading that began with the object
    assert texts[0] == TEXTS[0]
    assert starts == [0]


def test_no_row_group_is_in_memory_as_a_whole(tmp_path):
    path, rows = tmp_path / "one_group.parquet", 20_000
    vectors = np.random.default_rng(0).normal(size=(rows, 200)).astype(np.float32)
    pq.write_table(pa.table({"embedding": list(vectors)}), path, row_group_size=rows)
    before = pa.total_allocated_bytes()
    held = [pa.total_allocated_bytes() - before for _ in open_parquet(path).iter_batches(100)]
    assert len(held) == rows / 100
    assert 0 < max(held) < path.stat().st_size / 3


class Lengths:
    """An embedder whose vectors tell the texts apart."""

    name, dimensions = "lengths", 2

    def batches(self, texts):
        return slices((len(text) for text in texts), 10, 60)

    def embed(self, texts):
        vectors = np.array([[len(text), sum(text.encode())] for text in texts], np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.usefixtures("small")
def test_vectors_are_those_of_lists(path, tmp_path):
    embed_documents(*open_documents(path), Lengths(), tmp_path / "lazy.npy")
    embed_documents(IDS, TEXTS, Lengths(), tmp_path / "list.npy")
    for end in ("", ".json"):
        lazy, eager = (tmp_path / f"{name}.npy{end}" for name in ("lazy", "list"))
        assert lazy.read_bytes() == eager.read_bytes()


def test_no_rows(tmp_path):
    pd.DataFrame({"id": [], "text": []}).to_parquet(tmp_path / "none.parquet")
    ids, texts = open_documents(tmp_path / "none.parquet")
    assert (len(ids), list(texts), texts[:5]) == (0, [], [])


def test_what_is_no_file_of_documents(tmp_path):
    pd.DataFrame({"id": IDS}).to_parquet(tmp_path / "ids.parquet")
    (tmp_path / "text.parquet").write_text("text")
    for name, message in (
        ("ids.parquet", "expected id and text in .*, got the columns id"),
        ("text.parquet", "expected id and text in .*, but"),
        ("none.parquet", "expected id and text in .*, but"),
    ):
        with pytest.raises(Vec2SlugError, match=message):
            open_documents(tmp_path / name)


def test_damaged_columns_are_named(tmp_path):
    path = tmp_path / "documents.parquet"
    table = pa.table({"id": IDS, "text": TEXTS})
    pq.write_table(table, path, compression="none", use_dictionary=False)
    whole = path.read_bytes()
    place = whole.index(b"text 20") - 4  # the length of a string, now far beyond the page
    path.write_bytes(whole[:place] + b"\xff\xff\xff\x7f" + whole[place + 4 :])
    _, texts = open_documents(path)
    message = r"whole columns of documents in .*documents\.parquet, but in text from row 0 on"
    with pytest.raises(Vec2SlugError, match=message):
        list(texts)


def test_bytes_that_are_no_text_are_one_row_s_fault(tmp_path):
    for kind in (pa.binary(), pa.large_binary(), pa.string_view()):
        values = [b"good", b"\xff\xfe", None, "é".encode()]
        if kind == pa.string_view():
            values[1] = b"plain"
        table = pa.table({"id": ["a", "b", "c", "d"], "text": pa.array(values).cast(kind)})
        pq.write_table(table, tmp_path / "documents.parquet")
        _, texts = open_documents(tmp_path / "documents.parquet")
        good, bad, none, accent = texts
        assert (good, none, accent) == ("good", None, "é")
        assert bad == "plain" or not bad.isprintable()
    dictionary = pa.table({"id": ["a", "b"], "text": pa.array(["x", "x"]).dictionary_encode()})
    pq.write_table(dictionary, tmp_path / "documents.parquet")
    assert list(open_documents(tmp_path / "documents.parquet")[1]) == ["x", "x"]
