"""What more training pairs would bring: laws fitted to scores at several sizes of the corpus."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from chapters.ch11_baselines import row_f1
from chapters.ch14_levers import on_fraction
from chapters.figures import COLOURS, bars
from chapters.report import within
from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.vectors import Doubles
from vec2slug_lib.evaluation import intervals
from vec2slug_lib.evaluation.intervals import Interval, bootstrap
from vec2slug_lib.evaluation.records import Run
from vec2slug_lib.experiments.run import record
from vec2slug_lib.experiments.table import find_experiment


@dataclass(frozen=True)
class Law:
    """Describe a score over pairs by two parameters: linear in log(pairs) after a link function."""

    says: str
    link: Callable[[Doubles], Doubles]  # of the score, so that it is linear in log(pairs)
    inverse_link: Callable[[Doubles], Doubles]


def log_odds(score: Doubles) -> Doubles:
    """Return log(score / (1 - score)); a score of 0 or 1 counts as one a little inside."""
    inside = np.clip(score, 1e-4, 1 - 1e-4)
    return np.log(inside / (1 - inside))


# Two that a few points of measurement hardly tell apart, and that part company far out: the
# distance between them belongs to the uncertainty of any extrapolation. A power of the score itself
# fits as well and soon passes 1, which no score can.
LAWS = {
    "odds": Law("score / (1 - score) = a * pairs^b", log_odds, lambda x: 1 / (1 + np.exp(-x))),
    "logarithm": Law("score = a + b * log(pairs)", np.asarray, np.asarray),
}


def fit(pairs: Sequence[float], scores: Doubles, law: Law) -> tuple[Doubles, Doubles]:
    """Fit intercept and slope of ``law.link(score)`` over log(pairs), by least squares.

    Args:
        pairs: sizes of the training set, P of them.
        scores: mean scores ``[..., P]``.
        law: one of `LAWS`.

    Returns:
        Two arrays ``[...]``.
    """
    x = np.log(np.asarray(pairs, float))
    y = law.link(np.asarray(scores, float))
    centred = x - x.mean()
    slope = (y * centred).sum(-1) / (centred**2).sum()
    return y.mean(-1) - slope * x.mean(), slope


def curve(pairs: Sequence[float], parameters: tuple[Doubles, Doubles], law: Law) -> Doubles:
    """Return the scores ``[..., P]`` of a fitted law at other sizes."""
    a, b = (np.asarray(value)[..., None] for value in parameters)
    return law.inverse_link(a + b * np.log(np.asarray(pairs, float)))


def extrapolate(
    pairs: Sequence[float], rows: Doubles, law: Law, at: float, topics: ArrayLike
) -> dict[str, Interval | float]:
    """Return a law's slope and its score at another size, with bootstrap intervals over topics.

    The intervals know of the draw of the test topics alone, not of the training's seed nor of
    whether the law holds.

    Args:
        pairs: sizes of the training set, P of them, P >= 2.
        rows: score of each test row at each size ``[N, P]``.
        law: one of `LAWS`.
        at: size to extrapolate to.
        topics: the topic of each test row.

    Returns:
        ``slope`` and ``score`` as intervals, and ``misfit``: how far the law is at most from the
        mean scores that it was fitted to.

    Raises:
        Vec2SlugError: fewer than two sizes, or scores at another number of sizes.
    """
    if len(pairs) < 2 or rows.shape[1] != len(pairs):
        raise Vec2SlugError(
            f"expected scores at two sizes or more, got {len(pairs)} sizes and {rows.shape}"
        )
    slope = bootstrap(rows, topics, lambda means: fit(pairs, means.T, law)[1])
    score = bootstrap(
        rows, topics, lambda means: curve([at], fit(pairs, means.T, law), law)[..., 0]
    )
    means = rows.mean(0)
    misfit = float(np.abs(curve(pairs, fit(pairs, means, law), law) - means).max())
    return {"slope": slope, "score": score, "misfit": misfit}


def doubling(pairs: Sequence[float], rows: Doubles, topics: ArrayLike) -> Interval:
    """Compute what twice the pairs add to the score on average within the sizes measured."""
    law = LAWS["logarithm"]
    return bootstrap(rows, topics, lambda means: np.log(2) * fit(pairs, means.T, law)[1])


def pairs_needed(
    pairs: Sequence[float], study: Doubles, ours: Doubles, law: Law, topics: ArrayLike
) -> Interval:
    """Compute the pairs with which a system would be where another is with all pairs.

    Args:
        pairs: sizes of the training set, P of them.
        study: score of each test row at each size ``[N, P]``, of the one that is to rise.
        ours: the same of the other.
        law: one of `LAWS`.
        topics: the topic of each test row.

    Returns:
        Infinite where it would never be there.
    """

    def log_pairs(theirs: Doubles, means: Doubles) -> tuple[Doubles, Doubles]:
        a, b = fit(pairs, theirs, law)
        return law.link(means[..., -1]) - a, b

    return _pairs_until(study, ours, topics, log_pairs)


def meeting(
    pairs: Sequence[float], study: Doubles, ours: Doubles, law: Law, topics: ArrayLike
) -> Interval:
    """Compute the pairs with which a system would be level with another; as `pairs_needed`."""

    def log_pairs(theirs: Doubles, means: Doubles) -> tuple[Doubles, Doubles]:
        (a, b), (c, d) = (fit(pairs, scores, law) for scores in (theirs, means))
        return c - a, b - d

    return _pairs_until(study, ours, topics, log_pairs)


def _pairs_until(
    study: Doubles,
    ours: Doubles,
    topics: ArrayLike,
    log_pairs: Callable[[Doubles, Doubles], tuple[Doubles, Doubles]],
) -> Interval:
    """Compute exp(height / slope) with an interval; a slope of 0 or below gets there never."""

    def inverse(means: Doubles) -> Doubles:  # so that never is a number, and resamples have order
        height, slope = log_pairs(*np.split(means.T, 2, axis=-1))
        logs = np.clip(-height / np.maximum(slope, 1e-12), -700, 700)
        return np.where(slope > 0, np.exp(logs), 0)

    rare = bootstrap(np.concatenate([study, ours], axis=1), topics, inverse)
    value, high, low = (
        1 / x if x > 1e-300 else inf for x in (rare["value"], rare["low"], rare["high"])
    )
    return {"value": value, "low": low, "high": high}


def ending(run: Run) -> dict[str, Any]:
    """Return how a training ended.

    Returns:
        ``steps``; ``since``, the evaluations since that with the lowest validation loss;
        ``converged``, whether these were so many that they ended it; ``scheduled``, whether it
        had a fixed number of epochs, which no validation ends.
    """
    history, settings = run.history, run.manifest["training"]
    since = len(history) - 1 - int(history["val_loss"].argmin())
    return {
        "steps": int(history["step"].iloc[-1]),
        "since": since,
        "converged": since >= settings["patience"],
        "scheduled": bool(find_experiment(run.manifest["experiment"]).epochs),
    }


def all_endings(name: str, fractions: Sequence[float], preset: str) -> list[dict[str, Any]]:
    """Return how training ended on fractions of the training pages, smallest first."""
    return [ending(record(on_fraction(name, fraction), preset)) for fraction in sorted(fractions)]


def ending_table(
    endings: Mapping[str, Sequence[Mapping[str, Any]]], pairs: Sequence[int]
) -> pd.DataFrame:
    """Return the steps of systems and the evaluations since their best, a row a size."""
    columns = {}
    for says, rows in endings.items():
        columns[f"{says}: steps"] = [row["steps"] for row in rows]
        if not all(row["scheduled"] for row in rows):
            columns["evaluations since the lowest loss"] = [row["since"] for row in rows]
    return pd.DataFrame(columns, pd.Index(sorted(pairs), name="training pairs"))


def fraction_scores(name: str, fractions: Sequence[float], preset: str) -> Doubles:
    """Return the Token F1 of each test page on fractions of the training pages ``[N, P]``."""
    runs = [record(on_fraction(name, fraction), preset) for fraction in fractions]
    return np.stack([row_f1(run) for run in runs], axis=1)


def pairs_on(name: str, fractions: Sequence[float], preset: str) -> list[int]:
    """Return the numbers of training pages in fractions of them, from the runs of one system."""
    runs = [record(on_fraction(name, fraction), preset) for fraction in fractions]
    return [int(run.manifest["train_rows"]) for run in runs]


def scaling_figure(
    pairs: Sequence[int], grid: Mapping[str, Doubles], target: int, topics: ArrayLike
) -> go.Figure:
    """Draw scores over training pairs, and the laws fitted to them.

    Args:
        pairs: sizes of the training set, P of them.
        grid: by system, score of each test row at each size ``[N, P]``.
        target: size up to which the laws are drawn.
        topics: the topic of each test row.
    """
    figure, ahead = go.Figure(), np.geomspace(pairs[0], target, 40)
    for (says, rows), colour in zip(grid.items(), COLOURS, strict=False):
        columns = {str(i): column for i, column in enumerate(rows.T)}
        points = pd.DataFrame(intervals.summarise(columns, topics)).T
        group = {"legendgroup": says, "name": says}
        figure.add_scatter(
            x=pairs, y=points["value"], mode="markers", marker={"size": 9, "color": colour},
            error_y=bars(points), **group,
        )  # fmt: skip
        for law, dash in zip(LAWS.values(), ("solid", "dot"), strict=True):
            y = curve(ahead.tolist(), fit(pairs, rows.mean(0), law), law)
            line = {"color": colour, "dash": dash}
            figure.add_scatter(x=ahead, y=y, mode="lines", line=line, showlegend=False, **group)
    figure.update_layout(title="Token F1 over training pairs", height=480, yaxis_title="Token F1")
    figure.update_xaxes(title="training pairs", type="log")
    figure.update_yaxes(rangemode="tozero")
    return figure


def fit_laws(
    pairs: Sequence[int], grid: Mapping[str, Doubles], target: int, topics: ArrayLike
) -> pd.DataFrame:
    """Fit both laws to each system: columns law, slope, score, misfit, indexed by system."""
    fits = [
        {"system": says, "law": law.says, **extrapolate(pairs, rows, law, target, topics)}
        for says, rows in grid.items()
        for law in LAWS.values()
    ]
    return pd.DataFrame(fits).set_index("system")


def law_table(laws: pd.DataFrame, target: int) -> pd.DataFrame:
    """Return fitted laws as a table of texts, but for the misfit."""
    names = {"slope": "b", "score": f"at {target / 1e6:.1f} M pairs", "misfit": "farthest point"}
    texts = {name: laws[name].map(lambda cell: within(cell, 3)) for name in ("slope", "score")}
    return laws.assign(**texts).rename(columns=names)
