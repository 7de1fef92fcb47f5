"""Chapter 9's controls: two inputs of the same decoder, and a vocabulary without hyphens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from chapters.ch09_figures import Analysis, over_layers
from chapters.ch09_knockouts import cost, random_costs
from chapters.report import signed, within
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
            "Token F1, test": run.value("token_f1"),
            "share of hyphens, layer 1": analysis["attention"]["prefix"]["hyphen"][0]["value"],
            "largest of a head there": max(analysis["attention"]["heads"]["hyphen"][0]),
            "without hyphens' attention": signed(cost(analysis, "hyphen")),
            "without subwords'": signed(cost(analysis, "subword")),
        }
        for label, (run, analysis) in inputs.items()
    ]
    return pd.DataFrame(rows).set_index("input")


def inputs_findings(loud: Trained, calm: Trained) -> dict[str, object]:
    """Return what the page says of the study's loud input and of our calm one."""
    run, analysis = loud
    first, ratios = (
        analysis["attention"],
        [over_layers(a["attention"]["ratio"]) for _, a in (loud, calm)],
    )
    peaks = [int(ratio["value"].idxmax()) for ratio in ratios]
    moved = peaks[0] == 1 and ratios[0]["low"].iloc[0] > 1 and peaks[1] > 1
    return {
        "loud_first": within(first["ratio"][0]),
        "loud_peak": peaks[0],
        "calm_peak": peaks[1],
        "loud_head": max(first["heads"]["hyphen"][0]),
        "loud_f1": run.value("token_f1"),
        "input_verdict": "The input moves the layer at which the vector is read"
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


def control_verdict(merged: Analysis, kinds: Sequence[str]) -> str:
    """Say whether tokens of all these kinds attend to the prefix, twice what is even or more."""
    even = merged["attention"]["even"]
    if all(most(merged, kind) > 2 * even[kind] for kind in kinds):
        return "The attention moves into the words, and spreads over all of their tokens."
    return "The attention does not move into all tokens of the words."


def merged_heads_findings(merged: Analysis) -> dict[str, object]:
    """Return what the page says of the heads where hyphens are merged with words."""
    routing, random = cost(merged, "routing heads")["value"], random_costs(merged)
    return {
        "no_switchboard": "no more than as many random others do"
        if routing <= max(random)
        else "more than any draw of as many random others does",
        "merged_routing": routing,
        "merged_random": float(np.mean(random)),
    }


def f1_difference(ours: Run, theirs: Run) -> Interval:
    """Compute the paired difference in Token F1 of two runs on the same pages."""
    ours_f1, theirs_f1 = (
        metrics.token_overlap(known["prediction"].tolist(), known["slug"].tolist())[2]
        for known in (ours.predictions, theirs.predictions)
    )
    return intervals.compare({"f1": ours_f1}, {"f1": theirs_f1})["f1"]
