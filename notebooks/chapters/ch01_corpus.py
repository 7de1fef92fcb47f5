"""What chapter 1 counts and draws: the filters, the sources, the slugs and the split.

Frames of pairs have the columns of the data set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.express as px
import plotly.graph_objects as go

from vec2slug_lib.common.files import read_json
from vec2slug_lib.common.slugs import STOPWORDS
from vec2slug_lib.common.vectors import Floats, Ints
from vec2slug_lib.common.workspace import current

FILTERS = {
    "raw": "documents read",
    "readable": "address and text readable",
    "language": "English",
    "slug": "slug in the address",
    "repetition": "not repetitive",
    "tokens": "50 to 1,000 tokens",
    "duplicate_url": "address not seen before",
    "duplicate_text": "text not seen before",
    "slug_frequency": "slug on fewer than ten pages",
    "selected": "drawn for this book",
}
REASONS = {
    "word_count": "fewer than 3 or more than 8 words",
    "not_kebab": "not words joined by - or _",
    "numeric": "two numbers, or one above 31",
    "stopwords": "over 40 % stopwords",
    "short_words": "fewer than 3 words of two letters",
    "no_path": "no path",
    "identifier": "a hash, or another identifier",
}
NEAR_COPY = 0.95  # cosine


def read_funnel() -> pd.DataFrame:
    """Read what each filter kept and dropped: a row a filter, indexed by its name."""
    return pd.DataFrame(read_json(current().data / "funnel.json")["steps"]).set_index("name")


def funnel_figure(kept: pd.Series[int]) -> go.Figure:
    """Draw the documents left after each filter."""
    names = [FILTERS[name] for name in kept.index]
    figure = go.Figure(go.Funnel(y=names, x=kept, texttemplate="%{value:,}"))
    figure.update_layout(title="Documents left after each filter", height=480)
    return figure


def funnel_alt(kept: pd.Series[int]) -> str:
    """Describe `funnel_figure`."""
    return (
        f"Funnel of ten bars from {kept['raw']:,} documents read to {kept['slug_frequency']:,} "
        f"after all filters and {kept['selected']:,} drawn. The slug filter takes most."
    )


def refusals(dropped: Mapping[str, int]) -> pd.DataFrame:
    """Rank why the slug rule drops addresses: documents and their share, a row a reason.

    Args:
        dropped: documents by a key of `REASONS`.
    """
    counts = pd.Series(dropped).sort_values(ascending=False)
    index = pd.Index([REASONS[name] for name in counts.index], name="reason")
    return pd.DataFrame(
        {"documents": counts.values, "share": (counts / counts.sum()).values}, index=index
    )


def sources_figure(sources: pd.Series[int]) -> go.Figure:
    """Draw the pairs of the twenty largest sources, given all in ascending order."""
    top = sources.tail(20)
    figure = px.bar(x=top.values, y=top.index, orientation="h")
    figure.update_layout(
        title="The twenty largest sources", xaxis_title="pairs", yaxis_title="", height=560
    )
    return figure


def sources_alt(sources: pd.Series[int]) -> str:
    """Describe `sources_figure`."""
    return (
        f"Bar chart. The largest source, {sources.index[-1]}, has {sources.iloc[-1]:,} pairs, "
        f"{sources.iloc[-1] / sources.sum():.0%} of all; the next has {sources.iloc[-2]:,}."
    )


def lengths_figure(share: pd.Series[float]) -> go.Figure:
    """Draw the share of slugs of each length in words."""
    figure = px.bar(x=share.index, y=share.values)
    figure.update_layout(
        title="Words in a slug",
        xaxis_title="words",
        yaxis_title="share of slugs",
        yaxis_tickformat=".0%",
    )
    return figure


def lengths_alt(share: pd.Series[float], mean: float) -> str:
    """Describe `lengths_figure`."""
    return (
        f"Bar chart of slug lengths from 3 to 8 words, falling from {share.iloc[0]:.0%} at 3 words "
        f"to {share.iloc[-1]:.0%} at 8. The mean is {mean:.2f}."
    )


def frequency_figure(frequency: Ints) -> go.Figure:
    """Draw word frequency against rank at up to 300 ranks, on logarithmic axes.

    Args:
        frequency: occurrences of each distinct word, descending, [W].
    """
    ranks = np.unique(np.geomspace(1, len(frequency), 300).astype(int))
    figure = px.line(x=ranks, y=frequency[ranks - 1], log_x=True, log_y=True)
    figure.update_layout(
        title="How often the n-th most frequent word occurs",
        xaxis_title="rank of the word",
        yaxis_title="occurrences",
    )
    return figure


def frequency_alt(frequency: Ints) -> str:
    """Describe `frequency_figure`."""
    return (
        "Line on two logarithmic axes, nearly straight: word frequency falls as a power of rank, "
        f"from {frequency[0]:,} for the most frequent word to one for "
        f"{(frequency == 1).mean():.0%} of the words."
    )


def poor_labels(pairs: pd.DataFrame) -> dict[str, pd.Series[bool]]:
    """Find slugs that make poor labels: a mask over the N pairs for each of four kinds."""
    slugs = pairs["slug"]
    long = slugs.str.len().between(47, 50)
    return {
        "ends in a stopword": slugs.str.rsplit("-", n=1).str[-1].isin(STOPWORDS),
        "news page, 47 to 50 characters": (pairs["source"] == "news-allsides-articles") & long,
        "holds a number": slugs.str.contains(r"(?:^|-)\d+(?:-|$)"),
        "shared by several pages": slugs.duplicated(keep=False),
    }


def label_table(slugs: pd.Series[str], masks: Mapping[str, pd.Series[bool]]) -> pd.DataFrame:
    """Tabulate kinds of slugs: the share of each, and two examples drawn at random."""
    rows = {
        kind: {
            "share": mask.mean(),
            "for example": ", ".join(slugs[mask].sample(min(2, mask.sum()), random_state=1)),
        }
        for kind, mask in masks.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("kind")


def map_figure(
    plane: Floats, groups: Sequence[str], labels: Sequence[str], title: str
) -> go.Figure:
    """Draw points of a t-SNE map, coloured by group, with a label that shows on pointing.

    Args:
        plane: positions [N, 2].
        groups: of the points, [N]; the legend lists them in order of first occurrence.
        labels: of the points, [N].
        title: of the figure.
    """
    figure = px.scatter(
        x=plane[:, 0], y=plane[:, 1], color=groups, hover_name=labels, render_mode="svg"
    )
    figure.update_traces(
        marker={"size": 5, "opacity": 0.7}, hovertemplate="%{hovertext}<extra></extra>"
    )
    hidden = {"visible": False}
    figure.update_layout(title=title, height=560, legend_title="", xaxis=hidden, yaxis=hidden)
    return figure


def nearest_cosines(queries: Floats, rows: Floats, block: int = 1000) -> Floats:
    """Compute the cosine of each query [N, D] to its nearest of the unit rows [M, D]: [N]."""
    blocks = np.array_split(queries, max(1, len(queries) // block))
    return np.concatenate([(part @ rows.T).max(axis=1) for part in blocks])


def nearest_figure(cosines: Floats) -> go.Figure:
    """Draw a histogram of the test pages' cosines to their nearest training pages."""
    bins, edges = np.histogram(cosines, bins=40)
    figure = px.bar(x=(edges[:-1] + edges[1:]) / 2, y=bins)
    figure.add_vline(x=NEAR_COPY, line_dash="dash", annotation_text="near-copy")
    figure.update_layout(
        title="Cosine of each test page to its nearest training page",
        bargap=0,
        xaxis_title="cosine",
        yaxis_title="test pages",
    )
    return figure


def nearest_alt(cosines: Floats) -> str:
    """Describe `nearest_figure`."""
    low, high = np.quantile(cosines, 0.1), np.quantile(cosines, 0.9)
    return (
        f"Histogram with its bulk between {low:.2f} and {high:.2f}; "
        f"{(cosines > NEAR_COPY).mean():.2%} of the test pages lie above 0.95."
    )


def quantisation_table(error: Mapping[str, float]) -> pd.DataFrame:
    """Tabulate the cosine of int8 vectors to the original ones, and the angle in degrees.

    Args:
        error: ``mean_cosine`` and ``least_cosine``, as the data card has them.
    """
    cosines = np.array([error["mean_cosine"], error["least_cosine"]])
    return pd.DataFrame(
        {
            "cosine to the original": [f"{cosine:.6f}" for cosine in cosines],
            "angle, degrees": np.degrees(np.arccos(cosines)),
        },
        index=pd.Index(["mean", "worst row"], name="vectors"),
    )
