"""Sentences of chapter 14 that depend on what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from chapters.ch11_baselines import gain
from chapters.ch14_levers import Lever
from chapters.ch14_scaling import LAWS, Law, fit
from chapters.report import listed, moves, span
from vec2slug_lib.common.vectors import Doubles
from vec2slug_lib.evaluation.intervals import Interval


def effect(interval: Interval) -> str:
    """Write what a difference does to Token F1, in words and numbers."""
    return f"{moves(interval)} ({interval['value']:+.3f}, {span(interval)})"


def behind(gains: Mapping[str, Interval]) -> str:
    """Write on which sources the release is measurably behind."""
    names = [source for source, gained in gains.items() if gained["high"] < 0]
    return f"measurably behind on {listed(names)}" if names else "measurably behind on none"


def sources_say(gains: Mapping[str, Interval], rival: str) -> str:
    """Write on how many sources the release is ahead of the rival, and where it is not."""
    ahead = [source for source, gained in gains.items() if gained["value"] > 0]
    clear = [source for source, gained in gains.items() if gained["low"] > 0]
    text = (
        f"Of {len(gains)} sources, the release is ahead of {rival} on {len(ahead)}, "
        f"measurably on {len(clear)}, and {behind(gains)}."
    )
    level_with = [
        f"{source} ({gained['value']:+.3f}, {span(gained)})"
        for source, gained in gains.items()
        if gained["value"] <= 0 <= gained["high"]
    ]
    return text + (f" Behind within the noise: {listed(level_with)}." if level_with else "")


def answer(f1: float, ours: Doubles, theirs: Doubles, rival: str, behind_on: str) -> str:
    """Write the answer of the chapter.

    Args:
        f1: Token F1 of the release.
        ours: the same of each test page ``[N]``.
        theirs: that of the rival ``[N]``.
        rival: its name.
        behind_on: where the release is behind, as `behind` says it.
    """
    lead, ratio = gain(ours, theirs), ours.mean() / theirs.mean()
    return (
        "Meaning that the embedder already has, and labels that cost nothing. With tables made of "
        "the embedder's own vectors of words, a bag-of-words head, spans of text read back, and a "
        "choice among candidates that the embedder re-ranks, a decoder of the study's small shape "
        f"reaches a Token F1 of {f1:.3f}. That is {ratio:.2f} times the {theirs.mean():.3f} of "
        f"{rival} (difference {lead['value']:+.3f}, {span(lead)}), and it is {behind_on} of "
        "the larger sources."
    )


def choice_says(decoded: Mapping[str, Mapping[str, Any]]) -> str:
    """Write what other decodings of the release do to Token F1."""
    effects = {name: effect(row["difference"]["token_f1"]) for name, row in decoded.items()}
    return (
        f"Without re-ranking, Token F1 {effects['mbr-plain']}; with the eight slugs as the only "
        f"evidence besides, it {effects['mbr-candidates']}; with the study's search and no choice "
        f"at all, it {effects['project']}. With the nearest pages as evidence too, it "
        f"{effects['mbr-index']}."
    )


def spans_say(
    f1: Mapping[str, float], unpaired: Interval, many: int, rival: str, effects: Mapping[str, str]
) -> str:
    """Write what spans teach without a pair, and what is left of it after the pairs.

    Args:
        f1: Token F1 after ``random`` spans alone, after spans of ``four`` kinds alone, and after
            ``pairs`` alone.
        unpaired: paired difference of four kinds alone to the rival.
        many: spans read back.
        rival: its name.
        effects: of the levers ``spans`` and ``release``.
    """
    phrases = ("is measurably above", "is measurably below", "is level with")
    return (
        "The figure shows what spans teach without a pair; fewer of them are cut from as many "
        f"fewer pages. A decoder that has read {many:,} random spans, and not one pair, writes "
        f"slugs of a Token F1 of {f1['random']:.3f}: {f1['random'] / f1['pairs']:.0%} of what the "
        f"pairs alone teach. One that has read four kinds of span reaches {f1['four']:.3f}, which "
        f"{moves(unpaired, *phrases)} that of {rival}, without one page beside its slug. What is "
        f"left of it after the pairs? By {many:,} random spans Token F1 {effects['spans']}. With "
        "other kinds beside the random ones, and a vocabulary of twice the size, it "
        f"{effects['release']}."
    )


def levers_say(levers: Mapping[str, Lever], gains: Mapping[str, Interval]) -> str:
    """Write which levers are the largest steps up, which do nothing, and which are worse."""
    order = sorted(gains, key=lambda key: -gains[key]["value"])
    values = {key: f"“{levers[key].says}” ({gains[key]['value']:+.3f})" for key in order}
    flat = [
        f"“{levers[key].says}”" for key in order if gains[key]["low"] <= 0 <= gains[key]["high"]
    ]
    worse = [values[key] for key in order if gains[key]["high"] < 0]
    text = f"The largest steps up are {listed([values[key] for key in order[:2]])}."
    text += f" No measurable difference: {listed(flat)}." if flat else ""
    return text + (f" Worse: {listed(worse)}." if worse else "")


def pairs_needed(pairs: Sequence[int], study: Doubles, ours: Doubles, law: Law) -> float:
    """Return the pairs with which the study's recipe would be where ours is with all pairs."""
    a, b = fit(pairs, study.mean(0), law)
    return float(np.exp((law.link(ours.mean(0)[-1]) - a) / b))


