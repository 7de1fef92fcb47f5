"""Metrics against hand-worked values and slow plain versions; intervals against known spreads."""

from __future__ import annotations

import json
import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.evaluation.intervals import bootstrap_means, compare, diversity, summarise
from vec2slug_lib.evaluation.metrics import (
    bertscore,
    breakdown,
    distinctiveness,
    evaluate,
    length_group,
    rouge_1,
    rouge_l,
    row_metrics,
    token_overlap,
)

SLUGS = st.lists(st.sampled_from(["a", "b", "c", "of"]), max_size=6).map("-".join)
PAIRS = st.lists(st.tuples(SLUGS, SLUGS), min_size=1, max_size=5)


def unit_vectors(count, width=8, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


# --- hand-worked values ---


def test_overlap_and_rouge_by_hand():
    predictions = ["burma-of-burma-monks", "cat-sat-mat", "x-y-z", ""]
    references = ["monks-of-burma", "mat-sat-cat-on", "a-b-c", "a-b-c"]
    precision, recall, f1 = token_overlap(predictions, references)
    # Row 0: {burma, of, monks} on both sides. Row 1: 3 shared of 3 and of 4: F1 2*3/7.
    assert precision.tolist() == [1, 1, 0, 0]
    assert recall.tolist() == [1, 3 / 4, 0, 0]
    assert f1.tolist() == [1, 6 / 7, 0, 0]
    # Row 0 with multiplicity: 3 matched of 4 and of 3: F1 2*3/7. Row 1 as above.
    assert rouge_1(predictions, references).tolist() == [6 / 7, 6 / 7, 0, 0]
    # Row 0: "of burma" is the longest common subsequence: 2*2/7. Row 1: one word: 2*1/7.
    assert rouge_l(predictions, references).tolist() == [4 / 7, 2 / 7, 0, 0]


def test_bertscore_by_hand():
    # Reference e1, e2; prediction e1 (any length) and the diagonal d: cos(d, e) = 0.6 and 0.8.
    reference = np.array([[1, 0], [0, 2]], np.float32)
    prediction = np.array([[5, 0], [3, 4]], np.float32)
    # Precision: e1 -> 1, d -> .8: 0.9. Recall: e1 -> 1, e2 -> .8: 0.9.
    # Only d: precision .8, recall (.6 + .8) / 2 = .7, F1 = 2 * .56 / 1.5 = .74667.
    # Only -d: precision -.6, recall -.7: no positive match, F1 0.
    none = np.zeros((0, 2), np.float32)
    scores = bertscore(
        [prediction, prediction[1:], -prediction[1:], none, prediction],
        [reference, reference, reference, reference, none],
    )
    expected = [[0.9, 0.8, -0.6, 0, 0], [0.9, 0.7, -0.7, 0, 0], [0.9, 1.12 / 1.5, 0, 0, 0]]
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_distinctiveness_by_hand():
    # Unit vectors at 0, 60 and 90 degrees: cosines .5 (0-60), 0 (0-90), sqrt(3)/2 (60-90).
    angles = np.radians([0, 60, 90])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    # Jaccard distances: a-b/a-c 1 - 1/3 = 2/3, a-b/a-b 0, a-c/a-b 2/3.
    slugs = ["a-b", "a-c", "a-b"]
    # k = 1: 0 -> 60, 60 -> 90, 90 -> 60: 2/3 each.
    np.testing.assert_allclose(distinctiveness(slugs, vectors, k=1), [2 / 3] * 3, atol=1e-6)
    # k = 2, row 0: (.5 * 2/3 + 0 * 0) / .5 = 2/3; row 90: (.866 * 2/3 + 0 * 0) / .866.
    np.testing.assert_allclose(distinctiveness(slugs, vectors, k=2), [2 / 3] * 3, atol=1e-6)
    # Row 60 with neighbours weighted .5 (distance 1) and .866 (distance 0).
    values = distinctiveness(["x-y", "a-c", "c-a"], vectors)
    np.testing.assert_allclose(values[1], 0.5 / (0.5 + math.sqrt(3) / 2), atol=1e-6)


def test_distinctiveness_with_opposite_neighbours_is_a_plain_mean():
    vectors = np.array([[1, 0], [-1, 0]], np.float32)
    assert distinctiveness(["a-b", "a-c"], vectors).tolist() == pytest.approx([2 / 3] * 2)
    assert distinctiveness(["", ""], vectors).tolist() == [0, 0]


def test_diversity_by_hand():
    # 6 rows, 4 distinct, 3 of them once: p = (3 + 2) / (6 + 4) = 1/2; variance 1/4 / 5 = .05.
    found = diversity(["a", "a", "a", "b", "c", "d"], range(6))
    margin = 2.5706 * math.sqrt(0.05)  # Student's quantile of 5 degrees of freedom
    assert found["value"] == pytest.approx(4 / 6)
    assert found["low"] == pytest.approx(max(4 / 6 - margin, 1 / 6), abs=1e-4)
    assert found["high"] == 1


# --- independent slow versions ---


def is_subsequence(part, whole):
    rest = iter(whole)
    return all(item in rest for item in part)


def slow_rouge_l(prediction, reference):
    left, right = prediction.split("-"), reference.split("-")
    if not prediction or not reference:
        return 0.0
    longest = max(
        size
        for size in range(len(left) + 1)
        if any(is_subsequence(part, right) for part in combinations(left, size))
    )
    precision, recall = longest / len(left), longest / len(right)
    return 2 * precision * recall / (precision + recall) if longest else 0.0


def slow_overlap(prediction, reference):
    left, right = set(filter(None, prediction.split("-"))), set(filter(None, reference.split("-")))
    shared = len([word for word in left if word in right])
    precision = shared / len(left) if left else 0.0
    recall = shared / len(right) if right else 0.0
    return precision, recall, 2 * precision * recall / (precision + recall) if shared else 0.0


def slow_rouge_1(prediction, reference):
    left, right = (list(filter(None, slug.split("-"))) for slug in (prediction, reference))
    rest, matched = list(right), 0
    for word in left:
        if word in rest:
            rest.remove(word)
            matched += 1
    return 2 * matched / (len(left) + len(right)) if matched else 0.0


@settings(deadline=None)
@given(PAIRS)
def test_text_metrics_equal_the_slow_versions(pairs):
    predictions, references = zip(*pairs, strict=True)
    expected = np.array([slow_overlap(*pair) for pair in pairs]).T
    np.testing.assert_allclose(token_overlap(predictions, references), expected)
    np.testing.assert_allclose(rouge_1(predictions, references), [slow_rouge_1(*p) for p in pairs])
    np.testing.assert_allclose(rouge_l(predictions, references), [slow_rouge_l(*p) for p in pairs])


@settings(deadline=None, max_examples=40)
@given(st.data(), st.integers(2, 30), st.integers(1, 6), st.integers(1, 31))
def test_distinctiveness_equals_the_slow_version(data, count, k, block):
    slugs = data.draw(st.lists(SLUGS, min_size=count, max_size=count))
    vectors = unit_vectors(count, seed=data.draw(st.integers(0, 99)))
    expected = []
    for i in range(count):
        near = sorted((float(vectors[i] @ vectors[j]), j) for j in range(count) if j != i)[-k:]
        weights, distances = [max(cosine, 0) for cosine, _ in near], []
        for _, j in near:
            left, right = (set(filter(None, slugs[row].split("-"))) for row in (i, j))
            distances.append(1 - len(left & right) / len(left | right) if left | right else 0)
        if sum(weights):
            expected.append(np.dot(weights, distances) / sum(weights))
        else:
            expected.append(np.mean(distances))
    np.testing.assert_allclose(distinctiveness(slugs, vectors, k, block), expected, atol=1e-5)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 99))
