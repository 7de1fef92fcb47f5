"""The data set in the repository: which pairs, how they are split, vectors as int8.

``data/pairs.parquet`` and ``data/embeddings.<embedder>.npz`` hold the same rows in the same order.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.cluster import MiniBatchKMeans

from .errors import Vec2SlugError
from .files import atomic
from .vectors import Floats, dequantise, quantise

# Full names of embedders whose files have a short one.
MODELS = {"minilm": "all-MiniLM-L6-v2"}
COLUMNS = ["id", "source", "url", "slug", "token_count", "split", "cluster"]
SPLITS = {"train": 0.8, "val": 0.1, "test": 0.1}
SEED = 42
TEST_ROWS = 5000
LEAK_ROWS, LEAK_BLOCK = 10_000, 2_000  # test rows, and training rows at a time, of a leak report


def data_dir() -> Path:
    """Folder of the committed data; the environment variable ``VEC2SLUG_DATA`` moves it."""
    default = Path(__file__).resolve().parent.parent / "data"
    return Path(os.environ.get("VEC2SLUG_DATA", default))


def source_cap(counts: pd.Series, total: int) -> int:
    """Largest cap so that sources cut to it hold at most ``total`` rows together."""
    low, high = 0, int(counts.max())
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (
            (middle, high) if counts.clip(upper=middle).sum() <= total else (low, middle - 1)
        )
    return low


def select(pairs: pd.DataFrame, total: int, seed: int = SEED) -> npt.NDArray[np.int64]:
    """Positions of at most ``total`` rows: sources capped alike, topics kept in proportion.

    Args:
        pairs: columns ``source`` and ``cluster`` (the topic), one row a pair.
        total: rows wanted.
        seed: of the draw.

    Returns:
        Sorted positions. A source under the cap is kept whole. A source over it is drawn evenly
        over its clusters, which keeps every topic of at least two rows of every source.
    """
    cap = source_cap(pairs["source"].value_counts(), total)
    order = np.random.default_rng(seed).permutation(len(pairs))
    shuffled = pairs[["source", "cluster"]].iloc[order]
    within = shuffled.groupby(["source", "cluster"]).cumcount()
    sizes = shuffled.groupby(["source", "cluster"])["source"].transform("size")
    # The same share of every cluster comes first, so the cut below takes evenly from all.
    rank = ((within + 0.5) / sizes).groupby(shuffled["source"]).rank(method="first")
    return np.sort(order[(rank <= cap).to_numpy()])


def cluster(vectors: Floats, seed: int = SEED) -> npt.NDArray[np.int32]:
    """Topic of each row ``[N]``: MiniBatchKMeans with max(200, √N) clusters, as in the study."""
    k = min(len(vectors), max(200, int(len(vectors) ** 0.5)))
    model = MiniBatchKMeans(k, random_state=seed, batch_size=4096, n_init=3)
    return np.asarray(model.fit_predict(vectors), dtype=np.int32)


def split_clusters(clusters: npt.NDArray[np.int32], seed: int = SEED) -> npt.NDArray[np.object_]:
    """Split of each row ``[N]``: whole clusters go to train, val or test.

    Clusters are dealt in random order, each to the split that is furthest below its share, so
    sizes come within one cluster of 80/10/10 and near-duplicates never cross.
    """
    ids, inverse, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    names, shares = list(SPLITS), np.array(list(SPLITS.values()))
    filled, chosen = np.zeros(len(names)), np.zeros(len(ids), dtype=int)
    for position in np.random.default_rng(seed).permutation(len(ids)):
        best = int(np.argmax(shares - filled / len(clusters)))
        chosen[position] = best
        filled[best] += sizes[position]
    return np.array(names, dtype=object)[chosen][inverse]


def leak_report(pairs: pd.DataFrame, vectors: Floats, threshold: float = 0.95) -> dict[str, float]:
    """How much of the test split is also in training.

    Returns:
        ``near_vectors``: share of test vectors (of ``LEAK_ROWS`` at most) with a training vector
        above ``threshold`` cosine; ``same_slug``: share of test slugs that occur in training.
    """
    train = (pairs["split"] == "train").to_numpy()
    test = (pairs["split"] == "test").to_numpy()
    queries = np.flatnonzero(test)
    if len(queries) > LEAK_ROWS:  # against every training row, all of millions would take hours
        queries = np.random.default_rng(SEED).choice(queries, LEAK_ROWS, replace=False)
    known, asked = np.flatnonzero(train), vectors[queries]
    nearest = np.full(len(queries), -1, np.float32)
    for start in range(0, len(known), LEAK_BLOCK):
        block = vectors[known[start : start + LEAK_BLOCK]]
        np.maximum(nearest, (asked @ block.T).max(axis=1), out=nearest)
    same = pairs.loc[test, "slug"].isin(set(pairs.loc[train, "slug"]))
    return {
        "near_vectors": float((nearest > threshold).mean()),
        "same_slug": float(same.mean()),
    }


def ids_digest(ids: pd.Series) -> str:
    """Hex digest of the row order: ties a vector file to its pairs."""
    return sha256("\n".join(ids.tolist()).encode()).hexdigest()


def save_vectors(path: Path, vectors: Floats, ids: pd.Series) -> None:
    """Write int8 vectors with their scales and the digest of their row order."""
    codes, scales = quantise(vectors)
    with atomic(path) as temporary:
        np.savez_compressed(temporary, codes=codes, scales=scales, ids=np.array(ids_digest(ids)))


def load_vectors(path: Path, ids: pd.Series) -> Floats:
    """Unit rows ``[N, d]`` float32 in the order of ``ids``.

    Raises:
        Vec2SlugError: the file is missing or truncated, or belongs to other rows.
    """
    if not path.is_file():
        raise Vec2SlugError(f"expected vectors at {path}, found none")
    try:
        with np.load(path) as file:
            codes, scales, digest = file["codes"], file["scales"], str(file["ids"])
    except Exception as error:  # zipfile, OSError and KeyError alike: not our file
        raise Vec2SlugError(f"expected int8 vectors in {path}, but: {error}") from error
    if digest != ids_digest(ids):
        raise Vec2SlugError(f"expected the vectors of these {len(ids)} pairs in {path}, got others")
    return dequantise(codes, scales)


@dataclass(frozen=True)
class Dataset:
    """Pairs and their vectors, row by row."""

    pairs: pd.DataFrame  # columns COLUMNS
    vectors: Floats  # [N, d], unit rows
    embedder: str = "minilm"  # whose vectors they are

    def part(self, split: str) -> Dataset:
        """The rows of one split."""
        mask = (self.pairs["split"] == split).to_numpy()
        return self.rows(np.flatnonzero(mask))

    def rows(self, positions: npt.NDArray[np.int64]) -> Dataset:
        """The rows at ``positions``."""
        pairs = self.pairs.iloc[positions].reset_index(drop=True)
        return replace(self, pairs=pairs, vectors=self.vectors[positions])

    def sample(self, n: int, seed: int = SEED) -> Dataset:
        """A uniform draw of ``n`` rows, in their order; all rows if there are no more."""
        if n >= len(self.pairs):
            return self
        chosen = np.random.default_rng(seed).choice(len(self.pairs), n, replace=False)
        return self.rows(np.sort(chosen))

    def thin(self, share: float, seed: int = SEED) -> Dataset:
        """With a random share of the training rows; a smaller share lies within a larger one."""
        if share == 1:
            return self
        kept = np.random.default_rng(seed).random(len(self.pairs)) < share
        return self.rows(np.flatnonzero(kept | (self.pairs["split"] != "train").to_numpy()))

    def test_rows(self) -> Dataset:
        """The 5,000 test rows that every model is scored on."""
        return self.part("test").sample(TEST_ROWS)


def short_name(embedder: str) -> str:
    """An embedder's name as files have it."""
    known = {full: short for short, full in MODELS.items()}
    return known.get(embedder, embedder.replace("/", "_"))


