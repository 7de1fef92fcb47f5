"""Laws fitted to scores at several sizes: exact data are found again, noise shows in intervals."""

import numpy as np
import pytest
from chapters.ch14_scaling import LAWS, curve, extrapolate, fit
from hypothesis import given
from hypothesis import strategies as st

from vec2slug_lib.common.errors import Vec2SlugError

SIZES = [4_000, 8_000, 16_000, 32_000, 64_000]


@given(st.sampled_from(sorted(LAWS)), st.floats(-3, 0), st.floats(0.01, 0.3))
def test_an_exact_law_is_found_again(name, intercept, slope):
    law = LAWS[name]
    scores = law.inverse_link(intercept + slope * np.log(SIZES))
    assert fit(SIZES, scores, law) == pytest.approx((intercept, slope))
    assert curve([1e6], fit(SIZES, scores, law), law) == pytest.approx(
        law.inverse_link(intercept + slope * np.log([1e6]))
    )


def test_the_laws_by_hand():
    # Odds of 1/9 and 4/9: four times the odds for four times the pairs, so 16/9 at the next four.
    rows = np.tile([1 / 10, 4 / 13], (9, 1))
    found = extrapolate([100, 400], rows, LAWS["odds"], 1600, range(9))
    assert found["slope"] == pytest.approx({"value": 1, "low": 1, "high": 1})
    assert found["score"]["value"] == pytest.approx(16 / 25)
    assert found["misfit"] == pytest.approx(0)
    # As a logarithm: as much again for each factor of four.
    found = extrapolate([100, 400], rows, LAWS["logarithm"], 1600, range(9))
    assert found["score"]["value"] == pytest.approx(4 / 13 + (4 / 13 - 1 / 10))


def test_misfit_is_the_largest_distance():
    # A straight line over 1, 2, 4 through 0, 0.3, 0: level at 0.1, so 0.2 off in the middle.
    found = extrapolate([1, 2, 4], np.tile([0.0, 0.3, 0.0], (5, 1)), LAWS["logarithm"], 8, range(5))
    assert found["slope"]["value"] == pytest.approx(0)
    assert found["misfit"] == pytest.approx(0.2)


def test_no_law_of_the_odds_leaves_the_scale():
    rows = np.tile([0.0, 0.1, 0.3, 0.7, 1.0], (5, 1))
    found = extrapolate(SIZES, rows, LAWS["odds"], 1e12, range(5))
    assert 0.99 < found["score"]["value"] <= 1


def test_the_interval_holds_the_truth_and_grows_with_the_distance():
    rng = np.random.default_rng(0)
    truth = 0.02 * np.log(SIZES)
    rows = truth + rng.normal(0, 0.2, (2000, 1)) + rng.normal(0, 0.1, (2000, len(SIZES)))
    topics = range(len(rows))
    near, far = (
        extrapolate(SIZES, rows, LAWS["logarithm"], at, topics)["score"] for at in (1e5, 1e8)
    )
    assert near["low"] < 0.02 * np.log(1e5) < near["high"]
    assert far["high"] - far["low"] > near["high"] - near["low"] > 0


@pytest.mark.parametrize("shape", [(5, 1), (5, 3)])
def test_too_few_sizes_are_refused(shape):
    with pytest.raises(Vec2SlugError, match="two sizes or more, got"):
        extrapolate(SIZES[: 1 if shape[1] == 1 else 2], np.ones(shape), LAWS["odds"], 1e6, range(5))


def test_rows_of_a_topic_are_drawn_together():
    rng = np.random.default_rng(0)
    rows = np.repeat(rng.normal(0.3, 0.1, (20, 1)), 50, axis=0) + np.zeros((1, len(SIZES)))
    pages, topics = (
        extrapolate(SIZES, rows, LAWS["logarithm"], 1e5, of)["score"]
        for of in (range(1000), np.repeat(range(20), 50))
    )
    assert topics["high"] - topics["low"] > 5 * (pages["high"] - pages["low"])
