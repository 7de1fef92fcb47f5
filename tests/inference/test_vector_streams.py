"""Files of vectors are streamed: from a pipe, and in little memory however long they are."""

import gzip
import io
import json
import os
import sys
import threading
import tracemalloc
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from vector_samples import LISTS, READ, ROWS, arrow, saved, set_block, table, written

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.inference.vector_files import open_vectors, read_vectors


@contextmanager
def piped(content):
    """A pipe that is written to by a thread, as its path."""
    end, start = os.pipe()
    data = content if isinstance(content, bytes) else content.encode()

    def write():
        with os.fdopen(start, "wb") as file:
            file.write(data)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield end
    finally:
        os.close(end)
        writer.join()


@pytest.mark.parametrize("path", [None, Path("-"), Path("/dev/fd")])
@pytest.mark.parametrize("kind", READ)
def test_a_pipe_and_standard_input_are_read(file, monkeypatch, kind, path):
    expected = np.array(read_vectors(file(READ[kind])))
    with piped(READ[kind]) as end:
        with os.fdopen(os.dup(end), "rb") as stream:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stream))
            with open_vectors(path / str(end) if path == Path("/dev/fd") else path) as opened:
                blocks = list(opened)
            assert not sys.stdin.buffer.closed
        monkeypatch.undo()
    np.testing.assert_array_equal(np.concatenate([block.vectors for block in blocks]), expected)


def test_standard_input_is_named_in_errors(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"no vectors")))
    with pytest.raises(Vec2SlugError, match=r"^expected vectors in standard input, got a text"):
        open_vectors(None)


def test_what_is_damaged_behind_the_first_block_is_raised_when_it_is_reached(file, monkeypatch):
    set_block(monkeypatch, 2)
    for content in (gzip.compress(saved(np.save, ROWS)[:-1]), json.dumps(LISTS)[:-9]):
        path = file(content)
        with open_vectors(path) as opened:
            blocks = iter(opened)
            np.testing.assert_allclose(next(blocks).vectors, ROWS[:2], atol=1e-6)
            with pytest.raises(Vec2SlugError, match=f"^expected vectors in {path}, but it"):
                list(blocks)


@pytest.mark.parametrize("kind", ["npy", "npz of one", "Arrow file", "Arrow stream", "parquet"])
def test_damage_of_any_byte_is_an_error_or_other_numbers(file, kind):
    random = np.random.default_rng(0)
    for _ in range(60):
        content = bytearray(READ[kind])
        content[random.integers(min(len(content), 600))] = random.integers(256)
        with suppress(Vec2SlugError), open_vectors(file(bytes(content))) as opened:
            list(opened)


def test_without_pyarrow_the_extra_is_named(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "vec2slug_lib.inference.vector_tables", raising=False)
    for kind in ("parquet", "Arrow file", "Arrow stream"):
        with pytest.raises(Vec2SlugError, match=r'pip install "vec2slug\[files\]"$'):
            open_vectors(file(READ[kind]))


LONG = np.random.default_rng(0).normal(size=(4_000, 96)).astype(np.float32)
ROW = json.dumps(LONG[0].tolist())
TEXT = "some words " * 700


def long_file(kind):
    """A file of 4,000 rows; those of text have 30 MB and more."""
    lists = pa.FixedSizeListArray.from_arrays(pa.array(LONG.ravel()), 96)
    return {
        "npy": lambda: saved(np.save, LONG),
        "npz": lambda: saved(np.savez, v=LONG, ids=np.arange(4_000)),
        "parquet": lambda: written(pq.write_table, table(v=lists)),
        "Arrow stream": lambda: arrow(pa.ipc.new_stream, table(v=lists)),
        "JSON": lambda: "[" + ", ".join([f'{{"t": "{TEXT}", "v": {ROW}}}'] * 4_000) + "]",
        "JSON lines": lambda: f'{{"t": "{TEXT}", "v": {ROW}}}\n' * 4_000,
        "CSV": lambda: f'{TEXT},"{ROW}"\n' * 4_000,
        "pgvector": lambda: f"{TEXT}\t{ROW}\n" * 4_000,
        "numbers": lambda: f"{ROW[1:-1]}\n" * 4_000,
    }[kind]()


STREAMED = ("npy", "Arrow stream", "JSON", "JSON lines", "CSV", "pgvector", "numbers")
FROM_THE_END = ("npz", "parquet")  # if they are packed, they are read in memory


@pytest.mark.parametrize(
    ("kind", "packed"),
    [*((kind, False) for kind in STREAMED + FROM_THE_END), ("npy", True), ("CSV", True)],
)
def test_a_long_file_is_read_in_little_memory(file, monkeypatch, kind, packed):
    set_block(monkeypatch, 128)
    content = long_file(kind)
    content = content if isinstance(content, bytes) else content.encode()
    path = file(gzip.compress(content, 1) if packed else content)
    rows = 0
    tracemalloc.start()
    with open_vectors(path) as opened:
        for block in opened:
            rows += len(block.vectors)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows == 4_000
    assert peak < 4 << 20
