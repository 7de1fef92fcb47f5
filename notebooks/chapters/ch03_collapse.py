"""Why a bag-of-words classifier says the same of every page: its outputs taken apart, in numpy.

Scores are one for each of k clusters of words, N rows at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from chapters.ch03_order import pairwise_order, position_order
from vec2slug_lib.common.slugs import MAX_WORDS, MIN_WORDS, words
from vec2slug_lib.common.vectors import Bools, Doubles, Floats, Ints
from vec2slug_lib.evaluation import intervals, metrics
from vec2slug_lib.evaluation.intervals import Interval
from vec2slug_lib.experiments.word_clusters import map_slug
from vec2slug_lib.model.mlp import Clusters, Outputs, WordLists, cut, spell, top
from vec2slug_lib.training.mlp_objective import base_rates

RANKS = (1, 10, 100, 1000, 4000)  # of clusters by frequency, whose gradients are shown
BANDS = (10, 100, 1000)  # last ranks of the frequency bands; one more takes the rest


def multi_hot(clusters: Clusters, size: int) -> Bools:
    """Mark the clusters of each row, [N, size]: for thousands of rows, not for a training set."""
    hot = np.zeros((len(clusters), size), dtype=bool)
    for row, ids in zip(hot, clusters, strict=True):
        row[list(ids)] = True
    return hot


def cluster_ids(
    slugs: Sequence[str], mapping: Mapping[str, str], index: Mapping[str, int]
) -> list[list[int]]:
    """Return the clusters of each slug's words, in the slug's order.

    Args:
        slugs: N slugs.
        mapping: every word of theirs, and the word that stands for it.
        index: number of each of the words that stand for others.
    """
    return [[index[word] for word in words(map_slug(slug, mapping))] for slug in slugs]


def constant_losses(train: Clusters, val: Clusters, size: int) -> tuple[float, float]:
    """Compute the validation losses of a model that ignores the page, in nats.

    It always answers with the frequency in training of each length and each of ``size`` clusters.

    Returns:
        Cross-entropy of the length, and binary cross-entropy of the words, a mean over clusters.
    """
    counts = [[len(ids) for ids in rows] for rows in (train, val)]
    p, q = (np.bincount(rows, minlength=MAX_WORDS + 1)[MIN_WORDS:] / len(rows) for rows in counts)
    length_loss = -(q * np.log(np.clip(p, 1e-6, 1))).sum()
    p, q = (base_rates(rows, size).astype(float) for rows in (train, val))
    return float(length_loss), float(-(q * np.log(p) + (1 - q) * np.log1p(-p)).mean())


def by_frequency(clusters: Clusters, names: Sequence[str]) -> list[str]:
    """Rank the words of k clusters by how many slugs have them, the most frequent first."""
    return [names[i] for i in np.argsort(-base_rates(clusters, len(names)), kind="stable")]


def constant_f1(slug: str, references: Sequence[str]) -> Doubles:
    """Compute the Token F1 of one slug for every row, [N]."""
    return metrics.token_overlap([slug] * len(references), references)[2]


def best_constant(ranked: Sequence[str], references: Sequence[str]) -> str:
    """Return the one slug that does best on all rows: the most frequent words, from 3 to 8.

    Args:
        ranked: words by descending frequency.
        references: true slugs of the rows.
    """
    tried = ["-".join(ranked[:n]) for n in range(MIN_WORDS, MAX_WORDS + 1)]
    return max(tried, key=lambda slug: float(constant_f1(slug, references).mean()))


def gain_over_constant(predictions: pd.DataFrame, slug: str) -> Interval:
    """Compare predictions with one slug for every row, by Token F1.

    Args:
        predictions: columns slug, topic and prediction, a row a page.
        slug: said of every page.
    """
    references = predictions["slug"].tolist()
    ours = metrics.token_overlap(predictions["prediction"].tolist(), references)[2]
    theirs = {"token_f1": constant_f1(slug, references)}
    return intervals.compare({"token_f1": ours}, theirs, predictions["topic"])["token_f1"]


def collapse(diversity: Interval, favourites: Sequence[tuple[str, int]], rows: int) -> str:
    """Say whether a model collapses: ``yes``, ``no`` or ``undecided``.

    Two criteria must both hold: fewer than one slug in ten is distinct, by the whole of the
    interval, and the three most frequent slugs serve more than one row in ten. An interval that
    holds one in ten, or that knows no ends, decides nothing.

    Args:
        diversity: distinct slugs divided by all.
        favourites: the most frequent slugs with their counts, three or more.
        rows: number of all slugs.
    """
    if sum(n for _, n in favourites[:3]) <= 0.1 * rows or diversity["low"] >= 0.1:
        return "no"
    return "yes" if diversity["high"] < 0.1 else "undecided"


def log_odds(rates: Floats) -> Floats:
    """Compute the natural logarithm of p / (1 - p)."""
    return np.asarray(np.log(rates) - np.log1p(-rates))


def sigmoid(logits: Floats) -> Floats:
    """Compute the probabilities of logits."""
    return np.asarray(1 / (1 + np.exp(-logits.clip(-80, 80))))


def set_f1(ids: Ints, counts: Ints, wanted: Bools) -> float:
    """Compute macro F1 of the first ``counts`` [N] of ``ids`` [N, 8] against ``wanted`` [N, k]."""
    hits = np.take_along_axis(wanted, ids, 1) & (np.arange(ids.shape[1]) < counts[:, None])
    return float((2 * hits.sum(1) / (counts + wanted.sum(1))).mean())


def above(scores: Floats, threshold: float) -> Ints:
    """Count the clusters of each row of ``scores`` [N, k] above the threshold, from 3 to 8."""
    return np.asarray((scores > threshold).sum(1).clip(MIN_WORDS, MAX_WORDS))


def tune_threshold(scores: Floats, wanted: Bools) -> float:
    """Find the threshold of best set F1, of 41 quantiles of all rows' eight highest scores."""
    ids = top(scores)
    best = np.take_along_axis(scores, ids, 1)
    tried = np.quantile(best, np.linspace(0, 1, 41)).tolist()
    return float(max(tried, key=lambda t: set_f1(ids, above(best, t), wanted)))


