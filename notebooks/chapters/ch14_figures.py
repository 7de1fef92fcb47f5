"""Figures of chapter 14, and the numbers that they show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from chapters.ch11_baselines import gain, split_by
from chapters.figures import COLOURS, bars
from vec2slug_lib.common.slugs import words
from vec2slug_lib.common.vectors import Doubles
from vec2slug_lib.data.examples import example_vectors, load_examples
from vec2slug_lib.embedding.registry import open_embedder
from vec2slug_lib.evaluation.intervals import Interval
from vec2slug_lib.evaluation.records import Run


def slugs_with_word(slugs: Sequence[str]) -> pd.Series:
    """Count the slugs that hold each word, the most frequent word first."""
    return pd.Series([word for slug in slugs for word in set(words(slug))]).value_counts()


def nearest_words(counts: pd.Series, count: int = 6) -> pd.DataFrame:
    """Return the words nearest to the book's articles, of those that two slugs hold or more.

    Args:
        counts: slugs with each word.
        count: words an article.
    """
    embedder, frequent = open_embedder(), counts.index[counts > 1].tolist()
    vectors = [embedder.embed(frequent[part]) for part in embedder.batches(frequent)]
    cosines = example_vectors(embedder) @ np.concatenate(vectors).T
    nearest = cosines.argsort(axis=1)[:, ::-1][:, :count]
    titles = pd.Index([example.slug for example in load_examples()], name="editor's slug")
    listed = [", ".join(frequent[i] for i in row) for row in nearest]
    return pd.DataFrame({"nearest words": listed}, titles)


def promises(scores: Doubles, f1: Doubles) -> pd.DataFrame:
    """Return the mean Token F1, expected and found, of ten groups of pages by score."""
    bins = pd.qcut(scores, min(10, len(np.unique(scores))), duplicates="drop")
    frame = pd.DataFrame({"expected": scores, "found": f1, "bin": bins})
    return frame.groupby("bin", observed=True)[["expected", "found"]].mean()


def promise_figure(promised: pd.DataFrame) -> go.Figure:
    """Draw the Token F1 that is found against the one that is expected."""
    figure, end = go.Figure(), float(promised.to_numpy().max())
    line = {"dash": "dot", "color": COLOURS[-1]}
    figure.add_scatter(
        x=promised["expected"], y=promised["found"], mode="lines+markers", name="found"
    )
    figure.add_scatter(x=[0, end], y=[0, end], mode="lines", name="as expected", line=line)
    figure.update_layout(
        title="Token F1, expected and found", xaxis_title="expected", yaxis_title="found",
        height=440,
    )  # fmt: skip
    return figure


def span_figure(readers: Mapping[int, Run], levels: Mapping[str, tuple[float, str]]) -> go.Figure:
    """Draw Token F1 over the spans that runs have read back.

    Args:
        readers: by number of spans, runs that have learnt from nothing else.
        levels: by label, scores to compare with, and where the label stands.
    """
    points = pd.DataFrame([run.metrics["token_f1"] for run in readers.values()])
    figure = go.Figure()
    figure.add_scatter(
        x=list(readers), y=points["value"], mode="lines+markers", error_y=bars(points)
    )
    for says, (y, place) in levels.items():
        figure.add_hline(y=y, line_dash="dot", annotation_text=says, annotation_position=place)
    figure.update_layout(title="Slugs from spans alone", height=420, yaxis_title="Token F1")
    figure.update_xaxes(title="spans read back", type="log")
    figure.update_yaxes(rangemode="tozero")
    return figure


def large_sources(sources: pd.Series, least: int) -> list[str]:
    """List the sources with so many pages or more, the largest first."""
    return [source for source, count in Counter(sources).most_common() if count >= least]


def source_gains(
    ours: Doubles, theirs: Doubles, sources: pd.Series, large: Sequence[str]
) -> dict[str, Interval]:
    """Compute the paired difference of two systems on each of some sources."""
    return {name: gain(ours[sources == name], theirs[sources == name]) for name in large}


def source_figure(
    scores: Mapping[str, Doubles], sources: pd.Series, large: Sequence[str]
) -> go.Figure:
    """Draw the Token F1 of systems on some sources."""
    figure = go.Figure()
    for says, points in split_by(scores, sources.tolist()).items():
        part = points.loc[large]
        figure.add_scatter(
            x=part["value"], y=part.index, mode="markers", marker_size=9, name=says,
            error_x=bars(part),
        )  # fmt: skip
    figure.update_layout(title="Token F1 by source", xaxis_title="Token F1", height=560)
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(rangemode="tozero")
    return figure
