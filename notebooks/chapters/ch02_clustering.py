"""Clusters of words by their vectors, and what a vocabulary of clusters costs a slug.

Every method gives labels ``[N]``, one a word; -1 is noise. Vectors are unit rows ``[N, D]``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import community
import networkx as nx
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.slugs import MAX_WORDS, MIN_WORDS, words
from vec2slug_lib.common.vectors import Floats, Ints
from vec2slug_lib.experiments.word_clusters import BLOCK, SEED


class Edges(NamedTuple):
    """Pairs of words that lie close together."""

    pairs: NDArray[np.int32]  # [E, 2], the smaller index first, each pair once
    cosines: Floats  # [E]

    def above(self, threshold: float) -> Edges:
        """Select the edges of cosine ``threshold`` or more."""
        close = self.cosines >= threshold
        return Edges(self.pairs[close], self.cosines[close])


def neighbour_edges(vectors: Floats, threshold: float, block: int = BLOCK) -> Edges:
    """Find all pairs of cosine ``threshold`` or more, exactly, block x N cosines at a time.

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
    """Find the connected components of the graph of ``size`` words: labels [size]."""
    ones = np.ones(len(edges.pairs), bool)
    graph = coo_array((ones, tuple(edges.pairs.T)), shape=(size, size))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def louvain(size: int, edges: Edges, seed: int = SEED) -> Ints:
    """Find communities of high modularity, weighted by cosine (Blondel et al. 2008): [size]."""
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
    """Cluster principal components by HDBSCAN (Campello et al. 2013): labels [N], -1 is noise.

    Args:
        vectors: [N, D].
        selection: which clusters of the tree: "eom", those that last longest, or "leaf", its ends.
        dimensions: principal components kept; in all D dimensions the search for neighbours
            compares almost every pair.
        smallest: words of the smallest group that counts as a cluster.
    """
    import hdbscan  # seconds to load, and other chapters do not cluster
    from sklearn.decomposition import PCA

    plane = PCA(min(dimensions, *vectors.shape), random_state=SEED).fit_transform(vectors)
    model = hdbscan.HDBSCAN(
        min_cluster_size=smallest, cluster_selection_method=selection, core_dist_n_jobs=1
    )
    return np.asarray(model.fit_predict(plane), np.int64)


def changed(references: Sequence[str], mapping: Mapping[str, str]) -> float:
    """Compute the share of the words of the slugs that another word stands for."""
    every = [word for slug in references for word in words(slug)]
    return sum(mapping[word] != word for word in every) / max(1, len(every))


def best_reachable(references: Sequence[str], vocabulary: Collection[str]) -> NDArray[np.float64]:
    """Compute the best Token F1 [N] of any set of 3 to 8 words of a vocabulary, exactly.

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
