"""Files of vectors are read block by block, with their ids, in little memory."""

import gzip
import json
import uuid

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
from vector_samples import (
    IDS,
    LISTS,
    NAMES,
    READ,
    ROWS,
    arrow,
    joined,
    lines,
    saved,
    set_block,
    table,
    written,
)

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.inference.vector_files import open_vectors, read_vectors
from vec2slug_lib.inference.vector_source import id_text

TELL = ("npy", "npz", "parquet", "Arrow file", "safetensors")  # how many rows they have


def blocks_of(path, **options):
    with open_vectors(path, **options) as opened:
        return list(opened), opened


@pytest.mark.parametrize("size", [1, 3, 4096])
@pytest.mark.parametrize("kind", READ)
def test_blocks_of_any_size_are_the_file(file, monkeypatch, kind, size):
    expected = np.array(read_vectors(file(READ[kind])))
    set_block(monkeypatch, size)
    content = READ[kind] if isinstance(READ[kind], bytes) else READ[kind].encode()
    for packed in (content, gzip.compress(content)):
        blocks, opened = blocks_of(file(packed))
        ids, vectors = joined(blocks)
        np.testing.assert_array_equal(vectors, expected)
        assert max(len(block.vectors) for block in blocks) <= size
        assert ids == NAMES.get(kind)
        assert opened.has_ids == (kind in NAMES)
        assert opened.width == 24
        assert opened.rows == (9 if kind.startswith(TELL) else None)
        assert opened.stops == []


def test_an_array_on_the_disk_stays_there(file):
    for content in (saved(np.save, ROWS), safetensors.numpy.save({"v": ROWS})):
        blocks, opened = blocks_of(file(content))
        assert isinstance(opened.whole, np.memmap)
        assert np.shares_memory(blocks[0].vectors, opened.whole)
        assert opened.notes == []


def test_a_table_is_gone_through_once(file):
    with open_vectors(file(saved(np.save, ROWS))) as opened:
        assert len(list(opened)) == 1
        assert list(opened) == []


GUESSED = {
    "parquet": "vectors are in the column embedding, ids in the column id",
    "parquet fixed": None,
    "Arrow file": "vectors are in the column v, ids in the column id",
    "npz of one": None,
    "npz with names": "vectors are in the array vectors, ids in the array ids",
    "JSON lists": None,
    "JSON lines": "vectors are under the key embedding, ids under the key id",
    "JSON by name": "ids are the names of the vectors",
    "Chroma": "vectors are under the key embeddings, ids under the key ids",
    "Elasticsearch": "vectors are under the key _source.title_vector, ids under the key _id",
    "Qdrant, named": "vectors are under the key vector.t, ids under the key id",
    "pgvector": None,
    "pgvector COPY": "vectors are in the column 2, ids in the column 1",
    "pgvector CSV": "vectors are in the column embedding, ids in the column id",
    "CSV header": None,
    "CSV header, index": "vectors are in the columns dim_0 to dim_23",
    "CSV labels": "vectors are in the columns 2 to 25, ids in the column 1",
    "CSV of lists": "vectors are in the column v, ids in the column id",
}


@pytest.mark.parametrize("kind", GUESSED)
def test_a_guess_is_noted(file, kind):
    assert blocks_of(file(READ[kind]))[1].notes == ([GUESSED[kind]] if GUESSED[kind] else [])


