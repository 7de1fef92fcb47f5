"""What chapter 6 asks of a cap: which slugs fit it, how they are cut, and how slugs then end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import ArrayLike
from tokenizers import Tokenizer

from chapters.report import group_gap, moves, signed, span
from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.slugs import words
from vec2slug_lib.common.vectors import Bools
from vec2slug_lib.common.vocabulary import HYPHEN
from vec2slug_lib.evaluation import intervals, metrics
from vec2slug_lib.evaluation.intervals import Interval
from vec2slug_lib.experiments.table import find_experiment
from vec2slug_lib.model.tokenizer import coverage, decode, encode

OLD, FULL = (find_experiment(name).max_slug_tokens for name in ("3e", "3h"))
REPORTED = {10: 0.439, 16: 0.85, 20: 0.97, 24: 0.994}  # share of slugs that fit, by the study
KINDS = ["fits", "whole, but without <eos>", "cut between two words", "cut inside a word"]


def pair_of_caps(cap: int, seed: int, variant: str) -> tuple[str, str]:
    """Name the two experiments that differ in their cap alone: of the old one, and of ``cap``.

    Raises:
        Vec2SlugError: a cap that is not between the two of the study.
    """
    if not OLD <= cap <= FULL:
        raise Vec2SlugError(f"expected a cap of {OLD} to {FULL}, got {cap}")
    changes = variant + (f"+seed={seed}" if seed != find_experiment("3e").seed else "")
    bases = {OLD: "3e", FULL: "3h"}
    names = [bases.get(size, f"3h+max_slug_tokens={size}") + changes for size in (OLD, cap)]
    return names[0], names[1]


def coverage_figure(lengths: Sequence[int], cap: int) -> go.Figure:
    """Draw the share of slugs of these lengths, in tokens, that fit each cap."""
    caps = list(range(5, 31))
    covered = [coverage(lengths, value) for value in caps]
    figure = go.Figure(go.Scatter(x=caps, y=covered, mode="lines+markers", name="measured"))
    figure.add_scatter(
        x=list(REPORTED), y=list(REPORTED.values()), mode="markers", name="reported",
        marker={"size": 11, "symbol": "diamond-open"},
    )  # fmt: skip
    for value in (OLD, cap):
        figure.add_vline(x=value, line_dash="dash", annotation_text=f"cap {value}")
    figure.update_layout(
        title="Training slugs that fit a cap", xaxis_title="cap, tokens",
        yaxis_title="share of slugs", yaxis_tickformat=".0%", yaxis_range=[0, 1.08],
    )  # fmt: skip
    return figure


def coverage_alt(lengths: Sequence[int], cap: int) -> str:
    """Describe `coverage_figure`."""
    return (
        f"Rising curve: {coverage(lengths, OLD):.1%} of the training slugs fit a cap of {OLD} "
        f"and {coverage(lengths, cap):.1%} a cap of {cap}. The study's four values, from 43.9 % "
        "at 10 to 99.4 % at 24, stand beside the curve."
    )


def cut_kind(ids: Sequence[int]) -> str:
    """Say what a cap of `OLD` tokens does to a slug of these tokens: one of `KINDS`."""
    if len(ids) < OLD:
        return KINDS[0]
    if len(ids) == OLD:
        return KINDS[1]
    return KINDS[2 if HYPHEN in (ids[OLD - 1], ids[OLD]) else 3]


def cut_slugs(tokenizer: Tokenizer, slugs: Sequence[str]) -> pd.DataFrame:
    """Cut slugs at `OLD` tokens: a row a slug, with its kind of cut and what is left of it."""
    encoded = encode(tokenizer, slugs)
    return pd.DataFrame(
        {
            "slug": slugs,
            "kind": [cut_kind(ids) for ids in encoded],
            "target": [decode(tokenizer, ids[:OLD]) for ids in encoded],
        }
    )


def kinds_table(cuts: pd.DataFrame) -> pd.DataFrame:
    """Count the kinds of cut, and give the share of each."""
    counts = cuts["kind"].value_counts().reindex(KINDS, fill_value=0)
    shares = pd.DataFrame({"slugs": counts, "share": counts / len(cuts)})
    return shares.rename_axis("at the cap of 10")


def lost_words(cuts: pd.DataFrame) -> float:
    """Compute the share of words that are no longer the same word after the cut."""
    pairs = [
        (words(slug), words(target))
        for slug, target in zip(cuts["slug"], cuts["target"], strict=True)
    ]
    same = sum(a == b for slug, target in pairs for a, b in zip(slug, target, strict=False))
    return 1 - same / sum(len(slug) for slug, _ in pairs)


def target_lengths(tokenizer: Tokenizer, slugs: Sequence[str], cap: int) -> dict[str, float]:
    """Compute the mean tokens of a target, <eos> included, under the old cap and under ``cap``."""
    asked = np.array([len(ids) + 1 for ids in encode(tokenizer, slugs)])
    whole = asked[asked <= cap] if cap == FULL else np.minimum(asked, cap)
    return {"old": float(np.minimum(asked, OLD).mean()), "new": float(whole.mean())}


def fits(tokenizer: Tokenizer, references: Sequence[str], cap: int) -> dict[str, Bools]:
    """Mark which of N slugs fit the old cap, which only the new one, and which neither."""
    tokens = np.array([len(ids) for ids in encode(tokenizer, references)])
    return {
        f"fits {OLD}": tokens < OLD,
        f"fits {cap}, not {OLD}": (tokens >= OLD) & (tokens < cap),
        "fits neither": tokens >= max(OLD, cap),
    }


def fit_rows(
    groups: Mapping[str, Bools],
    references: Sequence[str],
    guesses: Mapping[str, Sequence[str]],
    topics: ArrayLike,
) -> list[dict[str, Any]]:
    """Compare two systems by whether the page's own slug fits the caps: a row a group.

    Args:
        groups: which pages are in each, as `fits` has it.
        references: the pages' own slugs, N.
        guesses: of the old cap, then of the new one, N slugs each.
        topics: the topic of each page.
    """
    scores = {name: metrics.token_overlap(slugs, references)[2] for name, slugs in guesses.items()}
    rows = []
    for name, chosen in groups.items():
        if chosen.any():
            old, new = ({"token_f1": values[chosen]} for values in scores.values())
            difference = intervals.compare(new, old, np.asarray(topics)[chosen])["token_f1"]
            means = {system: values[chosen].mean() for system, values in scores.items()}
            rows.append({"pages": int(chosen.sum()), **means, "difference": difference["value"],
                         "95 %": span(difference), "own slug": name})  # fmt: skip
    return rows


def gap_of_fits(
    groups: Mapping[str, Bools],
    references: Sequence[str],
    guesses: Mapping[str, Sequence[str]],
    topics: ArrayLike,
) -> Interval:
    """Compute by how much more the new cap gains where slugs do not fit the old one, in Token F1.

    Arguments are those of `fit_rows`.
    """
    old, new = (metrics.token_overlap(slugs, references)[2] for slugs in guesses.values())
    fit, *others = groups.values()
    return group_gap(new - old, np.logical_or.reduce(others), fit, topics)


def cause_verdict(gap: Interval) -> str:
    """Say whether the gain of `gap_of_fits` lies where the old cap cuts."""
    where = moves(
        gap,
        "Slugs that the cap of 10 cuts gain more than those that fit it",
        "Slugs that the cap of 10 cuts gain less than those that fit it",
        "Slugs that the cap of 10 cuts do not gain measurably more than those that fit it",
    )
    return f"{where}: the gains differ by {signed(gap)}."


def endings(
    tokenizer: Tokenizer, slugs: Sequence[str], cap: int, known: set[str]
) -> tuple[Bools, Bools]:
    """Tell which slugs meet the cap, and which end in a word that is not known; both [N]."""
    full = np.array([len(ids) >= cap - 1 for ids in encode(tokenizer, slugs)])
    unknown = np.array([words(slug)[-1] not in known for slug in slugs])
    return full, unknown


def _share(part: Bools, whole: Bools) -> float:
    """Compute the share of the rows of a mask that another mask has, 0 where there are none."""
    return float((part & whole).sum() / max(whole.sum(), 1))


def endings_table(ended: Mapping[str, tuple[Bools, Bools]]) -> pd.DataFrame:
    """Give, for each system of `endings`, the shares of its slugs; the pages' own meet no cap."""
    shares = pd.DataFrame(
        {
            name: {
                "at the cap": float(full.mean()),
                "unknown last word": float(unknown.mean()),
                "at the cap, of these": _share(full, unknown),
            }
            for name, (full, unknown) in ended.items()
        }
    ).T
    shares.loc["pages' own", ["at the cap", "at the cap, of these"]] = np.nan
    return shares.rename_axis("slugs of")


def broken_slugs(
    ended: tuple[Bools, Bools], references: Sequence[str], guesses: Mapping[str, Sequence[str]]
) -> pd.DataFrame:
    """Draw up to eight slugs that met the cap and end in an unknown word, beside all systems'."""
    full, unknown = ended
    chosen = np.random.default_rng(6).permutation(np.flatnonzero(full & unknown))[:8]
    columns = {name: [slugs[i] for i in chosen] for name, slugs in guesses.items()}
    own = {"the page's own": [references[i] for i in chosen]}
    return pd.DataFrame({**own, **columns}).set_index("the page's own")


def stumps_sentence(before: Bools, after: Bools, topics: ArrayLike) -> str:
    """Say how the share of unknown last words moves with the raised cap."""
    change = intervals.summarise({"unknown": after.astype(float) - before}, topics)["unknown"]
    return (
        f"The share of unknown last words {moves(change)} with the raised cap "
        f"({change['value']:+.1%}, {change['low']:+.1%} to {change['high']:+.1%})."
    )
