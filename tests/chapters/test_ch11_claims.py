"""The rule that decides what was reproduced, and the list of claims that it is applied to."""

from __future__ import annotations

from math import inf, nan
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from chapters import ch11_claims
from chapters.ch11_claims import ABOVE, BELOW, CLAIMS, LEVEL, REASONS, REPORTED, VERDICTS, Claim
from hypothesis import given
from hypothesis import strategies as st

from vec2slug_lib.evaluation import intervals
from vec2slug_lib.experiments.table import EXPERIMENTS

numbers = st.floats(-2, 2, allow_nan=False)
triples = st.tuples(numbers, numbers, numbers).map(sorted)


def interval(low, value, high):
    return {"value": value, "low": low, "high": high}


def claim(reported, holds=ABOVE, tolerance=0.0):
    return Claim("", 1, "results", (), reported, lambda *_: interval(0, 0, 0), holds, tolerance)


@pytest.mark.parametrize(
    ("reported", "holds", "tolerance", "measured", "expected"),
    [
        # A gain of 0.02: the side of zero decides, then the size.
        (0.02, ABOVE, 0.0, (0.01, 0.015, 0.03), "reproduced"),
        (0.02, ABOVE, 0.0, (0.001, 0.005, 0.01), "smaller"),
        (0.02, ABOVE, 0.0, (0.03, 0.04, 0.05), "larger"),
        (0.02, ABOVE, 0.008, (0.03, 0.04, 0.05), "larger"),
        (0.02, ABOVE, 0.011, (0.03, 0.04, 0.05), "reproduced"),
        (0.02, ABOVE, 0.0, (-0.001, 0.01, 0.03), "undecided"),
        (0.02, ABOVE, 0.0, (-0.03, -0.02, -0.001), "contradicted"),
        (0.02, ABOVE, 0.0, (-0.03, -0.02, 0.0), "undecided"),
        (0.02, ABOVE, 0.0, (0.0, 0.0, 0.0), "undecided"),
        # A loss: smaller and larger go by magnitude.
        (-0.02, BELOW, 0.0, (-0.01, -0.005, -0.001), "smaller"),
        (-0.02, BELOW, 0.0, (-0.05, -0.04, -0.03), "larger"),
        (-0.02, BELOW, 0.0, (0.001, 0.002, 0.003), "contradicted"),
        # A level has a size only. With no tolerance given, a tenth of it fits.
        (0.5, LEVEL, None, (0.54, 0.56, 0.58), "reproduced"),
        (0.5, LEVEL, None, (0.56, 0.57, 0.58), "larger"),
        (0.5, LEVEL, None, (0.1, 0.2, 0.3), "smaller"),
        # No effect, and a bound: the region is everything.
        (0.0, (-0.1, 0.1), inf, (-0.09, 0.0, 0.09), "reproduced"),
        (0.0, (-0.1, 0.1), inf, (0.09, 0.1, 0.11), "undecided"),
        (0.0, (-0.1, 0.1), inf, (0.11, 0.2, 0.3), "contradicted"),
        (0.016, (-inf, 0.1), inf, (0.001, 0.002, 0.003), "reproduced"),
        # Nothing measured.
        (0.02, ABOVE, 0.0, (-inf, nan, inf), "undecided"),
        (0.5, LEVEL, None, (-inf, nan, inf), "undecided"),
    ],
)
def test_the_rule(reported, holds, tolerance, measured, expected):
    assert ch11_claims.verdict(claim(reported, holds, tolerance), interval(*measured)) == expected


@given(triples, numbers, st.floats(0, 1))
def test_the_rule_does_not_know_up_from_down(bounds, reported, tolerance):
    low, value, high = bounds
    mirrored = interval(-high, -value, -low)
    upward = ch11_claims.verdict(claim(reported, ABOVE, tolerance), interval(low, value, high))
    assert upward == ch11_claims.verdict(claim(-reported, BELOW, tolerance), mirrored)


@given(triples, numbers, st.floats(0, 1), st.floats(0, 1))
def test_a_wider_interval_takes_back_and_never_turns_round(bounds, reported, less, more):
    low, value, high = bounds
    narrow = ch11_claims.verdict(claim(reported), interval(low, value, high))
    wide = ch11_claims.verdict(claim(reported), interval(low - less, value, high + more))
    assert narrow in VERDICTS
    followers = {
        "undecided": {"undecided"},
        "contradicted": {"contradicted", "undecided"},
        "reproduced": {"reproduced", "undecided"},
    }
    assert wide in followers.get(narrow, {narrow, "reproduced", "undecided"})


@pytest.mark.parametrize("key", CLAIMS)
def test_a_claim_is_complete_and_true_of_the_study(key):
    one = CLAIMS[key]
    assert set(one.experiments) <= set(EXPERIMENTS)
    assert one.section in {"vocabulary", "decoding", "results"}
    assert 1 <= one.chapter <= 11
    assert one.form.format(one.reported)
    # The study's own figure, known exactly, reproduces the study.
    assert ch11_claims.verdict(one, ch11_claims.exactly(one.reported)) == "reproduced"


