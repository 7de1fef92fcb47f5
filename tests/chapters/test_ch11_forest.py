"""The forest plot: one scale for claims of all units, each claim drawn once."""

from __future__ import annotations

from math import inf, nan

import pandas as pd
import pytest
from chapters import ch11_forest
from chapters.ch11_claims import ABOVE, BELOW, CLAIMS, LEVEL, VERDICTS, Claim
from chapters.ch11_forest import SYMBOLS, position
from chapters.ch11_steps import PHASES


def claim(reported, holds):
    return Claim("", 1, (), reported, lambda *_: None, holds)


@pytest.mark.parametrize(
    ("reported", "holds", "value", "place"),
    [
        (0.02, ABOVE, 0.01, 0.5),
        (0.02, ABOVE, -0.01, -0.5),
        (-0.02, BELOW, -0.01, 0.5),
        (1.6, (1.0, inf), 0.94, -0.1),
        (0.5, LEVEL, 0.25, 0.5),
        (0.0, (-0.1, 0.1), -0.05, 0.5),
        (0.0, (-0.1, 0.1), 0.05, 0.5),
        (0.0, (-0.1, 0.1), 0.2, -1),
        (0.0, (-inf, 0.01), 0.02, -1),
    ],
)
def test_the_scale_runs_from_the_edge_to_the_reported(reported, holds, value, place):
    assert position(claim(reported, holds), value) == pytest.approx(place)
    assert position(claim(reported, holds), reported) == 1


@pytest.fixture
def checked():
    names = list(VERDICTS)
    rows = {
        key: {
            "claim": one.says, "chapter": one.chapter, "verdict": names[i % len(names)],
            "reported": "", "measured": str(i), "value": one.reported,
            "low": one.reported - 0.001, "high": one.reported + 0.001,
        }
        for i, (key, one) in enumerate(CLAIMS.items())
    }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index")


def test_every_claim_is_drawn_once_under_its_chapter(checked):
    figure = ch11_forest.forest_figure(checked, PHASES)
    *verdicts, reported = figure.data
    assert [trace.name for trace in verdicts] == list(SYMBOLS) == list(VERDICTS)
    heights = [y for trace in verdicts for y in trace.y]
    assert sorted(heights) == sorted(reported.y)
    assert len(set(heights)) == len(CLAIMS)
    assert set(reported.x) == {1}
    texts = [note.text.replace("<br>", " ") for note in figure.layout.annotations]
    assert [text for text in texts if not text.startswith("<b>")] == checked["claim"].tolist()
    assert len(texts) == len(CLAIMS) + len(PHASES)
    lines = [line for note in figure.layout.annotations for line in note.text.split("<br>")]
    assert (
        max(len(line.removeprefix("<b>").removesuffix("</b>")) for line in lines)
        <= ch11_forest.LETTERS
    )
    assert figure.layout.height > max(heights)


def test_colour_and_symbol_tell_verdicts_apart():
    assert len({symbol for symbol, _ in SYMBOLS.values()}) == len(SYMBOLS)


def test_what_is_off_the_scale_is_said_and_what_is_unknown_not_drawn(checked):
    checked.loc["repetition", ["value", "low", "high"]] = [0.2, 0.19, 0.21]
    checked.loc["places", ["value", "low", "high"]] = [nan, -inf, inf]
    points = ch11_forest.positions(checked)
    assert points.loc["repetition", "value"] == pytest.approx(-19)
    assert points.loc["places"].isna().all()
    figure = ch11_forest.forest_figure(checked, PHASES)
    assert min(x for trace in figure.data for x in trace.x) == ch11_forest.ENDS[0]
    alt = ch11_forest.forest_alt(checked)
    assert "beyond it: The search eliminates repeated words" in alt
    assert all(one.says in alt for one in CLAIMS.values())
