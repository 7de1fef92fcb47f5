"""Slugs of pages whose texts are at hand, beside other ways to read a text.

Test pages of known sources, and pages of sources that no model has learnt from: by their vectors
alone, by vector and text, by the text alone, and by TF-IDF, YAKE (Campos et al. 2020) and KeyBERT
(Grootendorst 2020), each set up as does best on validation pages of sources left out. The corpus is
not in the repository; of the texts the record holds nothing.
Run: ``pip install yake keybert`` beside, then
``python benchmarks/texts.py --corpus FOLDER --out data/benchmarks/texts.json``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from machine import processor
from tqdm import tqdm

from vec2slug_lib import SlugPredictor, open_embedder
from vec2slug_lib.common.files import write_json
from vec2slug_lib.common.slugs import slugify
from vec2slug_lib.data import dataset
from vec2slug_lib.data.build import tfidf_keywords
from vec2slug_lib.data.examples import load_examples
from vec2slug_lib.data.left_out import load_left_out
from vec2slug_lib.evaluation.metrics import token_overlap
from vec2slug_lib.experiments.decoding_variants import sums_by_topic
from vec2slug_lib.experiments.text_model import describe_pages, fit_trees, head_logits
from vec2slug_lib.experiments.text_pages import TextPages, pages_of
from vec2slug_lib.inference.release_folder import DEFAULT_MODEL
from vec2slug_lib.inference.rows import Page

System = Callable[[TextPages], list[str]]
WORDS = 5  # of a slug of keywords, as the TF-IDF baseline has
CHOSEN_BY = 100  # validation pages, by which keywords are set up
BINS = 10  # of scores, for their honesty


def decoded(predictor: SlugPredictor, pages: TextPages, by_text: bool) -> list[tuple[str, float]]:
    """Best slug and its score of each page."""
    pairs = zip(pages.vectors, pages.texts, strict=True)
    rows = (Page(vector, text if by_text else "") for vector, text in pairs)
    with tqdm(total=len(pages.slugs), desc="text" if by_text else "vector", unit="page") as bar:
        found = list(predictor.stream(rows, 1, bar.update))
    return [(candidates[0].slug, candidates[0].score) for candidates in found]


def text_alone(predictor: SlugPredictor, known: TextPages) -> System:
    """The words of a text with the highest expected F1, in its order: the model without vectors."""
    model, ids = predictor.text_model, predictor.vocabulary.ids
    assert model is not None
    logits = head_logits(predictor, known.vectors)
    described = describe_pages(known.texts, known.slugs, logits, ids, 1, model.frequencies)
    described.features[:, 0] = 0
    trees = fit_trees(described)
    mean = predictor.config.mbr.mean_words if predictor.config.mbr else 0
    nothing = np.zeros((1, len(ids)), np.float32)

    def slugs(pages: TextPages) -> list[str]:
        """Choose among three to eight words by the Token F1 to expect."""
        every = []
        for text in tqdm(pages.texts, "text alone"):
            one = describe_pages([text], [""], nothing, ids, 1, model.frequencies)
            one.features[:, 0] = 0
            chance = trees(one.features)
            best = np.argsort(-chance, kind="stable")[:8]
            worth = [2 * chance[best[:n]].sum() / (n + mean) for n in range(3, len(best) + 1)]
            count = 3 + int(np.argmax(worth)) if worth else len(best)
            every.append("-".join(one.distinct[0][place] for place in np.sort(best[:count])))
        return every

    return slugs


def in_order(words: Iterable[str], text: str, count: int) -> str:
    """Distinct words of some phrases, the first ``count``, in the order of the text."""
    parts = (part for phrase in words for part in slugify(phrase, 9).split("-") if part)
    chosen = set(islice(dict.fromkeys(parts), count))
    places = {
        word: place for place, word in reversed(list(enumerate(slugify(text, 10**6).split("-"))))
    }
    return "-".join(sorted(chosen, key=lambda word: places.get(word, 0)))


def yake_slugs(length: int) -> System:
    """Keywords by YAKE, each of up to so many words."""
    import yake

    extractor = yake.KeywordExtractor(lan="en", n=length, top=10)

    def slugs(pages: TextPages) -> list[str]:
        """Join the words of the best keywords."""
        return [
            in_order((word for word, _ in extractor.extract_keywords(text)), text, WORDS)
            for text in tqdm(pages.texts, f"YAKE, {length}")
        ]

    return slugs


def keybert_slugs(embed: Callable[[Sequence[str]], Any], length: int) -> System:
    """Keywords by KeyBERT with the embedder of the vectors, each of up to so many words."""
    from keybert import KeyBERT
    from keybert.backend import BaseEmbedder

    class Backend(BaseEmbedder):  # type: ignore[misc]
        """Our embedder as KeyBERT asks for it."""

        def embed(self, documents: Sequence[str], verbose: bool = False) -> Any:
            """Embed texts."""
            return embed([text or "-" for text in documents])

    model = KeyBERT(Backend())

    def slugs(pages: TextPages) -> list[str]:
        """Join the words of the keywords nearest to the text."""
        every = []
        for text in tqdm(pages.texts, f"KeyBERT, {length}"):
            options = {"keyphrase_ngram_range": (1, length), "stop_words": "english", "top_n": 10}
            every.append(
                in_order((w for w, _ in model.extract_keywords(text, **options)), text, WORDS)
            )
        return every

    return slugs


def compare(
    slugs: dict[str, list[str]], pages: TextPages, scores: Sequence[float]
) -> dict[str, Any]:
    """Token F1 of each system by topic and by source; and how honest the scores are."""
    f1 = {name: token_overlap(found, pages.slugs)[2] for name, found in slugs.items()}
    frame = pd.DataFrame(f1).assign(source=pages.sources)
    ours = pd.DataFrame({"score": scores, "f1": f1["vector and text"]})
    bins = ours.groupby(pd.qcut(ours["score"], BINS, labels=False, duplicates="drop"))
    return {
        "by_topic": sums_by_topic(f1, pd.Series(pages.topics)),
        "by_source": {
            source: {"pages": len(rows), **rows.drop(columns="source").mean().round(4).to_dict()}
            for source, rows in frame.groupby("source")
        },
        "honesty": bins.mean().round(4).to_dict("list"),
    }


def timed(systems: dict[str, System], pages: TextPages) -> tuple[dict[str, list[str]], Any]:
    """Slugs by every system, and the milliseconds that each takes a page."""
    slugs, milliseconds = {}, {}
    for name, system in systems.items():
        began = time.perf_counter()
        slugs[name] = system(pages)
        milliseconds[name] = round((time.perf_counter() - began) / len(pages.slugs) * 1000, 2)
    return slugs, milliseconds


def main() -> None:
    """Make slugs by every system, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, help="folder of parquet with id, url, text, source")
    parser.add_argument("--rows", type=int, default=1_000, help="pages of each kind")
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL, help="release folder")
    parser.add_argument("--out", type=Path, help="record to write")
    options = parser.parse_args()
    if options.corpus is None:  # as `make bench` runs it
        print("the texts of the pages are not in the repository: --corpus FOLDER has them")
        return
    data, embedder = dataset.load(), open_embedder()
    exact = open_embedder(data.embedder, exact=True).embed
    predictor = SlugPredictor.from_dir(options.model, embedder=embedder)
    known = pages_of(data.part("val"), options.corpus)
    few, unseen = (
        pages_of(load_left_out(part).sample(count), options.corpus)
        for part, count in (("val", CHOSEN_BY), ("test", options.rows))
    )
    training = pages_of(data.part("train").sample(20_000), options.corpus).texts
    variants = {
        "YAKE": {n: yake_slugs(n) for n in (1, 2, 3)},
        "KeyBERT": {n: keybert_slugs(embedder.embed, n) for n in (1, 2)},
    }
    best = {}
    for name, systems in variants.items():
        means = {n: token_overlap(s(few), few.slugs)[2].mean() for n, s in systems.items()}
        best[name] = max(means, key=means.__getitem__)
        print(name, {n: round(float(mean), 4) for n, mean in means.items()})
    record: dict[str, Any] = {"processor": processor(), "words_a_keyword": best, "sets": {}}
    examples = load_examples()
    texts = [example.text for example in examples]
    slugs = [example.slug for example in examples]
    names = [example.name for example in examples]
    sets = {
        "known": pages_of(data.test_rows().sample(options.rows), options.corpus),
        "left out": unseen,
        "articles": TextPages(exact(texts), texts, slugs, names, list(range(len(names)))),
    }
    scores: list[float] = []

    def by_text(pages: TextPages) -> list[str]:
        found = decoded(predictor, pages, by_text=True)
        scores[:] = [score for _, score in found]
        return [slug for slug, _ in found]

    systems: dict[str, System] = {
        "vector and text": by_text,
        "vector alone": lambda pages: [slug for slug, _ in decoded(predictor, pages, False)],
        "text alone": text_alone(predictor, known),
        "TF-IDF": lambda pages: tfidf_keywords(pages.texts, training, WORDS),
        **{name: variants[name][n] for name, n in best.items()},
    }
    for name, pages in sets.items():
        made, milliseconds = timed(systems, pages)
        record["sets"][name] = {"milliseconds": milliseconds, **compare(made, pages, scores)}
    record["articles"] = {s: dict(zip(names, found, strict=True)) for s, found in made.items()}
    write_json(options.out, record) if options.out else print(record)


if __name__ == "__main__":
    main()
