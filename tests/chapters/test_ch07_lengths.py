"""Lengths of slugs, by hand."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from chapters import ch07_lengths as ch07

from vec2slug_lib.evaluation.records import Run


def interval(low, high):
    return {"value": (low + high) / 2, "low": low, "high": high}


def decoding(words, change, f1):
    """A record of a decoding variant, as far as this chapter reads it."""
    return {
        "words": words,
        "metrics": {"mean_words": interval(4, 4.5)},
        "difference": {"mean_words": change, "token_f1": f1},
    }


@pytest.fixture
def decoded():
    flat, up = interval(-0.02, 0.04), interval(0.3, 0.5)
    names = ["greedy", "beam-1", "beam-8", "beam-16", "reward-0", "words+1", "words+2"]
    return {name: decoding([0, 0, 0, 1, 3, 0, 0, 0, 0], flat, flat) for name in names} | {
        "reward-0": decoding([0] * 9, up, flat),
        "words+1": decoding([0] * 9, up, up),
    }


def test_words_and_their_shares():
    counts = ch07.count_words(["bee-hive-life", "ant", "ant-hill-life"])
    assert counts.tolist() == [3, 1, 3]
    np.testing.assert_allclose(ch07.length_shares(counts), [1 / 3, 0, 2 / 3, 0, 0, 0, 0, 0])
    assert ch07.shares_of_counts([0] * 9).tolist() == [0] * 8
    assert ch07.word_gap(counts, counts - 1, [0, 1, 2]) == {"value": 1, "low": 1, "high": 1}


def test_a_gap_in_words_is_wider_where_pages_share_a_topic():
    own, topics = np.full(100, 4.0), np.arange(100) // 25
    alike, mixed = (ch07.word_gap(4 + topics % 2, own, each) for each in (topics, range(100)))
    assert alike["value"] == mixed["value"] == 0.5
    assert alike["high"] - alike["low"] > 3 * (mixed["high"] - mixed["low"])


def test_lengths_are_tabulated_with_the_gap_of_the_last():
    lengths = {"training": np.array([3.0, 5]), "own": np.array([4.0]), "written": np.array([5.0])}
    found = ch07.lengths_table(lengths, interval(0.5, 1.5))
    assert found["mean words"].to_dict() == {"training": 4, "own": 4, "written": 5}
    assert found["95 % interval"].tolist() == ["", "", "+0.50 to +1.50"]


def test_decodings_stand_beside_the_usual_one(decoded):
    found = ch07.diagnostics_table({"no reward": decoded["reward-0"]}, np.array([3.0, 4.0]))
    assert found.index.tolist() == ["as everywhere: width 4, reward 1.5", "no reward"]
    assert found["mean words"].tolist() == [3.5, 4.25]
    assert found.loc["no reward", "change"] == "+0.40"


def test_figures_draw_what_their_texts_say(decoded):
    usual = np.array([3.0, 4.0])
    beams = ch07.beam_shares(decoded, usual)
    figure = ch07.lengths_figure("title", ch07.length_shares(usual), beams)
    assert [line.name for line in figure.data[1:]] == ["width 1", "width 4", "width 8", "width 16"]
    assert figure.data[1].y.tolist() == [0, 0, 0.25, 0.75, 0, 0, 0, 0]
    assert "4.25 words at width 1, 3.50 at 4" in ch07.beams_alt(decoded, usual)
    assert "mean 3.50 words" in ch07.models_alt(usual, {"3h": usual})
    rates, weights = np.array([0.0, 0.5, 0.25]), np.array([1.0, 0.75, 1.0])
    ends, loss = ch07.weights_figure(rates, 0.375, weights).data
    assert (list(ends.y), list(loss.y)) == (rates.tolist(), weights.tolist())
    alt = ch07.weights_alt(rates, 0.375, weights)
    assert "positions 0 to 2" in alt
    assert "highest after 1 tokens, 50.0%, where the weight is lowest, 0.75" in alt
    assert "1 positions have a weight below 1" in alt


def test_means_by_search_and_run(decoded, tmp_path):
    found = ch07.deciders_table({"a": decoded, "b": decoded}, {n: np.full(2, 5.0) for n in "ab"})
    assert found["a"].tolist() == found["b"].tolist() == [4.25, 4.25, 5]
    (tmp_path / "metrics.json").write_text(
        json.dumps({metric: interval(1, 2) for metric in ch07.METRICS})
    )
    beside = ch07.reported_table(Run(tmp_path), Run(tmp_path))
    assert beside.loc["words"].tolist() == ["3.600 → 4.900", "1.500 → 1.500"]


def test_what_is_said_of_lengths():
    gaps = {"before": interval(-0.5, -0.3), "after": interval(0.01, 0.03)}
    assert ch07.length_findings(gaps, 0.1) == {
        "verdict_before": "they are too short, as the study found",
        "verdict_after": "the slugs are about as long as they should be",
        "gap_after": pytest.approx(0.02),
        "gap_after_span": "+0.01 to +0.03",
    }
    for low, high, verdict in (
        (0.2, 0.4, "they are too long, unlike in the study"),
        (-0.05, 0.05, "they are about as long as they should be, unlike in the study"),
        (-0.4, 0.2, "they are neither clearly too short nor too long, so the study's finding "
                    "stays open"),
    ):  # fmt: skip
        gaps["before"] = interval(low, high)
        assert ch07.length_findings(gaps, 0.1)["verdict_before"] == verdict


def test_what_is_said_of_the_search(decoded):
    found = ch07.search_findings(decoded, 0.1)
    assert found["width_finding"] == "stays, as the study found"
    assert found["reward_finding"] == "rises, unlike in the study"
    assert found["reward_span"] == "+0.30 to +0.50"
    assert found["forced_finding"] == "rises, as the study found"
    assert found["forced_1"] == 0.4
    assert found["forced_2_span"] == "-0.020 to +0.040"
    wide = decoding([0] * 9, interval(-0.2, 0.3), interval(-0.01, 0.02))
    found = ch07.search_findings(decoded | {"beam-16": wide, "words+1": wide}, 0.1)
    assert found["width_finding"] == "is undecided, so the study's finding stays open"
    assert found["forced_finding"] == (
        "does not change measurably, so the study's finding stays open"
    )


def test_what_is_said_of_the_calibration():
    effect = {
        "token_precision": interval(-0.2, -0.1),
        "token_recall": interval(0.1, 0.2),
        "token_f1": interval(-0.1, 0.1),
        "mean_words": interval(0.2, 0.4),
    }
    found = ch07.calibration_findings(effect, 0.1)
    assert found["push"] == "as the weights alone would have it"
    assert found["pattern"] == "is found here too"
    assert found["f1_moves"] == "does not change measurably"
    found = ch07.calibration_findings(effect | {"mean_words": interval(-0.1, 0.3)}, 0.1)
    assert found["push"] == "although the weights push towards longer slugs"
    assert found["words_move"] == "is undecided"
    turned = {"token_precision": interval(0.1, 0.2), "token_recall": interval(-0.2, -0.1)}
    assert ch07.calibration_findings(effect | turned, 0.1)["pattern"] == "is turned round here"
    open_ = ch07.calibration_findings(effect | {"token_recall": interval(-0.1, 0.1)}, 0.1)
    assert open_["pattern"] == "is not clearly found here"
    found = ch07.calibration_findings(effect | {"mean_words": interval(-0.09, -0.05)}, 0.1)
    assert found["push"].endswith("or the search, outweighs them")
    assert found["words_move"] == "stays"


def test_the_larger_shift_decides():
    deciders = pd.DataFrame({"a": [3.0, 5.0], "b": [3.5, 5.5]})
    found = ch07.decider_findings(deciders, "a", "b")
    assert found == {"shift_model": 0.5, "shift_search": 2.0, "decider": "the search"}
    assert ch07.decider_findings(deciders.T, 0, 1)["decider"] == "the training"
