"""Vectors in text: JSON, bracketed rows as of pgvector, columns of numbers.

A file of any length is read piece by piece.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import IO

import numpy as np

from ..common.errors import Vec2SlugError
from .vector_json import CLOSE, read_list, read_objects, split_numbers
from .vector_source import IDS, Ahead, Blocks, Row, VectorSource, guessed_id, listed

HEAD = 1 << 16  # bytes that tell what a text is
LABELS = ("index", "row", "", "unnamed: 0", *IDS)  # names of a column of numbers that are none
BRACKETED = re.compile(r"\s*[\[{(]\s*[-+.\dnN]")


def read_text(source: VectorSource) -> Blocks:
    """Read the vectors of a text.

    Raises:
        Vec2SlugError: it holds no rows of numbers, or one that is not like the others.
    """
    start = source.stream.read(HEAD)
    encoding = "utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    stream = io.BufferedReader(Ahead(start, source.stream))
    text = io.TextIOWrapper(stream, encoding, errors="replace", newline="")
    head = start.decode(encoding, errors="replace").lstrip()
    yield from source.gather(_rows(source, text, head))


def _rows(source: VectorSource, text: IO[str], head: str) -> Iterator[Row]:
    """Yield the rows of a text that begins with ``head``."""
    first = head.split("\n", 1)[0].rstrip("\r, ")
    if BRACKETED.match(first) and (first[-1] in CLOSE or first == head):
        if wanted := source.column or source.id_column:
            raise Vec2SlugError(f"got rows of numbers alone, and no column {wanted}")
        return ((None, split_numbers(line)) for line in text if line.strip())
    if head[:1] == "[":
        return read_list(source, text)
    if head[:1] == "{":
        return read_objects(source, text)
    return _read_delimited(source, text, first)


def _read_delimited(source: VectorSource, text: IO[str], first: str) -> Iterator[Row]:
    """Read columns of numbers, or a column of bracketed vectors, with or without a header.

    Columns without a header are called 1, 2 and so on.
    """
    lines = _cells(text, first)
    header = next(lines, [])
    data = next(lines, []) if is_header(header) else header
    named = data is not header and len(header) == len(data)
    if data:
        names = [n.strip() for n in header] if named else [str(n + 1) for n in range(len(data))]
        vectors = [column for column, cell in enumerate(data) if BRACKETED.match(cell)]
        read = _bracketed if vectors or source.column else _numeric
        yield from read(source, names, named, data, chain([data], lines))


def _bracketed(
    source: VectorSource, names: list[str], named: bool, data: list[str], lines: Iterable[list[str]]
) -> Iterator[Row]:
    """Read a column of bracketed vectors."""
    vectors = [names[column] for column, cell in enumerate(data) if BRACKETED.match(cell)]
    others = [name for name in names if name not in vectors]
    guess = guessed_id(others) if named else _only(others)
    name, key = source.choose("column", {name: name for name in names}, vectors, guess)
    column, ids = names.index(name), names.index(key) if key else None
    for cells in lines:
        cell = cells[column].strip() if column < len(cells) else ""
        missing = cell in ("", "\\N")  # a null in a dump of PostgreSQL
        numbers = Vec2SlugError("has no vector") if missing else split_numbers(cell)
        yield _cell(cells, ids), numbers


def _numeric(
    source: VectorSource, names: list[str], named: bool, data: list[str], lines: Iterable[list[str]]
) -> Iterator[Row]:
    """Read columns of numbers; labels may stand among them, if they are called so."""
    if source.id_column and source.id_column not in names:
        raise Vec2SlugError(f"got no column {source.id_column} (--id-column), but {listed(names)}")
    labels = {n for n in names if named and n.lower() in LABELS} | {source.id_column}
    numbers = [column for column, cell in enumerate(data) if is_number(cell)]
    numbers = [column for column in numbers if names[column] not in labels]
    if not numbers:
        raise Vec2SlugError("got a text without numbers in its first row")
    span = range(numbers[0], numbers[-1] + 1)
    columns = [column for column in span if names[column] not in labels]
    others = [name for column, name in enumerate(names) if column not in columns]
    key = source.id_column or (guessed_id(others) if named else _only(others))
    where = f"in the columns {names[columns[0]]} to {names[columns[-1]]}"
    source.note(where, f"in the column {key}" if key else "", bool(others))
    ids = names.index(key) if key else None
    for cells in lines:
        if len(cells) == len(data):
            yield _cell(cells, ids), map(float, [cells[column] for column in columns])
        else:
            width = len(cells) - len(data) + len(columns)
            yield None, Vec2SlugError(f"has {width} numbers, the first {len(columns)}")


def _only(names: list[str]) -> str | None:
    """Return the only name."""
    return names[0] if len(names) == 1 else None


def _cell(cells: list[str], column: int | None) -> str | None:
    """Return a cell that may be missing."""
    return cells[column] if column is not None and column < len(cells) else None


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
