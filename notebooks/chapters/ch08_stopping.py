"""Chapter 8, when to stop: a model small enough to follow, one search traced, three rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from chapters.report import moves, span, within
from vec2slug_lib.common.vectors import Array, Floats, Ints
from vec2slug_lib.common.vocabulary import SPECIALS
from vec2slug_lib.evaluation.intervals import Interval

Record = Mapping[str, Any]  # of a decoding variant, see `decoding_record`


class SmallModel:
    """A model given by its probabilities, as the search wants it: a ``Stepper``.

    Args:
        subwords: what it writes beside the special tokens.
        probabilities: of ``<eos>``, the hyphen and each of the subwords after a text.
    """

    def __init__(
        self, subwords: Sequence[str], probabilities: Callable[[str], Sequence[float]]
    ) -> None:
        self.tokens, self.probabilities = (*SPECIALS, *subwords), probabilities

    def start(self, embeddings: Floats) -> Array:
        """Begin one text per embedding ``[N, d]``; logits ``[N, V]``."""
        self.texts = [""] * len(embeddings)
        return self._logits()

    def step(self, parents: Ints, tokens: Ints) -> Array:
        """Continue text ``parents[i]`` of the last batch with ``tokens[i]``."""
        self.texts = [self.texts[p] + self.tokens[t] for p, t in zip(parents, tokens, strict=True)]
        return self._logits()

    def _logits(self) -> Array:
        rows = [[0, 0, eos, 0, *rest] for eos, *rest in map(self.probabilities, self.texts)]
        logits: Array = np.log(np.array(rows) + 1e-12)
        return logits


def trace_table(traced: Record) -> pd.DataFrame:
    """Return a traced search, a row a step from 1, with the bound on what is unfinished."""
    trace, settings = traced["trace"], traced["settings"]
    frame = pd.DataFrame(trace, index=np.arange(1, len(trace) + 1))
    limit = settings["length_reward"] * settings["reward_cap"]
    return frame.assign(bound=frame["log_p"].astype(float) + limit)


def stopping_steps(trace: pd.DataFrame, beam_width: int) -> dict[str, int]:
    """Return the step after which each rule stops, from a table of `trace_table`."""
    ended = trace["bound"].isna() | (trace["score"].astype(float) >= trace["bound"])
    return {
        "optimal": int(ended.idxmax()),
        "k finished": int((trace["count"] >= beam_width).idxmax()),
    }


def trace_figure(trace: pd.DataFrame, stops: Mapping[str, int]) -> go.Figure:
    """Draw bound and best finished score over steps, and where the rules stop."""
    figure = go.Figure()
    for column, name, text in (
        ("bound", "bound", "active"), ("score", "best finished", "finished"),
    ):  # fmt: skip
        figure.add_scatter(x=trace.index, y=trace[column], name=name, text=trace[text])
    figure.update_traces(mode="lines+markers", hovertemplate="%{text}<br>%{y:.2f}")
    for place, (name, step) in zip(("top left", "bottom right"), stops.items(), strict=True):
        figure.add_vline(x=step, line_dash="dash", annotation_text=name, annotation_position=place)
    figure.update_layout(
        title="Bound and best score", xaxis_title="step", yaxis_title="score, nats"
    )
    return figure


def trace_alt(trace: pd.DataFrame, stops: Mapping[str, int]) -> str:
    """Describe `trace_figure`."""
    return (
        f"Two lines over {len(trace)} steps. The bound falls to the best finished score, "
        f"{trace['score'].iloc[-1]:.2f}, at step {stops['optimal']}, where the optimal rule stops; "
        f"the rule of k finished slugs stops at step {stops['k finished']}."
    )


def rules_table(stopping: Mapping[str, Record]) -> pd.DataFrame:
    """Tabulate what each stopping rule takes and gives; the first is the measure of steps."""
    least = next(iter(stopping.values()))["steps"]
    rows = [
        {
            "stop": name,
            "steps": record["steps"],
            "of k finished": f"{record['steps'] / least:.2f}×",
            "seconds": record["seconds"],
            "lower score": f"{record['lower_scores']:.1%}",
            "Token F1": f"{record['difference']['token_f1']['value']:+.4f}",
            "95 % interval": span(record["difference"]["token_f1"], 4),
        }
        for name, record in stopping.items()
    ]
    return pd.DataFrame(rows).set_index("stop")


def running_figure(stopping: Mapping[str, Record]) -> go.Figure:
    """Draw the share of searches that still run at each step, a line a rule."""
    figure = go.Figure()
    for name, record in stopping.items():
        counts = np.array(record["step_counts"])
        share = counts[::-1].cumsum()[::-1] / counts.sum()
        figure.add_scatter(x=np.arange(len(counts)), y=share, name=name, line_shape="vh")
    figure.update_layout(
        title="Searches still running", xaxis_title="step", yaxis_title="share of pages",
        yaxis_tickformat=".0%",
    )  # fmt: skip
    return figure


def running_alt(stopping: Mapping[str, Record]) -> str:
    """Describe `running_figure`."""
    means = ", ".join(f"{name} {record['steps']:.1f}" for name, record in stopping.items())
    return f"Three falling lines: share of searches that take so many steps. Means: {means}."


def trace_findings(
    traced: Record, trace: pd.DataFrame, stops: Mapping[str, int]
) -> dict[str, object]:
    """Return what the page says of the traced search."""
    return {
        "trace_reference": traced["reference"],
        "trace_slug": str(trace["finished"].iloc[-1]),
        "trace_optimal": stops["optimal"],
        "trace_first": stops["k finished"],
        "trace_end": len(trace),
    }


def cost_verdict(ratio: Interval) -> str:
    """Say whether the optimal rule takes more steps than stopping at k, by their ratio."""
    if ratio["low"] > 1:
        return "costs more than stopping at k, as the study found"
    if ratio["high"] < 1:
        return "is the cheaper of the two here, unlike in the study"
    return "cannot be told from stopping at k by its steps"


def stopping_findings(stopping: Mapping[str, Record], ratio: Interval) -> dict[str, object]:
    """Return what the page says of three rules: k finished, optimal, to the end.

    Args:
        stopping: the record of each, in this order.
        ratio: steps of the optimal rule divided by those of the first.
    """
    first, optimal, full = stopping.values()
    f1 = first["difference"]["token_f1"]
    return {
        "same": 1 - full["changed"],
        "saved": 1 - optimal["steps"] / full["steps"],
        "first_ratio": first["steps"] / optimal["steps"],
        "optimal_ratio": optimal["steps"] / first["steps"],
        "full_ratio": full["steps"] / first["steps"],
        "first_lower": first["lower_scores"],
        "first_moves": moves(f1),
        "first_f1": f1["value"],
        "first_span": span(f1, 4),
        "optimal_costs": cost_verdict(ratio),
        "optimal_steps": within(ratio),
    }
