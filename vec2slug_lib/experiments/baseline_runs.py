"""Baselines as runs: the table of them, and how the record of one is made.

A record is like that of an experiment, but for weights and history: nothing is trained.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from ..common.files import write_json
from ..common.slugs import title_slug, words
from ..common.vectors import Floats
from ..common.workspace import current
from ..data import dataset
from ..data.dataset import Dataset
from ..data.examples import load_examples, vectors_by
from ..data.wide import widen
from ..embedding.registry import open_embedder
from ..evaluation.baselines import (
    NEIGHBOURS,
    Embed,
    WordVectors,
    knn_vote,
    nearest_slug,
    nearest_words,
    random_slug,
    word_vote,
)
from ..evaluation.records import Run, environment, save_results
from .score import measure
from .table import PRESETS, find, find_variant


@dataclass(frozen=True)
class Baseline:
    """Settings of a baseline; one that sees the text uses none of them."""

    train_fraction: float = 1.0  # of the training pages, as in an experiment
    neighbours: int = NEIGHBOURS  # of the vote
    reranked: bool = False  # of those by words' own vectors: candidates, embedded as texts
    wide: bool = False  # the pages of the wide corpus too, see ``data.wide``


# Slugs of vectors [N, d] from the training pages.
FROM_VECTORS: dict[str, Callable[[Dataset, Floats, Baseline], list[str]]] = {
    "random": lambda train, vectors, _: random_slug(train.slugs, len(vectors)),
    "nearest": lambda train, vectors, _: nearest_slug(train.vectors, train.slugs, vectors),
    "vote": lambda train, vectors, row: knn_vote(
        train.vectors, train.slugs, vectors, row.neighbours
    ),
    "nearest-words": lambda train, vectors, row: nearest_words(
        vectors, word_vectors(train), reranker(train, row)
    ),
    "word-vote": lambda train, vectors, row: word_vote(
        train.vectors, train.slugs, vectors, word_vectors(train), reranker(train, row)
    ),
}
FROM_TEXT = ("keywords", "title")  # columns of ``text_baselines.parquet``
BASELINES = {name: Baseline() for name in (*FROM_VECTORS, *FROM_TEXT)}


def word_vectors(train: Dataset) -> WordVectors:
    """Embed each word of the training slugs alone; those of one data set stay in memory."""
    return _embedded(
        tuple(sorted({w for slug in train.slugs for w in words(slug)})), train.embedder
    )


@lru_cache(maxsize=1)
def _embedded(known: tuple[str, ...], embedder: str) -> WordVectors:
    return WordVectors(known, open_embedder(embedder, exact=True).embed(known))


def reranker(train: Dataset, baseline: Baseline) -> Embed | None:
    """Return the embedder of a baseline whose candidates are re-ranked; None of any other."""
    return open_embedder(train.embedder, exact=True).embed if baseline.reranked else None


def is_baseline(name: str) -> bool:
    """Say whether a name is that of a baseline, or of a variant of one: ``vote+share=0.5``."""
    return name.partition("+")[0] in BASELINES


def find_baseline(name: str) -> Baseline:
    """Return the settings of a baseline by its name, as `find_experiment`.

    Raises:
        Vec2SlugError: no such baseline or setting, or a value of another type.
    """
    baseline: Baseline = find_variant(BASELINES, "baseline", name)
    return baseline


def make_baseline(name: str, preset: str) -> None:
    """Write the record of a baseline: manifest, predictions, metrics, slugs of the articles.

    Raises:
        Vec2SlugError: unknown baseline, setting or preset.
    """
    baseline = find_baseline(name)
    data = dataset.load(limit=find(PRESETS, "preset", preset).limit)
    pages = known_pages(baseline, data)
    train, rows, began = pages.part("train"), data.test_rows(), time.monotonic()
    slugs, examples = baseline_slugs(name, baseline, train, rows)
    run = Run(current().runs / name / preset)
    manifest = {
        "experiment": name,
        "preset": preset,
        "baseline": asdict(baseline),
        "train_rows": len(train.pairs),
        "data": dataset.ids_digest(pages.pairs["id"]),
        "embedder": data.embedder,
        "seconds": round(time.monotonic() - began, 1),
        "environment": environment("cpu"),
    }
    write_json(run.folder / "manifest.json", manifest)
    predictions = rows.references.assign(prediction=slugs, score=np.float32(np.nan))
    save_results(run, predictions, measure(predictions, rows.vectors), examples)


def known_pages(baseline: Baseline, data: Dataset) -> Dataset:
    """Return the data set of a preset with the training pages that a baseline knows.

    Raises:
        Vec2SlugError: it wants the wide corpus, and there is none.
    """
    pages = data.subsample(baseline.train_fraction)
    return widen(pages) if baseline.wide else pages


def baseline_slugs(
    name: str, baseline: Baseline, train: Dataset, rows: Dataset
) -> tuple[list[str], dict[str, str]]:
    """Return a baseline's slugs of the test rows and, by name, of the book's articles.

    The keywords of an article are missing: their weights need the texts of the training pages,
    which the data set does not hold.
    """
    base, articles = name.partition("+")[0], load_examples()
    if base in FROM_VECTORS:
        make = FROM_VECTORS[base]
        slugs = make(train, vectors_by(train.embedder), baseline)
        examples = {one.name: slug for one, slug in zip(articles, slugs, strict=True)}
        return make(train, rows.vectors, baseline), examples
    texts = pd.read_parquet(current().data / "text_baselines.parquet").set_index("id")
    examples = {one.name: title_slug(one.title) for one in articles} if base == "title" else {}
    return texts.loc[rows.pairs["id"], base].tolist(), examples
