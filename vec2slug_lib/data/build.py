"""From the corpus and its vectors to the data set in the repository, with its card.

No text of the corpus gets in: only addresses, slugs, counts and vectors. What needs the texts (the
title and keyword baselines) is worked out here and kept as slugs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from ..common.errors import Vec2SlugError
from ..common.files import atomic, file_sha256, read_json, write_json
from ..common.jobs import digest, one_writer
from ..common.slugs import STOPWORDS, slugify, title_slug, words
from ..common.vectors import Floats, check_vectors
from ..embedding.registry import DEFAULT, full_name
from .dataset import COLUMNS, SEED, load, save_vectors
from .filters import SCHEMA
from .split import cluster, leak_report, select, split_clusters

CARD = """# Data card

{pairs:,} pairs of a text embedding and the slug that people gave the text, for research on slug
generation. Made by `vec2slug corpus build`, `vec2slug embed` and `vec2slug data build`; this page
is written by the last of them.

| file | what |
|---|---|
| `pairs.parquet` | id, source, url, slug, token_count, split, cluster |
| `embeddings.{embedder}.npz` | {model} vectors, {width} wide, int8 with one scale a row |
| `funnel.json` | documents left after every filter |
| `text_baselines.parquet` | for test rows: the slug of the title, and of the TF-IDF keywords |
| `card.json` | the numbers on this page |
| `examples/` | twelve articles written for the book; in no training data |
| `runs/`, `models/` | run records and the released model |
| `sweeps/`, `benchmarks/` | tables of sweeps, and records of benchmarks |

## What is in it, and what is not
Addresses, slugs, counts and vectors. No text: that stays with its owners, under the licences below.
A vector is not a text, but some of a short text can be read back from its vector: do not treat
vectors of private texts as anonymous.

## Sampling and split
Sources have one common cap, and a source above it is drawn evenly over its topics. That does not
balance them: of {source_count} sources the largest has {largest:,} pairs, {largest_share:.0%} of
all, and half have {median:,.0f} or fewer. A mean over pages is mostly one over the large sources;
report the mean over sources beside it. Topics are {clusters} MiniBatchKMeans clusters; whole
clusters go to train, val or test (seed {seed}), so near-duplicates do not cross: {splits}.
{distinct_slugs:,} slugs are distinct; the mean slug has {mean_words:.2f} words.

## Checks
| check | value |
|---|---|
| cosine of an int8 vector to its original, mean | {mean_cosine:.6f} |
| the same, least | {least_cosine:.6f} |
| test vectors with a training vector above cosine 0.95 | {near_vectors:.2%} |
| test slugs that also occur in training | {same_slug:.2%} |

## Sources and licences
Licences are those the sources state for the texts.

