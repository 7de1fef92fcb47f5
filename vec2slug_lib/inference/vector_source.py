"""A file of vectors on its way in: what is asked of it, and the blocks of rows that it becomes.

The readers of all kinds of files share what is here: which column is chosen, what an id is as a
text, and what becomes of a row that is no vector.
"""

from __future__ import annotations

import io
import json
import uuid
from array import array
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from ..common.errors import Vec2SlugError
from ..common.vectors import Array

BLOCK = 4_096  # rows of a block
NAMED = 12  # names of columns that a message lists
# What a column or key of ids is called; the first counts.
IDS = ("id", "_id", "ids", "uuid", "key", "keys", "custom_id")


class Block(NamedTuple):
    """Rows of a file, one behind the other."""

    ids: list[str] | None  # a text for each row; None if the file has none
    vectors: Array  # [n, width], of the file's own kind of numbers; a row that is none is NaN


Blocks = Generator[Block, None, None]
Row = tuple[Any, Iterable[Any] | Exception]  # an id or None; numbers, or what is wrong with them


class Ahead(io.RawIOBase):
    """A stream from its first byte on, some bytes of which have been read."""

    def __init__(self, head: bytes, stream: IO[bytes]) -> None:
        self._head, self._stream = head, stream

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what there is, into a buffer; return how many bytes."""
        size = len(buffer)
        data, self._head = self._head[:size], self._head[size:]
        data = data or self._stream.read(size)
        buffer[: len(data)] = data
        return len(data)


@dataclass
class VectorSource:
    """A file that is read, and what its reader says of it.

    Attributes:
        stream: its bytes, unpacked, from the first one on; they can be read once.
        path: where the same bytes lie on the disk; None if they do not.
        column: name of the vectors; guessed if empty.
        id_column: name of the ids; guessed if empty.
        skip_bad: whether a bad row becomes NaN; else it is the last one.
        rows: how many there are, if the file tells.
        whole: all vectors, if they stay on the disk.
        notes: what was guessed.
        stops: what is wrong with the row at which reading stopped.
    """

    stream: IO[bytes]
    path: Path | None = None
    column: str = ""
    id_column: str = ""
    skip_bad: bool = False
    rows: int | None = None
    whole: Array | None = None
    notes: list[str] = field(default_factory=list)
    stops: list[str] = field(default_factory=list)

    def in_memory(self) -> IO[bytes]:
        """Return a stream that can be read from its end."""
        return self.path.open("rb") if self.path else io.BytesIO(self.stream.read())

    def choose(
        self, what: str, names: Mapping[str, str], vectors: Sequence[str], guess: str | None
    ) -> tuple[str, str | None]:
        """Choose the column of vectors and that of ids, as asked or guessed; note a guess.

        Args:
            what: a column is called, such as "array".
            names: of all columns, with what a message says of each.
            vectors: names of those that can be vectors.
            guess: name of the ids, if none is asked for.

        Raises:
            Vec2SlugError: there is none of the name, no vectors, or several.
        """
        every = listed(names.values())
        for option, wanted in (("--column", self.column), ("--id-column", self.id_column)):
            if wanted and wanted not in names:
                raise Vec2SlugError(f"got no {what} {wanted} ({option}), but {every}")
        if self.column and self.column not in vectors:
            raise Vec2SlugError(f"got the {what} {self.column}, not of vectors, among {every}")
        if not self.column and len(vectors) != 1:
            several = listed([names[name] for name in vectors])
            said = f"several {what}s of vectors, {several}: name one with --column"
            raise Vec2SlugError(f"got {said if vectors else f'no {what} of vectors, but {every}'}")
        column = self.column or vectors[0]
        key = self.id_column or guess
        ids = f"in the {what} {key}" if key else ""
        self.note(f"in the {what} {column}", ids, len(names) > 1)
        return column, key

    def note(self, vectors: str, ids: str, several: bool) -> None:
        """Note where vectors and ids are, if that was guessed and there are several places."""
        said = [] if self.column else [f"vectors are {vectors}"]
        if ids and not self.id_column:
            said.append(f"ids {ids}" if said else f"ids are {ids}")
        if said and several:
            self.notes.append(", ".join(said))

    def block(
        self, first: int, ids: list[str | None] | None, vectors: Array, wrong: dict[int, str]
    ) -> Block:
        """Make a block; unless bad rows are skipped it ends with the first one, see `stops`.

        Args:
            first: number of its first row in the file.
            ids: of its rows; a row that lacks one is bad, or called by its number.
            vectors: ``[n, width]``.
            wrong: what is wrong with a row, by its number in the block.

        Raises:
            Vec2SlugError: the first row of the file is bad.
        """
        if ids is not None and not self.skip_bad:
            wrong = {row: "has no id" for row, key in enumerate(ids) if key is None} | wrong
        if first == 0 and 0 in wrong:
            raise Vec2SlugError(f"but row 0 {wrong[0]}")
        if wrong:
            vectors = np.array(vectors, np.result_type(vectors, np.float16))
            vectors[list(wrong)] = np.nan
        end = len(vectors)
        if wrong and not self.skip_bad:
            end = min(wrong) + 1
            self.stops.append(f"row {first + end - 1} {wrong[end - 1]}")
        named = None if ids is None else [key or str(first + row) for row, key in enumerate(ids)]
        return Block(named and named[:end], vectors[:end])

    def gather(self, rows: Iterable[Row]) -> Blocks:
        """Gather rows into blocks of float32.

        Raises:
            Vec2SlugError: there are none, or the first one is bad.
        """
        first, named, buffer = 0, False, _Buffer()
        for key, values in rows:
            named = named or (buffer.width == 0 and (key is not None or bool(self.id_column)))
            buffer.add(key, values)
            bad = buffer.wrong or (named and buffer.ids[-1] is None)
            if (bad and not self.skip_bad) or len(buffer.ids) == BLOCK:
                yield self.block(first, *buffer.take(named))
                first += BLOCK
            if bad and not self.skip_bad:
                return
        if buffer.ids:
            yield self.block(first, *buffer.take(named))
        elif not first:
            raise Vec2SlugError("got a text without a row of numbers")


class _Buffer:
    """Rows of numbers as they are read, up to a block of them."""

    def __init__(self) -> None:
        self.width = 0
        self._clear()

    def _clear(self) -> None:
        self.numbers, self.ids, self.wrong = array("f"), list[str | None](), dict[int, str]()

    def add(self, key: Any, values: Iterable[Any] | Exception) -> None:
        """Add a row; one that is not like the first is bad.

        Raises:
            Vec2SlugError: the first row is bad.
        """
        end = len(self.numbers)
        try:
            if isinstance(values, Exception):
                raise values
            self.numbers.extend(values)
            self._check_width(len(self.numbers) - end)
        except (Vec2SlugError, TypeError, ValueError, OverflowError) as error:
            self.wrong[len(self.ids)] = reason = _reason(error)
            if not self.width:
                raise Vec2SlugError(f"but row 0 {reason}") from error
            del self.numbers[end:]
            self.numbers.extend([np.nan] * self.width)
        self.ids.append(id_text(key))

    def _check_width(self, width: int) -> None:
        self.width = self.width or width
        if width != self.width or not width:
            raise Vec2SlugError(wrong_width(width, self.width))

    def take(self, named: bool) -> tuple[list[str | None] | None, Array, dict[int, str]]:
        """Return ids, vectors ``[n, width]`` and what is wrong; the buffer is empty then."""
        ids, wrong = self.ids if named else None, self.wrong
        vectors = np.frombuffer(self.numbers, np.float32).reshape(-1, self.width)
        self._clear()
        return ids, vectors, wrong


def wrong_width(width: int, first: int) -> str:
    """Say that a row has another width than the first one, or none."""
    return f"has {width} numbers{f', those before it {first}' if first else ''}"


def _reason(error: Exception) -> str:
    """Say what is wrong with a row, as the end of a sentence."""
    if isinstance(error, Vec2SlugError):
        return str(error)
    return f"is not {'JSON' if isinstance(error, json.JSONDecodeError) else 'of numbers'}: {error}"


def listed(values: Iterable[str]) -> str:
    """List names for a message; of many, the first ones."""
    names = list(values)
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" * (len(names) > NAMED))


def guessed_id(names: Iterable[str]) -> str | None:
    """Guess which name is that of ids."""
    by_name = {name.strip().lower(): name for name in names}
    return next((by_name[name] for name in IDS if name in by_name), None)


def id_text(value: Any) -> str | None:
    """Return an id as text: numbers in decimal, bytes as UTF-8, else as a UUID or hexadecimal.

    None if there is none: a null, a NaN, an empty text.
    """
    if isinstance(value, dict) and len(value) == 1:  # as MongoDB writes {"$oid": "…"}
        (value,) = value.values()
    if value is None or value != value:
        return None
    if isinstance(value, bytes):
        return _text_of(value) or None
    if isinstance(value, float | np.floating) and value.is_integer():  # beside a null, in pandas
        value = int(value)
    return str(value).strip() or None


def _text_of(value: bytes) -> str:
    with suppress(UnicodeDecodeError):
        text = value.decode()
        if text.isprintable():
            return text
    return str(uuid.UUID(bytes=value)) if len(value) == 16 else value.hex()
