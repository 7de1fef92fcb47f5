"""What a beam search asks of rows of logits: normalisers, the best subwords, places in groups.

Rows of logits are taken a few at a time, so that what is computed stays in the processor's cache.
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
        """Return the scores of some rows; nothing of the size of the vocabulary is copied."""
        eos, hyphen, total, best, tokens, subwords, rows = self
        rows = index if rows is None else rows[index]
        few = (eos[index], hyphen[index], total[index], best[index], tokens[index])
        return Scores(*few, subwords, rows)

    def joined(self, other: Scores) -> Scores:
        """Join these rows and then the other's."""
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
        """Return all logits of subwords of some rows, ``[n, V - 5]``."""
        return self.subwords[index if self.rows is None else self.rows[index]]


def scores_of(eos: Floats, hyphen: Floats, subwords: Floats, width: int) -> Scores:
    """Score M rows by all logits of their subwords, with the ``width`` best of each row."""
    best, tokens = best_subwords(subwords, width)
    return Scores(eos, hyphen, log_sum_exp(subwords), best, tokens, subwords)


def blocks(logits: Floats) -> Iterator[Floats]:
    """Yield the rows, in order, a few at a time."""
    size = max(BLOCK // max(logits.shape[1], 1), 1)
    return (logits[begin : begin + size] for begin in range(0, len(logits), size))


def log_sum_exp(logits: Floats) -> Doubles:
    """Compute log-sum-exp of each row [M]; never below the row's largest logit."""
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
    """Find the ``width`` largest of each row ``[M, V - 5]``, or all, and their tokens.

    Ties go to the lower token.
    """
    width = min(width, logits.shape[1])
    kth, parts = logits.shape[1] - width, [np.zeros((0, width), np.int64)]
    for block in blocks(logits):
        lowest = np.partition(block, kth, axis=1)[:, kth, None]
        # Of equal values at the edge, a partition alone would take any.
        row, token = np.nonzero(block >= lowest)
        order = np.lexsort((token, -block[row, token], row))
        row, token = row[order], token[order]
        parts.append(token[place(row) < width].reshape(-1, width))
    tokens = np.concatenate(parts)
    return np.take_along_axis(logits, tokens, axis=1), tokens + FIRST


def place(group: Ints) -> Ints:
    """Number the items within each run of equal values, from 0; ``group`` [E] ascends."""
    return np.arange(len(group)) - np.searchsorted(group, group)
