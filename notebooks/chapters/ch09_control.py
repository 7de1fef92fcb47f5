"""Chapter 9's controls: two inputs of the same decoder, and a vocabulary without hyphens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from chapters.ch09_figures import Analysis, over_layers
from chapters.ch09_knockouts import cost, random_costs
from chapters.report import moves, signed, within
from vec2slug_lib.evaluation import intervals, metrics
from vec2slug_lib.evaluation.intervals import Interval
from vec2slug_lib.evaluation.records import Run

Trained = tuple[Run, Analysis]

KNOCKED_OUT = ("nothing", "hyphen", "subword", "bos", "everything")
# Where hyphens are merged, a token that holds one is the first of its word.
MERGED_KINDS = {"bos": "bos", "hyphen": "word's first token", "subword": "word's later token"}


def ratios_by_input(inputs: Mapping[str, Trained]) -> pd.DataFrame:
    """Tabulate hyphens' share over subwords' by layer, a column an input."""
    columns = {
        label: [within(interval) for interval in analysis["attention"]["ratio"]]
        for label, (_, analysis) in inputs.items()
    }
    frame = pd.DataFrame(columns)
    return frame.set_axis(pd.RangeIndex(1, len(frame) + 1, name="layer"))


def inputs_table(inputs: Mapping[str, Trained]) -> pd.DataFrame:
    """Tabulate layer 1 and the costs of knockouts, a row an input."""
    rows = [
        {
            "input": label,
            "epochs": run.manifest["result"]["epochs"],
            "Token F1, test": run.value("token_f1"),
            "share of hyphens, layer 1": analysis["attention"]["prefix"]["hyphen"][0]["value"],
            "largest of a head there": max(analysis["attention"]["heads"]["hyphen"][0]),
            "without hyphens' attention": signed(cost(analysis, "hyphen")),
            "without subwords'": signed(cost(analysis, "subword")),
        }
        for label, (run, analysis) in inputs.items()
    ]
    return pd.DataFrame(rows).set_index("input")


def beyond_seeds(difference: Interval, seeds: float, rises: str, falls: str, stays: str) -> str:
    """Say what a difference between two trainings tells, nothing if seeds alone may differ so."""
    return stays if abs(difference["value"]) <= seeds else moves(difference, rises, falls, stays)


def inputs_findings(loud: Trained, calm: Trained, seeds: float) -> dict[str, object]:
    """Return what the page says of the study's loud input and of our calm one.

    Args:
        loud: the run with the study's input, and its analysis.
        calm: the run with scaled input, and its analysis.
        seeds: how far Token F1 moves with the seed alone.
    """
    first = loud[1]["attention"]
    ratios = [over_layers(analysis["attention"]["ratio"]) for _, analysis in (loud, calm)]
    peaks = [int(ratio["value"].idxmax()) for ratio in ratios]
    moved = peaks[0] == 1 and ratios[0]["low"].iloc[0] > 1 and peaks[1] > 1
    return {
        "loud_first": within(first["ratio"][0]),
        "loud_peak": peaks[0],
        "calm_peak": peaks[1],
        "loud_head": max(first["heads"]["hyphen"][0]),
        "loud_f1": loud[0].value("token_f1"),
        "calm_f1": calm[0].value("token_f1"),
        "input_quality": beyond_seeds(
            f1_difference(loud[0], calm[0]),
            seeds,
            "It writes better than the other, so the layer is not for want of learning",
            "It writes worse than the other, so it is a hint about the layer and none about the "
            "study's strength of effect",
            "In quality the two do not differ by more than another seed might bring",
        ),
        "input_verdict": "The input moves the layer at which the vector is read: a reason that "
        "fits, though not tested, is that loud positions let a head find the prefix by its place "
        "alone, before anything has been computed, while small ones leave the first layer to the "
        "neighbours and the reading to the next"
        if moved
        else "The input does not explain the study's layer 1",
    }


def vocabularies_table(vocabularies: Mapping[str, Trained]) -> pd.DataFrame:
    """Tabulate runs of the same recipe by vocabulary; nats are of a model's own slugs."""
    rows = []
    for label, (run, analysis) in vocabularies.items():
        tokens = sum(analysis["lens"]["counts"].values())
        loss = analysis["cuts"]["nothing"]["loss"]
        rows.append(
            {
                "vocabulary": label,
                "epochs": run.manifest["result"]["epochs"],
                "Token F1": run.value("token_f1"),
                "95 %": "{low:.3f} to {high:.3f}".format(**run.metrics["token_f1"]),
                "distinct": f"{run.value('diversity'):.1%}",
                "words": run.value("mean_words"),
                "tokens a slug": tokens / analysis["rows"],
                "nats a slug": loss * tokens / analysis["rows"],
            }
        )
    return pd.DataFrame(rows).set_index("vocabulary")


def merged_prefix(merged: Analysis) -> dict[str, pd.DataFrame]:
    """Return the share on the prefix by layer, for each kind of token of the merged vocabulary."""
    prefix = merged["attention"]["prefix"]
    return {label: over_layers(prefix[k]) for k, label in MERGED_KINDS.items() if k in prefix}


def merged_alt(prefix: Mapping[str, pd.DataFrame]) -> str:
    """Describe the figure of `merged_prefix`."""
    share, label, layer = max(
        (frame["value"].max(), label, int(frame["value"].idxmax()))
        for label, frame in prefix.items()
        if label != "bos"
    )
    return (
        "A line for each kind of token of the merged vocabulary. After <bos>, the highest share is "
        f"{share:.3f}, of a {label}, at layer {layer}."
    )


