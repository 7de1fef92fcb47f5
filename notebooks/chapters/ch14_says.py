"""Sentences of chapter 14 that depend on what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from chapters.ch11_baselines import gain
from chapters.ch14_levers import Lever
from chapters.ch14_scaling import LAWS, doubling, meeting, pairs_needed
from chapters.report import listed, moves, span, within
from vec2slug_lib.common.vectors import Doubles
from vec2slug_lib.evaluation.intervals import Interval, ratio_of


def effect(interval: Interval) -> str:
    """Write what a difference does to Token F1, in words and numbers."""
    return f"{moves(interval)} ({interval['value']:+.3f}, {span(interval)})"


def behind(gains: Mapping[str, Interval]) -> str:
    """Write on which sources the release is measurably behind."""
    names = [source for source, gained in gains.items() if gained["high"] < 0]
    return f"measurably behind on {listed(names)}" if names else "measurably behind on none"


def sources_say(gains: Mapping[str, Interval], rival: str) -> str:
    """Write on how many sources the release is ahead of the rival, and where it is not."""
    known = {source: gained for source, gained in gains.items() if not isnan(gained["low"])}
    ahead = [source for source, gained in gains.items() if gained["value"] > 0]
    clear = [source for source, gained in known.items() if gained["low"] > 0]
    text = (
        f"Of {len(gains)} sources, the release is ahead of {rival} on {len(ahead)}, "
        f"measurably on {len(clear)}, and {behind(gains)}."
    )
    level_with = [
        f"{source} ({gained['value']:+.3f}, {span(gained)})"
        for source, gained in known.items()
        if gained["value"] <= 0 <= gained["high"]
    ]
    text += f" Behind within the noise: {listed(level_with)}." if level_with else ""
    single = [source for source in gains if source not in known]
    if not single:
        return text
    return f"{text} One topic has all pages of {listed(single)}, which decides nothing there."


def mean_says(means: pd.DataFrame, sources: pd.Series, rival: str) -> str:
    """Write how the release stands to the rival with each source counting alike.

    Args:
        means: as `source_means` returns them.
        sources: of each test page.
        rival: its name.
    """
    first = means.iloc[0]
    verdicts = [moves(x, "ahead", "behind", "level with it") for x in means["difference"]]
    listing = [
        f"{word} with sources of {n} pages or more"
        for n, word in zip(means.index, verdicts, strict=True)
    ]
    verdict = f"{verdicts[0]} whichever count" if len(set(verdicts)) == 1 else listed(listing)
    largest, share = sources.mode()[0], sources.value_counts(normalize=True).max()
    return (
        f"The test pages are not balanced over their {first['sources']} sources: {largest} alone "
        f"has {share:.0%} of them. With each source counting alike, the release has a Token F1 of "
        f"{within(first['release'], 3)} and {rival} {within(first['rival'], 3)}. The level "
        f"depends on which sources count, as the table shows. The release is {verdict}."
    )


def times(ours: Doubles, theirs: Doubles, topics: ArrayLike) -> Interval:
    """Divide the mean of a system by that of another on the same pages, with an interval."""
    counted = np.ones_like(ours, bool)[:, None]
    return ratio_of([(ours[:, None], counted), (theirs[:, None], counted)], topics)


def question(ours: Interval, rival: str) -> str:
    """Write how the study's model, trained here, stands to the rival; ``ours`` minus it."""
    phrases = ("is ahead of", "loses to", "is level with")
    return f"{moves(ours, *phrases)} {rival}, which needs no training"


