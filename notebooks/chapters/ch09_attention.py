"""Reports of attention (chapter 9) and of the logit lens (chapter 10) over many rows.

Means are over tokens, intervals over topics: the tokens of all pages of a topic are drawn together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from chapters.ch09_claims import PLACES, claim_report, hyphen_places
from vec2slug_lib.common.slugs import STOPWORDS
from vec2slug_lib.common.vectors import Array, Bools
from vec2slug_lib.common.vocabulary import EOS, PAD
from vec2slug_lib.evaluation.intervals import Interval, mean_over, ratio_of
from vec2slug_lib.model.decoder import Decoder
from vec2slug_lib.model.interpret import (
    SOURCES,
    TARGETS,
    hyphens_merged,
    lens,
    source_kinds,
    target_kinds,
    trace_attention,
)

ROUTES = ("prefix", "bos", "hyphen", "same word", "earlier words", "itself")
LEADERS = ("the token written", "written before", "written later", "hyphen or eos", "another")
BINS = 20  # of a distribution of shares
EXAMPLES = 8  # tokens shown layer by layer


def by_kind(
    values: Array, kinds: Array, names: Sequence[str], topics: ArrayLike
) -> dict[str, list[Interval]]:
    """Compute means by kind of token and layer: values ``[L, N, T]``, kinds ``[N, T]``."""
    return {
        name: [mean_over(layer, kinds == kind, topics) for layer in values]
        for kind, name in enumerate(names)
        if (kinds == kind).any()
    }


def shares(values: Array, kinds: Array, names: Sequence[str], size: int) -> dict[str, list[float]]:
    """Compute the shares of tokens by a whole number below ``size``, a kind: both ``[N, T]``."""
    return {
        name: (np.bincount(values[kinds == kind], minlength=size) / (kinds == kind).sum()).tolist()
        for kind, name in enumerate(names)
        if (kinds == kind).any()
    }


def routes(ids: Tensor, marks: Tensor) -> Tensor:
    """Return the index into `ROUTES` of each position for each token, ``[N, T, 1 + T]``.

    A hyphen belongs to the word that it ends, or where hyphens are merged to the one it begins.
    """
    n, t = ids.shape
    hyphens = marks[ids]
    word = hyphens.cumsum(1) - hyphens.long() * (not hyphens_merged(marks))
    kinds = torch.full((n, t, t), ROUTES.index("earlier words"))
    kinds[hyphens[:, None, :].expand(n, t, t)] = ROUTES.index("hyphen")
    same = (word[:, :, None] == word[:, None, :]) & ~hyphens[:, None, :]
    kinds[same] = ROUTES.index("same word")
    kinds[:, :, 0] = ROUTES.index("bos")
    kinds[:, torch.arange(t), torch.arange(t)] = ROUTES.index("itself")
    return torch.cat([torch.zeros(n, t, 1, dtype=torch.long), kinds], dim=2)


def attention_report(
    model: Decoder, vectors: Tensor, ids: Tensor, marks: Tensor, topics: ArrayLike
) -> dict[str, Any]:
    """Measure the attention of tokens by their kind and by layer.

    Args:
        model: in evaluation mode.
        vectors: unit rows ``[N, input_dim]``.
        ids: of the slugs, ``[N, T]``.
        marks: see `hyphen_marks`.
        topics: the topic of each page.

    Returns:
        ``prefix`` (kind to the share of attention that goes to the prefix, an interval a layer),
        ``writes`` (the same by the kind of the token that is written next), ``even`` (kind to the
        share if all positions in sight got the same), ``ratio`` (hyphens to subwords, an interval
        a layer), ``heads`` (kind to the share of every head, ``[L][heads]``), ``spread`` (hyphens
        and subwords: ``quartiles [L][3]`` and ``counts [L][BINS]``), ``places`` (first, middle and
        last hyphen), ``entropy`` (bits, as ``prefix``), ``routing`` (kind to route to a share a
        layer), ``counts`` (tokens of each kind) and what `claim_report` returns.
    """
    weights = trace_attention(model, vectors, ids).attention[:, :, :, 1:]  # from tokens only
    kinds, nexts = source_kinds(ids, marks).numpy(), target_kinds(ids, marks)[:, 1:].numpy()
    of_kind = {name: kinds == k for k, name in enumerate(SOURCES)}
    present = {name: rows for name, rows in of_kind.items() if rows.any()}
    hyphens, subwords = of_kind["hyphen"], of_kind["subword"]
    prefix = weights[..., 0].mean(2).numpy()
    entropy = torch.special.entr(weights).sum(-1).mean(2).numpy() / np.log(2)
    even = 1 / np.arange(2, ids.shape[1] + 2) + np.zeros(ids.shape)
    heads = weights[..., 0].permute(0, 2, 1, 3).numpy()
    return {
        "prefix": by_kind(prefix, kinds, SOURCES, topics),
        "writes": by_kind(prefix[:, :, :-1], nexts, TARGETS, topics),
        "even": {name: float(even[rows].mean()) for name, rows in present.items()},
        "ratio": [ratio_of([(layer, hyphens), (layer, subwords)], topics) for layer in prefix],
        "heads": {name: heads[:, :, rows].mean(-1).tolist() for name, rows in present.items()},
        "spread": {"hyphen": spread(prefix, hyphens), "subword": spread(prefix, subwords)},
        "places": by_kind(prefix, hyphen_places(hyphens), PLACES, topics),
        "entropy": by_kind(entropy, kinds, SOURCES, topics),
        "routing": routing(weights.mean(2), routes(ids, marks), present),
        "counts": {name: int(rows.sum()) for name, rows in present.items()},
        **claim_report(prefix, heads, hyphens, topics),
    }


def routing(
    weights: Tensor, route: Tensor, present: dict[str, Bools]
) -> dict[str, dict[str, list[float]]]:
    """Compute the shares of attention, a layer, by kind of token and route.

    Args:
        weights: mean over heads, ``[L, N, T, 1 + T]``.
        route: see `routes`.
        present: kind to which tokens are of it, ``[N, T]``.
    """
    routed = np.stack([(weights * (route == i)).sum(-1).numpy() for i in range(len(ROUTES))])
    return {
        name: dict(zip(ROUTES, routed[:, :, rows].mean(-1).tolist(), strict=True))
        for name, rows in present.items()
    }


def spread(prefix: Array, chosen: Array) -> dict[str, Any]:
    """Compute quartiles ``[L][3]`` of some tokens' shares, and counts ``[L][BINS]`` from 0 to 1."""
    values = prefix[:, chosen]
    return {
        "quartiles": np.percentile(values, [25, 50, 75], axis=1).T.tolist(),
        "counts": [np.histogram(layer, BINS, (0, 1))[0].tolist() for layer in values],
    }


