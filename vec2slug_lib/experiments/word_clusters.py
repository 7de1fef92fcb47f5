"""Clusters of the slug words by their embeddings: the reduced vocabulary of phase one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from ..common.errors import Vec2SlugError
from ..common.files import atomic
from ..common.neighbours import product_blocks
from ..common.slugs import words
from ..common.vectors import Floats, Ints
from ..common.workspace import current
from ..data import dataset
from ..embedding.registry import DEFAULT, EMBEDDERS, open_embedder
from .table import PRESETS, Preset, find

Row = dict[str, Any]

SEED = 42
BLOCK = 1024


@dataclass(frozen=True)
class WordClusters:
    """K-means clusters of the words, as many as the preset's vocabulary has entries."""

    words: pd.DataFrame  # word, count (in training slugs), cluster, representative; frequent first

    @property
    def mapping(self) -> dict[str, str]:
        """Every word of the data set, and the word that stands for it."""
        return dict(zip(self.words["word"], self.words["representative"], strict=True))


@dataclass(frozen=True)
class WordSpace:
    """The words of a data set, the most frequent first, with what judges a clustering of them."""

    words: list[str]  # N distinct words of all splits
    counts: Ints  # [N], in training slugs; 0 for a word that training lacks
    references: list[str]  # slugs of the test rows
    stamp: Row  # digest of the data and size of the vocabulary

    @property
    def vectors(self) -> Floats:
        """Unit vectors [N, D] of the words, each embedded alone."""
        return _embed(tuple(self.words))

    @property
    def trained(self) -> Floats:
        """Vectors of the words of the training slugs: the first rows, and all that is clustered."""
        return self.vectors[: self.trained_counts.size]

    @property
    def trained_counts(self) -> Ints:
        """Their counts."""
        return self.counts[self.counts > 0]


def map_slug(slug: str, mapping: Mapping[str, str]) -> str:
    """Replace each word of a slug by the word that stands for it."""
    return "-".join(mapping[word] for word in words(slug))


def word_clusters(
    preset: str = "book", remake: bool = False, method: str = "kmeans"
) -> WordClusters:
    """Read the clusters of a preset's words, or make them.

    Args:
        preset: whose data they are, and the size of its vocabulary.
        remake: whether to make them again in any case.
        method: ``kmeans``, or ``frequent``: around the most frequent words, see `nearest_frequent`.

    Raises:
        Vec2SlugError: unknown preset or method, or no data set.
    """
    name, cluster = find(METHODS, "method", method)
    space, path = word_space(preset), _folder(preset) / name
    frame = None if remake else _read(path, space.stamp)
    if frame is None:
        k = min(space.stamp["vocab_size"], len(space.trained_counts))
        frame = _packed(name_clusters(space, cluster(space, k)))
        _write(path, frame, space.stamp)
    return WordClusters(_unpacked(frame))


def word_space(preset: str) -> WordSpace:
    """Load the words of a preset's data; they are embedded when their vectors are asked for.

    Raises:
        Vec2SlugError: unknown preset, or no data set.
    """
    settings: Preset = find(PRESETS, "preset", preset)
    data = dataset.load(limit=settings.limit)
    slugs = data.part("train").pairs["slug"]
    counts = Counter(word for slug in slugs for word in words(slug))
    every = {word for slug in data.pairs["slug"] for word in words(slug)}
    ordered = sorted(every, key=lambda word: (-counts[word], word))
    return WordSpace(
        words=ordered,
        counts=np.array([counts[word] for word in ordered], np.int64),
        references=data.test_rows().pairs["slug"].tolist(),
        stamp={
            "data": dataset.ids_digest(data.pairs["id"]),
            "vocab_size": settings.vocab_size,
            "embedder": EMBEDDERS[DEFAULT].model,
        },
    )


def name_clusters(space: WordSpace, labels: Ints) -> pd.DataFrame:
    """Name clusters of the first words, and put every other word in the nearest one.

    Args:
        space: N words.
        labels: of the first M words, those of the training slugs; -1 is noise.

    Returns:
        Columns word, count, cluster and representative; N rows.
    """
    known, count = compact(labels), len(labels)
    names = representatives(space.vectors[:count], known, space.counts[:count])
    centres = centroids(space.vectors[:count], known)
    others = nearest(space.vectors[count:], centres)
    cluster = np.concatenate([known, others])
    spoken = np.array(space.words, object)
    columns = {
        "word": space.words,
        "count": space.counts.astype(np.int32),
        "cluster": cluster.astype(np.int32),
        "representative": spoken[names][cluster],
    }
    return pd.DataFrame(columns)


@lru_cache(maxsize=1)
def _embed(texts: tuple[str, ...]) -> Floats:
    # All parts of a record need the same vectors, and they are too large for the repository.
    return open_embedder(exact=True).embed(texts)


