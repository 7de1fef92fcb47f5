"""Which words of a text are in its slug: a small model over words, saved as plain arrays.

A vector blurs names that stand in the text. Each distinct word of the text is described by a few
numbers, among them what the decoder's bag-of-words head makes of it, and boosted trees (Friedman
2001, doi 10.1214/aos/1013203451) turn them into the probability that the slug has the word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..common.errors import Vec2SlugError
from ..common.files import check_file, known_hash, read_json
from ..common.slugs import STOPWORDS
from ..common.vectors import Doubles, Floats
from .mbr import head_word_probabilities
from .text_words import TextWord

FEATURES = (
    "head",  # logarithm of the probability by the bag-of-words head
    "count",  # times that it stands in the text
    "frequency",  # texts of the training pages that have it, see `frequency_code`
    "first",  # words before it
    "capitals",  # share of the times that it is written with a capital
    "capitals_inside",  # the same, where no phrase begins
    "letters",
    "stopword",
    "digits",  # whether it has nothing else
)
LEAST_PROBABILITY = 1e-7  # probability by the head, at least
FREQUENCY_CODES = 93  # of frequencies: one printable character each, from "!" on
TEXT_MODEL = "text.json"  # of a release


@dataclass(frozen=True)
class Trees:
    """T trees of depth D, each in full: node i has the nodes 2i + 1 and 2i + 2 below it."""

    feature: npt.NDArray[np.int64]  # [T, 2^D - 1]
    threshold: Doubles  # [T, 2^D - 1]; above it the way goes to the second node
    value: Doubles  # [T, 2^D] of the leaves
    base: float

    def __call__(self, features: Doubles) -> Doubles:
        """Return the probability of each of N rows of features ``[N, F]``."""
        trees, inner = np.arange(len(self.feature)), self.feature.shape[1]
        node = np.zeros((len(features), len(trees)), np.int64)
        rows = np.arange(len(features))[:, None]
        while inner and node[0, 0] < inner:
            above = features[rows, self.feature[trees, node]] > self.threshold[trees, node]
            node = 2 * node + 1 + above
        logits = self.base + self.value[trees, node - inner].sum(axis=1)
        probabilities: Doubles = 1 / (1 + np.exp(-logits))
        return probabilities


@dataclass(frozen=True)
class TextModel:
    """Word probabilities of a text, and how they go together with those of its vector.

    Attributes:
        trees: over ``FEATURES``.
        frequencies: a code for each token of the decoder, see `frequency_code`.
        elsewhere: what the vector's probability of a word is multiplied with where the text lacks
            the word.
        bonus: strength of the text's words in the search.
        runs: of words of the text, candidates beside those of the search.
        run_gains: Token F1 that such a run has in advance by each of `text_words.TRAITS`.
        score_fit: slope and offset that make an expected F1 an honest score.
        rerank_fit: where there is an embedder: slope of the expected F1, slope of the slug's cosine
            to its page, offset.
    """

    trees: Trees
    frequencies: str
    elsewhere: float
    bonus: float
    runs: int
    run_gains: tuple[float, float, float, float]
    score_fit: tuple[float, float]
    rerank_fit: tuple[float, float, float]

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> TextModel:
        """Read what `to_json` has made.

        Raises:
            Vec2SlugError: a part is missing or of another form.
        """
        try:
            if content["features"] != list(FEATURES):
                raise ValueError("features of another kind")
            slope, offset = map(float, content["score_fit"])
            of_f1, of_cosine, constant = map(float, content["rerank_fit"])
            is_run, spoken, begins, ends = map(float, content["run_gains"])
            return cls(
                _trees(content["trees"]),
                str(content["frequencies"]),
                float(content["elsewhere"]),
                float(content["bonus"]),
                int(content["runs"]),
                (is_run, spoken, begins, ends),
                (slope, offset),
                (of_f1, of_cosine, constant),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise Vec2SlugError(f"expected a model of words in texts, but: {error}") from error

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON, thresholds and values to five digits."""
        trees = self.trees
        return {
            "features": list(FEATURES),
            "trees": {
                "feature": trees.feature.tolist(),
                "threshold": _rounded(trees.threshold),
                "value": _rounded(trees.value),
                "base": trees.base,
            },
            "frequencies": self.frequencies,
            "elsewhere": self.elsewhere,
            "bonus": self.bonus,
            "runs": self.runs,
            "run_gains": list(self.run_gains),
            "score_fit": list(self.score_fit),
            "rerank_fit": list(self.rerank_fit),
        }

    def probabilities(
        self,
        words: Sequence[TextWord],
        logits: Floats,
        ids: Mapping[str, int],
        mean_words: float,
    ) -> dict[str, float]:
        """Return the probability of each distinct word of a text to be in its slug.

        Args:
            words: of the text.
            logits: of the bag-of-words head for its vector, ``[V]``.
            ids: of the decoder's tokens.
            mean_words: of a true slug.
        """
        distinct, features = describe(words, logits, ids, mean_words, self.frequencies)
        if not distinct:
            return {}
        return dict(zip(distinct, self.trees(features).tolist(), strict=True))


