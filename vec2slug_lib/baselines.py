"""Slugs without a trained model: what a decoder has to beat on the same rows.

The first three see what the model sees, vectors and training slugs; the last two see the title or
the text, which the model never does. Nothing here keeps a text.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from math import log

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from .errors import Vec2SlugError
from .slugs import MAX_WORDS, MIN_WORDS, STOPWORDS, slugify, words

Vectors = NDArray[np.float32]
Ints = NDArray[np.int64]

BLOCK = 128
# Both chosen on validation rows; a vote falls with distance as the cosine to this power.
NEIGHBOURS, SHARPNESS = 40, 4


def random_slug(train_slugs: Sequence[str], n: int, seed: int = 0) -> list[str]:
    """``n`` training slugs drawn with replacement.

    Raises:
        Vec2SlugError: there is no training slug.
    """
    if not len(train_slugs):
        raise Vec2SlugError("expected training slugs, got none")
    drawn = np.random.default_rng(seed).integers(len(train_slugs), size=n).tolist()
    return [train_slugs[i] for i in drawn]


def nearest_slug(train_vectors: Vectors, train_slugs: Sequence[str], queries: Vectors) -> list[str]:
    """The slug of the nearest training document by cosine (exact search).

    Args:
        train_vectors: float32 [T, D], unit rows.
        train_slugs: their T slugs.
        queries: float32 [N, D], unit rows.

    Raises:
        Vec2SlugError: shapes do not fit together, or there is no training row.
    """
    found = neighbours(train_vectors, train_slugs, queries, 1)
    return [slugs[0] for slugs, _ in found]


def knn_vote(
    train_vectors: Vectors, train_slugs: Sequence[str], queries: Vectors, k: int = NEIGHBOURS
) -> list[str]:
    """Words voted by the slugs of the ``k`` nearest training documents.

    A neighbour votes once for each word of its slug, with the fourth power of its cosine (0 if
    that is negative). The slug has as many words as the neighbours' slugs on weighted average,
    rounded, and 3 to 8. Stopwords stand for election like other words: leaving them out costs
    Token F1. Ties go to the word met first, nearest neighbour first. The words chosen follow the
    weighted mean of their place in the neighbours' slugs, from 0 (first word) to 1 (last).

    Args:
        train_vectors: float32 [T, D], unit rows.
        train_slugs: their T slugs.
        queries: float32 [N, D], unit rows.
        k: neighbours; all training rows if there are fewer.

    Raises:
        Vec2SlugError: shapes do not fit together, there is no training row, or ``k`` is below 1.
    """
    found = neighbours(train_vectors, train_slugs, queries, k)
    return [_vote(slugs, cosines) for slugs, cosines in found]


def title_slug(title: str | None) -> str:
    """The first 8 words of a title, without a site's name after "|"; empty if it is missing."""
    return slugify(title.split(" | ")[0]) if isinstance(title, str) else ""


def tfidf_keywords(texts: Sequence[str], fit_texts: Sequence[str], n_words: int = 5) -> list[str]:
    """The words of each text with the highest TF-IDF, in the order in which they first appear.

    Words are those that `slugs.slugify` makes, without stopwords and single characters. The weight
    is count * (ln((1 + T) / (1 + document frequency)) + 1), as in scikit-learn, but also for words
    that no text of ``fit_texts`` holds: names are often new. Ties go to the word met first.

    Args:
        texts: N texts to describe.
        fit_texts: T texts that document frequencies are counted in; the training split.
        n_words: words per slug; fewer if the text has fewer.
    """
    frequency: Counter[str] = Counter()
    for text in tqdm(fit_texts, "document frequencies", leave=False, delay=2):
        frequency.update(set(_content_words(text)))
    slugs = []
    for text in tqdm(texts, "keywords", leave=False, delay=2):
        counts = Counter(_content_words(text))  # keeps the order of first appearance
        weight = {
            word: count * (log((1 + len(fit_texts)) / (1 + frequency[word])) + 1)
            for word, count in counts.items()
        }
        best = set(sorted(counts, key=lambda word: -weight[word])[:n_words])
        slugs.append("-".join(word for word in counts if word in best))
    return slugs


def _content_words(text: str) -> list[str]:
    found = words(slugify(text, max_words=len(text)))
    return [word for word in found if len(word) > 1 and word not in STOPWORDS]


def say(cosines: Vectors, sharpness: float) -> list[float]:
    """Weights of neighbours, which sum to 1; equal where none lies on the query's side.

    Args:
        cosines: of the neighbours to the query, ``[K]``.
        sharpness: a weight is the cosine to this power, 0 if that is negative.
    """
    weights = np.maximum(cosines, 0).astype(np.float64) ** sharpness
    weights = weights if weights.any() else np.ones(len(weights))
    shares: list[float] = (weights / weights.sum()).tolist()
    return shares


def _vote(slugs: Sequence[str], cosines: Vectors) -> str:
    """The elected slug; ``slugs`` nearest first with their ``cosines``."""
    votes: defaultdict[str, float] = defaultdict(float)
    places: defaultdict[str, float] = defaultdict(float)
    length = 0.0
    for slug, weight in zip(slugs, say(cosines, SHARPNESS), strict=True):
        parts = words(slug)
        length += weight * len(parts)
        for word in dict.fromkeys(parts):
            votes[word] += weight
            places[word] += weight * parts.index(word) / max(len(parts) - 1, 1)
    count = min(max(round(length), MIN_WORDS), MAX_WORDS)
    elected = sorted(votes, key=lambda word: -votes[word])[:count]
    return "-".join(sorted(elected, key=lambda word: places[word] / max(votes[word], 1e-300)))


def neighbours(
    train_vectors: Vectors, train_slugs: Sequence[str], queries: Vectors, k: int
) -> Iterator[tuple[list[str], Vectors]]:
    """Per query, the slugs and cosines of its ``k`` nearest training rows, nearest first.

    Args, errors: as `knn_vote`.
    """
    shapes = np.shape(train_vectors), np.shape(queries)
    if [len(shape) for shape in shapes] != [2, 2] or shapes[0][1] != shapes[1][1]:
        raise Vec2SlugError(f"expected vectors [T, D] and queries [N, D], got {shapes}")
    if len(train_vectors) != len(train_slugs) or not len(train_vectors) or k < 1:
        counts = f"{len(train_slugs)} slugs, {len(train_vectors)} vectors, k = {k}"
        raise Vec2SlugError(f"expected a training slug a vector and k >= 1, got {counts}")
    slugs, k = list(train_slugs), min(k, len(train_vectors))
    for begin in tqdm(range(0, len(queries), BLOCK), "neighbours", leave=False, delay=2):
        cosines = queries[begin : begin + BLOCK] @ train_vectors.T
        nearest = np.argpartition(cosines, len(slugs) - k, axis=1)[:, -k:]
        for row, candidates in zip(cosines, nearest, strict=True):
            ranked = candidates[np.lexsort((candidates, -row[candidates]))]
            yield [slugs[i] for i in ranked.tolist()], row[ranked]
