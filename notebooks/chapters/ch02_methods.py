"""The words of the data set, clustered: each part is made on demand and read from then on.

``<runs>/words/<preset>/`` holds ``words.parquet`` (which word stands for which), ``methods.json``
(every method's clusters and what they cost a slug) and ``map.parquet`` (words in the plane). A
part made of other data, or with another size of vocabulary, is made again.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from chapters import ch02_clustering
from chapters.ch02_clustering import Edges
from vec2slug_lib.common.files import read_json, write_json
from vec2slug_lib.common.vectors import Ints
from vec2slug_lib.evaluation.metrics import token_overlap
from vec2slug_lib.experiments.word_clusters import (
    Row,
    WordClusters,
    WordSpace,
    _folder,
    _read,
    _write,
    kmeans,
    map_slug,
    name_clusters,
    nearest_frequent,
    word_space,
)

THRESHOLDS = (0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)
LOUVAIN_AT = (0.85, 0.7, 0.65, 0.6)
K_SHARES = (0.1, 0.2, 0.4, 1, 2, 4)  # of the preset's vocabulary; 500 to 20,000 in the book


class Method(NamedTuple):
    """A clustering method in one setting."""

    name: str
    setting: str
    value: float | None  # of the setting, for an axis
    labels: Callable[[], Ints]
    graph: Edges | None = None


class Cost(NamedTuple):
    """What a piece of work took."""

    seconds: float
    peak_mib: float | None


def word_methods(preset: str = "book", remake: bool = False) -> pd.DataFrame:
    """Return every clustering method and setting: read if they are there, made if not.

    Returns:
        One row a method and setting: ``method``, ``setting``, and ``value``, the setting as a
        number. ``words`` were clustered into ``clusters``, with the share ``noise`` in none.
        ``vocabulary`` counts the representatives; ``largest`` is the share of words in the largest
        cluster; ``sizes`` maps a cluster size (a string, as JSON has it) to how many have it, noise
        words counted as clusters of one. ``changed`` is the share of the test slugs' words that
        another word stands for, ``perfect_f1`` the Token F1 of a model that writes the
        representative of every word, ``best_f1`` that of the best 3 to 8 words of the vocabulary.
        ``seconds``; ``peak_mib``, see `measured`; ``edges`` and mean ``degree`` of a graph.

    Raises:
        Vec2SlugError: unknown preset, or no data set.
    """
    space, path = word_space(preset), _folder(preset) / "methods.json"
    record = read_json(path) if path.is_file() and not remake else {}
    if record.get("stamp") != space.stamp:
        record = {"stamp": space.stamp, "methods": method_rows(space)}
        write_json(path, record)
    return pd.DataFrame(record["methods"])


def word_map(preset: str = "book", remake: bool = False) -> pd.DataFrame:
    """Place the most frequent words in the plane, by t-SNE: columns word, x, y; read or made.

    Half as many words as the preset's vocabulary has entries: 2,500 in the book.

    Raises:
        Vec2SlugError: unknown preset, or no data set.
    """
    space, path = word_space(preset), _folder(preset) / "map.parquet"
    frame = None if remake else _read(path, space.stamp)
    if frame is None:
        vectors = space.trained[: space.stamp["vocab_size"] // 2]
        from sklearn.manifold import TSNE  # seconds to load, and the map is on record

        model = TSNE(init="pca", perplexity=min(30, len(vectors) / 4), random_state=0)
        plane = model.fit_transform(vectors)
        columns = {"word": space.words[: len(plane)], "x": plane[:, 0], "y": plane[:, 1]}
        frame = pd.DataFrame(columns)
        _write(path, frame, space.stamp)
    return frame


def method_rows(space: WordSpace) -> list[Row]:
    """Run every method in its settings; one row each, as `word_methods` describes them."""
    search = partial(ch02_clustering.neighbour_edges, space.trained, min(THRESHOLDS))
    edges, cost = measured(search)
    methods = [*_graph_methods(len(space.trained), edges), *_vector_methods(space)]
    # The search for neighbours is done once and counted in the row of every graph.
    return [
        _row(space, method, Cost(0, 0) if method.graph is None else cost)
        for method in tqdm(methods, "clusterings", leave=False, delay=2)
    ]


def measured(work: Callable[[], Any]) -> tuple[Any, Cost]:
    """Do ``work``; return its result, the seconds, and peak memory in MiB where Linux can tell.

    The memory is how far the process's resident memory rose above its level at the start, results
    and the scratch space of compiled code included, the vectors of the words not.
    """
    status = Path("/proc/self/status")
    try:
        ctypes.CDLL(None).malloc_trim(0)  # memory that is kept for later use would hide new use
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again at the present level
        before: int | None = _kibibytes(status, "VmRSS")
    except (AttributeError, OSError):  # not Linux with the GNU C library
        before = None
    start = perf_counter()
    result = work()
    seconds = perf_counter() - start
    peak = None if before is None else (_kibibytes(status, "VmHWM") - before) / 1024
    return result, Cost(seconds, peak)


def _graph_methods(size: int, edges: Edges) -> list[Method]:
    graphs = {threshold: edges.above(threshold) for threshold in THRESHOLDS}
    algorithms = {"components": ch02_clustering.components, "Louvain": ch02_clustering.louvain}
    settings = [("components", at) for at in THRESHOLDS] + [("Louvain", at) for at in LOUVAIN_AT]
    return [
        Method(name, f"cosine {at}", at, partial(algorithms[name], size, graphs[at]), graphs[at])
        for name, at in settings
    ]


def _vector_methods(space: WordSpace) -> list[Method]:
    vectors, counts = space.trained, space.trained_counts
    methods = [
        Method("HDBSCAN", name, None, partial(ch02_clustering.density, vectors, name))
        for name in ("eom", "leaf")
    ]
    for share in K_SHARES:
        k = min(int(share * space.stamp["vocab_size"]), len(vectors))
        frequent = partial(nearest_frequent, vectors, counts, k)
        methods.append(Method("KMeans", f"k = {k:,}", k, partial(kmeans, vectors, k)))
        methods.append(Method("nearest frequent word", f"k = {k:,}", k, frequent))
    return methods


def _row(space: WordSpace, method: Method, search: Cost) -> Row:
    labels, cost = measured(method.labels)
    frame = name_clusters(space, labels)
    values, times = np.unique(np.bincount(frame["cluster"][: len(labels)]), return_counts=True)
    peaks = [peak for peak in (cost.peak_mib, search.peak_mib) if peak is not None]
    edges = None if method.graph is None else len(method.graph.pairs)
    return {
        "method": method.name,
        "setting": method.setting,
        "value": method.value,
        "edges": edges,
        "degree": None if edges is None else 2 * edges / len(labels),
        "words": len(labels),
        "clusters": int(labels.max() + 1),
        "noise": float((labels < 0).mean()),
        "vocabulary": int(times.sum()),
        "largest": float(values.max() / len(labels)),
        **judge(space.references, WordClusters(frame).mapping),
        "seconds": cost.seconds + search.seconds,
        "peak_mib": max(peaks, default=None),
        "sizes": dict(zip(map(str, values), times.tolist(), strict=True)),
    }


def judge(references: Sequence[str], mapping: Mapping[str, str]) -> dict[str, float]:
    """Compute what a mapping of words to representatives costs reference slugs: three shares.

    Args:
        references: slugs.
        mapping: every word of theirs, and the word that stands for it.
    """
    guesses = [map_slug(slug, mapping) for slug in references]
    reachable = ch02_clustering.best_reachable(references, set(mapping.values()))
    return {
        "changed": ch02_clustering.changed(references, mapping),
        "perfect_f1": float(token_overlap(guesses, references)[2].mean()),
        "best_f1": float(reachable.mean()),
    }


def _kibibytes(status: Path, field: str) -> int:
    line = next(line for line in status.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1])