TWO = pd.DataFrame({"id": range(9), "a": LISTS, "b": ROWS[::-1].tolist(), "name": IDS})
FLAT = {"id": list(range(9)), "a": LISTS, "b": ROWS[::-1].tolist(), "name": IDS}
CHOICES = {
    "parquet": written(pq.write_table, table(**FLAT)),
    "Arrow": arrow(pa.ipc.new_file, table(**FLAT)),
    "CSV": TWO.to_csv(index=False),
    "JSON": TWO.to_json(orient="records", double_precision=15),
    "JSON lines": TWO.to_json(orient="records", lines=True, double_precision=15),
    "npz": saved(np.savez, a=ROWS, b=ROWS[::-1], id=np.arange(9), name=np.array(IDS)),
    "nested": lines(
        {"name": i, "o": {"a": a, "b": a[::-1]}} for i, a in zip(IDS, LISTS, strict=True)
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", CHOICES)
def test_columns_are_chosen_by_name(file, kind):
    path, prefix = file(CHOICES[kind]), "o." if kind == "nested" else ""
    blocks, opened = blocks_of(path, column=f"{prefix}a", id_column="name")
    ids, vectors = joined(blocks)
    np.testing.assert_allclose(vectors, ROWS, atol=1e-6)
    assert (ids, opened.notes) == (IDS, [])
    with pytest.raises(Vec2SlugError, match=rf"{prefix}a.*, {prefix}b.*: name one with --column"):
        open_vectors(path)
    with pytest.raises(Vec2SlugError, match=rf"(no|under) .*other.*, but .*{prefix.strip('.')}"):
        open_vectors(path, column="other")
    with pytest.raises(Vec2SlugError, match=r"no \w+ other \(--id-column\), but .*a"):
        open_vectors(path, column=f"{prefix}a", id_column="other")
    if kind != "nested":
        blocks, opened = blocks_of(path, column="b")
        assert joined(blocks)[0] == [str(row) for row in range(9)]
        assert opened.notes[0].startswith("ids are ")


@pytest.mark.parametrize("kind", ["JSON lists", "pgvector", "CSV", "GloVe"])
def test_a_column_that_cannot_be_is_an_error(file, kind):
    with pytest.raises(Vec2SlugError, match="other"):
        open_vectors(file(READ[kind]), column="other")
    with pytest.raises(Vec2SlugError, match="other"):
        open_vectors(file(READ[kind]), id_column="other")


def test_what_is_no_vector_is_not_chosen(file):
    tokens = [[1, 2, 3]] * 9
    path = file(written(pq.write_table, table(tokens=tokens, v=LISTS, id=IDS)))
    np.testing.assert_array_equal(joined(blocks_of(path)[0])[1], np.float64(LISTS))
    with pytest.raises(Vec2SlugError, match="got the column id, not of vectors, among tokens, v"):
        open_vectors(path, column="id")
    path = file(saved(np.savez, tokens=np.ones((9, 3), int), v=ROWS, ids=np.arange(3)))
    assert joined(blocks_of(path)[0])[0] is None
    with pytest.raises(Vec2SlugError, match=r"array ids \[3\] int64, which is not of 9 ids"):
        open_vectors(path, id_column="ids")


UUID = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"), (7, "7"), (-7, "-7"), (7.0, "7"), (b"page", "page"), ("ü".encode(), "ü"),
        (UUID, str(UUID)), (UUID.bytes, str(UUID)), (b"page-0123456789a", "page-0123456789a"),
        (b"\x00\xff", "00ff"), ({"$oid": "65a"}, "65a"), (0, "0"),
        (None, None), (float("nan"), None), ("", None), (" ", None), (b"", None),
    ],
)  # fmt: skip
def test_an_id_is_a_text(value, text):
    assert id_text(value) == text


ID_COLUMNS = {
    "int64": pa.array(range(9)),
    "dictionary": pa.array(IDS).dictionary_encode(),
    "large string": pa.array(IDS, pa.large_string()),
    "string view": pa.array(IDS, pa.string_view()),
    "binary": pa.array([key.encode() for key in IDS], pa.binary()),
    "UUID": pa.array([UUID.bytes] * 9, pa.uuid()),
    "UUID bytes": pa.array([UUID.bytes] * 9, pa.binary(16)),
}


