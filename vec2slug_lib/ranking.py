"""Array work of a beam search: normalisers, the best tokens of each row, places within groups.

Rows of logits are taken a few at a time, so that what is made of them stays in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Logits = NDArray[np.float32]
Ints = NDArray[np.int64]

BLOCK = 1 << 18  # values: a mebibyte of float32


def blocks(logits: Logits) -> Iterator[Logits]:
    """The rows, in order, a few at a time."""
    size = max(BLOCK // max(logits.shape[1], 1), 1)
    return (logits[begin : begin + size] for begin in range(0, len(logits), size))


def log_sum_exp(logits: Logits) -> Floats:
    """Log of the summed exponentials of each row [M]; never below the row's largest logit."""
    highest, total = logits.max(axis=1), np.empty(len(logits))
    done = 0
    with np.errstate(over="ignore"):  # finite logits may lie further apart than float32 reaches
        for block in blocks(logits):
            rows = slice(done, done := done + len(block))
            total[rows] = np.exp(block - highest[rows, None]).sum(axis=1)
    return np.asarray(highest.astype(np.float64) + np.log(total))


def best_tokens(logits: Logits, width: int) -> tuple[Ints, Ints]:
    """Rows and tokens of the ``width`` largest finite logits a row; ties go to the lower token."""
    kth = max(logits.shape[1] - width, 0)
    lowest = np.finfo(np.float32).min
    found, done = [np.zeros(0, np.int64)], 0
    for block in blocks(logits):
        threshold = np.maximum(np.partition(block, kth, axis=1)[:, kth], lowest)
        found.append(np.flatnonzero(block >= threshold[:, None]) + done * logits.shape[1])
        done += len(block)
    row, token = np.divmod(np.concatenate(found), logits.shape[1])
    order = np.lexsort((token, -logits[row, token], row))
    row, token = row[order], token[order]
    best = place(row) < width
    return row[best], token[best]


def place(group: Ints) -> Ints:
    """Place of each item within its run of equal values; ``group`` [E] ascends."""
    return np.arange(len(group)) - np.searchsorted(group, group)
