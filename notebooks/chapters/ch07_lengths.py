"""Chapter 7 in tables and figures: how long slugs are, and what decides their length."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import ArrayLike
from plotly.subplots import make_subplots

from chapters.ch11_claims import REPORTED
from chapters.report import METRICS, moves, settled, span
from vec2slug_lib.common.slugs import MAX_WORDS, words
from vec2slug_lib.common.vectors import Array, Doubles
from vec2slug_lib.evaluation import intervals
from vec2slug_lib.evaluation.intervals import Interval
from vec2slug_lib.evaluation.records import Run

Record = Mapping[str, Any]  # of a decoding variant, see `decoding_record`

LENGTHS = np.arange(1, MAX_WORDS + 1)  # words in a slug
AGREES, DIFFERS, OPEN = (
    "as the study found",
    "unlike in the study",
    "so the study's finding stays open",
)


def count_words(slugs: Iterable[str]) -> Doubles:
    """Count the words of each slug, ``[N]``."""
    return np.array([len(words(slug)) for slug in slugs], float)


def shares_of_counts(counts: Sequence[int] | Array) -> Doubles:
    """Return the share of slugs with 1 to 8 words ``[8]``, from counts by number of words [9]."""
    return np.array(counts[1 : MAX_WORDS + 1]) / max(sum(counts), 1)


def length_shares(counts: Doubles) -> Doubles:
    """Return the share of slugs with 1 to 8 words ``[8]``, from the words of each slug ``[N]``."""
    return shares_of_counts(np.bincount(counts.astype(int), minlength=MAX_WORDS + 1))


def word_gap(counts: Doubles, own: Doubles, topics: ArrayLike) -> Interval:
    """Compute the paired difference in words between slugs ``[N]`` and the pages' own ``[N]``."""
    return intervals.compare({"words": counts}, {"words": own}, topics)["words"]


def lengths_table(lengths: Mapping[str, Doubles], gap: Interval) -> pd.DataFrame:
    """Tabulate mean words of three sets of slugs; ``gap`` is the last one's to the second."""
    return pd.DataFrame(
        {
            "slugs": list(lengths),
            "mean words": [counts.mean() for counts in lengths.values()],
            "minus the pages' own": ["", "", f"{gap['value']:+.2f}"],
            "95 % interval": ["", "", span(gap, 2)],
        }
    ).set_index("slugs")


def diagnostics_table(decoded: Mapping[str, Record], usual: Doubles) -> pd.DataFrame:
    """Tabulate decodings by label beside the usual one, which wrote ``usual [N]`` words."""
    listed = [
        {
            "decoding": label,
            "mean words": found["metrics"]["mean_words"]["value"],
            "change": f"{found['difference']['mean_words']['value']:+.2f}",
            "Token F1": f"{found['difference']['token_f1']['value']:+.3f}",
            "95 % interval": span(found["difference"]["token_f1"]),
        }
        for label, found in decoded.items()
    ]
    project = {"decoding": "as everywhere: width 4, reward 1.5", "mean words": usual.mean()}
    return pd.DataFrame([project, *listed]).set_index("decoding")


def beam_shares(decoded: Mapping[str, Record], usual: Doubles) -> dict[str, Doubles]:
    """Return the shares of slugs by number of words for each beam width; 4 is the usual one."""
    return {
        "width 1": shares_of_counts(decoded["beam-1"]["words"]),
        "width 4": length_shares(usual),
        "width 8": shares_of_counts(decoded["beam-8"]["words"]),
        "width 16": shares_of_counts(decoded["beam-16"]["words"]),
    }


def lengths_figure(title: str, train: Doubles, lines: Mapping[str, Doubles]) -> go.Figure:
    """Draw shares by number of words ``[8]``: bars of the training slugs, lines of the others."""
    figure = go.Figure(go.Bar(x=LENGTHS, y=train, name="training slugs", marker_color="#B0B0B0"))
    for name, share in lines.items():
        figure.add_scatter(x=LENGTHS, y=share, name=name, mode="lines+markers")
    figure.update_layout(
        title=title, xaxis_title="words", yaxis_title="share of slugs",
        yaxis_tickformat=".0%", xaxis_range=[2.4, 8.6], margin_t=90,
    )  # fmt: skip
    return figure


def beams_alt(decoded: Mapping[str, Record], usual: Doubles) -> str:
    """Describe `lengths_figure` of beam widths, from their records and the usual words [N]."""
    means = {
        width: decoded[f"beam-{width}"]["metrics"]["mean_words"]["value"] for width in (1, 8, 16)
    }
    return (
        f"Bars of the training slugs' lengths, and a line for each beam width. The mean is "
        f"{means[1]:.2f} words at width 1, {usual.mean():.2f} at 4, {means[8]:.2f} at 8 and "
        f"{means[16]:.2f} at 16."
    )


def models_alt(train: Doubles, written: Mapping[str, Doubles]) -> str:
    """Describe `lengths_figure` of models, from the words of each slug."""
    listing = ", ".join(f"{name} {counts.mean():.2f}" for name, counts in written.items())
    return (
        f"Bars of the training slugs' lengths, mean {train.mean():.2f} words, and a line "
        f"for each model. Mean words: {listing}."
    )


