from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from chapters import ch03_collapse
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from vec2slug_lib.evaluation import metrics
from vec2slug_lib.model import mlp
from vec2slug_lib.model.mlp import Outputs
from vec2slug_lib.training import mlp_objective

K = 30
NAMES = [f"w{i}" for i in range(K)]


def random_rows(n=40, seed=0):
    """Logits [n, K] and the clusters of n slugs, common ones more often."""
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, K + 1)
    slugs = [
        rng.choice(K, rng.integers(3, 9), replace=True, p=weights / weights.sum()).tolist()
        for _ in range(n)
    ]
    return rng.normal(size=(n, K)).astype(np.float32), slugs


def outputs(tokens, seed=0):
    rng = np.random.default_rng(seed)
    lengths = rng.normal(size=(len(tokens), 6)).astype(np.float32)
    return Outputs(rng.normal(size=(len(tokens), 4)).astype(np.float32), tokens, lengths)


@given(st.integers(0, 99))
def test_top_and_cut_take_the_highest_scores_in_their_order(seed):
    logits, _ = random_rows(6, seed)
    ids = mlp.top(logits)
    np.testing.assert_array_equal(ids, np.argsort(-logits, axis=1)[:, :8])
    counts = np.array([3, 4, 5, 6, 7, 8])
    assert [len(row) for row in mlp.cut(ids, counts)] == counts.tolist()
    assert mlp.cut(ids, counts)[0] == ids[0, :3].tolist()


def test_the_length_head_s_first_class_is_three_words():
    lengths = np.eye(6, dtype=np.float32)
    rows = Outputs(np.zeros((6, 1), np.float32), np.zeros((6, K), np.float32), lengths)
    assert rows.counts.tolist() == [3, 4, 5, 6, 7, 8]


def test_base_rates_by_hand():
    # Three rows; a repeated cluster counts once in its row; 3.5 of 4 for cluster 0.
    rates = mlp_objective.base_rates([[0, 0, 1], [0, 2, 1], [0, 2, 2]], 4)
    np.testing.assert_allclose(rates, np.array([3.5, 2.5, 2.5, 0.5]) / 4)


@given(st.integers(0, 99))
def test_set_f1_is_the_token_f1_of_the_spelt_slugs(seed):
    logits, slugs = random_rows(10, seed)
    ids, counts = mlp.top(logits), outputs(logits, seed).counts
    spelt = mlp.spell(mlp.cut(ids, counts), NAMES)
    f1 = metrics.token_overlap(spelt, mlp.spell(slugs, NAMES))[2].mean()
    assert ch03_collapse.set_f1(ids, counts, ch03_collapse.multi_hot(slugs, K)) == pytest.approx(f1)


def test_the_threshold_gives_three_to_eight_words():
    scores = np.array([[-1.0] * K, [1.0] * K, [1.0] * 5 + [-1.0] * (K - 5)], np.float32)
    assert ch03_collapse.above(scores, 0.0).tolist() == [3, 8, 5]


def test_the_tuned_threshold_finds_sets_that_a_threshold_separates():
    _, slugs = random_rows(60)
    wanted = ch03_collapse.multi_hot(slugs, K)
    wanted[:, :3] = True  # at least three words
    noise = np.random.default_rng(1).uniform(0, 0.4, wanted.shape)
    scores = np.where(wanted, 2, 1).astype(np.float32) + noise.astype(np.float32)
    threshold = ch03_collapse.tune_threshold(scores, wanted)
    assert 1.39 < threshold < 2.05
    counts = ch03_collapse.above(scores, threshold)
    assert ch03_collapse.set_f1(mlp.top(scores), counts, wanted) > 0.98


def test_lift_takes_the_habit_off():
    _, slugs = random_rows(400)
    rates = mlp_objective.base_rates(slugs, K)
    constant = np.tile(ch03_collapse.log_odds(rates), (5, 1))
    np.testing.assert_allclose(ch03_collapse.logit_adjustment(constant, rates, 1.0), 0, atol=1e-6)
    np.testing.assert_array_equal(ch03_collapse.logit_adjustment(constant, rates, 0.0), constant)
    np.testing.assert_allclose(ch03_collapse.sigmoid(constant)[0], rates, rtol=1e-4)


