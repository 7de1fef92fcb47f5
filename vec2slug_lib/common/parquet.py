"""Parquet files that are read piece by piece, and documents that stay in them, however many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, overload

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .errors import Vec2SlugError

BATCH = 1_000  # rows in memory at a time
BUFFER = 1 << 20  # bytes read at a time
DAMAGE = (OSError, ValueError, pa.ArrowException)  # what damaged parquet raises


def open_parquet(source: Path | str | IO[bytes]) -> pq.ParquetFile:
    """Open a parquet file so that ``iter_batches`` holds a page of each column at a time.

    As pyarrow opens it by default, the columns of a whole row group are read at once, and many
    programs write a million rows as one group.

    Raises:
        OSError, ValueError, pyarrow.ArrowException: there is no such file, or it is damaged.
    """
    return pq.ParquetFile(source, buffer_size=BUFFER, pre_buffer=False)


def open_documents(path: Path | str) -> tuple[Column, Column]:
    """Open the ids and the texts of a parquet file, which stay on the disk.

    Raises:
        Vec2SlugError: no parquet file with these columns.
    """
    try:
        file = open_parquet(path)
    except DAMAGE as error:
        raise Vec2SlugError(f"expected id and text in {path}, but: {error}") from error
    names = file.schema_arrow.names
    if not {"id", "text"} <= set(names):
        raise Vec2SlugError(f"expected id and text in {path}, got the columns {', '.join(names)}")
    return Column(file, "id", path), Column(file, "text", path)


def undecoded(column: pa.Array) -> pa.Array:
    """Return a column's strings as bytes, so that a bad one does not lose the rest.

    Columns of other kinds come as they are.
    """
    types = pa.types
    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    strings = (types.is_string, types.is_large_string, types.is_string_view, types.is_binary)
    return column.cast(pa.large_binary()) if any(is_(column.type) for is_ in strings) else column


def strings(column: pa.Array) -> list[str]:
    """List the values of a column; bytes that are not UTF-8 become lone surrogates."""
    values = undecoded(column).to_pylist()
    return [
        value.decode(errors="surrogateescape") if isinstance(value, bytes) else value
        for value in values
    ]


class Column(Sequence[str]):
    """One column of a parquet file, as a sequence whose values stay on the disk.

    To go forwards, by rows or by slices, reads the file once; a step back, or one beyond the next
    row group, starts anew where the row group of that row does.

    Raises:
        Vec2SlugError: on reading, if the file is damaged.
    """

    def __init__(self, file: pq.ParquetFile, name: str, path: Path | str) -> None:
        self._file, self._name, self._path = file, name, path
        groups = (file.metadata.row_group(i) for i in range(file.metadata.num_row_groups))
        self._starts = np.cumsum([0, *(group.num_rows for group in groups)])  # and the end
        self._at, self._held = 0, list[str]()  # the rows in memory: number of the first, and all
        self._next = self._batches(0)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __iter__(self) -> Iterator[str]:
        for batch in self._batches(0):
            yield from batch

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self._value(row) for row in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"expected a row below {len(self)}, got {index}")
        return self._value(index % len(self))

    def _value(self, row: int) -> str:
        if not self._at <= row < self._at + len(self._held):
            self._hold(row)
        return self._held[row - self._at]

    def _hold(self, row: int) -> None:
        """Bring the batch of a row into memory."""
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        start = int(self._starts[group])
        if row < self._at or start > self._at + len(self._held):
            self._at, self._held, self._next = start, [], self._batches(group)
        while row >= self._at + len(self._held):
            self._at += len(self._held)
            self._held = next(self._next)

    def _batches(self, group: int) -> Iterator[list[str]]:
        """Yield values from the start of a row group to the end of the file."""
        groups = list(range(group, len(self._starts) - 1))
        row = int(self._starts[group])
        try:
            for batch in self._file.iter_batches(BATCH, row_groups=groups, columns=[self._name]):
                yield strings(batch.column(0))
                row += len(batch)
        except DAMAGE as error:
            raise Vec2SlugError(
                f"expected whole columns of documents in {self._path}, but in {self._name} from "
                f"row {row} on: {error}"
            ) from error
