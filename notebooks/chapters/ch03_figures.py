"""What chapter 3 shows of the models that collapse: tables, figures, and their sentences.

``diagnosed`` maps a name to what `ch03_diagnose.diagnostics` says of a run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots
from torch import Tensor

from chapters.ch03_collapse import collapse
from chapters.figures import COLOURS
from chapters.report import listed, moves
from vec2slug_lib.evaluation.intervals import Interval
from vec2slug_lib.evaluation.records import Run
from vec2slug_lib.experiments.table import find_experiment
from vec2slug_lib.model.mlp import MLP, MLPConfig

LOSSES = ["val_loss", "token_loss", "length_loss"]
ORDERS = {"position": "position head", "pairwise": "pairwise"}
STATES = {"yes": "collapsed", "no": "not collapsed", "undecided": "undecided"}
RULES = {"top": "", "threshold": ", threshold", "lift": ", logit adjustment"}
# The study's three favourites, and the test pages that it counted them on.
REPORTED = Counter({"of-the-in": 27439, "of-the-a": 19780, "of-the-how": 10432})
REPORTED_PAGES = 229_000

Diagnostics = Mapping[str, dict[str, Any]]


def shapes(names: Sequence[str]) -> pd.DataFrame:
    """Tabulate loss, layers and millions of parameters, at the study's input width and vocabulary.

    Args:
        names: ids of experiments.
    """
    rows = {}
    for name in names:
        row = find_experiment(name)
        model = MLP(MLPConfig(1536, row.embed_dim, row.num_layers, 5000))
        rows[name] = {
            "loss": row.loss,
            "layers": f"{row.num_layers} × {row.embed_dim}",
            "millions": sum(p.numel() for p in model.parameters()) / 1e6,
            "reported": row.reported_parameters,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("id")


def lowest_losses(runs: Mapping[str, Run]) -> pd.DataFrame:
    """Tabulate each run's lowest validation loss and its two parts, in nats."""
    histories = {name: run.history for name, run in runs.items()}
    best = {name: rows.loc[rows["val_loss"].idxmin()] for name, rows in histories.items()}
    return pd.DataFrame(best).T[LOSSES].astype(float)


def gap_verdict(gains: pd.Series[float]) -> str:
    """Say on which part of the loss, ``length_loss`` or ``token_loss``, 1a beats the constant."""
    if gains.min() > 0:
        share = gains["length_loss"] / gains.sum()
        return f"1a is better by {gains.sum():.4f}, and {share:.0%} of that is the length's."
    if gains.max() <= 0:
        return "1a is no better on either part."
    return f"1a is better on the {'length' if gains['length_loss'] > 0 else 'words'} only."


def training_figure(runs: Mapping[str, Run], constant: float) -> go.Figure:
    """Draw validation loss, with that of the constant answer, and Token F1 over epochs."""
    figure = make_subplots(rows=1, cols=2, subplot_titles=("validation loss, nats", "Token F1"))
    for (name, run), colour in zip(runs.items(), COLOURS, strict=False):
        line = {"x": run.history["epoch"], "name": name, "line_color": colour, "legendgroup": name}
        figure.add_scatter(y=run.history["val_loss"], row=1, col=1, **line)
        figure.add_scatter(y=run.history["token_f1"], row=1, col=2, showlegend=False, **line)
    figure.add_hline(y=constant, line_dash="dash", annotation_text="constant", row=1, col=1)
    figure.update_xaxes(title="epoch")
    figure.update_yaxes(rangemode="tozero", row=1, col=2)
    figure.update_layout(title="Training of the three models", legend_y=-0.25, margin_t=80)
    return figure


def training_alt(runs: Mapping[str, Run], losses: pd.Series[float]) -> str:
    """Describe `training_figure`, given the lowest loss of each run and of the constant."""
    lowest = ", ".join(f"{name} {losses[name]:.3f}" for name in runs)
    last = ", ".join(f"{name} {run.history['token_f1'].iloc[-1]:.3f}" for name, run in runs.items())
    return (
        f"Two panels over epochs. Lowest validation loss: {lowest}; a constant answer has "
        f"{losses['constant']:.3f}. Token F1 on validation pages after the last epoch: {last}."
    )


