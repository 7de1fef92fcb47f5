"""The rule that decides what was reproduced, and the list of claims that it is applied to."""

from __future__ import annotations

from math import inf, nan

import pytest
from chapters import ch11_claims
from chapters.ch11_claims import ABOVE, BELOW, CLAIMS, LEVEL, REASONS, REPORTED, VERDICTS, Claim
from chapters.ch11_measures import exactly
from hypothesis import given
from hypothesis import strategies as st

from vec2slug_lib.experiments.table import EXPERIMENTS, FAIR_MLP

numbers = st.floats(-2, 2, allow_nan=False)
triples = st.tuples(numbers, numbers, numbers).map(sorted)


def interval(low, value, high):
    return {"value": value, "low": low, "high": high}


def claim(reported, holds=ABOVE, tolerance=0.0, why=""):
    return Claim("", 1, (), reported, lambda *_: interval(0, 0, 0), holds, tolerance, untested=why)


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
        # Nothing measured, or on one topic, which tells nothing of others.
        (0.02, ABOVE, 0.0, (-inf, nan, inf), "not checked"),
        (0.5, LEVEL, None, (-inf, nan, inf), "not checked"),
        (0.02, ABOVE, 0.0, (nan, 0.02, nan), "undecided"),
        (0.5, LEVEL, None, (nan, 0.5, nan), "undecided"),
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
    assert set(one.experiments) <= {*EXPERIMENTS, FAIR_MLP}
    assert 1 <= one.chapter <= 12
    assert one.form.format(one.reported)
    # The study's own figure, known exactly, reproduces the study.
    wanted = "not checked" if one.untested else "reproduced"
    assert ch11_claims.verdict(one, exactly(one.reported)) == wanted


def test_a_step_from_a_broken_rival_is_measured_against_a_fair_one():
    step = CLAIMS["decoder"]
    assert step.experiments == ("3b", FAIR_MLP)
    assert step.reported == pytest.approx(0.197 - 0.082)


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
    assert CLAIMS["hyphens"].reported == pytest.approx(5.7, abs=0.05)


def test_check_claims_makes_a_row_a_claim(monkeypatch):
    chosen = {"one": claim(0.5, LEVEL, None), "two": claim(0.02), "three": claim(0.02, why="no")}
    monkeypatch.setattr(ch11_claims, "CLAIMS", chosen)
    monkeypatch.setattr(
        ch11_claims, "REASONS", {"one": {"smaller": "because", "larger": "not this"}}
    )
    frame = ch11_claims.check_claims(None)
    assert frame["verdict"].to_dict() == {
        "one": "smaller", "two": "undecided", "three": "not checked",
    }  # fmt: skip
    assert frame["reason"].to_dict() == {"one": "because", "two": "", "three": "no"}
    assert frame.loc["one", ["reported", "measured"]].tolist() == ["+0.500", "+0.000"]
