"""Vectors in text: JSON, JSON lines, bracketed rows as of pgvector, columns of numbers.

A file of any length is read piece by piece into one array of float32.
"""

from __future__ import annotations

import csv
import io
import json
import re
from array import array
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from typing import IO, Any

import numpy as np

from ..common.errors import Vec2SlugError
from ..common.vectors import Floats

HEAD = 1 << 20  # characters that tell what a text is, and that are read at a time
# Keys under which services and databases put a vector, or what holds it; the first counts.
KEYS = ("embedding", "vector", "embeddings", "vectors", "values", "dense", "float")
HOLDERS = ("data", "response", "body", "points", "results", "result")
LABELS = ("id", "index", "row", "", "unnamed: 0")  # names of a column of numbers that are none
OPEN, CLOSE = "[{(", "]})"
BRACKETED = re.compile(r"\s*[\[{(]\s*[-+.\dnN]")


class Stopped(Exception):
    """Reading ends at a bad row."""


class RowBuffer:
    """Rows of numbers, gathered as float32.

    Args:
        skip_bad: whether a row that is none is kept as NaN, instead of being an error.
        stops: takes what is wrong with the first such row, which is then NaN and the last one.
    """

    def __init__(self, skip_bad: bool = False, stops: list[str] | None = None) -> None:
        self.skip_bad, self.stops, self.width, self.count = skip_bad, stops, 0, 0
        self._numbers = array("f")

    def add(self, row: Any, read: Callable[[Any], Iterable[Any]]) -> None:
        """Add what ``read`` makes of a row.

        Raises:
            Vec2SlugError: it has no numbers, or not as many as the first row.
            Stopped: the same, of a buffer that stops at such a row.
        """
        end = len(self._numbers)
        try:
            values = read(row)
            if isinstance(values, np.ndarray):
                self._numbers.frombytes(values.astype(np.float32).tobytes())
            else:
                self._numbers.extend(values)
            self._check_width(len(self._numbers) - end)
        except (Vec2SlugError, TypeError, ValueError, OverflowError) as error:
            said = f"row {self.count} {_reason(error)}"
            if not self.width or not (self.skip_bad or self.stops is not None):
                raise Vec2SlugError(f"but {said}") from error
            del self._numbers[end:]
            self._numbers.extend([np.nan] * self.width)
            if not self.skip_bad and self.stops is not None:
                self.count += 1
                self.stops.append(said)
                raise Stopped from None
        self.count += 1

    def add_all(self, values: Iterable[Any], read: Callable[[Any], Iterable[Any]]) -> None:
        """Add rows as `add` does."""
        for value in values:
            self.add(value, read)

    def _check_width(self, width: int) -> None:
        self.width = self.width or width
        if width != self.width or not width:
            others = f", those before it {self.width}" if self.width else ""
            raise Vec2SlugError(f"has {width} numbers{others}")

    def array(self) -> Floats:
        """Return the rows ``[N, width]``.

        Raises:
            Vec2SlugError: there are none.
        """
        if not self.count:
            raise Vec2SlugError("got a text without a row of numbers")
        return np.frombuffer(self._numbers, np.float32).reshape(self.count, self.width)


def _reason(error: Exception) -> str:
    """Say what is wrong with a row, as the end of a sentence."""
    if isinstance(error, Vec2SlugError):
        return str(error)
    return f"is not {'JSON' if isinstance(error, json.JSONDecodeError) else 'of numbers'}: {error}"


def read_text(stream: IO[bytes], skip_bad: bool, stops: list[str] | None = None) -> Floats:
    """Read the vectors ``[N, width]`` of a text; for the arguments see `RowBuffer`.

    Raises:
        Vec2SlugError: it holds no rows of numbers, or one that is not like the others.
    """
    start = stream.read(2)
    stream.seek(0)
    encoding = "utf-16" if start in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    text = io.TextIOWrapper(stream, encoding, errors="replace", newline="")
    head = text.read(HEAD).lstrip()
    text.seek(0)
    rows = RowBuffer(skip_bad, stops)
    with suppress(Stopped):
        _gather(rows, text, head)
    return rows.array()


