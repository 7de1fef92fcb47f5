"""How runs and baselines do on pages of sources that none of them has learnt from."""

from __future__ import annotations

from typing import Any

import numpy as np
from tqdm import tqdm

from ..common.slugs import words
from ..common.vectors import Floats
from ..data import dataset
from ..data.dataset import Dataset
from ..data.left_out import load_left_out
from ..evaluation import metrics
from ..evaluation.records import Run, read_or_make
from .baseline_runs import FROM_VECTORS, find_baseline, is_baseline, known_pages
from .decoding_variants import sums_by_topic
from .run import record
from .score import load_model, predict
from .table import PRESETS, find


def left_out_record(
    name: str, preset: str = "book", part: str = "test", remake: bool = False
) -> dict[str, Any]:
    """Read how a run or baseline does on sources that are left out, or find out.

    Args:
        name: of an experiment or of a baseline that goes by vectors.
        preset: of the record.
        part: ``val``, to choose by, or ``test``.
        remake: whether to do it again in any case.

    Returns:
        ``by_topic`` and ``by_source``, each with ``rows`` and every text metric added up over the
        rows of a topic or of a source, in their sorted order; ``sources``; ``diversity``;
        ``slugs`` of the first pages.

    Raises:
        Vec2SlugError: a run whose weights are not on disk, or no pages of such sources.
    """
    run = record(name, preset)
    return read_or_make(
        run, f"left_out/{part}", lambda: describe(name, run, load_left_out(part)), remake
    )


def describe(name: str, run: Run, pages: Dataset, shown: int = 12) -> dict[str, Any]:
    """Score the slugs of a run on pages; see `left_out_record`."""
    slugs = slugs_of(name, run, pages.vectors)
    rows = metrics.text_metrics(slugs, pages.slugs)
    rows |= {"distinct_words": np.array([len(set(words(slug))) for slug in slugs], float)}
    return {
        "by_topic": sums_by_topic(rows, pages.pairs["cluster"]),
        "by_source": sums_by_topic(rows, pages.pairs["source"]),
        "sources": sorted(pages.pairs["source"].unique()),
        "diversity": len(set(slugs)) / len(slugs),
        "slugs": slugs[:shown],
    }


def slugs_of(name: str, run: Run, vectors: Floats) -> list[str]:
    """Name vectors ``[N, D]`` as a run or a baseline does."""
    if is_baseline(name):
        baseline, preset = find_baseline(name), find(PRESETS, "preset", run.manifest["preset"])
        known = known_pages(baseline, dataset.load(limit=preset.limit)).part("train")
        return FROM_VECTORS[name.partition("+")[0]](known, vectors, baseline)
    model, strings = load_model(run)
    with tqdm(total=len(vectors), desc=f"{name} on sources left out", unit="slug") as bar:
        return [slug for slug, _ in predict(model, vectors, strings, progress=bar.update)]
