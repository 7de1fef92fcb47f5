"""What more training pairs would bring: laws fitted to scores at several sizes of the corpus."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.vectors import Doubles
from vec2slug_lib.evaluation.intervals import Interval, bootstrap


@dataclass(frozen=True)
class Law:
    """Score over pairs with two parameters: a straight line where both axes are bent."""

    says: str
    link: Callable[[Doubles], Doubles]  # of the score, so that it is linear in log(pairs)
    inverse_link: Callable[[Doubles], Doubles]


def log_odds(score: Doubles) -> Doubles:
    """Logarithm of score / (1 - score); a score of 0 or 1 counts as one a little inside."""
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
    """Intercept and slope of ``law.link(score)`` over log(pairs), by least squares.

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
    """Scores ``[..., P]`` of a fitted law at other sizes."""
    a, b = (np.asarray(value)[..., None] for value in parameters)
    return law.inverse_link(a + b * np.log(np.asarray(pairs, float)))


def extrapolate(
    pairs: Sequence[float], rows: Doubles, law: Law, at: float
) -> dict[str, Interval | float]:
    """A law's slope and its score at another size, with 95 % bootstrap intervals over test rows.

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
