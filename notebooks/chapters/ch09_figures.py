"""Chapter 9 in tables and figures: where attention goes, by kind of token, layer and head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from chapters.ch09_attention import BINS, ROUTES
from chapters.ch09_claims import MOST, heads_at_layer_one, place_effect, reported_place_effect
from chapters.report import listed, within
from vec2slug_lib.evaluation.intervals import Interval

Analysis = Mapping[str, Any]  # of a model, see `analyse`
Attention = Mapping[str, Any]  # see `attention_report`

# The study's, of its large model: share of attention on the prefix, by layer.
REPORTED = pd.DataFrame(
    {
        "bos": [0.624, 0.289, 0.398, 0.373, 0.529, 0.604],
        "hyphen": [0.530, 0.136, 0.187, 0.176, 0.339, 0.352],
        "subword": [0.093, 0.120, 0.097, 0.122, 0.079, 0.067],
        "eos": [0.050, 0.030, 0.018, 0.038, 0.074, 0.041],
    },
    index=pd.RangeIndex(1, 7, name="layer"),
)
REPORTED_HEADS = [0.982, 0.015, 0.011, 0.993, 0.958, 0.007, 0.988, 0.286]  # hyphens, layer 1


def layers_of(attention: Attention) -> list[int]:
    """List the layers of a report, from 1."""
    return list(range(1, len(attention["ratio"]) + 1))


def over_layers(intervals: Sequence[Interval]) -> pd.DataFrame:
    """Return an interval a layer as a frame: columns value, low and high, a row a layer from 1."""
    return pd.DataFrame(intervals, index=np.arange(1, len(intervals) + 1))


def by_kind_over_layers(report: Mapping[str, Sequence[Interval]]) -> dict[str, pd.DataFrame]:
    """Return the frame of `over_layers` for each kind of token."""
    return {kind: over_layers(intervals) for kind, intervals in report.items()}


def prefix_table(prefix: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Tabulate the share of attention on the prefix by layer and kind, beside the study's."""
    columns = {}
    for kind in REPORTED:
        columns[kind] = prefix[kind]["value"]
        columns[f"{kind}, reported"] = REPORTED[kind]
    return pd.DataFrame(columns).rename_axis("layer")


def prefix_alt(prefix: Mapping[str, pd.DataFrame]) -> str:
    """Describe the figure of the same shares."""
    hyphens = prefix["hyphen"]["value"]
    return (
        "A line for each kind of token over layers, with the study's dotted. Our hyphens reach "
        f"their highest share, {hyphens.max():.3f}, at layer {int(hyphens.idxmax())}; the study's "
        "are highest at layer 1."
    )


def ratios_table(ratio: pd.DataFrame) -> pd.DataFrame:
    """Tabulate hyphens' share over subwords' by layer, measured and reported."""
    spans = [f"{row.low:.2f} to {row.high:.2f}" for row in ratio.itertuples()]
    columns = {
        "measured": ratio["value"],
        "95 %": pd.Series(spans, index=ratio.index),
        "reported": REPORTED["hyphen"] / REPORTED["subword"],
    }
    return pd.DataFrame(columns).rename_axis("layer")


def spread_figure(attention: Attention, layer: int) -> go.Figure:
    """Draw the distribution of single hyphens' and subwords' shares at a layer."""
    figure = go.Figure()
    centres = (np.arange(BINS) + 0.5) / BINS
    for kind in ("hyphen", "subword"):
        counts = np.array(attention["spread"][kind]["counts"][layer - 1])
        figure.add_bar(x=centres, y=counts / counts.sum(), name=kind)
    figure.update_layout(
        title=f"Share of the prefix at layer {layer}", barmode="overlay", bargap=0,
        xaxis_title="share of attention on the prefix", yaxis_title="share of tokens",
        yaxis_tickformat=".0%",
    )  # fmt: skip
    return figure.update_traces(opacity=0.7)


def spread_alt(attention: Attention, layer: int) -> str:
    """Describe `spread_figure`."""
    middle = {
        kind: spread["quartiles"][layer - 1][1] for kind, spread in attention["spread"].items()
    }
    return (
        f"Two histograms. Half of the hyphens give the prefix more than {middle['hyphen']:.2f}, "
        f"half of the subwords more than {middle['subword']:.2f}."
    )


