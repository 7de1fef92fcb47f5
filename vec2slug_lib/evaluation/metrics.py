"""Metrics of predicted slugs, one value a row, with 95 % intervals.

Predictions may be any strings, also empty; an empty one is invalid and scores 0. Words are the
parts between hyphens, stopwords included.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from ..common.errors import Vec2SlugError
from ..common.neighbours import product_blocks
from ..common.slugs import is_valid, words
from ..common.vectors import Doubles, Floats
from .intervals import Interval, diversity, summarise

# Texts to one matrix of contextual token vectors [tokens, D] each, without [CLS] and [SEP].
TokenEmbedder = Callable[[Sequence[str]], Sequence[Floats]]

Item = TypeVar("Item")

NEIGHBOURS = 5
LENGTH_EDGES = (250, 500)


def token_overlap(
    predictions: Sequence[str], references: Sequence[str]
) -> tuple[Doubles, Doubles, Doubles]:
    """Compute precision, recall and F1, each [N], of the sets of words.

    Their means are macro scores.
    """
    sets = [(set(words(p)), set(words(r))) for p, r in _pairs(predictions, references)]
    return _scores([(len(p & r), len(p), len(r)) for p, r in sets])


def micro_f1(predictions: Sequence[str], references: Sequence[str]) -> float:
    """Compute F1 of word sets over all rows together: long slugs weigh more than in macro F1."""
    sets = [(set(words(p)), set(words(r))) for p, r in _pairs(predictions, references)]
    total = sum(len(p) + len(r) for p, r in sets)
    return 2 * sum(len(p & r) for p, r in sets) / total if total else 0.0


def rouge_1(predictions: Sequence[str], references: Sequence[str]) -> Doubles:
    """Compute ROUGE-1 F1 [N]: words matched with multiplicity (Lin 2004, W04-1013)."""
    bags = [(Counter(words(p)), Counter(words(r))) for p, r in _pairs(predictions, references)]
    return _scores([((p & r).total(), p.total(), r.total()) for p, r in bags])[2]


def rouge_l(predictions: Sequence[str], references: Sequence[str]) -> Doubles:
    """Compute ROUGE-L F1 [N]: longest common subsequence of words (Lin 2004, W04-1013)."""
    lists = [(words(p), words(r)) for p, r in _pairs(predictions, references)]
    return _scores([(_common_subsequence(p, r), len(p), len(r)) for p, r in lists])[2]


def bertscore(predictions: Sequence[Floats], references: Sequence[Floats]) -> Doubles:
    """Compute BERTScore precision, recall and F1 [3, N] (Zhang et al. 2020, arXiv 1904.09675).

    Each token is matched to the most similar token of the other side by cosine; no idf weights,
    no rescaling. A row with a side without tokens scores 0.

    Args:
        predictions: per row, contextual token vectors [tokens, D].
        references: the same for the references.

    Raises:
        Vec2SlugError: the two sides differ in number of rows.
    """
    scores = np.zeros((3, len(predictions)))
    for row, (prediction, reference) in enumerate(_pairs(predictions, references)):
        if len(prediction) and len(reference):
            cosine = _unit(prediction) @ _unit(reference).T
            precision, recall = float(cosine.max(1).mean()), float(cosine.max(0).mean())
            positive = min(precision, recall) > 0  # a harmonic mean needs that
            f1 = 2 * precision * recall / (precision + recall) if positive else 0.0
            scores[:, row] = precision, recall, f1
    return scores


def distinctiveness(
    predictions: Sequence[str], vectors: Floats, k: int = NEIGHBOURS, block: int = 512
) -> Doubles:
    """Measure how far each prediction differs from those of its nearest documents.

    The Jaccard distance between the predicted word sets of a row and of its ``k`` nearest rows by
    cosine, weighted by the cosine (negative ones count 0; if all do, the mean is plain). Rows share
    neighbours, most of them of their own topic.

    Args:
        predictions: N slugs.
        vectors: document vectors [N, D] of the same rows.
        k: neighbours, among the rows given; all others if there are fewer.
        block: rows compared at a time; bounds the memory at ``block`` x N floats.

    Returns:
        Values [N] between 0 and 1.

    Raises:
        Vec2SlugError: fewer than two rows, or vectors that are not [N, D], finite and non-zero.
    """
    if len(predictions) < 2 or np.ndim(vectors) != 2 or len(vectors) != len(predictions):
        raise Vec2SlugError(
            f"expected vectors [N, D] for N >= 2 predictions, got {np.shape(vectors)} "
            f"for {len(predictions)}"
        )
    unit, k = _unit(vectors), min(k, len(predictions) - 1)
    sets = [set(words(slug)) for slug in predictions]
    values = np.zeros(len(sets))
    for begin, cosines in product_blocks(unit, unit, block, "distinctiveness"):
        rows = np.arange(len(cosines))
        cosines[rows, begin + rows] = -np.inf
        values[begin : begin + block] = _neighbour_distances(cosines, sets, begin, k)
    return values


def _neighbour_distances(cosines: Floats, sets: Sequence[set[str]], begin: int, k: int) -> Doubles:
    """Average the Jaccard distances of rows from ``begin`` on to their ``k`` nearest, by cosine."""
    nearest = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
    weights = np.maximum(np.take_along_axis(cosines, nearest, 1), 0).astype(np.float64)
    weights[weights.sum(1) == 0] = 1
    distances = [
        [_jaccard(sets[row], sets[other]) for other in others]
        for row, others in enumerate(nearest, begin)
    ]
    return np.asarray(np.average(distances, axis=1, weights=weights))


def text_metrics(predictions: Sequence[str], references: Sequence[str]) -> dict[str, Doubles]:
    """Compute every metric that needs nothing but the slugs: name to values [N].

    Raises:
        Vec2SlugError: predictions and references differ in number.
    """
    precision, recall, f1 = token_overlap(predictions, references)
    pairs = _pairs(predictions, references)
    return {
        "validity": np.array([is_valid(p) for p in predictions], float),
        "exact_match": np.array([p == r for p, r in pairs], float),
        "token_precision": precision,
        "token_recall": recall,
        "token_f1": f1,
        "rouge_1": rouge_1(predictions, references),
        "rouge_l": rouge_l(predictions, references),
        "mean_words": np.array([len(words(p)) for p in predictions], float),
    }


def row_metrics(
    predictions: Sequence[str],
    references: Sequence[str],
    vectors: Floats,
    bert: TokenEmbedder | None = None,
) -> dict[str, Doubles]:
    """Compute every metric that is a mean over rows: name to values [N].

    Args:
        predictions: N predicted slugs.
        references: N true slugs.
        vectors: document vectors [N, D] of the same rows, for distinctiveness.
        bert: contextual token vectors of texts, here slugs with spaces for hyphens so that no
            hyphen matches a hyphen; it never gets an empty text. None leaves BERTScore out.

    Raises:
        Vec2SlugError: lengths differ, there are fewer than two rows, or vectors are malformed.
    """
    rows = text_metrics(predictions, references)
    rows["distinctiveness"] = distinctiveness(predictions, vectors)
    if bert:
        names = ("bertscore_precision", "bertscore_recall", "bertscore_f1")
        rows |= zip(
            names, bertscore(_tokens(bert, predictions), _tokens(bert, references)), strict=True
        )
    return rows


def evaluate(
    predictions: Sequence[str],
    references: Sequence[str],
    vectors: Floats,
    topics: ArrayLike,
    bert: TokenEmbedder | None = None,
) -> dict[str, Interval]:
    """Compute every metric with its 95 % interval over topics, ready for JSON.

    Arguments and errors are those of `row_metrics`, with the topic of each row. Means over rows
    have the interval of `summarise`, diversity the one of `diversity`.
    """
    metrics = summarise(row_metrics(predictions, references, vectors, bert), topics)
    return {**metrics, "diversity": diversity(predictions, topics)}


def breakdown(
    rows: Mapping[str, Doubles], groups: Sequence[str], topics: ArrayLike
) -> dict[str, dict[str, Interval | int]]:
    """Compute ``count`` and every metric with its interval by group, largest group first.

    Args:
        rows: per-row metrics as `row_metrics` gives them.
        groups: the group of each row, such as its source.
        topics: the topic of each row.

    Raises:
        Vec2SlugError: rows and groups differ in number.
    """
    labels, of = np.array(groups, dtype=str), np.asarray(topics)
    if any(len(column) != len(labels) for column in rows.values()):
        raise Vec2SlugError(f"expected one group a row, got {len(labels)} groups")
    by_group: dict[str, dict[str, Interval | int]] = {}
    for label, count in Counter(groups).most_common():
        chosen = labels == label
        part = summarise({name: column[chosen] for name, column in rows.items()}, of[chosen])
        by_group[label] = {"count": count, **part}
    return by_group


def length_group(token_count: int) -> str:
    """Return the class of a document length: short below 250 tokens, medium below 500, long.

    The study names only the classes' average lengths, 151, 345 and 720; these edges fit them.
    """
    return ("short", "medium", "long")[sum(token_count >= edge for edge in LENGTH_EDGES)]


def _tokens(bert: TokenEmbedder, slugs: Sequence[str]) -> list[Floats]:
    """Embed the tokens of each slug's words; none for a slug without words."""
    texts = [" ".join(words(slug)) for slug in slugs]
    states = iter(bert([text for text in texts if text]))
    return [next(states) if text else np.zeros((0, 1), np.float32) for text in texts]


