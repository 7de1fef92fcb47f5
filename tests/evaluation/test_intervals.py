"""Intervals of differences, ratios and functions of means, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vec2slug_lib.evaluation import intervals


def interval(low, value, high):
    return {"value": value, "low": low, "high": high}


def test_half_widths_of_two_estimates_are_squared_and_added():
    # 0.4 - 0.3; below hypot(0.03, 0.04), above hypot(0.05, 0.12).
    difference = intervals.apart(interval(0.37, 0.4, 0.45), interval(0.18, 0.3, 0.34))
    assert difference == pytest.approx(interval(0.05, 0.1, 0.23))


def test_a_ratio_of_means_from_counts():
    # 3 and 5, each of 50 rows and with a standard deviation of 1: relative errors 1/3 and 1/5.
    quotient = intervals.ratio([0, 0, 25, 0, 25], [0, 0, 0, 0, 25, 0, 25])
    factor = np.exp(1.96 * np.sqrt((1 / 9 + 1 / 25) / 50))
    assert quotient == pytest.approx(interval(0.6 / factor, 0.6, 0.6 * factor))
    assert intervals.ratio([0, 0, 7], [0, 3]) == interval(2, 2, 2)


def test_the_bootstrap_is_of_the_statistic():
    rng = np.random.default_rng(0)
    columns = np.column_stack([rng.random(200), np.full(200, 2.0)])
    half = intervals.bootstrap(columns, range(200), lambda mean: mean[0] / mean[1])
    assert half["value"] == pytest.approx(columns[:, 0].mean() / 2)
    assert half["low"] < half["value"] < half["high"]
    # A ratio to a constant is a mean: its standard error is known.
    error = 1.96 * columns[:, 0].std() / 2 / np.sqrt(200)
    assert half["high"] - half["low"] == pytest.approx(2 * error, rel=0.1)
