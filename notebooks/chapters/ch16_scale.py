"""Chapter 16: what many documents take, by arithmetic from measured rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from chapters.figures import COLOURS
from vec2slug_lib.experiments.table import PRESETS, decoder_config, find_experiment
from vec2slug_lib.model.decoder import Decoder

Steps = Mapping[str, Mapping[str, Any]]  # of the scaling benchmark, by name

SLUG_TOKENS = 12.7  # 11.7 subwords and the end, reported; ours are shorter
STUDY = {"call": 0.00103, "documents": 9_700_000, "pairs": 2_298_564, "tokens": 566}
MEASURED_WIDTH = 384  # of the vectors that the steps were timed with: MiniLM's
LOCAL = "embed, MiniLM"


def time_figure(steps: Steps) -> go.Figure:
    """Draw the seconds of each step over rows; solid where rows stream through."""
    figure = go.Figure()
    for number, (name, step) in enumerate(steps.items()):
        measured = pd.DataFrame(step["measured"])
        again, colour = divmod(number, len(COLOURS))
        figure.add_scatter(
            x=measured["rows"], y=measured["seconds"], mode="lines+markers", name=name,
            line={"color": COLOURS[colour], "dash": "solid" if step["streaming"] else "dot"},
            marker={"symbol": ("circle", "diamond")[again], "size": 8},
        )  # fmt: skip
    figure.update_layout(
        title="Time of a step by rows", xaxis_title="rows", yaxis_title="seconds",
        xaxis_type="log", yaxis_type="log", height=520,
    )  # fmt: skip
    return figure


def growth_table(steps: Steps) -> pd.DataFrame:
    """Return exponents of time and memory and the peaks of memory, a row a step."""
    rows = {
        name: {
            "time, exponent": step["exponent_seconds"],
            "of the last decade": step["exponent_seconds_last"],
            "memory, exponent": step["exponent_memory"],
            "peak MiB, smallest": round(step["measured"][0]["peak_mib"]),
            "peak MiB, largest": round(step["measured"][-1]["peak_mib"]),
            "streams": "yes" if step["streaming"] else "no",
        }
        for name, step in steps.items()
    }
    return pd.DataFrame(rows).T.rename_axis("step")


def growth_says(steps: Steps) -> str:
    """Write whether the time of every step grows with the rows and no faster."""
    last = {name: step["exponent_seconds_last"] for name, step in steps.items()}
    steep = {name: value for name, value in last.items() if value > 1.1}
    if not steep:
        return "Time grows with the rows and no faster in every step."
    listed = ", ".join(f"{name} {value:.2f}" for name, value in steep.items())
    return f"Time grows with the rows, or a little faster: exponents above 1.1 are {listed}."


def kept_share(funnel: Mapping[str, Any]) -> float:
    """Return the share of the documents read that all filters keep, before pairs are drawn."""
    kept = {step["name"]: step["kept"] for step in funnel["steps"]}
    return float(kept["slug_frequency"] / kept["raw"])


def core_hours(scaling: Mapping[str, Any], name: str, rows: int) -> float:
    """Return the hours of one core for all rows, at the rate of the largest measurement."""
    measured = scaling["steps"][name]["measured"][-1]
    cores = scaling["workers"] if name == "corpus" else scaling["machine"]["cores"]
    return float(rows * measured["seconds"] / measured["rows"] * cores / 3600)


def step_hours(
    records: Mapping[str, Any], documents: int, pairs: int, width: int
) -> dict[str, float]:
    """Return the core-hours of each step but training; filters see documents, the others pairs.

    Args:
        records: the benchmarks ``scaling``, ``inference`` and ``embedding``.
        documents: how many are read.
        pairs: how many of them the filters keep.
        width: of a vector. Steps over vectors were timed at `MEASURED_WIDTH` and take longer in
            proportion; the time of the local embedder is there only at that width, its own.
    """
    scaling, embedding = records["scaling"], records["embedding"]
    minilm = embedding["documents_a_second"]["float32"]  # what slugs depend on is never rougher
    slug = records["inference"]["models"]["small"]["throughput"]["int8"]["median"] / 1000
    # Topics are as many as the root of the rows, so a row takes longer by that root.
    growth = (pairs / scaling["steps"]["clustering"]["measured"][-1]["rows"]) ** 0.5
    wider = width / MEASURED_WIDTH
    here = {LOCAL: pairs / minilm * embedding["threads"] / 3600} if wider == 1 else {}
    return {
        "filter, local and global": core_hours(scaling, "corpus", documents),
        **here,
        "bookkeeping of embedding": core_hours(scaling, "embedding", pairs) * wider,
        "topics": core_hours(scaling, "clustering", pairs) * growth * wider,
        "slugs, int8, the search alone": pairs * slug * scaling["machine"]["cores"] / 3600,
    }


def training_products(pairs: int, width: int, epochs: int) -> float:
    """Return the floating-point operations of training 3i, 6 a weight and token."""
    decoder = Decoder(decoder_config(find_experiment("3i"), PRESETS["paper"], width))
    parameters = sum(p.numel() for p in decoder.parameters())
    return 6 * parameters * SLUG_TOKENS * pairs * epochs


def hours_table(
    local: Mapping[str, float], hosted: Mapping[str, float], gpu_hours: float
) -> pd.DataFrame:
    """Return hours with vectors made here or bought, a row a step; one of the two is to pay.

    Args:
        local: core-hours of each step with vectors that are made here.
        hosted: the same with bought ones.
        gpu_hours: of the training.
    """
    columns = {"core-hours, vectors made here": local, "core-hours, vectors bought": hosted}
    time = pd.DataFrame(columns).reindex(list(local))
    time.loc["in all"] = time.sum()
    time.loc["train 3i, on a GPU"] = np.nan
    time["GPU-hours"] = [np.nan] * (len(time) - 1) + [gpu_hours]
    return time.rename_axis("step")


def bytes_table(rows: pd.DataFrame, width: int, pairs: int) -> pd.DataFrame:
    """Return the bytes of what is kept, a pair and in all; bought vectors are ``width`` wide."""
    sizes = {
        "texts, four bytes a token": 4 * rows["token_count"].mean(),
        f"vectors, float32, {width} wide": 4 * width,
        f"vectors, int8, {width} wide": width + 4,
        f"vectors, float32, {MEASURED_WIDTH} wide (MiniLM)": 4 * MEASURED_WIDTH,
        "slugs as JSON lines": rows["slug"].str.len().mean() + 40,
    }
    frame = pd.DataFrame({"bytes a pair": sizes})
    frame["TB in all"] = frame["bytes a pair"] * pairs / 1e12
    return frame.rename_axis("what")


def batch_dollars(pairs: int, tokens: float, price: float) -> float:
    """Return the dollars for vectors by batch, at half the ``price`` of a million tokens."""
    return pairs * tokens * price / 2 / 1e6


def dollars(pairs: int, tokens: float, price: float) -> dict[str, float]:
    """Return the dollars for bought vectors, and for slugs by a chat model instead."""
    return {
        "vectors bought, by batch": batch_dollars(pairs, tokens, price),
        "vectors bought, directly": pairs * tokens * price / 1e6,
        "the same slugs by a chat model, price reported": pairs * STUDY["call"],
    }


def memory_limits(steps: Steps, width: int, memory_gib: int) -> dict[str, float]:
    """Return the pairs that fit a machine's memory in each step that needs all, least first."""
    memory = memory_gib * 2**30
    a_row = {name: step["bytes_a_row"] for name, step in steps.items() if not step["streaming"]}
    scale = width / MEASURED_WIDTH
    limits = {
        "topics": memory / (max(a_row["clustering"], 4 * MEASURED_WIDTH) * scale),
        "check for leaks": memory / (max(a_row["leaks"], 4 * MEASURED_WIDTH) * scale),
        "training, all vectors in float32": memory
        / (4 * width * 1.8),  # whole, and the training part
        "vocabulary": memory / a_row["vocabulary"],
        "split": memory / a_row["split"],
    }
    return dict(sorted(limits.items(), key=lambda pair: pair[1]))


def first_says(limits: Mapping[str, float], memory_gib: int, share: float) -> str:
    """Write what breaks first; ``share`` of the documents read are pairs."""
    name, count = next(iter(limits.items()))
    return (
        f'What breaks first is memory, in the step "{name}": beyond {count / 1e6:.0f} million '
        f"pairs with bought vectors, {count / share / 1e6:.0f} million documents, it no longer "
        f"fits into {memory_gib} GiB."
    )


def rehearsal_table(rehearsal: Mapping[str, Any]) -> pd.DataFrame:
    """Return what happened in the rehearsal, and what came of it."""
    facts = {
        "killed at": ", ".join(rehearsal["kills"]),
        "faults of the server": times(rehearsal["faults"]),
        "batches": rehearsal["batches"],
        "of which ended badly": times(rehearsal["batch_endings"]),
        "texts embedded": rehearsal["paid_once"] + rehearsal["paid_more"],
        "paid for more than once": rehearsal["paid_more"],
        "lost": rehearsal["lost"],
    }
    return pd.DataFrame({"": facts}).rename_axis("rehearsal")


def times(counts: Mapping[str, int]) -> str:
    """Write how often each thing happened."""
    return ", ".join(f"{count} × {name}" for name, count in counts.items())
