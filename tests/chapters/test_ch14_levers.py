"""The levers of chapter 14: names that can be trained, tables and sentences by hand."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from chapters import ch14_figures, ch14_levers, ch14_says, ch14_scaling
from chapters.ch14_levers import Lever, on_fraction
from chapters.ch14_scaling import LAWS, fit_laws, law_table

from vec2slug_lib.experiments.baseline_runs import find_baseline, is_baseline
from vec2slug_lib.experiments.decoding_variants import VARIANTS
from vec2slug_lib.experiments.table import find_experiment

PAIRS = [4_000, 16_000, 64_000]
STUDY = "3i as trained here"


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
    rival = on_fraction("word-vote+reranked=True", 0.25)
    assert rival == "word-vote+share=0.25+reranked=True"
    assert (find_baseline(rival).train_fraction, find_baseline(rival).reranked) == (0.25, True)


def test_least_steps_are_given_to_what_has_no_fixed_number_of_epochs(monkeypatch):
    monkeypatch.setattr(ch14_levers, "MIN_STEPS", 900)
    assert on_fraction("3i", 1) == "3i"
    assert on_fraction("3i", 0.5) == "3i+share=0.5+min_steps=900"
    assert find_experiment(on_fraction("3i", 0.5)).min_steps == 900
    unscaled = ch14_levers.quarter_levers("3i", "4a")["unscaled"].run
    assert unscaled == "3i+share=0.25+scaled_input=False+min_steps=900"
    for name in ("4a", "4c", "vote"):
        assert "min_steps" not in on_fraction(name, 0.5)


def test_the_rival_is_the_best_that_nobody_trained():
    assert all(is_baseline(name) for name in ch14_levers.UNTRAINED)
    assert not {"title", "keywords"} & set(ch14_levers.UNTRAINED), "they see the page's text"
    scores = dict.fromkeys(ch14_levers.UNTRAINED, np.zeros(3)) | {"3i": np.ones(3)}
    scores["word-vote"] = np.full(3, 0.5)
    assert ch14_levers.best_untrained(scores) == "word-vote"
    assert ch14_levers.label("word-vote+reranked=True") == ("the re-ranked vote with word vectors")
    assert ch14_levers.label("4c") == "4c"


def test_standing_leaves_the_rival_without_a_difference():
    metrics = {name: interval(0, 0.5, 1) for name in ("diversity", "mean_words", "token_f1")}
    run = SimpleNamespace(metrics=metrics, value=lambda name: metrics[name]["value"])
    scores = {"3i": np.full(9, 0.5), "vote": np.full(9, 0.75)}
    frame = ch14_levers.standing({"3i": run, "vote": run}, scores, "vote", range(9))
    assert frame["minus the rival"].tolist() == ["-0.250 (-0.250 to -0.250)", ""]
    assert list(frame.index) == ["3i as trained here", "the word vote"]


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
    one_topic = {**gains, "alone": interval(np.nan, 0.4, np.nan)}
    says = ch14_says.sources_say(one_topic, "the vote")
    assert "ahead of the vote on 3, measurably on 1" in says
    assert says.endswith(" One topic has all pages of alone, which decides nothing there.")


def test_levers_are_sorted_by_what_they_do():
    levers = {name: Lever(name.upper(), "3i") for name in "abcd"}
    values = [interval(1, 2, 3), interval(-3, -2, -1), interval(-1, 0, 1), interval(4, 5, 6)]
    assert ch14_says.levers_say(levers, dict(zip("abcd", values, strict=True))) == (
        "The largest steps up are “D” (+5.000) and “A” (+2.000). No measurable difference: “C”. "
        "Worse: “B” (-2.000)."
    )


def test_large_sources_and_their_differences():
    sources, topics = pd.Series(["a", "b", "b", "c", "c", "c"]), pd.Series([0, 1, 2, 1, 3, 3])
    assert ch14_figures.large_sources(sources, 2) == ["c", "b"]
    ours, theirs = np.arange(6.0), np.zeros(6)
    gains = ch14_figures.source_gains(ours, theirs, sources, ["c", "a"], topics)
    assert {name: row["value"] for name, row in gains.items()} == {"c": 4, "a": 0}
    assert np.isnan(gains["a"]["low"]), "it lies in one topic"
    figure = ch14_figures.source_figure({"x": ours}, sources, ["c", "b"], topics)
    assert list(figure.data[0].y) == ["c", "b"]


def test_each_source_counts_alike():
    # Means by source: 1 of one page, 4 of three pages; so 2.5 over sources and 3.25 over pages.
    values, sources = np.array([1.0, 3, 4, 5]), pd.Series(["a", "b", "b", "b"])
    topics = pd.Series([0, 1, 2, 3])
    means = ch14_figures.source_means(values, values - 1, sources, topics, (1, 2, 9))
    assert means["sources"].tolist() == [2, 1], "no source has nine pages"
    assert [cell["value"] for cell in means["release"]] == [2.5, 4]
    assert [cell["value"] for cell in means["rival"]] == [1.5, 3]
    assert ch14_figures.source_table(means)["difference"].iloc[0].startswith("+1.000")
    says = ch14_says.mean_says(means, sources, "the vote")
    assert "b alone has 75% of them" in says
    assert says.endswith("The release is ahead whichever count.")


def test_a_ratio_has_an_interval_over_topics():
    ratio = ch14_says.times(np.full(8, 0.3), np.full(8, 0.2), range(8))
    assert ratio == pytest.approx({"value": 1.5, "low": 1.5, "high": 1.5})
    answer = ch14_says.answer(0.3, np.full(8, 0.3), np.full(8, 0.2), range(8), "the vote", "ahead")
    assert "1.50 (1.50 to 1.50) times the 0.200 of the best untrained system, the vote" in answer


@pytest.fixture
def grid():
    """Scores of two systems on rows that are all alike; ours begins higher and rises slower."""
    x = np.log(PAIRS)
    return {
        STUDY: np.tile(0.05 * (x - 7), (4, 1)),
        "ours": np.tile(0.2 + 0.02 * (x - 7), (4, 1)),
    }


def test_where_two_laws_meet(grid):
    study, ours = grid.values()
    law, topics = LAWS["logarithm"], range(4)
    # 0.05 (x - 7) = 0.2 + 0.02 (x - 7) where x - 7 = 20 / 3.
    meeting = ch14_scaling.meeting(PAIRS, study, ours, law, topics)
    assert list(meeting.values()) == pytest.approx([np.exp(7 + 20 / 3)] * 3)
    assert set(ch14_scaling.meeting(PAIRS, ours, study, law, topics).values()) == {np.inf}
    needed = ch14_scaling.pairs_needed(PAIRS, study, ours, law, topics)["value"]
    assert 0.05 * (np.log(needed) - 7) == pytest.approx(ours[0, -1])
    assert ch14_scaling.doubling(PAIRS, study, topics)["value"] == pytest.approx(0.05 * np.log(2))


def test_a_meeting_that_topics_leave_open_may_be_never(grid):
    ours = grid["ours"]
    slopes = np.array([-0.04, 0.02, 0.04, 0.1])[:, None] * (np.log(PAIRS) - np.log(PAIRS[0]))
    meeting = ch14_scaling.meeting(PAIRS, ours + slopes, ours, LAWS["logarithm"], range(4))
    assert meeting["high"] == np.inf > meeting["value"]


@pytest.mark.parametrize(
    ("count", "says"),
    [
        (
            (1e6, 2e6, np.inf),
            "with 2 million pairs (1 million to never; not reached within the range",
        ),
        (
            (1e5, 2e5, 3e6),
            "with 0.2 million pairs (0.1 million to 3 million; perhaps not reached within",
        ),
        ((1e6, np.inf, np.inf), "never (1 million or more; not reached within the range"),
        ((np.inf, np.inf, np.inf), "never"),
        ((2e7, 1.5e8, 2e9), "with 150 million pairs (20 million to 2,000 million; not"),
        ((1e5, 1.2e5, 1.4e5), "with 0.12 million pairs (0.1 million to 0.14 million)"),
    ],
)
def test_counts_of_pairs_are_told(count, says):
    assert ch14_says.count_says(interval(*count), 150_000).startswith(says)


def test_the_laws_are_told_as_numbers(grid):
    laws = fit_laws(PAIRS, grid, 2_000_000, range(4))
    low, high = ch14_says.reach(laws, STUDY)
    assert low <= high
    assert list(law_table(laws, 2_000_000)) == ["law", "b", "at 2.0 M pairs", "farthest point"]
    for reported, place in ((high + 0.1, "above"), (low - 0.1, "below"), (low, "within")):
        says = ch14_says.scaling_says(PAIRS, grid, laws, 2_000_000, reported, range(4))
        assert f"lies {place} that. It is an extrapolation by a factor of 31" in says
        assert "is not decided here" in says


def test_what_pairs_bring_is_said_of_the_range(grid):
    says = ch14_says.range_says(PAIRS, grid, range(4))
    assert says.startswith("From 4,000 to 64,000 pairs, each doubling adds 0.035 (0.035 to 0.035)")
    assert says.endswith("the distance shrinks.")


def test_how_training_ended_is_told():
    rows = [
        {"steps": 80, "since": 0, "converged": False, "scheduled": False},
        {"steps": 1260, "since": 3, "converged": True, "scheduled": False},
    ]
    says = ch14_says.endings_say(rows, [4, 64], "3i")
    assert says.startswith("3i had 80 to 1,260 steps. With 4 pairs it ended by its number of")
    frame = ch14_scaling.ending_table({"3i": rows}, [4, 64])
    assert frame["evaluations since the lowest loss"].tolist() == [0, 3]
    says = ch14_says.endings_say([rows[1]] * 2, [4, 64], "3i")
    assert says.endswith("at every size until the validation loss no longer fell.")
    scheduled = [{**row, "scheduled": True} for row in rows]
    assert "a fixed number of epochs" in ch14_says.endings_say(scheduled, [4, 64], "ours")
    assert list(ch14_scaling.ending_table({"ours": scheduled}, [4, 64])) == ["ours: steps"]


def test_an_ending_is_read_off_the_history():
    losses = [3.0, 2.0, 2.1, 2.2]
    history = pd.DataFrame({"step": [10, 20, 30, 40], "val_loss": losses})
    manifest = {"experiment": "3i", "training": {"patience": 2}}
    ended = ch14_scaling.ending(SimpleNamespace(history=history, manifest=manifest))
    assert ended == {"steps": 40, "since": 2, "converged": True, "scheduled": False}