def test_claims_read_differently():
    assert len({one.says for one in CLAIMS.values()}) == len(CLAIMS) >= 18


def test_reasons_belong_to_claims_and_to_verdicts_that_need_one():
    assert REASONS.keys() <= CLAIMS.keys()
    assert {found for texts in REASONS.values() for found in texts} <= VERDICTS.keys() - {
        "reproduced"
    }


def test_reported_values_are_of_known_experiments():
    assert all(values.keys() <= EXPERIMENTS.keys() for values in REPORTED.values())
    assert CLAIMS["cap"].reported == pytest.approx(0.290 - 0.267)
    assert CLAIMS["eos_words"].reported == pytest.approx(4.9 - 3.6)


def test_half_widths_of_two_estimates_are_squared_and_added():
    # 0.4 - 0.3; below hypot(0.03, 0.04), above hypot(0.05, 0.12).
    found = intervals.apart(interval(0.37, 0.4, 0.45), interval(0.18, 0.3, 0.34))
    assert found == pytest.approx(interval(0.05, 0.1, 0.23))


def test_a_ratio_of_means_from_counts():
    # 3 and 5, each of 50 rows and with a standard deviation of 1: relative errors 1/3 and 1/5.
    found = intervals.ratio([0, 0, 25, 0, 25], [0, 0, 0, 0, 25, 0, 25])
    factor = np.exp(1.96 * np.sqrt((1 / 9 + 1 / 25) / 50))
    assert found == pytest.approx(interval(0.6 / factor, 0.6, 0.6 * factor))
    assert intervals.ratio([0, 0, 7], [0, 3]) == interval(2, 2, 2)


def test_the_bootstrap_is_of_the_statistic():
    rng = np.random.default_rng(0)
    columns = np.column_stack([rng.random(200), np.full(200, 2.0)])
    found = intervals.bootstrap(columns, lambda mean: mean[0] / mean[1])
    assert found["value"] == pytest.approx(columns[:, 0].mean() / 2)
    assert found["low"] < found["value"] < found["high"]
    # A ratio to a constant is a mean: its standard error is known.
    error = 1.96 * columns[:, 0].std() / 2 / np.sqrt(200)
    assert found["high"] - found["low"] == pytest.approx(2 * error, rel=0.1)


def fake(predictions, mapping=None, **more):
    """Records of one run, whatever its name."""
    frame = pd.DataFrame(predictions, columns=["id", "slug", "prediction"])
    return SimpleNamespace(
        run=lambda name: SimpleNamespace(predictions=frame), mapping=lambda: mapping, **more
    )


def test_what_clusters_change_and_allow():
    mapping = {"a": "a", "b": "a", "c": "c", "d": "c", "e": "e"}
    records = fake([(0, "a-b-c", "a-c"), (1, "d-e", "a-e-c")] * 50, mapping)
    # Two of five words change. Perfect slugs: a-a-c shares a and c of 2 + 3, c-e shares e of 2 + 2.
    assert ch11_claims._changed_words(records, ("3b",))["value"] == pytest.approx(2 / 5)
    assert ch11_claims._ceiling(records, ("3b",))["value"] == pytest.approx((4 / 5 + 2 / 4) / 2)
    # Micro against {a, c} and {c, e}: 2 * (2 + 2) of (2 + 2) + (3 + 2). Macro against the slugs:
    # a and c of 2 + 3, e of 3 + 2.
    ghost = 8 / 9 - (4 / 5 + 2 / 5) / 2
    assert ch11_claims._ghost_gap(records, ("3b",))["value"] == pytest.approx(ghost)


def test_short_documents_are_set_against_long_ones():
    rows = [(i, "a-b-c", "a-b-c" if i < 30 else "x-y-z") for i in range(40)]
    counts = [100] * 20 + [600] * 20  # of the long ones half are right
    pairs = pd.DataFrame({"id": range(40), "token_count": counts})
    measure = ch11_claims._short_over_long
    assert measure(fake(rows, pairs=lambda: pairs), ("3j",))["value"] == pytest.approx(0.5)
    no_long = pairs.assign(token_count=100)
    found = measure(fake(rows, pairs=lambda: no_long), ("3j",))
    assert ch11_claims.verdict(CLAIMS["short"], found) == "undecided"
    assert ch11_claims._text("{:+.3f}", found) == "–"


def test_check_claims_makes_a_row_a_claim(monkeypatch):
    chosen = {"one": claim(0.5, LEVEL, None), "two": claim(0.02)}
    monkeypatch.setattr(ch11_claims, "CLAIMS", chosen)
    monkeypatch.setattr(
        ch11_claims, "REASONS", {"one": {"smaller": "because", "larger": "not this"}}
    )
    frame = ch11_claims.check_claims("smoke")
    assert frame["verdict"].to_dict() == {"one": "smaller", "two": "undecided"}
    assert frame["reason"].to_dict() == {"one": "because", "two": ""}
    assert frame.loc["one", ["reported", "measured"]].tolist() == ["+0.500", "+0.000"]
