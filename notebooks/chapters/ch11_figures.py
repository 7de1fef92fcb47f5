"""Figures and tables of chapter 11 over the runs: what is measured beside what is reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from chapters.ch11_claims import REPORTED
from chapters.figures import COLOURS, bars
from vec2slug_lib.evaluation.intervals import Interval
from vec2slug_lib.evaluation.records import Metrics, Run
from vec2slug_lib.experiments.table import EXPERIMENTS

Levels = Mapping[str, Metrics]  # of each run

FAMILIES = {
    "MLP": ["1a", "1b", "1c"],
    "clusters": ["3a", "3b"],
    "byte pairs": ["3d", "3e", "3f", "3g", "3h", "3i", "3j"],
}
LABELLED = ("1b", "1c", "3a", "3b", "3e", "3j")  # they tell the story; others when pointed at

METRIC_TABLES = {
    "Words in common": {
        "token_f1": "Token F1",
        "token_precision": "precision",
        "token_recall": "recall",
        "exact_match": "exact",
    },
    "Order and meaning": {
        "rouge_1": "ROUGE-1",
        "rouge_l": "ROUGE-L",
        "bertscore_f1": "BERTScore (MiniLM-L6)",
    },
    "Variety and form": {
        "diversity": "diversity",
        "distinctiveness": "distinctiveness",
        "mean_words": "words",
        "validity": "valid",
    },
}


def run_table(runs: Mapping[str, Run]) -> pd.DataFrame:
    """Return what the runs differ in, a row a run."""
    rows = [
        {
            "run": name,
            "model": f"{row.model}, {row.embed_dim} × {row.num_layers}",
            "writes": row.vocabulary.replace("bpe", f"bpe, cap {row.max_slug_tokens}"),
            "loss": "calibrated" if row.eos_calibration else row.loss.replace("_", "-"),
            "M weights": runs[name].manifest["parameters"] / 1e6,
        }
        for name, row in EXPERIMENTS.items()
    ]
    return pd.DataFrame(rows).set_index("run")


def metric_table(levels: Levels, labels: Mapping[str, str]) -> pd.DataFrame:
    """Return metrics with half the widths of their intervals, a row a run."""
    cells = {
        label: {run: half_width(metrics[key]) for run, metrics in levels.items()}
        for key, label in labels.items()
    }
    return pd.DataFrame(cells).rename_axis("run")


def half_width(cell: Interval) -> str:
    """Write a value with half the width of its interval; one topic gives none."""
    half = (cell["high"] - cell["low"]) / 2
    return f"{cell['value']:.3f} (one topic)" if isnan(half) else f"{cell['value']:.3f} ±{half:.3f}"


def column(levels: Levels, metric: str, names: Sequence[str] | None = None) -> pd.DataFrame:
    """Return value, low and high of a metric, a row a run."""
    return pd.DataFrame({name: levels[name][metric] for name in names or levels}).T


def listing(values: Mapping[str, float] | pd.Series, digits: int = 3) -> str:
    """Write runs and values in words, best first."""
    ranked = sorted(values.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {value:.{digits}f}" for name, value in ranked)


def hollow(
    figure: go.Figure, values: Mapping[str, float], name: str = "reported", **more: Any
) -> None:
    """Add what the study reports, as hollow diamonds at its runs."""
    marker = {"size": 11, "symbol": "diamond-open", "color": COLOURS[-1]}
    xy = {"x": list(values.values()), "y": list(values)} | more
    figure.add_scatter(**xy, mode="markers", marker=marker, name=name)


def dots(
    levels: Levels, metric: str, title: str, reported: Mapping[str, float] | None = None
) -> go.Figure:
    """Draw one dot a run, coloured by family, and the study's values."""
    figure = go.Figure()
    for family, names in FAMILIES.items():
        points = column(levels, metric, names)
        figure.add_scatter(
            x=points["value"], y=names, error_x=bars(points), mode="markers", name=family,
            marker_size=9,
        )  # fmt: skip
    if reported is not None:
        hollow(figure, reported)
    figure.update_layout(title=title, xaxis_title=title, height=520)
    in_order(figure, levels)
    return figure