def spread_table(attention: Attention) -> pd.DataFrame:
    """Tabulate quartiles of the shares, and those of first, middle and last hyphens, by layer."""
    columns: dict[str, list[Any]] = {"layer": layers_of(attention)}
    for kind in ("hyphen", "subword"):
        rows = attention["spread"][kind]["quartiles"]
        columns[f"{kind}, quartiles"] = ["{:.3f} / {:.3f} / {:.3f}".format(*row) for row in rows]
    for place, intervals in attention["places"].items():
        columns[f"{place} hyphen"] = [interval["value"] for interval in intervals]
    return pd.DataFrame(columns).set_index("layer")


def heads_frame(attention: Attention) -> pd.DataFrame:
    """Return the share that hyphens give the prefix: a row a layer, a column a head."""
    heads = pd.DataFrame(attention["heads"]["hyphen"], index=layers_of(attention))
    return heads.set_axis([f"head {i + 1}" for i in heads.columns], axis=1)


def grid(values: Any, columns: Sequence[str], rows: Sequence[str]) -> go.Figure:
    """Draw shares as a grid with its numbers, the first row on top."""
    figure = go.Figure(
        go.Heatmap(
            z=values, x=list(columns), y=list(rows), colorscale="Blues",
            zmin=0, zmax=1, texttemplate="%{z:.2f}", showscale=False,
        )
    )  # fmt: skip
    return figure


def heads_figure(heads: pd.DataFrame) -> go.Figure:
    """Draw the shares of `heads_frame`."""
    figure = grid(heads, list(heads.columns), [f"layer {i}" for i in heads.index])
    return figure.update_layout(title="Hyphens on the prefix", yaxis_autorange="reversed")


def heads_alt(heads: pd.DataFrame, routing: Sequence[tuple[int, int]]) -> str:
    """Describe `heads_figure`; ``routing``: layer and number of heads, both from 0."""
    most = listed([f"{head + 1} of layer {layer + 1}" for layer, head in routing])
    return (
        f"Grid of {len(heads)} layers by {heads.shape[1]} heads. The heads that give the prefix "
        f"the most are {most}."
    )


def heads_table(heads: pd.DataFrame) -> pd.DataFrame:
    """Tabulate the heads of each layer from most to least, beside those of the study's layer 1."""
    index = pd.RangeIndex(1, len(REPORTED_HEADS) + 1, name="rank of the head")
    columns = {"reported, layer 1": sorted(REPORTED_HEADS, reverse=True)}
    columns |= {f"layer {i}": sorted(heads.loc[i], reverse=True) for i in heads.index}
    return pd.DataFrame(columns, index=index)


def entropy_alt(entropy: Mapping[str, pd.DataFrame]) -> str:
    """Describe the figure of entropy by layer."""
    hyphens = entropy["hyphen"]["value"]
    return (
        "A line for each kind of token over layers. Hyphens are sharpest at layer "
        f"{hyphens.idxmin()}, with {hyphens.min():.2f} bits."
    )


def routes_figure(attention: Attention) -> go.Figure:
    """Draw the shares of attention from each kind of token to each route, by layer."""
    routing, layers = attention["routing"], layers_of(attention)
    labels = [f"layer {i}, {kind}" for i in layers for kind in routing]
    matrix = [[routing[k][r][i - 1] for r in ROUTES] for i in layers for k in routing]
    figure = grid(matrix, ROUTES, labels)
    return figure.update_layout(title="From where to where", yaxis_autorange="reversed", height=760)


def routes_alt(attention: Attention, layer: int) -> str:
    """Describe `routes_figure` at a layer."""
    most = {
        kind: max(ROUTES, key=lambda route: shares[route][layer - 1])
        for kind, shares in attention["routing"].items()
    }
    alike = "; ".join(f"{kind} most to {route}" for kind, route in most.items())
    return f"Grid of attention from each kind of token, by layer. At layer {layer}: {alike}."


def writes_table(attention: Attention) -> pd.DataFrame:
    """Tabulate the share on the prefix by layer and kind of the token that comes next."""
    writes = by_kind_over_layers(attention["writes"])
    return pd.DataFrame({kind: f["value"] for kind, f in writes.items()}).rename_axis("layer")


