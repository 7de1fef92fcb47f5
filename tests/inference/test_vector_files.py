"""A file of vectors is read as what it is, or named for it."""

import base64
import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import threading
import tracemalloc
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
import torch
from hypothesis import given
from hypothesis import strategies as st

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.vectors import quantise
from vec2slug_lib.inference import vector_text
from vec2slug_lib.inference.vector_files import read_vectors

ROWS = np.random.default_rng(0).normal(size=(9, 24)).astype(np.float32)
LISTS = ROWS.tolist()
IDS = [f"page-{i}" for i in range(9)]
BRACKETS = [json.dumps(row) for row in LISTS]
PACKED = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


def saved(save, *values, **named):
    """What a function of numpy writes, as bytes."""
    file = io.BytesIO()
    save(file, *values, **named)
    return file.getvalue()


def table(**columns):
    return pa.table(columns)


def written(save, content):
    sink = io.BytesIO()
    save(content, sink)
    return sink.getvalue()


def arrow(new, content):
    sink = io.BytesIO()
    with new(sink, content.schema) as writer:
        writer.write_table(content, max_chunksize=4)
    return sink.getvalue()


def answer(rows, first=0):
    data = [{"object": "embedding", "index": first + i, "embedding": r} for i, r in enumerate(rows)]
    return {"object": "list", "data": data, "model": "m", "usage": {"total_tokens": 3}}


def csv_of(frame, **options):
    return frame.to_csv(**options)


PGVECTOR = [row.replace(" ", "") for row in BRACKETS]
FIXED = pa.FixedSizeListArray.from_arrays(pa.array(ROWS.ravel()), 24)
TENSOR = pa.FixedShapeTensorArray.from_numpy_ndarray(ROWS)
FRAME = pd.DataFrame(ROWS)
NAMED = FRAME.add_prefix("dim_")

READ = {
    "npy": saved(np.save, ROWS),
    "npy big-endian": saved(np.save, ROWS.astype(">f4")),
    "npy float64": saved(np.save, ROWS.astype(np.float64)),
    "npy Fortran": saved(np.save, np.asfortranarray(ROWS)),
    "npz of one": saved(np.savez, ROWS),
    "npz with names": saved(np.savez_compressed, ids=np.array(IDS), vectors=ROWS),
    "npz with objects beside": saved(np.savez, ids=np.array(IDS, object), vectors=ROWS),
    "parquet": written(pq.write_table, table(id=IDS, embedding=LISTS, n=range(9))),
    "parquet fixed": written(pq.write_table, table(v=FIXED)),
    "parquet tensor": written(pq.write_table, table(v=TENSOR)),
    "Arrow file": arrow(pa.ipc.new_file, table(id=IDS, v=LISTS)),
    "Arrow stream": arrow(pa.ipc.new_stream, table(v=FIXED)),
    "JSON lists": json.dumps(LISTS),
    "JSON pretty": json.dumps(LISTS, indent=1),
    "JSON objects": json.dumps([{"id": i, "vector": r} for i, r in enumerate(LISTS)], indent=2),
    "JSON lines of lists": "\n".join(BRACKETS) + "\n",
    "JSON lines": "\n".join(json.dumps({"id": 1, "embedding": r}) for r in LISTS),
    "JSON lines, other key": "\n\n".join(json.dumps({"id": 1, "minilm": r}) for r in LISTS),
    "JSON lines, strings": "\n".join(json.dumps({"embedding": r}) for r in BRACKETS),
    "JSON lines, CRLF, BOM": "\ufeff" + "\r\n".join(json.dumps({"vector": r}) for r in LISTS),
    "OpenAI": json.dumps(answer(LISTS)),
    "OpenAI pretty": json.dumps(answer(LISTS), indent=4),
    "OpenAI base64": json.dumps(answer([base64.b64encode(r).decode() for r in ROWS])),
    "OpenAI batch": "\n".join(
        json.dumps({"custom_id": str(i), "response": {"body": answer(LISTS[i : i + 3], i)}})
        for i in (0, 3, 6)
    ),
    "Ollama": json.dumps({"model": "m", "embeddings": LISTS}),
    "Cohere": json.dumps({"id": "1", "embeddings": {"float": LISTS}}),
    "Qdrant": json.dumps({"result": {"points": [{"id": 1, "vector": r} for r in LISTS]}}),
    "Pinecone": json.dumps({"vectors": {f"p{i}": {"values": r} for i, r in enumerate(LISTS)}}),
    "JSON by name": json.dumps(dict(zip(IDS, LISTS, strict=True))),
    "JSON by name, pretty": json.dumps(dict(zip(IDS, LISTS, strict=True)), indent=2),
    "JSON of pandas": pd.DataFrame({"embedding": LISTS}).to_json(double_precision=15),
    "pgvector": "\n".join(PGVECTOR) + "\n",
    "pgvector COPY": "".join(f"{i}\t{row}\n" for i, row in enumerate(PGVECTOR)),
    "pgvector CSV": 'id,embedding\n' + "".join(f'{i},"{r}"\n' for i, r in enumerate(PGVECTOR)),
    "Postgres array": "\n".join("{" + row[1:-1] + "}" for row in PGVECTOR),
    "CSV of str(array)": csv_of(pd.DataFrame({"t": IDS, "v": [str(r) for r in ROWS.round(3)]})),
    "CSV": csv_of(FRAME, index=False, header=False),
    "CSV numbered": csv_of(FRAME, index=False),
    "CSV of pandas": csv_of(FRAME),
    "CSV header": csv_of(NAMED, index=False),
    "CSV header, index": csv_of(NAMED),
    "CSV labels": csv_of(FRAME.set_axis(IDS), header=False),
    "CSV labels, header": csv_of(NAMED.assign(slug=IDS)),
    "TSV": csv_of(FRAME, sep="\t", index=False, header=False),
    "semicolons": csv_of(FRAME, sep=";", index=False, header=False),
    "savetxt": saved(np.savetxt, ROWS, header="vectors of pages"),
    "UTF-16": "\n".join(BRACKETS).encode("utf-16"),
}  # fmt: skip


