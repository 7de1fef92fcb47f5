"""Chapter 14: which words lie nearest to a page's vector, and which of them the release writes.

``<runs>/words/<preset>/nearest.json`` is made on demand and read from then on, as the parts of
`ch02_methods` are: to embed every word of the training slugs takes minutes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from chapters.report import listed, within
from vec2slug_lib.common.files import read_json, write_json
from vec2slug_lib.common.neighbours import product_blocks
from vec2slug_lib.common.slugs import STOPWORDS, words
from vec2slug_lib.common.vectors import Floats
from vec2slug_lib.data import dataset
from vec2slug_lib.data.examples import Example, load_examples, vectors_by
from vec2slug_lib.embedding.registry import open_embedder
from vec2slug_lib.evaluation import intervals
from vec2slug_lib.experiments.table import PRESETS, find
from vec2slug_lib.experiments.word_clusters import WordSpace, _folder, word_space

CLOSEST = 5  # words kept an article
BLOCK = 256  # pages compared with all words at a time
ASKED = ("webassembly", "asm", "wasm")  # the study could not tell which its model misses, and why
BANDS = (0, 1, 4, 16, np.inf)  # training slugs that hold a word


def nearest_record(preset: str = "book", remake: bool = False) -> dict[str, Any]:
    """Read the words nearest to the articles and test pages, or find them.

    Words are embedded alone and compared by cosine.

    Returns:
        ``words``: how many the training slugs have. ``articles``: by name, ``trained``, the
        nearest of these, and ``own``, the nearest when the article's own words stand among them;
        each a list of word, cosine and how often training slugs have it. ``pages``: the nearest
        word of each test page, of the training slugs. ``asked``: of each word of `ASKED`, its
        cosine to the article on WebAssembly, its count, and its rank among the words of the
        training slugs; and ``between``, the cosine of the last two.

    Raises:
        Vec2SlugError: unknown preset, or no data set.
    """
    space, path, articles = word_space(preset), _folder(preset) / "nearest.json", load_examples()
    texts = pd.Series([article.text for article in articles])
    stamp = {**space.stamp, "articles": dataset.ids_digest(texts)}
    record = read_json(path) if path.is_file() and not remake else {}
    if record.get("stamp") != stamp:
        record = {"stamp": stamp, **find_nearest(space, articles, preset)}
        write_json(path, record, indent=None)
    return dict(record)


def find_nearest(space: WordSpace, articles: Sequence[Example], preset: str) -> dict[str, Any]:
    """Find what `nearest_record` describes."""
    known = space.words[: len(space.trained)]
    counts = dict(zip(known, space.trained_counts.tolist(), strict=True))
    rows = dataset.load(limit=find(PRESETS, "preset", preset).limit).test_rows()
    vectors = vectors_by(rows.embedder)
    closest = {
        article.name: closest_words(article.text, vector, space.trained, counts)
        for article, vector in zip(articles, vectors, strict=True)
    }
    blocks = product_blocks(rows.vectors, space.trained, BLOCK, "words nearest to pages")
    first = [known[i] for _, cosines in blocks for i in cosines.argmax(axis=1)]
    page = next(i for i, article in enumerate(articles) if article.name == ASKED[0])
    return {
        "words": len(known),
        "articles": closest,
        "pages": first,
        "asked": asked_words(vectors[page], space.trained, counts),
    }


def closest_words(
    text: str, vector: Floats, trained: Floats, counts: Mapping[str, int]
) -> dict[str, list[list[Any]]]:
    """Return the words closest to the vector of a text: of training slugs, and its own with them.

    Args:
        text: the text.
        vector: of the text, [D].
        trained: vectors of the words of the training slugs [N, D].
        counts: how often training slugs have each of these words, in their order.
    """
    own = sorted(set(re.findall(r"[a-z0-9]+", text.lower())) - set(counts))
    cosines = np.concatenate([trained, open_embedder(exact=True).embed(own)]) @ vector
    known = len(trained)
    return {
        "trained": _first(list(counts), cosines[:known], counts),
        "own": _first([*counts, *own], cosines, counts),
    }


def _first(names: Sequence[str], cosines: Floats, counts: Mapping[str, int]) -> list[list[Any]]:
    """Return word, cosine and count of the highest cosines."""
    order = np.argsort(-cosines)[:CLOSEST]
    return [[names[i], round(float(cosines[i]), 4), counts.get(names[i], 0)] for i in order]


def asked_words(vector: Floats, trained: Floats, counts: Mapping[str, int]) -> dict[str, Any]:
    """Compare the words of `ASKED` with a vector: cosine, count and rank of each."""
    vectors, others = open_embedder(exact=True).embed(ASKED), trained @ vector
    asked: dict[str, Any] = {"between": round(float(vectors[1] @ vectors[2]), 4)}
    for word, cosine in zip(ASKED, (vectors @ vector).tolist(), strict=True):
        # The same word in another batch may differ in the last digits.
        rank = 1 + int((others > cosine + 1e-4).sum())
        asked[word] = {"cosine": round(cosine, 4), "count": counts.get(word, 0), "rank": rank}
    return asked


def nearest_table(record: Mapping[str, Any]) -> pd.DataFrame:
    """Return the words of the training slugs that are nearest to the articles, a row an article."""
    closest = {
        article.slug: ", ".join(word for word, *_ in record["articles"][article.name]["trained"])
        for article in load_examples()
    }
    frame = pd.DataFrame({"nearest words": pd.Series(closest)})
    return frame.rename_axis("editor's slug")


def wanted(article: Example, closest: Mapping[str, list[list[Any]]]) -> list[str]:
    """List the content words of the editor's slug that are among the words closest to the page."""
    near = [word for word, *_ in closest["own"]]
    return [word for word in near if word in words(article.slug) and word not in STOPWORDS]


