"""Sets of spans with their vectors: drawn and embedded once, then read from the work folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from .dataset import Dataset, ids_digest
from .embedding import embed_documents
from .errors import Vec2SlugError
from .files import atomic
from .minilm import MiniLMEmbedder
from .spans import draw

HELD_OUT = 4000  # spans at most, and a fiftieth, on which the end of training is judged


def work_dir() -> Path:
    """Folder of what is too large for the repository, or not ours to share.

    The environment variable ``VEC2SLUG_WORK`` moves it.
    """
    default = Path(__file__).resolve().parent.parent / "work"
    return Path(os.environ.get("VEC2SLUG_WORK", default))


def span_set(data: Dataset, kinds: str, count: int) -> Dataset:
    """``count`` spans of the training pages with their vectors: read if there, made if not.

    Killed while embedding, it goes on from there when called again.

    Args:
        data: the pages; no span is a slug of a validation or test page.
        kinds: one or more of ``spans.KINDS``, joined by commas, in equal parts.
        count: most spans.

    Returns:
        Rows with the columns ``text``, ``slug`` and ``split`` (train or val).

    Raises:
        Vec2SlugError: an unknown kind, or no corpus in the work folder to cut spans from.
    """
    digest = ids_digest(data.pairs["id"])[:8]
    folder = work_dir() / "spans" / f"{kinds.replace(',', '-')}-{count}-{digest}"
    path, vectors = folder / "spans.parquet", folder / "vectors.npy"
    if not path.is_file():
        frame = mixture(data, kinds, count)
        with atomic(path) as temporary:
            frame.to_parquet(temporary, index=False, compression="zstd")
    frame = pd.read_parquet(path)
    if not vectors.is_file():
        names, texts = frame.index.astype(str).tolist(), frame["text"].tolist()
        embed_documents(names, texts, MiniLMEmbedder(), vectors)
    return Dataset(frame, np.load(vectors, mmap_mode="r"))


def mixture(data: Dataset, kinds: str, count: int) -> pd.DataFrame:
    """Spans of several kinds in random order, in equal parts as far as there are enough."""
    barred = set(data.pairs.loc[data.pairs["split"] != "train", "slug"])
    pages = training_pages(data, kinds)
    names = kinds.split(",")
    parts = [draw(pages, kind, -(-count // len(names)), barred) for kind in names]
    frame = pd.concat(parts).drop_duplicates("slug").sample(frac=1, random_state=42)
    frame = frame.head(count).reset_index(drop=True)
    held_out = np.arange(len(frame)) < max(min(HELD_OUT, len(frame) // 50), 1)
    return frame.assign(split=np.where(held_out, "val", "train"))


def training_pages(data: Dataset, kinds: str) -> pd.DataFrame:
    """Text, title and slug of the training pages; where only slugs are cut, the others are empty.

    Raises:
        Vec2SlugError: no corpus in the work folder.
    """
    pages = data.part("train").pairs[["id", "slug"]]
    if kinds == "slug":
        return pages.assign(text="", title="")
    path = work_dir() / "corpus" / "documents.parquet"
    if not path.is_file():
        raise Vec2SlugError(
            f"expected the corpus in {path}, to cut spans from, found none: "
            "vec2slug corpus build SOURCE makes it"
        )
    texts = pd.read_parquet(path, columns=["id", "text", "title"])
    return pages.merge(texts, on="id", validate="1:1")
