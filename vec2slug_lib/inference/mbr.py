"""Minimum Bayes risk (MBR) decoding: of many finished slugs, the one with the highest expected F1.

A search returns the slug that the model finds most probable; what is scored is the overlap of
words (Kumar and Byrne 2004, aclanthology.org/N04-1022). The Token F1 to expect of a slug follows
from the probability of each of its words to be in the true slug. There is evidence of three kinds:
the candidates themselves, the decoder's bag-of-words head, and the slugs of the nearest pages. And
candidates can be re-ranked by embedding similarity: a slug, embedded as a text of its own, should
lie near its page.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum
from typing import Any, NamedTuple

import numpy as np

from ..common.errors import Vec2SlugError
from ..common.slugs import words
from ..common.vectors import Doubles, Floats
from ..common.vocabulary import Vocabulary
from .beam_search import Beams, Candidate, Stepper, search
from .settings import DecodingConfig

WordProbabilities = Mapping[str, float]  # of words to be in the true slug
PAGES = 256  # pages whose word logits are in memory together


@dataclass(frozen=True)
class MBRConfig:
    """Weights of the evidence and fits of the scores; all values chosen on validation rows.

    Attributes:
        beam_width: candidates to choose from.
        length_reward: of the search for them; the choice leans to short ones, since a word more
            has to be right more often than half the score.
        candidate_weight: of the candidates beside the bag-of-words head, which has the rest.
        neighbour_weight: of the nearest slugs in the whole, where there is an index of them.
        temperature: of the candidates' scores; above 1 more of them count.
        mean_words: words of a true slug.
        score_fit: slope and offset that make an expected F1, which is too high, an honest score.
        rerank_fit: where there is an embedder: slope of the expected F1, slope of the slug's cosine
            to its page, offset. Both are regressions of Token F1 on validation candidates.

    Raises:
        Vec2SlugError: a setting is out of its range.
    """

    beam_width: int = 8
    length_reward: float = 2.0
    candidate_weight: float = 0.2
    neighbour_weight: float = 0.4
    temperature: float = 2.0
    mean_words: float = 4.6
    score_fit: tuple[float, float] = (0.88, -0.085)
    rerank_fit: tuple[float, float, float] = (0.69, 0.33, -0.19)

    def __post_init__(self) -> None:
        """Refuse settings that have no meaning."""
        weights = (self.candidate_weight, self.neighbour_weight)
        if min(weights) < 0 or max(weights) > 1 or min(self.temperature, self.mean_words) <= 0:
            raise Vec2SlugError(f"expected weights within [0, 1] and positive values, got {self}")
        if self.beam_width < 1:
            raise Vec2SlugError(f"expected beam_width >= 1, got {self}")

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> MBRConfig:
        """Read the settings from the key ``risk`` of ``model.json``.

        Raises:
            Vec2SlugError: a setting is out of its range.
            KeyError: a setting is missing.
        """
        return cls(**{field: content[key] for field, key in JSON_KEYS.items()})

    def to_json(self) -> dict[str, Any]:
        """Return the settings under the keys of ``model.json``."""
        return {key: getattr(self, field) for field, key in JSON_KEYS.items()}


# Fields of the configuration and their keys in files of releases, which are older than the names.
JSON_KEYS = {
    "beam_width": "beam_width",
    "length_reward": "length_reward",
    "candidate_weight": "own",
    "neighbour_weight": "neighbours",
    "temperature": "temperature",
    "mean_words": "mean_words",
    "score_fit": "plain",
    "rerank_fit": "proof",
}


class Evidence(NamedTuple):
    """Sources of word probabilities beside the candidates; each may be missing."""

    word_logits: Callable[[Floats], Floats] | None = None  # of the head: [n, V] of rows [n, D]
    neighbours: Callable[[Floats], Sequence[WordProbabilities]] | None = None  # of an index
    embed: Callable[[Sequence[str]], Floats] | None = None  # unit vectors of texts


def softmax_weights(scores: Sequence[float], temperature: float = 1.0) -> Doubles:
    """Return probabilities that fall with exp(score / temperature), and sum to 1."""
    shifted = np.exp((np.array(scores) - max(scores)) / temperature)
    return np.asarray(shifted / shifted.sum())


def slug_word_probabilities(slugs: Iterable[str], weights: Iterable[float]) -> dict[str, float]:
    """Add up, for each word, the weights of the slugs that hold it."""
    probabilities: defaultdict[str, float] = defaultdict(float)
    for slug, weight in zip(slugs, weights, strict=True):
        for word in set(words(slug)):
            probabilities[word] += weight
    return dict(probabilities)


def longest_match_tokens(word: str, ids: Mapping[str, int]) -> list[int]:
    """Cut a word into tokens, the longest first; a vocabulary holds every letter and digit."""
    tokens = []
    while word:
        end = next(end for end in range(len(word), 0, -1) if word[:end] in ids)
        tokens.append(ids[word[:end]])
        word = word[end:]
    return tokens


def head_word_probabilities(
    logits: Floats, ids: Mapping[str, int], candidates: Iterable[str], mean_words: float
) -> dict[str, float]:
    """Read word probabilities off the bag-of-words head; a word has its least likely token's.

    Args:
        logits: of the head for one page, ``[V]``.
        ids: of the tokens.
        candidates: words to look up.
        mean_words: what the probabilities of all tokens add up to.
    """
    expected = np.exp(logits - logits.max())
    expected *= mean_words / expected.sum()
    return {
        word: min(1.0, float(expected[longest_match_tokens(word, ids)].min()))
        for word in set(candidates)
    }


def mix(parts: Sequence[tuple[float, WordProbabilities]]) -> dict[str, float]:
    """Add up weighted probabilities; a word that is missing from a part has 0 there."""
    total: defaultdict[str, float] = defaultdict(float)
    for weight, probabilities in parts:
        for word, probability in probabilities.items():
            total[word] += weight * probability
    return dict(total)


def expected_f1(slug: str, probabilities: WordProbabilities, mean_words: float) -> float:
    """Return the Token F1 to expect: twice the words expected right over those of both slugs."""
    distinct = set(words(slug))
    right = fsum(probabilities.get(word, 0.0) for word in distinct)  # the same in any order
    return 2 * right / (len(distinct) + mean_words)


def expected_scores(
    pages: Sequence[Sequence[Candidate]],
    ids: Mapping[str, int],
    config: MBRConfig,
    logits: Floats | None = None,
    neighbours: Sequence[WordProbabilities] | None = None,
) -> list[list[float]]:
    """Compute the Token F1 to expect of each page's candidates.

    Args:
        pages: finished slugs of N pages with their scores in the search.
        ids: of the V tokens.
        config: weights of the evidence.
        logits: of the bag-of-words head, ``[N, V]``; without one its weight is the candidates'.
        neighbours: word probabilities by the nearest known slugs, if there is an index.
    """
    expected = []
    for i, candidates in enumerate(pages):
        head = logits[i] if logits is not None else None
        near = neighbours[i] if neighbours is not None else None
        probabilities = page_probabilities(candidates, ids, config, head, near)
        slugs = (candidate.slug for candidate in candidates)
        expected.append([expected_f1(slug, probabilities, config.mean_words) for slug in slugs])
    return expected


def page_probabilities(
    candidates: Sequence[Candidate],
    ids: Mapping[str, int],
    config: MBRConfig,
    logits: Floats | None = None,
    neighbours: WordProbabilities | None = None,
) -> dict[str, float]:
    """Return the probability of words to be in the true slug of one page, by all evidence.

    Args:
        candidates: finished slugs; the head is asked for their words alone.
        ids: of the V tokens.
        config: weights of the evidence.
        logits: of the bag-of-words head, ``[V]``.
        neighbours: word probabilities by the nearest known slugs.
    """
    others = config.neighbour_weight if neighbours is not None else 0.0
    own = (1 - others) * (config.candidate_weight if logits is not None else 1)
    weights = softmax_weights([c.score for c in candidates], config.temperature)
    voted = slug_word_probabilities([c.slug for c in candidates], weights.tolist())
    parts: list[tuple[float, WordProbabilities]] = [(own, voted)]
    if logits is not None:
        known = head_word_probabilities(logits, ids, voted, config.mean_words)
        parts.append((1 - own - others, known))
    if neighbours is not None:
        parts.append((others, neighbours))
    return mix(parts)


def embedding_similarities(
    pages: Sequence[Sequence[Candidate]], vectors: Floats, embed: Callable[[Sequence[str]], Floats]
) -> list[list[float]]:
    """Embed each page's candidates as texts, and return their cosines to the page.

    Args:
        pages: finished slugs of N pages.
        vectors: of the pages, unit rows ``[N, D]``.
        embed: unit vectors ``[M, D]`` of M texts, by the embedder of the pages.
    """
    texts = [candidate.slug.replace("-", " ") for row in pages for candidate in row]
    counts = [len(row) for row in pages]
    cosines = np.einsum("nd,nd->n", embed(texts), np.repeat(vectors, counts, axis=0))
    return [part.tolist() for part in np.split(cosines, np.cumsum(counts)[:-1])]


def rerank(
    candidates: Sequence[Candidate],
    expected: Sequence[float],
    cosines: Sequence[float] | None,
    config: MBRConfig,
) -> list[Candidate]:
    """Sort candidates by the Token F1 to expect, which becomes their score; ties keep their order.

    Args:
        candidates: finished slugs of one page.
        expected: see `expected_scores`.
        cosines: see `embedding_similarities`; None where there is no embedder.
        config: weights of the two.
    """
    if cosines is None:
        slope, offset = config.score_fit
        scores = [slope * value + offset for value in expected]
    else:
        slope, cosine, offset = config.rerank_fit
        pairs = zip(expected, cosines, strict=True)
        scores = [slope * value + cosine * similar + offset for value, similar in pairs]
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    return [Candidate(candidates[i].slug, max(scores[i], 0.0)) for i in order]


def search_settings(decoding: DecodingConfig, mbr: MBRConfig) -> DecodingConfig:
    """Return the settings of the search for candidates: sound, distinct words."""
    width, reward = mbr.beam_width, mbr.length_reward
    return replace(
        decoding, beam_width=width, length_reward=reward, distinct_words=True, sound_words=True
    )


def mbr_search(
    stepper: Stepper,
    vectors: Floats,
    strings: Sequence[str] | Vocabulary,
    decoding: DecodingConfig,
    mbr: MBRConfig,
    evidence: Evidence,
    progress: Callable[[int], object] | None = None,
) -> Beams:
    """Search ``mbr.beam_width`` slugs of sound, distinct words for each row, and re-rank them.

    Args:
        stepper: the decoder.
        vectors: unit rows ``[N, D]``.
        strings: the vocabulary, V strings, or what `Vocabulary.of` has made of them.
        decoding: settings of the search but for its width and its reward.
        mbr: settings of the choice.
        evidence: of word probabilities, and for re-ranking.
        progress: called with the number of rows just searched.
    """
    vocabulary = Vocabulary.of(strings)
    width, config = mbr.beam_width, search_settings(decoding, mbr)
    candidates: list[list[Candidate]] = []
    steps = [np.zeros(0, np.int64)]
    for begin in range(0, len(vectors), PAGES):
        rows = vectors[begin : begin + PAGES]
        beams = search(stepper, rows, vocabulary, config, width, max(512 // width, 1), progress)
        logits = evidence.word_logits and evidence.word_logits(rows)
        near = evidence.neighbours and evidence.neighbours(rows)
        expected = expected_scores(beams.candidates, vocabulary.ids, mbr, logits, near)
        cosines: Sequence[list[float] | None] = [None] * len(rows)
        if evidence.embed:
            cosines = embedding_similarities(beams.candidates, rows, evidence.embed)
        pages = zip(beams.candidates, expected, cosines, strict=True)
        candidates += [rerank(*page, mbr) for page in pages]
        steps.append(beams.steps)
    return Beams(candidates, np.concatenate(steps))
