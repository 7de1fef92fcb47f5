"""How chapters report differences between runs: the same words, tables and figures in all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan, nan
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from IPython.display import HTML
from numpy.typing import ArrayLike
from plotly.subplots import make_subplots

from chapters.figures import COLOURS, bars, show, table
from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.vectors import Bools, Doubles
from vec2slug_lib.evaluation.intervals import Interval, bootstrap, mean_interval
from vec2slug_lib.evaluation.records import Run

METRICS = {
    "token_f1": "Token F1",
    "token_precision": "precision",
    "token_recall": "recall",
    "rouge_1": "ROUGE-1",
    "rouge_l": "ROUGE-L",
    "exact_match": "exact match",
    "validity": "valid",
    "mean_words": "words",
}


def listed(items: Sequence[str]) -> str:
    """Join names as in a sentence: a, b and c."""
    return " and ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))


def span(interval: Interval, digits: int = 3) -> str:
    """Write both ends of the interval of a difference; a dash for ends that nothing tells."""
    if isnan(interval["low"]):
        return "–"
    return f"{interval['low']:+.{digits}f} to {interval['high']:+.{digits}f}"


def signed(interval: Interval) -> str:
    """Write a difference with its interval, for a cell of a table."""
    return f"{interval['value']:+.3f} ({span(interval)})"


def within(interval: Mapping[str, Any], digits: int = 2) -> str:
    """Write a value with its interval; a dash for ends that nothing tells."""
    value, low, high = (f"{interval[key]:.{digits}f}" for key in ("value", "low", "high"))
    return f"{value} (–)" if isnan(interval["low"]) else f"{value} ({low} to {high})"


def moves(
    interval: Interval,
    rises: str = "rises",
    falls: str = "falls",
    stays: str = "does not change measurably",
) -> str:
    """Say what the interval of a difference tells of a mean, in one of three phrases.

    Args:
        interval: of the difference.
        rises: said if the interval lies above zero.
        falls: said if it lies below.
        stays: said if it holds zero.
    """
    return rises if interval["low"] > 0 else falls if interval["high"] < 0 else stays


def outcomes(difference: Mapping[str, Interval]) -> str:
    """List all metrics of a paired difference by direction: "recall higher; precision lower"."""
    higher, lower, level = "higher", "lower", "not measurably different"
    sides: dict[str, list[str]] = {higher: [], lower: [], level: []}
    for metric, name in METRICS.items():
        sides[moves(difference[metric], higher, lower, level)].append(name)
    return "; ".join(f"{', '.join(names)} {side}" for side, names in sides.items() if names)


def settled(
    interval: Interval,
    slack: float,
    rises: str = "rises",
    falls: str = "falls",
    stays: str = "stays",
    undecided: str = "is undecided",
) -> str:
    """Say what an interval tells of a difference whose size matters from ``slack`` on.

    Args:
        interval: of the difference.
        slack: an interval that lies within plus and minus this stays, measurable or not.
        rises: said if the interval lies above zero.
        falls: said if it lies below.
        stays: said if it lies within the slack.
        undecided: said otherwise.
    """
    if -slack < interval["low"] and interval["high"] < slack:
        return stays
    return moves(interval, rises, falls, undecided)


def group_gap(values: Doubles, ours: Bools, theirs: Bools, topics: ArrayLike) -> Interval:
    """Subtract the means of two groups of rows, with an interval over topics.

    Args:
        values: of N rows.
        ours: which rows the mean is taken of, ``[N]``.
        theirs: which rows make the mean that is taken off.
        topics: the topic of each row.

    Returns:
        Not a number where a group has no row.
    """
    if not (ours.any() and theirs.any()):
        return {"value": nan, "low": nan, "high": nan}

    def gap(means: Doubles) -> Doubles:
        with np.errstate(invalid="ignore"):  # a resample without rows of a group
            return np.asarray(means[0] / means[1] - means[2] / means[3])

    columns = np.stack([values * ours, ours, values * theirs, theirs], axis=1)
    return bootstrap(columns, topics, gap)


def endings(runs: Mapping[str, Run]) -> str:
    """Say what ended the training of runs: validation, or the limit of their epochs."""
    ways: dict[str, list[str]] = {}
    for name, run in runs.items():
        limit, trained = run.manifest["training"], run.manifest["result"]["epochs"]
        way = f"once {limit['patience']} evaluations had brought no lower validation loss"
        if trained >= limit["epochs"]:
            way = f"at a limit of {limit['epochs']} epochs"
        ways.setdefault(way, []).append(name)
    return f"Training ended {'; '.join(f'{way} ({listed(of)})' for way, of in ways.items())}."


def comparison(runs: Mapping[str, Run], difference: Mapping[str, Interval], caption: str) -> HTML:
    """Tabulate two runs by name, and the paired difference of the second to the first."""
    columns = {name: [run.value(metric) for metric in METRICS] for name, run in runs.items()}
    changes = [difference[metric] for metric in METRICS]
    columns["difference"] = [interval["value"] for interval in changes]
    frame = pd.DataFrame(columns, index=pd.Index(METRICS.values(), name="metric"))
    return table(frame.assign(**{"95 %": [span(interval) for interval in changes]}), caption)


def by_layer(
    series: Mapping[str, pd.DataFrame], title: str, yaxis: str, dotted: pd.DataFrame | None = None
) -> go.Figure:
    """Draw quantities over layers, a line with intervals for each.

    Args:
        series: name to points (columns value, low and high), their index the layers.
        title: of the figure.
        yaxis: title of its axis.
        dotted: columns to set beside the lines of the same name.
    """
    figure = go.Figure()
    for (name, points), colour in zip(series.items(), COLOURS, strict=False):
        line = {"x": points.index, "line_color": colour, "name": name}
        figure.add_scatter(y=points["value"], error_y=bars(points), mode="lines+markers", **line)
        if dotted is not None and name in dotted:
            line |= {"x": dotted.index, "showlegend": False}
            figure.add_scatter(y=dotted[name], mode="lines", line_dash="dot", **line)
    figure.update_layout(title=title, xaxis_title="layer", yaxis_title=yaxis, xaxis_type="category")
    figure.update_yaxes(rangemode="tozero")
    return figure


def learning_curves(runs: Mapping[str, Run]) -> None:
    """Show loss and greedy Token F1 of decoders over epochs."""
    figure = make_subplots(rows=1, cols=2, subplot_titles=("loss, nats a token", "Token F1"))
    for (name, run), colour in zip(runs.items(), COLOURS, strict=False):
        line = {"x": run.history["epoch"], "line_color": colour, "name": name, "legendgroup": name}
        figure.add_scatter(y=run.history["val_loss"], row=1, col=1, **line)
        line["showlegend"] = False
        figure.add_scatter(y=run.history["train_loss"], row=1, col=1, line_dash="dot", **line)
        figure.add_scatter(y=run.history["token_f1"], row=1, col=2, **line)
    figure.update_xaxes(title="epoch")
    figure.update_yaxes(rangemode="tozero", row=1, col=2)
    figure.update_layout(title=f"Training of {listed(list(runs))}", margin_t=80)
    figure.update_layout(legend={"y": -0.2, "yanchor": "top"})
    results = {name: run.manifest["result"] for name, run in runs.items()}
    lowest = [f"{row['best_val_loss']:.2f} for {name}" for name, row in results.items()]
    show(
        figure,
        "Two panels over epochs, a colour for each run. Left: loss on validation pages (solid), "
        f"lowest at {listed(lowest)}, and on training pages (dotted). Right: Token F1 of greedy "
        "slugs on validation pages.",
    )


def over_seeds(
    sweep: pd.DataFrame, by: str, metric: str, base: object = None, seed: str = "seed"
) -> pd.DataFrame:
    """Compute a metric of a sweep by one of its parameters, with intervals over the seeds.

    Args:
        sweep: a row a cell, as `sweep.sweep` writes it; beside ``by`` and ``seed`` nothing varies.
        by: parameter.
        metric: column.
        base: a value of the parameter; the metric is then the difference to it with the same seed.
        seed: column of the seeds.

    Returns:
        Columns ``value``, ``low`` and ``high``, a row a value of the parameter.

    Raises:
        Vec2SlugError: a cell is missing or there twice, or there is but one seed.
    """
    try:
        grid = sweep.pivot(index=seed, columns=by, values=metric)
    except ValueError as error:
        raise Vec2SlugError(f"expected one row for each {by} and {seed}, but: {error}") from error
    if (missing := int(grid.isna().sum().sum())) or not len(grid):
        raise Vec2SlugError(f"expected each {by} with each {seed}, but {missing} are missing")
    if base is not None:
        grid = grid.sub(grid[base], axis=0).drop(columns=base)
    return pd.DataFrame({name: mean_interval(grid[name].tolist()) for name in grid}).T