@pytest.mark.parametrize("kind", ID_COLUMNS)
@pytest.mark.parametrize("new", [pa.ipc.new_file, pa.ipc.new_stream])
def test_ids_of_any_kind_are_read(file, kind, new):
    path = file(arrow(new, table(v=LISTS, id=ID_COLUMNS[kind])))
    expected = {"int64": [str(row) for row in range(9)]}.get(kind, IDS)
    assert joined(blocks_of(path)[0])[0] == ([str(UUID)] * 9 if "UUID" in kind else expected)


BAD = [*LISTS[:4], LISTS[4][:23], *LISTS[5:7], None, LISTS[8]]
WITH_BAD = {
    "parquet": written(pq.write_table, table(id=IDS, v=BAD)),
    "Arrow": arrow(pa.ipc.new_stream, table(id=IDS, v=pa.array(BAD, pa.large_list(pa.float32())))),
    "JSON lines": lines({"id": i, "embedding": row} for i, row in zip(IDS, BAD, strict=True)),
    "JSON": json.dumps([{"id": i, "embedding": row} for i, row in zip(IDS, BAD, strict=True)]),
    "CSV": pd.DataFrame({"id": IDS, "v": BAD}).to_csv(index=False),
    "COPY": "".join(f"{i}\t{row or chr(92) + 'N'}\n" for i, row in zip(IDS, BAD, strict=True)),
}


@pytest.mark.parametrize("size", [1, 3, 4, 5, 4096])
@pytest.mark.parametrize("kind", WITH_BAD)
def test_a_bad_row_ends_the_stream_or_costs_itself_alone(file, monkeypatch, kind, size):
    set_block(monkeypatch, size)
    path = file(WITH_BAD[kind])
    blocks, opened = blocks_of(path)
    ids, vectors = joined(blocks)
    assert ids == IDS[:5]
    np.testing.assert_allclose(vectors[:4], ROWS[:4], atol=1e-6)
    assert np.isnan(vectors[4]).all()
    assert opened.stops == ["row 4 has 23 numbers, those before it 24"]
    blocks, opened = blocks_of(path, skip_bad=True)
    ids, vectors = joined(blocks)
    expected = ROWS.copy()
    expected[[4, 7]] = np.nan
    assert (ids, opened.stops) == (IDS, [])
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    with pytest.raises(Vec2SlugError, match="but row 4 has 23 numbers"):
        read_vectors(path)


KEYS = ["a", "b", None, "d"]
WITHOUT_ID = {
    "parquet": written(pq.write_table, table(id=KEYS, v=LISTS[:4])),
    "parquet of numbers": written(pq.write_table, table(id=[1.0, 2.0, None, 3.0], v=LISTS[:4])),
    "JSON lines": lines({"id": i, "v": row} for i, row in zip(KEYS, LISTS, strict=False)),
    "CSV": pd.DataFrame({"id": KEYS, "v": LISTS[:4]}).to_csv(index=False),
    "npz": saved(np.savez, v=ROWS[:4], ids=np.array(["a", "b", "", "d"])),
}


@pytest.mark.parametrize("kind", WITHOUT_ID)
def test_a_row_without_an_id_is_bad_or_called_by_its_number(file, kind):
    path = file(WITHOUT_ID[kind])
    names = ["1", "2", "2", "3"] if "numbers" in kind else ["a", "b", "2", "d"]
    blocks, opened = blocks_of(path)
    assert joined(blocks)[0] == names[:3]
    assert opened.stops == ["row 2 has no id"]
    ids, vectors = joined(blocks_of(path, skip_bad=True)[0])
    assert ids == names
    np.testing.assert_allclose(vectors, ROWS[:4], atol=1e-6)


@pytest.mark.parametrize("content", ["[null, [1.5, 2]]", '{"v": null}\n{"v": [1.5]}', "id,v\n1,\n"])
@pytest.mark.parametrize("skip_bad", [True, False])
def test_a_first_row_that_is_bad_is_an_error_at_once(file, content, skip_bad):
    with pytest.raises(Vec2SlugError, match=r"row 0|without numbers"):
        open_vectors(file(content), skip_bad=skip_bad)
