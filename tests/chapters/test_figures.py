from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from chapters import figures
from hypothesis import given
from hypothesis import strategies as st

from vec2slug_lib.common.errors import Vec2SlugError


class Cells(HTMLParser):
    """Read a table back: its rows of (tag, attributes, text), and any tag it should not have."""

    KNOWN = frozenset({"div", "table", "caption", "thead", "tbody", "tr", "th", "td"})

    def __init__(self, markup):
        super().__init__()
        self.rows, self.unknown, self.attributes = [], set(), {}
        self.feed(markup)

    def handle_starttag(self, tag, attrs):
        self.attributes.setdefault(tag, dict(attrs))
        if tag not in self.KNOWN:
            self.unknown.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append([tag, dict(attrs), ""])

    def handle_data(self, data):
        if self.rows and self.rows[-1] and self.lasttag in ("th", "td"):
            self.rows[-1][-1][2] += data

    def text(self):
        return [[text for _, _, text in row] for row in self.rows]


@pytest.fixture
def in_book(monkeypatch, capsys):
    """Pretend that the book is being built; return what ``show`` displayed."""
    monkeypatch.setenv("VEC2SLUG_BOOK", "1")
    shown = []
    monkeypatch.setattr(figures, "display_html", lambda markup, raw: shown.append(markup))
    return shown


def test_book_figure_carries_its_data_and_its_text(in_book):
    figure = go.Figure(go.Bar(x=["</script><b>", "b"], y=[1, 2]), {"height": 300})
    figures.show(figure, ' A bar & a "quote". ')
    (markup,) = in_book
    spec = re.findall(r'<script type="application/json">(.*?)</script>', markup)
    assert len(spec) == 1
    assert json.loads(spec[0])["data"][0]["x"] == ["</script><b>", "b"]
    label = "A bar &amp; a &quot;quote&quot;."
    assert f'role="img" tabindex="0" aria-label="{label}"' in markup
    assert f"<figcaption>{label}</figcaption>" in markup
    assert "min-height:300px" in markup


def test_live_figure_is_left_to_plotly(monkeypatch):
    monkeypatch.delenv("VEC2SLUG_BOOK", raising=False)
    shown = []
    monkeypatch.setattr(go.Figure, "show", lambda self: shown.append(self))
    figure = go.Figure()
    figures.show(figure, "Nothing yet.")
    assert shown == [figure]


@pytest.mark.parametrize("empty", ["", " \n"])
def test_figures_and_tables_need_words(empty):
    with pytest.raises(Vec2SlugError, match="text alternative of a figure"):
        figures.show(go.Figure(), empty)
    with pytest.raises(Vec2SlugError, match="caption of a table"):
        figures.table(pd.DataFrame({"a": [1]}), empty)


def test_table_headers_numbers_and_gaps():
    frame = pd.DataFrame(
        {
            "F1": [0.29849, np.nan],
            "pairs": [1234567, 8],
            "valid": [True, False],
            "slug": ["a-b-c", None],
        },
        index=pd.Index(["3i", "3j"], name="id"),
    )
    cells = Cells(figures.table(frame, "Two models").data)
    assert cells.text() == [
        ["id", "F1", "pairs", "valid", "slug"],
        ["3i", "0.298", "1,234,567", "yes", "a-b-c"],
        ["3j", "–", "8", "no", "–"],
    ]
    assert all(tag == "th" and attrs["scope"] == "col" for tag, attrs, _ in cells.rows[0])
    assert cells.rows[1][0][:2] == ["th", {"scope": "row"}]
    assert [attrs.get("class") for _, attrs, _ in cells.rows[1]][1:3] == ["num", "num"]
    scroller = cells.attributes["div"]
    assert (scroller["role"], scroller["tabindex"]) == ("region", "0")
    assert scroller["aria-label"] == "Two models"


def test_unnamed_index_is_left_out_and_digits_are_obeyed():
    cells = Cells(figures.table(pd.DataFrame({"x": [1.25, 2000.0]}), "x", digits=1).data)
    assert cells.text() == [["x"], ["1.2"], ["2,000.0"]]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"])), min_size=1, max_size=4))
def test_no_text_becomes_markup(texts):
    cells = Cells(figures.table(pd.DataFrame({"<i>&amp;": texts}), "<b>").data)
    assert cells.text() == [["<i>&amp;"], *([text] for text in texts)]
    assert not cells.unknown


def test_table_refuses_several_levels():
    frame = pd.DataFrame({("a", "b"): [1]})
    with pytest.raises(Vec2SlugError, match="one header row"):
        figures.table(frame, "Levels")


def test_bars_reach_to_both_ends_of_the_interval():
    points = pd.DataFrame({"value": [1.0, 2.0], "low": [0.5, 2.0], "high": [3.0, 2.25]})
    found = figures.bars(points)
    assert found["array"].tolist() == [2.0, 0.25]
    assert found["arrayminus"].tolist() == [0.5, 0.0]
