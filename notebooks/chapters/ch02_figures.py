"""What chapter 2 shows of its clusterings: tables, figures and what they come to in a sentence.

Frames of methods are those of `ch02_methods.word_methods`, a row a method and setting; frames of
words those of `word_clusters`, a row a word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from chapters.figures import COLOURS
from vec2slug_lib.evaluation.metrics import token_overlap
from vec2slug_lib.experiments.word_clusters import map_slug

SELF_SIZED = ["components", "Louvain", "HDBSCAN"]  # methods that choose the number of clusters
RIVAL = "nearest frequent word"
SHOWN_AT = [0.6, 0.7, 0.85]  # thresholds of connected components in the table


def without_neighbour(parts: pd.DataFrame, size: int) -> list[float]:
    """Compute the share of ``size`` words that are alone in their part, one a threshold."""
    return [sizes.get("1", 0) / size for sizes in parts["sizes"]]


def threshold_figure(parts: pd.DataFrame, alone: Sequence[float]) -> go.Figure:
    """Draw the graph of words by threshold: neighbours a word, largest part, words alone.

    Args:
        parts: methods of connected components, by threshold.
        alone: what `without_neighbour` gives.
    """
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08)
    lines = {"neighbours a word": (parts["degree"], 1), "in largest part": (parts["largest"], 2)}
    for name, (y, row) in {**lines, "without neighbour": (alone, 2)}.items():
        figure.add_scatter(x=parts["value"], y=y, name=name, row=row, col=1)
    figure.update_yaxes(title_text="neighbours", type="log", dtick=1, row=1, col=1)
    figure.update_yaxes(title_text="share of words", tickformat=".0%", row=2, col=1)
    figure.update_xaxes(title_text="least cosine of an edge", row=2, col=1)
    figure.update_layout(title="The graph of words by threshold", height=560)
    return figure


def threshold_alt(parts: pd.DataFrame, alone: Sequence[float]) -> str:
    """Describe `threshold_figure`."""
    first, last = parts.iloc[0], parts.iloc[-1]
    return (
        f"Two panels over the threshold. Neighbours a word fall from {first['degree']:.1f} at "
        f"cosine {first['value']} to {last['degree']:.2f} at {last['value']}. The largest "
        f"connected part shrinks from {first['largest']:.0%} to {last['largest']:.1%} of the words "
        f"while those without any neighbour grow from {alone[0]:.0%} to {alone[-1]:.0%}."
    )


def compared(methods: pd.DataFrame, k: int) -> pd.DataFrame:
    """Select the methods of the table: those that size themselves, and the others at size ``k``."""
    settings = (methods["method"] != "components") | methods["value"].isin(SHOWN_AT)
    return methods[(methods["method"].isin(SELF_SIZED) & settings) | (methods["value"] == k)]


def setting(methods: pd.DataFrame) -> pd.Series[str]:
    """Name each method with its setting."""
    return methods["method"] + ", " + methods["setting"]


def methods_table(methods: pd.DataFrame) -> pd.DataFrame:
    """Tabulate what each method makes of the words and costs a slug."""
    columns = {
        "method": setting(methods),
        "vocabulary": methods["vocabulary"],
        "largest": [f"{share:.1%}" for share in methods["largest"]],
        "noise": [f"{share:.0%}" for share in methods["noise"]],
        "changed": [f"{share:.0%}" for share in methods["changed"]],
        "perfect model": methods["perfect_f1"],
    }
    return pd.DataFrame(columns).set_index("method")


def by_vocabulary(methods: pd.DataFrame, method: str) -> pd.DataFrame:
    """Select a method's settings, the smallest vocabulary first."""
    return methods[methods["method"] == method].sort_values("vocabulary")


def graph_verdict(methods: pd.DataFrame, k: int) -> str:
    """Say how many settings that size themselves are of no use, and how k-means compares.

    A setting is of no use if it has over ``2 k`` clusters or a tenth of the words in one. Its
    rival is k-means with as many clusters, interpolated between the sizes that were tried.
    """
    free, curve = methods[methods["method"].isin(SELF_SIZED)], by_vocabulary(methods, "KMeans")
    useless = (free["vocabulary"] > 2 * k) | (free["largest"] > 0.1)
    size, score = curve["vocabulary"], curve["perfect_f1"]
    within = free[free["vocabulary"].between(size.min(), size.max())]
    wins = (within["perfect_f1"] < np.interp(within["vocabulary"], size, score)).sum()
    return (
        f"Of {len(free)} settings of components, Louvain and HDBSCAN, {useless.sum()} put over a "
        f"tenth of the words into one cluster or leave over {2 * k:,} clusters. Given as many "
        f"clusters as they leave, k-means serves a perfect model better in {wins} of the "
        f"{len(within)} cases that can be compared."
    )


def clustering_verdict(ours: Mapping[str, float], rival: Mapping[str, float]) -> str:
    """Say whether clusters (row ``ours``) allow more than frequent words (row ``rival``)."""
    if rival["best_f1"] > ours["best_f1"]:
        return "Clustering by meaning lowers the ceiling that it was meant to raise."
    return "Here clustering raises the ceiling."


