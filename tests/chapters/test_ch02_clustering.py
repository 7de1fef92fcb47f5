from itertools import combinations

import networkx as nx
import numpy as np
import pytest
from chapters import ch02_clustering
from chapters.ch02_clustering import Edges
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.evaluation.metrics import token_overlap
from vec2slug_lib.experiments import word_clusters

WORDS = list("abcdefghij")


def unit(seed, size, width=4):
    """Random unit rows [size, width]."""
    rows = np.random.default_rng(seed).normal(size=(size, width)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def groups(labels):
    """The clusters as a set of sets: what is left when numbers do not matter."""
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in np.unique(labels)}


def partition(rng, size, parts):
    """Compact labels [size] of exactly ``parts`` clusters, every one with a member."""
    return rng.permutation(np.r_[np.arange(parts), rng.integers(parts, size=size - parts)])


@st.composite
def graphs(draw):
    size = draw(st.integers(1, 12))
    possible = list(combinations(range(size), 2))
    chosen = draw(st.lists(st.sampled_from(possible), unique=True)) if possible else []
    return size, Edges(np.array(chosen, np.int32).reshape(-1, 2), np.ones(len(chosen), np.float32))


@given(st.integers(0, 99), st.integers(1, 30), st.integers(1, 31), st.floats(-0.9, 0.9))
def test_edges_in_blocks_are_those_of_all_pairs(seed, size, block, threshold):
    vectors = unit(seed, size)
    edges = ch02_clustering.neighbour_edges(vectors, threshold, block)
    cosine = vectors.astype(float) @ vectors.T.astype(float)
    plain = {(i, j) for i, j in combinations(range(size), 2) if cosine[i, j] >= threshold}
    found = list(map(tuple, edges.pairs.tolist()))
    assert set(found) == plain
    assert len(found) == len(plain)
    assert np.allclose(edges.cosines, [cosine[pair] for pair in found], atol=1e-6)


def test_edges_above_a_higher_threshold_are_those_of_a_new_search():
    vectors = unit(0, 40)
    above = ch02_clustering.neighbour_edges(vectors, 0.2).above(0.7)
    again = ch02_clustering.neighbour_edges(vectors, 0.7)
    assert 0 < len(again.pairs) == len(above.pairs)
    assert set(map(tuple, above.pairs.tolist())) == set(map(tuple, again.pairs.tolist()))


@given(graphs())
def test_components_are_those_of_networkx(graph):
    size, edges = graph
    plain = nx.Graph(edges.pairs.tolist())
    plain.add_nodes_from(range(size))
    expected = {frozenset(part) for part in nx.connected_components(plain)}
    assert groups(ch02_clustering.components(size, edges)) == expected


def test_louvain_parts_two_cliques_joined_by_one_edge():
    cliques = [*combinations(range(5), 2), *combinations(range(5, 10), 2), (4, 5)]
    edges = Edges(np.array(cliques, np.int32), np.ones(len(cliques), np.float32))
    labels = ch02_clustering.louvain(11, edges)  # word 10 has no neighbour
    assert groups(labels) == {frozenset(range(5)), frozenset(range(5, 10)), frozenset({10})}
    assert np.array_equal(labels, ch02_clustering.louvain(11, edges))


def test_louvain_weighs_edges_by_cosine():
    # A square: the pairs that hang together are those joined by the heavy edges.
    pairs = np.array([(0, 1), (1, 2), (2, 3), (0, 3)], np.int32)
    for heavy, expected in (([9, 1, 9, 1], {(0, 1), (2, 3)}), ([1, 9, 1, 9], {(1, 2), (0, 3)})):
        labels = ch02_clustering.louvain(4, Edges(pairs, np.array(heavy, np.float32)))
        assert groups(labels) == {frozenset(pair) for pair in expected}


@pytest.fixture(scope="module")
def blobs():
    """Four far groups of 30 unit rows, and which group each is in."""
    rng = np.random.default_rng(3)
    rows = np.repeat(np.eye(4), 30, axis=0) + rng.normal(scale=0.03, size=(120, 4))
    vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return vectors, np.repeat(np.arange(4), 30)


@pytest.mark.parametrize("selection", ["eom", "leaf"])
def test_density_finds_far_groups_and_calls_a_stray_word_noise(blobs, selection):
    vectors, truth = blobs
    stray = np.full((1, 4), -0.5, np.float32)
    labels = ch02_clustering.density(np.concatenate([vectors, stray]), selection, smallest=15)
    assert labels[-1] == -1
    core = labels[:-1] >= 0
    assert core.mean() > 0.8
    assert groups(labels[:-1][core]) == groups(truth[core])


def test_kmeans_gives_every_group_a_cluster_of_its_own(blobs):
    vectors, truth = blobs
    labels = word_clusters.kmeans(vectors, 12)
    assert sorted(np.unique(labels)) == list(range(labels.max() + 1))
    assert labels.max() < 12
    assert all(len(set(truth[labels == label].tolist())) == 1 for label in np.unique(labels))
    assert np.array_equal(labels, word_clusters.kmeans(vectors, 12))


@pytest.mark.parametrize("k", [0, 121])
def test_more_clusters_than_words_are_refused(blobs, k):
    message = f"expected between 1 and 120 clusters, got {k}"
    for method in (
        word_clusters.kmeans,
        lambda v, k: word_clusters.nearest_frequent(v, np.ones(120), k),
    ):
        with pytest.raises(Vec2SlugError, match=message):
            method(blobs[0], k)


