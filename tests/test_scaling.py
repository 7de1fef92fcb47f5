"""Laws fitted to scores at several sizes: exact data are found again, noise shows in intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vec2slug_lib.errors import Vec2SlugError
from vec2slug_lib.scaling import LAWS, curve, extrapolate, fit

SIZES = [4_000, 8_000, 16_000, 32_000, 64_000]


@given(st.sampled_from(sorted(LAWS)), st.floats(-3, 0), st.floats(0.01, 0.3))
def test_an_exact_law_is_found_again(name, intercept, slope):
    law = LAWS[name]
    scores = law.unbend(intercept + slope * np.log(SIZES))
    assert fit(SIZES, scores, law) == pytest.approx((intercept, slope))
    assert curve([1e6], fit(SIZES, scores, law), law) == pytest.approx(
        law.unbend(intercept + slope * np.log([1e6]))
    )


def test_a_power_law_by_hand():
    # Twice the score for four times the pairs: slope 1/2; from 0.1 at 100 to 0.4 at 1,600.
    rows = np.tile([0.1, 0.2], (9, 1))
    found = extrapolate([100, 400], rows, LAWS["power"], 1600)
    assert found["slope"] == pytest.approx({"value": 0.5, "low": 0.5, "high": 0.5})
    assert found["score"]["value"] == pytest.approx(0.4)
    # As a logarithm: 0.1 for each factor of four.
    assert extrapolate([100, 400], rows, LAWS["logarithm"], 1600)["score"][
        "value"
    ] == pytest.approx(0.3)


def test_the_interval_holds_the_truth_and_grows_with_the_distance():
    rng = np.random.default_rng(0)
    truth = 0.02 * np.log(SIZES)
    rows = truth + rng.normal(0, 0.2, (2000, 1)) + rng.normal(0, 0.1, (2000, len(SIZES)))
    near, far = (extrapolate(SIZES, rows, LAWS["logarithm"], at)["score"] for at in (1e5, 1e8))
    assert near["low"] < 0.02 * np.log(1e5) < near["high"]
    assert far["high"] - far["low"] > near["high"] - near["low"] > 0


@pytest.mark.parametrize("shape", [(5, 1), (5, 3)])
def test_too_few_sizes_are_refused(shape):
    with pytest.raises(Vec2SlugError, match="two sizes or more, got"):
        extrapolate(SIZES[: 1 if shape[1] == 1 else 2], np.ones(shape), LAWS["power"], 1e6)
