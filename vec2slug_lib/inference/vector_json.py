"""Vectors in JSON: lists, JSON lines, what services answer and what stores dump.

A list and lines are read piece by piece; one object is read whole.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import IO, Any

import numpy as np

from ..common.errors import Vec2SlugError
from .vector_source import Row, VectorSource, guessed_id, listed

PIECE = 1 << 17  # characters that are read at a time
# Keys under which services and databases put a vector, or what holds it; the first counts.
KEYS = ("embedding", "vector", "embeddings", "vectors", "values", "dense", "float", "_vectors")
HOLDERS = (
    "data", "response", "body", "points", "results", "result", "hits", "_source", "matches",
    "records", "fields", "predictions", "value", "rows",
)  # fmt: skip
OPEN, CLOSE = "[{(", "]})"


def split_numbers(text: str) -> Iterator[float]:
    """Read numbers between brackets, with commas or spaces between them."""
    inner = text.strip().rstrip(",").strip(OPEN + CLOSE)
    return map(float, inner.replace(",", " ").split())


def read_list(source: VectorSource, text: IO[str]) -> Iterator[Row]:
    """Read a list of vectors, or of what holds them; a list of numbers is one vector."""
    finder, numbers = Finder(source), list[float]()
    for row, element in enumerate(elements(text)):
        if isinstance(element, int | float) and len(numbers) == row:
            numbers.append(element)
        elif isinstance(element, list) and element and isinstance(element[0], list):
            yield None, Vec2SlugError("is a list of lists")
        else:
            yield from finder.rows(element)
    if numbers:
        yield from finder.rows(numbers)


def read_objects(source: VectorSource, text: IO[str]) -> Iterator[Row]:
    """Read JSON lines, or one object on one line or several."""
    finder, lines = Finder(source), filter(str.strip, text)
    first = next(lines)
    try:
        value = json.loads(first)
    except json.JSONDecodeError:
        yield from finder.rows_of_document(json.loads(first + text.read()))
        return
    second = next(lines, None)
    if second is None:
        yield from finder.rows_of_document(value)
        return
    for line in chain([first, second], lines):
        try:
            value = json.loads(line)
        except ValueError as error:
            yield None, error
        else:
            yield from finder.rows(value)


def elements(text: IO[str], size: int = PIECE) -> Iterator[Any]:
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


class Finder:
    """Finds vectors and their ids in JSON values, and notes under which keys the first ones are.

    Where a vector should be and is not, what is wrong comes in its place.
    """

    def __init__(self, source: VectorSource) -> None:
        self.source = source
        self._keys: list[str] = []  # of the object that was last seen
        self._vectors = self._ids = ""  # the keys of the vector and the id last seen
        self._several = self._noted = False

    def rows(
        self, value: Any, ids: Any = None, column: str | None = None, path: str = ""
    ) -> Iterator[Row]:
        """Yield an id or None, and the vector, of each row in a value.

        Args:
            value: a vector, a list of such values, or an object with a key for one.
            ids: of what holds the value: one, or a list of as many.
            column: the key that is still to come; that of the source if None.
            path: keys that lead from the row's object to the value, each with a dot behind it.
        """
        column = self.source.column if column is None else column
        if isinstance(value, dict):
            yield from self._rows_of_object(value, ids, column, path)
        elif isinstance(value, list) and value and isinstance(value[0], list | dict):
            for key, element in zip(_each(ids, len(value)), value, strict=True):
                yield from self.rows(element, key, column)
        else:
            (key,) = _each(ids, 1)
            self._note(key)
            yield key, Vec2SlugError(f"has no key {column}") if column else _vector(value)

    def rows_of_document(self, value: Any) -> Iterator[Row]:
        """Yield the rows of an object: a service's answer, lists side by side, or rows by name."""
        ids, column = None, self.source.column
        while isinstance(value, dict) and (step := _step(value, column)):
            ids = self._id(value, ids)
            self._see(value, step[0])
            _, value, column = step
        lists = isinstance(value, dict) and all(isinstance(v, list | dict) for v in value.values())
        if not lists or not (ids is None or isinstance(ids, dict)):
            yield from self.rows(value, ids, column)
            return
        if ids is None and not self.source.id_column:
            ids = {name: name for name in value}
            self.source.notes.append("ids are the names of the vectors")
        for name, item in value.items():
            yield from self.rows(item, (ids or {}).get(name), column)

    def _rows_of_object(
        self, value: dict[str, Any], ids: Any, column: str, path: str
    ) -> Iterator[Row]:
        ids = self._id(value, ids, path)
        step = _step(value, column)
        if not step and not column:
            names = list(_paths(value))
            if len(names) > 1:
                several = listed(path + name for name in names)
                yield ids, Vec2SlugError(f"has vectors under {several}: name one with --column")
                return
            step = (names[0], _at(value, names[0]), "") if names else None
        if step:
            name, inner, left = step
            self._see(value, path + name)
            yield from self.rows(inner, ids, left, f"{path}{name}.")
            return
        keys = listed(path + name for name in value) or "no keys"
        wanted = column or "embedding or vector"
        yield ids, Vec2SlugError(f"has no vector under {wanted}, but {keys}")

    def _id(self, value: dict[str, Any], outer: Any, path: str = "") -> Any:
        """Return the id or ids in an object, or else what its holder has."""
        name = self.source.id_column or guessed_id(value)
        own = _at(value, name) if name else None
        if own is None:
            return outer
        self._ids = f"{path}{name}"
        return own

    def _see(self, value: dict[str, Any], chosen: str) -> None:
        """Remember which key was chosen among which."""
        self._keys, self._vectors = list(value), chosen
        self._several |= len(value) > 1

    def _note(self, key: Any) -> None:
        """Note, with the first vector, under which keys it and its id are.

        Raises:
            Vec2SlugError: there is no id under the key that was asked for.
        """
        if self._noted:
            return
        self._noted, wanted = True, self.source.id_column
        if wanted and key is None:
            raise Vec2SlugError(f"got no key {wanted} (--id-column), but {listed(self._keys)}")
        if self._vectors:
            ids = f"under the key {self._ids}" if key is not None and self._ids else ""
            self.source.note(f"under the key {self._vectors}", ids, self._several)


