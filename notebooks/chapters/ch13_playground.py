"""Chapter 13: what the benchmark of the playground says, in a table, a figure and sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

import pandas as pd
import plotly.graph_objects as go

HOLDS = {
    "ort-wasm-simd-threaded.wasm": "onnxruntime, from npm",
    "model_cached.onnx": "the decoder, one step; weights stored in int8",
    "model.json": "its vocabulary and settings",
    "reader.onnx": "the embedder; weights stored in int8",
    "tokenizer.json": "the embedder's vocabulary",
    "text.json": "which words of a text are in its slug",
}
AIM = 150  # milliseconds a slug
# Why a slug of the playground is not the command line's, by the first step that changes it.
CAUSES = {
    "vector": "the embedder's int8 weights, in the re-ranking",
    "text": "the embedder's int8 weights, in the vector of the text",
}


def download_table(sizes: Mapping[str, int]) -> pd.DataFrame:
    """Return what Start downloads, a row a file of ``sizes``, in bytes."""
    files = [{"file": name, "MB": size / 1e6, "holds": HOLDS[name]} for name, size in sizes.items()]
    return pd.DataFrame(files).set_index("file")


def articles_table(
    command: Sequence[str], articles: Mapping[str, Mapping[str, str]]
) -> pd.DataFrame:
    """Set the playground's slugs of the book's articles beside the command line's, with causes.

    Args:
        command: the command line's slugs.
        articles: by name, in the same order, the playground's of the ``vector`` and the ``text``.
    """
    rows = []
    for slug, (name, ours) in zip(command, articles.items(), strict=True):
        other = next((kind for kind in CAUSES if ours[kind] != slug), None)
        rows.append(
            {"article": name, "command line": slug, "playground, example": ours["vector"],
             "playground, text": ours["text"], "cause": CAUSES[other] if other else "–"}
        )  # fmt: skip
    return pd.DataFrame(rows).set_index("article")


def articles_says(articles: pd.DataFrame) -> str:
    """Write on how many of the articles the playground and the command line agree."""
    command, count = articles["command line"], len(articles)
    same = [int((articles[f"playground, {kind}"] == command).sum()) for kind in ("example", "text")]
    if same == [count, count]:
        return f"On all {count} articles the playground names the slug of the command line."
    return (
        f"The playground names the slug of the command line on {same[0]} of the {count} articles "
        f"where it has the vector, as under “Example”, and on {same[1]} where it reads the text "
        "and goes by its vector alone, as “Text” can. The last column of the table has the causes."
    )


def time_figure(times: Mapping[str, pd.Series]) -> go.Figure:
    """Draw the distributions of the milliseconds a slug."""
    figure = go.Figure()
    for name, values in times.items():
        figure.add_histogram(x=values, name=name, nbinsx=40, opacity=0.6, histnorm="percent")
    figure.update_layout(
        title="Time a slug in the browser",
        xaxis_title="milliseconds",
        yaxis_title="% of slugs",
        barmode="overlay",
    )
    return figure


def agreement_says(agreement: Mapping[str, Any]) -> str:
    """Write how many of the slugs are the command line's, and how close the others are."""
    different = agreement["rows"] - agreement["same"]
    text = f"The best slug is the same for {agreement['same']:,} of them."
    if different:
        text += (
            f" For the {different} others, the command line's scores of the two slugs are no more "
            f"than {ceil(1e4 * agreement['largest_gap']) / 1e4} apart."
        )
    return text


def speed_says(milliseconds: pd.Series, cores: int, alone: bool) -> str:
    """Write how long a slug takes, and whether the machine was free."""
    p95 = float(milliseconds.quantile(0.95))
    busy = " The machine had other work at the same time, so these times are preliminary."
    return (
        f"On {cores} cores without a graphics card, a slug took {milliseconds.median():.0f} ms "
        f"at the median and {p95:.0f} ms at the 95th percentile." + busy * (not alone)
    )


def call_says(call_one: float, call_all: float, steps: float, median: float) -> str:
    """Write what a call of the decoder spends its time on.

    Args:
        call_one: milliseconds of a call with one hypothesis.
        call_all: the same with all that the search has.
        steps: calls a slug.
        median: milliseconds a slug.
    """
    least = call_one * steps
    return (f"so {call_one / call_all:.0%} of it would be spent on a single one, too. ") + (
        f"With hypotheses for nothing a slug would still take {least:.0f} ms, so the {AIM} that "
        "we had aimed at are out of reach for this runtime with this vocabulary."
        if least > AIM
        else f"The {AIM} ms that we had aimed at {'hold' if median < AIM else 'do not hold'}."
    )


def numbers(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers and sentences that the chapter quotes, by key."""
    agreement, memory, cosine = (record[name] for name in ("agreement", "memory", "reader_cosine"))
    times = pd.Series(record["milliseconds"]["slug"])
    plain = pd.Series(record["milliseconds"]["slug, not re-ranked"])
    call_one, *_, call_all = record["call_milliseconds"].values()
    return {
        "total_mb": sum(record["bytes"].values()) / 1e6, "width": record["width"],
        "agreement_rows": agreement["rows"], "agreement_same": agreement["same"],
        "agreement_says": agreement_says(agreement),
        "speed_says": speed_says(times, record["cores"], record["alone"]),
        "first_seconds": record["first_slug_seconds"]["median"],
        "median_ms": float(times.median()), "plain_ms": float(plain.median()),
        "cosine_low": cosine["low"], "cosine_high": cosine["high"],
        "call_one": call_one, "call_all": call_all,
        "call_says": call_says(call_one, call_all, record["steps"], times.median()),
        "steps": record["steps"], "hypotheses": record["hypotheses"],
        "generations": memory["slugs"], "memory_warm": memory["warm"],
        "memory_first": memory["first_mib"], "memory_last": memory["last_mib"],
    }  # fmt: skip
