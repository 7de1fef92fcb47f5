"""Slugs without a trained model: what a decoder has to beat on the same rows.

The first three see what the model sees, vectors and training slugs; the last two see the title or
the text, which the model never does. Nothing here keeps a text.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from ..common.errors import Vec2SlugError
from ..common.neighbours import neighbours, similarity_weights
from ..common.slugs import MAX_WORDS, MIN_WORDS, words
from ..common.vectors import Floats

# Both chosen on validation rows; a vote falls with distance as the cosine to this power.
NEIGHBOURS, SHARPNESS = 40, 4


def random_slug(train_slugs: Sequence[str], n: int, seed: int = 0) -> list[str]:
    """Draw ``n`` training slugs with replacement.

    Raises:
        Vec2SlugError: there is no training slug.
    """
    if not len(train_slugs):
        raise Vec2SlugError("expected training slugs, got none")
    drawn = np.random.default_rng(seed).integers(len(train_slugs), size=n).tolist()
    return [train_slugs[i] for i in drawn]


def nearest_slug(train_vectors: Floats, train_slugs: Sequence[str], queries: Floats) -> list[str]:
    """Return the slug of the nearest training document of each row, by cosine (exact search).

    Args:
        train_vectors: float32 [T, D], unit rows.
        train_slugs: their T slugs.
        queries: float32 [N, D], unit rows.

    Raises:
        Vec2SlugError: shapes do not fit together, or there is no training row.
    """
    nearest = neighbours(train_vectors, train_slugs, queries, 1)
    return [slugs[0] for slugs, _ in nearest]


def knn_vote(
    train_vectors: Floats, train_slugs: Sequence[str], queries: Floats, k: int = NEIGHBOURS
) -> list[str]:
    """Elect words from the slugs of the ``k`` nearest training documents of each row.

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
    nearest = neighbours(train_vectors, train_slugs, queries, k)
    return [_vote(slugs, cosines) for slugs, cosines in nearest]


def _vote(slugs: Sequence[str], cosines: Floats) -> str:
    """Return the elected slug; ``slugs`` nearest first with their ``cosines``."""
    votes: defaultdict[str, float] = defaultdict(float)
    places: defaultdict[str, float] = defaultdict(float)
    length = 0.0
    for slug, weight in zip(slugs, similarity_weights(cosines, SHARPNESS), strict=True):
        parts = words(slug)
        length += weight * len(parts)
        for word in dict.fromkeys(parts):
            votes[word] += weight
            places[word] += weight * parts.index(word) / max(len(parts) - 1, 1)
    count = min(max(round(length), MIN_WORDS), MAX_WORDS)
    elected = sorted(votes, key=lambda word: -votes[word])[:count]
    return "-".join(sorted(elected, key=lambda word: places[word] / max(votes[word], 1e-300)))
