"""Minimum Bayes risk: of many finished slugs, the one whose expected Token F1 is highest.

A search returns the slug that the model finds most probable; what is scored is the overlap of
words (Kumar and Byrne 2004, aclanthology.org/N04-1022). The overlap to expect of a slug follows
from the chance of each of its words to be in the true slug. Three witnesses know such chances: the
candidates themselves, the decoder's word head, and the slugs of the nearest training pages.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum

import numpy as np
from numpy.typing import NDArray

from .decoding import Beams, Candidate, DecodingConfig, Stepper, search
from .errors import Vec2SlugError
from .slugs import words

Floats = NDArray[np.float32]
Chances = Mapping[str, float]  # of words to be in the true slug
BLOCK = 256  # rows whose word logits are in memory together


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

    Raises:
        Vec2SlugError: a setting is out of its range.
    """

    beam_width: int = 8
    length_reward: float = 2.0
    own: float = 0.2
    neighbours: float = 0.4
    temperature: float = 2.0
    mean_words: float = 4.6

    def __post_init__(self) -> None:
        """Refuse settings that have no meaning."""
        shares = (self.own, self.neighbours)
        if min(shares) < 0 or max(shares) > 1 or min(self.temperature, self.mean_words) <= 0:
            raise Vec2SlugError(f"expected shares within [0, 1] and positive values, got {self}")
        if self.beam_width < 1:
            raise Vec2SlugError(f"expected beam_width >= 1, got {self}")


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


def least_risk(
    candidates: Sequence[Candidate], chances: Chances, mean_words: float
) -> list[Candidate]:
    """The candidates with their expected Token F1 as score, best first; of equal ones the first.

    Args:
        candidates: finished slugs of one page.
        chances: of the words of the page's true slug.
        mean_words: words of a true slug.
    """
    scored = [Candidate(c.slug, expected_f1(c.slug, chances, mean_words)) for c in candidates]
    return sorted(scored, key=lambda candidate: -candidate.score)


def choose(
    found: Sequence[Sequence[Candidate]],
    strings: Sequence[str],
    config: RiskConfig,
    logits: Floats | None = None,
    near: Sequence[Chances] | None = None,
) -> list[list[Candidate]]:
    """Candidates of each page by expected Token F1, best first.

    Args:
        found: finished slugs of N pages with their scores in the search.
        strings: the vocabulary, V strings.
        config: shares of the witnesses.
        logits: of the word head, ``[N, V]``; without one its share is the candidates'.
        near: chances by the nearest training slugs, if there is an index.
    """
    ids = {token: i for i, token in enumerate(strings)}
    others = config.neighbours if near is not None else 0.0
    own = (1 - others) * (config.own if logits is not None else 1)
    chosen = []
    for i, candidates in enumerate(found):
        slugs = [candidate.slug for candidate in candidates]
        weights = beliefs([candidate.score for candidate in candidates], config.temperature)
        parts: list[tuple[float, Chances]] = [(own, slug_chances(slugs, weights.tolist()))]
        if logits is not None:
            known = head_chances(logits[i], ids, parts[0][1], config.mean_words)
            parts.append((1 - own - others, known))
        if near is not None:
            parts.append((others, near[i]))
        chosen.append(least_risk(candidates, mixture(parts), config.mean_words))
    return chosen


def least_risk_search(
    stepper: Stepper,
    vectors: Floats,
    strings: Sequence[str],
    decoding: DecodingConfig,
    risk: RiskConfig,
    heads: Callable[[Floats], Floats] | None = None,
    near: Callable[[Floats], Sequence[Chances]] | None = None,
    progress: Callable[[int], object] | None = None,
) -> Beams:
    """Search ``risk.beam_width`` slugs without repeated words for each row, and rank them by risk.

    Args:
        stepper: the decoder.
        vectors: unit rows ``[N, D]``.
        strings: the vocabulary, V strings.
        decoding: settings of the search but for its width and its reward.
        risk: settings of the choice.
        heads: logits ``[n, V]`` of the word head for rows ``[n, D]``, if there is one.
        near: chances by the nearest known slugs, if there is an index of them.
        progress: called with the number of rows just searched.
    """
    width, reward = risk.beam_width, risk.length_reward
    config = replace(decoding, beam_width=width, length_reward=reward, distinct_words=True)
    candidates: list[list[Candidate]] = []
    steps = [np.zeros(0, np.int64)]
    for begin in range(0, len(vectors), BLOCK):
        rows = vectors[begin : begin + BLOCK]
        found = search(stepper, rows, strings, config, width, max(512 // width, 1), progress)
        logits, chances = heads and heads(rows), near and near(rows)
        candidates += choose(found.candidates, strings, risk, logits, chances)
        steps.append(found.steps)
    return Beams(candidates, np.concatenate(steps))
