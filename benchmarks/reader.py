"""MiniLM's graph beside its exact weights: cosines, and the slugs that either comes to.

Test pages are embedded from their texts, by both; slugs are made of either's vectors and re-ranked
by the same. The corpus is not in the repository.
Run: ``python benchmarks/reader.py --corpus FOLDER --out data/benchmarks/reader.json``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from machine import processor
from tqdm import tqdm

from vec2slug_lib import SlugPredictor, open_embedder
from vec2slug_lib.common.files import write_json
from vec2slug_lib.data import dataset
from vec2slug_lib.evaluation.intervals import compare, summarise
from vec2slug_lib.evaluation.metrics import token_overlap
from vec2slug_lib.experiments.text_pages import pages_of


def main() -> None:
    """Embed, decode and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, help="folder of parquet with id and text")
    parser.add_argument("--rows", type=int, default=2_000)
    parser.add_argument("--out", type=Path, help="record to write")
    options = parser.parse_args()
    if options.corpus is None:  # as `make bench` runs it
        print("the texts of the test pages are not in the repository: --corpus FOLDER has them")
        return
    rows = dataset.load().part("test").sample(options.rows)
    pages = pages_of(rows, options.corpus)
    texts, topics = pages.texts, pages.topics
    vectors, slugs = {}, {}
    for name, exact in (("exact", True), ("graph", False)):
        embedder = open_embedder(rows.embedder, exact=exact)
        vectors[name] = embedder.embed(texts)
        predictor = SlugPredictor.from_dir(embedder=embedder)
        with tqdm(total=len(texts), desc=name) as bar:
            slugs[name] = predictor.predict(vectors[name], bar.update)
    f1 = {name: token_overlap(found, rows.slugs)[2] for name, found in slugs.items()}
    cosines = (vectors["exact"] * vectors["graph"]).sum(axis=1)
    record = {
        "processor": processor(),
        "rows": len(texts),
        "cosine": {"mean": float(cosines.mean()), "least": float(cosines.min())},
        "same_slugs": float(np.mean([a == b for a, b in zip(*slugs.values(), strict=True)])),
        "token_f1": summarise(f1, topics),
        "difference": compare({"token_f1": f1["graph"]}, {"token_f1": f1["exact"]}, topics),
    }
    print(record)
    if options.out:
        write_json(options.out, record)


if __name__ == "__main__":
    main()