def release_table(record: Mapping[str, Any], written: Mapping[str, str]) -> pd.DataFrame:
    """Return the nearest words of each article beside what the release writes, a row an article.

    Args:
        record: as `nearest_record` returns it.
        written: slugs of the release by name of the article.
    """
    rows = {}
    for article in load_examples():
        closest, slug = record["articles"][article.name], written[article.name]
        names = wanted(article, closest)
        rows[article.slug] = {
            "nearest, training slugs": _cells(closest["trained"][:2]),
            "nearest, own words too": _cells(closest["own"][:2]),
            "editor's, of the nearest five": ", ".join(names) or "–",
            "release": slug,
            "of these it writes": ", ".join(x for x in names if x in words(slug)) or "–",
        }
    return pd.DataFrame(rows).T.rename_axis("editor's slug")


def _cells(closest: Sequence[Sequence[Any]]) -> str:
    return ", ".join(f"{word} ({cosine:.2f}; {count})" for word, cosine, count in closest)


def names_say(record: Mapping[str, Any], written: Mapping[str, str]) -> str:
    """Write for how many articles the vector has the wanted word, and what the release misses."""
    articles, first, missed = load_examples(), [], []
    for article in articles:
        closest = record["articles"][article.name]
        if closest["own"][0][0] in wanted(article, closest):
            first.append(word := closest["own"][0][0])
            missed += [word] if word not in words(written[article.name]) else []
    text = (
        f"For {len(first)} of the {len(articles)} articles the word nearest to the vector, of the "
        f"{record['words']:,} words of the training slugs and the article's own, is one that the "
        f"editor chose, and the release leaves out {len(missed)} of these"
    )
    if not first:
        return f"{text}: the vectors do not name the things."
    if not missed:
        return f"{text}: what the vector names, the decoder writes."
    if 2 * len(missed) < len(first):
        return f"{text}: {listed(missed)}. These the decoder misses, and not the vector."
    return (
        f"{text}: {listed(missed)}. There the vector names the thing, and the decoder writes "
        "something else: it is the decoder that misses."
    )


