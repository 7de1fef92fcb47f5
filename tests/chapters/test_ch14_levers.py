"""The levers of chapter 14: names that can be trained, tables and sentences by hand."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from chapters import ch14_figures, ch14_levers, ch14_says
from chapters.ch14_levers import Lever, on_fraction
from chapters.ch14_scaling import LAWS, fit_laws, law_table

from vec2slug_lib.experiments.baseline_runs import find_baseline
from vec2slug_lib.experiments.decoding_variants import VARIANTS
from vec2slug_lib.experiments.table import find_experiment

PAIRS = [4_000, 16_000, 64_000]


def interval(low, value, high):
    return {"value": value, "low": low, "high": high}


def test_every_lever_can_be_made():
    levers = ch14_levers.all_levers("3i", "4a+word_table=False", "4a", "4b", "4c")
    levers |= ch14_levers.quarter_levers("3i", "4a")
    for lever in levers.values():
        find_experiment(lever.run)
        assert not lever.than or find_experiment(lever.than)
        assert not lever.variant or lever.variant in VARIANTS
    assert Counter(lever.says for lever in levers.values()).most_common(1)[0][1] == 1


def test_a_fraction_of_the_pages_gives_a_fraction_of_the_spans():
    assert on_fraction("4c", 1) == "4c"
    assert on_fraction("4c", 1 / 16) == "4c+share=0.0625+pretrain=25000"
    assert on_fraction("3i", 0.5) == "3i+share=0.5"
    assert find_baseline(on_fraction("vote", 0.25)).train_fraction == 0.25


def test_standing_leaves_the_rival_without_a_difference():
    metrics = {name: interval(0, 0.5, 1) for name in ("diversity", "mean_words", "token_f1")}
    run = SimpleNamespace(metrics=metrics, value=lambda name: metrics[name]["value"])
    scores = {"3i": np.full(9, 0.5), "vote": np.full(9, 0.75)}
    frame = ch14_levers.standing({"3i": run, "vote": run}, scores, "vote")
    assert frame["minus vote"].tolist() == ["-0.250 (-0.250 to -0.250)", ""]


def test_sources_are_counted_by_their_differences():
    gains = {
        "far": interval(0.1, 0.2, 0.3),
        "near": interval(-0.1, 0.1, 0.3),
        "level": interval(-0.2, -0.1, 0.1),
    }
    assert ch14_says.sources_say(gains, "the vote") == (
        "Of 3 sources, the release is ahead of the vote on 2, measurably on 1, and measurably "
        "behind on none. Behind within the noise: level (-0.100, -0.200 to +0.100)."
    )
    assert ch14_says.behind({"x": interval(-3, -2, -1)}) == "measurably behind on x"


def test_levers_are_sorted_by_what_they_do():
    levers = {name: Lever(name.upper(), "3i") for name in "abcd"}
    values = [interval(1, 2, 3), interval(-3, -2, -1), interval(-1, 0, 1), interval(4, 5, 6)]
    assert ch14_says.levers_say(levers, dict(zip("abcd", values, strict=True))) == (
        "The largest steps up are “D” (+5.000) and “A” (+2.000). No measurable difference: “C”. "
        "Worse: “B” (-2.000)."
    )


def test_large_sources_and_their_differences():
    sources = pd.Series(["a", "b", "b", "c", "c", "c"])
    assert ch14_figures.large_sources(sources, 2) == ["c", "b"]
    ours, theirs = np.arange(6.0), np.zeros(6)
    gains = ch14_figures.source_gains(ours, theirs, sources, ["c", "b"])
    assert {name: row["value"] for name, row in gains.items()} == {"c": 4, "b": 1.5}
    figure = ch14_figures.source_figure({"x": ours}, sources, ["c", "b"])
    assert list(figure.data[0].y) == ["c", "b"]


def test_promises_are_kept_group_by_group():
    scores = np.linspace(0, 1, 100)
    promised = ch14_figures.promises(scores, scores / 2)
    assert len(promised) == 10
    np.testing.assert_allclose(promised["found"], promised["expected"] / 2)


@pytest.fixture
def grid():
    """Scores of two systems on rows that are all alike; ours begins higher and rises slower."""
    x = np.log(PAIRS)
    return {
        "the study's recipe": np.tile(0.05 * (x - 7), (4, 1)),
        "ours": np.tile(0.2 + 0.02 * (x - 7), (4, 1)),
    }


def test_where_two_laws_meet(grid):
    study, ours = grid.values()
    # 0.05 (x - 7) = 0.2 + 0.02 (x - 7) where x - 7 = 20 / 3.
    meeting = ch14_says.meeting(PAIRS, study, ours, LAWS["logarithm"])
    assert meeting == pytest.approx(np.exp(7 + 20 / 3))
    assert ch14_says.meeting(PAIRS, ours, study, LAWS["logarithm"]) is None
    needed = ch14_says.pairs_needed(PAIRS, study, ours, LAWS["logarithm"])
    assert 0.05 * (np.log(needed) - 7) == pytest.approx(ours[0, -1])


def test_the_laws_are_told_as_numbers(grid):
    laws = fit_laws(PAIRS, grid, 2_000_000)
    low, high = ch14_says.reach(laws, "the study's recipe")
    assert low <= high
    assert list(law_table(laws, 2_000_000)) == ["law", "b", "at 2.0 M pairs", "farthest point"]
    says = ch14_says.scaling_says(PAIRS, grid, laws, 2_000_000, reported=high + 0.1)
    assert "do not account for the study's level" in says
    says = ch14_says.scaling_says(PAIRS, grid, laws, 2_000_000, reported=high - 0.1)
    assert "can account for the study's level" in says
