"""Clusters of words by their vectors, and what a vocabulary of clusters costs a slug.

Every method gives labels ``[N]``, one a word; -1 is noise. Vectors are unit rows ``[N, D]``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import community
import hdbscan
import networkx as nx
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import PCA
from tqdm import tqdm

from .errors import Vec2SlugError
from .slugs import MAX_WORDS, MIN_WORDS, words

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

SEED = 42
BLOCK = 1024


class Edges(NamedTuple):
    """Pairs of words that lie close together."""

    pairs: NDArray[np.int32]  # [E, 2], the smaller index first, each pair once
    cosines: Floats  # [E]

    def above(self, threshold: float) -> Edges:
        """The edges of cosine ``threshold`` or more."""
        kept = self.cosines >= threshold
        return Edges(self.pairs[kept], self.cosines[kept])


def neighbour_edges(vectors: Floats, threshold: float, block: int = BLOCK) -> Edges:
    """All pairs of cosine ``threshold`` or more, exactly, with block x N cosines in memory.

    Args:
        vectors: unit rows [N, D].
        threshold: least cosine of an edge.
        block: rows compared at a time.
    """
    pairs = [np.empty((0, 2), np.int32)]
    cosines = [np.empty(0, np.float32)]
    for begin in tqdm(range(0, len(vectors), block), "neighbours", leave=False, delay=2):
        cosine = vectors[begin : begin + block] @ vectors[begin:].T
        rows, columns = np.nonzero(cosine >= threshold)
        rows, columns = rows[columns > rows], columns[columns > rows]
        pairs.append((np.stack([rows, columns], axis=1) + begin).astype(np.int32))
        cosines.append(cosine[rows, columns])
    return Edges(np.concatenate(pairs), np.concatenate(cosines))


def components(size: int, edges: Edges) -> Ints:
    """Connected components of the graph of ``size`` words: labels [size]."""
    ones = np.ones(len(edges.pairs), bool)
    graph = coo_array((ones, tuple(edges.pairs.T)), shape=(size, size))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def louvain(size: int, edges: Edges, seed: int = SEED) -> Ints:
    """Communities of greatest modularity, weighted by cosine (Blondel et al. 2008): [size]."""
    graph = nx.Graph()
    graph.add_nodes_from(range(size))
    weights = edges.cosines.astype(float).tolist()
    graph.add_weighted_edges_from(
        (i, j, w) for (i, j), w in zip(edges.pairs.tolist(), weights, strict=True)
    )
    partition = community.best_partition(graph, random_state=seed)
    return np.array([partition[node] for node in range(size)], np.int64)


def density(
    vectors: Floats, selection: str = "eom", dimensions: int = 16, smallest: int = 5
) -> Ints:
    """HDBSCAN (Campello et al. 2013) on the principal components: labels [N], -1 is noise.

    Args:
        vectors: [N, D].
        selection: which clusters of the tree: "eom", those that last longest, or "leaf", its ends.
        dimensions: principal components kept; in all D dimensions the search for neighbours
            compares almost every pair.
        smallest: words of the smallest group that counts as a cluster.
    """
    plane = PCA(min(dimensions, *vectors.shape), random_state=SEED).fit_transform(vectors)
    model = hdbscan.HDBSCAN(
        min_cluster_size=smallest, cluster_selection_method=selection, core_dist_n_jobs=1
    )
    return np.asarray(model.fit_predict(plane), np.int64)


def kmeans(vectors: Floats, k: int, seed: int = SEED) -> Ints:
    """MiniBatchKMeans (Sculley 2010) from ``k`` words drawn at random: labels [N].

    Started at random as in the paper: with thousands of centres k-means++ takes many times as
    long and hardly brings words nearer to their centres. Centres that attract no word are left
    out, so there may be fewer than ``k`` labels.

    Raises:
        Vec2SlugError: ``k`` is not between 1 and N.
    """
    _check_k(k, len(vectors))
    model = MiniBatchKMeans(k, init="random", n_init=1, batch_size=4096, random_state=seed)
    return compact(np.asarray(model.fit_predict(vectors), np.int64))


def nearest_frequent(vectors: Floats, counts: Ints, k: int) -> Ints:
    """The plain rival of k-means: the ``k`` most frequent words are the centres: labels [N].

    Raises:
        Vec2SlugError: ``k`` is not between 1 and N.
    """
    _check_k(k, len(vectors))
    centres = np.argsort(-counts, kind="stable")[:k]
    labels = nearest(vectors, vectors[centres])
    labels[centres] = np.arange(k)
    return labels


def nearest(vectors: Floats, centres: Floats, block: int = BLOCK) -> Ints:
    """Index [N] of the centre [K, D] at the least Euclidean distance from each row of [N, D]."""
    half = (centres**2).sum(axis=1) / 2
    found = [np.empty(0, np.int64)]
    for begin in tqdm(range(0, len(vectors), block), "nearest", leave=False, delay=2):
        found.append((vectors[begin : begin + block] @ centres.T - half).argmax(axis=1))
    return np.concatenate(found)


def compact(labels: Ints) -> Ints:
    """The same clusters numbered from 0; each noise word becomes a cluster of its own."""
    alone = labels < 0
    numbered = labels.copy()
    numbered[alone] = labels.max(initial=-1) + 1 + np.arange(alone.sum())
    return np.asarray(np.unique(numbered, return_inverse=True)[1], np.int64)


def centroids(vectors: Floats, labels: Ints) -> Floats:
    """Mean vector [K, D] of each cluster; labels [N] are compact."""
    sizes = np.bincount(labels)
    shape = (len(sizes), len(labels))
    members = csr_array((1 / sizes[labels], (labels, np.arange(len(labels)))), shape=shape)
    return np.asarray(members @ vectors, np.float32)


def representatives(vectors: Floats, labels: Ints, counts: Ints) -> Ints:
    """Index [K] of the word that stands for each cluster.

    The most frequent one; of several, the nearest to the centroid, and then the first.

    Args:
        vectors: [N, D].
        labels: compact, [N].
        counts: occurrences of each word, [N].
    """
    distance = ((vectors - centroids(vectors, labels)[labels]) ** 2).sum(axis=1)
    order = np.lexsort((distance, -counts, labels))
    return np.asarray(order[np.diff(labels[order], prepend=-1) > 0], np.int64)


def changed(references: Sequence[str], mapping: Mapping[str, str]) -> float:
    """Share of the words of the slugs that another word stands for."""
    every = [word for slug in references for word in words(slug)]
    return sum(mapping[word] != word for word in every) / max(1, len(every))


def best_reachable(references: Sequence[str], vocabulary: Collection[str]) -> NDArray[np.float64]:
    """Best Token F1 [N] of any set of 3 to 8 words of a vocabulary, exactly.

    With R the reference's set of words and m of them in the vocabulary, a set of p words of which
    h match scores ``2h / (p + |R|)``. That rises with h and falls with p, and p is at least
    max(h, 3): so the best takes all m and fills up to three words, ``2m / (max(m, 3) + |R|)``.

    Args:
        references: N slugs of at most 8 words.
        vocabulary: at least 3 words.

    Raises:
        Vec2SlugError: a vocabulary of fewer than three words, or a longer reference.
    """
    known = set(vocabulary)
    sets = [set(words(slug)) for slug in references]
    if len(known) < MIN_WORDS:
        raise Vec2SlugError(f"expected {MIN_WORDS} words or more, got {len(known)}")
    if any(len(true) > MAX_WORDS for true in sets):
        raise Vec2SlugError(f"expected references of at most {MAX_WORDS} words, got a longer one")
    matched = np.array([len(true & known) for true in sets], np.float64)
    size = np.array([len(true) for true in sets], np.float64)
    return 2 * matched / (np.maximum(matched, MIN_WORDS) + size)


def _check_k(k: int, size: int) -> None:
    if not 1 <= k <= size:
        raise Vec2SlugError(f"expected between 1 and {size} clusters, got {k}")
