"""What chapter 5 counts and draws: subwords, whole words, shapes of decoders, and new words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
import plotly.express as px
import plotly.graph_objects as go
from tokenizers import Tokenizer

from chapters.report import METRICS, moves, signed, span
from vec2slug_lib.common.slugs import words
from vec2slug_lib.common.vocabulary import SPECIALS
from vec2slug_lib.evaluation.intervals import Interval
from vec2slug_lib.evaluation.records import Run
from vec2slug_lib.experiments.score import paired
from vec2slug_lib.experiments.table import find_experiment
from vec2slug_lib.model.tokenizer import coverage, encode, train_bpe

CAPS = (10, 24)
KINDS = ["a representative", "another training word", "in no training slug"]


def subwords(tokenizer: Tokenizer, slugs: Sequence[str]) -> pd.DataFrame:
    """Tabulate slugs with their subwords, which have spaces between them."""
    tokens = [" ".join(encoding.tokens) for encoding in tokenizer.encode_batch(list(slugs))]
    return pd.DataFrame({"subwords": tokens}, index=pd.Index(slugs, name="slug"))


def spelt_share(slugs: Sequence[str], counts: Counter[str], size: int) -> float:
    """Compute the share of slugs made only of the ``size`` most frequent words."""
    known = {word for word, _ in counts.most_common(size)}
    return float(np.mean([known.issuperset(words(slug)) for slug in slugs]))


def spelt_figure(spelt: pd.Series[float]) -> go.Figure:
    """Draw the share of test slugs that a vocabulary of whole words can write, by its size."""
    figure = go.Figure(
        go.Scatter(x=spelt.index, y=spelt.values, mode="lines+markers", name="whole words")
    )
    figure.add_hline(y=1, line_dash="dash", annotation_text="byte pairs, any size")
    figure.update_layout(
        title="Test slugs that a vocabulary can write", xaxis_title="words in the vocabulary",
        yaxis_title="share of test slugs", xaxis_type="log", yaxis_tickformat=".0%",
        yaxis_range=[0, 1.08],
    )  # fmt: skip
    return figure


def spelt_alt(spelt: pd.Series[float]) -> str:
    """Describe `spelt_figure`."""
    return (
        f"Rising line: {spelt.iloc[0]:.0%} of test slugs with {spelt.index[0]:,} words, "
        f"{spelt.iloc[-1]:.0%} with {spelt.index[-1]:,}. Byte pairs write all of them."
    )


def lengths_figure(lengths: pd.Series[int]) -> go.Figure:
    """Draw the share of slugs of each length in subwords, and the caps."""
    share = lengths.value_counts(normalize=True).sort_index()
    figure = px.bar(x=share.index, y=share.values)
    for cap in CAPS:
        figure.add_vline(x=cap - 0.5, line_dash="dash", annotation_text=f"cap {cap}")
    figure.update_layout(
        title="Subwords in a slug, hyphens included", xaxis_title="subwords",
        yaxis_title="share of slugs", yaxis_tickformat=".0%",
    )  # fmt: skip
    return figure


def lengths_alt(lengths: pd.Series[int]) -> str:
    """Describe `lengths_figure`."""
    short, long = (coverage(lengths, cap) for cap in CAPS)
    return (
        f"Histogram with a mean of {lengths.mean():.1f} subwords. {short:.0%} of the slugs fit a "
        f"cap of 10, and {long:.1%} a cap of 24."
    )


def vocabulary_cost(slugs: Sequence[str], size: int) -> dict[str, float]:
    """Compute what a vocabulary of ``size`` subwords, learnt from these slugs, makes of them.

    Returns:
        ``tokens`` in the vocabulary, mean ``subwords a slug``, and how often the median token
        occurs.
    """
    tokenizer = train_bpe(slugs, size)
    ids, tokens = encode(tokenizer, slugs), tokenizer.get_vocab_size()
    seen = np.bincount(np.concatenate(ids), minlength=tokens)
    return {
        "tokens": tokens,
        "subwords a slug": float(np.mean([len(row) for row in ids])),
        "median occurrences of a token": float(np.median(seen[len(SPECIALS) :])),
    }


def shapes_table(runs: Mapping[str, Run]) -> pd.DataFrame:
    """Tabulate width, depth, parameters, loss and Token F1 of decoders."""
    rows = {}
    for name, run in runs.items():
        experiment, manifest = find_experiment(name), run.manifest
        rows[name] = {
            "width": manifest["model"]["embed_dim"],
            "layers": experiment.num_layers,
            "parameters": manifest["parameters"],
            "loss": manifest["result"]["best_val_loss"],
            "Token F1": run.value("token_f1"),
            "reported": experiment.reported_token_f1,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("experiment")


def steps(runs: Mapping[str, Run]) -> pd.DataFrame:
    """Compare decoders that differ in width alone or in depth alone, by Token F1.

    Returns:
        A row a pair, indexed by ``from``: the ``change``, and the gain of the larger decoder on
        the same test pages (``value``, ``low``, ``high``).
    """
    experiments = {name: find_experiment(name) for name in runs}
    shapes = {name: (row.embed_dim, row.num_layers) for name, row in experiments.items()}
    rows = []
    for small, large in combinations(sorted(shapes, key=shapes.__getitem__), 2):
        pairs = zip(("width", "layers"), shapes[small], shapes[large], strict=True)
        changes = [f"{name} {x} to {y}" for name, x, y in pairs if x != y]
        if len(changes) == 1:
            gain = paired(runs[large], runs[small])["token_f1"]
            rows.append({"from": f"{small} to {large}", "change": changes[0], **gain})
    columns = ["from", "change", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns).set_index("from")


def steps_verdict(gains: pd.DataFrame) -> str:
    """Say in how many of the comparisons of `steps` Token F1 rises and falls."""
    return (
        f"Of {len(gains)} comparisons in which only width or only depth grows, Token F1 rises "
        f"measurably in {(gains['low'] > 0).sum()} and falls in {(gains['high'] < 0).sum()}."
    )


def scale_verdict(scaled: Run, plain: Run) -> str:
    """Say what the Token F1 of a decoder loses when its input is not scaled."""
    change = paired(plain, scaled)["token_f1"]
    return (
        f"Without the scale, Token F1 on the test pages {moves(change)} ({change['value']:+.3f}, "
        f"{span(change)}): {plain.value('token_f1'):.3f} for {scaled.value('token_f1'):.3f}."
    )


def units_table(
    runs: Mapping[str, Run], gains: Mapping[str, Mapping[str, Interval]]
) -> pd.DataFrame:
    """Tabulate every text metric of runs, and paired differences between them, by their names."""
    levels = {name: [run.value(metric) for metric in METRICS] for name, run in runs.items()}
    steps = {name: [signed(gain[metric]) for metric in METRICS] for name, gain in gains.items()}
    return pd.DataFrame(levels | steps, index=pd.Index(METRICS.values(), name="metric"))


def subword_verdict(clusters: Run, byte_pairs: Run, gain: Interval) -> str:
    """Say whether Token F1 rises when byte pairs take the place of clusters, both uncut."""
    return (
        f"Where both see whole slugs, Token F1 {moves(gain)} when subwords take the place of "
        f"clusters in the same decoder: {clusters.value('token_f1'):.3f} with 3b, "
        f"{byte_pairs.value('token_f1'):.3f} with 3h ({gain['value']:+.3f}, {span(gain)})."
    )


def mixed_verdict(clean: Interval, mixed: Interval, cap: Interval) -> str:
    """Say what the study's pair, whose byte pairs are cut, makes of the step to byte pairs.

    Args:
        clean: Token F1 of 3h minus 3b.
        mixed: of 3e minus 3b.
        cap: of 3h minus 3e.
    """
    cost = moves(cap, "costs Token F1", "adds to Token F1", "changes Token F1 by no clear amount")
    same = "the same" if moves(clean) == moves(mixed) else "another"
    return (
        f"The cap of 10 {cost}: 3h minus 3e is {signed(cap)}. 3e minus 3b is {signed(mixed)}: "
        f"{same} verdict as the clean pair's, on a step of two things at once."
    )


def written_words(
    predictions: pd.DataFrame, representatives: set[str], trained: set[str]
) -> pd.DataFrame:
    """List every word of predicted slugs (columns slug, prediction), a row a word.

    Args:
        predictions: a row a page.
        representatives: words that stand for a cluster.
        trained: words of the training slugs.

    Returns:
        Columns ``word``, ``kind``, one of `KINDS`, and ``right``, whether the page's slug has it.
    """
    pairs = zip(predictions["prediction"], predictions["slug"], strict=True)
    rows = [(word, word in words(slug)) for guess, slug in pairs for word in words(guess)]
    kinds = [KINDS[0 if w in representatives else 1 if w in trained else 2] for w, _ in rows]
    return pd.DataFrame(rows, columns=["word", "right"]).assign(kind=kinds)


def count_kinds(written: pd.DataFrame) -> pd.DataFrame:
    """Count words of each kind: ``size``, ``sum`` of the right ones, and ``mean``, their share."""
    counts = written.groupby("kind", sort=False)["right"].agg(["size", "sum", "mean"])
    return counts.reindex(KINDS).fillna({"size": 0, "sum": 0})


def kinds_table(counts: pd.DataFrame) -> pd.DataFrame:
    """Tabulate the counts of `count_kinds` as shares."""
    columns = {
        "of all words": counts["size"] / counts["size"].sum(),
        "of the right words": counts["sum"] / max(counts["sum"].sum(), 1),
        "of them right": counts["mean"].astype(float),
    }
    return pd.DataFrame(columns).rename_axis("a word of 3h is")


def outside_table(written: pd.DataFrame) -> pd.DataFrame:
    """Tabulate different words that are no representatives, with eight at random of each kind."""
    outside = written[written["kind"] != KINDS[0]].drop_duplicates().sample(frac=1, random_state=5)
    verdict = outside["right"].map({True: "right", False: "wrong"})
    rows = {
        ", ".join(key): {
            "different words": len(group),
            "eight at random": ", ".join(group[:8]),
        }
        for key, group in outside.groupby([verdict, "kind"])["word"]
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("a word of 3h")


def spelling_verdict(right: float) -> str:
    """Say how many right words are in no training slug."""
    if not right:
        return "Every right word is in some training slug."
    words_are = "word is" if right == 1 else "words are"
    return f"{right:.0f} right {words_are} in no training slug at all: pure spelling."
