"""Choose pairs, cluster them into topics, and deal whole topics to the splits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..common.vectors import Floats
from .dataset import SEED

SPLITS = {"train": 0.8, "val": 0.1, "test": 0.1}
# Sources of the second batch that no model learns from, chosen for variety before any result: those
# of `val` to choose by, those of `test` to be judged by.
LEFT_OUT = {
    "val": (
        "pandasthumb", "freecodecamp-guides", "sparkpost-support", "sg-nlb-reference",
        "lesswrong-print",
    ),
    "test": (
        "eppstein-11011110", "codeforamerica-blog", "simonw-til", "sg-mlaw", "arduino-help",
    ),
}  # fmt: skip
LEAK_ROWS, LEAK_BLOCK = 10_000, 2_000  # test rows, and training rows at a time, of a leak report


def part_left_out(sources: pd.Series) -> pd.Series:
    """Return the part of ``LEFT_OUT`` that each source belongs to; NaN if it is learnt from."""
    parts = {source: part for part, names in LEFT_OUT.items() for source in names}
    return sources.map(parts)


def source_cap(counts: pd.Series, total: int) -> int:
    """Find the largest cap so that sources cut to it hold at most ``total`` rows together."""
    low, high = 0, int(counts.max())
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (
            (middle, high) if counts.clip(upper=middle).sum() <= total else (low, middle - 1)
        )
    return low


def select(pairs: pd.DataFrame, total: int, seed: int = SEED) -> npt.NDArray[np.int64]:
    """Select at most ``total`` rows: sources capped alike, topics kept in proportion.

    Args:
        pairs: columns ``source`` and ``cluster`` (the topic), one row a pair.
        total: rows wanted.
        seed: of the draw.

    Returns:
        Sorted positions. A source under the cap is kept whole. A source over it is drawn evenly
        over its clusters, which keeps every topic of at least two rows of every source.
    """
    cap = source_cap(pairs["source"].value_counts(), total)
    order = np.random.default_rng(seed).permutation(len(pairs))
    shuffled = pairs[["source", "cluster"]].iloc[order]
    within = shuffled.groupby(["source", "cluster"]).cumcount()
    sizes = shuffled.groupby(["source", "cluster"])["source"].transform("size")
    # The same share of every cluster comes first, so the cut below takes evenly from all.
    rank = ((within + 0.5) / sizes).groupby(shuffled["source"]).rank(method="first")
    return np.sort(order[(rank <= cap).to_numpy()])


def cluster(vectors: Floats, seed: int = SEED) -> npt.NDArray[np.int32]:
    """Cluster rows into topics ``[N]``: MiniBatchKMeans with max(200, √N), as in the study."""
    from sklearn.cluster import MiniBatchKMeans  # a second to load

    k = min(len(vectors), max(200, int(len(vectors) ** 0.5)))
    model = MiniBatchKMeans(k, random_state=seed, batch_size=4096, n_init=3)
    return np.asarray(model.fit_predict(vectors), dtype=np.int32)


def split_clusters(clusters: npt.NDArray[np.int32], seed: int = SEED) -> npt.NDArray[np.object_]:
    """Choose the split of each row ``[N]``: whole clusters go to train, val or test.

    Clusters are dealt in random order, each to the split that is furthest below its share, so
    sizes come within one cluster of 80/10/10 and near-duplicates never cross.
    """
    ids, inverse, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    names, shares = list(SPLITS), np.array(list(SPLITS.values()))
    filled, chosen = np.zeros(len(names)), np.zeros(len(ids), dtype=int)
    for position in np.random.default_rng(seed).permutation(len(ids)):
        best = int(np.argmax(shares - filled / len(clusters)))
        chosen[position] = best
        filled[best] += sizes[position]
    return np.array(names, dtype=object)[chosen][inverse]


def leak_report(pairs: pd.DataFrame, vectors: Floats, threshold: float = 0.95) -> dict[str, float]:
    """Measure how much of the test split is also in training.

    Returns:
        ``near_vectors``: share of test vectors (of ``LEAK_ROWS`` at most) with a training vector
        above ``threshold`` cosine; ``same_slug``: share of test slugs that occur in training.
    """
    train = (pairs["split"] == "train").to_numpy()
    test = (pairs["split"] == "test").to_numpy()
    queries = np.flatnonzero(test)
    if len(queries) > LEAK_ROWS:  # against every training row, all of millions would take hours
        queries = np.random.default_rng(SEED).choice(queries, LEAK_ROWS, replace=False)
    known, asked = np.flatnonzero(train), vectors[queries]
    nearest = np.full(len(queries), -1, np.float32)
    for start in range(0, len(known), LEAK_BLOCK):
        block = vectors[known[start : start + LEAK_BLOCK]]
        np.maximum(nearest, (asked @ block.T).max(axis=1), out=nearest)
    same = pairs.loc[test, "slug"].isin(set(pairs.loc[train, "slug"]))
    return {
        "near_vectors": float((nearest > threshold).mean()),
        "same_slug": float(same.mean()),
    }