def load_text_model(folder: Path) -> TextModel | None:
    """Read the model of a release folder; None if it has none.

    Raises:
        Vec2SlugError: it is of another form, or not that of the manifest.
    """
    path = folder / TEXT_MODEL
    if path.is_file():
        check_file(path, known_hash(folder, path.name))
    return TextModel.from_json(read_json(path)) if path.is_file() else None


def frequency_code(texts: int) -> str:
    """Return the character that stands for so many texts: eight codes to a doubling."""
    return chr(ord("!") + min(round(8 * np.log2(1 + texts / 8)), FREQUENCY_CODES))


def describe(
    words: Sequence[TextWord],
    logits: Floats,
    ids: Mapping[str, int],
    mean_words: float,
    frequencies: str,
) -> tuple[list[str], Doubles]:
    """Compute ``FEATURES`` of the distinct words of a text, in the order in which they come.

    Args:
        words: of the text.
        logits: of the bag-of-words head, ``[V]``.
        ids: of the decoder's tokens.
        mean_words: of a true slug.
        frequencies: see `TextModel`.
    """
    found: dict[str, list[int]] = {}
    for place, (word, capital, begins) in enumerate(words):
        counts = found.setdefault(word, [0, place, 0, 0])
        counts[0] += 1
        counts[2] += capital
        counts[3] += capital and not begins
    known = head_word_probabilities(logits, ids, found, mean_words)
    rows = [
        (
            np.log(known[word] + LEAST_PROBABILITY),
            count,
            ord(frequencies[ids[word]]) - ord("!") if word in ids else 0,
            first,
            capitals / count,
            inside / count,
            len(word),
            word in STOPWORDS,
            word.isdigit(),
        )
        for word, (count, first, capitals, inside) in found.items()
    ]
    return list(found), np.array(rows, np.float64).reshape(-1, len(FEATURES))


def _trees(content: Mapping[str, Any]) -> Trees:
    """Read trees, and refuse such as are not full, or ask for features that there are not."""
    feature = np.array(content["feature"], np.int64)
    threshold, value = (np.array(content[name], np.float64) for name in ("threshold", "value"))
    if feature.ndim != 2 or feature.shape != threshold.shape:
        raise ValueError("trees without a threshold for each feature")
    count, inner = feature.shape
    if value.shape != (count, inner + 1) or not count or inner & (inner + 1):
        raise ValueError("trees that are not full")
    if feature.size and not 0 <= feature.min() <= feature.max() < len(FEATURES):
        raise ValueError("trees of unknown features")
    return Trees(feature, threshold, value, float(content["base"]))


def _rounded(values: Doubles) -> list[list[float]]:
    return [[float(f"{value:.5g}") for value in row] for row in values.tolist()]