def weights_figure(rates: Doubles, median: float, weights: Array) -> go.Figure:
    """Draw the share of slugs that end at each position, and the weight of the loss there."""
    positions = np.arange(len(rates))
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.14,
        subplot_titles=("share of training slugs that end here", "weight of the loss on <eos>"),
    )  # fmt: skip
    figure.add_bar(x=positions, y=rates, row=1, col=1)
    figure.add_hline(y=median, line_dash="dash", annotation_text="median", row=1, col=1)
    figure.add_bar(x=positions, y=weights, row=2, col=1)
    figure.update_yaxes(tickformat=".0%", row=1, col=1)
    figure.update_xaxes(title="tokens before <eos>", row=2, col=1)
    layout = {"title": "Position rates and weights", "height": 560, "showlegend": False}
    return figure.update_layout(layout, margin_t=80)


def weights_alt(rates: Doubles, median: float, weights: Array) -> str:
    """Describe `weights_figure`; rates and weights are ``[cap]``."""
    peak = int(rates.argmax())
    return (
        f"Two bar charts over positions 0 to {len(rates) - 1}. The rate of ends is highest after "
        f"{peak} tokens, {rates[peak]:.1%}, where the weight is lowest, {weights.min():.2f}; the "
        f"median rate is {median:.1%}, and {np.sum(weights < 1)} positions have a weight below 1."
    )


def reported_table(before: Run, after: Run) -> pd.DataFrame:
    """Tabulate what calibration does to length, precision, recall and F1, reported and measured."""
    metrics = ["mean_words", "token_precision", "token_recall", "token_f1"]
    return pd.DataFrame(
        {
            "reported": [f"{REPORTED[m]['3h']:.3f} → {REPORTED[m]['3i']:.3f}" for m in metrics],
            "measured": [f"{before.value(m):.3f} → {after.value(m):.3f}" for m in metrics],
        },
        index=pd.Index([METRICS[m] for m in metrics], name="metric"),
    )


def deciders_table(
    decoded: Mapping[str, Mapping[str, Record]], written: Mapping[str, Doubles]
) -> pd.DataFrame:
    """Tabulate mean words by search (rows) and run (columns).

    Args:
        decoded: run to decoding variant to its record, ``greedy`` and ``reward-0`` among them.
        written: run to the words of each slug of its usual search.
    """
    means = {
        name: [records[each]["metrics"]["mean_words"]["value"] for each in ("greedy", "reward-0")]
        for name, records in decoded.items()
    }
    columns = {name: [*values, written[name].mean()] for name, values in means.items()}
    index = pd.Index(["greedy", "beam, no reward", "beam and reward"], name="search")
    return pd.DataFrame(columns, index=index)


def length_verdict(gap: Interval, slack: float) -> str:
    """Say whether slugs are too long or too short; less than ``slack`` words is neither."""
    right, open_ = "about as long as they should be", "neither clearly too short nor too long"
    return settled(gap, slack, "too long", "too short", right, open_)


def length_findings(gaps: Mapping[str, Interval], slack: float) -> dict[str, object]:
    """Return what the page says of lengths; ``gaps``: before calibration and after it."""
    before, after = (length_verdict(gaps[each], slack) for each in ("before", "after"))
    contrast = settled(gaps["before"], slack, DIFFERS, AGREES, DIFFERS, OPEN)
    return {
        "verdict_before": f"they are {before}, {contrast}",
        "verdict_after": f"the slugs are {after}",
        "gap_after": gaps["after"]["value"],
        "gap_after_span": span(gaps["after"], 2),
    }


def search_findings(decoded: Mapping[str, Record], slack: float) -> dict[str, object]:
    """Return what the page says of width, reward and forced words, from the records of each."""
    difference = {name: record["difference"] for name, record in decoded.items()}
    values: dict[str, object] = {}
    for name, variant in (("width", "beam-16"), ("reward", "reward-0")):
        change = difference[variant]["mean_words"]
        contrast = settled(change, slack, DIFFERS, DIFFERS, AGREES, OPEN)
        values[f"{name}_finding"] = f"{settled(change, slack)}, {contrast}"
        values |= {f"{name}_change": change["value"], f"{name}_span": span(change, 2)}
    one_more = difference["words+1"]["token_f1"]
    values["forced_finding"] = f"{moves(one_more)}, {moves(one_more, AGREES, DIFFERS, OPEN)}"
    for extra in (1, 2):
        change = difference[f"words+{extra}"]["token_f1"]
        values |= {f"forced_{extra}": change["value"], f"forced_{extra}_span": span(change)}
    return values


def calibration_findings(effect: Mapping[str, Interval], slack: float) -> dict[str, object]:
    """Return what the page says of calibration; ``effect``: its paired difference by metric."""
    precision, recall, f1, length = (
        effect[metric] for metric in ("token_precision", "token_recall", "token_f1", "mean_words")
    )
    weights = "although the weights push towards longer slugs"
    outweighed = f"{weights}: smoothing, or the search, outweighs them"
    pattern = {
        ("falls", "rises"): "is found here too",
        ("rises", "falls"): "is turned round here",
    }.get((moves(precision), moves(recall)), "is not clearly found here")
    return {
        "precision_moves": moves(precision),
        "recall_moves": moves(recall),
        "f1_moves": moves(f1),
        "f1_gain": f1["value"],
        "f1_span": span(f1),
        "push": settled(
            length, slack, "as the weights alone would have it", outweighed, outweighed, weights
        ),
        "words_move": settled(length, slack),
        "pattern": pattern,
    }


def decider_findings(deciders: pd.DataFrame, before: str, after: str) -> dict[str, object]:
    """Return what the page says of search and training, from the table of `deciders_table`."""
    model = float((deciders[after] - deciders[before]).abs().mean())
    search = float((deciders.max() - deciders.min()).mean())
    decider = "the search" if search > model else "the training"
    return {"shift_model": model, "shift_search": search, "decider": decider}