def _pairs(ours: Sequence[Item], theirs: Sequence[Item]) -> list[tuple[Item, Item]]:
    if len(ours) != len(theirs):
        raise Vec2SlugError(f"expected one reference a row, got {len(theirs)} for {len(ours)}")
    return list(zip(ours, theirs, strict=True))


def _scores(counts: Sequence[tuple[int, int, int]]) -> tuple[Doubles, Doubles, Doubles]:
    """Compute precision, recall and F1 from N counts (matched, predicted, true); 0 if undefined."""
    matched, predicted, true = np.array(counts, np.float64).reshape(-1, 3).T
    precision, recall = matched / np.maximum(predicted, 1), matched / np.maximum(true, 1)
    return precision, recall, 2 * matched / np.maximum(predicted + true, 1)


def _common_subsequence(left: Sequence[str], right: Sequence[str]) -> int:
    """Return the length of the longest common subsequence."""
    best = [0] * (len(right) + 1)
    for item in left:
        previous = best
        best = [0]
        for j, other in enumerate(right):
            best.append(previous[j] + 1 if item == other else max(best[j], previous[j + 1]))
    return best[-1]


def _jaccard(left: set[str], right: set[str]) -> float:
    """Compute the Jaccard distance of two sets; 0 between two empty ones."""
    return 1 - len(left & right) / len(left | right) if left or right else 0.0


def _unit(vectors: Floats) -> Floats:
    """Scale rows to length 1."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (np.isfinite(norms) & (norms > 0)).all():
        raise Vec2SlugError("expected finite vectors other than zero")
    return np.asarray(vectors / norms)
