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
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from ..common.errors import Vec2SlugError
from ..common.vectors import Array, Floats, dequantise
from .familiarity import codes_in, spread
from .vector_text import RowBuffer, Stopped, read_text

HEAD = 512  # bytes that tell what a file is
OBJECTS = "an array of Python objects, such as lists of different lengths: save one of float32"
SAVE = "save the vectors with np.save as one array of float32"
TORCH = "a file of torch, which can run code when it is opened"
PICKLE = rb"\x80[\x02-\x05]|\([ld]p\d|c(numpy|pandas|copy_reg|__)|[\]}]q\x00"  # of any protocol
PACKED: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open,
}  # fmt: skip


class Source(NamedTuple):
    """A file that is read: its bytes, and where they are on the disk as they are, if they are."""

    stream: IO[bytes]
    path: Path | None
    skip_bad: bool
    stops: list[str] | None


class Kind(NamedTuple):
    """One kind of file, by what its first bytes match; read, or else named with advice."""

    name: str
    start: bytes  # a regular expression
    read: Callable[[Source], Array] | None = None
    advice: str = SAVE


def read_vectors(path: Path, skip_bad: bool = False, stops: list[str] | None = None) -> Array:
    """Read vectors ``[N, width]``; a ``.npy`` file stays on the disk. The predictor checks them.

    Args:
        path: an array of numpy, a parquet or Arrow file, JSON, JSON lines, or a text of rows or
            columns of numbers; also packed by gzip, bzip2 or xz.
        skip_bad: whether a row of a text or table that is no vector becomes NaN, instead of being
            an error.
        stops: takes what is wrong with the first such row; the array then ends with it, as NaN, so
            that the rows before it are not lost.

    Raises:
        Vec2SlugError: there is no such file, it is damaged, or holds something else; the message
            says what, or which row is wrong.
    """
    try:
        with path.open("rb") as file:
            vectors = _read(Source(file, path, skip_bad, stops))
        if codes := codes_in(spread(vectors)):
            raise Vec2SlugError(f"got {codes}")
        return vectors
    except FileNotFoundError as error:
        raise Vec2SlugError(f"expected vectors at {path}, found no file") from error
    except IsADirectoryError as error:
        advice = "of parquet files, vec2slug generate reads a folder"
        raise Vec2SlugError(
            f"expected a file of vectors, got {path}, a folder: {advice}"
        ) from error
    except Vec2SlugError as error:
        raise Vec2SlugError(f"expected vectors in {path}, {error}") from error
    except (
        ValueError, EOFError, OSError, NotImplementedError, OverflowError, RecursionError,
        csv.Error, zipfile.BadZipFile, zlib.error, lzma.LZMAError,
    ) as error:  # fmt: skip
        said = " ".join(str(error).split())
        raise Vec2SlugError(f"expected vectors in {path}, but: {said}") from error


def _read(source: Source) -> Array:
    """Read a file as what it is, after it is unpacked if it is packed."""
    stream = source.stream
    if not stream.seekable():  # such as a pipe of the shell
        stream = io.BytesIO(stream.read())
        source = source._replace(stream=stream, path=None)
    head = stream.read(HEAD)
    stream.seek(0)
    for start, opened in PACKED.items():
        if head.startswith(start):
            with opened(stream) as inner:
                return _read(source._replace(stream=inner, path=None))
    kind = next(kind for kind in KINDS if re.match(kind.start, head, re.DOTALL))
    if kind.read is None:
        raise Vec2SlugError(f"got {kind.name}: {kind.advice}")
    return kind.read(source)


