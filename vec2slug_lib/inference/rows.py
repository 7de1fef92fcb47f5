"""Rows of vectors on their way through a predictor: cut into pieces, checked, and told apart.

A bad row costs itself alone: what comes before it is done, and what is wrong is said in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from ..common.errors import Vec2SlugError
from ..common.vectors import Array, Floats, as_array, check_shape, unit_rows
from .beam_search import Candidate


class Page(NamedTuple):
    """A row whose text is at hand."""

    vector: Array
    text: str


Row = Array | Page
Rows = Array | Iterable[Row]


class BadRow(list[Candidate]):
    """The candidates of a row that is no vector: none, and why.

    Attributes:
        reason: what is wrong with it, as the end of a sentence.
        message: the same, with what was expected and the row's number.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__()
        self.reason, self.message = reason, message


def reason_of(candidates: list[Candidate]) -> str:
    """Say why a row has no candidates."""
    return candidates.reason if isinstance(candidates, BadRow) else "has no slug"


def pieces(vectors: Rows, size: int) -> Iterator[tuple[int, Sequence[Row] | Array]]:
    """Cut rows into blocks of ``size``, each with the number of its first."""
    if isinstance(vectors, np.ndarray):
        for begin in range(0, len(vectors), size):
            yield begin, vectors[begin : begin + size]
        return
    if not isinstance(vectors, Iterable):
        raise Vec2SlugError(f"expected an array or rows of vectors, got {type(vectors).__name__}")
    rows: list[Row] = []
    begin = 0
    try:
        for row in vectors:
            rows.append(as_row(row))
            if len(rows) == size:
                yield begin, rows
                rows, begin = [], begin + size
    except Exception:  # of the iterable: the rows before it come first
        if rows:
            yield begin, rows
        raise
    if rows:
        yield begin, rows


def as_row(row: Row) -> Row:
    """Return a row as an array, and with its text if it has one."""
    return Page(as_array(row.vector), row.text) if isinstance(row, Page) else as_array(row)


def submit(
    pool: ThreadPoolExecutor,
    work: Callable[..., list[list[Candidate]]],
    pieces: Iterator[tuple[int, Sequence[Row] | Array]],
    first: int,
) -> Iterator[Future[list[list[Candidate]]]]:
    """Submit pieces; an error in reading them is raised when its turn comes, as those of work."""
    try:
        for begin, piece in pieces:
            yield pool.submit(work, piece, first=first + begin)
    except Exception as error:
        failed: Future[list[list[Candidate]]] = Future()
        failed.set_exception(error)
        yield failed


def texts_of(rows: Sequence[Row] | Array) -> tuple[Sequence[Array] | Array, list[str]]:
    """Part rows from their texts, which are empty where none is at hand."""
    if isinstance(rows, np.ndarray):
        return rows, [""] * len(rows)
    pages = [row if isinstance(row, Page) else Page(row, "") for row in rows]
    return [page.vector for page in pages], [page.text for page in pages]


def checked_rows(rows: Sequence[Array] | Array, width: int) -> tuple[Floats, dict[int, str]]:
    """Bring rows to unit length as `unit_rows`; in a list, those of another shape are bad too."""
    if isinstance(rows, np.ndarray):
        check_shape(rows, width)
        return unit_rows(rows)
    wrong = {
        number: f"has the shape {list(row.shape)}"
        for number, row in enumerate(rows)
        if row.shape != (width,) or row.dtype.kind not in "fiub"
    }
    none = np.full(width, np.nan)
    unit, bad = unit_rows(np.stack([none if n in wrong else row for n, row in enumerate(rows)]))
    return unit, bad | wrong


def results(
    rows: list[list[Candidate]], progress: Callable[[int], object] | None, skip_bad: bool
) -> Iterator[list[Candidate]]:
    """Yield the candidates of each row, and report it as done; a bad one is an error or empty."""
    for row in rows:
        if isinstance(row, BadRow) and not skip_bad:
            raise Vec2SlugError(row.message)
        yield row
        if progress:
            progress(1)
