from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from chapters import ch03_figures


def interval(value, margin=0.01):
    return {"value": value, "low": value - margin, "high": value + margin}


class FakeRun:
    """A record as far as the trials read it."""

    def __init__(self, f1, diversity):
        self.metrics = {"token_f1": f1, "diversity": diversity}


@pytest.fixture
def found():
    """Diagnostics of two runs, as far as tables show them."""

    def rules(f1):
        outputs = {"most": [("a", 30), ("b", 20), ("c", 10)], "rows": 500}
        scores = {"token_f1": interval(f1), "diversity": interval(0.05), "outputs": outputs}
        return {"top": scores, "threshold": scores, "lift": scores}

    def orders(by_pair):
        rouge = {"score": 0.05, "position": 0.06, "pairwise": by_pair, "best": 0.09}
        return {key: {"rouge_l": interval(value)} for key, value in rouge.items()} | {
            "gains": {
                "position": {"rouge_l": interval(0.01, 0.02)},
                "pairwise": {"rouge_l": interval(by_pair - 0.05, 0.005)},
            }
        }

    bands = [{"first": 1, "last": 10, "mean": 0.6}, {"first": 11, "last": 30, "mean": 0.8}]
    return {
        "1a": {
            "orders": orders(0.08), "rules": rules(0.1), "trunk": {"token": 1.0, "length": 3.0},
            "variation": {"auc": bands, "within": 1.0, "between": 2.0, "correlation": 0.9},
        },
        "fair": {
            "orders": orders(0.05), "rules": rules(0.2), "trunk": {"token": 2.0, "length": 1.0},
            "variation": {"auc": [], "within": 2.0, "between": 1.0, "correlation": 0.1},
        },
    }  # fmt: skip


def test_orders_and_their_gains(found):
    assert ch03_figures.order_scores(found).loc["1a"].tolist() == [0.05, 0.06, 0.08, 0.09]
    gains = ch03_figures.order_gains(found)
    assert [(row["run"], row["order"]) for row in gains][:2] == [
        ("1a", "position head"),
        ("1a", "pairwise"),
    ]
    verdict = ch03_figures.order_verdict(gains)
    assert "in 1 of 4 cases" in verdict
    assert verdict.endswith("+0.0300, of the pairwise order in 1a.")
    assert "of the position head in 1a" in ch03_figures.order_verdict(gains[:1])


def test_rankings_are_means_over_bands(found):
    means = ch03_figures.mean_auc(found)
    assert means == pytest.approx({"1a": 0.7, "fair": 0.5})
    first, second = ch03_figures.ranking_figure(found, ["1a"]).data
    assert (first.x, first.line.dash, second.line.dash) == (("1–10", "11–30"), "solid", "dot")
    assert ch03_figures.ranking_alt(means).endswith("1a 0.70, fair 0.50.")


def test_spread_and_trunk_name_the_runs_that_they_speak_of(found):
    assert "In 1a logits differ" in ch03_figures.spread_verdict(ch03_figures.spread_table(found))
    ratio = ch03_figures.trunk_table(found)["length ÷ words"]
    assert ratio.tolist() == [3, 0.5]
    assert "louder than the words in 1a, up to 3 times" in ch03_figures.trunk_verdict(ratio)
    assert "words speak louder" in ch03_figures.trunk_verdict(ratio[1:])


def test_trials_are_named_by_run_and_rule(found):
    pairs = [("1a", "top"), ("1a", "lift"), ("fair", "threshold")]
    runs = {"1a": FakeRun(interval(0.1), interval(0.05))}
    trials = ch03_figures.trials_table(found, runs, pairs)
    assert trials.index.tolist() == ["1a", "1a, logit adjustment", "fair, threshold"]
    assert trials["collapse"].tolist() == ["yes"] * 3
    varied = {"1a": FakeRun(interval(0.1, 0.05), interval(0.5))}
    own = ch03_figures.trials_table(found, varied, pairs)
    assert own["collapse"].tolist() == ["no", "yes", "yes"]
    assert own.loc["1a", "low"] == 0.05
    verdict = ch03_figures.fair_verdict(trials)
    assert "fair, threshold reaches 0.200 (0.190 to 0.210)" in verdict
    assert "lifts it clearly: the best, 1a, 0.100" in ch03_figures.fair_verdict(trials[:2])
    names = trials.index[1:].tolist()
    assert ch03_figures.lone_gains(trials, names) == "fair, threshold"
    figure = ch03_figures.trials_figure(trials, 0.05)
    assert figure.data[0].y.tolist() == trials.index.tolist()
    assert "3 trials, 3 of them collapsed" in ch03_figures.trials_alt(trials, 0.05)
    assert ch03_figures.escape_verdict(trials).endswith("3 of the 3 trials collapse, 0 do not.")
    mixed = trials.assign(collapse=["yes", "no", "undecided"])
    assert ch03_figures.escape_verdict(mixed).endswith(
        "1 of the 3 trials collapse, 1 do not, and of 1 it is undecided."
    )
    figure = ch03_figures.trials_figure(mixed, 0.05)
    assert [dots.name for dots in figure.data] == ["collapsed", "not collapsed", "undecided"]


