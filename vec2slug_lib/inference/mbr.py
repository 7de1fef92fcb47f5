"""Minimum Bayes risk: of many finished slugs, the one whose expected Token F1 is highest.

A search returns the slug that the model finds most probable; what is scored is the overlap of
words (Kumar and Byrne 2004, aclanthology.org/N04-1022). The overlap to expect of a slug follows
from the chance of each of its words to be in the true slug. Three witnesses know such chances: the
candidates themselves, the decoder's word head, and the slugs of the nearest training pages. And a
slug can be proofread: embedded as a text of its own, it should lie near its page.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..common.errors import Vec2SlugError
from ..common.slugs import words
from ..common.vectors import Floats
from ..common.vocabulary import Vocabulary
from .beam_search import Beams, Candidate, DecodingConfig, Stepper, search

Chances = Mapping[str, float]  # of words to be in the true slug
PAGES = 256  # pages whose word logits are in memory together


@dataclass(frozen=True)
class RiskConfig:
    """Who is asked for the chance of a word, and how slugs are weighed; chosen on validation rows.

    Attributes:
        beam_width: candidates to choose from.
        length_reward: of the search for them; the choice leans to short ones, since a word more
            has to be right more often than half the score.
        own: share of the candidates in what the model says of a word; the word head has the rest.
        neighbours: share of the nearest slugs in the whole, where there is an index of them.
        temperature: of the candidates' scores; above 1 it listens to more of them.
        mean_words: words of a true slug.
        plain: slope and offset that make an expectation, which is too bright, an honest score.
        proof: where the slugs can be read with the embedder of the pages: weight of the
            expectation, weight of the slug's cosine to its page, offset. Both are regressions of
            Token F1 on the candidates of validation rows.

    Raises:
        Vec2SlugError: a setting is out of its range.
    """

    beam_width: int = 8
    length_reward: float = 2.0
    own: float = 0.2
    neighbours: float = 0.4
    temperature: float = 2.0
    mean_words: float = 4.6
    plain: tuple[float, float] = (0.88, -0.085)
    proof: tuple[float, float, float] = (0.69, 0.33, -0.19)

    def __post_init__(self) -> None:
        """Refuse settings that have no meaning."""
        shares = (self.own, self.neighbours)
        if min(shares) < 0 or max(shares) > 1 or min(self.temperature, self.mean_words) <= 0:
            raise Vec2SlugError(f"expected shares within [0, 1] and positive values, got {self}")
        if self.beam_width < 1:
            raise Vec2SlugError(f"expected beam_width >= 1, got {self}")


class Witnesses(NamedTuple):
    """Who is asked beside the candidates; each may be missing."""

    heads: Callable[[Floats], Floats] | None = None  # word head: logits [n, V] of rows [n, D]
    near: Callable[[Floats], Sequence[Chances]] | None = None  # the nearest known slugs
    read: Callable[[Sequence[str]], Floats] | None = None  # the pages' embedder: texts to vectors


def beliefs(scores: Sequence[float], temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities that fall with exp(score / temperature), and sum to 1."""
    shifted = np.exp((np.array(scores) - max(scores)) / temperature)
    return np.asarray(shifted / shifted.sum())


def slug_chances(slugs: Iterable[str], weights: Iterable[float]) -> dict[str, float]:
    """Share of the weight of the slugs that hold a word, for each of their words."""
    chances: defaultdict[str, float] = defaultdict(float)
    for slug, weight in zip(slugs, weights, strict=True):
        for word in set(words(slug)):
            chances[word] += weight
    return dict(chances)


def pieces(word: str, ids: Mapping[str, int]) -> list[int]:
    """Tokens of a word, the longest that fits first; a vocabulary holds every letter and digit."""
    found = []
    while word:
        end = next(end for end in range(len(word), 0, -1) if word[:end] in ids)
        found.append(ids[word[:end]])
        word = word[end:]
    return found


def head_chances(
    logits: Floats, ids: Mapping[str, int], found: Iterable[str], mean_words: float
) -> dict[str, float]:
    """Chances by the word head: of a word of several subwords, that of the unlikeliest.

    Args:
        logits: of the word head for one page, ``[V]``.
        ids: of the tokens.
        found: words to look up.
        mean_words: number of words that the probabilities are shared out to.
    """
    share = np.exp(logits - logits.max())
    share *= mean_words / share.sum()
    return {word: min(1.0, float(share[pieces(word, ids)].min())) for word in set(found)}


def mixture(parts: Sequence[tuple[float, Chances]]) -> dict[str, float]:
    """Weighted sum of chances; a word that a witness does not know has chance 0 there."""
    total: defaultdict[str, float] = defaultdict(float)
    for share, chances in parts:
        for word, chance in chances.items():
            total[word] += share * chance
    return dict(total)