@pytest.fixture
def file(tmp_path):
    def write(content, name="vectors.npy"):
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return write


@pytest.mark.parametrize("kind", READ)
def test_any_kind_under_any_name_is_read(file, kind):
    atol = 1e-3 if "str(array)" in kind else 1e-6
    content = READ[kind] if isinstance(READ[kind], bytes) else READ[kind].encode()
    found = read_vectors(file(content))
    assert found.shape == ROWS.shape
    np.testing.assert_allclose(found, ROWS, atol=atol)
    for pack in PACKED.values():
        np.testing.assert_array_equal(read_vectors(file(pack(content), "x.txt")), found)
    members = gzip.compress(content[:99]) + gzip.compress(content[99:])
    np.testing.assert_array_equal(read_vectors(file(members, "x.txt")), found)


@pytest.mark.parametrize("kind", ["<f2", "<f4", ">f4", "<f8", ">f8", "<i4", ">i8", "<u2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_numpy_stay_on_the_disk_as_they_are(file, kind, order):
    values = np.asarray(ROWS * 1000, kind, order=order)
    found = read_vectors(file(saved(np.save, values)))
    assert isinstance(found, np.memmap)
    assert found.dtype == kind
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("name", ["scale", "scales"])
def test_codes_with_scales_are_vectors(file, name):
    unit = ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True)
    codes, scales = quantise(unit)
    found = read_vectors(file(saved(np.savez, codes=codes, ids=np.array("x"), **{name: scales})))
    np.testing.assert_allclose(found, unit, atol=0.01)
    with pytest.raises(Vec2SlugError, match="got 3 scales for codes"):
        read_vectors(file(saved(np.savez, codes=codes, **{name: scales[:3]})))


def zipped(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
    return file.getvalue()


class Evil:
    """What a pickle could do: it must not be opened."""

    def __reduce__(self):
        return os.abort, ()


OBJECTS = np.array([None, [1.0]], dtype=object)
RAGGED = table(v=[*LISTS[:7], LISTS[7][:23], None])
REFUSED = {
    "pickle": (pickle.dumps(Evil()), "a pickle, which can run code"),
    "old pickle": (pickle.dumps(LISTS, 0), "a pickle, which can run code"),
    "pickle of an array": (ROWS.dumps(), "a pickle, which can run code"),
    "torch": (saved(lambda f, x: torch.save(x, f), torch.zeros(2)), "a file of torch, which can"),
    "old torch": (
        saved(
            lambda f, x: torch.save(x, f, _use_new_zipfile_serialization=False), torch.zeros(2)
        ),
        "a file of torch, which can",
    ),
    "safetensors": (safetensors.numpy.save({"v": ROWS}), "a safetensors file"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "an HDF5 file"),
    "SQLite": (b"SQLite format 3\x00" + bytes(99), "an SQLite database"),
    "FAISS": (b"IxF2\x18\x00\x00\x00" + bytes(99), "a FAISS index"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(99), "packed by zstd: unpack it with: zstd -d"),
    "Excel": (zipped(**{"[Content_Types].xml": "", "xl__a.xml": ""}), "an Excel or Office file"),
    "zip": (zipped(a="1"), "a zip of a"),
    "objects": (saved(np.save, OBJECTS), "an array of Python objects, such as lists"),
    "npz of objects": (saved(np.savez, OBJECTS), "an array of Python objects, such as lists"),
    "npz of several": (
        saved(np.savez, a=ROWS, b=ROWS[:2]),
        r"several arrays, a \[9, 24\] float32, b \[2, 24\] float32",
    ),
    "records": (saved(np.save, np.zeros(3, "f4,i4")), "got records"),
    "two arrays": (saved(np.save, ROWS) * 2, "more than one array in a file"),
    "truncated": (saved(np.save, ROWS)[:-1], "truncated: 991 bytes of 992"),
    "truncated npz": (saved(np.savez, ROWS)[:-99], "but: "),
    "truncated gzip": (gzip.compress(saved(np.save, ROWS))[:-99], "but: "),
    "truncated parquet": (READ["parquet"][:-9], "but: "),
    "half a header": (b"\x93NUMPY\x01", "but: "),
    "parquet of texts": (
        written(pq.write_table, table(id=IDS, text=IDS)),
        r"0 columns of vectors \(id, text\): vec2slug generate",
    ),
    "parquet of two": (
        written(pq.write_table, table(a=LISTS, b=LISTS)),
        r"2 columns of vectors \(a, b\): vec2slug generate --column",
    ),
    "parquet, ragged": (written(pq.write_table, RAGGED), "row 7 has 23 numbers, those"),
    "empty": (b"", "an empty file"),
    "HTML": ("\n<!DOCTYPE html><title>404</title>", "HTML or XML"),
    "LFS": ("version https://git-lfs.github.com/spec/v1\noid", "Git LFS: fetch the file"),
    "binary": (bytes(range(256)), "a binary file of an unknown kind"),
    "prose": ("This is a text.\nIt has two lines.\n", "a text without numbers"),
    "header alone": ("id,embedding\n", "without a row of numbers"),
    "JSON of texts": (json.dumps({"a": "b"}), "row 0 has no vector under embedding"),
    "JSON null": ("[[1.5, 2], null]", "row 1 is None, not a vector"),
    "JSON booleans": ("[[true, false]]", "row 0 is of booleans"),
    "JSON texts": ('[["a", "b"]]', "row 0 is not of numbers"),
    "JSON of tokens": ("[[[1.5, 2], [3, 4]], [[5, 6]]]", "row 0 is a list of lists"),
    "JSON lines of two": (
        '{"id": 1, "a": [1.5], "b": [2.5]}\n' * 2, "row 0 has no vector under .*, but a, b"
    ),
    "JSON, half": (json.dumps(LISTS)[:-9], "its JSON ends, or breaks, within the list"),
    "JSON, deep": ('{"a":' * 100_000, "but: "),
    "JSON lines, ragged": (
        "\n".join(json.dumps({"v": row[: 24 - (i == 7)]}) for i, row in enumerate(LISTS)),
        "row 7 has 23 numbers, those before it 24",
    ),
    "JSON lines, broken": ('{"v": [1.5]}\n{"v": [1.', "row 1 is not JSON"),
    "JSON lines, null": ('{"embedding": [1.5]}\n{"embedding": null}', "row 1 has no vector"),
    "pgvector, ragged": ("[1.5,2,3]\n[1.5,2]\n", "row 1 has 2 numbers"),
    "pgvector, cut": ("[1.5,2,3]\n[1.5,..., 2]\n", r"row 1 is not of numbers: .*'\.\.\.'"),
    "CSV, ragged": ("1.5,2,3\n4,5,6\n1,2\n", "row 2 has 2 numbers, the first 3"),
    "CSV, text": ("a,b,c\n1.5,2,3\n4,n/a,6\n", "row 1 is not of numbers: .*'n/a'"),
    "CSV, empty": ("1.5,2,3\n4,,6\n", "row 1 is not of numbers"),
    "CSV, missing": ("id,v\n1,[1.5;2]\n2,\n", "row 0 is not of numbers|row 1 has no vector"),
    "CSV of two": ('a,b\n"[1.5,2]","[1,2]"\n', "vectors in a, b: keep one"),
    "int8": (saved(np.save, (ROWS * 40).astype(np.int8)), "int8: codes of a quantised"),
    "uint8 bits": (saved(np.save, np.ones((9, 3), np.uint8)), "uint8: codes of a quantised"),
    "booleans": (saved(np.save, ROWS > 0), "bool: codes of a quantised or binary index"),
    "codes as float": (saved(np.save, (ROWS * 40).round()), "integers from -.*: codes of"),
    "codes as int64": (saved(np.save, (ROWS * 40).astype(int)), "integers from -.*: codes of"),
    "bits as float": (saved(np.save, (ROWS > 0).astype(np.float32)), "integers from 0 to 1"),
    "codes in JSON": (json.dumps((ROWS * 40).astype(int).tolist()), "integers from -.*: codes of"),
    "codes without scales": (saved(np.savez, codes=ROWS.astype(np.int8)), "int8: codes of"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_read_is_named(file, kind):
    content, message = REFUSED[kind]
    path = file(content)
    with pytest.raises(Vec2SlugError, match=message) as raised:
        read_vectors(path)
    assert str(raised.value).startswith(f"expected vectors in {path}, ")
    assert "allow_pickle" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_neither_a_file_nor_a_folder(tmp_path):
    with pytest.raises(Vec2SlugError, match=r"expected vectors at .*, found no file"):
        read_vectors(tmp_path / "none.npy")
    with pytest.raises(Vec2SlugError, match="a folder: of parquet files, vec2slug generate"):
        read_vectors(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "[1.5,2,3]\n[1.5,2]\n[1,2,4.5]\n",
        '{"v": [1.5, 2, 3]}\n{"v": [1.\n{"v": [1, 2, 4.5]}\n',
        '{"v": [1.5, 2, 3]}\n{"v": [1, null, 3]}\n{"v": [1, 2, 4.5]}\n',
        "a,b,c\n1.5,2,3\n1,n/a,3\n1,2,4.5",
        "[[1.5, 2, 3], null, [1, 2, 4.5]]",
    ],
)
def test_a_bad_row_costs_itself_alone_if_asked(file, content):
    nan = [np.nan] * 3
    np.testing.assert_array_equal(
        read_vectors(file(content), skip_bad=True), np.float32([[1.5, 2, 3], nan, [1, 2, 4.5]])
    )


def test_a_pipe_is_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[READ["npz of one"]])
    writer.start()
    np.testing.assert_array_equal(read_vectors(tmp_path / "pipe"), ROWS)
    writer.join()


FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(st.lists(FLOATS, min_size=1)), st.sampled_from([None, 1]), st.integers(1, 40))
def test_lists_are_read_in_pieces_of_any_size(rows, indent, size):
    text = json.dumps(rows, indent=indent)
    elements = vector_text._elements(io.StringIO(text), size)
    assert list(elements) == rows


def test_long_lists_are_read_in_little_memory(file):
    rows = [json.dumps(row) for row in np.random.default_rng(0).normal(size=(2000, 384)).tolist()]
    path = file("[" + ", ".join(rows) + "]")
    tracemalloc.start()
    found = read_vectors(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.shape == (2000, 384)
    assert peak < 4 * found.nbytes + (8 << 20)  # the text alone has 15 MB, its floats 25
