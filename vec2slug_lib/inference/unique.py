"""No slug twice: which candidate each row gets, so that it hangs neither on order nor on chance.

Rows ask for their candidates in turn, and a slug that several ask for goes to the row with the
lowest key; the others ask for their next (deferred acceptance, Gale and Shapley 1962,
doi 10.1080/00029890.1962.11989827). The outcome is the same in whatever order rows come. A row
whose candidates are all gone gets its best one with some digits of its key.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b, sha256
from typing import Any

import numpy as np
import numpy.typing as npt

from ..common.vectors import Bools, Floats, Ints
from .beam_search import Candidate

Hashes = npt.NDArray[np.uint64]
TIE = 1e-4  # scores nearer to one another may come in another order on another processor
NONE = 0  # the hash of no slug
KEY = 16  # bytes that stand for a row
DIGITS = 5  # of a key that tell two rows of one slug apart, hexadecimal


def row_key(content: bytes, name: str | None = None) -> bytes:
    """Return the key of a row: of what a slug is made of, and of the row's own id if it has one.

    Args:
        content: of a text its bytes, of a vector ``vectors.vector_key``.
        name: the id.
    """
    own = b"" if name is None else b"\0" + name.encode(errors="surrogatepass")
    return sha256(content + own).digest()[:KEY]


def slug_hash(slug: str) -> int:
    """Return 64 bits that stand for a slug; never ``NONE``."""
    return int.from_bytes(blake2b(slug.encode(), digest_size=8).digest()) | 1


class Assignment:
    """Which candidate each of N rows gets, and how many hang on rounding.

    Takes about 50 bytes a row and 12 a candidate.

    Args:
        rows: `row_key` and candidates of each row, best first; a row may have none.
        taken: slugs that no row gets.
        unique: whether rows get distinct slugs; else only those that are taken are avoided.
    """

    def __init__(
        self,
        rows: Iterable[tuple[bytes, Sequence[Candidate]]],
        taken: Iterable[str] = (),
        unique: bool = True,
    ) -> None:
        keys, hashes, scores, counts = bytearray(), array("Q"), array("f"), array("q")
        for key, candidates in rows:
            keys += key
            counts.append(len(candidates))
            for slug, score in candidates:
                hashes.append(slug_hash(slug))
                scores.append(score)
        self.keys = np.frombuffer(bytes(keys), f"V{KEY}")
        self.hashes: Hashes = _padded(hashes, counts, NONE, np.uint64)
        self.rank = _ranks(keys)
        self.taken = np.array([slug_hash(slug) for slug in taken], np.uint64)
        self.free: Bools = (self.hashes != NONE) & ~np.isin(self.hashes, self.taken)
        self.choice = np.zeros(len(counts), np.int64)
        self._ask(np.arange(len(counts)))
        while unique and len(losers := self._losers()):
            self.choice[losers] += 1
            self._ask(losers)
        self.ties = int(_tied(_padded(scores, counts, np.nan, np.float32), self.choice).sum())

    def _ask(self, rows: Ints) -> None:
        """Let rows ask for the first free candidate from their choice on."""
        width = self.free.shape[1]
        later = self.free[rows] & (np.arange(width) >= self.choice[rows, None])
        self.choice[rows] = np.where(later.any(axis=1), later.argmax(axis=1), width) if width else 0

    def _losers(self) -> Ints:
        """Find the rows that ask for a slug which a row of lower rank asks for."""
        rows = np.flatnonzero(self.choice < self.hashes.shape[1])
        wanted = self.hashes[rows, self.choice[rows]]
        order = np.lexsort((self.rank[rows], wanted))
        again = np.zeros(len(rows), np.bool_)
        again[1:] = wanted[order][1:] == wanted[order][:-1]
        return np.asarray(rows[order[again]])

    def names(self, slugs: Iterable[Sequence[str]]) -> Iterator[str | None]:
        """Yield the slug of each row, given the candidates once more; None where it has none."""
        rows = np.flatnonzero(self.choice < self.hashes.shape[1])
        given = np.union1d(self.hashes[rows, self.choice[rows]], self.taken)
        digits = self._digits()
        for row, candidates in enumerate(slugs):
            if not candidates:
                yield None
            elif self.choice[row] < len(candidates):
                yield candidates[self.choice[row]]
            else:
                text, length = digits[row]
                while slug_hash(name := f"{candidates[0]}-{text[:length]}") in given:
                    length += 1
                yield name

    def _digits(self) -> dict[int, tuple[str, int]]:
        """Return, of each row whose candidates are all gone, its digits and how many it needs."""
        left = np.flatnonzero((self.choice == self.hashes.shape[1]) & (self.hashes != NONE).any(1))
        counts: Counter[bytes] = Counter()  # rows of one key are told apart by their number
        owners: dict[tuple[int, str], int] = {}
        digits = {}
        for row in left[np.argsort(self.rank[left])].tolist():
            key, best = self.keys[row].tobytes(), int(self.hashes[row, 0])
            count, length = counts[key], DIGITS
            counts[key] += 1
            text = sha256(key + count.to_bytes(8)).hexdigest() if count else key.hex()
            while owners.setdefault((best, text[:length]), row) != row:
                length += 1
            digits[row] = text, length
        return digits


def _padded(values: array[Any], counts: array[int], fill: float, kind: Any) -> npt.NDArray[Any]:
    """Return values, so many a row, as an array whose rows are filled up at their ends."""
    lengths = np.frombuffer(counts, np.int64)
    table = np.full((len(lengths), lengths.max(initial=0)), fill, kind)
    table[np.arange(table.shape[1]) < lengths[:, None]] = np.frombuffer(values, kind)
    return table


def _ranks(keys: bytearray) -> Ints:
    """Number rows in the order of their keys; of equal ones, the first row first."""
    words = np.frombuffer(bytes(keys), ">u8").reshape(-1, 2)
    ranks = np.empty(len(words), np.int64)
    ranks[np.lexsort(words.T[::-1])] = np.arange(len(words))
    return ranks


def _tied(scores: Floats, choice: Ints) -> Bools:
    """Tell where a candidate that was chosen or passed over is level with the one after it."""
    level = -np.diff(scores, axis=1) < TIE
    return np.asarray((level & (np.arange(level.shape[1]) <= choice[:, None])).any(axis=1))
