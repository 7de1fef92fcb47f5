"""Rows compared with rows, the nearest by cosine, and how much weight each of them gets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .errors import Vec2SlugError
from .vectors import Floats

BLOCK = 128


def product_blocks(
    queries: Floats, rows: Floats, block: int, label: str
) -> Iterator[tuple[int, Floats]]:
    """Multiply queries with rows, a block of queries at a time: cosines, where all are unit rows.

    Args:
        queries: ``[N, D]``.
        rows: ``[T, D]``.
        block: queries at a time; ``block`` x T products are in memory.
        label: of the progress bar.

    Yields:
        Number of the block's first query, and products ``[block, T]``, which may be written over.
    """
    from tqdm import tqdm  # a sixth of the start of a process that wants one slug

    for begin in tqdm(range(0, len(queries), block), label, leave=False, delay=2):
        yield begin, queries[begin : begin + block] @ rows.T


def similarity_weights(cosines: Floats, sharpness: float) -> list[float]:
    """Weigh neighbours: the weights sum to 1, and are equal where none lies on the query's side.

    Args:
        cosines: of the neighbours to the query, ``[K]``.
        sharpness: a weight is the cosine to this power, 0 if that is negative.
    """
    weights = np.maximum(cosines, 0).astype(np.float64) ** sharpness
    weights = weights if weights.any() else np.ones(len(weights))
    shares: list[float] = (weights / weights.sum()).tolist()
    return shares


def neighbours(
    train_vectors: Floats, train_slugs: Sequence[str], queries: Floats, k: int
) -> Iterator[tuple[list[str], Floats]]:
    """Yield, for each query, the slugs and cosines of its ``k`` nearest rows, nearest first.

    Args:
        train_vectors: unit rows ``[T, D]``.
        train_slugs: their T slugs.
        queries: unit rows ``[N, D]``.
        k: neighbours; all T rows if there are fewer.

    Raises:
        Vec2SlugError: shapes do not fit together, there is no training row, or ``k`` is below 1.
    """
    shapes = np.shape(train_vectors), np.shape(queries)
    if [len(shape) for shape in shapes] != [2, 2] or shapes[0][1] != shapes[1][1]:
        raise Vec2SlugError(f"expected vectors [T, D] and queries [N, D], got {shapes}")
    if len(train_vectors) != len(train_slugs) or not len(train_vectors) or k < 1:
        counts = f"{len(train_slugs)} slugs, {len(train_vectors)} vectors, k = {k}"
        raise Vec2SlugError(f"expected a training slug a vector and k >= 1, got {counts}")
    slugs, k = list(train_slugs), min(k, len(train_vectors))
    for _, cosines in product_blocks(queries, train_vectors, BLOCK, "neighbours"):
        nearest = np.argpartition(cosines, len(slugs) - k, axis=1)[:, -k:]
        for row, candidates in zip(cosines, nearest, strict=True):
            ranked = candidates[np.lexsort((candidates, -row[candidates]))]
            yield [slugs[i] for i in ranked.tolist()], row[ranked]
