"""Vectors: checked at the door, kept as int8."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import Vec2SlugError

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Array = npt.NDArray[Any]
CHECKED = 10_000  # rows that are in memory in float64 at a time


def as_array(values: Any) -> npt.NDArray[Any]:
    """Return values as an array, memory-mapped if they were.

    Raises:
        Vec2SlugError: lists of different lengths, or what numpy cannot take.
    """
    try:
        return np.asanyarray(values)
    except (ValueError, TypeError) as error:
        raise Vec2SlugError(f"expected vectors of shape [N, width], but: {error}") from error


def check_shape(vectors: npt.NDArray[Any], width: int | None = None) -> str:
    """Refuse vectors of another shape or kind, or none; return what is expected, in words.

    Args:
        vectors: should be ``[N, width]``, N of 1 or more.
        width: any if None.

    Raises:
        Vec2SlugError: not two-dimensional, wrong width, no row, or no numbers.
    """
    expected = f"vectors of shape [N, {width or 'width'}]"
    if vectors.ndim != 2 or (width is not None and vectors.shape[1] != width):
        raise Vec2SlugError(f"expected {expected}, got an array of shape {list(vectors.shape)}")
    if len(vectors) == 0:
        raise Vec2SlugError(f"expected {expected} with at least one row, got none")
    if vectors.dtype.kind not in "fiub":
        raise Vec2SlugError(f"expected {expected} of numbers, got {vectors.dtype}")
    return expected


def check_vectors(vectors: npt.NDArray[Any], width: int | None = None, first: int = 0) -> Floats:
    """Return vectors as float32 unit rows ``[N, width]``, or raise a clear error.

    Args:
        vectors: ``[N, width]``.
        width: any if None.
        first: number of the first row, for messages.

    Raises:
        Vec2SlugError: as `check_shape`; or a row that is not finite, or zero.
    """
    expected = check_shape(vectors, width)
    unit, bad = unit_rows(vectors)
    for row, reason in bad.items():
        where = f"row {first + row} {reason} ({len(bad)} such rows)"
        raise Vec2SlugError(f"expected finite non-zero {expected}; {where}")
    return unit


def unit_rows(vectors: npt.NDArray[Any]) -> tuple[Floats, dict[int, str]]:
    """Bring numbers ``[N, width]`` to float32 unit rows; NaN where that cannot be.

    Returns:
        The rows; and for each bad one what is wrong with it, by its number.
    """
    unit, largest = np.empty(vectors.shape, np.float32), np.empty(len(vectors))
    for start in range(0, len(vectors), CHECKED):
        rows = slice(start, start + CHECKED)
        exact = vectors[rows].astype(np.float64)
        # Scaled by the largest value first: squares of very small or large ones leave the range.
        largest[rows] = np.abs(exact).max(axis=1, initial=0)
        with np.errstate(invalid="ignore", divide="ignore"):  # bad rows are named below
            exact /= largest[rows, None]
            unit[rows] = exact / np.linalg.norm(exact, axis=1, keepdims=True)
    bad = np.flatnonzero(~np.isfinite(largest) | (largest == 0)).tolist()
    return unit, {row: "is zero" if largest[row] == 0 else "is not finite" for row in bad}


def vector_key(row: npt.NDArray[Any]) -> bytes:
    """Return what identifies a vector ``[width]`` in whatever kind of numbers it is stored.

    The bytes of its float32 unit vector, made of float32 numbers, little-endian.
    """
    with np.errstate(over="ignore"):
        short = row.astype(np.float32)
    # What float32 cannot hold, such as 1e300, is brought to unit length first.
    exact = short if np.isfinite(short).all() and short.any() else row
    return unit_rows(exact[None])[0].astype("<f4").tobytes()


def quantise(vectors: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    """Quantise unit rows to int8 codes and one scale a row.

    Args:
        vectors: ``[N, d]`` unit rows.

    Returns:
        Codes ``[N, d]``, the largest of a row at ±127, and scales ``[N]`` that restore unit norm.
    """
    codes = np.rint(vectors * (127 / np.abs(vectors).max(axis=1, keepdims=True))).astype(np.int8)
    scales = 1 / np.linalg.norm(codes.astype(np.float32), axis=1)
    return codes, scales.astype(np.float32)


def dequantise(codes: npt.NDArray[np.int8], scales: Floats) -> Floats:
    """Restore unit rows ``[N, d]`` float32 from codes ``[N, d]`` and scales ``[N]``."""
    return codes.astype(np.float32) * scales[:, None]
