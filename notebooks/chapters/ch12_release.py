"""Chapter 12's tables and figures: a release folder, and the record of the inference benchmark.

``models`` are the record's two, ``small`` (the release cut to the study's size) and ``release``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from vec2slug_lib.common.vectors import Doubles

Models = Mapping[str, Mapping[str, Any]]

SIZES = {"small": "study's size", "release": "release"}
PRECISIONS = ("float32", "int8")
PURPOSES = {
    "model.safetensors": "the weights, int8 with a scale a row",
    "model.json": "sizes, vocabulary, settings of the search",
    "tokenizer.json": "the vocabulary as the tokenizers package reads it",
    "model.onnx": "the study's graph: whole sequences in, all logits out",
    "model_cached.onnx": "one step with a cache, float32",
    "model_quantized.onnx": "one step with a cache, int8",
    "inference.py": "slugs without this library: numpy and onnxruntime",
    "manifest.train.json": "how it was trained; hashes",
    "manifest.onnx.json": "how the graphs differ from PyTorch; hashes",
    "training_vectors.npz": "how vectors of its embedder lie, to tell another's",
    "history.train.jsonl": "losses of the training",
    "README.md": "the model card",
}
# Kinds of node of a profile, by what they are for.
NODES = {
    "products of weights": ("Gemm", "MatMulIntegerToFloat", "QuantizeLinear"),
    "sum over the vocabulary": ("Softmax", "ReduceMax", "Log"),
    "best tokens": ("TopK",),
    "attention over the cache": ("MatMul", "FusedMatMul", "Transpose", "Concat", "Split"),
    "search and caches": ("search and caches (numpy)",),
}
# What was aimed at, as times the plain algorithm's speed.
AIMS = {
    ("many", "float32"): ("throughput", 15.0),
    ("many", "int8"): ("throughput", 60.0),
    ("one", "float32"): ("latency", 4.0),
    ("one", "int8"): ("latency", 10.0),
}


def files_table(folder: Path) -> pd.DataFrame:
    """List the files of a release folder with their size in MB and their purpose."""
    rows = [
        {"file": name, "MB": (folder / name).stat().st_size / 1e6, "holds": purpose}
        for name, purpose in PURPOSES.items()
        if (folder / name).is_file()
    ]
    return pd.DataFrame(rows).set_index("file")


def graphs_table(graphs: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """Set each graph of a manifest beside PyTorch."""
    rows = [
        {
            "graph": name,
            "largest difference of a logit": f"{graph['max_difference']:.1e}",
            "same most probable token": f"{graph['argmax_agreement']:.2%}",
        }
        for name, graph in graphs.items()
    ]
    return pd.DataFrame(rows).set_index("graph")


def parity_table(models: Models) -> pd.DataFrame:
    """Set float32 beside the plain algorithm: equal slugs, largest difference of a score."""
    rows = [
        {
            "model": label,
            "pages": models[name]["parity"]["rows"],
            "same slug": models[name]["parity"]["same_slugs"],
            "largest difference of a score": f"{models[name]['parity']['score_difference']:.1e}",
        }
        for name, label in SIZES.items()
    ]
    return pd.DataFrame(rows).set_index("model")


def times_table(models: Models) -> pd.DataFrame:
    """Show milliseconds a page, alone and among many, by side: medians and quartiles."""
    rows = [
        {
            "model": label,
            "side": side,
            "one page, ms": f"{one['median']:.1f} ({one['low']:.1f} to {one['high']:.1f})",
            "times faster": one["ratio"]["median"],
            "many, ms a page": f"{many['median']:.2f} ({many['low']:.2f} to {many['high']:.2f})",
            "times faster, many": many["ratio"]["median"],
        }
        for name, label in SIZES.items()
        for side in ("plain", *PRECISIONS)
        for one, many in [(models[name]["latency"][side], models[name]["throughput"][side])]
    ]
    return pd.DataFrame(rows).set_index("model")


def ratios_figure(models: Models) -> go.Figure:
    """Draw how many times as fast as the plain algorithm each side is, with quartiles."""
    figure = go.Figure()
    for name, label in SIZES.items():
        kinds = [(kind, side) for kind in ("throughput", "latency") for side in PRECISIONS]
        spread = pd.DataFrame([models[name][kind][side]["ratio"] for kind, side in kinds])
        figure.add_scatter(
            x=spread["median"], y=["many, float32", "many, int8", "one, float32", "one, int8"],
            error_x={
                "array": spread["high"] - spread["median"],
                "arrayminus": spread["median"] - spread["low"],
            },
            mode="markers", marker_size=10, name=label,
        )  # fmt: skip
    figure.update_layout(title="Times as fast as plain", xaxis_title="ratio, with quartiles")
    return figure.update_xaxes(rangemode="tozero")


def ratios_alt(models: Models) -> str:
    """Describe `ratios_figure`."""
    ratios = ", ".join(
        f"{label} {models[name]['throughput'][side]['ratio']['median']:.0f} in {side}"
        for name, label in SIZES.items()
        for side in PRECISIONS
    )
    return f"Dot plot of ratios with quartiles. Many pages: {ratios}."


def start_table(models: Models) -> pd.DataFrame:
    """Show seconds until a process can make slugs, and its peak memory."""
    rows = [
        {
            "model": label,
            "precision": precision,
            "import, s": models[name]["start"][precision]["import"]["median"],
            "load, s": models[name]["start"][precision]["load"]["median"],
            "peak memory, MiB": f"{models[name]['start'][precision]['peak_mib']['median']:.0f}",
        }
        for name, label in SIZES.items()
        for precision in PRECISIONS
    ]
    return pd.DataFrame(rows).set_index("model")


def floors_table(models: Models, rates: Mapping[str, float]) -> pd.DataFrame:
    """Set milliseconds a page beside the least that products and reading weights take.

    Args:
        models: of the record.
        rates: multiply-adds a second by precision, and bytes a second.
    """
    rows = []
    for name, label in SIZES.items():
        work = models[name]["work"]
        for precision, width in (("float32", 4), ("int8", 1)):
            many = work["row_steps"] * work["multiply_adds"] / rates[precision]
            read = work["calls"] * work["multiply_adds"] * width / rates["bytes"]
            products = models[name]["products"][precision]
            rows.append(
                {"model": label, "precision": precision,
                 "many, floor": 1000 * many,
                 "many, products": 1000 * work["row_steps"] * products["many"],
                 "many": models[name]["throughput"][precision]["median"],
                 "one, floor": 1000 * max(many, read),
                 "one, products": 1000 * work["calls"] * products["one"],
                 "one": models[name]["latency"][precision]["median"]}
            )  # fmt: skip
    return pd.DataFrame(rows)


def profile_shares(models: Models) -> pd.DataFrame:
    """Compute the shares of one thread's time by purpose, a row a model and precision."""
    shares = pd.DataFrame(
        {
            (name, precision): {
                purpose: sum(models[name]["profile"][precision].get(kind, 0) for kind in kinds)
                for purpose, kinds in NODES.items()
            }
            for name in SIZES
            for precision in PRECISIONS
        }
    ).T
    return shares.assign(**{"the rest": 1 - shares.sum(axis=1)})