def _gather(rows: RowBuffer, text: IO[str], head: str) -> None:
    """Add the rows of a text that begins with ``head``."""
    first = head.split("\n", 1)[0].rstrip("\r, ")
    if BRACKETED.match(first) and (first[-1] in CLOSE or first == head):
        rows.add_all(filter(str.strip, text), split_numbers)
    elif head[:1] == "[":
        _json_list(rows, text)
    elif head[:1] == "{" and _is_json(first) and first != head.strip():
        rows.add_all(_json_lines(text), _sound)
    elif head[:1] == "{":
        rows.add_all(_of_document(json.load(text)), _sound)
    else:
        _delimited(rows, text, first)


def split_numbers(text: str) -> Iterator[float]:
    """Read numbers between brackets, with commas or spaces between them."""
    inner = text.strip().rstrip(",").strip(OPEN + CLOSE)
    return map(float, inner.replace(",", " ").split())


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _sound(value: Sequence[Any] | Exception) -> Sequence[Any]:
    """Return a vector, or raise what is wrong with it."""
    if isinstance(value, Exception):
        raise value
    return value


def _json_list(rows: RowBuffer, text: IO[str]) -> None:
    """Read a list of vectors, or of what holds them; a list of numbers is one vector."""
    numbers = []
    for element in _elements(text):
        if isinstance(element, int | float) and not rows.count:
            numbers.append(element)
        elif isinstance(element, list) and element and isinstance(element[0], list):
            raise Vec2SlugError(f"but row {rows.count} is a list of lists")
        else:
            rows.add_all(vectors_in(element), _sound)
    rows.add_all(vectors_in(numbers) if numbers else (), _sound)


def _elements(text: IO[str], size: int = HEAD) -> Iterator[Any]:
    """Yield the elements of a JSON list, read in pieces of ``size`` characters or more."""
    decode, buffer, at = json.JSONDecoder().raw_decode, "", 0
    while not (buffer := (buffer + text.read(size)).lstrip()):
        pass
    buffer = buffer[1:]
    while True:
        while at < len(buffer) and buffer[at] in " \t\r\n,":
            at += 1
        if buffer[at : at + 1] == "]":
            return
        try:
            value, end = decode(buffer, at)
            whole = end < len(buffer)  # else a number may go on
        except ValueError:
            whole = False
        if whole:
            at = end
            yield value
            continue
        more = text.read(max(size, len(buffer) - at))  # twice as much: an element may be long
        if not more:
            raise Vec2SlugError("but its JSON ends, or breaks, within the list")
        buffer, at = buffer[at:] + more, 0


def _of_document(value: Any) -> Iterator[Sequence[Any] | Exception]:
    """Yield the vectors of a JSON object: a service's answer, or a vector for each name."""
    while isinstance(value, dict) and (key := _key_of(value)):
        value = value[key]
    names = isinstance(value, dict) and all(
        isinstance(item, list | dict) for item in value.values()
    )
    for item in value.values() if names else [value]:
        yield from vectors_in(item)


def _key_of(value: dict[str, Any]) -> str | None:
    """Find the key that holds a vector or vectors."""
    return next((name for name in (*KEYS, *HOLDERS) if value.get(name)), None)


def _json_lines(text: IO[str]) -> Iterator[Sequence[Any] | Exception]:
    """Yield the vectors of JSON lines as `vectors_in`."""
    for line in filter(str.strip, text):
        try:
            value = json.loads(line)
        except ValueError as error:
            yield error
        else:
            yield from vectors_in(value)