def lens_report(
    model: Decoder,
    vectors: Tensor,
    ids: Tensor,
    marks: Tensor,
    strings: Sequence[str],
    topics: ArrayLike,
) -> dict[str, Any]:
    """Measure at which layer the logit lens shows the written token, by its kind.

    Args:
        model: in evaluation mode.
        vectors: unit rows ``[N, input_dim]``.
        ids: of the slugs, ``[N, T]``.
        marks: see `hyphen_marks`.
        strings: the vocabulary.
        topics: the topic of each page.

    Returns:
        ``probability``, ``rank`` (logarithm to base 10 of 1 + rank) and ``leads`` (share of tokens
        that lead), each kind to an interval a layer, the input before the first layer included;
        ``first`` (kind to shares of tokens by the first layer at which they lead, the last entry
        those that never do) and ``settled`` (the same for the layer from which on they do);
        ``agrees`` (share of leading tokens that also lead after the last layer) and ``stopwords``
        (share of leading tokens that are one, the written token's last), both as ``leads``;
        ``leaders`` (kind to shares by `LEADERS`, one list a layer); ``counts`` (tokens of each
        kind); ``examples`` of tokens that the last layer alone decides.
    """
    traced, kinds = lens(model, vectors, ids), target_kinds(ids, marks)[:, 1:].numpy()
    rank, leads = traced.rank.numpy(), (traced.rank == 0).numpy()
    layers = len(rank)
    first = np.where(leads.any(0), leads.argmax(0), layers)
    settled = layers - np.cumprod(leads[::-1], axis=0).sum(0)
    stop = np.array([token.removeprefix("-") in STOPWORDS for token in strings])
    leading = torch.cat([traced.leader, ids[None, :, 1:]]).numpy()
    agrees = (leading[:-1] == leading[-2]).astype(float)
    return {
        "probability": by_kind(traced.probability.numpy(), kinds, TARGETS, topics),
        "rank": by_kind(np.log10(1 + rank), kinds, TARGETS, topics),
        "leads": by_kind(leads.astype(float), kinds, TARGETS, topics),
        "first": shares(first, kinds, TARGETS, layers + 1),
        "settled": shares(settled, kinds, TARGETS, layers + 1),
        "agrees": by_kind(agrees, kinds, TARGETS, topics),
        "stopwords": by_kind(stop[leading].astype(float), kinds, TARGETS, topics),
        "leaders": leader_shares(leader_kinds(traced.leader, ids, marks).numpy(), kinds),
        "counts": {name: int((kinds == k).sum()) for k, name in enumerate(TARGETS)},
        "examples": late_tokens(traced.leader, ids, settled == layers - 1, strings),
    }


def leader_shares(leaders: Array, kinds: Array) -> dict[str, list[list[float]]]:
    """Compute shares by `LEADERS`, a list a layer, by kind: ``[L, N, T]`` and ``[N, T]``."""
    by_layer = [shares(layer, kinds, TARGETS, len(LEADERS)) for layer in leaders]
    return {name: [layer[name] for layer in by_layer] for name in by_layer[0]}


def leader_kinds(leader: Tensor, ids: Tensor, marks: Tensor) -> Tensor:
    """Return the index into `LEADERS` of each leading token ``[L, N, T - 1]`` of ``ids [N, T]``."""
    written, t = ids[:, 1:], ids.shape[1] - 1
    place = torch.arange(t)
    same = (leader[..., None] == written[:, None, :]) & (written != PAD)[:, None, :]
    kinds = torch.full_like(leader, LEADERS.index("another"))
    kinds[(same & (place > place[:, None])).any(-1)] = LEADERS.index("written later")
    kinds[(same & (place < place[:, None])).any(-1)] = LEADERS.index("written before")
    alone = torch.zeros_like(marks) if hyphens_merged(marks) else marks
    kinds[alone[leader] | (leader == EOS)] = LEADERS.index("hyphen or eos")
    kinds[leader == written] = LEADERS.index("the token written")
    return kinds


def late_tokens(
    leader: Tensor, ids: Tensor, late: Array, strings: Sequence[str]
) -> list[dict[str, Any]]:
    """Draw some of the tokens marked ``late [N, T - 1]``; return each with its leaders."""
    cells = np.argwhere(late & (ids[:, 1:] != PAD).numpy())
    chosen = np.sort(np.random.default_rng(0).permutation(len(cells))[:EXAMPLES])
    return [
        {
            "text": "".join(strings[i] for i in ids[row, 1 : place + 1].tolist()),
            "token": strings[int(ids[row, place + 1])],
            "leaders": [strings[i] for i in leader[:, row, place].tolist()],
        }
        for row, place in cells[chosen].tolist()
    ]
