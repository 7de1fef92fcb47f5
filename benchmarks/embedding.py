"""Documents embedded per second: our MiniLM in bfloat16 and float32, and sentence-transformers.

All three embed the same documents; repetitions alternate, so that a busy machine slows them alike.
Run: ``python benchmarks/embedding.py --corpus documents.parquet`` (a file or a folder of parquet
with a column ``text``); without a corpus, texts are drawn from the words of the slugs in ``data/``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from machine import processor
from sentence_transformers import SentenceTransformer

from vec2slug_lib.common.files import write_json
from vec2slug_lib.common.slugs import words
from vec2slug_lib.common.vectors import Floats
from vec2slug_lib.embedding.minilm import MiniLMEmbedder
from vec2slug_lib.embedding.wordpiece import weights_folder

PAIRS = Path(__file__).parents[1] / "data" / "pairs.parquet"
Embed = Callable[[Sequence[str]], Floats]


def corpus_texts(path: Path, count: int, seed: int = 0) -> list[str]:
    """Random documents of a corpus, in random order."""
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    frames = [pd.read_parquet(file, columns=["text"]) for file in files]
    texts = pd.concat(frames)["text"].dropna()
    return texts[texts.str.strip() != ""].sample(count, random_state=seed).tolist()


def drawn_texts(count: int, seed: int = 0) -> list[str]:
    """Texts of 20 to 400 random slug words: a stand-in of about the corpus's lengths."""
    rng = np.random.default_rng(seed)
    known = [
        word for slug in pd.read_parquet(PAIRS, columns=["slug"])["slug"] for word in words(slug)
    ]
    return [" ".join(rng.choice(known, rng.integers(20, 400))) for _ in range(count)]


def measure(embedders: dict[str, Embed], pieces: list[list[str]]) -> tuple[pd.DataFrame, dict]:
    """Speed of every embedder on every piece, and every embedder's vectors ``[N, 384]``."""
    times, vectors = [], {name: [] for name in embedders}
    for embed in embedders.values():
        embed(pieces[0][:50])  # first calls load and set up
    for number, piece in enumerate(pieces):
        for name, embed in embedders.items():
            wall, processor = time.perf_counter(), time.process_time()
            vectors[name].append(embed(piece))
            wall, processor = time.perf_counter() - wall, time.process_time() - processor
            times.append((name, number, len(piece) / wall, 1000 * processor / len(piece)))
    frame = pd.DataFrame(times, columns=["name", "piece", "speed", "processor"])
    return frame, {name: np.concatenate(parts) for name, parts in vectors.items()}


def main() -> None:
    """Time every embedder in turn and print medians, ratios and cosines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, help="parquet with a column text")
    parser.add_argument("--documents", type=int, default=600)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--out", type=Path, help="record to write")
    options = parser.parse_args()
    count = options.documents
    texts = corpus_texts(options.corpus, count) if options.corpus else drawn_texts(count)
    plain = SentenceTransformer(str(weights_folder()), device="cpu")
    embedders: dict[str, Embed] = {
        "bfloat16": MiniLMEmbedder("cpu", torch.bfloat16).embed,
        "float32": MiniLMEmbedder("cpu", torch.float32).embed,
        "sentence-transformers": lambda texts: plain.encode(texts, normalize_embeddings=True),
    }
    size = -(-count // options.repetitions)
    pieces = [texts[start : start + size] for start in range(0, count, size)]
    times, vectors = measure(embedders, pieces)
    print(f"{count} documents, {torch.get_num_threads()} threads")
    for name in embedders:
        mine = times[times["name"] == name]
        print(
            f"{name:22} {mine['speed'].median():7.1f} documents/s, "
            f"{mine['processor'].median():6.2f} processor seconds per 1,000"
        )
    by_piece = times.pivot(index="piece", columns="name", values="speed")
    for slower in ("float32", "sentence-transformers"):
        ratio = statistics.median(by_piece["bfloat16"] / by_piece[slower])
        cosines = np.einsum("nd,nd->n", vectors["bfloat16"], vectors[slower])
        print(
            f"bfloat16 / {slower}: {ratio:.2f} times as fast, "
            f"cosine mean {cosines.mean():.6f}, least {cosines.min():.6f}"
        )
    exact = np.einsum("nd,nd->n", vectors["float32"], vectors["sentence-transformers"])
    print(f"float32 / sentence-transformers: cosine least {exact.min():.6f}")
    if options.out:
        speed = times.groupby("name")["speed"].median().to_dict()
        facts = {"processor": processor(), "threads": torch.get_num_threads(), "documents": count}
        write_json(options.out, {**facts, "documents_a_second": speed})


if __name__ == "__main__":
    main()