def in_order(figure: go.Figure, names: Mapping[str, object]) -> None:
    """List runs from the top down, over an axis that begins at zero."""
    figure.update_yaxes(categoryorder="array", categoryarray=list(names)[::-1])
    figure.update_xaxes(rangemode="tozero")


def token_f1_figure(levels: Levels, ghosts: Mapping[str, float]) -> go.Figure:
    """Draw Token F1 of the runs, measured and reported, and the ghosts of both."""
    figure = dots(levels, "token_f1", "Token F1", REPORTED["token_f1"])
    figure.add_scatter(
        x=list(ghosts.values()), y=list(ghosts), mode="markers", name="ghost",
        marker={"symbol": "x-thin", "size": 9, "line": {"width": 2, "color": COLOURS[1]}},
    )  # fmt: skip
    reported = REPORTED["ghost_f1"]
    hollow(figure, reported, "ghost, reported", x=list(reported.values()))
    figure.data[-1].marker.symbol = "x-open"
    return figure


def precision_recall_figure(levels: Levels) -> go.Figure:
    """Draw precision and recall of the runs, measured and reported."""
    figure = go.Figure()
    for colour, label in zip(COLOURS, ("precision", "recall"), strict=False):
        points = column(levels, f"token_{label}")
        figure.add_scatter(
            x=points["value"], y=points.index, error_x=bars(points), mode="markers", name=label,
            marker={"size": 9, "color": colour},
        )  # fmt: skip
        hollow(figure, REPORTED[f"token_{label}"], f"{label}, reported")
        figure.data[-1].marker.color = colour
    figure.update_layout(title="Precision and recall", xaxis_title="share of words", height=520)
    in_order(figure, levels)
    return figure


def add_family(figure: go.Figure, family: str, x: pd.Series, y: pd.Series, **more: Any) -> None:
    """Add the runs of a family to a scatter plot, with names at those that tell the story."""
    names = FAMILIES[family]
    figure.add_scatter(
        x=x[names], y=y[names], text=[name if name in LABELLED else "" for name in names],
        hovertext=names, name=family, mode="markers+text", textposition="bottom right",
        marker_size=9, **more,
    )  # fmt: skip


def order_figure(levels: Levels) -> go.Figure:
    """Draw ROUGE-L of the runs against their Token F1."""
    figure = go.Figure()
    across, upward = (column(levels, metric)["value"] for metric in ("token_f1", "rouge_l"))
    for family in FAMILIES:
        add_family(figure, family, across, upward)
    known = REPORTED["rouge_l"]
    scores = [REPORTED["token_f1"][name] for name in known]
    hollow(figure, known, x=scores, y=list(known.values()), hovertext=list(known))
    end = max(across.max(), *scores)
    line = {"dash": "dot", "color": COLOURS[-1]}
    figure.add_scatter(x=[0, end], y=[0, end], mode="lines", name="equal", line=line)
    figure.update_layout(
        title="ROUGE-L against Token F1", xaxis_title="Token F1", yaxis_title="ROUGE-L", height=480
    )
    return figure


def size_figure(levels: Levels, sizes: pd.Series) -> go.Figure:
    """Draw Token F1 of the runs against millions of weights."""
    figure, points = go.Figure(), column(levels, "token_f1")
    for family, names in FAMILIES.items():
        error = bars(points.loc[names])
        add_family(figure, family, sizes, points["value"], error_y=error)
    reported = REPORTED["token_f1"]
    millions = [row.reported_parameters for row in EXPERIMENTS.values()]
    hollow(figure, reported, x=millions, y=list(reported.values()), hovertext=list(reported))
    figure.update_layout(
        title="Token F1 against size", xaxis_title="million weights", yaxis_title="Token F1",
        yaxis_rangemode="tozero", height=480,
    )  # fmt: skip
    return figure