@pytest.mark.parametrize(
    ("length", "token", "verdict"),
    [
        (0.03, 0.01, "1a is better by 0.0400, and 75% of that is the length's."),
        (0.03, -0.01, "1a is better on the length only."),
        (-0.03, 0.01, "1a is better on the words only."),
        (-0.03, 0.0, "1a is no better on either part."),
    ],
)
def test_the_gap_to_the_constant(length, token, verdict):
    assert ch03_figures.gap_verdict(pd.Series({"length_loss": length, "token_loss": token})) == (
        verdict
    )


def test_runs_are_ranked_against_the_constant():
    above = {"1a": interval(0.03), "1b": interval(0.005), "1c": interval(-0.02)}
    assert ch03_figures.rank_verdict(above) == (
        "1a above it; 1c below it; 1b not clearly apart from it"
    )


@pytest.mark.parametrize(
    ("states", "verdict"),
    [
        (
            ["no", "no", "undecided"],
            "None of the study's three models clearly collapses on our data (reported: 1.6 % "
            "distinct in 1c); 1a does not, with 5.0% (4.0% to 6.0%); 1b does not, with 20.0% "
            "(19.0% to 21.0%); 1c is undecided, with 10.0% (9.0% to 11.0%).",
        ),
        (
            ["yes", "undecided", "yes"],
            "Of the study's three models, 1a and 1c collapse on our data, with 5.0% and 10.0% of "
            "the slugs distinct (reported: 1.6 % distinct in 1c); 1b is undecided, with 20.0% "
            "(19.0% to 21.0%).",
        ),
        (
            ["yes", "yes", "yes"],
            "All three of the study's models collapse on our data too, with 5.0%, 20.0% and 10.0% "
            "of the slugs distinct (reported: 1.6 % distinct in 1c).",
        ),
    ],
)
def test_the_verdict_on_a_collapse(states, verdict):
    shares = np.array([0.05, 0.2, 0.1])
    outcome = pd.DataFrame(
        {"collapse": states, "diversity": shares, "low": shares - 0.01, "high": shares + 0.01},
        index=["1a", "1b", "1c"],
    )
    assert ch03_figures.collapse_verdict(outcome) == verdict
    alone = ch03_figures.collapse_verdict(outcome.assign(collapse=["no", "no", "yes"]))
    assert alone.startswith("Of the study's three models, 1c collapses on our data, with 10.0% of")


def test_favourites_are_shares_of_the_pages():
    shown = ch03_figures.favourites({"1a": Counter({"a-b-c": 3, "d-e-f": 1})}, 1)
    assert shown["1a"].tolist() == ["a-b-c 75.0%"]
    assert shown.loc[1, "study, reported"] == "of-the-in 12.0%"


def test_gradients_at_the_base_rate_are_those_of_the_formula():
    y = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    rate = y.mean(0)
    z = torch.logit(rate).repeat(4, 1).requires_grad_()
    F.binary_cross_entropy_with_logits(z, y, reduction="sum").backward()
    table = ch03_figures.gradient_table(rate, z.grad, pd.Series({1: "the", 10: "rare"}))
    np.testing.assert_allclose(table["mean size"], table["2p(1 − p)"])
    assert table["mean"].tolist() == [0, 0]
    assert table.loc[10, ["word", "p", "in 1,024"]].tolist() == ["rare", 0.25, 256]


def test_pulls_change_from_the_constant_to_the_trained_model():
    ranks = [{"rank": 1, "base_rate": 0.2, "collapsed": 0.4, "trained": 0.3, "word": "the"}]
    assert ch03_figures.pulls_table(ranks).loc[1].tolist() == [0.2, 0.4, 0.3, "-25.0%"]


def test_shapes_are_those_of_the_study():
    shapes = ch03_figures.shapes(["1a"])
    assert shapes.loc["1a", "millions"] == pytest.approx(shapes.loc["1a", "reported"], rel=0.05)
