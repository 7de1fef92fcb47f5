"""Intervals of 95 %: bootstrap over topics, paired differences, ratios, repeated runs.

Pages of a topic are alike, and a split gives a topic's pages to one side, so topics are drawn with
all their pages: the cluster bootstrap (Davison and Hinkley 1997, section 3.8; Field and Welsh 2007,
doi 10.1111/j.1467-9868.2007.00593.x). With topics ``range(N)`` every page is a topic of its own:
the plain-page bootstrap, for pages that nobody has clustered.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from math import exp, hypot, nan
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, stdtrit  # scipy.stats takes a second to load

from ..common.errors import Vec2SlugError
from ..common.vectors import Array, Doubles

RESAMPLES = 2000


class Interval(TypedDict):
    """An estimate and its 95 % interval, whose ends are NaN where nothing is known of them."""

    value: float
    low: float
    high: float


def summarise(
    rows: Mapping[str, ArrayLike], topics: ArrayLike, seed: int = 0
) -> dict[str, Interval]:
    """Compute means of per-row metrics with 95 % intervals of the cluster bootstrap.

    All metrics are resampled with the same 2,000 draws of topics.

    Args:
        rows: metric name to values [N], N >= 1.
        topics: the topic of each row [N], any labels.
        seed: of the resampling.
    """
    values = np.stack([np.asarray(column, np.float64) for column in rows.values()], axis=1)
    resampled, count = bootstrap_means(values, topics, seed=seed), topic_count(topics)
    columns = zip(rows, values.mean(0), resampled.T, strict=True)
    return {name: percentile_interval(value, means, count) for name, value, means in columns}


def compare(
    ours: Mapping[str, ArrayLike], theirs: Mapping[str, ArrayLike], topics: ArrayLike
) -> dict[str, Interval]:
    """Compute ours minus theirs of each shared metric, by a paired bootstrap over topics.

    Args:
        ours: per-row metrics of one system.
        theirs: per-row metrics of another on the same rows in the same order.
        topics: the topic of each row.

    Raises:
        Vec2SlugError: no metric is shared, or numbers of rows differ.
    """
    shared = [name for name in ours if name in theirs]
    sizes = {len(np.asarray(side[name])) for name in shared for side in (ours, theirs)}
    if len(sizes) != 1:
        raise Vec2SlugError(f"expected shared metrics of the same rows, got {shared} of {sizes}")
    rows = {name: np.asarray(ours[name]) - np.asarray(theirs[name]) for name in shared}
    return summarise(rows, topics)


def topic_count(topics: ArrayLike) -> int:
    """Count the distinct topics."""
    return len(np.unique(np.asarray(topics)))


def percentile_interval(value: float, resampled: Doubles, topics: int) -> Interval:
    """Return an estimate with the middle of its resamples [R], undefined ones left out.

    Percentiles over a few topics are too narrow; these lie as much further out as Student's
    quantile does: 1.8 and 98.2 for 29 topics (Hesterberg 2015, section 4.2, the expanded
    percentile interval; doi 10.1080/00031305.2015.1089789). One topic tells nothing of others.
    """
    if topics < 2:
        return {"value": float(value), "low": nan, "high": nan}
    tail = 100 * float(ndtr((topics / (topics - 1)) ** 0.5 * stdtrit(topics - 1, 0.025)))
    low, high = np.nanpercentile(resampled, [tail, 100 - tail]).tolist()
    return {"value": float(value), "low": low, "high": high}


def bootstrap_means(
    values: Doubles,
    topics: ArrayLike,
    resamples: int = RESAMPLES,
    seed: int = 0,
    block: int = 100,
) -> Doubles:
    """Draw topics of ``values`` [N, M] with replacement; return means over rows [resamples, M].

    Raises:
        Vec2SlugError: there is no row, or not one topic a row.
    """
    labels = np.asarray(topics)
    if not len(values) or len(labels) != len(values):
        raise Vec2SlugError(f"expected a topic for each of one row or more, got {len(labels)}")
    sums, sizes = topic_sums(values, labels)
    rng, size, means = np.random.default_rng(seed), len(sizes), []
    for begin in range(0, resamples, block):
        count = min(block, resamples - begin)
        drawn = rng.integers(size, size=(count, size)) + np.arange(count)[:, None] * size
        weights = np.bincount(drawn.ravel(), minlength=count * size).reshape(count, size)
        means.append((weights @ sums) / (weights @ sizes)[:, None])
    return np.concatenate(means)


def topic_sums(values: Doubles, topics: ArrayLike) -> tuple[Doubles, Doubles]:
    """Add up the rows of each topic: sums [G, M] and numbers of rows [G], by sorted topic."""
    _, index, sizes = np.unique(np.asarray(topics), return_inverse=True, return_counts=True)
    columns = [np.bincount(index, column) for column in np.asarray(values, np.float64).T]
    return np.stack(columns, axis=1), sizes.astype(np.float64)


def diversity(predictions: Sequence[str], topics: ArrayLike) -> Interval:
    """Divide the distinct predictions by all, with a jackknife interval.

    A bootstrap would be wrong here: a resample holds only 63 % of the rows, so it has fewer
    distinct slugs whatever the system. Leaving out one topic, a slug is lost where it occurs
    nowhere else (Efron and Stein 1981); the interval is never below that over pages, where leaving
    one out lowers the distinct count just where its slug occurs once, estimated with two rows of
    either kind added (Agresti and Coull 1998).

    Raises:
        Vec2SlugError: fewer than two predictions.
    """
    if len(predictions) < 2:
        raise Vec2SlugError(f"expected two predictions or more, got {len(predictions)}")
    counts, size = Counter(predictions), len(predictions)
    value, groups = len(counts) / size, topic_count(topics)
    single = (sum(count == 1 for count in counts.values()) + 2) / (size + 4)
    error = max(single * (1 - single) / (size - 1), _topic_variance(predictions, topics)) ** 0.5
    margin = -float(stdtrit(groups - 1, 0.025)) * error if groups > 1 else nan
    low, high = np.clip([value - margin, value + margin], 1 / size, 1).tolist()
    return {"value": value, "low": low, "high": high}


def _topic_variance(predictions: Sequence[str], topics: ArrayLike) -> float:
    """Compute the jackknife variance of the diversity over topics."""
    inside: defaultdict[object, Counter[str]] = defaultdict(Counter)
    for topic, slug in zip(np.asarray(topics).tolist(), predictions, strict=True):
        inside[topic][slug] += 1
    counts, size = Counter(predictions), len(predictions)
    left = [
        (len(counts) - sum(count == counts[slug] for slug, count in part.items()))
        / (size - part.total())
        for part in inside.values()
        if part.total() < size
    ]
    return float(np.var(left)) * (len(left) - 1) if left else 0.0


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
    """Divide two means over pages, their relative errors squared and added on a logarithmic scale.

    Args:
        ours: how many rows have the value 0, 1, 2, ...; not all the value 0.
        theirs: the same of the rows below the line.
    """
    rows = [np.repeat(np.arange(len(counts)), counts) for counts in (ours, theirs)]
    above, below = (float(side.mean()) for side in rows)
    errors = (float(side.std() / side.mean() / np.sqrt(len(side))) for side in rows)
    value, factor = above / below, exp(1.96 * hypot(*errors))
    return {"value": value, "low": value / factor, "high": value * factor}


def bootstrap(
    columns: Doubles, topics: ArrayLike, statistic: Callable[[Doubles], Doubles]
) -> Interval:
    """Compute a function of means with its bootstrap interval over topics.

    Args:
        columns: values of N rows, [N, M].
        topics: the topic of each row.
        statistic: from means [M, ...] to values [...].
    """
    value, means = float(statistic(columns.mean(0))), bootstrap_means(columns, topics)
    return percentile_interval(value, statistic(means.T), topic_count(topics))


def mean_over(values: Array, counted: Array, topics: ArrayLike) -> Interval:
    """Compute a mean over tokens with a bootstrap interval over topics.

    Args:
        values: ``[N, T]``.
        counted: which of them count, bool ``[N, T]``.
        topics: the topic of each row.
    """
    return ratio_of([(values, counted)], topics)


def ratio_of(means: Sequence[tuple[Array, Array]], topics: ArrayLike) -> Interval:
    """Divide two means over tokens, or take one, with a bootstrap interval over topics.

    Args:
        means: values and which of them count, each ``[N, T]``: of the numerator, then perhaps of
            the denominator.
        topics: the topic of each row.
    """
    columns = [x for v, counted in means for x in (np.where(counted, v, 0).sum(1), counted.sum(1))]
    sums = np.stack(columns, axis=1).astype(float)

    def quotient(drawn: Array) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):  # a resample without such tokens
            parts = drawn[:, ::2] / drawn[:, 1::2]
            quotients: Array = parts[:, 0] / parts[:, 1] if len(means) > 1 else parts[:, 0]
        return quotients

    value = float(quotient(sums.sum(0, keepdims=True))[0])
    resampled = quotient(bootstrap_means(sums, topics))
    return percentile_interval(value, resampled, topic_count(topics))