def tasks_table(vocabularies: Mapping[str, Analysis]) -> pd.DataFrame:
    """Tabulate the share on the prefix by what is written next, layer and vocabulary."""
    columns = {
        f"{task}, {label}": over_layers(analysis["attention"]["writes"][task])["value"]
        for task in ("first subword", "later subword", "eos")
        for label, analysis in vocabularies.items()
        if task in analysis["attention"]["writes"]
    }
    return pd.DataFrame(columns).rename_axis("layer")


def control_table(apart: Analysis, merged: Analysis) -> pd.DataFrame:
    """Tabulate the knockouts of two vocabularies: hyphens apart, and merged with words."""
    sides = [
        ("apart", apart, {"hyphen": "hyphens", "subword": "subwords"}),
        ("merged", merged, {"hyphen": "first tokens", "subword": "later tokens"}),
    ]
    rows = [
        {"vocabulary": label, "knocked out for": kinds.get(name, name), **_effect(analysis, name)}
        for label, analysis, kinds in sides
        for name in KNOCKED_OUT
    ]
    return pd.DataFrame(rows).set_index("vocabulary")


def _effect(analysis: Analysis, name: str) -> dict[str, Any]:
    """Return what a knockout costs as cells of a table."""
    cut = analysis["cuts"][name]
    return {
        "first subwords": signed(cut["added"]["first subword"]),
        "all tokens": signed(cut["added"]["all"]),
        "Token F1": cut["f1"]["value"],
        "same slug": f"{cut['same']:.1%}",
    }


def most(analysis: Analysis, kind: str) -> float:
    """Return the largest share on the prefix over layers."""
    share: float = max(interval["value"] for interval in analysis["attention"]["prefix"][kind])
    return share


def control_findings(apart: Analysis, merged: Analysis) -> dict[str, object]:
    """Return what the page says of attention where hyphens are merged with words."""
    even, prefix = merged["attention"]["even"], merged["attention"]["prefix"]
    kinds = [kind for kind in ("hyphen", "subword") if kind in prefix]
    layer = int(np.argmax([interval["value"] for interval in prefix["hyphen"]]))
    heads = merged["attention"]["heads"]["hyphen"][layer]
    return {
        "control_verdict": control_verdict(merged, kinds),
        "control_conclusion": control_conclusion(merged, kinds),
        "merged_layer": layer + 1,
        "merged_first": most(merged, "hyphen"),
        "merged_later": most(merged, kinds[-1]),
        "even_first": even["hyphen"],
        "even_later": even[kinds[-1]],
        "plain_subword": most(apart, "subword"),
        "least_head": min(heads),
        "most_head": max(heads),
        "cut_first": signed(cost(merged, "hyphen")),
        "cut_later": signed(cost(merged, kinds[-1])),
        "plain_cut_later": signed(cost(apart, "subword")),
    }


def spreads(merged: Analysis, kinds: Sequence[str]) -> bool:
    """Tell whether tokens of all these kinds attend to the prefix, twice what is even or more."""
    even = merged["attention"]["even"]
    return all(most(merged, kind) > 2 * even[kind] for kind in kinds)


def control_verdict(merged: Analysis, kinds: Sequence[str]) -> str:
    """Say whether attention to the prefix spreads over all kinds of token."""
    if spreads(merged, kinds):
        return "The attention moves into the words, and spreads over all of their tokens."
    return "The attention does not move into all tokens of the words."


def control_conclusion(merged: Analysis, kinds: Sequence[str]) -> str:
    """Conclude what the hyphen is to a decoder."""
    if spreads(merged, kinds):
        return (
            "So the hyphen is not what makes a decoder read. It is a position with nothing else to "
            "do, and where there is one, reading can gather there."
        )
    return "So reading needs a place of its own, and with the hyphens some of it goes."


def merged_heads_findings(merged: Analysis) -> dict[str, object]:
    """Return what the page says of the heads where hyphens are merged with words."""
    routing, random = cost(merged, "routing heads")["value"], random_costs(merged)
    gone = routing <= max(random)
    return {
        "labour": "What is gone is the division of labour"
        if gone
        else "A division of labour between the heads is left",
        "no_switchboard": "no more than as many random others do"
        if gone
        else "more than any draw of as many random others does",
        "merged_routing": routing,
        "merged_random": float(np.mean(random)),
    }


def f1_difference(ours: Run, theirs: Run) -> Interval:
    """Compute the paired difference in Token F1 of two runs on the same pages."""
    sides = [run.predictions for run in (ours, theirs)]
    ours_f1, theirs_f1 = (
        metrics.token_overlap(known["prediction"].tolist(), known["slug"].tolist())[2]
        for known in sides
    )
    return intervals.compare({"f1": ours_f1}, {"f1": theirs_f1}, sides[0]["topic"])["f1"]


def price_findings(merged: Run, plain: Run, seeds: float) -> dict[str, object]:
    """Return what the page says of merging as a vocabulary.

    Args:
        merged: the run with the merged vocabulary.
        plain: the run with hyphens apart.
        seeds: how far Token F1 moves with the seed alone.
    """
    change = f1_difference(merged, plain)
    longer = merged.value("mean_words") - plain.value("mean_words")
    level = "neither a gain nor a loss that another seed need leave standing"
    return {
        "control_gain": beyond_seeds(change, seeds, "a gain", "a loss", level),
        "control_price": signed(change),
        "seeds": seeds,
        "longer": longer,
        "longer_why": "One reason for the length may be that the recipe's label smoothing gives a "
        "little probability to every token, and most tokens of this vocabulary begin a word."
        if longer > 0
        else "",
    }
