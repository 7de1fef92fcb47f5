"""The study's claims on hyphens and the prefix: measured over tokens, and read from a record.

What is *reported* of its large model (500 test pages): `REPORTED` and `REPORTED_HEADS` of
`ch09_figures`, and 0.535, 0.530 and 0.525 for the first, middle and last hyphen at layer 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, nan
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from vec2slug_lib.common.vectors import Array, Doubles
from vec2slug_lib.evaluation.intervals import Interval, apart, bootstrap

PLACES = ("first", "middle", "last")
MOST = 0.5  # a head whose hyphens give the prefix more than this does little else
UNKNOWN: Interval = {"value": nan, "low": -inf, "high": inf}  # of what a record does not hold


def hyphen_places(hyphens: Array) -> Array:
    """Return the index into `PLACES` of each hyphen of slugs with several ``[N, T]``, else -1."""
    number = np.cumsum(hyphens, axis=1)
    total = number[:, -1:]
    places = np.where(number == total, 2, np.where(number == 1, 0, 1))
    return np.where(hyphens & (total > 1), places, -1)


def claim_report(prefix: Array, heads: Array, hyphens: Array, topics: ArrayLike) -> dict[str, Any]:
    """Measure what the study claims of hyphens.

    Args:
        prefix: share of attention on the prefix, mean over heads, ``[L, N, T]``.
        heads: the same of each head, ``[L, heads, N, T]``.
        hyphens: which tokens are hyphens, bool ``[N, T]``.
        topics: the topic of each page.

    Returns:
        ``majority`` (heads whose hyphens give the prefix more than half, an interval a layer); of
        three layers or more, ``dip``; if a slug has several hyphens, ``last_over_first`` (an
        interval a layer) and ``sight`` (mean positions in sight of first and last hyphens).
    """
    places = hyphen_places(hyphens)
    sight = np.arange(2, hyphens.shape[1] + 2) + np.zeros(hyphens.shape)
    report: dict[str, Any] = {"majority": [majority(layer, hyphens, topics) for layer in heads]}
    if len(prefix) > 2:
        report["dip"] = dip(prefix, hyphens, topics)
    if (places >= 0).any():
        effects = [last_over_first(layer, sight, places, topics) for layer in prefix]
        first, last = (float(sight[places == i].mean()) for i in (0, 2))
        report |= {"last_over_first": effects, "sight": {"first": first, "last": last}}
    return report


def majority(heads: Array, hyphens: Array, topics: ArrayLike) -> Interval:
    """Count the heads ``[heads, N, T]`` whose hyphens give the prefix more than half."""
    return bootstrap(_sums(heads, hyphens), topics, lambda means: (_quotients(means) > MOST).sum(0))


def dip(prefix: Array, hyphens: Array, topics: ArrayLike) -> Interval:
    """Subtract the lowest inner layer's share from that of the lower end: above 0 is a U-shape."""

    def depth(means: Doubles) -> Doubles:
        shares = _quotients(means)
        lower: Doubles = np.minimum(shares[0], shares[-1]) - shares[1:-1].min(0)
        return lower

    return bootstrap(_sums(prefix, hyphens), topics, depth)


def last_over_first(share: Array, sight: Array, places: Array, topics: ArrayLike) -> Interval:
    """Divide the odds of the prefix at last hyphens by those at first ones (geometric means).

    Later hyphens share their weight among more positions. So the prefix's weight is divided by that
    of the average other position in sight: 1 where all get the same, wherever the hyphen stands.

    Args:
        share: of attention on the prefix, ``[N, T]``.
        sight: positions in sight, prefix and itself included, ``[N, T]``.
        places: see `hyphen_places`.
        topics: the topic of each page.
    """
    share = np.clip(share.astype(float), 1e-6, 1 - 1e-6)
    odds = np.log(share / (1 - share) * (sight - 1))
    sides = [_sums(odds[None], places == PLACES.index(place)) for place in ("first", "last")]

    def quotient(means: Doubles) -> Doubles:
        first, last = _quotients(means[:2])[0], _quotients(means[2:])[0]
        odds_ratio: Doubles = np.exp(last - first)
        return odds_ratio

    return bootstrap(np.concatenate(sides, axis=1), topics, quotient)


def _sums(values: Array, counted: Array) -> Doubles:
    """Add up values ``[M, N, T]`` where they count, and the counts, by row: ``[N, M + 1]``."""
    sums = [*np.where(counted, values, 0).sum(-1), counted.sum(1)]
    return np.stack(sums, axis=1).astype(float)


def _quotients(means: Doubles) -> Doubles:
    """Divide all means but the last by the last."""
    with np.errstate(invalid="ignore", divide="ignore"):  # a resample without such tokens
        quotients: Doubles = means[:-1] / means[-1]
    return quotients


def hyphens_over_subwords(analysis: Mapping[str, Any]) -> Interval:
    """Return how many times the attention of subwords hyphens give the prefix at layer 1."""
    ratio: Interval = analysis["attention"]["ratio"][0]
    return ratio


def heads_at_layer_one(analysis: Mapping[str, Any]) -> Interval:
    """Return the heads of layer 1 whose hyphens give the prefix more than half.

    Where a record has no interval of it, both ends are the count over its pages.
    """
    attention = analysis["attention"]
    if "majority" in attention:
        measured: Interval = attention["majority"][0]
        return measured
    count = float(sum(share > MOST for share in attention["heads"]["hyphen"][0]))
    return {"value": count, "low": count, "high": count}


def depth_of_u(analysis: Mapping[str, Any]) -> Interval:
    """Return the `dip` of hyphens over layers; without an interval of it, that of two layers."""
    attention = analysis["attention"]
    if "dip" in attention:
        measured: Interval = attention["dip"]
        return measured
    first, *inner, last = attention["prefix"]["hyphen"]
    if not inner:
        return UNKNOWN
    ends, middle = (min(layers, key=lambda row: row["value"]) for layers in ((first, last), inner))
    return apart(ends, middle)


def place_effect(analysis: Mapping[str, Any], layer: int = 1) -> Interval:
    """Return `last_over_first` at a layer, unknown where the record does not hold it."""
    layers = analysis["attention"].get("last_over_first")
    return layers[layer - 1] if layers else UNKNOWN


def reported_place_effect(analysis: Mapping[str, Any]) -> float:
    """Return the study's `last_over_first` at layer 1, with the positions in sight of our hyphens.

    From its 0.525 of last and 0.535 of first hyphens; where its own stood is not known to us.
    """
    sight: Mapping[str, float] = analysis["attention"].get("sight", {"first": nan, "last": nan})
    return (0.525 / 0.475 * (sight["last"] - 1)) / (0.535 / 0.465 * (sight["first"] - 1))