def prefix_findings(analysis: Analysis, layer: int) -> dict[str, object]:
    """Return what the page says of attention on the prefix, at layer 1 and at another."""
    attention = analysis["attention"]
    first, top = attention["ratio"][0], attention["ratio"][layer - 1]
    if layer == 1:
        switchboard = "Nowhere do hyphens attend to it more than there"
    elif top["low"] > 1:
        switchboard = f"The switchboard is there all the same, at layer {layer}"
    else:
        switchboard = f"Nor is there a switchboard at layer {layer}, where hyphens attend most"
    return {
        "reported_ratio": float(REPORTED.loc[1, "hyphen"] / REPORTED.loc[1, "subword"]),
        "pages": analysis["rows"],
        "hyphens": attention["counts"]["hyphen"],
        "subwords": attention["counts"]["subword"],
        "first_ratio": first["value"],
        "first_span": f"{first['low']:.2f} to {first['high']:.2f}",
        "looks": beside_one(first, "more", "less", "neither more nor less"),
        "switchboard": switchboard,
        "peak": layer,
        "peak_ratio": top["value"],
        "peak_span": f"{top['low']:.2f} to {top['high']:.2f}",
        "peak_hyphen": attention["prefix"]["hyphen"][layer - 1]["value"],
        "peak_subword": attention["prefix"]["subword"][layer - 1]["value"],
        "even_hyphen": attention["even"]["hyphen"],
        "even_subword": attention["even"]["subword"],
    }


def beside_one(ratio: Interval, above: str, below: str, level: str) -> str:
    """Say on which side of one the interval of a ratio lies, or that it holds one."""
    return above if ratio["low"] > 1 else below if ratio["high"] < 1 else level


def spread_findings(analysis: Analysis, layer: int) -> dict[str, str]:
    """Return what the page says of single hyphens at a layer."""
    attention = analysis["attention"]
    low, _, high = attention["spread"]["hyphen"]["quartiles"][layer - 1]
    places = [rows[layer - 1]["value"] for rows in attention["places"].values()]
    return {
        "quartiles": f"{low:.3f} to {high:.3f}",
        "places": ", ".join(f"{value:.3f}" for value in places) or "no values, having no siblings",
        "place_effect": place_verdict(analysis, layer),
    }


def place_verdict(analysis: Analysis, layer: int) -> str:
    """Say how a slug's last hyphen differs from its first beyond the positions it has in sight."""
    effects = {i: place_effect(analysis, i) for i in sorted({1, layer})}
    if np.isnan(effects[1]["value"]):
        return "What is left then, the record of this model does not hold yet."
    said = [
        f"{within(effect)} times the first's at layer {i}, "
        + beside_one(
            effect,
            "so it favours the prefix more",
            "so it favours the prefix less",
            "which is no measurable difference",
        )
        for i, effect in effects.items()
    ]
    return (
        f"Counted so, the last hyphen's is {'; '.join(said)}. The study's own figures would come "
        f"to {reported_place_effect(analysis):.1f} at its layer 1, if its hyphens stood where ours "
        "do."
    )


def routing_findings(analysis: Analysis) -> dict[str, object]:
    """Return what the page says of the routing heads."""
    layers = [layer + 1 for layer, _ in analysis["routing"]]
    where = [f"{layers.count(i)} at layer {i}" for i in sorted(set(layers))]
    return {
        "routing_where": listed(where),
        "routing_count": len(layers),
        "heads_at_one": heads_at_layer_one(analysis)["value"],
        "heads_of_layer": len(analysis["attention"]["heads"]["hyphen"][0]),
        "heads_reported": sum(share > MOST for share in REPORTED_HEADS),
    }


def drawn_over(analyses: Mapping[str, Analysis]) -> str:
    """Say what the intervals of several models' analyses are drawn over, pages or topics."""
    names: dict[str, list[str]] = {}
    for name, analysis in analyses.items():
        names.setdefault(analysis.get("drawn_over", "pages"), []).append(name)
    if len(names) == 1:
        said = f"drawn over {next(iter(names))}"
    else:
        parts = [f"over {kind} for {listed(each)}" for kind, each in names.items()]
        said = f"drawn {'; '.join(parts)}"
    if "pages" not in names:
        return f"{said}, since pages of one topic are alike"
    return (
        f"{said}. Over pages they are too narrow as soon as other topics are meant, since pages of "
        "one topic are alike"
    )