def logit_adjustment(scores: Floats, rates: Floats, strength: float) -> Floats:
    """Take a share of the base rates' log odds off logits [N, k]: what is left is the page's."""
    return np.asarray(scores - np.float32(strength) * log_odds(rates))


def tune_logit_adjustment(
    scores: Floats, counts: Ints, rates: Floats, wanted: Bools
) -> list[list[float]]:
    """Measure each strength of `logit_adjustment`: ``[strength, set F1]``, best first."""
    tried = np.linspace(0, 1, 11).tolist()
    curve = [[a, set_f1(top(logit_adjustment(scores, rates, a)), counts, wanted)] for a in tried]
    return sorted(curve, key=lambda point: -point[1])


def rules(
    val: Outputs,
    test: Outputs,
    rates: Floats,
    wanted: Bools,
    names: Sequence[str],
    references: Sequence[str],
    topics: ArrayLike,
) -> dict[str, Any]:
    """Compare three decision rules on the test rows, by metrics and the gain in Token F1.

    Gains are over ``top``, the study's rule. ``threshold`` and ``lift``, which is logit adjustment,
    have a ``setting`` tuned on validation; ``lift_curve`` shows how.

    Args:
        val: outputs for the validation rows.
        test: outputs for the test rows.
        rates: base rates [k].
        wanted: true clusters of the validation rows.
        names: word of each cluster.
        references: true slugs of the test rows.
        topics: the topic of each test row.
    """
    threshold = tune_threshold(val.tokens, wanted)
    curve = tune_logit_adjustment(val.tokens, val.counts, rates, wanted)
    strength = curve[0][0]
    ids, lifted = top(test.tokens), top(logit_adjustment(test.tokens, rates, strength))
    chosen = {
        "top": (None, cut(ids, test.counts)),
        "threshold": (threshold, cut(ids, above(test.tokens, threshold))),
        "lift": (strength, cut(lifted, test.counts)),
    }
    usual = row_scores(spell(chosen["top"][1], names), references)
    results = {
        name: {"setting": setting, **rule_scores(spell(lists, names), references, usual, topics)}
        for name, (setting, lists) in chosen.items()
    }
    return {"lift_curve": sorted(curve), **results}


def rule_scores(
    slugs: Sequence[str],
    references: Sequence[str],
    usual: Mapping[str, Doubles],
    topics: ArrayLike,
) -> dict[str, Any]:
    """Compute what a rule's slugs score, against what ``usual`` does, as `row_scores` has it."""
    rows = row_scores(slugs, references)
    measured = {"token_f1": rows["token_f1"], "mean_words": rows["words"]}
    return {
        **intervals.summarise(measured, topics),
        "gain": intervals.compare(rows, usual, topics)["token_f1"],
        "diversity": intervals.diversity(slugs, topics),
        "outputs": most_frequent(slugs),
    }


def separation(scores: Floats, wanted: Bools) -> Floats:
    """Compute each cluster's AUC over the rows, [k]: 0.5 is chance; NaN if all or none have it."""
    auc = np.full(scores.shape[1], np.nan, np.float32)
    for i in np.flatnonzero(wanted.any(0) & ~wanted.all(0)):
        column, has = scores[:, i], wanted[:, i]
        others = np.sort(column[~has])
        below = [np.searchsorted(others, column[has], side) for side in ("left", "right")]
        auc[i] = np.mean(below) / len(others)
    return auc


