from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest
from chapters.ch03_order import (
    best_order,
    pairwise_order,
    position_heads,
    position_order,
    precedence,
)
from hypothesis import given, settings
from hypothesis import strategies as st

slug = st.lists(st.integers(0, 6), min_size=3, max_size=8)


def total(order, margins):
    """Sum of the margins of an earlier over a later one."""
    return sum(margins.get(pair, 0.0) for pair in combinations(order, 2))


@given(st.lists(slug, max_size=12), st.lists(st.integers(0, 6), unique=True, max_size=5))
@settings(max_examples=60)
def test_the_best_order_is_as_good_as_the_best_permutation(slugs, ids):
    margins = precedence(slugs, set(ids))
    found = best_order(ids, margins)
    assert sorted(found) == sorted(ids)
    best = max(total(order, margins) for order in permutations(ids))
    assert total(found, margins) == pytest.approx(best)


def test_a_chain_of_preferences_is_followed_and_a_cycle_is_cut_where_it_is_weakest():
    assert best_order([3, 1, 2], {(1, 2): 0.5, (2, 3): 0.5}) == [1, 2, 3]
    cycle = {(1, 2): 0.9, (2, 1): -0.9, (2, 3): 0.8, (3, 2): -0.8, (3, 1): 0.1, (1, 3): -0.1}
    assert best_order([2, 3, 1], cycle) == [1, 2, 3]


def test_without_preferences_the_order_stays():
    assert best_order([4, 0, 9, 2], {}) == [4, 0, 9, 2]
    assert best_order([], {}) == []


def test_precedence_by_hand():
    # 1 before 2 three times, after it once: (3 - 1) / (4 + 1). The repeated 1 counts where it
    # first stands, and 7 is not asked for.
    slugs = [[1, 2, 7], [1, 7, 2], [1, 2, 1], [2, 1, 5]]
    margins = precedence(slugs, {1, 2, 5})
    assert margins[1, 2] == pytest.approx(0.4)
    assert margins[2, 1] == pytest.approx(-0.4)
    assert margins[2, 5] == margins[1, 5] == pytest.approx(0.5)
    assert not any(7 in pair for pair in margins)
    assert len(margins) == 6


@given(st.lists(slug, max_size=10))
def test_margins_are_antisymmetric_and_below_one(slugs):
    margins = precedence(slugs, set(range(7)))
    assert all(margins[b, a] == -value and abs(value) < 1 for (a, b), value in margins.items())


def test_pairwise_order_learns_from_slugs():
    slugs = [[1, 2, 3]] * 3 + [[2, 3, 4]] * 3
    found = pairwise_order([[3, 2, 1], [4, 3, 1], [3, 2, 1]], slugs)
    assert found == [[1, 2, 3], [1, 3, 4], [1, 2, 3]]


def position_data(n=200):
    """Word 0 stands first where the first coordinate is positive, last where not; 1 and 2 stay."""
    hidden = np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32)
    slugs = [[0, 1, 2] if row[0] > 0 else [1, 2, 0] for row in hidden]
    return hidden, slugs


def test_the_position_head_reads_the_place_from_the_hidden_layer():
    hidden, slugs = position_data()
    seen, wanted = hidden[100:], slugs[100:]
    found = position_order([[2, 1, 0]] * 100, seen, slugs[:100], hidden[:100])
    clear = np.abs(seen[:, 0]) > 0.8
    right = [a == b for a, b, sure in zip(found, wanted, clear, strict=True) if sure]
    assert np.mean(right) > 0.95


def test_each_head_is_the_ridge_regression_of_its_own_rows():
    hidden, slugs = position_data()
    slugs = [[*ids, 5] if i % 2 else ids for i, ids in enumerate(slugs)]
    heads = position_heads(hidden, slugs, {0, 5, 8})
    assert heads.keys() == {0, 5}
    rows = hidden[1::2]
    np.testing.assert_allclose(heads[5].predict(rows), 1.0, atol=1e-5)
    at = np.array([ids.index(0) / (len(ids) - 1) for ids in slugs])
    x, y = hidden - hidden.mean(0), at - at.mean()
    weights = np.linalg.solve(x.T @ x + np.eye(4), x.T @ y)  # the normal equations
    np.testing.assert_allclose(heads[0].coef_, weights, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(heads[0].intercept_, at.mean() - hidden.mean(0) @ weights, rtol=1e-4)


def test_an_unseen_cluster_goes_to_the_middle_and_a_constant_layer_gives_mean_places():
    hidden = np.ones((4, 3), np.float32)
    slugs = [[1, 2, 3, 4]] * 3 + [[2, 1, 3, 4]]
    found = position_order([[9, 4, 1], [4, 3, 2]], hidden[:2], slugs, hidden)
    assert found == [[1, 9, 4], [2, 3, 4]]