def favourites(counts: Mapping[str, Counter[str]], shown: int) -> pd.DataFrame:
    """Tabulate the most frequent slugs of each run, and the study's, with their share of pages."""
    shares = {
        name: [f"{slug} {n / slugs.total():.1%}" for slug, n in slugs.most_common(shown)]
        for name, slugs in counts.items()
    }
    shares["study, reported"] = [
        f"{slug} {n / REPORTED_PAGES:.1%}" for slug, n in REPORTED.most_common(shown)
    ]
    frame = pd.DataFrame({name: pd.Series(rows) for name, rows in shares.items()})
    return frame.set_axis(pd.RangeIndex(1, len(frame) + 1, name="rank"))


def outcomes(runs: Mapping[str, Run], counts: Mapping[str, Counter[str]]) -> pd.DataFrame:
    """Tabulate Token F1, distinct slugs and the criterion of a collapse for each run."""
    rows = {}
    for name, run in runs.items():
        pages, top = counts[name].total(), counts[name].most_common(3)
        rows[name] = {
            "Token F1": run.value("token_f1"),
            "reported": find_experiment(name).reported_token_f1,
            "distinct": len(counts[name]),
            "diversity": run.value("diversity"),
            "low": run.metrics["diversity"]["low"],
            "high": run.metrics["diversity"]["high"],
            "top three": sum(n for _, n in top) / pages,
            "collapse": collapse(run.metrics["diversity"], top, pages),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("run")


def collapse_verdict(outcome: pd.DataFrame) -> str:
    """Say which of the study's three models collapse, and how many of their slugs are distinct."""
    fallen, others = outcome[outcome["collapse"] == "yes"], outcome[outcome["collapse"] != "yes"]
    verb = "collapses on our data" if len(fallen) == 1 else "collapse on our data"
    verdict = {
        0: "None of the study's three models clearly collapses on our data",
        3: "All three of the study's models collapse on our data too",
    }.get(len(fallen), f"Of the study's three models, {listed(list(fallen.index))} {verb}")
    shares = listed([f"{share:.1%}" for share in fallen["diversity"]])
    distinct = f", with {shares} of the slugs distinct" if len(fallen) else ""
    outcomes = {"no": "does not", "undecided": "is undecided"}
    rest = [
        f"; {name} {outcomes[row['collapse']]}, with {row['diversity']:.1%} "
        f"({row['low']:.1%} to {row['high']:.1%})"
        for name, row in others.iterrows()
    ]
    return f"{verdict}{distinct} (reported: 1.6 % distinct in 1c){''.join(rest)}."


def rank_verdict(above: Mapping[str, Interval]) -> str:
    """Say which runs are clearly above or below one slug for every page, and which neither."""
    kinds: dict[str, list[str]] = {"above it": [], "below it": [], "not clearly apart from it": []}
    for name, gain in above.items():
        kinds[moves(gain, *kinds)].append(name)
    return "; ".join(f"{listed(group)} {kind}" for kind, group in kinds.items() if group)


def order_scores(diagnosed: Diagnostics) -> pd.DataFrame:
    """Tabulate ROUGE-L of the same words in three orders, and in the best possible one."""
    keys = ["score", *ORDERS, "best"]
    scores = {
        name: {key: row["orders"][key]["rouge_l"]["value"] for key in keys}
        for name, row in diagnosed.items()
    }
    return pd.DataFrame(scores).T[keys].rename_axis("run")


def order_gains(diagnosed: Diagnostics) -> list[dict[str, Any]]:
    """List the gain in ROUGE-L of each order over that by score, with its interval."""
    return [
        {"run": name, "order": label, **row["orders"]["gains"][key]["rouge_l"]}
        for name, row in diagnosed.items()
        for key, label in ORDERS.items()
    ]


def order_verdict(gains: Sequence[Mapping[str, Any]]) -> str:
    """Say how many of the gains of `order_gains` are clear, and which is the largest."""
    clear = sum(row["low"] > 0 for row in gains)
    most = max(gains, key=lambda row: float(row["value"]))
    order = f"{most['order']} order".replace("head order", "head")
    return (
        f"An order other than by score gains clearly in {clear} of {len(gains)} cases; the "
        f"largest difference is {most['value']:+.4f}, of the {order} in {most['run']}."
    )


def gradient_table(rate: Tensor, gradient: Tensor, words: pd.Series[str]) -> pd.DataFrame:
    """Tabulate the formula beside the gradients on the logits of k clusters at their base rates.

    Args:
        rate: base rates [k].
        gradient: of N slugs [N, k].
        words: of the clusters, indexed by their rank.
    """
    columns = {
        "word": words,
        "p": rate.numpy(),
        "2p(1 − p)": (2 * rate * (1 - rate)).numpy(),
        "mean size": gradient.abs().mean(0).numpy(),
        "mean": gradient.mean(0).numpy().round(9) + 0.0,
        "in 1,024": 1024 * rate.numpy(),
    }
    return pd.DataFrame(columns, index=words.index).rename_axis("rank")


def pulls_table(ranks: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Tabulate the mean size of the gradient on a logit, before and after training, by rank."""
    frame = pd.DataFrame(ranks).set_index("rank")[["base_rate", "collapsed", "trained"]]
    change = [f"{value:+.1%}" for value in frame["trained"] / frame["collapsed"] - 1]
    names = {"base_rate": "p", "collapsed": "constant", "trained": "1a"}
    return frame.assign(change=change).rename(columns=names)


def trunk_table(diagnosed: Diagnostics) -> pd.DataFrame:
    """Tabulate the norm of the gradient in the hidden layers by the loss it comes from."""
    frame = pd.DataFrame({name: row["trunk"] for name, row in diagnosed.items()}).T
    frame = frame.rename(columns={"token": "words"}).rename_axis("run")
    return frame.assign(**{"length ÷ words": frame["length"] / frame["words"].clip(lower=1e-12)})


def trunk_verdict(ratio: pd.Series[float]) -> str:
    """Say in which runs the length's gradient is larger than the words', by its ratio to it."""
    louder = ratio.index[ratio > 1].tolist()
    if not louder:
        return "At the end of training the words speak louder than the length in all three."
    return (
        f"The length speaks louder than the words in {listed(louder)}, up to "
        f"{ratio.max():,.0f} times."
    )


def ranking_figure(diagnosed: Diagnostics, solid: Sequence[str]) -> go.Figure:
    """Draw the mean AUC of clusters over bands of frequency; lines of other names are dotted."""
    figure = go.Figure()
    for number, (name, row) in enumerate(diagnosed.items()):
        bands = row["variation"]["auc"]
        figure.add_scatter(
            x=[f"{band['first']:,}–{band['last']:,}" for band in bands],
            y=[band["mean"] for band in bands], name=name, mode="lines+markers",
            line_dash="solid" if name in solid else "dot", marker_symbol=number,
        )  # fmt: skip
    figure.add_hline(y=0.5, line_dash="dash", annotation_text="chance")
    figure.update_layout(
        title="How well the logit of a cluster ranks the pages", height=520,
        xaxis_title="clusters, by rank of frequency", yaxis_title="mean AUC",
    )  # fmt: skip
    return figure


def mean_auc(diagnosed: Diagnostics) -> dict[str, float]:
    """Compute the mean over bands of each run's AUC; 0.5, chance, where no band has one."""
    bands = {name: row["variation"]["auc"] for name, row in diagnosed.items()}
    return {
        name: float(np.mean([band["mean"] for band in rows] or [0.5]))
        for name, rows in bands.items()
    }


def ranking_alt(means: Mapping[str, float]) -> str:
    """Describe `ranking_figure` by what `mean_auc` gives."""
    listing = ", ".join(f"{name} {value:.2f}" for name, value in means.items())
    return f"Lines over bands of frequency, from frequent to rare. Mean of the bands: {listing}."


def spread_table(diagnosed: Diagnostics) -> pd.DataFrame:
    """Tabulate how far logits vary over pages and over clusters, and follow the base rates."""
    names = {"within": "over pages", "between": "over clusters", "correlation": "base rate"}
    rows = pd.DataFrame({name: row["variation"] for name, row in diagnosed.items()}).T
    return rows[list(names)].astype(float).rename(columns=names).rename_axis("run")


def spread_verdict(spread: pd.DataFrame) -> str:
    """Say in which of the study's three models logits differ more between clusters than pages."""
    flat = spread.index[spread["over clusters"] > spread["over pages"]].tolist()
    if not flat:
        return "In none of the three do logits differ more between clusters than between pages."
    return f"In {listed(flat)} logits differ more between clusters than between pages."


def trials_table(
    diagnosed: Diagnostics, runs: Mapping[str, Run], trials: Sequence[tuple[str, str]]
) -> pd.DataFrame:
    """Tabulate trials, each one run under one decision rule: Token F1, diversity, collapse.

    Under the rule ``top``, which the run itself follows, its metrics are those of its record.
    """
    rows = {}
    for name, rule in trials:
        row = diagnosed[name]["rules"][rule]
        measured, outputs = runs[name].metrics if rule == "top" else row, row["outputs"]
        rows[name + RULES[rule]] = {
            "Token F1": measured["token_f1"]["value"],
            "low": measured["token_f1"]["low"],
            "high": measured["token_f1"]["high"],
            "diversity": measured["diversity"]["value"],
            "collapse": collapse(measured["diversity"], outputs["most"], outputs["rows"]),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("trial")


def trials_figure(trials: pd.DataFrame, constant: float) -> go.Figure:
    """Draw Token F1 of trials with intervals, and that of one slug for every page."""
    figure = go.Figure()
    for state, label in STATES.items():
        if (part := trials[trials["collapse"] == state]).empty:
            continue
        figure.add_scatter(
            x=part["Token F1"], y=part.index, mode="markers", name=label, marker={"size": 10},
            error_x={"array": part["high"] - part["Token F1"],
                     "arrayminus": part["Token F1"] - part["low"]},
        )  # fmt: skip
    figure.add_vline(x=constant, line_dash="dash", annotation_text="one slug")
    figure.update_yaxes(categoryorder="array", categoryarray=trials.index[::-1].tolist())
    figure.update_layout(title="Token F1 with 95 % intervals", xaxis_title="Token F1", height=480)
    return figure


def trials_alt(trials: pd.DataFrame, constant: float) -> str:
    """Describe `trials_figure`."""
    best, fallen = trials["Token F1"].idxmax(), (trials["collapse"] == "yes").sum()
    return (
        f"Dot plot of {len(trials)} trials, {fallen} of them collapsed. The best is {best} with "
        f"{trials.loc[best, 'Token F1']:.3f}; one slug for all has {constant:.3f}."
    )


def fair_verdict(trials: pd.DataFrame) -> str:
    """Say whether the best trial is clearly above 1a."""
    winner = trials["Token F1"].idxmax()
    won = trials.loc[winner]
    score = f"{won['Token F1']:.3f} ({won['low']:.3f} to {won['high']:.3f})"
    if won["low"] > trials.loc["1a", "high"]:
        return (
            f"A fairer trial does better: {winner} reaches {score}, with {won['diversity']:.0%} of "
            f"its slugs distinct."
        )
    return f"No change of training or reading lifts it clearly: the best, {winner}, {score}."


def escape_verdict(trials: pd.DataFrame) -> str:
    """Count the trials by what the criterion of a collapse says of them."""
    yes, no, undecided = ((trials["collapse"] == state).sum() for state in STATES)
    rest = f", and of {undecided} it is undecided" if undecided else ""
    return f"By the criterion above, {yes} of the {len(trials)} trials collapse, {no} do not{rest}."


def lone_gains(trials: pd.DataFrame, names: Sequence[str]) -> str:
    """List the trials that are above 1a's whole interval."""
    return listed([name for name in names if trials.loc[name, "low"] > trials.loc["1a", "high"]])
