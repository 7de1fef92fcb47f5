"""Chapter 11 on decoders beside baselines: differences page by page, and where each works."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from chapters.ch11_claims import REPORTED_BY_LENGTH
from chapters.ch11_figures import half_width
from chapters.figures import COLOURS, bars
from chapters.report import moves, span, within
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
# Untrained systems that see no more than our release does, to their records: the vector, the
# training pairs, and the embedder for words or candidates.
BLIND = {
    "random": "random",
    "nearest": "nearest",
    "vote": "vote",
    "nearest words": "nearest-words",
    "vote with word vectors": "word-vote",
    "nearest words, re-ranked": "nearest-words+reranked=True",
    "vote with word vectors, re-ranked": "word-vote+reranked=True",
}
LEAST = 20  # pages of a source whose mean counts


def row_f1(run: Run) -> Doubles:
    """Return the Token F1 of each test page [N]."""
    predictions = run.predictions
    slugs, references = predictions["prediction"].tolist(), predictions["slug"].tolist()
    return metrics.token_overlap(slugs, references)[2]


def gain(ours: Doubles, theirs: Doubles, topics: ArrayLike) -> Interval:
    """Compute the paired difference of two systems in Token F1 [N] of the same pages."""
    return intervals.compare({"token_f1": ours}, {"token_f1": theirs}, topics)["token_f1"]


def best_blind(systems: Mapping[str, Run]) -> str:
    """Return *the* rival: of the systems in `BLIND`, by label, that with the best Token F1."""
    blind = [name for name in systems if name in BLIND]
    return max(blind, key=lambda name: systems[name].value("token_f1"))


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


def paired_table(
    scores: Mapping[str, Doubles], ours: str, names: Sequence[str], topics: ArrayLike
) -> pd.DataFrame:
    """Return the paired differences of a run to others, with outcomes, a row each."""
    differences = {name: gain(scores[ours], scores[name], topics) for name in names}
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
        f"{ours} {outcome} the best untrained system that sees no text of the page, “{rival}” "
        f"({level:.3f}; difference {row['value']:+.3f}, {span(row)})."
    )


def stands_to(difference: Interval) -> str:
    """Write how a run stands to the rival, by its paired difference."""
    where = moves(difference, "is above it", "is below it", "cannot be told from it")
    return f"{where} ({difference['value']:+.3f}, {span(difference)})"


def headline_table(
    scores: Mapping[str, Doubles], ours: str, rival: str, topics: ArrayLike
) -> pd.DataFrame:
    """Return Token F1 of two systems and their difference, with both kinds of interval."""
    columns = {
        ours: scores[ours],
        rival: scores[rival],
        f"{ours} − {rival}": scores[ours] - scores[rival],
    }
    kinds = {"over topics": topics, "over pages (too narrow)": range(len(scores[ours]))}
    means = {label: intervals.summarise(columns, drawn) for label, drawn in kinds.items()}
    cells = {
        label: [f"{row[name]['low']:.3f} to {row[name]['high']:.3f}" for name in columns]
        for label, row in means.items()
    }
    values = {"Token F1": [float(column.mean()) for column in columns.values()]}
    return pd.DataFrame(values | cells, index=pd.Index(columns, name="system"))


def times_wider(scores: Doubles, topics: ArrayLike) -> float:
    """Divide the width of the interval over topics by that over pages, of a mean [N]."""
    kinds = (topics, range(len(scores)))
    over = [intervals.summarise({"f1": scores}, drawn)["f1"] for drawn in kinds]
    widths = [row["high"] - row["low"] for row in over]
    return widths[0] / widths[1] if widths[1] else nan


def mean_over_sources(
    rows: Doubles, sources: Sequence[str], topics: ArrayLike, least: int = LEAST
) -> tuple[Interval, int]:
    """Compute the mean of the sources' means, each source counting alike, and their number.

    Args:
        rows: a metric of each page [N].
        sources: the source of each page.
        topics: what is drawn; a source of which no topic is drawn is left out.
        least: pages of a source that counts.
    """
    labels, counts = np.unique(sources, return_counts=True)
    chosen = labels[counts >= least]
    inside = (np.asarray(sources)[:, None] == chosen).astype(float)
    columns = np.concatenate([inside * rows[:, None], inside], axis=1)

    def mean_of_means(means: Doubles) -> Doubles:
        sums, sizes = means[: len(chosen)], means[len(chosen) :]
        own = np.divide(sums, sizes, out=np.zeros_like(sums), where=sizes > 0)
        drawn = (sizes > 0).sum(axis=0)
        return np.asarray(np.where(drawn, own.sum(axis=0) / np.maximum(drawn, 1), nan))

    return intervals.bootstrap(columns, topics, mean_of_means), len(chosen)


def sources_table(
    scores: Mapping[str, Doubles], sources: Sequence[str], topics: ArrayLike
) -> pd.DataFrame:
    """Return the mean over pages and over sources of systems, with intervals, a row a system."""
    by_page = intervals.summarise(scores, topics)
    by_source = {name: mean_over_sources(rows, sources, topics)[0] for name, rows in scores.items()}
    columns = {"every page alike": by_page, "every source alike": by_source}
    cells = {label: [within(means[name], 3) for name in scores] for label, means in columns.items()}
    return pd.DataFrame(cells, index=pd.Index(scores, name="system"))


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
