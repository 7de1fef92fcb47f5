"""Chapter 15: figures, tables and sentences over two sweeps."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from chapters.ch03_collapse import best_constant, constant_f1
from chapters.ch14_figures import slugs_with_word
from chapters.figures import COLOURS, bars
from chapters.report import listed, moves, over_seeds, signed, span, within
from vec2slug_lib.common.slugs import MAX_WORDS
from vec2slug_lib.data.dataset import Dataset
from vec2slug_lib.evaluation.intervals import Interval, summarise
from vec2slug_lib.experiments.table import find_experiment

METRICS = {"token_f1": "Token F1", "words_new": "words", "unknown_new": "unknown last word"}


def changed_fields(variant: str) -> pd.DataFrame:
    """Return the fields in which the sweep's decoders differ from the chapter's."""
    usual, small = find_experiment("3h"), find_experiment("3h" + variant)
    changed = {
        name: {"chapter 6": str(value), "this sweep": str(getattr(small, name))}
        for name, value in vars(usual).items()
        if value != getattr(small, name)
    }
    return pd.DataFrame(changed).T.rename_axis("field")


def constant_slug(train: Dataset, rows: Dataset) -> tuple[str, Interval]:
    """Return the one slug that does best on the training pages, and its Token F1 on others.

    Args:
        train: the training pages, whose most frequent words it is made of.
        rows: the pages on which it is scored, with an interval over topics.
    """
    ranked = slugs_with_word(train.slugs).index[:MAX_WORDS].tolist()
    slug = best_constant(ranked, train.slugs)
    scores = {"token_f1": constant_f1(slug, rows.slugs)}
    return slug, summarise(scores, rows.pairs["cluster"])["token_f1"]


def above_constant(by_cap: pd.DataFrame, constant: Interval) -> list[int]:
    """List the caps whose mean over seeds is measurably above a constant slug, both ends counted.

    Args:
        by_cap: Token F1 of each cap with its interval over seeds.
        constant: that of the slug with its interval over topics.
    """
    return [int(cap) for cap, row in by_cap.iterrows() if row["low"] > constant["high"]]


def constant_says(by_cap: pd.DataFrame, slug: str, constant: Interval) -> str:
    """Write whether the sweep's decoders are better than one slug for all pages."""
    above = above_constant(by_cap, constant)
    means = f"{by_cap['value'].min():.3f} to {by_cap['value'].max():.3f}"
    text = (
        f"One slug for all pages, `{slug}`, the best that the most frequent words make, has a "
        f"Token F1 of {within(constant, 3)} on the same pages, over topics. The means of the caps "
        f"are {means}. "
    )
    if not above:
        return (
            f"{text}So none of these decoders is measurably better than a constant, and what a cap "
            "does to them says nothing of one that has learnt to read the vector."
        )
    if len(above) < len(by_cap):
        caps = listed([str(cap) for cap in above])
        return f"{text}Measurably better than the constant are those at {caps} tokens."
    return f"{text}So all of them are measurably better than the constant."


def cap_figure(caps: pd.DataFrame, by_cap: pd.DataFrame, constant: Interval) -> go.Figure:
    """Draw Token F1 by cap: the seeds, their mean with its interval, and that of one slug."""
    figure = go.Figure()
    for seed, rows in caps.groupby("seed"):
        figure.add_scatter(
            x=rows["cap"], y=rows["token_f1"], mode="markers", name=f"seed {seed}",
            marker={"size": 9, "symbol": "circle-open"},
        )  # fmt: skip
    figure.add_scatter(
        x=by_cap.index, y=by_cap["value"], error_y=bars(by_cap), mode="lines+markers", name="mean",
        line_color=COLOURS[6],
    )  # fmt: skip
    figure.add_hline(
        y=constant["value"], line_dash="dot", annotation_text="one slug for all pages",
        annotation_position="bottom right",
    )  # fmt: skip
    figure.update_layout(
        title="Token F1 by cap and seed", xaxis_title="cap, tokens", yaxis_title="Token F1",
        xaxis_tickvals=by_cap.index,
    )  # fmt: skip
    figure.update_yaxes(rangemode="tozero")
    return figure