def test_nearest_frequent_words_are_the_most_frequent_and_keep_their_name():
    vectors = unit(1, 50)
    counts = np.random.default_rng(1).permutation(50)
    labels = word_clusters.nearest_frequent(vectors, counts, 7)
    names = word_clusters.representatives(vectors, labels, counts)
    assert set(counts[names].tolist()) == set(range(43, 50))
    expected = (vectors @ vectors[names].T).argmax(axis=1)
    assert np.array_equal(names[labels], names[expected])


@given(st.integers(0, 99), st.integers(0, 20), st.integers(1, 9), st.integers(1, 21))
def test_nearest_centre_is_that_of_all_distances(seed, size, centres, block):
    vectors, points = unit(seed, size), 2 * unit(seed + 1, centres)
    points[::2] /= 3  # centres need not have the same length
    distance = ((vectors[:, None].astype(float) - points[None]) ** 2).sum(axis=2)
    found = word_clusters.nearest(vectors, points, block)
    assert found.shape == (size,)
    assert np.allclose(distance[np.arange(size), found], distance.min(axis=1), atol=1e-6)


def test_noise_words_become_clusters_of_one():
    labels = word_clusters.compact(np.array([5, -1, 2, -1, 5]))
    assert labels.tolist() == [1, 2, 0, 3, 1]


@given(arrays(np.int64, st.integers(1, 20), elements=st.integers(-1, 6)))
def test_compact_labels_keep_clusters_and_count_from_zero(labels):
    found = word_clusters.compact(labels)
    assert set(found.tolist()) == set(range(found.max() + 1))
    kept = labels >= 0
    assert groups(found[kept]) == groups(labels[kept])
    assert len(groups(found)) == len(set(labels[kept].tolist())) + (~kept).sum()


@given(st.integers(0, 99), st.integers(1, 20), st.data())
def test_centroids_are_means(seed, size, data):
    vectors, rng = unit(seed, size), np.random.default_rng(seed)
    labels = partition(rng, size, data.draw(st.integers(1, size)))
    expected = [vectors[labels == label].mean(axis=0) for label in range(labels.max() + 1)]
    assert np.allclose(word_clusters.centroids(vectors, labels), expected, atol=1e-6)


@given(st.integers(0, 199), st.integers(1, 12), st.data())
def test_the_representative_is_frequent_then_central(seed, size, data):
    vectors, rng = unit(seed, size), np.random.default_rng(seed)
    labels = partition(rng, size, data.draw(st.integers(1, size)))
    counts = rng.integers(3, size=size)
    for label, found in enumerate(word_clusters.representatives(vectors, labels, counts)):
        members = np.flatnonzero(labels == label)
        centre = vectors[members].mean(axis=0)
        frequent = members[counts[members] == counts[members].max()]
        distance = np.linalg.norm(vectors[frequent] - centre, axis=1)
        assert found in frequent
        assert np.linalg.norm(vectors[found] - centre) <= distance.min() + 1e-6


def test_a_tie_is_broken_by_the_centroid_and_then_by_order():
    # Centroid (0.5, 0): the third word is nearest, then the first two alike.
    vectors = np.array([[0, 0.5], [0, -0.5], [1.5, 0]], np.float32)
    labels = np.zeros(3, int)
    assert word_clusters.representatives(vectors, labels, np.array([4, 4, 3])).tolist() == [0]
    nearer = np.array([[0, 0.5], [0.5, 0.1], [1, -0.6]], np.float32)
    assert word_clusters.representatives(nearer, labels, np.array([4, 4, 4])).tolist() == [1]


def test_changed_counts_every_word_of_every_slug():
    mapping = {"amelia": "anne", "of": "of", "burma": "burma"}
    assert ch02_clustering.changed(["amelia-of-burma", "amelia-burma"], mapping) == 2 / 5
    assert ch02_clustering.changed([], mapping) == 0


def test_best_reachable_worked_by_hand():
    # Both words known of three: 2·2 / (3 + 3). None known: 0. All four: 1. One, filled up: 2 / 6.
    found = ch02_clustering.best_reachable(["a-b-x", "x-y-z", "a-b-c-d", "a-a-x-y"], "abcd")
    assert found == pytest.approx([4 / 6, 0, 1, 2 / 6])


@given(
    st.lists(st.sampled_from(WORDS), min_size=3, max_size=8),
    st.sets(st.sampled_from(WORDS), min_size=3, max_size=9),
)
def test_best_reachable_is_the_best_of_all_word_sets(reference, vocabulary):
    slug = "-".join(reference)
    sizes = range(3, min(8, len(vocabulary)) + 1)
    slugs = ["-".join(chosen) for size in sizes for chosen in combinations(vocabulary, size)]
    brute = token_overlap(slugs, [slug] * len(slugs))[2].max()
    assert ch02_clustering.best_reachable([slug], vocabulary) == pytest.approx([brute])


def test_best_reachable_refuses_what_its_formula_does_not_cover():
    with pytest.raises(Vec2SlugError, match="3 words or more, got 2"):
        ch02_clustering.best_reachable(["a-b-c"], ["a", "b", "b"])
    with pytest.raises(Vec2SlugError, match="at most 8 words"):
        ch02_clustering.best_reachable(["a-b-c-d-e-f-g-h-i"], "abc")