def _in_memory(source: Source) -> IO[bytes]:
    """Return a stream that can be read from its end; what is packed is unpacked."""
    return source.stream if source.path else io.BytesIO(source.stream.read())


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Read shape and kind of a ``.npy`` array.

    Raises:
        ValueError: it is damaged.
    """
    form = np.lib.format
    old = form.read_magic(stream) == (1, 0)
    shape, _, kind = (form.read_array_header_1_0 if old else form.read_array_header_2_0)(stream)
    return shape, kind


def _check_kind(kind: np.dtype[Any]) -> None:
    if kind.hasobject:
        raise Vec2SlugError(f"got {OBJECTS}")
    if kind.kind == "V":
        raise Vec2SlugError(f"got records, or numbers of a kind unknown to numpy, {kind}: {SAVE}")


def _npy(source: Source) -> Array:
    stream = _in_memory(source)
    shape, kind = _header(stream)
    _check_kind(kind)
    size = stream.tell() + int(np.prod(shape, dtype=object)) * kind.itemsize
    length = stream.seek(0, io.SEEK_END)
    if length < size:
        raise Vec2SlugError(f"but it is truncated: {length} bytes of {size}")
    if length > size:
        raise Vec2SlugError("got more than one array in a file: save each by itself")
    if source.path:
        return np.asanyarray(np.load(source.path, mmap_mode="r"))
    stream.seek(0)
    return np.asanyarray(np.load(stream))


def _zip(source: Source) -> Array:
    """Read an archive of arrays: the only one of two dimensions, or codes and their scales."""
    stream = _in_memory(source)
    with zipfile.ZipFile(stream) as archive:
        names = archive.namelist()
        if any(name.endswith("data.pkl") for name in names):
            raise Vec2SlugError(f"got {TORCH}: {SAVE}")
        if not names or not all(name.endswith(".npy") for name in names):
            workbook = "[Content_Types].xml" in names
            what = "an Excel or Office file" if workbook else f"a zip of {', '.join(names[:3])}"
            raise Vec2SlugError(f"got {what}: {SAVE}")
        arrays = {}
        for name in names:
            with archive.open(name) as member:
                arrays[name[:-4]] = _header(member)
    stream.seek(0)
    with np.load(stream) as file:
        return _chosen(arrays, file)


def _chosen(arrays: dict[str, tuple[tuple[int, ...], np.dtype[Any]]], file: Any) -> Array:
    """Choose the vectors among named arrays."""
    scales = next((name for name in ("scale", "scales") if name in arrays), None)
    if scales and "codes" in arrays and arrays["codes"][1] == np.int8:
        codes, scale = file["codes"], file[scales].reshape(-1).astype(np.float32)
        if codes.ndim != 2 or len(scale) != len(codes):
            raise Vec2SlugError(f"got {len(scale)} scales for codes of shape {list(codes.shape)}")
        return dequantise(codes, scale)
    tables = [n for n, (shape, kind) in arrays.items() if len(shape) == 2 and kind.kind in "biuf"]
    names = list(arrays) if len(arrays) == 1 else tables
    if len(names) != 1:
        all_shapes = ", ".join(f"{n} {list(shape)} {kind}" for n, (shape, kind) in arrays.items())
        raise Vec2SlugError(f"got several arrays, {all_shapes}: save the one of the vectors alone")
    _check_kind(arrays[names[0]][1])
    return np.asanyarray(file[names[0]])


def _parquet(source: Source) -> Array:
    pyarrow = _pyarrow()
    from pyarrow.parquet import ParquetFile

    file = ParquetFile(_in_memory(source), pre_buffer=False)
    name = _vector_column(pyarrow, file.schema_arrow)
    return _of_columns((b.column(0) for b in file.iter_batches(4096, columns=[name])), source)


def _arrow(source: Source) -> Array:
    pyarrow = _pyarrow()
    stream = _in_memory(source)
    if stream.read(6) == b"ARROW1":
        stream.seek(0)
        file = pyarrow.ipc.open_file(stream)
        batches = (file.get_batch(i) for i in range(file.num_record_batches))
    else:
        stream.seek(0)
        file = batches = pyarrow.ipc.open_stream(stream)
    name = _vector_column(pyarrow, file.schema)
    return _of_columns((batch.column(name) for batch in batches), source)


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError as error:
        raise Vec2SlugError("got a parquet or Arrow file: install pyarrow to read it") from error
    return pyarrow


def _vector_column(pyarrow: Any, schema: Any) -> str:
    """Find the only column of lists of numbers."""
    names = []
    for field in schema:
        kind = getattr(field.type, "storage_type", field.type)
        value = getattr(kind, "value_type", None)
        numbers = (pyarrow.types.is_floating, pyarrow.types.is_integer)
        lists = pyarrow.types.is_list, pyarrow.types.is_large_list, pyarrow.types.is_fixed_size_list
        if any(of(kind) for of in lists) and any(of(value) for of in numbers):
            names.append(field.name)
    if len(names) != 1:
        what = ", ".join(names or schema.names)
        raise Vec2SlugError(
            f"got a table with {len(names)} columns of vectors ({what}): "
            "vec2slug generate --column NAME reads such tables"
        )
    return str(names[0])


def _of_columns(columns: Iterator[Any], source: Source) -> Floats:
    """Gather the rows of a column of lists."""
    rows = RowBuffer(source.skip_bad, source.stops)
    with suppress(Stopped):
        for column in columns:
            rows.add_all(getattr(column, "storage", column), _numbers)
    return rows.array()


def _numbers(row: Any) -> Array:
    """Return the numbers of a row of a column of lists; none of a null."""
    numbers = row.values.to_numpy(zero_copy_only=False) if row.is_valid else np.empty(0)
    return np.asarray(numbers)


def _text(source: Source) -> Floats:
    return read_text(source.stream, source.skip_bad, source.stops)


# The first that matches counts; the last two match anything.
KINDS = (
    Kind("an empty file", rb"\Z"),
    Kind("a .npy array", rb"\x93NUMPY", _npy),
    Kind("a .npz archive", rb"PK\x03\x04|PK\x05\x06", _zip),
    Kind("a parquet file", rb"PAR1", _parquet),
    Kind("an Arrow file", rb"ARROW1|\xff\xff\xff\xff.{3}\x00", _arrow),
    Kind(TORCH, rb"\x80\x02\x8a\x0al\xfc\x9cF\xf9"),
    Kind("a pickle, which can run code when it is opened", PICKLE),
    Kind("a safetensors file", rb".{5}\x00\x00\x00\{\""),
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
    Kind("a text", rb"\xff\xfe|\xfe\xff|[^\x00]*\Z", _text),
    Kind("a binary file of an unknown kind", rb""),
)  # fmt: skip