def by_cap_says(by_cap: pd.DataFrame) -> str:
    """Write the mean of each cap with its interval."""
    return ", ".join(f"{within(row, 3)} at {cap}" for cap, row in by_cap.to_dict("index").items())


def cap_effects(caps: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the effect of each cap within seeds, as a difference to a cap of 10, by metric."""
    return {name: over_seeds(caps, "cap", key, base=10) for key, name in METRICS.items()}


def effect_table(effects: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the effects of caps with intervals, a row a cap."""
    rows = {
        f"cap {cap} minus cap 10": {name: signed(part.loc[cap]) for name, part in effects.items()}
        for cap in effects["Token F1"].index
    }
    return pd.DataFrame(rows).T.rename_axis("difference")


def cap_answer(gained: Interval, seeds: int, top: int, above: bool) -> str:
    """Write what raising the cap to its highest value does, and whether it means anything.

    Args:
        gained: difference in Token F1 to the lowest cap.
        seeds: how many.
        top: the highest cap.
        above: whether every cap is above a constant slug.
    """
    text = (
        f"Over {seeds} seeds, raising the cap from 10 to {top} in a small decoder "
        f"changes Token F1 by {gained['value']:+.3f} ({span(gained)}): it {moves(gained)}."
    )
    if above:
        return text
    return (
        f"{text} Nothing follows for trained decoders: these are at the level of one slug for all "
        "pages."
    )


def seed_range(caps: pd.DataFrame) -> float:
    """Return how far seeds differ in Token F1 at the same cap at most."""
    by_cap = caps.groupby("cap")["token_f1"]
    return float(by_cap.agg(lambda f1: f1.max() - f1.min()).max())


def student_factor(caps: pd.DataFrame, by_cap: pd.DataFrame) -> float:
    """Return the half width of an interval over seeds in standard errors."""
    first = by_cap.iloc[0]
    error = caps.loc[caps["cap"] == by_cap.index[0], "token_f1"].sem()
    return float((first["high"] - first["value"]) / error)


def beam_figure(beams: pd.DataFrame) -> go.Figure:
    """Draw Token F1 over beam width, a line for each reward."""
    figure = go.Figure()
    for (reward, rows), colour in zip(beams.groupby("reward"), COLOURS, strict=False):
        points = over_seeds(rows, "width", "token_f1")
        figure.add_scatter(
            x=points.index, y=points["value"], error_y=bars(points), mode="lines+markers",
            name=f"reward {reward}", line_color=colour,
        )  # fmt: skip
    figure.update_layout(
        title="Token F1 by width and reward", xaxis_title="beam width", yaxis_title="Token F1",
        xaxis_type="log", xaxis_tickvals=sorted(beams["width"].unique()),
    )  # fmt: skip
    return figure


def widening(beams: pd.DataFrame, metric: str) -> dict[float, Interval]:
    """Return what the widest beam changes beside the narrowest, paired by draw, by reward."""
    narrow, wide = min(beams["width"]), max(beams["width"])
    return {
        reward: over_seeds(rows, "width", metric, base=narrow).loc[wide].to_dict()
        for reward, rows in beams.groupby("reward")
    }


def widening_table(
    f1: Mapping[float, Interval], lengths: Mapping[float, Interval], header: str
) -> pd.DataFrame:
    """Return what a wider beam does to Token F1 and words, a row a reward."""
    rows = {
        f"reward {reward}": {"Token F1": signed(f1[reward]), "words": signed(length)}
        for reward, length in lengths.items()
    }
    return pd.DataFrame(rows).T.rename_axis(header)


def beam_answer(
    f1: Mapping[float, Interval], lengths: Mapping[float, Interval], narrow: int, wide: int
) -> str:
    """Write what a wider beam does to the words of a slug and to Token F1."""
    least, most = min(f1), max(f1)
    felt = [
        f"with a reward of {reward} it {moves(interval)}"
        for reward, interval in f1.items()
        if not interval["low"] <= 0 <= interval["high"]
    ]
    text = (
        f"In the search, a beam of {wide} instead of {narrow} changes the words of a slug by "
        f"{signed(lengths[least])} with a reward of {least} for a word and by "
        f"{signed(lengths[most])} with one of {most}; "
    )
    if felt:
        return f"{text}as to Token F1, {', '.join(felt)}."
    return f"{text}Token F1 does not change measurably with any reward."
