"""The nearest rows by cosine, and how much weight each of them gets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from tqdm import tqdm

from .errors import Vec2SlugError
from .vectors import Floats

BLOCK = 128


def similarity_weights(cosines: Floats, sharpness: float) -> list[float]:
    """Weights of neighbours, which sum to 1; equal where none lies on the query's side.

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
    """Per query, the slugs and cosines of its ``k`` nearest training rows, nearest first.

    Args, errors: as `knn_vote`.
    """
    shapes = np.shape(train_vectors), np.shape(queries)
    if [len(shape) for shape in shapes] != [2, 2] or shapes[0][1] != shapes[1][1]:
        raise Vec2SlugError(f"expected vectors [T, D] and queries [N, D], got {shapes}")
    if len(train_vectors) != len(train_slugs) or not len(train_vectors) or k < 1:
        counts = f"{len(train_slugs)} slugs, {len(train_vectors)} vectors, k = {k}"
        raise Vec2SlugError(f"expected a training slug a vector and k >= 1, got {counts}")
    slugs, k = list(train_slugs), min(k, len(train_vectors))
    for begin in tqdm(range(0, len(queries), BLOCK), "neighbours", leave=False, delay=2):
        cosines = queries[begin : begin + BLOCK] @ train_vectors.T
        nearest = np.argpartition(cosines, len(slugs) - k, axis=1)[:, -k:]
        for row, candidates in zip(cosines, nearest, strict=True):
            ranked = candidates[np.lexsort((candidates, -row[candidates]))]
            yield [slugs[i] for i in ranked.tolist()], row[ranked]
