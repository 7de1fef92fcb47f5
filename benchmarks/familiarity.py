"""How surely another embedder's vectors are told from the released model's own.

Own vectors are of held-out sources and of texts unlike any page: slugs, single words, other
languages, code, noise. Strange ones are made of them (rotated, permuted), of MiniLM's own word
vectors, of nothing (noise), or given. Run:
``python benchmarks/familiarity.py --strange a.npz b.npy --out data/benchmarks/familiarity.json``
(each file is cut to the model's width, and projected to it); prints the rates of warnings.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import safetensors.numpy
import spacy.lang
from tokenizers import Tokenizer

from vec2slug_lib import open_embedder
from vec2slug_lib.common.files import write_json
from vec2slug_lib.common.slugs import words
from vec2slug_lib.common.vectors import Doubles, Floats, check_vectors
from vec2slug_lib.data import dataset
from vec2slug_lib.embedding.wordpiece import weights_folder
from vec2slug_lib.inference.familiarity import STRANGERS, TrainingVectors
from vec2slug_lib.inference.release_folder import DEFAULT_MODEL
from vec2slug_lib.inference.vector_files import read_vectors
from vec2slug_lib.release.training_vectors import held_out_distances

SIZES = (1, 10, 100)  # rows of a job
DRAWS = 5_000  # jobs of each size
TEXTS = 1_000  # of a kind, at most
LETTERS = "abcdefghijklmnopqrstuvwxyz "


def foreign_sentences() -> list[str]:
    """Sentences of all languages but English that spaCy has examples of."""
    sentences = []
    for module in pkgutil.iter_modules(spacy.lang.__path__):
        try:
            examples = importlib.import_module(f"spacy.lang.{module.name}.examples")
        except ImportError:  # none, or a language that needs more packages
            continue
        sentences += [] if module.name == "en" else examples.sentences
    return [sentence for sentence in sentences if sentence.strip()]


def source_code() -> list[str]:
    """Pieces of Python's own library."""
    files = sorted(Path(json.__file__).parents[1].glob("*.py"))
    texts = [file.read_text(encoding="utf-8", errors="ignore") for file in files]
    pieces = [text[i : i + 800] for text in texts for i in range(0, min(len(text), 8_000), 2_000)]
    return [piece for piece in pieces if piece.strip()]


def odd_texts(rng: np.random.Generator) -> list[str]:
    """Letters and digits at random."""
    letters = ["".join(rng.choice(list(LETTERS), rng.integers(5, 80))) for _ in range(150)]
    return letters + [str(number) for number in rng.integers(0, 10**12, 100)]


def own_texts(corpus: Path | None, rng: np.random.Generator) -> dict[str, list[str]]:
    """Texts by kind, none of them like the pages of training; titles only of a corpus."""
    pairs = dataset.load().pairs.sample(TEXTS, random_state=0)
    slugs = pairs["slug"].tolist()
    texts = {
        "slugs as words": [slug.replace("-", " ") for slug in slugs],
        "slugs": slugs,
        "addresses": pairs["url"].tolist(),
        "single words": sorted({word for slug in slugs for word in words(slug)}),
        "other languages": foreign_sentences(),
        "source code": source_code(),
        "random letters and digits": odd_texts(rng),
    }
    if corpus:
        files = sorted(corpus.glob("*.parquet")) if corpus.is_dir() else [corpus]
        frame = pd.concat(pd.read_parquet(file, columns=["title"]) for file in files)
        texts["titles"] = [title for title in frame["title"].dropna() if len(title) > 3]
    return {kind: some(list_, rng) for kind, list_ in texts.items()}


def some(texts: list[str], rng: np.random.Generator) -> list[str]:
    """At most TEXTS of them."""
    return [texts[i] for i in rng.permutation(len(texts))[:TEXTS]]


