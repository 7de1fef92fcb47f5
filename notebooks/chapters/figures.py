"""Figures and tables of the book: each carries its text alternative and needs no network."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from html import escape

import pandas as pd
import plotly.graph_objects as go
import plotly.io as pio
from IPython.display import HTML, display_html
from pandas.api.types import is_numeric_dtype

from vec2slug_lib.common.errors import Vec2SlugError

# Okabe and Ito's palette without its yellow: told apart by colour-blind readers, and readable on
# white as on black.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
HEIGHT = 420

pio.templates["vec2slug"] = go.layout.Template(
    layout={
        "colorway": COLOURS,
        "height": HEIGHT,
        "font": {"family": "system-ui, sans-serif", "size": 14},
        "margin": {"l": 8, "r": 8, "t": 24, "b": 8},
        "title": {"automargin": True, "yref": "container", "x": 0, "xanchor": "left"},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "xaxis": {"automargin": True, "zeroline": False, "title": {"standoff": 8}},
        "yaxis": {"automargin": True, "zeroline": False, "title": {"standoff": 8}},
    }
)
pio.templates.default = "vec2slug"


def show(figure: go.Figure, alt: str) -> None:
    """Display a Plotly figure, in JupyterLab or in the book.

    JupyterLab draws it with Plotly's own extension. While the book is built (``VEC2SLUG_BOOK`` is
    set) the cell's output is the figure's JSON, which the book's ``figures.js`` draws with the one
    local copy of plotly.js; without a script the text stands in for it.

    Args:
        figure: the figure. Its height comes from its layout, its width from the page.
        alt: what a reader who cannot see the figure should take from it, in a sentence or two.

    Raises:
        Vec2SlugError: ``alt`` is empty.
    """
    text = escape(_required(alt, "figure", "text alternative"))
    if "VEC2SLUG_BOOK" not in os.environ:
        figure.show()
        return
    # "<" would let a label such as "</script>" end the element early.
    spec = str(pio.to_json(figure)).replace("<", "\\u003c")
    markup = (
        f'<figure class="v2s-figure"><div class="v2s-plot" role="img" tabindex="0"'
        f' aria-label="{text}" style="min-height:{figure.layout.height or HEIGHT}px"></div>'
        f'<script type="application/json">{spec}</script><figcaption>{text}</figcaption></figure>'
    )
    display_html(markup, raw=True)  # type: ignore[no-untyped-call]


def bars(points: pd.DataFrame) -> dict[str, pd.Series[float]]:
    """Return plotly's error bars of points with intervals (columns value, low and high)."""
    return {
        "array": points["high"] - points["value"],
        "arrayminus": points["value"] - points["low"],
    }


def table(frame: pd.DataFrame, caption: str, digits: int = 3) -> HTML:
    """Render a data frame as an accessible table that scrolls sideways on a narrow screen.

    Args:
        frame: the rows to show, all of them. A named index becomes the column of row headers, an
            unnamed one is left out.
        caption: title of the table, shown above it.
        digits: decimals of floating-point numbers.

    Returns:
        An object that a notebook displays and ``glue`` stores.

    Raises:
        Vec2SlugError: ``caption`` is empty, or the frame has columns or an index of several levels.
    """
    title = escape(_required(caption, "table", "caption"))
    if frame.columns.nlevels > 1 or frame.index.nlevels > 1:
        raise Vec2SlugError("expected a table with one header row and at most one index column")
    named = frame.index.name is not None
    body = frame.reset_index() if named else frame
    classes = [' class="num"' if is_numeric_dtype(kind) else "" for kind in body.dtypes]
    head = "".join(
        f'<th scope="col"{kind}>{escape(str(name))}</th>'
        for name, kind in zip(body.columns, classes, strict=True)
    )
    rows = "</tr><tr>".join(_rows(body, classes, named, digits))
    markup = (
        f'<div class="v2s-table" role="region" aria-label="{title}" tabindex="0"><table>'
        f"<caption>{title}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody><tr>{rows}</tr></tbody></table></div>"
    )
    return HTML(markup)  # type: ignore[no-untyped-call]


def _rows(body: pd.DataFrame, classes: Sequence[str], named: bool, digits: int) -> Iterator[str]:
    """Write the cells of each row; ``named``: the first column has the headers of the rows."""
    tags = ['th scope="row"' if named and i == 0 else "td" for i in range(len(classes))]
    for values in body.itertuples(index=False, name=None):
        yield "".join(
            f"<{tag}{kind}>{escape(_text(value, digits))}</{tag[:2]}>"
            for tag, kind, value in zip(tags, classes, values, strict=True)
        )


def _required(text: str, thing: str, part: str) -> str:
    """Return ``text`` without outer blanks; refuse an empty one."""
    if not text.strip():
        raise Vec2SlugError(f"expected the {part} of a {thing}, got an empty string")
    return text.strip()


def _text(value: object, digits: int) -> str:
    """Return a cell's value as a reader expects it: rounded, grouped by thousands, or a dash."""
    if pd.isna(value):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.{digits}f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