def test_bertscore_equals_the_slow_version(left, right, seed):
    prediction, reference = unit_vectors(left, seed=seed), unit_vectors(right, seed=seed + 100)
    cosine = [[float(np.dot(p, r)) for r in reference] for p in prediction]
    precision = sum(max(row) for row in cosine) / left
    recall = sum(max(row[j] for row in cosine) for j in range(right)) / right
    f1 = 2 / (1 / precision + 1 / recall) if precision > 0 and recall > 0 else 0
    scores = bertscore([3 * prediction], [reference])
    np.testing.assert_allclose(scores[:, 0], [precision, recall, f1], atol=1e-5)


# --- intervals ---


PAGES = range(400)  # every page a topic of its own


def test_a_plain_page_interval_of_a_mean_is_the_textbook_one():
    # Standard error of the mean of 400 rows of standard deviation s: s / 20.
    values = np.random.default_rng(3).exponential(size=400)
    found = summarise({"x": values}, PAGES)["x"]
    assert found["value"] == pytest.approx(values.mean())
    width = 2 * 1.96 * values.std() / 20
    assert found["high"] - found["low"] == pytest.approx(width, rel=0.1)
    assert found["low"] < values.mean() < found["high"]


def test_bootstrap_means_are_means_of_drawn_rows():
    # Columns are resampled together: the second is twice the first in every resample.
    values = np.array([[1.0, 2.0], [10.0, 20.0], [100.0, 200.0]])
    means = bootstrap_means(values, range(3), 250, seed=1)
    assert means.shape == (250, 2)
    np.testing.assert_allclose(means[:, 1], 2 * means[:, 0])
    possible = {a + 10 * b + 100 * (3 - a - b) for a in range(4) for b in range(4 - a)}
    assert set(np.round(3 * means[:, 0]).astype(int)) == possible
    np.testing.assert_array_equal(means, bootstrap_means(values, range(3), 250, seed=1))
    assert not np.array_equal(means, bootstrap_means(values, range(3), 250, seed=2))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.integers(0, 99))
