"""Chapter 10 in tables and figures: at which layer the logit lens shows the written token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from chapters.ch09_attention import LEADERS
from chapters.figures import COLOURS, bars
from chapters.report import moves
from vec2slug_lib.evaluation.intervals import Interval, apart

Lens = Mapping[str, Any]  # of a model, see `lens_report`

NEVER = "never"
PLURAL = {
    "first subword": "first subwords",
    "later subword": "later subwords",
    "hyphen": "hyphens",
    "eos": "<eos>",
}
SHADES = ("#084594", "#2171b5", "#4292c6", "#6baed6", "#9ecae1", "#c6dbef", "#deebf7")


def layer_names(lens: Lens) -> list[str]:
    """List the layers that the lens reads: the input, then 1 and so on."""
    layers = len(next(iter(lens["leads"].values())))
    return ["input", *map(str, range(1, layers))]


def over_layers(lens: Lens, key: str) -> dict[str, pd.DataFrame]:
    """Return a quantity by kind of token, each a frame of value, low and high by layer."""
    names = layer_names(lens)
    return {kind: pd.DataFrame(rows, index=names) for kind, rows in lens[key].items()}


def said(series: Mapping[str, Sequence[Interval]], layer: int) -> str:
    """Say the values of all kinds of token at a layer."""
    return ", ".join(f"{kind} {rows[layer]['value']:.2f}" for kind, rows in series.items())


def leads_alt(lens: Lens) -> str:
    """Describe the figure of tokens that lead."""
    leads = lens["leads"]
    return (
        f"A line for each kind of token. After layer 1: {said(leads, 1)}. After the last: "
        f"{said(leads, -1)}."
    )


def settled_frame(lens: Lens) -> pd.DataFrame:
    """Return the share of tokens by the layer from which on they lead: a row a kind of token."""
    return pd.DataFrame(lens["settled"], index=[*layer_names(lens), NEVER]).T


def half_settled(settled: pd.DataFrame) -> dict[str, str]:
    """Return the layer by which half of the tokens of a kind have settled."""
    return {kind: str((row.cumsum() >= 0.5).idxmax()) for kind, row in settled.iterrows()}


def settled_figure(settled: pd.DataFrame) -> go.Figure:
    """Draw the shares of `settled_frame`, stacked."""
    figure = go.Figure()
    for i, column in enumerate(settled):
        colour = "#D55E00" if column == NEVER else SHADES[i % len(SHADES)]
        figure.add_bar(
            y=settled.index, x=settled[column], orientation="h", name=column, marker_color=colour
        )
    return figure.update_layout(
        title="From which layer on it leads", barmode="stack", xaxis_title="share of tokens",
        xaxis_tickformat=".0%", yaxis_autorange="reversed", legend_title="layer",
        legend_traceorder="normal",
    )  # fmt: skip


def settled_alt(half: Mapping[str, str]) -> str:
    """Describe `settled_figure` by the layers of `half_settled`."""
    layers = ", ".join(f"{kind} {layer}" for kind, layer in half.items())
    return f"Stacked bars by kind of token. Half of the tokens have settled by layer: {layers}."


def named(layer: str) -> str:
    """Say the name of a layer, or of none."""
    return {"input": "the input", NEVER: "no layer"}.get(layer, f"layer {layer}")


def decided_table(lens: Lens, half: Mapping[str, str]) -> pd.DataFrame:
    """Tabulate where tokens are decided, a row a kind of token."""
    rows = [
        {
            "token": kind,
            "count": lens["counts"][kind],
            "half have settled by": named(layer),
            "leads after layer 1": lens["leads"][kind][1]["value"],
            "after the last": lens["leads"][kind][-1]["value"],
        }
        for kind, layer in half.items()
    ]
    return pd.DataFrame(rows).set_index("token")


def probability_alt(lens: Lens) -> str:
    """Describe the figure of the token's probability."""
    probability = lens["probability"]
    return (
        f"A line for each kind of token over layers. After layer 1: {said(probability, 1)}; "
        f"after the last: {said(probability, -1)}."
    )


def rank_alt(lens: Lens) -> str:
    """Describe the figure of the token's rank."""
    rank = lens["rank"]
    return (
        f"A line for each kind of token, falling over layers. At the input: {said(rank, 0)}; "
        f"after layer 1: {said(rank, 1)}; after the last: {said(rank, -1)}."
    )