def test_tuning_lift_finds_the_strength_that_was_added():
    # Truth stands out by 1; 0.6 of the log odds cover it up.
    _, slugs = random_rows(300)
    wanted, rates = ch03_collapse.multi_hot(slugs, K), mlp_objective.base_rates(slugs, K)
    scores = wanted + np.float32(0.6) * ch03_collapse.log_odds(rates)
    counts = wanted.sum(1).clip(3, 8)
    curve = ch03_collapse.tune_logit_adjustment(scores.astype(np.float32), counts, rates, wanted)
    assert len(curve) == 11
    assert curve[0][0] == pytest.approx(0.6, abs=0.21)
    assert curve[0][1] == max(f1 for _, f1 in curve) > dict(map(tuple, curve))[0.0] + 0.02


def test_rules_report_settings_and_scores_of_the_test_rows():
    logits, slugs = random_rows(60)
    wanted, rates = ch03_collapse.multi_hot(slugs, K), mlp_objective.base_rates(slugs, K)
    found = outputs(logits + 3 * wanted)
    references = mlp.spell(slugs, NAMES)
    topics = np.arange(60) % 5
    rules = ch03_collapse.rules(found, found, rates, wanted, NAMES, references, topics)
    ids = mlp.top(found.tokens)
    assert rules["top"]["setting"] is None
    distinct = set(mlp.spell(mlp.cut(ids, found.counts), NAMES))
    assert rules["top"]["outputs"]["distinct"] == len(distinct)
    assert rules["top"]["token_f1"]["value"] == pytest.approx(
        ch03_collapse.set_f1(ids, found.counts, wanted)
    )
    assert rules["threshold"]["token_f1"]["value"] == pytest.approx(
        ch03_collapse.set_f1(
            ids, ch03_collapse.above(found.tokens, rules["threshold"]["setting"]), wanted
        )
    )
    # Tuned on these very rows, a rule that contains "top" cannot be worse than it.
    gain = rules["lift"]["token_f1"]["value"] - rules["top"]["token_f1"]["value"]
    assert rules["lift"]["gain"]["value"] == pytest.approx(gain)
    assert gain >= 0
    assert rules["top"]["gain"] == {"value": 0, "low": 0, "high": 0}
    assert rules["lift"]["mean_words"]["value"] == pytest.approx(found.counts.mean())
    assert [point[0] for point in rules["lift_curve"]] == pytest.approx(np.linspace(0, 1, 11))


def test_separation_is_the_area_under_the_curve():
    logits, slugs = random_rows(50)
    logits = logits.round(1)  # ties count half
    wanted = ch03_collapse.multi_hot(slugs, K)
    wanted[:, 3], wanted[:, 4] = True, False
    found = ch03_collapse.separation(logits, wanted)
    assert np.isnan(found[3])
    assert np.isnan(found[4])
    for i in set(np.flatnonzero(wanted.any(0))) - {3}:
        assert found[i] == pytest.approx(roc_auc_score(wanted[:, i], logits[:, i]), abs=1e-6)


def test_bands_hold_every_cluster_once():
    rates = np.arange(250, 0, -1, dtype=np.float32) / 1000
    bands = ch03_collapse.by_band(np.arange(250, dtype=np.float32), rates)
    assert [(band["first"], band["last"]) for band in bands] == [(1, 10), (11, 100), (101, 250)]
    assert [band["mean"] for band in bands] == [4.5, 54.5, 174.5]
    gaps = np.where(np.arange(250) < 100, np.nan, 1.0).astype(np.float32)
    assert [band["first"] for band in ch03_collapse.by_band(gaps, rates)] == [101]