def _folder(preset: str) -> Path:
    return current().runs / "words" / preset


def _read(path: Path, stamp: Row) -> pd.DataFrame | None:
    """Read the frame at ``path`` if it was made of this data."""
    frame = pd.read_parquet(path) if path.is_file() else None
    return frame if frame is not None and frame.attrs == stamp else None


def _write(path: Path, frame: pd.DataFrame, stamp: Row) -> None:
    frame.attrs = stamp
    with atomic(path) as temporary:
        frame.to_parquet(
            temporary, index=False, compression="zstd", compression_level=22, use_dictionary=False
        )


def _packed(frame: pd.DataFrame) -> pd.DataFrame:
    """Mark the words that stand for their cluster, instead of naming one at each word."""
    marked = frame["word"] == frame["representative"]
    return frame.drop(columns="representative").assign(represents=marked)


def _unpacked(frame: pd.DataFrame) -> pd.DataFrame:
    """Undo `_packed`."""
    names = frame[frame["represents"]].set_index("cluster")["word"]
    named = frame.assign(representative=frame["cluster"].map(names))
    return named.drop(columns="represents")


def kmeans(vectors: Floats, k: int, seed: int = SEED) -> Ints:
    """Cluster vectors from ``k`` words drawn at random, by MiniBatchKMeans (Sculley 2010).

    Started at random as in the paper: with thousands of centres k-means++ takes many times as
    long and hardly brings words nearer to their centres. Centres that attract no word are left
    out, so there may be fewer than ``k`` labels.

    Raises:
        Vec2SlugError: ``k`` is not between 1 and N.
    """
    from sklearn.cluster import MiniBatchKMeans  # a second to load; most runs read the clusters

    _check_k(k, len(vectors))
    model = MiniBatchKMeans(k, init="random", n_init=1, batch_size=4096, random_state=seed)
    return compact(np.asarray(model.fit_predict(vectors), np.int64))


def nearest(vectors: Floats, centres: Floats, block: int = BLOCK) -> Ints:
    """Return the index [N] of the centre [K, D] at the least Euclidean distance from each row."""
    half = (centres**2).sum(axis=1) / 2
    indices = [np.empty(0, np.int64)]
    for _, products in product_blocks(vectors, centres, block, "nearest"):
        indices.append((products - half).argmax(axis=1))
    return np.concatenate(indices)


def nearest_frequent(vectors: Floats, counts: Ints, k: int) -> Ints:
    """Assign each word to the nearest of the ``k`` most frequent ones, k-means' rival: labels [N].

    Raises:
        Vec2SlugError: ``k`` is not between 1 and N.
    """
    _check_k(k, len(vectors))
    centres = np.argsort(-counts, kind="stable")[:k]
    labels = nearest(vectors, vectors[centres])
    labels[centres] = np.arange(k)
    return labels


def compact(labels: Ints) -> Ints:
    """Number the same clusters from 0; each noise word becomes a cluster of its own."""
    alone = labels < 0
    numbered = labels.copy()
    numbered[alone] = labels.max(initial=-1) + 1 + np.arange(alone.sum())
    return np.asarray(np.unique(numbered, return_inverse=True)[1], np.int64)


def centroids(vectors: Floats, labels: Ints) -> Floats:
    """Compute the mean vector [K, D] of each cluster; labels [N] are compact."""
    sizes = np.bincount(labels)
    shape = (len(sizes), len(labels))
    members = csr_array((1 / sizes[labels], (labels, np.arange(len(labels)))), shape=shape)
    return np.asarray(members @ vectors, np.float32)


def representatives(vectors: Floats, labels: Ints, counts: Ints) -> Ints:
    """Return the index [K] of the word that stands for each cluster.

    The most frequent one; of several, the nearest to the centroid, and then the first.

    Args:
        vectors: [N, D].
        labels: compact, [N].
        counts: occurrences of each word, [N].
    """
    distance = ((vectors - centroids(vectors, labels)[labels]) ** 2).sum(axis=1)
    order = np.lexsort((distance, -counts, labels))
    return np.asarray(order[np.diff(labels[order], prepend=-1) > 0], np.int64)


# Of which a decoder's vocabulary may be made: file of the record, and labels of the trained words.
METHODS: dict[str, tuple[str, Callable[[WordSpace, int], Ints]]] = {
    "kmeans": ("words.parquet", lambda space, k: kmeans(space.trained, k)),
    "frequent": (
        "frequent.parquet",
        lambda space, k: nearest_frequent(space.trained, space.trained_counts, k),
    ),
}


def _check_k(k: int, size: int) -> None:
    if not 1 <= k <= size:
        raise Vec2SlugError(f"expected between 1 and {size} clusters, got {k}")