def leaders_figure(lens: Lens) -> go.Figure:
    """Draw what leads where a word begins, stacked shares by layer."""
    figure, names = go.Figure(), layer_names(lens)
    for i, who in enumerate(LEADERS):
        share = [row[i] for row in lens["leaders"]["first subword"]]
        figure.add_bar(x=names, y=share, name=who, marker_color=COLOURS[i])
    return figure.update_layout(
        title="Who leads where a word begins", barmode="stack", xaxis_title="layer",
        yaxis_title="share of first subwords", yaxis_tickformat=".0%", xaxis_type="category",
        legend_traceorder="normal",
    )  # fmt: skip


def leaders_alt(lens: Lens) -> str:
    """Describe `leaders_figure` at its middle layer."""
    names = layer_names(lens)
    middle = len(names) // 2
    shares = zip(LEADERS, lens["leaders"]["first subword"][middle], strict=True)
    mix = ", ".join(f"{who} {share:.0%}" for who, share in shares)
    return f"Stacked bars over layers. After layer {names[middle]}: {mix}."


def agreement(lens: Lens) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return, for first subwords, leaders that also lead at the end, and those that are stopwords.

    Both have columns value, low and high and a row a layer; the second ends with what is written.
    """
    agrees, stopwords = (lens[key]["first subword"] for key in ("agrees", "stopwords"))
    return pd.DataFrame(agrees), pd.DataFrame(stopwords)


def agreement_figure(lens: Lens) -> go.Figure:
    """Draw both of `agreement` over layers."""
    (agrees, stop), names = agreement(lens), layer_names(lens)
    figure = go.Figure()
    for points, x, name in (
        (agrees, names, "the output's own first choice"),
        (stop, [*names, "written"], "a stopword"),
    ):
        figure.add_scatter(x=x, y=points["value"], error_y=bars(points), name=name)
    figure.update_traces(mode="lines+markers")
    return figure.update_layout(
        title="Leaders where a word begins", xaxis_title="layer", yaxis_title="share that are …",
        yaxis_tickformat=".0%", xaxis_type="category", yaxis_rangemode="tozero",
    )  # fmt: skip


def agreement_alt(lens: Lens) -> str:
    """Describe `agreement_figure`."""
    agrees, stop = (points["value"].tolist() for points in agreement(lens))
    return (
        "Two lines over layers. Leaders that are the output's own first choice rise from "
        f"{agrees[1]:.0%} after layer 1 to all. Leaders that are stopwords go from {stop[1]:.0%} "
        f"to {stop[-2]:.0%}; of the tokens written, {stop[-1]:.0%} are."
    )


def last_leaders_table(lens: Lens) -> pd.DataFrame:
    """Tabulate what leads one layer before the end, by kind of the token written."""
    leaders = {kind: rows[-2] for kind, rows in lens["leaders"].items()}
    return pd.DataFrame(leaders, index=LEADERS).T.rename_axis("written")


def late_table(lens: Lens) -> pd.DataFrame:
    """Tabulate tokens that the last layer alone decides: what leads after each layer."""
    return pd.DataFrame(
        [[row["text"] or "–", row["token"], *row["leaders"][1:]] for row in lens["examples"]],
        columns=["so far", "written", *(f"layer {layer}" for layer in layer_names(lens)[1:])],
    ).set_index("so far")


def leads_table(lens: Lens) -> pd.DataFrame:
    """Tabulate the share of tokens that lead, by layer and kind."""
    leads = over_layers(lens, "leads")
    return pd.DataFrame({kind: f["value"] for kind, f in leads.items()}).rename_axis("layer")


def order_findings(lens: Lens, half: Mapping[str, str]) -> dict[str, object]:
    """Return what the page says of the order in which kinds of token settle."""
    names = [*layer_names(lens), NEVER]
    depth = {kind: names.index(layer) for kind, layer in half.items()}
    order = [
        f"{PLURAL[kind]} by {named(half[kind])}" for kind in sorted(depth, key=depth.__getitem__)
    ]
    last = [kind for kind in depth if depth[kind] == max(depth.values())]
    slowest = (
        "Grammar and spelling come early: that a word is over, that a slug is, how a word that has "
        "begun goes on. Which word comes next takes longest"
        if last == ["first subword"]
        else f"Last come {' and '.join(PLURAL[kind] for kind in last)}"
    )
    return {
        "order": ", ".join(order),
        "slowest": slowest,
        "last_first_subword": lens["leads"]["first subword"][-1]["value"],
        "last_eos": lens["leads"]["eos"][-1]["value"],
    }


def rank_findings(lens: Lens) -> dict[str, object]:
    """Return the tokens ahead of a first subword at four depths, from logarithmic means."""
    ahead = [10 ** row["value"] - 1 for row in lens["rank"]["first subword"]]
    depths = {"input": 0, "one": 1, "two": 2, "last": -1}
    fewer = all(after < before for before, after in pairwise(ahead))
    narrowing = "With every layer fewer are left" if fewer else "Not every layer leaves fewer"
    return {f"rank_{name}": ahead[depth] for name, depth in depths.items()} | {
        "narrowing": narrowing
    }


def agreement_findings(lens: Lens) -> dict[str, object]:
    """Return what the page says of stopwords and of agreement with the output."""
    agrees, stop = (points["value"].tolist() for points in agreement(lens))
    comes_late = (
        "The early leaders are what any slug might say next. Where they differ from the output, it "
        "is by what they have not heard of yet: a decoder begins with the language of slugs and "
        "comes to the page late."
        if stop[1] > 2 * stop[-1]
        else "So the early leaders are no mere language of slugs: they know something of the page."
    )
    return {
        "stop_one": stop[1],
        "stop_late": stop[-3],
        "stop_last": stop[-2],
        "stop_written": stop[-1],
        "comes_late": comes_late,
        "disagree_late": 1 - agrees[-2],
    }


def last_layer_findings(lens: Lens) -> dict[str, object]:
    """Return what the page says of the last layer."""
    _, before, later, _, other = lens["leaders"]["first subword"][-2]
    leads = [row["value"] for row in lens["leads"]["first subword"]]
    return {
        "before_last": leads[-2],
        "after_last": leads[-1],
        "same_slug": before + later,
        "later_too": later,
        "other_last": other,
        "still_chooses": "So the last layer does more than put known words in order: it still "
        "chooses among words."
        if other > before + later
        else "So what is left to the last layer is for the most part the order of known words.",
        "unlike": unlike(lens),
    }


def head_findings(released: Lens, lens: Lens) -> dict[str, object]:
    """Return what the page says of first subwords with a bag-of-words head, and without."""
    with_head, plain = (each["leads"]["first subword"] for each in (released, lens))
    return {
        "head_input": with_head[0]["value"],
        "head_last": with_head[-1]["value"],
        "plain_input": plain[0]["value"],
        "head_choice": moves(
            apart(with_head[-1], plain[-1]),
            "more of its first subwords are",
            "fewer of its first subwords are",
            "yet not measurably fewer of its first subwords are",
        ),
    }


def unlike(lens: Lens) -> str:
    """Say for which kinds of token the last layer agrees less with what is written."""
    ends = {kind: (rows[-2]["value"], rows[-1]["value"]) for kind, rows in lens["leads"].items()}
    falls = "; ".join(
        f"{PLURAL[kind]} lead in {before:.1%} of the cases one layer before the end and in "
        f"{after:.1%} after it"
        for kind, (before, after) in ends.items()
        if after < before
    )
    if not falls:
        return "No kind of token leads less often after the last layer than before it."
    return (
        f"For some tokens the last layer agrees less with what is written: {falls}. The model "
        "would have done otherwise there, and the search, which weighs whole slugs, did not follow "
        "it."
    )


def answer(name: str, lens: Lens, half: Mapping[str, str]) -> str:
    """Answer the chapter's question of a model, with its numbers."""
    hyphens, firsts = (lens["leads"][kind][1]["value"] for kind in ("hyphen", "first subword"))
    return (
        f"In {name}, half of the hyphens have settled by {named(half['hyphen'])}, half of the "
        f"first subwords of a word by {named(half['first subword'])}: after layer 1 the written "
        f"token leads for {hyphens:.0%} of the hyphens and {firsts:.0%} of the first subwords."
    )
