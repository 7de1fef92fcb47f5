"""Labels without limit: a short span of text is its own slug, and costs no person a thought.

A decoder that has learnt to read spans back from their embeddings needs to learn from real slugs
only which words of a page to write.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from ..common.errors import Vec2SlugError
from ..common.files import atomic
from ..common.slugs import MAX_WORDS, MIN_WORDS, STOPWORDS, is_valid, rejection, slugify, words
from ..common.workspace import current
from ..embedding.job import embed_documents
from ..embedding.registry import open_embedder
from .dataset import Dataset, ids_digest

KINDS = {
    "random": "words from anywhere in a sentence",
    "start": "the first words of a sentence",
    "phrase": "words between two stopwords or marks",
    "title": "the title of a page",
    "slug": "the words of a training slug",
}

HELD_OUT = 4000  # spans at most, and a fiftieth, on which the end of training is judged

SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
MARK = re.compile(r"[^\w'’-]+$|^[^\w'’-]+")  # at the end or the beginning of a word


def sentences(text: str) -> list[list[str]]:
    """Split a text into words of sentences or lines of three words or more, as written."""
    parts = [part.split() for part in SENTENCE_END.split(text)]
    return [part for part in parts if len(part) >= MIN_WORDS]


def phrases(sentence: Sequence[str]) -> Iterator[str]:
    """Yield runs of 3 to 8 words without a stopword or a mark inside (Rose et al. 2010)."""
    run: list[str] = []
    for word in [*sentence, "."]:
        bare = MARK.sub("", word)
        if bare.lower() not in STOPWORDS and bare:
            run.append(bare)
        if bare.lower() in STOPWORDS or MARK.search(word):
            if MIN_WORDS <= len(run) <= MAX_WORDS:
                yield " ".join(run)
            run = []


def cut(
    page: Mapping[str, str], kind: str, count: int, lengths: Sequence[int], rng: np.random.Generator
) -> list[str]:
    """Cut up to ``count`` spans from one page, in random order; some may be alike.

    Args:
        page: ``text``, ``title`` and ``slug``.
        kind: one of `KINDS`.
        count: most spans.
        lengths: numbers of words, of which each random span and each start draws one.
        rng: of the draws.
    """
    if kind in ("title", "slug"):
        return [page[kind].replace("-", " ") if kind == "slug" else page[kind]]
    parts = sentences(page["text"])
    if kind == "phrase":
        every = [phrase for part in parts for phrase in phrases(part)]
        return [every[i] for i in rng.permutation(len(every))[:count]]
    if not parts:
        return []
    # Random spans may share a sentence, as no two begin alike; a sentence has one start.
    chosen = (
        rng.integers(len(parts), size=count)
        if kind == "random"
        else rng.permutation(len(parts))[:count]
    )
    spans = []
    for part, length in zip(
        (parts[i] for i in chosen), rng.choice(lengths, len(chosen)), strict=True
    ):
        begin = rng.integers(max(len(part) - length, 0) + 1) if kind == "random" else 0
        spans.append(" ".join(part[begin : begin + length]))
    return spans


def label(texts: Sequence[str], banned: Collection[str] = ()) -> pd.DataFrame:
    """Label texts with their own words, where these make a slug by the corpus rules.

    Args:
        texts: spans.
        banned: slugs to leave out: those of pages that models are judged on.

    Returns:
        The columns text and slug; slugs are distinct.
    """
    frame = pd.DataFrame({"text": texts, "slug": [slugify(t, MAX_WORDS + 1) for t in texts]})
    fits = [is_valid(slug) and not rejection(slug) for slug in frame["slug"]]
    frame = frame[np.array(fits, bool)].drop_duplicates("slug")
    return frame[~frame["slug"].isin(set(banned))].reset_index(drop=True)


def draw(
    pages: pd.DataFrame, kind: str, count: int, banned: Collection[str] = (), seed: int = 42
) -> pd.DataFrame:
    """Draw about ``count`` spans evenly over pages: columns text, slug.

    Args:
        pages: columns text, title, slug: of training alone.
        kind: one of `KINDS`.
        count: most spans; a title and a slug there is but one of a page.
        banned: slugs to leave out.
        seed: of the draws.

    Raises:
        Vec2SlugError: an unknown kind.
    """
    if kind not in KINDS:
        raise Vec2SlugError(f"expected a kind of span among {', '.join(KINDS)}, got {kind!r}")
    rng = np.random.default_rng(seed)
    lengths = [len(words(slug)) for slug in pages["slug"]]
    each = -(-2 * count // max(len(pages), 1))  # twice as many as wanted: labels are refused
    rows = pages[["text", "title", "slug"]].to_dict("records")
    spans = [
        span
        for page in tqdm(rows, "spans", unit="page", delay=2)
        for span in cut(page, kind, each, lengths, rng)
    ]
    frame = label(spans, banned)
    chosen = rng.permutation(len(frame))[:count]
    return frame.iloc[np.sort(chosen)].reset_index(drop=True)


def span_set(data: Dataset, kinds: str, count: int, corpus: Path) -> Dataset:
    """Read ``count`` spans of the training pages with their vectors, or make them.

    Killed while embedding, it goes on from there when called again.

    Args:
        data: the pages; no span is a slug of a validation or test page.
        kinds: one or more of ``spans.KINDS``, joined by commas, in equal parts.
        count: most spans.
        corpus: folder of the documents that the pages come from.

    Returns:
        Rows with the columns ``text``, ``slug`` and ``split`` (train or val).

    Raises:
        Vec2SlugError: an unknown kind, or no corpus there to cut spans from.
    """
    digest = ids_digest(data.pairs["id"])[:8]
    folder = current().work / "spans" / f"{kinds.replace(',', '-')}-{count}-{digest}"
    path, vectors = folder / "spans.parquet", folder / "vectors.npy"
    if not path.is_file():
        frame = mixture(data, kinds, count, corpus)
        with atomic(path) as temporary:
            frame.to_parquet(temporary, index=False, compression="zstd")
    frame = pd.read_parquet(path)
    if not vectors.is_file():
        names, texts = frame.index.astype(str).tolist(), frame["text"].tolist()
        embed_documents(names, texts, open_embedder(data.embedder, exact=True), vectors)
    return Dataset(frame, np.load(vectors, mmap_mode="r"))


def mixture(data: Dataset, kinds: str, count: int, corpus: Path) -> pd.DataFrame:
    """Mix spans of several kinds in random order, in equal parts as far as there are enough."""
    banned = set(data.pairs.loc[data.pairs["split"] != "train", "slug"])
    pages = training_pages(data, kinds, corpus)
    names = kinds.split(",")
    parts = [draw(pages, kind, -(-count // len(names)), banned) for kind in names]
    frame = pd.concat(parts).drop_duplicates("slug").sample(frac=1, random_state=42)
    frame = frame.head(count).reset_index(drop=True)
    held_out = np.arange(len(frame)) < max(min(HELD_OUT, len(frame) // 50), 1)
    return frame.assign(split=np.where(held_out, "val", "train"))


def training_pages(data: Dataset, kinds: str, corpus: Path) -> pd.DataFrame:
    """Read text, title and slug of the training pages; empty texts where only slugs are cut.

    Raises:
        Vec2SlugError: no corpus in the folder.
    """
    pages = data.part("train").pairs[["id", "slug"]]
    if kinds == "slug":
        return pages.assign(text="", title="")
    path = corpus / "documents.parquet"
    if not path.is_file():
        raise Vec2SlugError(
            f"expected the corpus in {path}, to cut spans from, found none: "
            "vec2slug corpus build SOURCE makes it"
        )
    texts = pd.read_parquet(path, columns=["id", "text", "title"])
    return pages.merge(texts, on="id", validate="1:1")