def test_topics_are_drawn_with_all_their_rows(sizes, seed):
    topics = np.repeat([f"topic {i}" for i in range(len(sizes))], sizes)
    values = np.random.default_rng(seed).random((len(topics), 2))
    # The slow plain version: the same draws, rows written out.
    rng, expected = np.random.default_rng(seed), []
    for drawn in rng.integers(len(sizes), size=(50, len(sizes))):
        parts = [values[topics == f"topic {i}"] for i in drawn]
        expected.append(np.concatenate(parts).mean(0))
    order = np.random.default_rng(seed).permutation(len(topics))
    means = bootstrap_means(values[order], topics[order], 50, seed, block=50)
    np.testing.assert_allclose(means, expected)


def test_pages_of_one_topic_tell_less_than_pages_of_many():
    # 20 topics of 30 pages; a page is its topic's mean and a little noise.
    rng = np.random.default_rng(6)
    means, topics = rng.normal(size=20), np.repeat(np.arange(20), 30)
    values = means[topics] + rng.normal(scale=0.1, size=600)
    over_topics, over_pages = (
        summarise({"x": values}, labels)["x"] for labels in (topics, range(600))
    )
    # Student's interval of 20 means.
    half = 2.093 * means.std(ddof=1) / 20**0.5
    assert over_topics["high"] - over_topics["low"] == pytest.approx(2 * half, rel=0.1)
    assert over_pages["high"] - over_pages["low"] < half / 2


def test_intervals_over_topics_cover_the_mean():
    rng, topics, hits = np.random.default_rng(7), np.repeat(np.arange(10), 5), []
    for _ in range(400):
        values = rng.normal(size=10)[topics] + rng.normal(scale=0.5, size=50)
        found = summarise({"x": values}, topics)["x"]
        hits.append(found["low"] <= 0 <= found["high"])
    assert 0.92 <= np.mean(hits) <= 0.98


def test_one_topic_tells_nothing_of_others():
    found = summarise({"x": [0.25, 0.75]}, ["a", "a"])["x"]
    assert found["value"] == 0.5
    assert math.isnan(found["low"])
    assert math.isnan(found["high"])
    few = diversity(["a", "b"], [1, 1])
    assert few["value"] == 1
    assert math.isnan(few["low"])
    assert math.isnan(few["high"])


def test_paired_difference_sees_what_two_intervals_hide():
    noise = np.random.default_rng(4).random(200)
    found = compare({"x": noise + 0.01, "only": noise}, {"x": noise}, range(200))
    assert list(found) == ["x"]
    assert found["x"] == pytest.approx({"value": 0.01, "low": 0.01, "high": 0.01})
    shuffled = compare({"x": noise + 0.01}, {"x": noise[::-1]}, range(200))["x"]
    assert shuffled["low"] < 0 < shuffled["high"]


def test_diversity_interval_covers_the_expected_diversity():
    # Slugs by a Zipf law over 3,000: a sample of n has sum(1 - (1 - p)^n) distinct ones expected.
    rng, size = np.random.default_rng(5), 500
    chances = 1 / np.arange(1, 3001)
    chances /= chances.sum()
    expected = (1 - (1 - chances) ** size).sum() / size
    pages = range(size)
    draws = [
        diversity(rng.choice(3000, size, p=chances).astype(str).tolist(), pages) for _ in range(300)
    ]
    covered = np.mean([draw["low"] <= expected <= draw["high"] for draw in draws])
    assert covered >= 0.92
    assert diversity([str(i) for i in range(500)], pages)["low"] < 1


