from __future__ import annotations

import json
from math import isnan, nan

import numpy as np
import pandas as pd
import pytest
from chapters.report import (
    METRICS,
    by_layer,
    comparison,
    endings,
    group_gap,
    learning_curves,
    listed,
    moves,
    outcomes,
    over_seeds,
    settled,
    signed,
    span,
    within,
)

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.evaluation.intervals import mean_interval
from vec2slug_lib.evaluation.records import Run


def interval(low, high):
    return {"value": (low + high) / 2, "low": low, "high": high}


def test_a_value_without_ends_has_a_dash():
    assert within({"value": 0.5, "low": 0.25, "high": 1}) == "0.50 (0.25 to 1.00)"
    assert within({"value": 0.5, "low": nan, "high": nan}) == "0.50 (–)"


def test_a_list_reads_as_a_sentence():
    assert [listed(["a", "b", "c"][:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]


def test_an_interval_shows_both_ends_with_their_signs():
    assert span(interval(-0.0124, 0.3)) == "-0.012 to +0.300"
    assert span(interval(1, 2), 1) == "+1.0 to +2.0"
    assert span(interval(nan, nan)) == "–"
    assert signed(interval(-0.1, 0.3)) == "+0.100 (-0.100 to +0.300)"
    assert within(interval(-0.1, 0.3)) == "0.10 (-0.10 to 0.30)"


def test_lines_over_layers_have_their_intervals_and_dotted_twins():
    points = pd.DataFrame([interval(0, 2), interval(1, 2)], index=["input", "1"])
    given = pd.DataFrame({"b": [3.0]}, index=["1"])
    line, other, dotted = by_layer({"a": points, "b": points}, "title", "axis", given).data
    assert (line.name, list(line.x), list(line.y)) == ("a", ["input", "1"], [1, 1.5])
    assert list(line.error_y.array) == [1, 0.5]
    assert (dotted.name, list(dotted.y), dotted.line.dash) == ("b", [3], "dot")
    assert dotted.line.color == other.line.color != line.line.color


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.1, 0.3, "rises"),
        (-0.3, -0.1, "falls"),
        (-0.1, 0.3, "does not change measurably"),
        (0.0, 0.3, "does not change measurably"),
        (nan, nan, "does not change measurably"),
    ],
)
def test_a_mean_moves_only_if_its_whole_interval_does(low, high, said):
    assert moves(interval(low, high)) == said


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.01, 0.09, "stays"),
        (-0.09, 0.09, "stays"),
        (0.05, 0.3, "rises"),
        (-0.3, -0.05, "falls"),
        (-0.05, 0.3, "is undecided"),
        (nan, nan, "is undecided"),
    ],
)
def test_a_mean_stays_only_if_its_whole_interval_is_small(low, high, said):
    assert settled(interval(low, high), 0.1) == said


def test_groups_are_compared_over_topics():
    # Topic t has two rows: one of ours with the value t, and one of theirs with 0.
    ours, topics = np.arange(80) % 2 == 0, np.arange(80) // 2
    values = np.where(ours, topics, 0.0)
    gap, few = (group_gap(values, ours, ~ours, each) for each in (topics, topics // 8))
    assert gap["value"] == few["value"] == 19.5
    assert few["low"] < gap["low"] < 19.5 < gap["high"] < few["high"]
    assert all(map(isnan, group_gap(values, ours & ~ours, ours, topics).values()))
    assert isnan(group_gap(values, ours, ~ours, np.zeros(80))["low"])


def test_the_end_of_a_training_is_what_its_record_says(tmp_path):
    runs = {}
    for name, trained in {"3a": 9, "3b": 20, "3h": 12}.items():
        record = {"training": {"patience": 3, "epochs": 20}, "result": {"epochs": trained}}
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text(json.dumps(record))
        runs[name] = Run(tmp_path / name)
    assert endings(runs) == (
        "Training ended once 3 evaluations had brought no lower validation loss (3a and 3h); at a "
        "limit of 20 epochs (3b)."
    )


def test_outcomes_name_every_metric_once():
    difference = dict.fromkeys(METRICS, interval(-1, 1))
    difference |= {
        "token_f1": interval(1, 2),
        "rouge_l": interval(1, 2),
        "validity": interval(-2, -1),
    }
    assert outcomes(difference) == (
        "Token F1, ROUGE-L higher; valid lower; "
        "precision, recall, ROUGE-1, exact match, words not measurably different"
    )
    assert outcomes(dict.fromkeys(METRICS, interval(1, 2))).endswith("words higher")


@pytest.fixture
def run(tmp_path):
    metrics = {metric: {"value": 0.25, "low": 0.2, "high": 0.3} for metric in METRICS}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    rows = [{"epoch": e, "val_loss": 5 - e, "train_loss": 4 - e, "token_f1": 0.1} for e in (1, 2)]
    (tmp_path / "history.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "manifest.json").write_text(json.dumps({"result": {"best_val_loss": 3.0}}))
    return Run(tmp_path)


def test_a_comparison_has_a_row_a_metric(run):
    found = comparison({"3h": run, "3i": run}, dict.fromkeys(METRICS, interval(1, 2)), "Two").data
    assert found.count("<tr>") == 1 + len(METRICS)
    assert '<td class="num">0.250</td><td class="num">0.250</td><td class="num">1.500</td>' in found
    assert "<td>+1.000 to +2.000</td>" in found


def test_learning_curves_draw_both_losses_and_the_score_of_each_run(run, monkeypatch):
    shown = []
    monkeypatch.setattr("chapters.report.show", lambda *given: shown.append(given))
    learning_curves({"3a": run, "3b": run})
    figure, alt = shown[0]
    assert [list(line.y) for line in figure.data] == [[4, 3], [3, 2], [0.1, 0.1]] * 2
    assert [line.name for line in figure.data if line.showlegend is None] == ["3a", "3b"]
    assert "3.00 for 3a and 3.00 for 3b" in alt


def test_mean_interval_by_hand():
    # Mean 2, standard deviation 1, standard error 1/sqrt(3); t of 2 degrees at 97.5 % is 4.3027.
    found = mean_interval([1.0, 2.0, 3.0])
    assert found["value"] == 2
    assert found["high"] - 2 == pytest.approx(4.3027 / 3**0.5, abs=1e-4)
    assert 2 - found["low"] == pytest.approx(found["high"] - 2)
    with pytest.raises(Vec2SlugError, match="expected two runs or more for an interval, got 1"):
        mean_interval([1.0])


def test_over_seeds_pairs_what_has_the_same_seed():
    rows = [(cap, seed, cap + 100 * seed) for cap in (10, 20) for seed in (0, 1, 2)]
    sweep = pd.DataFrame(rows, columns=["cap", "seed", "f1"])
    plain = over_seeds(sweep, "cap", "f1")
    assert plain["value"].to_dict() == {10: 110, 20: 120}
    assert plain.loc[10, "high"] > 300  # the seeds differ by far more than the caps
    difference = over_seeds(sweep, "cap", "f1", base=10)
    assert difference.loc[20].tolist() == [10, 10, 10]  # and yet alike with each
    with pytest.raises(Vec2SlugError, match="expected each cap with each seed, but 1 are missing"):
        over_seeds(sweep.drop(index=0), "cap", "f1")
    with pytest.raises(Vec2SlugError, match="expected one row for each cap and seed"):
        over_seeds(pd.concat([sweep, sweep]), "cap", "f1")
