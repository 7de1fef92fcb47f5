"""What more training pairs would bring: laws fitted to scores at several sizes of the corpus."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from chapters.ch11_baselines import row_f1
from chapters.ch14_levers import on_fraction
from chapters.figures import COLOURS, bars
from chapters.report import within
from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.vectors import Doubles
from vec2slug_lib.evaluation import intervals
from vec2slug_lib.evaluation.intervals import Interval, bootstrap
from vec2slug_lib.experiments.run import record


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
    pairs: Sequence[float], rows: Doubles, law: Law, at: float
) -> dict[str, Interval | float]:
    """Return a law's slope and its score at another size, with bootstrap intervals over test rows.

    The intervals know of the draw of the test rows alone, not of the training's seed nor of whether
    the law holds.

    Args:
        pairs: sizes of the training set, P of them, P >= 2.
        rows: score of each test row at each size ``[N, P]``.
        law: one of `LAWS`.
        at: size to extrapolate to.

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
    slope = bootstrap(rows, lambda means: fit(pairs, means.T, law)[1])
    score = bootstrap(rows, lambda means: curve([at], fit(pairs, means.T, law), law)[..., 0])
    means = rows.mean(0)
    misfit = float(np.abs(curve(pairs, fit(pairs, means, law), law) - means).max())
    return {"slope": slope, "score": score, "misfit": misfit}


def fraction_scores(name: str, fractions: Sequence[float], preset: str) -> Doubles:
    """Return the Token F1 of each test page on fractions of the training pages ``[N, P]``."""
    runs = [record(on_fraction(name, fraction), preset) for fraction in fractions]
    return np.stack([row_f1(run) for run in runs], axis=1)


def pairs_on(fractions: Sequence[float], preset: str) -> list[int]:
    """Return the numbers of training pages in fractions of them."""
    runs = [record(on_fraction("vote", fraction), preset) for fraction in fractions]
    return [run.manifest["train_rows"] for run in runs]


def scaling_figure(pairs: Sequence[int], grid: Mapping[str, Doubles], target: int) -> go.Figure:
    """Draw scores over training pairs, and the laws fitted to them.

    Args:
        pairs: sizes of the training set, P of them.
        grid: by system, score of each test row at each size ``[N, P]``.
        target: size up to which the laws are drawn.
    """
    figure, ahead = go.Figure(), np.geomspace(pairs[0], target, 40)
    for (says, rows), colour in zip(grid.items(), COLOURS, strict=False):
        points = pd.DataFrame(intervals.summarise({str(i): x for i, x in enumerate(rows.T)})).T
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


def fit_laws(pairs: Sequence[int], grid: Mapping[str, Doubles], target: int) -> pd.DataFrame:
    """Fit both laws to each system: columns law, slope, score, misfit, indexed by system."""
    fits = [
        {"system": says, "law": law.says, **extrapolate(pairs, rows, law, target)}
        for says, rows in grid.items()
        for law in LAWS.values()
    ]
    return pd.DataFrame(fits).set_index("system")


def law_table(laws: pd.DataFrame, target: int) -> pd.DataFrame:
    """Return fitted laws as a table of texts, but for the misfit."""
    names = {"slope": "b", "score": f"at {target / 1e6:.1f} M pairs", "misfit": "farthest point"}
    texts = {name: laws[name].map(lambda cell: within(cell, 3)) for name in ("slope", "score")}
    return laws.assign(**texts).rename(columns=names)
