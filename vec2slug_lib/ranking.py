"""Array work of a beam search: normalisers, the best tokens of each row, places within groups."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Logits = NDArray[np.float32]
Ints = NDArray[np.int64]


def log_sum_exp(logits: Logits) -> Floats:
    """Log of the summed exponentials of each row [M]; never below the row's largest logit."""
    highest = logits.max(axis=1)
    with np.errstate(over="ignore"):  # finite logits may lie further apart than float32 reaches
        total = np.exp(logits - highest[:, None]).sum(axis=1)
    return np.asarray(highest.astype(np.float64) + np.log(total.astype(np.float64)))


def best_tokens(logits: Logits, width: int) -> tuple[Ints, Ints]:
    """Rows and tokens of the ``width`` largest finite logits a row; ties go to the lower token."""
    kth = max(logits.shape[1] - width, 0)
    threshold = np.partition(logits, kth, axis=1)[:, kth]
    lowest = np.finfo(np.float32).min
    found = np.flatnonzero(logits >= np.maximum(threshold, lowest)[:, None])
    row, token = np.divmod(found, logits.shape[1])
    order = np.lexsort((token, -logits[row, token], row))
    row, token = row[order], token[order]
    best = place(row) < width
    return row[best], token[best]


def place(group: Ints) -> Ints:
    """Place of each item within its run of equal values; ``group`` [E] ascends."""
    return np.arange(len(group)) - np.searchsorted(group, group)
