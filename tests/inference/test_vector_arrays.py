"""Arrays and tensors of any kind of numbers are read as they are, and damaged ones are refused."""

import gzip
import json

import duckdb
import ml_dtypes
import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from vector_samples import IDS, LISTS, ROWS, joined, saved

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.inference.vector_files import open_vectors


def read(path, **options):
    """Ids and vectors of a file."""
    with open_vectors(path, **options) as opened:
        return joined(list(opened))


KINDS = ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8", np.longdouble]
SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))


@given(SHAPES, st.sampled_from(KINDS), st.sampled_from("CF"), st.booleans(), st.booleans())
def test_floats_of_any_kind_and_order_are_read(tmp_path_factory, shape, kind, order, archive, pack):
    values = np.random.default_rng(0).normal(size=shape)
    values = np.asarray(values, dtype=kind, order=order)
    path = tmp_path_factory.mktemp("v") / "v"
    content = saved(np.savez if archive else np.save, values)
    path.write_bytes(gzip.compress(content) if pack else content)
    _, vectors = read(path)
    assert vectors.dtype == values.dtype.newbyteorder("=")  # joined, they are native
    np.testing.assert_array_equal(vectors, values)


@given(SHAPES, st.sampled_from(["f2", "f4", "f8", "bf16"]), st.booleans())
def test_tensors_are_read(tmp_path_factory, shape, kind, pack):
    values = np.random.default_rng(0).normal(size=shape)
    values = values.astype(ml_dtypes.bfloat16 if kind == "bf16" else kind)
    folder = tmp_path_factory.mktemp("v")
    named = {"v": values, "scale": np.ones(3, np.float32), "keys": np.arange(shape[0])}
    safetensors.numpy.save_file(named, folder / "v.safetensors", metadata={"made": "here"})
    path = folder / "v.safetensors"
    if pack:
        path.write_bytes(gzip.compress(path.read_bytes()))
    ids, vectors = read(path)
    np.testing.assert_array_equal(vectors, values.astype(vectors.dtype))
    assert ids is None
    assert read(path, id_column="keys")[0] == [str(row) for row in range(shape[0])]


def tensors(**entries):
    head = entries.pop("head", None) or json.dumps(entries).encode()
    return len(head).to_bytes(8, "little") + head + bytes(48)


def entry(kind="F32", shape=(3, 4), start=0, end=48):
    return {"dtype": kind, "shape": list(shape), "data_offsets": [start, end]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (tensors(v=entry(end=49)), "damaged: v of shape [3, 4] lies in bytes 0 to 49 of 48"),
        (tensors(v=entry(start=-1)), "damaged: v of shape [3, 4] lies in bytes -1"),
        (tensors(v=entry(start=8, end=4)), "damaged: v of"),
        (tensors(v=entry(shape=(3, 5))), "damaged: v of shape [3, 5]"),
        (tensors(v=entry(shape=(-3, -4))), "damaged: v of shape [-3, -4]"),
        (tensors(v={"dtype": "F32"}), "its header is damaged: KeyError"),
        (tensors(v=[]), "its header is damaged: TypeError"),
        (tensors(head=b"{oh}"), "its header is damaged: JSONDecodeError"),
        (tensors(head=b'{"a": "\xff"}'), "its header is damaged: UnicodeDecodeError"),
        (tensors(v=entry("F8_E4M3", (6, 8))), "numbers of a kind unknown to numpy"),
        (tensors(v=entry(shape=(12,))), "an array of shape [12], not [N, width]"),
        (tensors(v=entry(shape=(0, 4), end=0)), "shape [0, 4], without at least one row"),
        (tensors(__metadata__={"a": "b"}), "no tensor of vectors"),
        (tensors(v=entry("I8", (6, 8))), "int8: codes of a quantised"),
        (tensors(v=entry())[:30], "truncated"),
        ((10**12).to_bytes(8, "little") + b"{}", "truncated"),
    ],
)
def test_damaged_tensors_are_refused(tmp_path, content, message):
    (tmp_path / "v").write_bytes(content)
    with pytest.raises(Vec2SlugError) as raised:
        open_vectors(tmp_path / "v")
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (ROWS[0], "an array of shape [24], not [N, width]"),
        (ROWS[None], "an array of shape [1, 9, 24], not [N, width]"),
        (np.array(1.5), "an array of shape [], not [N, width]"),
        (ROWS[:0], "an array of shape [0, 24], without at least one row of numbers"),
        (ROWS[:, :0], "an array of shape [9, 0], without at least one row of numbers"),
        (ROWS.astype(np.complex64), "no numbers, complex64"),
        (ROWS.astype(str), "no numbers, <U32"),
    ],
)
@pytest.mark.parametrize("save", [np.save, np.savez])
def test_arrays_of_no_vectors_are_refused(tmp_path, values, message, save):
    (tmp_path / "v").write_bytes(saved(save, values))
    with pytest.raises(Vec2SlugError) as raised:
        open_vectors(tmp_path / "v")
    assert message in str(raised.value)


FRAME = pd.DataFrame({"id": IDS, "text": IDS, "embedding": LISTS})


def duckdb_table(path, vectors):
    with duckdb.connect() as database:
        database.register("pages", FRAME)
        database.execute(f"COPY (SELECT id, {vectors} AS embedding FROM pages) TO '{path}'")


TOOLS = {
    "pandas, lists": lambda path: FRAME.to_parquet(f"{path}.parquet"),
    "pandas, arrays": lambda path: FRAME.assign(embedding=list(ROWS)).to_parquet(f"{path}.parquet"),
    "pandas, half": lambda path: FRAME.assign(embedding=list(ROWS.astype(np.float16))).to_parquet(
        f"{path}.parquet"
    ),
    "pandas, zstd": lambda path: FRAME.to_parquet(f"{path}.parquet", compression="zstd"),
    "pandas, index": lambda path: FRAME.set_index("id").to_parquet(f"{path}.parquet"),
    "pandas, Feather": lambda path: FRAME.to_feather(f"{path}.feather"),
    "pandas, CSV": lambda path: FRAME.to_csv(f"{path}.csv"),
    "pandas, CSV of arrays": lambda path: FRAME.assign(embedding=list(ROWS)).to_csv(f"{path}.csv"),
    "pandas, JSON lines": lambda path: FRAME.to_json(
        f"{path}.jsonl.gz", orient="records", lines=True, double_precision=15
    ),
    "DuckDB, list": lambda path: duckdb_table(f"{path}.parquet", "embedding"),
    "DuckDB, array": lambda path: duckdb_table(f"{path}.parquet", "embedding::FLOAT[24]"),
    "DuckDB, CSV": lambda path: duckdb_table(f"{path}.csv", "embedding"),
    "DuckDB, JSON": lambda path: duckdb_table(f"{path}.json", "embedding"),
}


@pytest.mark.parametrize("tool", TOOLS)
def test_what_tools_write_is_read(tmp_path, tool):
    TOOLS[tool](tmp_path / "v")
    (path,) = tmp_path.iterdir()
    ids, vectors = read(path)
    assert ids == IDS
    np.testing.assert_allclose(vectors, ROWS, atol=1e-3 if "half" in tool else 1e-6)
