"""Chapter 9 in tables and figures: what decoders lose without the prefix, or with another page's.

In records a knockout is called a cut; costs are nats added to the loss of a word's first subword.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from chapters.ch09_figures import Analysis
from chapters.figures import bars
from chapters.report import listed, moves, signed, within
from vec2slug_lib.evaluation.intervals import Interval

Cuts = Mapping[str, Any]  # of an analysis, see `knockout_report`
Beside = Mapping[str, Analysis]  # models by name

TABULATED = (
    "nothing", "hyphen", "subword", "bos", "hyphen and subword", "everything", "routing heads",
)  # fmt: skip
DRAWN = ["hyphen", "subword", "bos", "routing heads"]
WRITTEN = ("nothing", "hyphen", "subword", "everything")
REPORTS = ("cuts", "swaps")
SWAPPED = ("hyphen", "subword", "bos", "routing heads", "everything")


def cost(analysis: Analysis, name: str, report: str = "cuts") -> Interval:
    """Return what a knockout, or one of the ``swaps``, adds to the loss of a first subword."""
    added: Interval = analysis[report][name]["added"]["first subword"]
    return added


def random_knockouts(analysis: Analysis) -> list[str]:
    """List the knockouts of random heads by name."""
    return [name for name in analysis["cuts"] if name.startswith("random")]


def random_costs(analysis: Analysis) -> list[float]:
    """Return the cost of each knockout of random heads."""
    return [cost(analysis, name)["value"] for name in random_knockouts(analysis)]


def knockouts_table(cuts: Cuts) -> pd.DataFrame:
    """Tabulate nats added and greedy slugs by knockout."""
    rows = [
        {
            "knocked out for": name,
            "first subwords": signed(cuts[name]["added"]["first subword"]),
            "all tokens": signed(cuts[name]["added"]["all"]),
            "pages' own slugs": signed(cuts[name]["reference"]),
            "Token F1": cuts[name]["f1"]["value"],
            "difference": signed(cuts[name]["lost"]),
            "same slug": f"{cuts[name]['same']:.1%}",
            "distinct": f"{cuts[name]['diversity']:.1%}",
        }
        for name in TABULATED
    ]
    return pd.DataFrame(rows).set_index("knocked out for")


def added_figure(cuts: Cuts) -> go.Figure:
    """Draw the loss that knockouts add, by kind of token written."""
    figure = go.Figure()
    for target in cuts["nothing"]["added"]:
        if target != "all":
            points = pd.DataFrame([cuts[name]["added"][target] for name in DRAWN], index=DRAWN)
            figure.add_bar(x=DRAWN, y=points["value"], error_y=bars(points), name=target)
    return figure.update_layout(
        title="Loss added without the prefix", xaxis_title="knocked out for",
        yaxis_title="nats a token",
    )  # fmt: skip


def added_alt(analysis: Analysis) -> str:
    """Describe `added_figure`."""
    costs = [f"{cost(analysis, name)['value']:+.2f} ({name})" for name in DRAWN]
    return f"Bars by kind of token written. First subwords: {listed(costs)} nats."


def slugs_table(cuts: Cuts) -> pd.DataFrame:
    """Tabulate the first pages' greedy slugs by knockout."""
    slugs = pd.DataFrame({name: cuts[name]["slugs"] for name in WRITTEN})
    return slugs.set_index("nothing").rename_axis("no knockout")


def draws_frame(analysis: Analysis) -> pd.DataFrame:
    """Return cost (nats) and Token F1 of the knockouts of heads; the first is of routing heads."""
    names = ["routing heads", *random_knockouts(analysis)]
    return pd.DataFrame(
        {
            "heads": [name.split()[0] for name in names],
            "nats": [cost(analysis, name)["value"] for name in names],
            "f1": [analysis["cuts"][name]["f1"]["value"] for name in names],
        }
    )


def draws_figure(draws: pd.DataFrame, heads: int) -> go.Figure:
    """Draw the points of `draws_frame`, each a knockout of so many heads."""
    figure = go.Figure()
    for kind, points in draws.groupby("heads", sort=False):
        figure.add_scatter(
            x=points["nats"], y=points["f1"], mode="markers", name=f"{kind} heads", marker_size=10
        )
    return figure.update_layout(
        title=f"{heads} heads without the prefix",
        xaxis_title="nats added to a first subword", yaxis_title="Token F1",
    )  # fmt: skip


