"""What a beam search asks of rows of logits: normalisers, the best subwords, places in groups.

Rows of logits are taken a few at a time, so that what is made of them stays in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..common.vectors import Doubles, Floats, Ints
from ..common.vocabulary import FIRST

BLOCK = 1 << 18  # values: a mebibyte of float32


class Scores(NamedTuple):
    """M rows of logits as a search sees them; subwords are all tokens but the special ones."""

    eos: Floats  # [M]
    hyphen: Floats  # [M]
    total: Doubles  # [M] log of the subwords' summed exponentials
    best: Floats  # [M, k] the largest logits of subwords, in order
    tokens: Ints  # [M, k] whose they are
    subwords: Floats  # [rows, V - 5] where all logits of subwords are
    rows: Ints | None = None  # [M] in which of those rows; each in its own if None

    def take(self, index: Ints) -> Scores:
        """The scores of some rows; nothing of the size of the vocabulary is copied."""
        eos, hyphen, total, best, tokens, subwords, rows = self
        rows = index if rows is None else rows[index]
        few = (eos[index], hyphen[index], total[index], best[index], tokens[index])
        return Scores(*few, subwords, rows)

    def joined(self, other: Scores) -> Scores:
        """These rows, then the other's."""
        pair = (self, other)
        return Scores(
            np.concatenate([x.eos for x in pair]),
            np.concatenate([x.hyphen for x in pair]),
            np.concatenate([x.total for x in pair]),
            np.concatenate([x.best for x in pair]),
            np.concatenate([x.tokens for x in pair]),
            np.concatenate([x.all_subwords(np.arange(len(x.eos))) for x in pair]),
        )

    def all_subwords(self, index: Ints) -> Floats:
        """Floats ``[n, V - 5]`` of some rows."""
        return self.subwords[index if self.rows is None else self.rows[index]]


def scores_of(eos: Floats, hyphen: Floats, subwords: Floats, width: int) -> Scores:
    """Scores of M rows by all logits of their subwords, with the ``width`` best of each row."""
    best, tokens = best_subwords(subwords, width)
    return Scores(eos, hyphen, log_sum_exp(subwords), best, tokens, subwords)


def blocks(logits: Floats) -> Iterator[Floats]:
    """The rows, in order, a few at a time."""
    size = max(BLOCK // max(logits.shape[1], 1), 1)
    return (logits[begin : begin + size] for begin in range(0, len(logits), size))


def log_sum_exp(logits: Floats) -> Doubles:
    """Log of the summed exponentials of each row [M]; never below the row's largest logit."""
    total = np.empty(len(logits))
    done = 0
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for block in blocks(logits):
            # Finite logits may lie further apart than float32 reaches; a row may be all minus
            # infinity, where nothing is allowed.
            highest = np.maximum(block.max(axis=1), np.finfo(np.float32).min)
            sums = np.exp(block - highest[:, None]).sum(axis=1)
            total[done : done + len(block)] = highest.astype(np.float64) + np.log(sums)
            done += len(block)
    return total


def best_subwords(logits: Floats, width: int) -> tuple[Floats, Ints]:
    """The ``width`` largest of each row ``[M, V - 5]`` and their tokens; ties to the lower token.

    Where there are fewer subwords than ``width``, so many.
    """
    width = min(width, logits.shape[1])
    kth, found = logits.shape[1] - width, [np.zeros((0, width), np.int64)]
    for block in blocks(logits):
        lowest = np.partition(block, kth, axis=1)[:, kth, None]
        # Of equal values at the edge, a partition alone would take any.
        row, token = np.nonzero(block >= lowest)
        order = np.lexsort((token, -block[row, token], row))
        row, token = row[order], token[order]
        found.append(token[place(row) < width].reshape(-1, width))
    tokens = np.concatenate(found)
    return np.take_along_axis(logits, tokens, axis=1), tokens + FIRST


def place(group: Ints) -> Ints:
    """Place of each item within its run of equal values; ``group`` [E] ascends."""
    return np.arange(len(group)) - np.searchsorted(group, group)
