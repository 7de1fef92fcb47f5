"""What a release says of the vectors that it was trained on, so that others are told apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..common.files import atomic, note_hash
from ..common.vectors import Doubles, Floats, Ints
from ..inference.familiarity import TRAINING_VECTORS, TrainingVectors

Codes = npt.NDArray[np.int8]
BYTES = 384 * 384  # of directions, at most
ROWS_A_NUMBER = 10  # fewer rows than so many times the width tell little of the directions
# Variance of the rounding when a vector was stored in eight bits for the range of all its numbers:
# along no direction may vectors be expected to lie closer together.
ROUNDING = (0.4 / 255) ** 2 / 12
FOLDS = 10  # of sources, each held out once
NEAR, FAR = 0.999, 0.01  # quantiles of distances: of held-out vectors, of shuffled ones
MARGIN = 3.25  # times NEAR: texts may be odder than any of training, such as single words


def write_training_vectors(folder: Path, vectors: Floats, sources: Sequence[str]) -> None:
    """Write what `TrainingVectors` reads into a release, and its hash into the manifest.

    Nothing is written where there are too few vectors to tell, or none of another source.

    Args:
        folder: of the release, with its ``manifest.train.json``.
        vectors: ``[N, D]``, unit rows, of the training pages.
        sources: N names of where they come from.
    """
    if len(vectors) < ROWS_A_NUMBER * vectors.shape[1] or len(set(sources)) < 2:
        return
    path = folder / TRAINING_VECTORS
    mean, codes, scales = principal_directions(*moments(vectors))
    near = np.quantile(held_out_distances(vectors, sources), NEAR)
    shuffled = vectors[:, np.random.default_rng(0).permutation(len(mean))]
    far = np.quantile(TrainingVectors(mean, codes * scales[:, None], 0).distances(shuffled), FAR)
    limit = np.float32(np.clip(far, near, MARGIN * near))
    with atomic(path) as temporary:
        np.savez_compressed(temporary, mean=mean, codes=codes, scales=scales, limit=limit)
    note_hash(folder, path.name)


def moments(vectors: Floats) -> tuple[int, Doubles, Doubles]:
    """Sum up rows ``[N, D]``: their number, their sum ``[D]``, the sum of their products."""
    exact = vectors.astype(np.float64)
    return len(exact), exact.sum(axis=0), exact.T @ exact


def principal_directions(
    rows: int, total: Doubles, products: Doubles
) -> tuple[Floats, Codes, Floats]:
    """Find the directions along which vectors lie closest together, of their `moments`.

    Returns:
        The mean ``[D]``; directions as int8 codes ``[K, D]``, and scales ``[K]`` that restore
        them and divide them by the deviation along them.
    """
    mean = total / rows
    covariance = products / rows - np.outer(mean, mean)
    _, columns = np.linalg.eigh(covariance)
    directions = columns.T[: BYTES // len(mean)]
    steps = np.abs(directions).max(axis=1, keepdims=True) / 127
    codes = np.rint(directions / steps).astype(np.int8)
    rounded = codes * steps
    variances = np.einsum("kd,kd->k", rounded @ covariance, rounded)
    scales = steps[:, 0] / np.sqrt(np.maximum(variances, 0) + ROUNDING)
    return mean.astype(np.float32), codes, scales.astype(np.float32)


def held_out_distances(vectors: Floats, sources: Sequence[str]) -> Doubles:
    """Compute each row's distance from the vectors of other sources: ``[N]``, by fold."""
    folds = source_folds(sources)
    parts = [vectors[folds == fold] for fold in range(FOLDS)]
    sums = [moments(part) for part in parts]
    rows, total, products = (sum(values) for values in zip(*sums, strict=True))
    distances = []
    for part, (count, inner, outer) in zip(parts, sums, strict=True):
        if 0 < count < rows:
            rest = rows - count, total - inner, products - outer
            mean, codes, scales = principal_directions(*rest)
            others = TrainingVectors(mean, codes * scales[:, None], 0)
            distances.append(others.distances(part))
    return np.concatenate(distances)


def source_folds(sources: Sequence[str]) -> Ints:
    """Share sources out to folds of about the same size: the number of each row's fold ``[N]``."""
    names, owner, counts = np.unique(sources, return_inverse=True, return_counts=True)
    fold_of, sizes = np.empty(len(names), np.int64), np.zeros(FOLDS, np.int64)
    for name in np.argsort(-counts, kind="stable"):
        fold_of[name] = sizes.argmin()
        sizes[fold_of[name]] += counts[name]
    return fold_of[owner]
