"""What chapter 4 shows of decoders over clusters: what they write, lose, and seem to score.

A mapping gives every word the representative of its cluster; a slug is reduced when each of its
words is replaced by its representative.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go

from chapters.figures import COLOURS, bars
from chapters.report import moves, span
from vec2slug_lib.common.slugs import words
from vec2slug_lib.evaluation import metrics
from vec2slug_lib.evaluation.intervals import Interval
from vec2slug_lib.evaluation.records import Run
from vec2slug_lib.experiments.table import find_experiment

REPORTED_CEILING = 0.502  # Token F1 of the study's perfect model
SCORES = {"ghost_f1": ("ghost", "dot"), "token_f1": ("Token F1", "solid")}

Slugs = Mapping[str, Sequence[str]]  # of several runs, by name


def shapes_table(runs: Mapping[str, Run]) -> pd.DataFrame:
    """Tabulate kind, width, depth and parameters of models, and the study's parameters."""
    rows = {}
    for name, run in runs.items():
        experiment, shape = find_experiment(name), run.manifest["model"]
        rows[name] = {
            "model": experiment.model,
            "width": shape.get("embed_dim") or shape["hidden_dim"],
            "layers": shape["num_layers"],
            "parameters": run.manifest["parameters"],
            "reported": f"{experiment.reported_parameters} M",
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("experiment")


def variety_table(runs: Mapping[str, Run], slugs: Slugs) -> pd.DataFrame:
    """Tabulate how many different slugs each run writes, and its three most frequent ones."""
    rows = {}
    for name, run in runs.items():
        most = Counter(slugs[name]).most_common(3)
        rows[name] = {
            "distinct": len(set(slugs[name])),
            "diversity": run.value("diversity"),
            "distinctiveness": run.value("distinctiveness"),
            "most frequent": ", ".join(f"{slug} ({count:,})" for slug, count in most),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("experiment")


def look_up(clusters: pd.DataFrame, asked: Sequence[str]) -> pd.DataFrame:
    """Tabulate what becomes of some words, and which others share their representative.

    Args:
        clusters: a row a word, the most frequent first: columns word and representative.
        asked: words, in the data or not.
    """
    mapping = dict(zip(clusters["word"], clusters["representative"], strict=True))
    members = clusters.groupby("representative", sort=False)["word"].agg(list)
    rows = []
    for word in asked:
        said = mapping.get(word, "not in the data")
        others = [other for other in members.get(said, []) if other not in (word, said)]
        among = ", ".join(others[:4])
        rows.append({"said as": said, "shared with": len(others), "among them": among})
    return pd.DataFrame(rows, index=pd.Index(asked, name="word"))


def reached_figure(limits: Mapping[str, Interval], reported: Mapping[str, float]) -> go.Figure:
    """Draw Token F1 with intervals, of runs and of what the vocabulary allows, by name."""
    points = pd.DataFrame(limits).T.iloc[::-1]
    figure = go.Figure(
        go.Scatter(
            x=points["value"], y=points.index, mode="markers", marker_size=10, name="measured",
            error_x=bars(points),
        )
    )  # fmt: skip
    figure.add_scatter(
        x=list(reported.values()), y=list(reported), mode="markers", name="reported",
        marker={"size": 10, "symbol": "diamond-open"},
    )  # fmt: skip
    title = "Token F1 over clusters: reached, and possible"
    figure.update_layout(title=title, xaxis_title="Token F1")
    figure.update_xaxes(rangemode="tozero")
    return figure


def reached_alt(limits: Mapping[str, Interval]) -> str:
    """Describe `reached_figure`."""
    listing = ", ".join(f"{name} {interval['value']:.3f}" for name, interval in limits.items())
    return f"Dot plot of measured Token F1: {listing}. The study's values stand beside them."


def four_ways(slugs: Slugs, references: Sequence[str], reduced: Sequence[str]) -> pd.DataFrame:
    """Tabulate Token F1 by macro and micro mean, against the pages' own words and reduced ones."""
    truths = {"own words": references, "reduced": reduced}
    rows: dict[str, dict[str, float]] = {name: {} for name in slugs}
    for name, guesses in slugs.items():
        for kind, truth in truths.items():
            macro = float(metrics.token_overlap(guesses, truth)[2].mean())
            rows[name][f"macro, {kind}"] = macro
            rows[name][f"micro, {kind}"] = metrics.micro_f1(guesses, truth)
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("experiment")


def true_hits(guesses: Sequence[str], references: Sequence[str], reduced: Sequence[str]) -> float:
    """Compute which share of the words that hit the reduced slug are in the page's own slug."""
    counted = own = 0
    for guess, reference, target in zip(guesses, references, reduced, strict=True):
        hits = set(words(guess)) & set(words(target))
        counted, own = counted + len(hits), own + len(hits & set(words(reference)))
    return own / max(counted, 1)


def ghost_figure(histories: Mapping[str, pd.DataFrame]) -> go.Figure:
    """Draw ghost and Token F1 of the greedy slugs of validation pages over epochs."""
    figure = go.Figure()
    for (name, history), colour in zip(histories.items(), COLOURS, strict=False):
        for column, (label, dash) in SCORES.items():
            figure.add_scatter(
                x=history["epoch"], y=history[column], name=f"{name} {label}",
                line={"color": colour, "dash": dash},
            )  # fmt: skip
    figure.update_layout(
        title="Two scores of the same greedy slugs, during training", xaxis_title="epoch",
        yaxis_title="F1 on validation pages", yaxis_rangemode="tozero",
    )  # fmt: skip
    return figure


def ghost_alt(histories: Mapping[str, pd.DataFrame]) -> str:
    """Describe `ghost_figure`."""
    last = {name: history.iloc[-1] for name, history in histories.items()}
    ends = "; ".join(
        f"{name} ends at {row['ghost_f1']:.3f} and {row['token_f1']:.3f}"
        for name, row in last.items()
    )
    return f"Four lines over epochs, ghost and Token F1 of 3a and 3b: {ends}."


def decoder_verdict(mlp: Run, decoder: Run, gain: Interval) -> str:
    """Say whether the decoder 3b is better than the study's MLP 1b, by Token F1."""
    return (
        f"Against the study's MLP, {moves(gain, 'yes', 'no', 'not measurably')}: on "
        f"{len(decoder.predictions):,} test pages Token F1 goes from "
        f"{mlp.value('token_f1'):.3f} with the MLP 1b to {decoder.value('token_f1'):.3f} with the "
        f"decoder 3b ({gain['value']:+.3f}, {span(gain)})."
    )


def fair_verdict(fair: Run, margin: Interval) -> str:
    """Say whether the decoder 3b is better than the fairly trained MLP, by Token F1."""
    return (
        f"Against the fairly trained MLP of the last chapter, which reaches "
        f"{fair.value('token_f1'):.3f} over the same clusters, it is "
        f"{moves(margin, 'better', 'worse', 'no different, measurably')} "
        f"({margin['value']:+.3f}, {span(margin)})."
    )


def credit_verdict(margin: Interval) -> str:
    """Say what of the gain over the study's MLP is the decoder's own."""
    if margin["low"] > 0:
        return (
            "So only what lies between these two is the decoder's own; the rest of the step from "
            "1b is the price of its loss, input and rate."
        )
    return (
        "So the step from 1b to 3b says nothing for the decoder: another loss, input and rate "
        "take an MLP as far."
    )


def room_verdict(reached: float) -> str:
    """Say how much of the imitator's score is left, given the share that 3b reaches."""
    room = "most of the way to it is" if reached < 1 / 2 else "less than half of the way to it is"
    return f"{room} still the model's to go."


def progress_verdict(history: pd.DataFrame) -> str:
    """Say whether the ghost and Token F1 of 3b are highest at the same epoch."""
    ghost, own = (float(history.loc[history[key].idxmax(), "epoch"]) for key in SCORES)
    same = "at the same epoch" if ghost == own else "at different epochs"
    last = history.iloc[-1]
    return (
        f"For 3b the two scores are highest {same}, {ghost:.0f} for the ghost and {own:.0f} for "
        f"Token F1, and the last evaluation finds them "
        f"{last['ghost_f1'] - last['token_f1']:.3f} apart."
    )