def test_diversity_over_topics_by_hand():
    # 12 topics of 4 rows: six have one slug four times, six have four slugs once.
    same = [f"same-{i}" for i in range(6) for _ in range(4)]
    slugs, topics = [*same, *(f"own-{i}" for i in range(24))], np.repeat(range(12), 4)
    # Without a topic of the first kind 29 of 44 are distinct, of the second 26 of 44.
    error = math.sqrt((1.5 / 44) ** 2 * 11)
    found = diversity(slugs, topics)
    assert found["value"] == 30 / 48
    assert found["high"] - 30 / 48 == pytest.approx(2.201 * error, rel=1e-3)
    # Each topic has the same share of lost slugs here: as wide as over pages, with fewer topics.
    even = diversity([f"{i % 2}-{i}" for i in range(48)], topics)
    assert even["low"] == pytest.approx(1 - 2.201 * math.sqrt(50 / 52 * 2 / 52 / 47), rel=1e-3)


# --- the whole ---


def fake_bert(texts):
    """One vector a word, by its letters; refuses what the local encoder refuses."""
    assert all(text.strip() and "-" not in text for text in texts)
    return [
        np.array([np.bincount([ord(c) - 97 for c in word], minlength=26) for word in text.split()])
        for text in texts
    ]


def test_evaluate_is_ready_for_json_and_agrees_with_its_parts():
    predictions = ["cat-sat-mat", "of-the-a", "", "of-the-a", "the-whole-slug"]
    references = ["mat-sat-cat-on", "x-y-z", "a-b-c", "of-the-a", "the-whole-slug"]
    found = evaluate(predictions, references, unit_vectors(5), range(5), fake_bert)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    # The empty prediction is invalid; two of five rows are exact; lengths 3, 3, 0, 3, 3.
    assert found["validity"]["value"] == pytest.approx(4 / 5)
    assert found["exact_match"]["value"] == pytest.approx(2 / 5)
    assert found["mean_words"]["value"] == pytest.approx(12 / 5)
    assert found["token_f1"]["value"] == pytest.approx((6 / 7 + 0 + 0 + 1 + 1) / 5)
    assert found["diversity"]["value"] == pytest.approx(4 / 5)
    # Every word of row 0 is in its reference.
    rows = row_metrics(predictions, references, unit_vectors(5), fake_bert)
    assert rows["bertscore_precision"][[0, 2, 3]] == pytest.approx([1, 0, 1])
    assert set(rows) | {"diversity"} == set(found)
    assert all(f["low"] <= f["value"] <= f["high"] for f in found.values())
    assert "bertscore_f1" not in row_metrics(predictions, references, unit_vectors(5))


def test_breakdown_by_group():
    rows = {"x": np.array([0.0, 1.0, 1.0, 1.0, 0.0])}
    found = breakdown(rows, ["b", "b", "a", "a", "a"], [1, 2, 1, 1, 1])
    assert list(found) == ["a", "b"]
    assert [found[group]["count"] for group in found] == [3, 2]
    assert [found[group]["x"]["value"] for group in found] == pytest.approx([2 / 3, 1 / 2])
    assert math.isnan(found["a"]["x"]["low"])
    assert found["b"]["x"]["low"] == 0


def test_length_groups():
    assert [length_group(n) for n in (50, 249, 250, 499, 500, 1000)] == [
        "short", "short", "medium", "medium", "long", "long",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "call",
    [
        lambda: token_overlap(["a"], []),
        lambda: bertscore([np.ones((1, 2))], []),
        lambda: distinctiveness(["a"], unit_vectors(1)),
        lambda: distinctiveness(["a", "b"], unit_vectors(3)),
        lambda: distinctiveness(["a", "b"], np.zeros((2, 3), np.float32)),
        lambda: distinctiveness(["a", "b"], np.full((2, 3), np.nan, np.float32)),
        lambda: diversity(["a"], [0]),
        lambda: compare({"x": np.ones(2)}, {"y": np.ones(2)}, [0, 1]),
        lambda: compare({"x": np.ones(2)}, {"x": np.ones(3)}, [0, 1]),
        lambda: breakdown({"x": np.ones(2)}, ["a"], [0, 1]),
        lambda: bootstrap_means(np.ones((0, 1)), [], 10, 0),
        lambda: bootstrap_means(np.ones((2, 1)), [0], 10, 0),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(Vec2SlugError, match="expected"):
        call()
