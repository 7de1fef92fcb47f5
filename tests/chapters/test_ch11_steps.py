"""What the study's steps add, in numbers and in sentences."""

from __future__ import annotations

import pandas as pd
import pytest
from chapters import ch11_steps
from chapters.ch11_claims import CLAIMS
from chapters.ch11_steps import PHASES, STEPS

RISE = {"value": 0.02, "low": 0.01, "high": 0.03, "expected": 0.05}
FALL = {"value": -0.02, "low": -0.03, "high": -0.01, "expected": 0.05}
FLAT = {"value": 0.0, "low": -0.01, "high": 0.01, "expected": 0.05}


@pytest.fixture
def gains():
    rows = dict(zip(STEPS, [RISE, FALL, FLAT, FLAT, RISE], strict=True))
    checked = pd.DataFrame.from_dict(rows, orient="index")
    return ch11_steps.step_gains(checked, {"value": -0.002, "low": -0.004, "high": -0.001})


def test_steps_and_phases_are_of_the_claims():
    assert STEPS.keys() <= CLAIMS.keys()
    chapters = [chapter for group in PHASES.values() for chapter in group]
    assert sorted(chapters) == sorted({claim.chapter for claim in CLAIMS.values()})


def test_the_last_step_is_turned_round(gains):
    last = gains.loc["stopping (3i)"]
    assert last[["value", "low", "high"]].tolist() == pytest.approx([0.002, 0.001, 0.004])
    assert gains["outcome"].tolist() == ["better", "worse", "draw", "draw", "better", "better"]
    shown = ch11_steps.step_table(gains)
    assert shown["reported"].tolist() == ["+0.050"] * 5 + ["–"]
    assert shown.loc[STEPS["bpe"], "measured"] == "-0.020 (-0.030 to -0.010)"


def test_sentences_name_the_steps_by_outcome(gains):
    assert ch11_steps.steps_say(gains) == (
        f"Measurably better with: {STEPS['decoder']}, {STEPS['larger']}, stopping (3i). "
        f"Measurably worse with: {STEPS['bpe']}. A draw: {STEPS['cap']}, {STEPS['eos']}."
    )
    sizes = pd.Series({"3i": 10.0, "3j": 25.0})
    assert ch11_steps.size_says(gains, sizes, "+0.020") == (
        "The larger model, 3j, is measurably better than 3i at 2.5 times its size: +0.020."
    )
    counts = {"reproduced": 4, "smaller": 2, "larger": 1, "undecided": 3, "contradicted": 0}
    assert ch11_steps.tally(pd.Series(counts | {"not checked": 1})) == (
        "Of 11 claims of the study, 4 are reproduced, 3 hold with another size, 3 stay undecided, "
        "0 are contradicted and 1 cannot be checked here."
    )


def test_what_is_drawn_changes_verdicts():
    claims = ["A", "B", "C"]
    over_pages, over_topics = (
        pd.DataFrame(
            {"claim": claims, "verdict": verdicts, "measured": measured}, index=list("abc")
        )
        for verdicts, measured in (
            (["reproduced", "smaller", "undecided"], ["1", "2", "3"]),
            (["reproduced", "undecided", "undecided"], ["4", "5", "6"]),
        )
    )
    changed = ch11_steps.changed_verdicts(over_topics, over_pages)
    assert changed.index.tolist() == ["B"]
    assert changed.iloc[0].tolist() == ["smaller", "2", "undecided", "5"]
    assert ch11_steps.topics_say(29, over_topics, over_pages) == (
        "With 29 topics, 2 of 3 claims stay undecided; a bootstrap over pages would have decided "
        "1 of them."
    )


def test_the_figure_has_each_step_once(gains):
    measured, reported = ch11_steps.step_figure(gains).data
    assert list(measured.y) == [*STEPS.values(), "stopping (3i)"]
    assert list(reported.y) == list(STEPS.values())
