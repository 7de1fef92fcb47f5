"""Slugs of pages whose text is at hand: one search and one choice, by the vector and by the text.

The search hears of the text's words (`grounding`), runs of words of the text are candidates too
(`text_words`), and a model over words (`text_model`) says how probable each of them is in the slug.
What the text lacks, the vector may still know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from operator import mul
from typing import NamedTuple

import numpy as np

from ..common.errors import Vec2SlugError
from ..common.vectors import Floats, Ints
from ..common.vocabulary import Vocabulary
from .beam_search import Beams, Candidate, Stepper, search
from .grounding import GroundedStepper, bonuses
from .mbr import (
    PAGES,
    Evidence,
    MBRConfig,
    WordProbabilities,
    embedding_similarities,
    expected_f1,
    mix,
    page_probabilities,
    rerank,
    search_settings,
)
from .settings import DecodingConfig
from .text_model import TextModel
from .text_words import TRAITS, TextWord, run_traits, runs, text_words


class _Page(NamedTuple):
    """A page's text and what is known of it before the search."""

    words: list[TextWord]
    probabilities: dict[str, float]  # of its words to be in the slug
    logits: Floats  # of the bag-of-words head, [V]
    near: WordProbabilities | None  # by the nearest known slugs


def text_search(
    stepper: Stepper,
    vectors: Floats,
    texts: Sequence[str],
    strings: Sequence[str] | Vocabulary,
    decoding: DecodingConfig,
    mbr: MBRConfig,
    evidence: Evidence,
    model: TextModel,
    progress: Callable[[int], object] | None = None,
) -> Beams:
    """Find candidates of each row by its vector and its text, as `mbr_search` by the vector.

    Args:
        stepper: the decoder.
        vectors: unit rows ``[N, D]``.
        texts: of the rows.
        strings: the vocabulary.
        decoding: settings of the search but for its width and its reward.
        mbr: settings of the choice.
        evidence: of word probabilities, and for re-ranking.
        model: of words in texts.
        progress: called with the number of rows just searched.

    Raises:
        Vec2SlugError: a decoder without a bag-of-words head, or not one text a row.
    """
    if len(texts) != len(vectors):
        raise Vec2SlugError(f"expected a text a row of {len(vectors)}, got {len(texts)}")
    fitted = replace(mbr, score_fit=model.score_fit, rerank_fit=model.rerank_fit)
    candidates: list[list[Candidate]] = []
    steps = [np.zeros(0, np.int64)]
    settings = (strings, decoding, mbr, evidence, model, progress)
    for begin in range(0, len(vectors), PAGES):
        block = slice(begin, begin + PAGES)
        found, taken = judged_candidates(stepper, vectors[block], texts[block], *settings)
        candidates += [
            rerank(page.candidates, page.worth(model.run_gains), page.cosines, fitted)
            for page in found
        ]
        steps.append(taken)
    return Beams(candidates, np.concatenate(steps))


class Judged(NamedTuple):
    """A page's candidates, and what speaks for each."""

    candidates: list[Candidate]
    expected: list[float]  # Token F1
    traits: list[tuple[float, ...]]  # of a run of words of the text; all 0 of another slug
    cosines: list[float] | None  # to the page

    def worth(self, run_gains: Sequence[float]) -> list[float]:
        """Return the Token F1 to expect, with what runs of the text's words have in advance."""
        pairs = zip(self.expected, self.traits, strict=True)
        return [f1 + sum(map(mul, run_gains, traits)) for f1, traits in pairs]


def judged_candidates(
    stepper: Stepper,
    vectors: Floats,
    texts: Sequence[str],
    strings: Sequence[str] | Vocabulary,
    decoding: DecodingConfig,
    mbr: MBRConfig,
    evidence: Evidence,
    model: TextModel,
    progress: Callable[[int], object] | None = None,
) -> tuple[list[Judged], Ints]:
    """Find candidates of a few rows, and the decoder steps of each; arguments as `text_search`."""
    if evidence.word_logits is None:
        raise Vec2SlugError("expected a bag-of-words head beside texts, got none")
    vocabulary, width = Vocabulary.of(strings), mbr.beam_width
    config = search_settings(decoding, mbr)
    pages = _read(texts, vectors, vocabulary.ids, mbr, evidence, model)
    gains = [bonuses(page.probabilities, vocabulary.ids, model.bonus) for page in pages]
    grounded = GroundedStepper(stepper, gains, width)
    beams = search(grounded, vectors, vocabulary, config, width, max(512 // width, 1), progress)
    found = [
        _judged(page, searched, vocabulary.ids, config, mbr, model)
        for page, searched in zip(pages, beams.candidates, strict=True)
    ]
    if evidence.embed:
        cosines = embedding_similarities(
            [page.candidates for page in found], vectors, evidence.embed
        )
        found = [page._replace(cosines=near) for page, near in zip(found, cosines, strict=True)]
    return found, beams.steps


def _read(
    texts: Sequence[str],
    rows: Floats,
    ids: Mapping[str, int],
    mbr: MBRConfig,
    evidence: Evidence,
    model: TextModel,
) -> list[_Page]:
    """Read some texts, and work out how probable their words are."""
    assert evidence.word_logits is not None
    near = evidence.neighbours(rows) if evidence.neighbours else [None] * len(rows)
    pages = []
    for text, logits, known in zip(texts, evidence.word_logits(rows), near, strict=True):
        words = text_words(text)
        probabilities = model.probabilities(words, logits, ids, mbr.mean_words)
        pages.append(_Page(words, probabilities, logits, known))
    return pages


def _judged(
    page: _Page,
    searched: list[Candidate],
    ids: Mapping[str, int],
    config: DecodingConfig,
    mbr: MBRConfig,
    model: TextModel,
) -> Judged:
    """Judge a page's candidates, those of the search and runs of the text."""
    by_vector = page_probabilities(searched, ids, mbr, page.logits)
    known = {word: model.elsewhere * p for word, p in by_vector.items()} | page.probabilities
    if page.near is not None:
        known = mix([(1 - mbr.neighbour_weight, known), (mbr.neighbour_weight, page.near)])
    slugs = [candidate.slug for candidate in searched]
    of_text = runs(page.words, page.probabilities, config, mbr.mean_words, model.runs)
    candidates = [*searched, *(Candidate(run, 0.0) for run in of_text if run not in slugs)]
    expected = [expected_f1(c.slug, known, mbr.mean_words) for c in candidates]
    traits = {run: run_traits(run, page.words) for run in of_text}
    none = (0.0,) * len(TRAITS)
    return Judged(candidates, expected, [traits.get(c.slug, none) for c in candidates], None)
