"""Chapter 11 on decoders beside baselines: differences page by page, and where each works."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from chapters.ch11_claims import REPORTED_BY_LENGTH
from chapters.ch11_figures import half_width
from chapters.figures import COLOURS, bars
from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.slugs import words
from vec2slug_lib.common.vectors import Doubles
from vec2slug_lib.evaluation import intervals, metrics
from vec2slug_lib.evaluation.intervals import Interval
from vec2slug_lib.evaluation.records import Run

COLUMNS = {
    "token_f1": "Token F1",
    "rouge_l": "ROUGE-L",
    "bertscore_f1": "BERTScore (MiniLM-L6)",
    "diversity": "diversity",
    "distinctiveness": "distinctiveness",
    "mean_words": "words",
}
BLIND = ["random", "nearest", "vote", "mlp"]  # they see no more than a decoder does


def row_f1(run: Run) -> Doubles:
    """Return the Token F1 of each test page [N]."""
    predictions = run.predictions
    slugs, references = predictions["prediction"].tolist(), predictions["slug"].tolist()
    return metrics.token_overlap(slugs, references)[2]


def gain(ours: Doubles, theirs: Doubles, topics: ArrayLike) -> Interval:
    """Compute the paired difference of two systems in Token F1 [N] of the same pages."""
    return intervals.compare({"token_f1": ours}, {"token_f1": theirs}, topics)["token_f1"]


def all_row_f1(runs: Mapping[str, Run], ids: pd.Series) -> dict[str, Doubles]:
    """Return the Token F1 of each page with one of these ids [N], by run.

    Raises:
        Vec2SlugError: a run was scored on other pages, or in another order.
    """
    for name, run in runs.items():
        if run.predictions["id"].tolist() != ids.tolist():
            raise Vec2SlugError(f"expected {name} to be scored on these {len(ids)} pages")
    return {name: row_f1(run) for name, run in runs.items()}


def system_table(runs: Mapping[str, Run]) -> pd.DataFrame:
    """Return the metrics that systems are compared by, a row a system."""
    scores = {name: run.metrics for name, run in runs.items()}
    cells = {
        label: {name: scores[name][key]["value"] for name in scores}
        for key, label in COLUMNS.items()
    }
    return pd.DataFrame(cells).rename_axis("system")


def system_figure(points: pd.DataFrame) -> go.Figure:
    """Draw the Token F1 of systems; ``points`` has columns value, low and high."""
    figure = go.Figure(
        go.Scatter(
            x=points["value"], y=points.index, mode="markers", marker_size=10, error_x=bars(points)
        )
    )
    figure.update_layout(title="Decoders and baselines", xaxis_title="Token F1")
    figure.update_xaxes(rangemode="tozero")
    figure.update_yaxes(type="category")
    return figure


def paired_table(scores: Mapping[str, Doubles], ours: str, names: Sequence[str]) -> pd.DataFrame:
    """Return the paired differences of a run to others, with outcomes, a row each."""
    differences = {name: gain(scores[ours], scores[name]) for name in names}
    paired = pd.DataFrame(differences).T[["value", "low", "high"]].astype(float)
    paired["outcome"] = np.select(
        [paired["low"] > 0, paired["high"] < 0],
        [f"{ours} is better", f"{ours} is worse"],
        "draw",
    )
    return paired.rename_axis(f"{ours} minus")


def verdict(paired: pd.DataFrame, ours: str, rival: str, level: float) -> str:
    """Write whether a run beats its rival; ``level`` is the rival's Token F1."""
    row = paired.loc[rival]
    outcome = {"draw": "is level with", f"{ours} is better": "beats"}.get(
        row["outcome"], "loses to"
    )
    return (
        f"It {outcome} the best baseline that sees the same vectors, the {rival} "
        f"({level:.3f}; difference {row['value']:+.3f}, {row['low']:+.3f} to {row['high']:+.3f})."
    )


def best_verdict(best: str, difference: Interval) -> str:
    """Write how the best run stands to the rival, by its paired difference."""
    low, high = difference["low"], difference["high"]
    word = "above" if low > 0 else "below" if high < 0 else "level with"
    return (
        f"The best run, {best}, is {word} it ({difference['value']:+.3f}, {low:+.3f} to "
        f"{high:+.3f})."
    )


