"""One trained run decoded in other ways: the table of decoding variants, and their records.

A record is ``<run>/decoding/<variant>.json``: metrics with intervals, the paired difference to the
project's decoding on the same rows, decoder steps and seconds, and sums by topic, from which any
two variants are compared. `stopping_trace` keeps one search.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from tqdm import tqdm

from ..common.errors import Vec2SlugError
from ..common.slugs import MAX_WORDS, MIN_WORDS, STOPWORDS, words
from ..common.vectors import Doubles, Ints
from ..data.dataset import Dataset
from ..embedding.registry import open_embedder
from ..evaluation import intervals, metrics
from ..evaluation.records import Run, read_or_make
from ..inference.beam_search import Beams, Candidate, search
from ..inference.index import Index
from ..inference.mbr import MBRConfig
from ..inference.settings import DecodingConfig
from ..model.decoder import Decoder
from ..model.merged_hyphens import stepper_for
from .run import record
from .score import load_model, mbr_slugs
from .table import find
from .task import run_data

EXAMPLES = 8  # changed slugs kept in a record


@dataclass(frozen=True)
class Variant:
    """A decoding variant: what differs from the project's decoding."""

    label: str
    changes: Mapping[str, Any] = field(default_factory=dict)  # fields of DecodingConfig
    extra_words: int = 0  # at least so many words more than the run's own slug has
    mbr: MBRConfig | None = None  # MBR decoding instead of the best scored slug
    index: bool = False  # with the nearest training slugs as evidence
    rerank: bool = False  # with candidates re-ranked by embedding similarity


VARIANTS = {
    "project": Variant("the search alone, as for the study's models"),
    # Diagnostics of short slugs, as in the study.
    "greedy": Variant(
        "greedy, no length reward", {"beam_width": 1, "length_reward": 0.0, "stopping": "first_k"}
    ),
    "beam-1": Variant("beam width 1", {"beam_width": 1}),
    "beam-8": Variant("beam width 8", {"beam_width": 8}),
    "beam-16": Variant("beam width 16", {"beam_width": 16}),
    "reward-0": Variant("no length reward", {"length_reward": 0.0}),
    "reward-3": Variant("length reward doubled", {"length_reward": 3.0}),
    "words+1": Variant("one word more forced", extra_words=1),
    "words+2": Variant("two words more forced", extra_words=2),
    # Stopping rules.
    "first-k": Variant("stop when k slugs are finished", {"stopping": "first_k"}),
    "exhaustive": Variant("never stop early", {"stopping": "exhaustive"}),
    # Constraints, each left out alone.
    "no-minimum": Variant("no minimum of words and tokens", {"min_words": 1, "min_tokens": 1}),
    "stopword-end": Variant("may end after a stopword", {"suppress_eos_after_stopword": False}),
    "no-trailing-penalty": Variant(
        "no penalty for a last stopword", {"trailing_stopword_penalty": 0.0}
    ),
    # Each of these two hides what the other prevents.
    "no-stopword-rules": Variant(
        "neither rule on a last stopword",
        {"suppress_eos_after_stopword": False, "trailing_stopword_penalty": 0.0},
    ),
    "no-repeat-penalty": Variant("no penalty for a repeated word", {"repeat_penalty": 0.0}),
    "no-reward-cap": Variant("length reward without a cap", {"reward_cap": MAX_WORDS}),
    # MBR decoding, and by which evidence.
    "mbr": Variant("minimum Bayes risk of 8 slugs, re-ranked", mbr=MBRConfig(), rerank=True),
    "mbr-plain": Variant("minimum Bayes risk, not re-ranked", mbr=MBRConfig()),
    "mbr-candidates": Variant(
        "minimum Bayes risk, by the candidates alone", mbr=MBRConfig(candidate_weight=1)
    ),
    "mbr-index": Variant(
        "re-ranked, with the nearest training slugs as evidence",
        mbr=MBRConfig(),
        index=True,
        rerank=True,
    ),
}


