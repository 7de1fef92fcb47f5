"""Figures of chapter 14, and the numbers that they show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from chapters.ch11_baselines import gain, mean_over_sources, split_by
from chapters.figures import bars
from chapters.report import signed, within
from vec2slug_lib.common.slugs import words
from vec2slug_lib.common.vectors import Doubles
from vec2slug_lib.evaluation.intervals import Interval
from vec2slug_lib.evaluation.records import Run


def slugs_with_word(slugs: Sequence[str]) -> pd.Series:
    """Count the slugs that hold each word, the most frequent word first."""
    return pd.Series([word for slug in slugs for word in set(words(slug))]).value_counts()


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
    ours: Doubles, theirs: Doubles, sources: pd.Series, large: Sequence[str], topics: pd.Series
) -> dict[str, Interval]:
    """Compute the paired difference of two systems on each of some sources.

    All columns have the same N rows; a source whose pages lie in one topic gets no ends.
    """
    chosen = {name: (sources == name).to_numpy() for name in large}
    return {
        name: gain(ours[rows], theirs[rows], topics.to_numpy()[rows])
        for name, rows in chosen.items()
    }


def source_means(
    ours: Doubles, theirs: Doubles, sources: pd.Series, topics: ArrayLike, least: Sequence[int]
) -> pd.DataFrame:
    """Compute means over sources of two systems, and their difference, as intervals.

    Args:
        ours: score of each page ``[N]``.
        theirs: of another system.
        sources: of each page.
        topics: of each page.
        least: numbers of pages; sources with fewer are left out. A row each.
    """
    columns = {"release": ours, "rival": theirs, "difference": ours - theirs}
    rows = {}
    for count in least:
        if large := large_sources(sources, count):
            means = {k: mean_over_sources(v, sources, topics, count)[0] for k, v in columns.items()}
            pages = int(sources.isin(large).sum())
            rows[count] = {"sources": len(large), "pages": pages, **means}
    return pd.DataFrame(rows).T.rename_axis("pages a source, at least")


def source_table(means: pd.DataFrame) -> pd.DataFrame:
    """Return `source_means` as a table of texts."""
    texts = {name: means[name].map(lambda x: within(x, 3)) for name in ("release", "rival")}
    return means.assign(**texts, difference=means["difference"].map(signed))


def source_figure(
    scores: Mapping[str, Doubles], sources: pd.Series, large: Sequence[str], topics: ArrayLike
) -> go.Figure:
    """Draw the Token F1 of systems on some sources."""
    figure = go.Figure()
    for says, points in split_by(scores, sources.tolist(), topics).items():
        part = points.loc[large]
        figure.add_scatter(
            x=part["value"], y=part.index, mode="markers", marker_size=9, name=says,
            error_x=bars(part),
        )  # fmt: skip
    figure.update_layout(title="Token F1 by source", xaxis_title="Token F1", height=560)
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(rangemode="tozero")
    return figure
