"""The wide training set: more pages than the data set has, and pages that only have a title.

It is made of a corpus beside that of the data set, ``work/wide``, and is learnt from and no more:
its pages lie in training topics of the data set, and in none of the sources that are left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from ..common.errors import Vec2SlugError
from ..common.files import read_json
from ..common.slugs import STOPWORDS, extract_slug, words
from ..common.vectors import Bools, Floats, Ints
from ..common.workspace import current
from ..embedding.job import manifest_of
from .build import read_corpus
from .dataset import SEED, Dataset, joined
from .split import part_left_out

CAP = 6_000  # pages of a source
ALIKE = 10  # slugs of a source that begin with the same two content words
BLOCK = 4_096  # pages whose topics are looked for together


def wide_folder() -> Path:
    """Return the folder of the wide corpus, ``documents.parquet``, and its ``vectors.npy``."""
    return current().work / "wide"


def widen(data: Dataset) -> Dataset:
    """Add the labelled pages of the wide corpus to the training pages of a data set.

    Raises:
        Vec2SlugError: there is no wide corpus, or it has no vectors.
    """
    return joined(data, wide_pages(data, titles=False))


def wide_pages(data: Dataset, titles: bool) -> Dataset:
    """Read the pages of the wide corpus that may be learnt from: columns id, source, slug, split.

    Args:
        data: the data set; its own pages are left out, and all that lie nearest to topics of its
            validation and test pages.
        titles: those labelled by their title instead of those labelled by their address.

    Raises:
        Vec2SlugError: there is no wide corpus, or its vectors are missing or of other documents.
    """
    folder = wide_folder()
    documents, vectors = folder / "documents.parquet", folder / "vectors.npy"
    for path in (documents, vectors):
        if not path.is_file():
            raise Vec2SlugError(
                f"expected a wide corpus in {folder}, found no {path.name}: "
                "vec2slug train EXPERIMENT --corpus SOURCE makes it"
            )
    rows = np.load(vectors, mmap_mode="r")
    pages = read_pages(folder, documents.stat().st_mtime_ns, vectors.stat().st_mtime_ns)
    others = ~pages["id"].isin(set(data.pairs["id"])) & part_left_out(pages["source"]).isna()
    kept = np.flatnonzero(others.to_numpy() & (pages["by_title"] == titles).to_numpy())
    pages = pages.iloc[kept].assign(cluster=nearest_topics(data, rows, kept), row=kept)
    splits = data.pairs.groupby("cluster")["split"].first()
    pages = pages[(pages["cluster"].map(splits) == "train").to_numpy()].reset_index(drop=True)
    pages = pages[few_alike(pages) & within_cap(pages)].reset_index(drop=True)
    chosen = pages["row"].to_numpy()
    pages = pages.drop(columns=["by_title", "row"]).assign(split="train")
    return Dataset(pages, rows[chosen], data.embedder)


@lru_cache(maxsize=1)  # one training asks for pages with a slug and for pages with a title
def read_pages(folder: Path, documents_changed: int, vectors_changed: int) -> pd.DataFrame:
    """Read id, source and slug of the wide corpus, and whether its title is all that labels a page.

    Args:
        folder: of the corpus.
        documents_changed: when its documents were, in nanoseconds.
        vectors_changed: when its vectors were.

    Raises:
        Vec2SlugError: the vectors are of other documents.
    """
    vectors = folder / "vectors.npy"
    made_of = read_json(manifest_of(vectors))["documents_sha256"]
    pages = read_corpus(folder / "documents.parquet", len(np.load(vectors, "r")), made_of)
    return pages[["id", "source", "slug"]].assign(by_title=labelled_by_title(pages["url"]))


def labelled_by_title(urls: Iterable[str]) -> Bools:
    """Tell of addresses whether none of their words is the label, so that a title has to be it."""
    return np.array([extract_slug(url)[0] is None for url in urls], bool)


def nearest_topics(data: Dataset, vectors: Floats, rows: Ints) -> Ints:
    """Find the topics of the data set whose means are nearest to some rows of vectors [N]."""
    names, index = np.unique(data.pairs["cluster"].to_numpy(), return_inverse=True)
    means = np.zeros((len(names), data.vectors.shape[1]), np.float32)
    np.add.at(means, index, data.vectors)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    blocks = (rows[begin : begin + BLOCK] for begin in range(0, len(rows), BLOCK))
    nearest = [(vectors[block] @ means.T).argmax(axis=1) for block in blocks]
    return np.asarray(names[np.concatenate([*nearest, np.zeros(0, int)])])


def within_cap(pages: pd.DataFrame, cap: int = CAP) -> Bools:
    """Choose at most ``cap`` pages of each source, at random."""
    order = np.random.default_rng(SEED).permutation(len(pages))
    places = pages["source"].iloc[order].groupby(pages["source"].iloc[order]).cumcount()
    chosen = np.zeros(len(pages), bool)
    chosen[order] = (places < cap).to_numpy()
    return chosen


def few_alike(pages: pd.DataFrame, most: int = ALIKE) -> Bools:
    """Choose at most ``most`` pages of a source whose slugs begin with the same content words."""
    places = pages.groupby(["source", pages["slug"].map(beginning)]).cumcount()
    return np.asarray(places < most)


def beginning(slug: str) -> str:
    """Return the first two words of a slug that are no stopwords and no numbers."""
    content = [word for word in words(slug) if word not in STOPWORDS and not word.isdigit()]
    return "-".join(content[:2])