def meeting(pairs: Sequence[int], study: Doubles, ours: Doubles, law: Law) -> float | None:
    """Return the pairs with which the study's recipe would be level with ours; None for never."""
    (a, b), (c, d) = (fit(pairs, scores.mean(0), law) for scores in (study, ours))
    return float(np.exp((c - a) / (b - d))) if b > d else None


def reach(laws: pd.DataFrame, system: str) -> tuple[float, float]:
    """Return the least and the most that the laws expect of a system, intervals included."""
    cells = laws.loc[system, "score"]
    return min(cell["low"] for cell in cells), max(cell["high"] for cell in cells)


def data_say(most: float, reported: float) -> str:
    """Write whether pairs alone can account for the study's level.

    Args:
        most: Token F1 that the laws expect at most of the study's recipe with as many pairs.
        reported: what the study found.
    """
    if most < reported:
        return (
            "Pairs alone then do not account for the study's level: the rest lies in what the "
            "vectors hold, here 384 values of a page's first 256 tokens, and in the slugs "
            "themselves."
        )
    return (
        "So the number of pairs can account for the study's level, and nothing here says that its "
        "wider vectors hold what ours lack; its pages and slugs are others, though."
    )


def meetings_say(pairs: Sequence[int], study: Doubles, ours: Doubles) -> str:
    """Write with how many pairs the study's recipe would be level with ours, by each law."""
    counts = {name: meeting(pairs, study, ours, law) for name, law in LAWS.items()}
    return listed(
        [
            f"with {count / 1e6:.1f} million pairs by the law of the {name}"
            if count
            else f"never by the law of the {name}"
            for name, count in counts.items()
        ]
    )


def scaling_says(
    pairs: Sequence[int],
    grid: Mapping[str, Doubles],
    laws: pd.DataFrame,
    target: int,
    reported: float,
) -> str:
    """Write what more pairs would bring.

    Args:
        pairs: sizes of the training set, P of them.
        grid: by system, score of each test row at each size ``[N, P]``.
        laws: as `fit_laws` returns them.
        target: pairs of the study.
        reported: Token F1 of its small release.
    """
    study, ours = (grid[name] for name in ("the study's recipe", "ours"))
    (low, high), (our_low, our_high) = (
        reach(laws, says) for says in ("the study's recipe", "ours")
    )
    few, many = sorted(pairs_needed(pairs, study, ours, law) / 1e6 for law in LAWS.values())
    return (
        f"With {target:,} pairs the laws expect {low:.3f} to {high:.3f} of the study's recipe, "
        f"where the study found {reported:.3f} on its own data (reported). "
        f"{data_say(high, reported)} To be where ours is with {pairs[-1]:,} pairs, the recipe "
        f"would need {few:.1f} to {many:.1f} million of them by the two laws. Of ours they expect "
        f"{our_low:.3f} to {our_high:.3f} at {target:,}. The recipe would be level with ours "
        f"{meetings_say(pairs, study, ours)}."
    )