def test_a_constant_output_varies_between_clusters_only():
    _, slugs = random_rows(200)
    rates, wanted = mlp_objective.base_rates(slugs, K), ch03_collapse.multi_hot(slugs, K)
    constant = np.tile(ch03_collapse.log_odds(rates), (200, 1))
    shifts = np.random.default_rng(0).normal(size=(200, 1)).astype(np.float32)
    assert ch03_collapse.variation(constant + shifts, wanted, rates)["within"] < 1e-5
    found = ch03_collapse.variation(constant, wanted, rates)
    assert found["within"] == pytest.approx(0, abs=1e-5)
    assert found["between"] == pytest.approx(ch03_collapse.log_odds(rates).std(), rel=1e-4)
    assert found["correlation"] == pytest.approx(1, abs=1e-4)
    assert all(band["mean"] == 0.5 for band in found["auc"])
    flat = ch03_collapse.variation(np.zeros((200, K), np.float32), wanted, rates)
    assert flat["correlation"] == 0


def test_pulls_by_hand():
    # Base rates 0.5 and 0.1 on rows with the same shares: 2 p (1 - p) is 0.5 and 0.18.
    wanted = np.zeros((10, 2), bool)
    wanted[:5, 0] = wanted[0, 1] = True
    rates = np.array([0.5, 0.1], np.float32)
    certain = np.where(wanted, 20, -20).astype(np.float32)
    found = ch03_collapse.pulls(certain, wanted, rates, ["the", "rare"])
    assert [row["rank"] for row in found["ranks"]] == [1]
    row = found["ranks"][0]
    assert (row["word"], row["base_rate"]) == ("the", 0.5)
    assert row["collapsed"] == pytest.approx(0.5)
    assert row["trained"] == pytest.approx(0, abs=1e-6)
    assert found["top_clusters"] == 1
    assert found["top_share"]["collapsed"] == pytest.approx(0.5 / 0.68)


def test_pulls_are_means_over_the_ranks_nearby():
    rng = np.random.default_rng(0)
    rates = np.sort(rng.uniform(0, 0.2, 120).astype(np.float32))[::-1].copy()
    shuffled = rng.permutation(120)
    wanted = rng.random((50, 120)) < rates[shuffled]
    names = [f"rank{i + 1}" for i in shuffled]
    found = ch03_collapse.pulls(np.zeros((50, 120), np.float32), wanted, rates[shuffled], names)
    assert [row["word"] for row in found["ranks"]] == ["rank1", "rank10", "rank100"]
    np.testing.assert_allclose(
        [row["base_rate"] for row in found["ranks"]],
        [rates[0], rates[8:11].mean(), rates[89:110].mean()],
        rtol=1e-5,
    )
    assert all(row["trained"] == 0.5 for row in found["ranks"])


def test_orders_share_their_words_and_stay_below_the_ceiling():
    logits, slugs = random_rows(60)
    wanted = ch03_collapse.multi_hot(slugs, K)
    found = outputs(logits + 3 * wanted)
    lists = mlp.cut(mlp.top(found.tokens), found.counts)
    references = mlp.spell(slugs, NAMES)
    known, topics = (slugs, found.hidden), np.arange(60) % 5
    orders = ch03_collapse.orders(lists, found.hidden, known, NAMES, references, topics)
    f1 = {orders[name]["token_f1"]["value"] for name in ("score", "position", "pairwise")}
    assert len(f1) == 1
    for name in ("position", "pairwise"):
        gain = orders[name]["rouge_l"]["value"] - orders["score"]["rouge_l"]["value"]
        assert orders["gains"][name]["rouge_l"]["value"] == pytest.approx(gain)
        assert orders[name]["rouge_l"]["value"] <= orders["best"]["rouge_l"]["value"]
    # The order of these slugs is random, but known: an order learnt from them fits them.
    assert orders["gains"]["pairwise"]["rouge_l"]["value"] > 0


def test_the_most_frequent_slugs():
    found = ch03_collapse.most_frequent(["a", "b", "a", "c", "a", "b"], 2)
    assert found == {"distinct": 3, "rows": 6, "most": [("a", 3), ("b", 2)]}