def vectors_in(value: Any) -> Iterator[Sequence[Any] | Exception]:
    """Yield the vectors in a JSON value: lists, objects with a key for one, a service's answer.

    Where one should be and is not, it yields what is wrong.
    """
    if isinstance(value, str):
        yield _unpacked(value)
    elif isinstance(value, list) and value and isinstance(value[0], list | dict):
        for element in value:
            yield from vectors_in(element)
    elif isinstance(value, list) and value and isinstance(value[0], bool):
        yield Vec2SlugError("is of booleans, which are bits of a binary index")
    elif isinstance(value, list):
        yield value
    elif isinstance(value, dict):
        key = _key_of(value)
        keys = [key] if key else [name for name, item in value.items() if _is_vector(item)]
        if len(keys) == 1:
            yield from vectors_in(value[keys[0]])
        else:
            names = ", ".join(map(str, keys or value)) or "no keys"
            yield Vec2SlugError(f"has no vector under embedding or vector, but {names}")
    else:
        yield Vec2SlugError(f"is {value}, not a vector")


def _is_vector(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(number, float) for number in value)


def _unpacked(text: str) -> Sequence[Any] | Exception:
    """Read a vector from a string: between brackets, or float32 in base64."""
    try:
        if text[:1] in OPEN:
            return list(split_numbers(text))
        numbers: list[float] = np.frombuffer(b64decode(text, validate=True), "<f4").tolist()
    except ValueError:
        return Vec2SlugError(f"is a text, {text[:20]!r}")
    return numbers


def _delimited(rows: RowBuffer, text: IO[str], first: str) -> None:
    """Read columns of numbers, or one column of bracketed vectors, with or without a header."""
    lines = _cells(text, first)
    header = next(lines, [])
    data = next(lines, []) if (named := is_header(header)) else header
    if not data:
        return
    vectors = [column for column, cell in enumerate(data) if BRACKETED.match(cell)]
    if len(vectors) > 1:
        names = ", ".join(header[c] if named else f"column {c}" for c in vectors)
        raise Vec2SlugError(f"got vectors in {names}: keep one of them")
    read: Callable[[list[str]], Iterable[float]]
    if vectors:
        read = _bracketed_column(vectors[0])
    else:
        read = _numeric_columns(data, header if named else [])
    rows.add_all(chain([data], lines), read)


def _cells(text: IO[str], first: str) -> Iterator[list[str]]:
    """Split lines at what separates the cells of the first one."""
    marks = ["\t", *sorted(";,", key=first.count, reverse=True)]
    delimiter = next((mark for mark in marks if mark in first), None)
    if delimiter is None and not first.startswith('"'):
        return filter(None, (line.split() for line in text))
    csv.field_size_limit(2**31 - 1)  # a vector may be one cell
    return filter(None, csv.reader(text, delimiter=delimiter or ","))


def is_number(cell: str) -> bool:
    """Tell whether a cell is a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def is_header(cells: Sequence[str]) -> bool:
    """Tell a line of names from one of numbers or vectors; names may be 0, 1, 2 and so on."""
    if any(BRACKETED.match(cell) for cell in cells):
        return False
    numbers = [float(cell) for cell in cells if is_number(cell)]
    counted = len(numbers) > 2 and (np.diff(numbers) == 1).all() and numbers[0] in (0, 1)
    return bool(counted) or 2 * len(numbers) < len(cells)


def _bracketed_column(column: int) -> Callable[[list[str]], Iterable[float]]:
    def read(cells: list[str]) -> Iterable[float]:
        if column >= len(cells) or not cells[column].strip():
            raise Vec2SlugError("has no vector")
        return split_numbers(cells[column])

    return read


def _numeric_columns(data: list[str], header: list[str]) -> Callable[[list[str]], Iterable[float]]:
    """Find the columns of numbers; labels may stand before and behind them."""
    numeric = [column for column, cell in enumerate(data) if is_number(cell)]
    if not numeric:
        raise Vec2SlugError("got a text without numbers in its first row")
    start, stop = numeric[0], numeric[-1] + 1
    if start < len(header) and header[start].strip().lower() in LABELS and len(numeric) > 1:
        start = numeric[1]

    def read(cells: list[str]) -> Iterable[float]:
        if len(cells) != len(data):
            raise Vec2SlugError(
                f"has {len(cells) - len(data) + stop - start} numbers, the first {stop - start}"
            )
        return map(float, cells[start:stop])

    return read