def decoding_record(
    experiment: str, variant: str, preset: str = "book", remake: bool = False
) -> dict[str, Any]:
    """Read the record of a run under a decoding variant, or make it.

    A record of other predictions than the run's present ones is made anew.

    Returns:
        ``config`` (the changes), ``metrics`` and ``difference`` (name to interval; the difference
        is to the project's decoding, paired), ``lower_scores`` (share of rows whose best score is
        below the project's; it says something only where the score itself is unchanged), ``words``
        (slugs by number of words, index 0 to 8), ``defects``, ``changed`` (share of rows with
        another slug) and ``examples`` of them, ``steps`` (decoder steps a slug, mean),
        ``step_counts`` (slugs by number of steps), ``by_topic`` (``rows``, ``steps`` and each text
        metric, added up over the rows of each topic), ``seconds`` (all rows), ``rows``.

    Raises:
        Vec2SlugError: an unknown variant, or a run whose weights are not on disk.
    """
    find(VARIANTS, "decoding", variant)
    run = record(experiment, preset)
    return read_or_make(
        run, f"decoding/{variant}", lambda: decode_run(run, VARIANTS[variant]), remake
    )


def stopping_trace(experiment: str, preset: str = "book", remake: bool = False) -> dict[str, Any]:
    """Read the record of one search without early stopping, step by step, or make it.

    Returns:
        ``reference`` (the page's own slug), ``settings`` (as `configuration`), and ``trace``, a
        row a step: ``active`` (text of the most probable unfinished slug) and ``log_p`` (its log
        probability), both null after the last step; ``finished`` (best finished slug), ``score``
        (its score), both null at first; ``count`` (distinct finished slugs).

    Raises:
        Vec2SlugError: a run whose weights are not on disk.
    """
    run = record(experiment, preset)
    return read_or_make(run, "decoding/trace", lambda: trace_run(run), remake)


def decode_run(run: Run, variant: Variant) -> dict[str, Any]:
    """Decode the test rows of a run in another way and compare with its own slugs."""
    rows, before = scored_rows(run), run.predictions
    model, strings = decoder_of(run)
    own = before["prediction"].tolist()
    began = time.monotonic()
    with tqdm(total=len(own), desc=variant.label, unit="slug") as bar:
        index = None
        if variant.index:
            known = run_data(run).part("train")
            index = Index(known.vectors, known.slugs, known.embedder)
        beams = decode_rows(model, rows, strings, variant, own, bar, index)
    seconds = time.monotonic() - began
    best = [candidates[0] for candidates in beams.candidates]
    scores = np.array([candidate.score for candidate in best])
    return {
        "config": {**variant.changes, "extra_words": variant.extra_words},
        **compare_slugs([candidate.slug for candidate in best], before, beams.steps),
        # Stored scores are float32.
        "lower_scores": float(np.mean(scores < before["score"].to_numpy() - 1e-4)),
        "steps": float(beams.steps.mean()),
        "step_counts": np.bincount(beams.steps).tolist(),
        "seconds": round(seconds, 2),
        "rows": len(best),
    }


def compare_slugs(slugs: Sequence[str], before: pd.DataFrame, steps: Ints) -> dict[str, Any]:
    """Compare slugs with a run's, one a row of ``before`` (columns slug, topic, prediction)."""
    references, own = before["slug"].tolist(), before["prediction"].tolist()
    topics = before["topic"]
    ours, theirs = (metrics.text_metrics(x, references) for x in (slugs, own))
    changed = np.flatnonzero(np.array(slugs) != np.array(own))
    drawn = np.random.default_rng(0).permutation(changed)[:EXAMPLES].tolist()
    return {
        "metrics": {
            **intervals.summarise(ours, topics),
            "diversity": intervals.diversity(slugs, topics),
        },
        "difference": intervals.compare(ours, theirs, topics),
        "by_topic": sums_by_topic({**ours, "steps": steps}, topics),
        "words": np.bincount([len(words(slug)) for slug in slugs], minlength=9).tolist(),
        "defects": defects(slugs),
        "changed": len(changed) / len(own),
        "examples": [
            {"slug": references[i], "project": own[i], "prediction": slugs[i]} for i in drawn
        ],
    }


def sums_by_topic(rows: Mapping[str, ArrayLike], topics: pd.Series) -> dict[str, list[float]]:
    """Add up per-row values by topic, in the order of the topics; ``rows`` counts them."""
    values = np.stack([np.asarray(column, np.float64) for column in rows.values()], axis=1)
    sums, sizes = intervals.topic_sums(values, topics)
    return {"rows": sizes.tolist(), **dict(zip(rows, sums.T.round(6).tolist(), strict=True))}


