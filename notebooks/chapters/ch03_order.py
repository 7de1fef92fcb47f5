"""Orders of a predicted word set: by a position head, or by what precedes what in training slugs.

Words are cluster ids; the ids of a slug are given in slug order and may repeat.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from sklearn.linear_model import Ridge

from vec2slug_lib.common.vectors import Floats
from vec2slug_lib.model.mlp import Clusters, WordLists

Margins = dict[tuple[int, int], float]


def precedence(clusters: Clusters, wanted: set[int]) -> Margins:
    """Compute how much a stands before b in the slugs, from -1 to 1, for pairs seen together.

    The margin is (times before - times after) / (both + 1), so a single slug is worth one half.

    Args:
        clusters: of the training slugs.
        wanted: clusters to count; others are passed over.
    """
    before: Counter[tuple[int, int]] = Counter()
    for ids in clusters:
        distinct = list(dict.fromkeys(i for i in ids if i in wanted))
        before.update(combinations(distinct, 2))
    pairs = {pair for a, b in before for pair in ((a, b), (b, a))}
    return {
        (a, b): (before[a, b] - before[b, a]) / (before[a, b] + before[b, a] + 1) for a, b in pairs
    }


def best_order(ids: Sequence[int], margins: Margins) -> list[int]:
    """Find the order of ``ids`` with the largest sum of margins of an earlier over a later one.

    Exact, by dynamic programming over subsets (Held and Karp 1962, doi 10.1137/0110015). Where
    sums are equal, the order given has a say.

    Args:
        ids: eight distinct clusters at most.
        margins: as `precedence` gives them; a pair that is absent counts 0.
    """
    gains = [[margins.get((a, b), 0.0) for b in ids] for a in ids]
    best: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    for chosen in range(1, 1 << len(ids)):
        options = []
        for last in range(len(ids)):
            if chosen >> last & 1:
                value, earlier = best[chosen ^ 1 << last]
                gain = sum(gains[i][last] for i in earlier)
                options.append((value + gain, last, (*earlier, last)))
        value, _, order = max(options)
        best.append((value, order))
    return [ids[i] for i in best[-1][1]]


def pairwise_order(lists: WordLists, clusters: Clusters) -> WordLists:
    """Put each list in the order that the training slugs ``clusters`` prefer."""
    margins = precedence(clusters, {i for ids in lists for i in ids})
    known = {ids: best_order(ids, margins) for ids in {tuple(ids) for ids in lists}}
    return [known[tuple(ids)] for ids in lists]


def position_heads(hidden: Floats, clusters: Clusters, wanted: set[int]) -> dict[int, Ridge]:
    """Fit a linear map from the hidden layer to the relative position of each wanted cluster.

    The outputs of such a head do not share weights: each is a ridge regression over the training
    rows that have its cluster, so only those that are asked for are fitted.

    Args:
        hidden: of the training rows, [N, d], of mean square norm near 1, as the penalty is 1.
        clusters: of the training slugs. The first word is at 0, the last at 1.
        wanted: clusters to fit; one that no slug has is left out.
    """
    rows: dict[int, list[int]] = {i: [] for i in wanted}
    places: dict[int, list[float]] = {i: [] for i in wanted}
    for row, ids in enumerate(clusters):
        for i in wanted.intersection(ids):
            rows[i].append(row)
            places[i].append(list(ids).index(i) / max(len(ids) - 1, 1))
    return {
        i: Ridge().fit(hidden[rows[i]], np.array(places[i], np.float32)) for i in wanted if rows[i]
    }


def position_order(
    lists: WordLists, hidden: Floats, clusters: Clusters, train_hidden: Floats
) -> WordLists:
    """Sort each list by the position that `position_heads` predicts, first to last.

    Args:
        lists: N word sets; a cluster that no training slug has goes to the middle.
        hidden: hidden layer of the same rows, [N, d].
        clusters: of the M training slugs.
        train_hidden: hidden layer of the training rows, [M, d].
    """
    centre = train_hidden.mean(0)
    scale = float(np.sqrt(train_hidden.var(0).sum())) or 1.0
    members: dict[int, list[int]] = {}
    for row, ids in enumerate(lists):
        for i in ids:
            members.setdefault(i, []).append(row)
    heads = position_heads((train_hidden - centre) / scale, clusters, set(members))
    places = np.full((len(lists), max(members) + 1), 0.5, np.float32)
    for i, head in heads.items():
        places[members[i], i] = head.predict((hidden[members[i]] - centre) / scale)
    return [sorted(ids, key=places[row].__getitem__) for row, ids in enumerate(lists)]
