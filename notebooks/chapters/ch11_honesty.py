"""Is a released model's own score honest? Expected beside found Token F1, and random vectors."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from chapters.figures import COLOURS, bars
from chapters.report import listed, within
from vec2slug_lib import SlugPredictor
from vec2slug_lib.evaluation import intervals
from vec2slug_lib.evaluation.metrics import token_overlap
from vec2slug_lib.inference.predictor import TextEmbedder
from vec2slug_lib.inference.release_folder import DEFAULT_MODEL

GROUPS = 10
DRAWS = 60


def honesty_by_decile(predictions: pd.DataFrame) -> pd.DataFrame:
    """Compute what pages are expected to score and what they do, by decile of the expectation.

    Args:
        predictions: of a run whose score is the expected Token F1: slug, topic, prediction, score.

    Returns:
        A row a decile from the lowest: ``expected`` (mean score), ``value``, ``low`` and ``high``
        (Token F1 with its interval over topics), ``pages``.
    """
    scores = predictions["score"].to_numpy(float)
    slugs, references = predictions["prediction"].tolist(), predictions["slug"].tolist()
    f1, topics = token_overlap(slugs, references)[2], predictions["topic"].to_numpy()
    rows = []
    for part in np.array_split(np.argsort(scores, kind="stable"), GROUPS):
        found = intervals.summarise({"f1": f1[part]}, topics[part])["f1"]
        rows.append({"expected": scores[part].mean(), **found, "pages": len(part)})
    return pd.DataFrame(rows, index=pd.RangeIndex(1, GROUPS + 1, name="decile"))


def random_vector_score(
    embedder: TextEmbedder | None = None, folder: Path = DEFAULT_MODEL, draws: int = DRAWS
) -> float:
    """Return the mean score that a released model gives its slugs of random directions.

    Its warning that these are no vectors of its embedder is left out.

    Args:
        embedder: of the model's vectors, if candidates are re-ranked.
        folder: of the release, whose score is the expected Token F1.
        draws: unit vectors, drawn evenly over all directions.
    """
    predictor = SlugPredictor.from_dir(folder, "int8", embedder=embedder)
    vectors = np.random.default_rng(0).standard_normal((draws, predictor.config.input_dim))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        candidates = predictor.predict_topk(vectors, k=1)
    return float(np.mean([best[0].score for best in candidates]))


def honesty_figure(deciles: pd.DataFrame, random: float) -> go.Figure:
    """Draw found over expected Token F1 by decile, and the expectation of random vectors."""
    figure = go.Figure()
    figure.add_scatter(
        x=deciles["expected"], y=deciles["value"], error_y=bars(deciles), mode="markers",
        marker_size=9, name="tenths of the pages",
    )  # fmt: skip
    end = float(deciles[["expected", "value"]].max().max())
    line = {"dash": "dot", "color": COLOURS[-1]}
    figure.add_scatter(x=[0, end], y=[0, end], mode="lines", name="as expected", line=line)
    line = {"dash": "dash", "color": COLOURS[1]}
    figure.add_scatter(x=[random] * 2, y=[0, end], mode="lines", name="random vectors", line=line)
    return figure.update_layout(
        title="Expected and found Token F1", xaxis_title="expected by the model",
        yaxis_title="found",
    )  # fmt: skip


def honesty_table(deciles: pd.DataFrame) -> pd.DataFrame:
    """Tabulate `honesty_by_decile`."""
    found = [within(row, 3) for _, row in deciles.iterrows()]
    columns = {"pages": deciles["pages"], "expected": deciles["expected"], "found (95 %)": found}
    return pd.DataFrame(columns, index=deciles.index)


def honesty_says(deciles: pd.DataFrame, random: float, reranked: float) -> str:
    """Say in which deciles the expectation is off, and what that of random vectors is worth.

    Args:
        deciles: see `honesty_by_decile`.
        random: mean score of random vectors.
        reranked: the same where candidates are re-ranked, as those of the pages were.
    """
    sides = {
        "too much": deciles.index[deciles["expected"] > deciles["high"]],
        "too little": deciles.index[deciles["expected"] < deciles["low"]],
    }
    off = [
        f"{side} in {len(names)} of {len(deciles)} groups ({listed([str(name) for name in names])})"
        for side, names in sides.items()
        if len(names)
    ]
    verdict = (
        f"It expects {listed(off)}."
        if off
        else ("In no group does what it expects lie outside the interval of what is found.")
    )
    lower = int((deciles["expected"] < random).sum())
    return (
        f"{verdict} A random vector, which is no page's, gets {random:.3f} on average, more than "
        f"{lower} of the ten groups of pages; re-ranking, which asks what the slug itself means, "
        f"leaves it {reranked:.3f}."
    )