def draws_alt(draws: pd.DataFrame) -> str:
    """Describe `draws_figure`."""
    routing, random = draws.iloc[0], draws.iloc[1:]
    return (
        f"Scatter plot. Knocked out in the routing heads: {routing['nats']:+.2f} nats, Token F1 "
        f"{routing['f1']:.3f}. In as many random other heads: {random['nats'].min():+.2f} to "
        f"{random['nats'].max():+.2f} nats, Token F1 {random['f1'].min():.3f} to "
        f"{random['f1'].max():.3f}."
    )


def hyphens_lose_more(analysis: Analysis, report: str) -> bool:
    """Tell whether a knockout, or one of the ``swaps``, costs more for hyphens than subwords."""
    hyphen, subword = (cost(analysis, kind, report) for kind in ("hyphen", "subword"))
    return hyphen["low"] > max(0, subword["high"])


def reading_verdict(analysis: Analysis) -> str:
    """Say what first subwords lose more by at hyphens: a missing prefix, or another page's."""
    blind = "so here attention is no proof of reading"
    missing = hyphens_lose_more(analysis, "cuts")
    if "swaps" not in analysis:
        said = (
            "a missing prefix costs more at hyphens than at subwords"
            if missing
            else f"a missing prefix costs no more at hyphens than at subwords, {blind}"
        )
    elif hyphens_lose_more(analysis, "swaps"):
        said = (
            "the page is read at hyphens: a missing prefix and another page's both cost more there "
            "than at subwords"
            if missing
            else "another page's prefix costs more at hyphens than at subwords, a missing one does "
            "not"
        )
    else:
        said = (
            "a missing prefix costs more at hyphens than at subwords, another page's does not: "
            "what hyphens need is a prefix, whichever it is"
            if missing
            else "neither a missing prefix nor another page's costs more at hyphens than at "
            f"subwords, {blind}"
        )
    return f"For the first subword of a word, {said}"


def knockout_findings(analysis: Analysis) -> dict[str, object]:
    """Return what the page says of the knockouts of kinds of tokens."""
    cuts, counts = analysis["cuts"], analysis["attention"]["counts"]
    later = cuts["subword"]["added"].get("later subword")
    return {
        "verdict": reading_verdict(analysis),
        "hyphen_cost": signed(cost(analysis, "hyphen")),
        "subword_cost": signed(cost(analysis, "subword")),
        "bos_cost": signed(cost(analysis, "bos")),
        "hyphen_f1": cuts["hyphen"]["f1"]["value"],
        "subword_f1": cuts["subword"]["f1"]["value"],
        "own_f1": cuts["nothing"]["f1"]["value"],
        "subword_lost": signed(cuts["subword"]["lost"]),
        "later_cost": signed(later) if later else "nothing, there being none,",
        "subword_ratio": counts["subword"] / counts["hyphen"],
    }


def heads_findings(draws: pd.DataFrame) -> dict[str, object]:
    """Return what the page says of the knockouts of heads."""
    routing, random = draws["nats"][0], draws["nats"][1:]
    beyond = routing > random.max()
    return {
        "routing_cost": float(routing),
        "random_mean": float(random.mean()),
        "random_most": float(random.max()),
        "heads_verdict": "more than any of the draws"
        if beyond
        else "no more than the worst of the draws",
    }


def answer(name: str, analysis: Analysis, layer: int) -> str:
    """Answer the chapter's question of a model, with its numbers; ``layer``: of most attention."""
    ratio, cuts = analysis["attention"]["ratio"], analysis["cuts"]
    hyphen, subword = (cost(analysis, kind)["value"] for kind in ("hyphen", "subword"))
    return (
        f"In {name}, hyphens give the prefix {within(ratio[0])} times what subwords do at layer 1, "
        f"and {ratio[layer - 1]['value']:.2f} times at layer {layer}. {reading_verdict(analysis)}: "
        f"knocked out for hyphens alone, attention to the prefix costs {hyphen:.2f} nats on a "
        f"word's first subword, and Token F1 goes from {cuts['nothing']['f1']['value']:.3f} to "
        f"{cuts['hyphen']['f1']['value']:.3f}; for subwords alone, {subword:.2f} nats and "
        f"{cuts['subword']['f1']['value']:.3f}.{swap_answer(analysis)}"
    )