def profile_figure(shares: pd.DataFrame) -> go.Figure:
    """Draw `profile_shares` as stacked bars."""
    figure = go.Figure()
    for purpose in shares.columns:
        figure.add_bar(
            x=shares[purpose], name=purpose, orientation="h",
            y=[f"{SIZES[name]}, {precision}" for name, precision in shares.index],
        )  # fmt: skip
    figure.update_layout(
        title="Where the time goes", barmode="stack", height=520,
        xaxis_title="share of one thread's time",
    )  # fmt: skip
    return figure.update_xaxes(tickformat=".0%")


def profile_alt(shares: pd.DataFrame) -> str:
    """Describe `profile_figure`."""
    parts = ", ".join(
        f"{name} {share:.0%}" for name, share in shares.loc["release", "int8"].items()
    )
    return f"Stacked bars of shares. The release in int8: {parts}."


def aims_table(models: Models, floors: pd.DataFrame) -> pd.DataFrame:
    """Set the aims beside what was reached, and beside what bare products would allow."""
    least, rows = floors.set_index(["model", "precision"]), []
    for (pages, side), (kind, aim) in AIMS.items():
        row: dict[str, Any] = {"pages": f"{pages}, {side}", "aim": aim}
        for name, label in SIZES.items():
            times, products = models[name][kind], least.loc[(label, side), f"{pages}, products"]
            row[label] = times[side]["ratio"]["median"]
            row[f"{label}, products"] = times["plain"]["median"] / products
        rows.append(row)
    return pd.DataFrame(rows).set_index("pages")


def break_even_figure(
    prices: Doubles, chat_price: float, chat: float, ours: Mapping[str, tuple[float, float]]
) -> go.Figure:
    """Draw the cost of a million slugs by a chat model's price, and where ours meet it.

    Args:
        prices: dollars a million tokens that the chat model reads.
        chat_price: the one at which a slug costs ``chat`` dollars.
        chat: dollars a slug of the chat model.
        ours: by name, dollars a slug of ours, and the price at which a chat model's costs as much.
    """
    figure = go.Figure()
    figure.add_scatter(
        x=prices, y=1e6 * chat * prices / chat_price, name="chat model", mode="lines"
    )
    for name, (value, price) in ours.items():
        figure.add_scatter(x=prices, y=np.full(len(prices), 1e6 * value), name=name, mode="lines")
        figure.add_scatter(
            x=[price], y=[1e6 * value], mode="markers", marker_size=11, showlegend=False
        )
    figure.update_layout(
        title="Where a chat model breaks even",
        xaxis_title="dollars a million tokens it reads",
        yaxis_title="dollars a million slugs",
    )
    return figure.update_xaxes(type="log").update_yaxes(type="log")


def tiles_sentence(processor: str, rates: Mapping[str, float]) -> str:
    """Say whether a processor multiplies bytes in tiles, and how much faster that makes int8."""
    return (
        f"This processor {'has' if 'amx_int8' in processor else 'lacks'} such tiles: its int8 "
        f"products run {rates['int8'] / rates['float32']:.1f} times as fast as its float32 ones."
    )


def floor_sentence(floors: pd.DataFrame) -> str:
    """Say how much of the release's time the products take that cannot be left out."""
    share = (floors["many, products"] / floors["many"]).map("{:.0%}".format)
    share.index = pd.MultiIndex.from_frame(floors[["model", "precision"]])
    return (
        f"For many pages, the products that cannot be left out are {share['release', 'float32']} "
        f"of the release's time in float32 and {share['release', 'int8']} in int8."
    )


def release_numbers(release: Mapping[str, Any]) -> dict[str, float]:
    """Pick the record's numbers that the chapter's prose names."""
    parity, many, one = release["parity"], release["throughput"], release["latency"]
    return {
        "parity_same": parity["same_slugs"], "parity_rows": parity["rows"],
        "ms_float": many["float32"]["median"], "ms_plain": many["plain"]["median"],
        "times_float": many["float32"]["ratio"]["median"],
        "times_int8": many["int8"]["ratio"]["median"],
        "single_float": one["float32"]["ratio"]["median"],
        "single_int8": one["int8"]["ratio"]["median"],
        "calls": release["work"]["calls"], "steps": release["work"]["steps"],
    }  # fmt: skip
