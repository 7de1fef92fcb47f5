"""Vectors in arrays: ``.npy``, ``.npz`` and safetensors, read by numpy alone and never a pickle."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any, NamedTuple

import numpy as np

from ..common.errors import Vec2SlugError
from ..common.vectors import Array, dequantise
from .vector_source import BLOCK, Blocks, VectorSource, guessed_id, id_text

SAVE = "save the vectors with np.save as one array of float32"
OBJECTS = "an array of Python objects, such as lists of different lengths: save one of float32"
TWO = "more than one array in a file: save each by itself"
TORCH = "a file of torch, which can run code when it is opened"
LONGEST = 100_000_000  # bytes of a header of tensors, as their format says
SCALES = ("scale", "scales")  # names of the array beside int8 codes
BF16 = np.dtype([("bfloat16", "<u2")])  # which numpy lacks: the upper half of a float32
TENSORS: dict[str, Any] = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": BF16, "BOOL": "?",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1",
}  # fmt: skip


class Header(NamedTuple):
    """What an array is, before its numbers are read."""

    shape: tuple[int, ...]
    fortran: bool
    kind: np.dtype[Any]

    @property
    def size(self) -> int:
        """Bytes of the numbers."""
        return math.prod(self.shape) * self.kind.itemsize

    @property
    def numbers(self) -> str:
        """What numbers they are: "float", "integer", or "" of none."""
        if self.kind.kind == "f" or self.kind == BF16:
            return "float"
        return "integer" if self.kind.kind in "biu" else ""


def read_npy(source: VectorSource) -> Blocks:
    """Read one array; on the disk it stays there."""
    header = _header(source.stream)
    _check(header)
    source.rows = header.shape[0]
    if source.path:
        source.whole = _mapped(source.path)
        yield from _blocks(source, _slices(source.whole))
    else:
        yield from _blocks(source, _pieces(source.stream, header))
        if source.stream.read(1):
            raise Vec2SlugError(f"got {TWO}")


def _mapped(path: Path) -> Array:
    """Map an array on the disk, which must be the whole file."""
    with path.open("rb") as file:
        header = _header(file)
        size, length = file.tell() + header.size, path.stat().st_size
    if length < size:
        raise Vec2SlugError(f"but it is truncated: {length} bytes of {size}")
    if length > size:
        raise Vec2SlugError(f"got {TWO}")
    return np.asanyarray(np.load(path, mmap_mode="r"))


def read_npz(source: VectorSource) -> Blocks:
    """Read an array of an archive, or codes and their scales; with the ids beside them."""
    with source.in_memory() as stream, zipfile.ZipFile(stream) as archive:
        members = archive.namelist()
        if any(name.endswith("data.pkl") for name in members):
            raise Vec2SlugError(f"got {TORCH}: {SAVE}")
        if not members or not all(name.endswith(".npy") for name in members):
            workbook = "[Content_Types].xml" in members
            what = "an Excel or Office file" if workbook else f"a zip of {', '.join(members[:3])}"
            raise Vec2SlugError(f"got {what}: {SAVE}")
        arrays = {}
        for name in members:
            with archive.open(name) as member:
                arrays[name[:-4]] = _header(member)

        def pieces(name: str) -> Iterator[Array]:
            with archive.open(f"{name}.npy") as member:
                yield from _pieces(member, _header(member))

        column, key = _chosen(source, "array", arrays)
        scales = next((name for name in SCALES if name in arrays), "")
        vectors = pieces(column)
        if column == "codes" and scales and arrays[column].kind == np.int8:
            vectors = _dequantised(arrays, scales, vectors, pieces(scales))
        yield from _blocks(source, vectors, pieces(key) if key else None)


def _dequantised(
    arrays: dict[str, Header], name: str, codes: Iterator[Array], scales: Iterator[Array]
) -> Iterator[Array]:
    """Restore vectors from codes ``[N, width]`` and scales ``[N]`` or ``[N, 1]``."""
    count, shape = math.prod(arrays[name].shape), arrays["codes"].shape
    if count != shape[0]:
        raise Vec2SlugError(f"got {count} scales for codes of shape {list(shape)}")
    for rows, scale in zip(codes, scales, strict=True):
        yield dequantise(rows, scale.reshape(-1).astype(np.float32))


def read_safetensors(source: VectorSource) -> Blocks:
    """Read a tensor of two dimensions, with the ids in one of whole numbers if it is named."""
    size = int.from_bytes(source.stream.read(8), "little")
    head = source.stream.read(min(size, LONGEST))
    if len(head) < size:
        raise Vec2SlugError(f"but it is truncated: {8 + len(head)} bytes of {8 + size} and more")
    tensors, data = _tensors(head), _data(source, 8 + size)
    for name, (header, begin, end) in tensors.items():
        inside = 0 <= begin <= end <= len(data) and min(header.shape, default=0) >= 0
        if not inside or end - begin != header.size:
            raise Vec2SlugError(
                f"but it is damaged: {name} of shape {list(header.shape)} lies in bytes {begin} "
                f"to {end} of {len(data)}"
            )

    def tensor(name: str) -> Array:
        header, begin, end = tensors[name]
        return data[begin:end].view(header.kind).reshape(header.shape)

    column, key = _chosen(
        source, "tensor", {name: header for name, (header, *_) in tensors.items()}
    )
    vectors = tensor(column)
    if source.path and vectors.dtype != BF16:
        source.whole = vectors
    yield from _blocks(source, _slices(vectors), _slices(tensor(key)) if key else None)


def _data(source: VectorSource, start: int) -> Array:
    """Return the bytes behind a header, on the disk if they are there."""
    if source.path:
        return np.memmap(source.path, np.uint8, "r")[start:]
    return np.frombuffer(source.stream.read(), np.uint8)


def _tensors(head: bytes) -> dict[str, tuple[Header, int, int]]:
    """Read what tensors there are, and where each begins and ends.

    Raises:
        Vec2SlugError: the header says something else.
    """
    try:
        tensors = {}
        for name, entry in json.loads(head).items():
            if name != "__metadata__":
                shape, (begin, end) = tuple(map(int, entry["shape"])), entry["data_offsets"]
                unknown = f"V{max(1, (end - begin) // max(1, math.prod(shape)))}"
                kind = np.dtype(TENSORS.get(entry["dtype"], unknown))
                tensors[name] = Header(shape, False, kind), int(begin), int(end)
        return tensors
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Vec2SlugError(f"but its header is damaged: {error!r}") from error


def _header(stream: IO[bytes]) -> Header:
    """Read what an array of numpy is.

    Raises:
        ValueError: it is damaged.
    """
    form = np.lib.format
    old = form.read_magic(stream) == (1, 0)
    read = form.read_array_header_1_0 if old else form.read_array_header_2_0
    try:
        return Header(*read(stream))
    except (TokenError, SyntaxError) as error:  # which numpy does not expect
        raise ValueError(f"its header is damaged: {error}") from error


def _check(header: Header) -> None:
    """Refuse an array that is not one of vectors."""
    shape, kind = list(header.shape), header.kind
    if kind.hasobject:
        raise Vec2SlugError(f"got {OBJECTS}")
    if not header.numbers:
        what = (
            "records, or numbers of a kind unknown to numpy" if kind.kind == "V" else "no numbers"
        )
        raise Vec2SlugError(f"got {what}, {kind}: {SAVE}")
    if len(shape) != 2:
        raise Vec2SlugError(f"got an array of shape {shape}, not [N, width]")
    if not all(shape):
        raise Vec2SlugError(f"got an array of shape {shape}, without at least one row of numbers")


def _chosen(source: VectorSource, what: str, arrays: dict[str, Header]) -> tuple[str, str | None]:
    """Choose the array of vectors, and that of ids, among named ones."""
    tables = [n for n, header in arrays.items() if len(header.shape) == 2 and header.numbers]
    floats = [name for name in tables if arrays[name].numbers == "float"]
    if "codes" in tables and any(name in arrays for name in SCALES):
        floats = ["codes"]
    vectors = tables if source.column else list(arrays) if len(arrays) == 1 else floats or tables
    lengths = {arrays[name].shape[0] for name in tables}
    ids = [n for n, (shape, _, kind) in arrays.items() if len(shape) == 1 and shape[0] in lengths]
    ids = [name for name in ids if arrays[name].kind.kind in "USiu" and what == "array"]
    shapes = {n: f"{n} {list(shape)} {kind}" for n, (shape, _, kind) in arrays.items()}
    column, key = source.choose(what, shapes, vectors, guessed_id(ids))
    _check(arrays[column])
    source.rows = arrays[column].shape[0]
    if key and (arrays[key].shape != (source.rows,) or arrays[key].kind.kind not in "USiu"):
        raise Vec2SlugError(f"got the {what} {shapes[key]}, which is not of {source.rows} ids")
    return column, key


def _slices(rows: Array) -> Iterator[Array]:
    """Cut rows into blocks."""
    for start in range(0, len(rows), BLOCK):
        yield rows[start : start + BLOCK]


def _pieces(stream: IO[bytes], header: Header) -> Iterator[Array]:
    """Read the numbers of an array in blocks of rows, or whole if it is in order of columns."""
    (count, *inner), fortran, kind = header
    step = count if fortran else BLOCK
    for start in range(0, count, step):
        shape = min(step, count - start), *inner
        data = stream.read(math.prod(shape) * kind.itemsize)
        if len(data) < math.prod(shape) * kind.itemsize:
            raise Vec2SlugError(f"but it is truncated, behind row {start}")
        yield from _slices(np.frombuffer(data, kind).reshape(shape, order="F" if fortran else "C"))


def _blocks(
    source: VectorSource, vectors: Iterator[Array], ids: Iterator[Array] | None = None
) -> Blocks:
    """Make blocks of rows and of their ids, which are cut alike."""
    first = 0
    for rows in vectors:
        keys = None if ids is None else [id_text(value) for value in next(ids).tolist()]
        if rows.dtype == BF16:
            rows = (rows["bfloat16"].astype(np.uint32) << 16).view(np.float32)
        yield source.block(first, keys, rows, {})
        if source.stops:
            return
        first += len(rows)
