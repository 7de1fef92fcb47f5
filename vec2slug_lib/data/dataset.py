"""The data set in the repository: which pairs, how they are split, vectors as int8.

``data/pairs.parquet`` and ``data/embeddings.<embedder>.npz`` hold the same rows in the same order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..common.errors import Vec2SlugError
from ..common.files import atomic
from ..common.vectors import Floats, dequantise, quantise
from ..common.workspace import current
from ..embedding.registry import DEFAULT

COLUMNS = ["id", "source", "url", "slug", "token_count", "split", "cluster"]
SEED = 42
TEST_ROWS = 5000
Codes = tuple[npt.NDArray[np.int8], Floats]  # of vectors, see `quantise`


def ids_digest(ids: pd.Series) -> str:
    """Hash the row order, which ties a vector file to its pairs: SHA-256, hexadecimal."""
    return sha256("\n".join(ids.tolist()).encode()).hexdigest()


def save_vectors(path: Path, vectors: Floats, ids: pd.Series) -> None:
    """Write int8 vectors with their scales and the digest of their row order."""
    codes, scales = quantise(vectors)
    with atomic(path) as temporary:
        np.savez_compressed(temporary, codes=codes, scales=scales, ids=np.array(ids_digest(ids)))


def read_codes(path: Path, ids: pd.Series) -> Codes:
    """Read int8 codes ``[N, d]`` and their scales ``[N]``, in the order of ``ids``.

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
    return codes, scales


@dataclass(frozen=True)
class Dataset:
    """Pairs and their vectors, row by row."""

    pairs: pd.DataFrame  # columns COLUMNS
    vectors: Floats  # [N, d], unit rows
    embedder: str = DEFAULT  # whose vectors they are, by its key

    def part(self, split: str) -> Dataset:
        """Return the rows of one split."""
        mask = (self.pairs["split"] == split).to_numpy()
        return self.rows(np.flatnonzero(mask))

    def rows(self, positions: npt.NDArray[np.int64]) -> Dataset:
        """Return the rows at ``positions``, copied."""
        pairs = self.pairs.iloc[positions].reset_index(drop=True)
        return replace(self, pairs=pairs, vectors=self.vectors[positions])

    def sample(self, n: int, seed: int = SEED) -> Dataset:
        """Draw ``n`` rows at random, in their order; all rows if there are no more."""
        return self if n >= len(self.pairs) else self.rows(_drawn(len(self.pairs), n, seed))

    def subsample(self, fraction: float, seed: int = SEED) -> Dataset:
        """Keep a random fraction of the training rows; a smaller one lies within a larger one."""
        if fraction == 1:
            return self
        drawn = np.random.default_rng(seed).random(len(self.pairs)) < fraction
        return self.rows(np.flatnonzero(drawn | (self.pairs["split"] != "train").to_numpy()))

    @property
    def slugs(self) -> list[str]:
        """Return the slug of each row."""
        return [str(slug) for slug in self.pairs["slug"]]

    @property
    def references(self) -> pd.DataFrame:
        """Return what predictions are judged by: id, slug and topic of each row."""
        return self.pairs[["id", "slug", "cluster"]].rename(columns={"cluster": "topic"})

    def test_rows(self) -> Dataset:
        """Return the 5,000 test rows that every model is scored on."""
        return self.part("test").sample(TEST_ROWS)


def joined(first: Dataset, second: Dataset) -> Dataset:
    """Join the rows of two data sets with vectors of one embedder; columns of either stay."""
    pairs = pd.concat([first.pairs, second.pairs], ignore_index=True)
    vectors = np.concatenate([first.vectors, second.vectors])
    return replace(first, pairs=pairs, vectors=vectors)


def embedder_of(folder: Path) -> str:
    """Read off a data folder the key of the embedder whose vectors it holds.

    Raises:
        Vec2SlugError: vectors of none, or of several.
    """
    keys = sorted(path.name.split(".", 1)[1][:-4] for path in folder.glob("embeddings.*.npz"))
    if len(keys) != 1:
        names = ", ".join(keys) or "none"
        raise Vec2SlugError(f"expected one file embeddings.NAME.npz in {folder}, found {names}")
    return keys[0]


def _drawn(count: int, n: int, seed: int) -> npt.NDArray[np.int64]:
    """Draw ``n`` of ``count`` positions; ascending."""
    return np.sort(np.random.default_rng(seed).choice(count, n, replace=False))


def load(folder: Path | None = None, limit: int | None = None) -> Dataset:
    """Load the data set; the last one that was read stays in memory, as int8.

    Args:
        folder: default: the data folder of the workspace.
        limit: rows to draw at random; all if None.

    Raises:
        Vec2SlugError: a file is missing, truncated or does not belong to the other.
    """
    folder = folder or current().data
    pairs, (codes, scales), embedder = _read(folder, _versions(folder))
    if limit is not None and limit < len(pairs):
        drawn = _drawn(len(pairs), limit, SEED)
        pairs, codes, scales = pairs.iloc[drawn].reset_index(drop=True), codes[drawn], scales[drawn]
    return Dataset(pairs.copy(), dequantise(codes, scales), embedder)


def _versions(folder: Path) -> tuple[tuple[Path, int, int], ...]:
    """List a data folder's files with their times and sizes, which change when they do."""
    paths = [folder / "pairs.parquet", *sorted(folder.glob("embeddings.*.npz"))]
    stats = [(path.absolute(), path.stat()) for path in paths if path.is_file()]
    return tuple((path, stat.st_mtime_ns, stat.st_size) for path, stat in stats)


@lru_cache(maxsize=1)
def _read(folder: Path, _: tuple[tuple[Path, int, int], ...]) -> tuple[pd.DataFrame, Codes, str]:
    """Read pairs, codes and the embedder's key from a folder whose files have these versions."""
    path = folder / "pairs.parquet"
    try:
        pairs = pd.read_parquet(path)
    except Exception as error:  # pyarrow raises its own kinds
        raise Vec2SlugError(f"expected pairs in {path}, but: {error}") from error
    if list(pairs.columns) != COLUMNS:
        raise Vec2SlugError(f"expected columns {COLUMNS} in {path}, got {list(pairs.columns)}")
    embedder = embedder_of(folder)
    return pairs, read_codes(folder / f"embeddings.{embedder}.npz", pairs["id"]), embedder
