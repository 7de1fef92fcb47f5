"""Chapter 11 on the study's six steps: what each adds, in a figure, a table and sentences."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from chapters.ch11_figures import hollow
from chapters.figures import bars
from vec2slug_lib.evaluation.intervals import Interval

STEPS = {  # claims that are steps, by their key
    "decoder": "decoder (3b − fair MLP)",
    "bpe": "byte pairs (3e − 3b)",
    "cap": "cap 24 (3h − 3e)",
    "eos": "calibration (3i − 3h)",
    "larger": "larger (3j − 3i)",
}
PHASES = {
    "Words and clusters (chapters 1 and 2)": (1, 2),
    "The MLP (chapter 3)": (3,),
    "A decoder over clusters (chapter 4)": (4,),
    "Byte pairs and the cap (chapters 5 and 6)": (5, 6),
    "Length and size (chapter 7)": (7,),
    "The search (chapter 8)": (8,),
    "Attention (chapter 9)": (9,),
    "The whole (this chapter)": (11,),
    "Time and money (chapter 12)": (12,),
}


def step_gains(checked: pd.DataFrame, stopping: Interval) -> pd.DataFrame:
    """Return what each step adds to Token F1, with an interval and an outcome.

    Args:
        checked: all claims, as `check_claims` returns them.
        stopping: difference of stopping at the first k slugs to the optimal rule.
    """
    gains = checked.loc[list(STEPS), ["value", "low", "high", "expected"]].rename(index=STEPS)
    turned = [0 - stopping["value"], 0 - stopping["high"], 0 - stopping["low"], np.nan]
    gains.loc["stopping (3i)"] = turned
    gains = gains.astype(float)
    gains["outcome"] = np.select([gains["low"] > 0, gains["high"] < 0], ["better", "worse"], "draw")
    return gains


def step_table(gains: pd.DataFrame) -> pd.DataFrame:
    """Return the steps as a table of texts: reported, measured, outcome."""
    return pd.DataFrame(
        {
            "reported": [f"{value:+.3f}" if value == value else "–" for value in gains["expected"]],
            "measured": [
                f"{row['value']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"
                for _, row in gains.iterrows()
            ],
            "outcome": gains["outcome"].to_numpy(),
        },
        index=gains.index.rename("step"),
    )


def step_figure(gains: pd.DataFrame) -> go.Figure:
    """Draw what each step adds, measured and reported."""
    figure = go.Figure()
    figure.add_scatter(
        x=gains["value"], y=gains.index, error_x=bars(gains), mode="markers", marker_size=9,
        name="measured",
    )  # fmt: skip
    hollow(figure, gains["expected"].dropna().to_dict())
    figure.add_vline(x=0, line_dash="dot")
    figure.update_layout(title="What each step adds", xaxis_title="Token F1 gained")
    figure.update_yaxes(categoryorder="array", categoryarray=list(gains.index)[::-1])
    return figure


def steps_say(gains: pd.DataFrame) -> str:
    """Write which steps are better, worse or a draw."""
    openings = {
        "better": "Measurably better with",
        "worse": "Measurably worse with",
        "draw": "A draw",
    }
    grouped = {outcome: ", ".join(gains.index[gains["outcome"] == outcome]) for outcome in openings}
    return " ".join(f"{openings[outcome]}: {names}." for outcome, names in grouped.items() if names)


def tally(counts: pd.Series) -> str:
    """Write how many claims came out in which way, from the counts of the verdicts."""
    return (
        f"Of {counts.sum()} claims of the study, {counts['reproduced']} are reproduced, "
        f"{counts[['smaller', 'larger']].sum()} hold with another size, {counts['undecided']} stay "
        f"undecided, {counts['contradicted']} are contradicted and {counts['not checked']} cannot "
        "be checked here."
    )


def topics_say(topics: int, over_topics: pd.DataFrame, over_pages: pd.DataFrame) -> str:
    """Write what the topics are too few to decide.

    Args:
        topics: that the test pages lie in.
        over_topics: all claims, as `check_claims` returns them.
        over_pages: the same, with pages drawn instead.
    """
    open_now = over_topics["verdict"] == "undecided"
    lost = int((open_now & (over_pages["verdict"] != "undecided")).sum())
    return (
        f"With {topics} topics, {open_now.sum()} of {len(over_topics)} claims stay undecided; a "
        f"bootstrap over pages would have decided {lost} of them."
    )


def changed_verdicts(over_topics: pd.DataFrame, over_pages: pd.DataFrame) -> pd.DataFrame:
    """Return the claims whose verdict depends on what is drawn, with both intervals."""
    columns = {
        f"{part}, {kind}": checked[part]
        for kind, checked in (("over pages", over_pages), ("over topics", over_topics))
        for part in ("verdict", "measured")
    }
    frame = pd.DataFrame(columns).set_index(over_topics["claim"])
    return frame[frame["verdict, over pages"] != frame["verdict, over topics"]]


def size_says(gains: pd.DataFrame, sizes: pd.Series, measured: str) -> str:
    """Write what the larger model gains over the smaller one, and for how many more weights."""
    outcome = {"better": "is measurably better", "worse": "is measurably worse"}.get(
        gains.loc[STEPS["larger"], "outcome"], "is not measurably better"
    )
    ratio = sizes["3j"] / sizes["3i"]
    return f"The larger model, 3j, {outcome} than 3i at {ratio:.1f} times its size: {measured}."
