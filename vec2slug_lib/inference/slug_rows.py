"""Rows of a job on their way to a predictor, and back with their candidates.

A row is known by its key, which is there before its vector: a job that goes on embeds no text
again whose slug it has.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..common.errors import Vec2SlugError
from ..common.vectors import Array, check_shape, vector_key
from .beam_search import Candidate
from .predictor import SlugPredictor
from .rows import Page, Row, reason_of
from .unique import row_key
from .vector_source import BLOCK, Block


class Rows(NamedTuple):
    """Some rows of a job."""

    ids: Sequence[str] | None  # of each row; None where rows have none
    keys: Sequence[bytes]  # `row_key` of each row
    vectors: Callable[[int], Array]  # makes those ``[n, width]`` of the rows from a number on
    reasons: Mapping[int, str] = {}  # what is wrong with a row, where that is known, by its number
    texts: Sequence[str] | None = None  # of each row, if they count beside the vectors


class Named(NamedTuple):
    """What is said of a row: its number, id, key and candidates, or why it has none."""

    row: int
    id: str | None
    key: bytes
    candidates: list[Candidate]
    reason: str


def rows_of_blocks(blocks: Iterable[Block], width: int) -> Iterator[Rows]:
    """Make rows of blocks of vectors.

    Raises:
        Vec2SlugError: a block is not of shape ``[n, width]``, or empty, or not of numbers.
    """
    for ids, vectors in blocks:
        check_shape(vectors, width)
        names: Sequence[str | None] = ids or [None] * len(vectors)
        keys = [row_key(vector_key(v), name) for v, name in zip(vectors, names, strict=True)]
        yield Rows(ids, keys, _from(vectors))


def _from(vectors: Array) -> Callable[[int], Array]:
    return lambda first: vectors[first:]


def rows_of_array(vectors: Array, width: int) -> Iterator[Rows]:
    """Make rows of an array ``[N, width]``, memory-mapped or not, as `rows_of_blocks`."""
    starts = range(0, max(len(vectors), 1), BLOCK)
    blocks = (Block(None, vectors[start : start + BLOCK]) for start in starts)
    return rows_of_blocks(blocks, width)


class Feed:
    """Hands rows to a predictor, and what it finds back with their ids and keys.

    Args:
        rows: of the job.
        known: keys of the rows that are done, in their order.

    Attributes:
        count: rows that were handed on, or passed over as done.
    """

    def __init__(self, rows: Iterable[Rows], known: Sequence[bytes] = ()) -> None:
        self.rows, self.known, self.count = rows, known, 0
        self._waiting: deque[tuple[str | None, bytes, str]] = deque()

    def search(
        self,
        predictor: SlugPredictor,
        k: int,
        progress: Callable[[int], object] | None = None,
        skip_bad: bool = False,
    ) -> Iterator[Named]:
        """Yield the candidates of each row that is not done, as `SlugPredictor.stream`.

        Raises:
            Vec2SlugError: rows that are done are others than those of the job; or as `stream`.
        """
        first = len(self.known)
        found = predictor.stream(self._vectors(), k, progress, first, skip_bad)
        for row, candidates in enumerate(found, start=first):
            name, key, reason = self._waiting.popleft()
            wrong = "" if candidates else reason or reason_of(candidates)
            yield Named(row, name, key, candidates, wrong)

    def _vectors(self) -> Iterator[Row]:
        """Yield the vectors of the rows that are not done, and compare those that are."""
        for rows in self.rows:
            done = self._compare(rows.keys)
            if done < len(rows.keys):
                for row, vector in enumerate(rows.vectors(done), start=done):
                    name = rows.ids[row] if rows.ids else None
                    self._waiting.append((name, rows.keys[row], rows.reasons.get(row, "")))
                    yield Page(vector, rows.texts[row]) if rows.texts else vector
            self.count += len(rows.keys)
        if self.count < len(self.known):
            raise _others(self.count)

    def _compare(self, keys: Sequence[bytes]) -> int:
        """Return how many of these rows are done."""
        done = self.known[self.count : self.count + len(keys)]
        for row, (theirs, ours) in enumerate(zip(done, keys, strict=False)):
            if theirs != ours:
                raise _others(self.count + row)
        return len(done)


def _others(row: int) -> Vec2SlugError:
    return Vec2SlugError(
        f"expected what is done to be of the same rows, but row {row} is another; remove it, or "
        "give the rows that it was made of"
    )


def no_vectors(count: int, width: int) -> Array:
    """Return rows ``[count, width]`` that are no vectors: what stands for a text without one."""
    return np.full((count, width), np.nan, np.float32)