def answer(
    f1: float, ours: Doubles, theirs: Doubles, topics: ArrayLike, rival: str, behind_on: str
) -> str:
    """Write the answer of the chapter.

    Args:
        f1: Token F1 of the release.
        ours: the same of each test page ``[N]``.
        theirs: that of the rival ``[N]``.
        topics: the topic of each page.
        rival: its name.
        behind_on: where the release is behind, as `behind` says it.
    """
    lead, ratio = gain(ours, theirs, topics), times(ours, theirs, topics)
    return (
        "Meaning that the embedder already has, and labels that cost nothing. With tables made of "
        "the embedder's own vectors of words, a bag-of-words head, spans of text read back, and a "
        "choice among candidates that the embedder re-ranks, a decoder of the study's small shape "
        f"reaches a Token F1 of {f1:.3f}. That is {within(ratio)} times the "
        f"{theirs.mean():.3f} of the best untrained system, {rival} (difference "
        f"{lead['value']:+.3f}, {span(lead)}), and it is {behind_on} of the larger sources."
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


def reach(laws: pd.DataFrame, system: str) -> tuple[float, float]:
    """Return the least and the most that the laws expect of a system, intervals included."""
    cells = laws.loc[system, "score"]
    return min(cell["low"] for cell in cells), max(cell["high"] for cell in cells)


def endings_say(rows: Sequence[Mapping[str, Any]], pairs: Sequence[int], system: str) -> str:
    """Write how many steps a system had at each size, and where validation ended them.

    Args:
        rows: as `all_endings` returns them.
        pairs: sizes of the training set, in the same order.
        system: its name.
    """
    least, most = (f"{pick(row['steps'] for row in rows):,}" for pick in (min, max))
    text = f"{system.capitalize()} had {least} to {most} steps"
    if all(row["scheduled"] for row in rows):
        return (
            f"{text}: a fixed number of epochs, over which its rate falls to zero. Whether more of "
            "them would be better with few pairs was not tried."
        )
    cut = [f"{size:,}" for size, row in zip(pairs, rows, strict=True) if not row["converged"]]
    if not cut:
        return f"{text}, at every size until the validation loss no longer fell."
    return (
        f"{text}. With {listed(cut)} pairs it ended by its number of epochs, and not because the "
        "validation loss no longer fell: there it might be better for more steps, and what is "
        "fitted to these points holds for training this short."
    )


def range_says(pairs: Sequence[int], grid: Mapping[str, Doubles], topics: ArrayLike) -> str:
    """Write what pairs bring within the sizes that were measured.

    Args:
        pairs: sizes of the training set, P of them.
        grid: by system, score of each test row at each size ``[N, P]``; the study's first, then
            ours.
        topics: the topic of each test row.
    """
    (name, study), (_, ours) = list(grid.items())[:2]
    added = [f"{within(doubling(pairs, rows, topics), 3)} to {says}" for says, rows in grid.items()]
    first, last = (gain(study[:, i], ours[:, i], topics) for i in (0, -1))
    change = gain(study[:, -1] - study[:, 0], ours[:, -1] - ours[:, 0], topics)
    distance = moves(change, "shrinks", "grows", "does not change measurably")
    return (
        f"From {pairs[0]:,} to {pairs[-1]:,} pairs, each doubling adds {listed(added)}. "
        f"Beside ours, {name} is at {first['value']:+.3f} ({span(first)}) with the fewest and at "
        f"{last['value']:+.3f} ({span(last)}) with all: the distance {distance}."
    )


def level_says(reported: float, low: float, high: float, factor: float) -> str:
    """Write what an extrapolation says of the study's level.

    Args:
        reported: Token F1 of the study.
        low: what the laws expect at least.
        high: what they expect at most.
        factor: how many times as many pairs that is as were measured.
    """
    place = "above" if reported > high else "below" if reported < low else "within"
    return (
        f"The study's {reported:.3f} (reported), on its own data, lies {place} that. It is an "
        f"extrapolation by a factor of {factor:.0f}, to where nothing was measured: whether the "
        "number of pairs accounts for the study's level is not decided here."
    )


def count_says(count: Interval, measured: int) -> str:
    """Write with how many pairs, with an interval, and whether that was measured; or never."""

    def million(pairs: float) -> str:
        digits = ",.0f" if pairs >= 1e7 else ".2g"
        return f"{pairs / 1e6:{digits}} million" if pairs < 1e12 else "never"

    value, low, high = (million(count[key]) for key in ("value", "low", "high"))
    if value == low == "never":
        return "never"
    ends = f"{low} to {high}" if value != "never" else f"{low} or more"
    if count["low"] > measured:
        ends += "; not reached within the range of the data"
    elif count["high"] > measured:
        ends += "; perhaps not reached within the range of the data"
    return f"never ({ends})" if value == "never" else f"with {value} pairs ({ends})"


def scaling_says(
    pairs: Sequence[int],
    grid: Mapping[str, Doubles],
    laws: pd.DataFrame,
    target: int,
    reported: float,
    topics: ArrayLike,
) -> str:
    """Write what the laws expect beyond the sizes that were measured.

    Args:
        pairs: sizes of the training set, P of them.
        grid: as `range_says` has it.
        laws: as `fit_laws` returns them.
        target: pairs of the study.
        reported: Token F1 of its small release.
        topics: the topic of each test row.
    """
    (name, study), (_, ours) = list(grid.items())[:2]
    (low, high), (our_low, our_high) = (reach(laws, says) for says in list(grid)[:2])
    needed, level = (
        listed(
            [
                f"{count_says(statistic(pairs, study, ours, law, topics), pairs[-1])} by the "
                f"law of the {key}"
                for key, law in LAWS.items()
            ]
        )
        for statistic in (pairs_needed, meeting)
    )
    return (
        f"With {target:,} pairs the laws expect {low:.3f} to {high:.3f} of {name}, and "
        f"{our_low:.3f} to {our_high:.3f} of ours. "
        f"{level_says(reported, low, high, target / pairs[-1])} {name.capitalize()} would "
        f"be where ours is with {pairs[-1]:,} pairs {needed}. The two would be level {level}."
    )