def defects(slugs: Sequence[str]) -> dict[str, float]:
    """Compute the shares of slugs with what a constraint of the search is there to prevent.

    Returns:
        ``stopword_end``; ``repeated_word`` (one that is no stopword); ``short`` (fewer words than
        the corpus allows); ``long`` (more words than the project's search rewards).
    """
    parts = [words(slug) for slug in slugs]
    content = [[word for word in row if word not in STOPWORDS] for row in parts]
    reward_cap = DecodingConfig().reward_cap
    marked = {
        "stopword_end": [slug.rpartition("-")[2] in STOPWORDS for slug in slugs],
        "repeated_word": [len(set(row)) < len(row) for row in content],
        "short": [len(row) < MIN_WORDS for row in parts],
        "long": [len(row) > reward_cap for row in parts],
    }
    return {name: float(np.mean(flags)) for name, flags in marked.items()}


def decode_rows(
    model: Decoder,
    rows: Dataset,
    strings: list[str],
    variant: Variant,
    own: list[str],
    bar: Any,
    index: Index | None = None,
) -> Beams:
    """Search all rows; where words are forced, rows whose own slugs are equally long together."""
    if variant.mbr:
        embed = open_embedder(rows.embedder, exact=True).embed if variant.rerank else None
        return mbr_slugs(model, rows.vectors, strings, variant.mbr, index, embed, bar.update)
    lengths = np.array([len(words(slug)) for slug in own]) * (variant.extra_words > 0)
    candidates: list[list[Candidate]] = [[] for _ in own]
    steps = np.zeros(len(own), np.int64)
    for length in np.unique(lengths):
        chosen = np.flatnonzero(lengths == length)
        config = variant_config(variant, model.config.max_slug_tokens, int(length))
        stepper, seen = stepper_for(model, strings)
        beams = search(stepper, rows.vectors[chosen], seen, config, progress=bar.update)
        for i, best in zip(chosen, beams.candidates, strict=True):
            candidates[i] = best
        steps[chosen] = beams.steps
    return Beams(candidates, steps)


def variant_config(variant: Variant, max_tokens: int, own_words: int) -> DecodingConfig:
    """Return a variant's settings for rows whose own slugs have so many words."""
    config = replace(DecodingConfig(max_tokens=max_tokens), **variant.changes)
    if not variant.extra_words:
        return config
    most = min(MAX_WORDS, config.max_tokens // 2)  # a word, a hyphen, ..., a word, <eos>
    least = min(own_words + variant.extra_words, most)
    return replace(config, min_words=max(config.min_words, least))


def trace_run(run: Run) -> dict[str, Any]:
    """Search the run's first test row to the end and note what each step leaves."""
    rows = scored_rows(run)
    model, strings = decoder_of(run)
    config = DecodingConfig(max_tokens=model.config.max_slug_tokens, stopping="exhaustive")
    trace: list[dict[str, Any]] = []

    def watch(texts: Sequence[str], log_p: Doubles, pools: Sequence[Mapping[str, float]]) -> None:
        pool = pools[0]
        finished = max(pool, key=lambda slug: pool[slug], default=None)
        leader = int(log_p.argmax()) if len(log_p) else None
        row = {
            "active": None if leader is None else texts[leader],
            "log_p": None if leader is None else float(log_p[leader]),
            "finished": finished,
            "score": None if finished is None else pool[finished],
            "count": len(pool),
        }
        trace.append(row)

    stepper, seen = stepper_for(model, strings)
    search(stepper, rows.vectors[:1], seen, config, watch=watch)
    reference = rows.pairs["slug"].iloc[0]
    return {"reference": reference, "settings": configuration(), "trace": trace}


@lru_cache(maxsize=1)  # a chapter decodes one run in many ways
def scored_rows(run: Run) -> Dataset:
    """Load the test rows that a run's predictions are about."""
    return run_data(run).test_rows()


def decoder_of(run: Run) -> tuple[Decoder, list[str]]:
    """Load a run's decoder and its tokens as strings.

    Raises:
        Vec2SlugError: the run is an MLP's, or its weights are not on disk.
    """
    model, strings = load_model(run)
    if not isinstance(model, Decoder):
        raise Vec2SlugError(f"expected a decoder in {run.folder}, found an MLP")
    return model, strings


def configuration() -> dict[str, Any]:
    """Return the project's decoding as a table row, without its lists of words."""
    settings = asdict(DecodingConfig())
    del settings["stopwords"], settings["dropped"]
    return settings
