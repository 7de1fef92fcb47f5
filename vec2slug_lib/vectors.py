"""Vectors: checked at the door, kept as int8."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import Vec2SlugError

Floats = npt.NDArray[np.float32]


def check_vectors(vectors: npt.NDArray[Any], width: int | None = None) -> Floats:
    """Vectors as float32 unit rows, or a clear error.

    Args:
        vectors: ``[N, width]``.
        width: what N-wide rows are expected; any if None.

    Raises:
        Vec2SlugError: not two-dimensional, wrong width, no row, not finite, or a zero row.
    """
    expected = f"vectors of shape [N, {width or 'width'}]"
    if vectors.ndim != 2 or (width is not None and vectors.shape[1] != width):
        raise Vec2SlugError(f"expected {expected}, got an array of shape {list(vectors.shape)}")
    if len(vectors) == 0:
        raise Vec2SlugError(f"expected {expected} with at least one row, got none")
    if not np.issubdtype(vectors.dtype, np.number):
        raise Vec2SlugError(f"expected {expected} of numbers, got {vectors.dtype}")
    vectors = vectors.astype(np.float32)
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
    bad = np.flatnonzero(~np.isfinite(norms) | (norms == 0))
    if len(bad):
        what = "zero" if norms[bad[0]] == 0 else "not finite"
        raise Vec2SlugError(
            f"expected finite non-zero {expected}; row {bad[0]} is {what} ({len(bad)} such rows)"
        )
    unit: Floats = (vectors / norms[:, None]).astype(np.float32)
    return unit


def quantise(vectors: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    """Unit rows as int8 codes and one scale a row.

    Args:
        vectors: ``[N, d]`` unit rows.

    Returns:
        Codes ``[N, d]``, the largest of a row at ±127, and scales ``[N]`` that restore unit norm.
    """
    codes = np.rint(vectors * (127 / np.abs(vectors).max(axis=1, keepdims=True))).astype(np.int8)
    scales = 1 / np.linalg.norm(codes.astype(np.float32), axis=1)
    return codes, scales.astype(np.float32)


def dequantise(codes: npt.NDArray[np.int8], scales: Floats) -> Floats:
    """Unit rows ``[N, d]`` float32 from codes ``[N, d]`` and scales ``[N]``."""
    return codes.astype(np.float32) * scales[:, None]
