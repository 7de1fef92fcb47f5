"""Slugs without a trained model: what a decoder has to beat on the same rows.

All but the last two see what the model sees: vectors and training slugs, and some the embedder, as
the model does that has its candidates re-ranked. The last two see the title or the text, which the
model never does. Nothing here keeps a text.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ..common.errors import Vec2SlugError
from ..common.neighbours import neighbours, product_blocks, similarity_weights
from ..common.slugs import MAX_WORDS, MIN_WORDS, words
from ..common.vectors import Floats
from ..inference.beam_search import Candidate
from ..inference.mbr import embedding_similarities, expected_f1

# All chosen on validation rows; a vote falls with distance as the cosine to this power.
NEIGHBOURS, SHARPNESS = 40, 4
WORD_NEIGHBOURS, WORD_WEIGHT = 100, 0.3  # of the vote with words' own vectors
NEAREST_WORDS = 4
RERANK_WEIGHT = 0.5  # of a slug's cosine to its page, beside the Token F1 to expect by the vote

Embed = Callable[[Sequence[str]], Floats]  # unit vectors [M, D] of M texts


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
    tallies = (Tally.of(*near) for near in neighbours(train_vectors, train_slugs, queries, k))
    return [tally.slug(rank_words(tally.votes)[: tally.count]) for tally in tallies]


@dataclass(frozen=True)
class WordVectors:
    """Words, each embedded alone."""

    words: Sequence[str]  # W distinct ones
    vectors: Floats  # unit rows [W, D]

    @property
    def places(self) -> dict[str, int]:
        """The row of each word."""
        return {word: i for i, word in enumerate(self.words)}


def word_vote(
    train_vectors: Floats,
    train_slugs: Sequence[str],
    queries: Floats,
    known: WordVectors,
    embed: Embed | None = None,
) -> list[str]:
    """Elect words as `knn_vote`, each with a bonus for its own vector's cosine to the row.

    The best system that we know without training. With ``embed``, it is re-ranked: eight slugs at
    most, which differ in length or in their last words, are embedded as texts, and the one that is
    best by the Token F1 to expect and by its cosine to the row is chosen.

    Args:
        train_vectors: float32 [T, D], unit rows.
        train_slugs: their T slugs.
        queries: float32 [N, D], unit rows.
        known: vectors of all words of the training slugs.
        embed: vectors of texts, by the embedder of the rows.

    Raises:
        Vec2SlugError: shapes do not fit together, or there is no training row.
    """
    rows, pages, expected = known.places, [], []
    near = neighbours(train_vectors, train_slugs, queries, WORD_NEIGHBOURS)
    for query, (slugs, cosines) in zip(queries, near, strict=True):
        tally = Tally.of(slugs, cosines)
        own = known.vectors[[rows[word] for word in tally.votes]] @ query
        bonus = dict(zip(tally.votes, (WORD_WEIGHT * own).tolist(), strict=True))
        ranked = rank_words({word: votes + bonus[word] for word, votes in tally.votes.items()})
        pages.append(tally.candidates(ranked) if embed else [tally.slug(ranked[: tally.count])])
        expected.append([expected_f1(slug, tally.votes, tally.length) for slug in pages[-1]])
    return _best(pages, expected, queries, embed)


def nearest_words(queries: Floats, known: WordVectors, embed: Embed | None = None) -> list[str]:
    """Return the four words whose own vectors are nearest to each row, the nearest first.

    With ``embed``, it is re-ranked: of the three nearest words, the five nearest and all choices of
    four of these, the slug whose vector as a text is nearest to the row.

    Args:
        queries: float32 [N, D], unit rows.
        known: vectors of all words of the training slugs.
        embed: vectors of texts, by the embedder of the rows.
    """
    count = min(NEAREST_WORDS + 1, len(known.words))
    nearest = [
        [[known.words[i] for i in row] for row in np.argsort(-cosines, axis=1)[:, :count].tolist()]
        for _, cosines in product_blocks(queries, known.vectors, 512, "nearest words")
    ]
    ranked = [row for block in nearest for row in block]
    pages = [_choices(row) if embed else ["-".join(row[:NEAREST_WORDS])] for row in ranked]
    return _best(pages, [[0.0] * len(row) for row in pages], queries, embed)


@dataclass(frozen=True)
class Tally:
    """What the neighbours' slugs say of each word."""

    votes: Mapping[str, float]  # their shares are the chance that a neighbour's slug holds it
    places: Mapping[str, float]  # mean place in them, from 0 (first word) to 1 (last)
    length: float  # words of a slug, on weighted average

    @classmethod
    def of(cls, slugs: Sequence[str], cosines: Floats) -> Tally:
        """Count the votes of ``slugs``, nearest first, with their ``cosines``."""
        votes: defaultdict[str, float] = defaultdict(float)
        places: defaultdict[str, float] = defaultdict(float)
        length = 0.0
        for slug, weight in zip(slugs, similarity_weights(cosines, SHARPNESS), strict=True):
            parts = words(slug)
            length += weight * len(parts)
            for word in dict.fromkeys(parts):
                votes[word] += weight
                places[word] += weight * parts.index(word) / max(len(parts) - 1, 1)
        means = {word: place / max(votes[word], 1e-300) for word, place in places.items()}
        return cls(votes, means, length)

    @property
    def count(self) -> int:
        """Words of the slug to elect."""
        return min(max(round(self.length), MIN_WORDS), MAX_WORDS)

    def slug(self, elected: Sequence[str]) -> str:
        """Join words in the order that they have in the neighbours' slugs."""
        return "-".join(sorted(elected, key=lambda word: self.places[word]))

    def candidates(self, ranked: Sequence[str]) -> list[str]:
        """Return up to eight slugs: others in the last places, a word less, a word more."""
        n = self.count
        head, last, spare = ranked[: n - 2], ranked[n - 2 : n], ranked[n : n + 3]
        choices: list[Sequence[str]] = [
            [*head, *last],
            *([*head, *last[:1], word] for word in spare),
        ]
        choices += [ranked[:size] for size in (n - 1, n + 1) if MIN_WORDS <= size <= MAX_WORDS]
        choices += [[*head, *spare[:2]], [*head, *last[1:], *spare[:1]]]
        enough = [choices[0], *(choice for choice in choices if len(choice) >= MIN_WORDS)]
        return list(dict.fromkeys(map(self.slug, enough)))


def rank_words(scores: Mapping[str, float]) -> list[str]:
    """Sort words by a score, the best first; ties go to the word met first."""
    return sorted(scores, key=lambda word: -scores[word])


def _choices(ranked: Sequence[str]) -> list[str]:
    """Return the slugs of three, of all and of any four of the nearest words, in their order."""
    choices = [ranked[: NEAREST_WORDS - 1], ranked, *combinations(ranked, NEAREST_WORDS)]
    return ["-".join(choice) for choice in choices]


def _best(
    pages: Sequence[Sequence[str]],
    expected: Sequence[Sequence[float]],
    queries: Floats,
    embed: Embed | None,
) -> list[str]:
    """Choose a slug of each page's candidates: the first, or the best of the re-ranked ones."""
    if embed is None:
        return [candidates[0] for candidates in pages]
    texts = [[Candidate(slug, 0.0) for slug in candidates] for candidates in pages]
    similar = embedding_similarities(texts, queries, embed)
    scores = [
        np.add(e, RERANK_WEIGHT * np.array(s)) for e, s in zip(expected, similar, strict=True)
    ]
    return [row[int(score.argmax())] for row, score in zip(pages, scores, strict=True)]
