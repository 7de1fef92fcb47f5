"""Chapter 11's forest plot: every claim of the study on one scale, with its verdict.

On that scale 0 is where a claim stops being true, and 1 is what the study reports.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, isfinite
from textwrap import wrap

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from chapters.ch11_claims import CLAIMS, VERDICTS, Claim
from chapters.figures import COLOURS, bars

ENDS = (-2.0, 4.0)  # of the scale; what lies beyond is drawn at its end
SYMBOLS = {
    "reproduced": ("circle", COLOURS[2]),
    "smaller": ("triangle-down", COLOURS[0]),
    "larger": ("triangle-up", COLOURS[0]),
    "undecided": ("square", COLOURS[6]),
    "contradicted": ("x", COLOURS[1]),
    "not checked": ("asterisk-open", COLOURS[3]),
}
LETTERS = 52  # of a line of text, on the narrowest screen
LINE, MARK, HEADING = 15, 18, 26  # pixels of a line of text, of a mark, and above a group


def position(claim: Claim, value: float) -> float:
    """Return where a value stands between the edge of a claim's region, 0, and the reported, 1.

    Of two edges the one counts that is nearer to being crossed; a level, which has none, is
    measured from nothing.
    """
    edges = [edge for edge in claim.holds if isfinite(edge)] or [0.0]
    return min((value - edge) / (claim.reported - edge) for edge in edges)


def positions(checked: pd.DataFrame, claims: Mapping[str, Claim] = CLAIMS) -> pd.DataFrame:
    """Return value, low and high of each claim on the scale, a row a claim.

    Args:
        checked: see `check_claims`.
        claims: by the same keys.
    """
    rows = {}
    for key, row in checked.iterrows():
        ends = [position(claims[str(key)], row[end]) for end in ("low", "value", "high")]
        rows[key] = {"value": ends[1], "low": min(ends), "high": max(ends)}
    return pd.DataFrame.from_dict(rows, orient="index").replace([inf, -inf], np.nan)


def layout(
    checked: pd.DataFrame, groups: Mapping[str, Sequence[int]]
) -> tuple[dict[str, float], list[tuple[float, str]], float]:
    """Place the claims below each other, in pixels from the top.

    Args:
        checked: see `check_claims`.
        groups: headings and their chapters.

    Returns:
        The height of each claim's mark; the lines of text with the height of their upper edge; the
        height of all.
    """
    marks, lines, y = {}, [], 0.0
    for heading, chapters in groups.items():
        lines.append((y + HEADING - LINE, f"<b>{heading}</b>"))
        y += HEADING + 4
        for key, says in checked.loc[checked["chapter"].isin(chapters), "claim"].items():
            rows = wrap(says, LETTERS)
            lines.append((y, "<br>".join(rows)))
            y += LINE * len(rows) + MARK
            marks[str(key)] = y - MARK / 2 - 1
    return marks, lines, y


def forest_figure(checked: pd.DataFrame, groups: Mapping[str, Sequence[int]]) -> go.Figure:
    """Draw the claims by group: measured with its interval, and reported.

    Args:
        checked: see `check_claims`.
        groups: headings and their chapters.
    """
    marks, lines, height = layout(checked, groups)
    points = positions(checked).clip(*ENDS).assign(y=pd.Series(marks))
    figure = go.Figure()
    for verdict, (symbol, colour) in SYMBOLS.items():
        part = points[checked["verdict"] == verdict]
        figure.add_scatter(
            x=part["value"], y=part["y"], error_x=bars(part), mode="markers", name=verdict,
            text=checked.loc[part.index, "measured"], hovertemplate="%{text}",
            marker={"symbol": symbol, "color": colour, "size": 10, "line": {"color": colour}},
        )  # fmt: skip
    figure.add_scatter(
        x=np.ones(len(marks)), y=list(marks.values()), mode="markers", name="reported",
        text=checked.loc[list(marks), "reported"], hovertemplate="%{text}",
        marker={"symbol": "diamond-open", "size": 11, "color": COLOURS[-1]},
    )  # fmt: skip
    for y, text in lines:
        figure.add_annotation(
            x=0, xref="paper", xanchor="left", y=y, yanchor="top", text=text, align="left",
            showarrow=False, font_size=12,
        )  # fmt: skip
    line = {"line_width": 1, "line_color": COLOURS[-1]}
    figure.add_vline(x=0, **line).add_vline(x=1, line_dash="dot", **line)
    figure.update_layout(title="The study's claims", height=int(height) + 150, margin_t=110)
    figure.update_layout(legend={"y": 1, "yanchor": "bottom"})
    margins = [ENDS[0] - 0.2, ENDS[1] + 0.2]  # for marks at the ends
    figure.update_xaxes(range=margins, title="0: no longer true · 1: as reported", dtick=1)
    return figure.update_yaxes(range=[height + 4, 0], visible=False)


def forest_alt(checked: pd.DataFrame) -> str:
    """Describe `forest_figure`."""
    named = {
        verdict: checked.loc[checked["verdict"] == verdict, "claim"].tolist()
        for verdict in VERDICTS
    }
    listed = " ".join(
        f"{verdict.capitalize()} ({len(claims)}): {'; '.join(claims)}."
        for verdict, claims in named.items()
        if claims
    )
    outside = positions(checked)["value"]
    beyond = checked.loc[(outside < ENDS[0]) | (outside > ENDS[1]), "claim"].tolist()
    ends = f" Drawn at the end of the scale, as they lie beyond it: {'; '.join(beyond)}."
    return (
        "Forest plot of the claims, one a row, on a scale from 0, where a claim stops being true, "
        "to 1, the reported value, marked by a hollow diamond. Symbol and colour give the verdict. "
        f"{listed}{ends if beyond else ''}"
    )