def _each(ids: Any, count: int) -> list[Any]:
    """Return the id of each of ``count`` values: of a list of as many, or of a single value."""
    if isinstance(ids, list):
        return ids if len(ids) == count else [None] * count
    return [ids] if count == 1 else [None] * count


def _step(value: dict[str, Any], column: str) -> tuple[str, Any, str] | None:
    """Choose the key that leads on to a vector; return it, what it holds, what is still to come."""
    if column and (inner := _at(value, column)) is not None:
        return column, inner, ""
    names = HOLDERS if column else (*KEYS, *HOLDERS)
    name = next((n for n in names if _holds(value.get(n), n in KEYS)), None)
    return (name, value[name], column) if name else None


def _holds(value: Any, vector: bool) -> bool:
    """Tell whether a value may be a vector, or may hold vectors."""
    if vector:
        return bool(value) and isinstance(value, list | dict | str)
    rows = isinstance(value, list) and bool(value) and isinstance(value[0], list | dict)
    return rows or isinstance(value, dict)


def _at(value: Any, name: str) -> Any:
    """Return what is under a key, or a path of keys with dots between them; None if nothing is."""
    if name in value:
        return value[name]
    for key in name.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _vector(value: Any) -> Iterable[Any] | Exception:
    """Return the numbers of a vector, or what is wrong with it."""
    if isinstance(value, str):
        return _unpacked(value)
    if not isinstance(value, list):
        return Vec2SlugError(f"is {value}, not a vector")
    if value and isinstance(value[0], bool):
        return Vec2SlugError("is of booleans, which are bits of a binary index")
    return value


def _paths(value: dict[str, Any]) -> Iterator[str]:
    """Yield the keys of vectors in an object and in those that it holds."""
    for name, item in value.items():
        if isinstance(item, dict):
            step = _step(item, "")
            yield from (f"{name}.{path}" for path in ([step[0]] if step else _paths(item)))
        elif isinstance(item, list) and any(isinstance(number, float) for number in item):
            yield name


def _unpacked(text: str) -> Iterable[Any] | Exception:
    """Read a vector from a string: between brackets, or float32 in base64."""
    try:
        if text[:1] in OPEN:
            return list(split_numbers(text))
        numbers: list[float] = np.frombuffer(b64decode(text, validate=True), "<f4").tolist()
    except ValueError:
        return Vec2SlugError(f"is a text, {text[:20]!r}")
    return numbers