def swap_answer(analysis: Analysis) -> str:
    """Add to the answer what another page's prefix costs, where a record knows it."""
    if "swaps" not in analysis:
        return ""
    hyphen, subword = (cost(analysis, kind, "swaps")["value"] for kind in ("hyphen", "subword"))
    return f" With another page's prefix instead, it is {hyphen:.2f} and {subword:.2f} nats."


def swapped_models(beside: Beside) -> dict[str, Analysis]:
    """Return the models whose records hold swaps."""
    return {name: analysis for name, analysis in beside.items() if "swaps" in analysis}


def swaps_table(beside: Beside) -> pd.DataFrame:
    """Tabulate knockouts beside swaps: nats added to a first subword, and Token F1.

    The last column is the change in Token F1 with the slug of the page that the prefix comes from.
    Where no record holds a swap, one row says so.
    """
    rows = [
        {
            "model": name,
            "for": kind,
            "knocked out: nats": signed(cost(analysis, kind)),
            "Token F1, knocked out": analysis["cuts"][kind]["f1"]["value"],
            "another's: nats": signed(cost(analysis, kind, "swaps")),
            "Token F1, another's": analysis["swaps"][kind]["f1"]["value"],
            "change with the other's slug": signed(analysis["swaps"][kind]["gained"]),
        }
        for name, analysis in swapped_models(beside).items()
        for kind in SWAPPED
    ]
    return pd.DataFrame(rows or [{"model": "none has been measured yet"}]).set_index("model")


def written_table(beside: Beside) -> pd.DataFrame:
    """Tabulate nats added by the kind of token that is written, without prefix and with another."""
    rows = [
        {"model": name, "for": kind, "prefix": prefix}
        | {target: signed(row) for target, row in analysis[report][kind]["added"].items()}
        for name, analysis in swapped_models(beside).items()
        for kind in ("hyphen", "subword")
        for report, prefix in (("cuts", "none"), ("swaps", "another page's"))
    ]
    return pd.DataFrame(rows or [{"model": "none has been measured yet"}]).set_index("model")


def swaps_figure(beside: Beside) -> go.Figure:
    """Draw what a missing prefix and another page's add to the loss of a first subword."""
    figure = go.Figure()
    for name, analysis in swapped_models(beside).items():
        for report, label in (("cuts", "knocked out"), ("swaps", "another page's")):
            costs = [cost(analysis, kind, report) for kind in SWAPPED]
            points = pd.DataFrame(costs, index=SWAPPED)
            figure.add_bar(
                x=SWAPPED, y=points["value"], error_y=bars(points), name=f"{name}, {label}"
            )
    return figure.update_layout(
        title="Without the prefix, or with another page's", xaxis_title="for",
        yaxis_title="nats added to a first subword",
    )  # fmt: skip


def swaps_alt(beside: Beside) -> str:
    """Describe `swaps_figure`."""
    parts = [
        f"{name}, {kind}: {cost(analysis, kind)['value']:+.2f} knocked out, "
        f"{cost(analysis, kind, 'swaps')['value']:+.2f} with another page's"
        for name, analysis in swapped_models(beside).items()
        for kind in ("hyphen", "subword")
    ]
    return f"Pairs of bars, in nats. {'; '.join(parts) or 'None has been measured yet'}."


def swap_findings(beside: Beside) -> dict[str, str]:
    """Return what the page says of swaps."""
    swapped = swapped_models(beside)
    lacking = [name for name in beside if name not in swapped]
    return {
        "swap_verdicts": " ".join(swap_verdict(name, row) for name, row in swapped.items()),
        "swap_lacking": "Where the analysis is older than this control, it is lacking: for "
        f"{listed(lacking)}. The weights of runs are not kept in the repository, so their "
        "knockouts stand without it until they are trained again."
        if lacking
        else "All of these models have been measured.",
    }


