"""What chapter 4 shows of decoders over clusters: what they write, lose, and seem to score.

A mapping gives every word the representative of its cluster; a slug is reduced when each of its
words is replaced by its representative.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go

from chapters.ch03_collapse import collapse
from chapters.figures import COLOURS, bars
from chapters.report import moves, span
from vec2slug_lib.common.slugs import words
from vec2slug_lib.evaluation import metrics
from vec2slug_lib.evaluation.intervals import Interval
from vec2slug_lib.evaluation.records import Run
from vec2slug_lib.experiments.table import find_experiment
from vec2slug_lib.experiments.word_clusters import map_slug

REPORTED_CEILING = 0.502  # Token F1 of the study's perfect model
SCORES = {"ghost_f1": ("ghost's count", "dot"), "token_f1": ("Token F1", "solid")}

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
    """Tabulate how many different slugs each run writes, and whether chapter 3 calls it collapsed.

    Its three most frequent slugs stand last.
    """
    rows = {}
    for name, run in runs.items():
        most = Counter(slugs[name]).most_common(3)
        rows[name] = {
            "distinct": len(set(slugs[name])),
            "diversity": run.value("diversity"),
            "distinctiveness": run.value("distinctiveness"),
            "collapse": collapse(run.metrics["diversity"], most, len(slugs[name])),
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


def ghost_score(predictions: pd.DataFrame, mapping: Mapping[str, str]) -> float:
    """Compute the ghost of a run: micro F1 of its test slugs against the pages' reduced slugs.

    What the study's training log counted, but of the slugs that Token F1 is taken of, so that the
    two differ in the counting alone.

    Args:
        predictions: columns slug and prediction, a row a page.
        mapping: every word of the pages' slugs, and its representative.
    """
    reduced = [map_slug(slug, mapping) for slug in predictions["slug"]]
    return metrics.micro_f1(predictions["prediction"].tolist(), reduced)


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
    return f"Four lines over epochs, the ghost's count and Token F1 of 3a and 3b: {ends}."


def fair_verdict(fair: Run, decoder: Run, margin: Interval) -> str:
    """Say whether the decoder 3b is better than the fairly trained MLP, by Token F1."""
    outcome = moves(margin, "is better", "is worse", "cannot be told apart from it")
    return (
        f"Measured against an MLP that is trained fairly over the same clusters, the decoder 3b "
        f"{outcome}: Token F1 is {fair.value('token_f1'):.3f} for that MLP and "
        f"{decoder.value('token_f1'):.3f} for 3b ({margin['value']:+.3f}, {span(margin)})."
    )


def step_verdict(mlp: Run, decoder: Run, gain: Interval, repair: Interval) -> str:
    """Say whether the study's step from the MLP 1b to the decoder 3b holds, by Token F1.

    Args:
        mlp: the record of 1b.
        decoder: the record of 3b.
        gain: of 3b over 1b.
        repair: of the fairly trained MLP over 1b. Above zero, 1b is a broken rival, and no step
            from it is the decoder's.
    """
    lifted = f"{repair['value']:+.3f} ({span(repair)})"
    holds = moves(gain, "holds", "does not hold", "is not measurable")
    end = f"it {holds}: fair training does not lift 1b measurably, by {lifted}"
    if repair["low"] > 0:
        end = f"it does not hold: 1b is a broken rival, which fair training alone lifts by {lifted}"
    return (
        f"The study's step from the MLP 1b to 3b is {gain['value']:+.3f} ({span(gain)}) here, "
        f"{mlp.value('token_f1'):.3f} to {decoder.value('token_f1'):.3f}. As a gain of the "
        f"decoder {end}."
    )


def credit_verdict(margin: Interval) -> str:
    """Say what of the study's step is the decoder's own, by its margin over the fair MLP."""
    own = f"So {margin['value']:+.3f} of the study's step is the decoder's own."
    none = "So nothing of the study's step is the decoder's own: the fair MLP goes further."
    unknown = "So the test pages do not show that any of the study's step is the decoder's own."
    return moves(margin, own, none, unknown)


def keep_verdict(margin: Interval) -> str:
    """Say why the decoder stays, given its margin over the fair MLP."""
    other = "The decoder stays, though not for its score over clusters"
    return moves(margin, "The decoder stays, and not for its score alone", other, other)


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
        f"In the log of 3b the two scores are highest {same}, {ghost:.0f} for the ghost's count "
        f"and {own:.0f} for Token F1, and the last evaluation finds them "
        f"{last['ghost_f1'] - last['token_f1']:.3f} apart."
    )
