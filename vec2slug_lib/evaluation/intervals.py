"""Intervals of 95 %: bootstrap over rows, paired differences, ratios, repeated runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import exp, hypot
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit  # scipy.stats takes a second to load

from ..common.errors import Vec2SlugError
from ..common.vectors import Array, Doubles

RESAMPLES = 2000


class Interval(TypedDict):
    """An estimate and its 95 % interval."""

    value: float
    low: float
    high: float


def summarise(rows: Mapping[str, ArrayLike], seed: int = 0) -> dict[str, Interval]:
    """Compute means of per-row metrics with 95 % percentile bootstrap intervals (Efron 1979).

    All metrics are resampled with the same 2,000 draws of rows.

    Args:
        rows: metric name to values [N], N >= 1.
        seed: of the resampling.
    """
    values = np.stack([np.asarray(column, np.float64) for column in rows.values()], axis=1)
    resampled = bootstrap_means(values, seed=seed)
    columns = zip(rows, values.mean(0), resampled.T, strict=True)
    return {name: percentile_interval(value, means) for name, value, means in columns}


def compare(ours: Mapping[str, ArrayLike], theirs: Mapping[str, ArrayLike]) -> dict[str, Interval]:
    """Compute ours minus theirs of each shared metric, by a paired bootstrap over the rows.

    Args:
        ours: per-row metrics of one system.
        theirs: per-row metrics of another on the same rows in the same order.

    Raises:
        Vec2SlugError: no metric is shared, or numbers of rows differ.
    """
    shared = [name for name in ours if name in theirs]
    sizes = {len(np.asarray(side[name])) for name in shared for side in (ours, theirs)}
    if len(sizes) != 1:
        raise Vec2SlugError(f"expected shared metrics of the same rows, got {shared} of {sizes}")
    return summarise({name: np.asarray(ours[name]) - np.asarray(theirs[name]) for name in shared})


def percentile_interval(value: float, resampled: Doubles) -> Interval:
    """Return an estimate with the middle 95 % of its resamples [R], undefined ones left out."""
    low, high = np.nanpercentile(resampled, [2.5, 97.5]).tolist()
    return {"value": float(value), "low": low, "high": high}


def bootstrap_means(
    values: Doubles, resamples: int = RESAMPLES, seed: int = 0, block: int = 100
) -> Doubles:
    """Draw rows with replacement from ``values`` [N, M]; return their means [resamples, M].

    Raises:
        Vec2SlugError: there is no row.
    """
    rng, size = np.random.default_rng(seed), len(values)
    if size == 0:
        raise Vec2SlugError("expected at least one row to resample, got none")
    means = []
    for begin in range(0, resamples, block):
        count = min(block, resamples - begin)
        drawn = rng.integers(size, size=(count, size)) + np.arange(count)[:, None] * size
        weights = np.bincount(drawn.ravel(), minlength=count * size).reshape(count, size)
        means.append(weights.astype(np.float64) @ values / size)
    return np.concatenate(means)


def diversity(predictions: Sequence[str]) -> Interval:
    """Divide the distinct predictions by all, with a jackknife interval.

    A bootstrap would be wrong here: a resample holds only 63 % of the rows, so it has fewer
    distinct slugs whatever the system. Leaving out one row lowers the distinct count just where
    its slug occurs once; with p the share of such rows, the jackknife variance of the diversity
    is p (1 - p) / (N - 1), on average not too small (Efron and Stein 1981): on simulated slugs the
    interval is up to twice as wide as it had to be. As p may be 1, it is estimated with two rows
    of either kind added (Agresti and Coull 1998).

    Raises:
        Vec2SlugError: fewer than two predictions.
    """
    if len(predictions) < 2:
        raise Vec2SlugError(f"expected two predictions or more, got {len(predictions)}")
    counts, size = Counter(predictions), len(predictions)
    value = len(counts) / size
    single = (sum(count == 1 for count in counts.values()) + 2) / (size + 4)
    margin = 1.96 * float(np.sqrt(single * (1 - single) / (size - 1)))
    return {"value": value, "low": max(value - margin, 1 / size), "high": min(value + margin, 1.0)}


def mean_interval(values: Sequence[float]) -> Interval:
    """Compute the mean of a few repeated runs with Student's interval, as for a normal error.

    Args:
        values: of two runs or more.

    Raises:
        Vec2SlugError: fewer than two values.
    """
    if len(values) < 2:
        raise Vec2SlugError(f"expected two runs or more for an interval, got {len(values)}")
    mean, error = float(np.mean(values)), float(np.std(values, ddof=1) / len(values) ** 0.5)
    half = float(stdtrit(len(values) - 1, 0.975)) * error
    return {"value": mean, "low": mean - half, "high": mean + half}


def apart(ours: Interval, theirs: Interval) -> Interval:
    """Subtract two estimates, their half widths squared and added (Newcombe 1998).

    For independent estimates; too wide, so on the safe side, for two runs on the same pages.
    """
    value = ours["value"] - theirs["value"]
    below = hypot(ours["value"] - ours["low"], theirs["high"] - theirs["value"])
    above = hypot(ours["high"] - ours["value"], theirs["value"] - theirs["low"])
    return {"value": value, "low": value - below, "high": value + above}


def ratio(ours: Sequence[int], theirs: Sequence[int]) -> Interval:
    """Divide two means, their relative standard errors squared and added on a logarithmic scale.

    Args:
        ours: how many rows have the value 0, 1, 2, ...; not all the value 0.
        theirs: the same of the rows below the line.
    """
    rows = [np.repeat(np.arange(len(counts)), counts) for counts in (ours, theirs)]
    above, below = (float(side.mean()) for side in rows)
    errors = (float(side.std() / side.mean() / np.sqrt(len(side))) for side in rows)
    value, factor = above / below, exp(1.96 * hypot(*errors))
    return {"value": value, "low": value / factor, "high": value * factor}


def bootstrap(columns: Doubles, statistic: Callable[[Doubles], Doubles]) -> Interval:
    """Compute a function of means with its percentile bootstrap, over the rows of ``columns``.

    Args:
        columns: values of N rows, [N, M].
        statistic: from means [M, ...] to values [...].
    """
    return percentile_interval(
        float(statistic(columns.mean(0))), statistic(bootstrap_means(columns).T)
    )


def mean_over(values: Array, counted: Array) -> Interval:
    """Compute a mean over tokens with a bootstrap interval over rows.

    Args:
        values: ``[N, T]``.
        counted: which of them count, bool ``[N, T]``.
    """
    return ratio_of([(values, counted)])


def ratio_of(means: Sequence[tuple[Array, Array]]) -> Interval:
    """Divide two means over tokens, or take one, with a bootstrap interval over rows.

    Args:
        means: values and which of them count, each ``[N, T]``: of the numerator, then perhaps of
            the denominator.
    """
    columns = [x for v, counted in means for x in (np.where(counted, v, 0).sum(1), counted.sum(1))]
    sums = np.stack(columns, axis=1).astype(float)

    def quotient(drawn: Array) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):  # a resample without such tokens
            parts = drawn[:, ::2] / drawn[:, 1::2]
            quotients: Array = parts[:, 0] / parts[:, 1] if len(means) > 1 else parts[:, 0]
        return quotients

    value = float(quotient(sums.sum(0, keepdims=True))[0])
    return percentile_interval(value, quotient(bootstrap_means(sums)))