def split_by(
    scores: Mapping[str, Doubles], groups: Sequence[str], topics: ArrayLike
) -> dict[str, pd.DataFrame]:
    """Return Token F1 by group of pages, one frame a system: value, low, high."""
    parts = {
        name: metrics.breakdown({"token_f1": column}, groups, topics)
        for name, column in scores.items()
    }
    return {
        name: pd.DataFrame({group: cell["token_f1"] for group, cell in part.items()}).T
        for name, part in parts.items()
    }


def source_figure(by_source: Mapping[str, pd.DataFrame], sources: pd.Index) -> go.Figure:
    """Draw the Token F1 of systems on some sources."""
    figure = go.Figure()
    for (name, points), colour in zip(by_source.items(), COLOURS, strict=False):
        part = points.loc[sources]
        figure.add_scatter(
            x=part["value"], y=sources, mode="markers", name=name, error_x=bars(part),
            marker={"color": colour, "size": 9},
        )  # fmt: skip
    title = "Token F1 by source, the largest"
    figure.update_layout(title=title, xaxis_title="Token F1", height=560)
    figure.update_yaxes(categoryorder="array", categoryarray=list(sources)[::-1])
    figure.update_xaxes(rangemode="tozero")
    return figure


def length_table(by_length: Mapping[str, pd.DataFrame], token_counts: pd.Series) -> pd.DataFrame:
    """Return Token F1 by length of the text, beside what the study reports."""
    groups = token_counts.map(metrics.length_group)
    kinds = [kind for kind in REPORTED_BY_LENGTH if (groups == kind).any()]
    means = [token_counts[groups == kind].mean() for kind in kinds]
    labels = [f"{kind}, {mean:.0f} tokens" for kind, mean in zip(kinds, means, strict=True)]
    columns = {"3j, reported": [f"{REPORTED_BY_LENGTH[kind]:.3f}" for kind in kinds]}
    columns |= {
        name: [half_width(part.loc[kind]) for kind in kinds] for name, part in by_length.items()
    }
    return pd.DataFrame(columns, index=pd.Index(labels, name="documents"))


def by_words_figure(by_words: Mapping[str, pd.DataFrame]) -> go.Figure:
    """Draw the Token F1 of systems over the number of words in the page's own slug."""
    figure = go.Figure()
    for (name, points), colour in zip(by_words.items(), COLOURS, strict=False):
        part = points.sort_index()
        figure.add_scatter(
            x=part.index, y=part["value"], error_y=bars(part), name=name, marker_color=colour,
            mode="lines+markers",
        )  # fmt: skip
    figure.update_layout(
        title="Token F1 by length of slug", xaxis_title="words in the page's own slug",
        yaxis_title="Token F1", yaxis_rangemode="tozero",
    )  # fmt: skip
    figure.update_xaxes(type="category")
    return figure


def ends(by_words: Mapping[str, pd.DataFrame]) -> str:
    """Write the Token F1 of systems on the shortest and on the longest slugs."""
    values = {name: part.sort_index()["value"] for name, part in by_words.items()}
    return "; ".join(
        f"{name} {value.iloc[0]:.3f} on the shortest slugs and {value.iloc[-1]:.3f} on the longest"
        for name, value in values.items()
    )


def length_figure(lengths: Mapping[str, pd.Series]) -> go.Figure:
    """Draw the shares of slugs by number of words; ``lengths`` are words of each slug."""
    figure = go.Figure()
    for name, counts in lengths.items():
        share = counts.value_counts(normalize=True).sort_index()
        figure.add_bar(x=share.index, y=share.values, name=name)
    figure.update_layout(
        title="Words in a slug", xaxis_title="words", yaxis_title="share", yaxis_tickformat=".0%"
    )
    return figure


def word_counts(slugs: Sequence[str]) -> pd.Series:
    """Return the number of words of each slug."""
    return pd.Series([len(words(slug)) for slug in slugs])
