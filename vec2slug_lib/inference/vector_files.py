"""Files of vectors: what one is, is told by its first bytes, not by its name.

To read one more kind, add a row to ``KINDS``.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import re
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..common.errors import Vec2SlugError
from ..common.vectors import Array
from .familiarity import codes_in, spread
from .vector_arrays import SAVE, TORCH, read_npy, read_npz, read_safetensors
from .vector_source import Ahead, Block, Blocks, VectorSource
from .vector_text import read_text

HEAD = 512  # bytes that tell what a file is
PICKLE = rb"\x80[\x02-\x05]|\([ld]p\d|c(numpy|pandas|copy_reg|__)|[\]}]q\x00"  # of any protocol
PACKED: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open,
}  # fmt: skip
DAMAGE = (
    ValueError, EOFError, OSError, NotImplementedError, OverflowError, RecursionError, MemoryError,
    csv.Error, zipfile.BadZipFile, zlib.error, lzma.LZMAError,
)  # fmt: skip


class Kind(NamedTuple):
    """One kind of file, by what its first bytes match; read, or else named with advice."""

    name: str
    start: bytes  # a regular expression
    read: Callable[[VectorSource], Blocks] | None = None
    advice: str = SAVE


class VectorTable:
    """The rows of an open file of vectors, to go through once; a context that closes it.

    Iterating yields blocks of at most ``BLOCK`` rows, so that a file of any length is never in
    memory. If a row is no vector, the last block ends with it, as NaN.

    Attributes:
        rows: how many there are; None if the file does not tell beforehand.
        width: of a vector.
        has_ids: whether each row has an id.
        whole: all vectors ``[N, width]``, if they stay on the disk as an array; else None.
        notes: what was guessed, a sentence each.
        stops: what is wrong with the row at which reading stopped, such as "row 3 has no id".
    """

    def __init__(self, path: Path | None, column: str, id_column: str, skip_bad: bool) -> None:
        self._name = path or "standard input"
        self._open = ExitStack()
        with self._open, _naming(self._name):
            stream = self._open.enter_context(path.open("rb")) if path else sys.stdin.buffer
            on_disk = path if path and path.is_file() else None
            source = VectorSource(stream, on_disk, column, id_column, skip_bad)
            blocks = _read(source, self._open)
            self._open.callback(blocks.close)
            first = next(blocks)
            self._blocks = chain([first], blocks)
            self.rows, self.whole, self.notes = source.rows, source.whole, source.notes
            self.stops, self.has_ids = source.stops, first.ids is not None
            self.width = first.vectors.shape[1]
            sample = first.vectors if self.whole is None else self.whole
            if codes := codes_in(spread(sample)):
                raise Vec2SlugError(f"got {codes}")
            self._open = self._open.pop_all()

    def __iter__(self) -> Iterator[Block]:
        with _naming(self._name):
            yield from self._blocks

    def __enter__(self) -> VectorTable:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()


def open_vectors(
    path: Path | None, column: str = "", id_column: str = "", skip_bad: bool = False
) -> VectorTable:
    """Open a file of vectors, to read it block by block. The predictor checks the vectors.

    Args:
        path: an array of numpy, safetensors, a parquet or Arrow file, JSON, JSON lines, or a text
            of rows or columns of numbers; also packed by gzip, bzip2 or xz. None or ``-`` is
            standard input.
        column: name of the vectors, where there are several columns, keys, arrays or tensors; in
            JSON also a path such as ``vectors.title``. The only one that can be is guessed.
        id_column: name of the ids; one that is called ``id`` or the like is guessed.
        skip_bad: whether a row that is no vector becomes NaN, and one without an id is called by
            its number; else reading stops at it. The first row must be a vector.

    Raises:
        Vec2SlugError: there is no such file, it is damaged, or holds something else; the message
            says what, or which row is wrong. What comes later in the file is raised when it is
            reached.
    """
    return VectorTable(None if path == Path("-") else path, column, id_column, skip_bad)


def read_vectors(path: Path, skip_bad: bool = False) -> Array:
    """Read vectors ``[N, width]`` into memory; an array on the disk stays there.

    Raises:
        Vec2SlugError: see `open_vectors`; or a row is bad, and they are not skipped.
    """
    with open_vectors(path, skip_bad=skip_bad) as table:
        if table.whole is not None:
            return table.whole
        vectors = np.concatenate([block.vectors for block in table])
    if table.stops:
        raise Vec2SlugError(f"expected vectors in {path}, but {table.stops[0]}")
    return vectors


@contextmanager
def _naming(path: Path | str) -> Iterator[None]:
    """Name the file in an error of reading it."""
    try:
        yield
    except FileNotFoundError as error:
        raise Vec2SlugError(f"expected vectors at {path}, found no file") from error
    except IsADirectoryError as error:
        advice = "of parquet files, vec2slug generate reads a folder"
        raise Vec2SlugError(
            f"expected a file of vectors, got {path}, a folder: {advice}"
        ) from error
    except Vec2SlugError as error:
        raise Vec2SlugError(f"expected vectors in {path}, {error}") from error
    except DAMAGE as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise Vec2SlugError(f"expected vectors in {path}, but: {said}") from error


def _read(source: VectorSource, opened: ExitStack) -> Blocks:
    """Read a file as what it is, after it is unpacked if it is packed."""
    head = source.stream.read(HEAD)
    source.stream = io.BufferedReader(Ahead(head, source.stream))
    for start, unpack in PACKED.items():
        if head.startswith(start):
            source.stream, source.path = opened.enter_context(unpack(source.stream)), None
            return _read(source, opened)
    kind = next(kind for kind in KINDS if re.match(kind.start, head, re.DOTALL))
    if kind.read is None:
        raise Vec2SlugError(f"got {kind.name}: {kind.advice}")
    return kind.read(source)


def _table(name: str) -> Callable[[VectorSource], Blocks]:
    """Return a reader of `vector_tables`, which needs pyarrow."""

    def read(source: VectorSource) -> Blocks:
        try:
            tables = import_module(".vector_tables", __package__)
        except ImportError as error:
            advice = 'to read it: pip install "vec2slug[files]"'
            raise Vec2SlugError(f"got a parquet or Arrow file, install pyarrow {advice}") from error
        blocks: Blocks = getattr(tables, name)(source)
        return blocks

    return read


# The first that matches counts; the last two match anything.
KINDS = (
    Kind("an empty file", rb"\Z"),
    Kind("a .npy array", rb"\x93NUMPY", read_npy),
    Kind("a .npz archive", rb"PK\x03\x04|PK\x05\x06", read_npz),
    Kind("a parquet file", rb"PAR1", _table("read_parquet")),
    Kind("an Arrow file", rb"ARROW1", _table("read_arrow_file")),
    Kind("an Arrow stream", rb"\xff\xff\xff\xff.{3}\x00", _table("read_arrow_stream")),
    Kind(TORCH, rb"\x80\x02\x8a\x0al\xfc\x9cF\xf9"),
    Kind("a pickle, which can run code when it is opened", PICKLE),
    Kind("a safetensors file", rb".{5}\x00\x00\x00\{", read_safetensors),
    Kind("an HDF5 file", rb"\x89HDF\r\n\x1a\n"),
    Kind("a MATLAB file", rb"MATLAB 5\.0"),
    Kind("an SQLite database", rb"SQLite format 3\x00"),
    Kind("an Avro file", rb"Obj\x01"),
    Kind("a FAISS index", rb"I[xwBH][A-Za-z0-9]{2}..\x00\x00"),
    Kind("a binary dump of PostgreSQL", rb"PGCOPY\n\xff", None, "dump it as text or CSV"),
    Kind("a file packed by zstd", rb"\x28\xb5\x2f\xfd", None, "unpack it with: zstd -d FILE"),
    Kind("a 7-zip, RAR or tar archive", rb"7z\xbc\xaf|Rar!|.{257}ustar", None, "unpack it"),
    Kind("HTML or XML", rb"\s*<"),
    Kind("a pointer of Git LFS", rb"version https://git-lfs", None, "fetch the file: git lfs pull"),
    Kind("a text", rb"\xff\xfe|\xfe\xff|[^\x00]*\Z", read_text),
    Kind("a binary file of an unknown kind", rb""),
)  # fmt: skip