def by_band(values: Floats, rates: Floats) -> list[dict[str, float]]:
    """Average ``values`` [k], NaN left out, over bands of clusters by frequency."""
    ranked = np.argsort(-rates, kind="stable")
    edges = [0, *[edge for edge in BANDS if edge < len(rates)], len(rates)]
    bands = []
    for low, high in pairwise(edges):
        known = values[ranked[low:high]]
        known = known[~np.isnan(known)]
        if len(known):
            bands.append({"first": low + 1, "last": high, "mean": float(known.mean())})
    return bands


def variation(logits: Floats, wanted: Bools, rates: Floats) -> dict[str, Any]:
    """Measure how far logits [N, k] follow the page, and how far only the cluster's frequency.

    Returns:
        ``within``: standard deviation of a cluster's logit over rows, mean over clusters, where
        each row's mean logit is taken off, as it does not change the row's choice; ``between``:
        standard deviation over clusters of the mean logit; ``correlation``: of the logarithms of
        mean predicted probability and base rate, 0 if either is constant; ``auc``: mean AUC by
        frequency.
    """
    base, mean = np.log(rates), np.log(sigmoid(logits).mean(0) + 1e-12)
    varied = min(np.ptp(base), np.ptp(mean)) > 0
    return {
        "within": float((logits - logits.mean(1, keepdims=True)).std(0).mean()),
        "between": float(logits.mean(0).std()),
        "correlation": float(np.corrcoef(base, mean)[0, 1]) if varied else 0.0,
        "auc": by_band(separation(logits, wanted), rates),
    }


def pulls(logits: Floats, wanted: Bools, rates: Floats, names: Sequence[str]) -> dict[str, Any]:
    """Average ``|p - y|``, the gradient of BCE on a cluster's logit, for common and rare clusters.

    ``collapsed`` is what constant outputs at the base rates would feel, ``trained`` what ``logits``
    [N, k] do; each is a mean over the clusters within a tenth of the rank. ``top_share`` is the
    share of the sum over all clusters that the most frequent 1 % take.
    """
    ranked = np.argsort(-rates, kind="stable")
    felt = {
        "collapsed": np.abs(rates - wanted).mean(0)[ranked],
        "trained": np.abs(sigmoid(logits) - wanted).mean(0)[ranked],
    }
    first = max(len(rates) // 100, 1)
    rows = []
    for rank in RANKS:
        near = slice(round(0.9 * rank + 0.1) - 1, round(1.1 * rank))
        if rank <= len(rates):
            means = {name: float(values[near].mean()) for name, values in felt.items()}
            rate = float(rates[ranked[near]].mean())
            rows.append({"rank": rank, "word": names[ranked[rank - 1]], "base_rate": rate, **means})
    shares = {name: float(v[:first].sum() / max(v.sum(), 1e-12)) for name, v in felt.items()}
    return {"ranks": rows, "top_share": shares, "top_clusters": first}


def most_frequent(slugs: Sequence[str], count: int = 10) -> dict[str, Any]:
    """Return the most frequent slugs with their counts, and the number of distinct ones."""
    counts = Counter(slugs)
    return {"distinct": len(counts), "rows": len(slugs), "most": counts.most_common(count)}


def orders(
    lists: WordLists,
    hidden: Floats,
    train: tuple[Clusters, Floats],
    names: Sequence[str],
    references: Sequence[str],
    topics: ArrayLike,
) -> dict[str, Any]:
    """Compare three orders of the same word sets, by metrics and gains over descending score.

    ROUGE-1 is the ceiling of ROUGE-L: what the best order of these words would reach.

    Args:
        lists: N word sets by descending score.
        hidden: hidden layer of the same rows, [N, d].
        train: clusters of the training slugs, and the hidden layer of the training rows.
        names: word of each cluster.
        references: N true slugs.
        topics: the topic of each row.
    """
    ordered = {
        "score": lists,
        "position": position_order(lists, hidden, *train),
        "pairwise": pairwise_order(lists, train[0]),
    }
    per_row = {name: row_scores(spell(ids, names), references) for name, ids in ordered.items()}
    gains = {
        name: intervals.compare(per_row[name], per_row["score"], topics)
        for name in list(ordered)[1:]
    }
    best = {"rouge_l": metrics.rouge_1(spell(lists, names), references)}
    measured = {name: intervals.summarise(rows, topics) for name, rows in per_row.items()}
    return {**measured, "best": intervals.summarise(best, topics), "gains": gains}


def row_scores(slugs: Sequence[str], references: Sequence[str]) -> dict[str, Doubles]:
    """Compute Token F1, ROUGE-L, exact match and number of words of each slug, [N] each."""
    return {
        "token_f1": metrics.token_overlap(slugs, references)[2],
        "rouge_l": metrics.rouge_l(slugs, references),
        "exact_match": np.array([a == b for a, b in zip(slugs, references, strict=True)], float),
        "words": np.array([len(words(slug)) for slug in slugs], float),
    }