def token_means(texts: list[str]) -> Floats:
    """Means of MiniLM's vectors of tokens, before any layer."""
    folder = weights_folder()
    weights = safetensors.numpy.load_file(folder / "model.safetensors")
    table = weights["embeddings.word_embeddings.weight"]
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return np.stack([table[tokenizer.encode(text).ids].mean(axis=0) for text in texts])


def strange_vectors(
    own: Floats, texts: list[str], files: list[Path], rng: np.random.Generator
) -> Iterator[tuple[str, Floats]]:
    """Vectors ``[N, width]`` of embedders that are not the model's, by name."""
    width = own.shape[1]
    yield "MiniLM's, rotated", own @ np.linalg.qr(rng.normal(size=(width, width)))[0]
    yield "MiniLM's, in another order", own[:, rng.permutation(width)]
    yield "means of MiniLM's tokens", token_means(texts)
    yield "Gaussian noise", rng.normal(size=own.shape)
    for file in files:
        rows = check_vectors(read_vectors(file)[:2000])
        yield f"{file.stem}{', cut' * (rows.shape[1] > width)}", rows[:, :width]
        if rows.shape[1] > width:
            yield f"{file.stem}, projected", rows @ rng.normal(size=(rows.shape[1], width))


def summary(distances: Doubles, limit: float, rng: np.random.Generator) -> dict[str, Any]:
    """Count rows, and tell how often a job of some of them is warned of."""
    beyond = distances > limit
    rates = {str(n): alarms(beyond, n, rng) for n in SIZES}
    return {"rows": len(distances), "median": float(np.median(distances)), "warned": rates}


def alarms(beyond: np.ndarray, size: int, rng: np.random.Generator) -> float:
    """Share of jobs of ``size`` rows that are warned of."""
    if size == 1:
        return float(beyond.mean())
    drawn = beyond[rng.integers(0, len(beyond), (DRAWS, size))]
    return float((drawn.mean(axis=1) > STRANGERS).mean())


def milliseconds(work: Callable[[], object], rows: int) -> float:
    """Time of a row, the fastest of 20 calls."""
    times = []
    for _ in range(20):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return 1000 * min(times) / rows


def main() -> None:
    """Measure every kind, print a table and write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--corpus", type=Path, help="parquet with a column title")
    parser.add_argument("--strange", type=Path, nargs="*", default=[], help="files of vectors")
    parser.add_argument("--out", type=Path, help="record to write")
    options = parser.parse_args()
    rng, training, data = (
        np.random.default_rng(0),
        TrainingVectors.load(DEFAULT_MODEL),
        dataset.load(),
    )
    assert training is not None
    train, test = data.part("train"), data.part("test")
    texts = own_texts(options.corpus, rng)
    embed = open_embedder("minilm", exact=True).embed
    own = {
        "held-out sources": held_out_distances(train.vectors, train.pairs["source"].tolist()),
        "test pages": training.distances(test.vectors),
        **{kind: training.distances(embed(list_)) for kind, list_ in texts.items()},
    }
    strange = strange_vectors(test.vectors[:2000], texts["source code"], options.strange, rng)
    record = {
        "limit": training.limit,
        "own": {kind: summary(d, training.limit, rng) for kind, d in own.items()},
        "strange": {
            name: summary(training.distances(rows), training.limit, rng) for name, rows in strange
        },
        "milliseconds_a_row": {
            str(n): milliseconds(lambda n=n: training.distances(test.vectors[:n]), n)
            for n in (1, 1000)
        },
    }
    print(f"limit {training.limit:.3g}; milliseconds a row: {record['milliseconds_a_row']}")
    for group in ("own", "strange"):
        frame = pd.DataFrame(record[group]).T
        rates = pd.DataFrame(frame.pop("warned").tolist(), index=frame.index).add_prefix("of ")
        print(f"\n{group}: share of jobs that are warned of")
        print(frame.join(rates).to_string(float_format="{:.4f}".format))
    if options.out:
        write_json(options.out, record)


if __name__ == "__main__":
    main()