def asked_says(record: Mapping[str, Any], slug: str) -> str:
    """Write what is known here of the study's question about asm and wasm.

    Args:
        record: as `nearest_record` returns it.
        slug: what the release writes of the article on WebAssembly.
    """
    asked = record["asked"]
    name, asm, wasm = (asked[word] for word in ASKED)
    counts = listed([f"`{word}` {asked[word]['count']:,} ×" for word in ASKED])
    text = (
        "The study saw its model write *asm* for WebAssembly, and asks whether examples of *wasm* "
        "were too few or the vector does not tell the two apart (*reported*). "
        f"Training slugs here have {counts}. Of their {record['words']:,} words, `{ASKED[0]}` is "
        f"number {name['rank']:,} by its cosine to that page's vector ({name['cosine']:.2f}), "
        f"`asm` number {asm['rank']:,} ({asm['cosine']:.2f}) and `wasm` number {wasm['rank']:,} "
        f"({wasm['cosine']:.2f}); the two short words have a cosine of {asked['between']:.2f}. "
    )
    full = name["rank"] == 1
    named = "the vector has the name in full" if full else "the vector has not the name in full"
    sides = "tells the short forms apart, as it should" if wasm["cosine"] > asm["cosine"] else (
        "prefers the wrong one of the short forms"
    )  # fmt: skip
    if ASKED[0] in words(slug):
        return f"{text}So {named}, and {sides}; the release writes the name."
    blame = "the decoder's doing" if full else "the vector's doing, or that of both"
    return f"{text}So {named}, and {sides}. That the release does not write the name is {blame}."


def hits(pages: Sequence[str], predictions: pd.DataFrame, counts: pd.Series) -> pd.DataFrame:
    """Say of each test page whether its nearest word is in its own slug, and in the prediction.

    Args:
        pages: the nearest word of each page.
        predictions: of a run, on the same pages: slug, topic, prediction.
        counts: training slugs with each word.

    Returns:
        Columns ``topic``, ``count`` (training slugs with the word), ``own`` and ``written``.
    """
    columns = {
        column: [word in words(slug) for word, slug in zip(pages, predictions[name], strict=True)]
        for column, name in {"own": "slug", "written": "prediction"}.items()
    }
    return predictions[["topic"]].assign(count=counts[list(pages)].to_numpy(), **columns)


def hit_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return how often the nearest word is right, and written then, by how many slugs have it."""
    bands = pd.cut(frame["count"], BANDS, labels=_labels())
    parts = {"all": frame, **dict(iter(frame.groupby(bands, observed=True)))}
    rows = {label: _hit_cells(part) for label, part in parts.items()}
    return pd.DataFrame(rows).T.rename_axis("training slugs with the word")


def _labels() -> list[str]:
    pairs = pairwise(int(end) for end in BANDS[:-1])
    middle = [f"{a + 1} to {b}" if b > a + 1 else f"{b}" for a, b in pairs]
    return [*middle, f"more than {BANDS[-2]}"]


def _hit_cells(part: pd.DataFrame) -> dict[str, Any]:
    own = part["own"].to_numpy()
    right = intervals.mean_over(own[:, None], np.ones_like(own)[:, None], part["topic"])
    return {
        "pages": len(part),
        "nearest word is in the page's slug": within(right),
        "of these, the release writes it": within(share_written(part)) if own.any() else "–",
    }


def share_written(frame: pd.DataFrame) -> intervals.Interval:
    """Compute the share of pages that get their nearest word, of those whose slug holds it."""
    own, written = (frame[name].to_numpy()[:, None] for name in ("own", "written"))
    return intervals.mean_over(written, own, frame["topic"])


def hits_say(frame: pd.DataFrame) -> str:
    """Write how often the nearest word is right on test pages, and whether it is written then."""
    own = frame["own"].to_numpy()
    written = share_written(frame)
    text = (
        f"On {own.mean():.0%} of the test pages the word nearest to the vector is in the page's "
        f"own slug. On {written['value']:.0%} of these ({written['low']:.0%} to "
        f"{written['high']:.0%}) the release writes it"
    )
    rare = frame[frame["count"] <= BANDS[2]]
    if not (rare["own"].any() and own.any()):
        return f"{text}."
    seldom = share_written(rare)
    return (
        f"{text}, and on {seldom['value']:.0%} ({seldom['low']:.0%} to {seldom['high']:.0%}) where "
        f"{BANDS[2]} training slugs or fewer have it. What is left out there the vector has, and "
        "the decoder has not learnt to write. To write the nearest word always would be no "
        f"cure: on {1 - own.mean():.0%} of the pages it is not in the slug."
    )