def embedder_of(folder: Path) -> str:
    """Name of the embedder whose vectors are in a data folder.

    Raises:
        Vec2SlugError: vectors of none, or of several.
    """
    found = sorted(path.name.split(".", 1)[1][:-4] for path in folder.glob("embeddings.*.npz"))
    if len(found) != 1:
        names = ", ".join(found) or "none"
        raise Vec2SlugError(f"expected one file embeddings.NAME.npz in {folder}, found {names}")
    return found[0]


def load(folder: Path | None = None, limit: int | None = None) -> Dataset:
    """The data set on disk.

    Args:
        folder: default :func:`data_dir`.
        limit: a uniform draw of so many rows (the smoke preset).

    Raises:
        Vec2SlugError: a file is missing, truncated or does not belong to the other.
    """
    folder = folder or data_dir()
    path = folder / "pairs.parquet"
    try:
        pairs = pd.read_parquet(path)
    except Exception as error:  # pyarrow raises its own kinds
        raise Vec2SlugError(f"expected pairs in {path}, but: {error}") from error
    if list(pairs.columns) != COLUMNS:
        raise Vec2SlugError(f"expected columns {COLUMNS} in {path}, got {list(pairs.columns)}")
    embedder = embedder_of(folder)
    vectors = load_vectors(folder / f"embeddings.{embedder}.npz", pairs["id"])
    dataset = Dataset(pairs, vectors, embedder)
    return dataset if limit is None else dataset.sample(limit)