def test_a_constant_pays_the_entropies_where_both_splits_are_alike():
    slugs = [[0, 1, 2], [0, 1, 2, 3]] * 500
    length_loss, word_loss = ch03_collapse.constant_losses(slugs, slugs, 4)
    assert length_loss == pytest.approx(np.log(2))
    # Three clusters are always there, one in half of the rows; base rates are smoothed a little.
    assert word_loss == pytest.approx(np.log(2) / 4, abs=0.005)


@given(st.integers(0, 99))
def test_the_constant_s_losses_are_those_of_its_outputs(seed):
    _, train = random_rows(30, seed)
    _, val = random_rows(20, seed + 1)
    rates = mlp_objective.base_rates(train, K).astype(float)
    hot = ch03_collapse.multi_hot(val, K)
    # Smoothed alike on both sides, as base rates are: half a row is added.
    soft = (hot.sum(0) + 0.5) / (len(val) + 1)
    plain = -(soft * np.log(rates) + (1 - soft) * np.log(1 - rates)).mean()
    shares = {n: sum(len(ids) == n for ids in train) / len(train) for n in range(3, 9)}
    length = -np.mean([np.log(max(shares[len(ids)], 1e-6)) for ids in val])
    found = ch03_collapse.constant_losses(train, val, K)
    assert found == pytest.approx((length, plain), rel=1e-5)


def test_clusters_of_a_slug_are_those_of_its_words_in_order():
    mapping, index = {"anne": "anne", "amelia": "anne", "in": "in"}, {"anne": 0, "in": 1}
    assert ch03_collapse.cluster_ids(["amelia-in-anne", "in"], mapping, index) == [[0, 1, 0], [1]]


def test_the_best_constant_takes_as_many_frequent_words_as_do_best():
    ranked = ch03_collapse.by_frequency([[1, 0, 2], [2, 1], [2]], ["a", "b", "c"])
    assert ranked == ["c", "b", "a"]
    tried = list("abcdefgh")
    assert ch03_collapse.best_constant(tried, ["a-b-c-x"] * 3) == "a-b-c"
    assert ch03_collapse.best_constant(tried, ["d-e-f-g", "a-b-h-x"]) == "a-b-c-d-e-f-g-h"


def test_the_gain_over_a_constant_is_the_difference_of_means():
    rows = pd.DataFrame(
        {"slug": ["a-b-c", "d-e-f"], "prediction": ["a-b-c", "x-y-z"], "topic": [0, 1]}
    )
    gain = ch03_collapse.gain_over_constant(rows, "a-b-c")
    assert (gain["value"], gain["low"], gain["high"]) == (0, 0, 0)
    gain = ch03_collapse.gain_over_constant(rows, "d-x-y")
    assert gain["value"] == pytest.approx((1 - 1 / 3) / 2)


def test_pages_of_one_topic_tell_less_than_pages_of_many():
    rows = pd.DataFrame({"slug": ["a-b-c", "d-e-f"] * 50, "prediction": ["a-b-c"] * 100})
    alike, mixed = (
        ch03_collapse.gain_over_constant(rows.assign(topic=topics), "x-y-z")
        for topics in (np.arange(100) % 4, np.arange(100))
    )
    assert alike["value"] == mixed["value"]
    assert alike["high"] - alike["low"] > 3 * (mixed["high"] - mixed["low"])


@pytest.mark.parametrize(
    ("low", "high", "third", "expected"),
    [
        (0.01, 0.09, 6, "yes"),
        (0.01, 0.10, 6, "undecided"),
        (np.nan, np.nan, 6, "undecided"),
        (0.10, 0.20, 6, "no"),
        (0.01, 0.09, 5, "no"),
    ],
)
def test_a_collapse_needs_both_criteria(low, high, third, expected):
    diversity = {"value": 0.05, "low": low, "high": high}
    favourites = [("a", 30), ("b", 15), ("c", third), ("d", 50)]
    assert ch03_collapse.collapse(diversity, favourites, 500) == expected