def expected_f1(slug: str, chances: Chances, mean_words: float) -> float:
    """Token F1 to expect: twice the words expected to be right over the words of both slugs."""
    found = set(words(slug))
    right = fsum(chances.get(word, 0.0) for word in found)  # the same in any order of words
    return 2 * right / (len(found) + mean_words)


def expectations(
    found: Sequence[Sequence[Candidate]],
    ids: Mapping[str, int],
    config: RiskConfig,
    logits: Floats | None = None,
    near: Sequence[Chances] | None = None,
) -> list[list[float]]:
    """Token F1 to expect of each page's candidates by the chances of their words.

    Args:
        found: finished slugs of N pages with their scores in the search.
        ids: of the V tokens.
        config: shares of the witnesses.
        logits: of the word head, ``[N, V]``; without one its share is the candidates'.
        near: chances by the nearest training slugs, if there is an index.
    """
    others = config.neighbours if near is not None else 0.0
    own = (1 - others) * (config.own if logits is not None else 1)
    expected = []
    for i, candidates in enumerate(found):
        slugs = [candidate.slug for candidate in candidates]
        weights = beliefs([candidate.score for candidate in candidates], config.temperature)
        parts: list[tuple[float, Chances]] = [(own, slug_chances(slugs, weights.tolist()))]
        if logits is not None:
            known = head_chances(logits[i], ids, parts[0][1], config.mean_words)
            parts.append((1 - own - others, known))
        if near is not None:
            parts.append((others, near[i]))
        chances = mixture(parts)
        expected.append([expected_f1(slug, chances, config.mean_words) for slug in slugs])
    return expected


def proofread(
    found: Sequence[Sequence[Candidate]], vectors: Floats, read: Callable[[Sequence[str]], Floats]
) -> list[list[float]]:
    """Cosine of each page's candidates, as texts of their own, to the page.

    Args:
        found: finished slugs of N pages.
        vectors: of the pages, unit rows ``[N, D]``.
        read: unit vectors ``[M, D]`` of M texts, by the embedder of the pages.
    """
    texts = [candidate.slug.replace("-", " ") for row in found for candidate in row]
    counts = [len(row) for row in found]
    cosines = np.einsum("nd,nd->n", read(texts), np.repeat(vectors, counts, axis=0))
    return [part.tolist() for part in np.split(cosines, np.cumsum(counts)[:-1])]


def rank(
    candidates: Sequence[Candidate],
    expected: Sequence[float],
    cosines: Sequence[float] | None,
    config: RiskConfig,
) -> list[Candidate]:
    """The candidates with the Token F1 to expect as score, best first; of equal ones the first.

    Args:
        candidates: finished slugs of one page.
        expected: see `expectations`.
        cosines: see `proofread`; None where there is no embedder.
        config: weights of the two.
    """
    if cosines is None:
        slope, offset = config.plain
        scores = [slope * value + offset for value in expected]
    else:
        slope, cosine, offset = config.proof
        pairs = zip(expected, cosines, strict=True)
        scores = [slope * value + cosine * similar + offset for value, similar in pairs]
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    return [Candidate(candidates[i].slug, max(scores[i], 0.0)) for i in order]


def least_risk_search(
    stepper: Stepper,
    vectors: Floats,
    strings: Sequence[str] | Vocabulary,
    decoding: DecodingConfig,
    risk: RiskConfig,
    witnesses: Witnesses,
    progress: Callable[[int], object] | None = None,
) -> Beams:
    """Search ``risk.beam_width`` slugs without repeated words for each row, and rank them by risk.

    Args:
        stepper: the decoder.
        vectors: unit rows ``[N, D]``.
        strings: the vocabulary, V strings, or what `Vocabulary.of` has made of them.
        decoding: settings of the search but for its width and its reward.
        risk: settings of the choice.
        witnesses: whom to ask.
        progress: called with the number of rows just searched.
    """
    vocabulary = Vocabulary.of(strings)
    width, reward = risk.beam_width, risk.length_reward
    config = replace(decoding, beam_width=width, length_reward=reward, distinct_words=True)
    candidates: list[list[Candidate]] = []
    steps = [np.zeros(0, np.int64)]
    for begin in range(0, len(vectors), PAGES):
        rows = vectors[begin : begin + PAGES]
        found = search(stepper, rows, vocabulary, config, width, max(512 // width, 1), progress)
        logits = witnesses.heads and witnesses.heads(rows)
        near = witnesses.near and witnesses.near(rows)
        expected = expectations(found.candidates, vocabulary.ids, risk, logits, near)
        cosines: Sequence[list[float] | None] = [None] * len(rows)
        if witnesses.read:
            cosines = proofread(found.candidates, rows, witnesses.read)
        candidates += [
            rank(row, expected[i], cosines[i], risk) for i, row in enumerate(found.candidates)
        ]
        steps.append(found.steps)
    return Beams(candidates, np.concatenate(steps))