def swap_verdict(name: str, analysis: Analysis) -> str:
    """Conclude from the knockouts and swaps of one model."""
    swaps, (knocked, other) = analysis["swaps"], (cost(analysis, "hyphen", r) for r in REPORTS)
    gained = swaps["hyphen"]["gained"]
    page = moves(
        other,
        "so what hyphens miss when theirs is knocked out is not just any prefix",
        "so a knockout of it shows the want of a prefix and not of the page",
        "which is not measurably more than nothing, so the knockout does not show that they read "
        "the page",
    )
    follows = moves(
        gained,
        "the slugs move towards the page whose prefix hyphens see",
        "the slugs move away from the page whose prefix hyphens see",
        "the slugs do not move measurably towards the page whose prefix hyphens see",
    )
    return (
        f"In {name}, hyphens without a prefix cost {signed(knocked)} nats on a first subword, with "
        f"another page's {signed(other)}: {page}. {reading_verdict(analysis)}. Token F1 with the "
        f"other page's slug changes by {signed(gained)} when hyphens see its prefix: {follows}; "
        f"when every token does, by {signed(swaps['everything']['gained'])}.{spelling(analysis)}"
    )


def spelling(analysis: Analysis) -> str:
    """Say what subwords lose on the tokens that finish a word, if there are such."""
    sides = [analysis[report]["subword"]["added"].get("later subword") for report in REPORTS]
    if None in sides:
        return ""
    missing, other = sides
    needs = "a prefix, and not measurably the page" if missing["low"] > 0 else "neither"
    verdict = "the page" if other["low"] > 0 else needs
    return (
        f" Subwords without a prefix cost {signed(missing)} nats on the tokens that finish a word, "
        f"with another page's {signed(other)}: what spelling needs of it is {verdict}."
    )


def models_table(beside: Beside) -> pd.DataFrame:
    """Tabulate attention and the costs of knockouts of several models."""
    rows = []
    for name, analysis in beside.items():
        attention = analysis["attention"]
        ratios = [interval["value"] for interval in attention["ratio"]]
        peak = int(np.argmax([interval["value"] for interval in attention["prefix"]["hyphen"]]))
        rows.append(
            {
                "model": name,
                "ratio at layer 1": within(attention["ratio"][0]),
                "layer of most": peak + 1,
                "ratio there": ratios[peak],
                "without hyphens' attention": cost(analysis, "hyphen")["value"],
                "without subwords'": cost(analysis, "subword")["value"],
                "without any": cost(analysis, "everything")["value"],
                "routing heads": cost(analysis, "routing heads")["value"],
                "random heads": float(np.mean(random_costs(analysis))),
            }
        )
    return pd.DataFrame(rows).set_index("model")


def models_findings(beside: Beside) -> dict[str, object]:
    """Return what the page says of several models, our release the last."""
    names, (own, *_, released) = list(beside), beside.values()
    ratios = {name: analysis["attention"]["ratio"][0] for name, analysis in beside.items()}
    at_one = [name for name, ratio in ratios.items() if ratio["low"] > 1]
    lost = released["cuts"]["everything"]["lost"]
    return {
        "other_first": "; ".join(f"{name} {within(ratios[name])}" for name in names[1:]),
        "release": names[-1],
        "release_hyphens": cost(released, "hyphen")["value"],
        "release_any": cost(released, "everything")["value"],
        "own_any": cost(own, "everything")["value"],
        "first_layer": f"At layer 1 hyphens exceed subwords in {listed(at_one)}"
        if at_one
        else "None of these routes at layer 1",
        "luxury": luxury(released),
        "release_blind": signed(lost),
        "own_blind": signed(own["cuts"]["everything"]["lost"]),
    }


def luxury(released: Analysis) -> str:
    """Say whether Token F1 of the release falls without attention to the prefix."""
    if released["cuts"]["everything"]["lost"]["high"] < 0:
        return "The release, too, needs its attention to the prefix"
    return "In the release, Token F1 does not fall measurably without attention to the prefix"
