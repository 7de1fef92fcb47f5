"""A file of vectors is read as what it is, or named for it."""

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
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
import torch
from hypothesis import given
from hypothesis import strategies as st
from vector_samples import IDS, LISTS, READ, ROWS, saved, table, written

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.vectors import quantise
from vec2slug_lib.inference import vector_json
from vec2slug_lib.inference.vector_files import read_vectors

PACKED = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


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
    "safetensors of two": (
        safetensors.numpy.save({"v": ROWS, "w": ROWS}),
        r"several tensors of vectors, v \[9, 24\] float32, w .*: name one with --column",
    ),
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
        r"several arrays of vectors, a \[9, 24\] float32, b \[2, 24\] float32: name one with",
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
        "no column of vectors, but id, text",
    ),
    "parquet of two": (
        written(pq.write_table, table(a=LISTS, b=LISTS)),
        "several columns of vectors, a, b: name one with --column",
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
        '{"id": 1, "a": [1.5], "b": [2.5]}\n' * 2, "row 0 has vectors under a, b: name one"
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
    "CSV of two": ('a,b\n"[1.5,2]","[1,2]"\n', "several columns of vectors, a, b: name one"),
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
    found = vector_json.elements(io.StringIO(text), size)
    assert list(found) == rows


def test_long_lists_are_read_in_little_memory(file):
    rows = [json.dumps(row) for row in np.random.default_rng(0).normal(size=(2000, 384)).tolist()]
    path = file("[" + ", ".join(rows) + "]")
    tracemalloc.start()
    found = read_vectors(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.shape == (2000, 384)
    assert peak < 4 * found.nbytes + (8 << 20)  # the text alone has 15 MB, its floats 25