| source | licence | pairs |
|---|---|---|
{sources}
"""


def build(
    documents: Path,
    vectors: Floats,
    funnel: Path,
    out: Path,
    total: int | None = None,
    embedder: str = DEFAULT,
    vectors_of: str | None = None,
    skipped: Collection[int] = (),
) -> dict[str, Any]:
    """Write the whole data folder: pairs, vectors, funnel, text baselines, card.

    Killed half way, it leaves a folder that `load` refuses.

    Args:
        documents: ``documents.parquet`` of the corpus pipeline.
        vectors: ``[N, d]``, row by row those of ``documents``.
        funnel: ``funnel.json`` of the corpus pipeline.
        out: the data folder.
        total: pairs wanted; all if None.
        embedder: whose vectors they are, as a file name has it.
        vectors_of: the hash of the documents that the vectors were made of, as the vectors'
            description has it (``documents_sha256``); if None, they are taken to be these.
        skipped: rows without a vector, as ``embed --skip-bad`` leaves them; they are left out.

    Returns:
        What ``card.json`` holds.

    Raises:
        Vec2SlugError: vectors or a funnel of other documents, a file that is missing or damaged,
            vectors of another embedder in ``out``, or another process that writes there.
    """
    frame = read_corpus(documents, len(vectors), vectors_of)
    steps = read_steps(funnel, documents)
    if skipped:
        kept = np.delete(np.arange(len(frame)), list(skipped))
        frame, vectors = frame.iloc[kept].reset_index(drop=True), vectors[kept]
    vectors = check_vectors(vectors)
    frame["source"] = frame["source"].replace("", "unknown")
    frame["license"] = frame["license"].replace("", "unknown")
    frame["cluster"] = cluster(vectors)
    frame["split"] = split_clusters(frame["cluster"].to_numpy())
    chosen = select(frame, total or len(frame))
    selected = frame.iloc[chosen].reset_index(drop=True)
    dropped = {"no_vector": len(skipped)} if skipped else {}
    steps.append({"name": "selected", "kept": len(selected), "dropped": dropped})
    with one_writer(out):
        make_room(out, embedder)
        write_pairs(selected, vectors[chosen], out, embedder)
        write_json(out / "funnel.json", {"steps": steps})
        write_text_baselines(selected, out / "text_baselines.parquet")
        card = {"embedder": embedder, **describe(selected, vectors[chosen], out)}
        write_json(out / "card.json", card)
        with atomic(out / "README.md") as temporary:
            temporary.write_text(render_card(card), encoding="utf-8")
    return card


def read_corpus(documents: Path, count: int, vectors_of: str | None) -> pd.DataFrame:
    """Read the documents that some vectors belong to.

    Args:
        documents: parquet file of the corpus pipeline.
        count: number of vectors.
        vectors_of: hash of the documents that the vectors were made of, see `build`.

    Raises:
        Vec2SlugError: no file of documents, or other vectors: by number, or by hash.
    """
    try:
        frame = pd.read_parquet(documents)
    except Exception as error:  # pyarrow raises its own kinds
        raise Vec2SlugError(f"expected documents in {documents}, but: {error}") from error
    if missing := set(SCHEMA.names) - set(frame.columns):
        raise Vec2SlugError(f"expected documents in {documents}, found no {', '.join(missing)}")
    if len(frame) != count:
        raise Vec2SlugError(f"expected {len(frame)} vectors, one a document, got {count}")
    pairs = zip(frame["id"], frame["text"], strict=True)
    ours = digest(str(value) for pair in pairs for value in pair)
    if vectors_of not in (None, ours):
        raise Vec2SlugError(
            f"expected vectors of {documents}, whose ids and texts hash to {ours}, got vectors of "
            f"documents that hash to {vectors_of}; embed these documents again"
        )
    return frame


def read_steps(funnel: Path, documents: Path) -> list[dict[str, Any]]:
    """Read the steps of the funnel that documents came through.

    Raises:
        Vec2SlugError: it is missing, or that of other documents.
    """
    content = read_json(funnel)
    ours, theirs = file_sha256(documents), content.get("parquet_sha256")
    if ours != theirs:
        raise Vec2SlugError(
            f"expected {funnel} to be of {documents} with SHA-256 {ours}, got that of a file with "
            f"{theirs}; run `vec2slug corpus build` again"
        )
    return list(content["steps"])


def make_room(out: Path, embedder: str) -> None:
    """Take away from a data folder what would say, or seem to, that it is whole.

    Raises:
        Vec2SlugError: it holds vectors of another embedder.
    """
    ours = f"embeddings.{embedder}.npz"
    others = [path.name for path in out.glob("embeddings.*.npz") if path.name != ours]
    if others:
        raise Vec2SlugError(f"expected a folder for {ours}, found {', '.join(others)} in {out}")
    for name in ("card.json", ours):
        (out / name).unlink(missing_ok=True)


def write_pairs(selected: pd.DataFrame, vectors: Floats, out: Path, embedder: str) -> None:
    """Write ``pairs.parquet`` and ``embeddings.<embedder>.npz``."""
    pairs = selected[COLUMNS].astype({"token_count": "int32", "cluster": "int32"})
    with atomic(out / "pairs.parquet") as temporary:
        pairs.to_parquet(temporary, index=False, compression="zstd", compression_level=19)
    save_vectors(out / f"embeddings.{embedder}.npz", vectors, selected["id"])


def write_text_baselines(selected: pd.DataFrame, path: Path) -> None:
    """Write slugs of the two baselines that see the text, a test row each: id, title, keywords."""
    train, test = (selected[selected["split"] == split] for split in ("train", "test"))
    baselines = pd.DataFrame(
        {
            "id": test["id"],
            "title": [title_slug(title) for title in test["title"]],
            "keywords": tfidf_keywords(test["text"].tolist(), train["text"].tolist()),
        }
    )
    with atomic(path) as temporary:
        baselines.to_parquet(temporary, index=False, compression="zstd")


def describe(selected: pd.DataFrame, vectors: Floats, folder: Path) -> dict[str, Any]:
    """Gather the facts of the data card, reading back the files just written."""
    dataset = load(folder)
    cosines = np.einsum("nd,nd->n", vectors, dataset.vectors)
    sources = selected.groupby(["source", "license"]).size().sort_values(ascending=False)
    return {
        "pairs": len(selected),
        "width": vectors.shape[1],
        "seed": SEED,
        "splits": {k: int(v) for k, v in selected["split"].value_counts().items()},
        "clusters": int(selected["cluster"].nunique()),
        "distinct_slugs": int(selected["slug"].nunique()),
        "mean_words": float(selected["slug"].str.count("-").mean() + 1),
        "quantisation": {
            "mean_cosine": float(cosines.mean()),
            "least_cosine": float(cosines.min()),
        },
        "leaks": leak_report(dataset.pairs, dataset.vectors),
        "sources": [
            {"source": source, "license": licence, "pairs": int(count)}
            for (source, licence), count in sources.items()
        ],
    }


def render_card(card: dict[str, Any]) -> str:
    """Render the data card as Markdown."""
    rows = [
        f"| {row['source']} | {row['license'].replace('|', '/')} | {row['pairs']:,} |"
        for row in card["sources"]
    ]
    splits = ", ".join(f"{name} {count:,}" for name, count in card["splits"].items())
    sizes = pd.DataFrame(card["sources"]).groupby("source")["pairs"].sum()
    facts = {
        **card,
        "model": full_name(card["embedder"]),
        "splits": splits,
        "sources": "\n".join(rows),
        "source_count": len(sizes),
        "largest": int(sizes.max()),
        "largest_share": sizes.max() / sizes.sum(),
        "median": sizes.median(),
    }
    return CARD.format(**facts, **card["quantisation"], **card["leaks"])


def tfidf_keywords(texts: Sequence[str], fit_texts: Sequence[str], n_words: int = 5) -> list[str]:
    """Pick the words of each text with the highest TF-IDF, in the order of their first place.

    Words are those that `slugs.slugify` makes, without stopwords and single characters. The weight
    is count * (ln((1 + T) / (1 + document frequency)) + 1), as in scikit-learn, but also for words
    that no text of ``fit_texts`` holds: names are often new. Ties go to the word met first.

    Args:
        texts: N texts to describe.
        fit_texts: T texts that document frequencies are counted in; the training split.
        n_words: words per slug; fewer if the text has fewer.
    """
    frequency: Counter[str] = Counter()
    for text in tqdm(fit_texts, "document frequencies", leave=False, delay=2):
        frequency.update(set(_content_words(text)))
    slugs = []
    for text in tqdm(texts, "keywords", leave=False, delay=2):
        counts = Counter(_content_words(text))  # keeps the order of first appearance
        weight = {
            word: count * (log((1 + len(fit_texts)) / (1 + frequency[word])) + 1)
            for word, count in counts.items()
        }
        best = set(sorted(counts, key=lambda word: -weight[word])[:n_words])
        slugs.append("-".join(word for word in counts if word in best))
    return slugs


def _content_words(text: str) -> list[str]:
    """List a text's words, but for stopwords and single characters."""
    every = words(slugify(text, max_words=len(text)))
    return [word for word in every if len(word) > 1 and word not in STOPWORDS]