def sizes_figure(methods: pd.DataFrame, k: int) -> go.Figure:
    """Draw cluster size against rank, a line for each of six methods."""
    drawn = {
        "components, cosine 0.85", "components, cosine 0.6", "Louvain, cosine 0.7",
        "HDBSCAN, eom", "HDBSCAN, leaf", f"KMeans, k = {k:,}",
    }  # fmt: skip
    figure = go.Figure()
    for name, sizes in zip(setting(methods), methods["sizes"], strict=True):
        if name in drawn:
            size, times = np.array([(int(s), n) for s, n in sizes.items()])[::-1].T
            rank = np.stack([np.cumsum(times) - times + 1, np.cumsum(times)], axis=1).ravel()
            figure.add_scatter(x=rank, y=np.repeat(size, 2), name=name, mode="lines")
    axis = {"type": "log", "dtick": 1}
    figure.update_layout(
        title="Cluster sizes by method",
        height=480,
        xaxis={"title": "rank of the cluster", **axis},
        yaxis={"title": "words in it", **axis},
    )
    return figure


def sizes_alt(ours: float, others: pd.Series[float]) -> str:
    """Describe `sizes_figure` by the share of words in the largest cluster of each method."""
    return (
        f"Lines of cluster size against rank on logarithmic axes. The largest k-means cluster "
        f"holds {ours:.1%} of the words; the largest of the other methods shown in the table hold "
        f"between {others.min():.1%} and {others.max():.0%}."
    )


def ceilings_figure(methods: pd.DataFrame) -> go.Figure:
    """Draw the Token F1 that vocabularies allow, against their size."""
    figure = go.Figure()
    lines = {"KMeans": ("k-means", COLOURS[0]), RIVAL: ("frequent", COLOURS[1])}
    for method, (label, colour) in lines.items():
        rows = by_vocabulary(methods, method)
        for kind, dash in (("best", "solid"), ("perfect", "dash")):
            line = {"color": colour, "dash": dash}
            axes = {"x": rows["vocabulary"], "y": rows[f"{kind}_f1"], "mode": "lines+markers"}
            figure.add_scatter(name=f"{label}, {kind}", line=line, **axes)
    free = methods[methods["method"].isin(SELF_SIZED)]
    figure.add_scatter(
        x=free["vocabulary"], y=free["perfect_f1"], mode="markers", name="other methods, perfect",
        marker={"color": COLOURS[6], "symbol": "diamond"}, hovertext=setting(free),
    )  # fmt: skip
    figure.update_layout(
        title="What a vocabulary allows", height=520, yaxis_title="Token F1 on the test slugs",
        xaxis={"title": "words in the vocabulary", "type": "log", "dtick": 1},
    )  # fmt: skip
    return figure


def ceilings_alt(k: int, ours: Mapping[str, float], rival: Mapping[str, float]) -> str:
    """Describe `ceilings_figure` at ``k`` words: rows of k-means and of frequent words."""
    return (
        f"Lines rising with the size of the vocabulary. At {k:,} words k-means allows a perfect "
        f"model {ours['perfect_f1']:.3f} and {ours['best_f1']:.3f} at best; the most frequent "
        f"words allow {rival['perfect_f1']:.3f} and {rival['best_f1']:.3f}."
    )


def look_up(words: pd.DataFrame, asked: Sequence[str]) -> pd.DataFrame:
    """Tabulate what becomes of some words, and which others share their clusters.

    Args:
        words: a row a word, the most frequent first.
        asked: words; frequent ones stand in for those that the data lack.
    """
    by_word, members = words.set_index("word"), words.groupby("cluster")["word"]
    known = [word for word in asked if word in by_word.index]
    frequent = [word for word in words["word"] if len(word) > 3]
    rows = {}
    for word in list(dict.fromkeys(known + frequent))[: len(asked)]:
        fellows = members.get_group(by_word.loc[word, "cluster"])
        rows[word] = {
            "becomes": by_word.loc[word, "representative"],
            "words in the cluster": len(fellows),
            "among them": ", ".join([fellow for fellow in fellows if fellow != word][:6]),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("word")


def perfect_slugs(slugs: Sequence[str], mapping: Mapping[str, str]) -> pd.DataFrame:
    """Tabulate slugs as a perfect model writes them, with their Token F1."""
    written = [map_slug(slug, mapping) for slug in slugs]
    columns = {"perfect model": written, "Token F1": token_overlap(written, slugs)[2]}
    return pd.DataFrame(columns, index=pd.Index(slugs, name="reference"))


def cost_table(methods: pd.DataFrame) -> pd.DataFrame:
    """Tabulate seconds and peak memory in MiB of methods."""
    columns = {
        "method": setting(methods),
        "seconds": methods["seconds"],
        "peak MiB": [None if pd.isna(peak) else round(peak) for peak in methods["peak_mib"]],
    }
    return pd.DataFrame(columns).set_index("method")
