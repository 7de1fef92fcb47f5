"""Commands of ``vec2slug`` that make data: corpus, embed, data."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from .options import add_embedder, counting_tokenizer, embed_file, read_vectors


def corpus(argv: Sequence[str]) -> int:
    """Build a corpus: ``vec2slug corpus build SOURCE --out FOLDER``."""
    parser = argparse.ArgumentParser("vec2slug corpus")
    parser.add_argument("action", choices=["build"])
    parser.add_argument(
        "source", help="fineweb-edu, or a folder or file of parquet, JSON lines or Markdown"
    )
    parser.add_argument("--out", type=Path, default=Path("work/corpus"))
    parser.add_argument("--tokenizer", type=Path, help="tokenizer.json that counts tokens")
    parser.add_argument("--executor", choices=["local", "ray", "slurm"], default="local")
    parser.add_argument("--workers", type=int, help="shards at a time, here or under Slurm")
    parser.add_argument("--address", help="of a Ray cluster, or auto; default: one is started here")
    parser.add_argument("--partition", default="", help="of Slurm")
    parser.add_argument("--time", default="24:00:00", help="Slurm's limit for one shard")
    options = parser.parse_args(argv)
    from ..data.corpus import build
    from ..data.executors import ExecutorConfig

    tokenizer = counting_tokenizer(options.tokenizer)
    place = ExecutorConfig(options.executor, options.address, options.partition, options.time)
    funnel = build(options.source, options.out, tokenizer, options.workers, place)
    for step in funnel["steps"]:
        print(f"{step['name']:16} {step['kept']:>10,}")
    return 0


def embed(argv: Sequence[str]) -> int:
    """Embed documents: ``vec2slug embed DOCUMENTS --out FILE``."""
    parser = argparse.ArgumentParser("vec2slug embed")
    parser.add_argument("documents", type=Path, help="parquet with the columns id and text")
    parser.add_argument("--out", type=Path, default=Path("work/vectors.npy"))
    add_embedder(parser)
    parser.add_argument("--batch", action="store_true", help="OpenAI's Batch API: half the price")
    options = parser.parse_args(argv)
    return 0 if embed_file(options, options.documents, options.out, options.batch) else 1


def data(argv: Sequence[str]) -> int:
    """Build the data folder from corpus and vectors: ``vec2slug data build``."""
    parser = argparse.ArgumentParser("vec2slug data")
    parser.add_argument("action", choices=["build"])
    parser.add_argument("--corpus", type=Path, default=Path("work/corpus"))
    parser.add_argument("--vectors", type=Path, default=Path("work/vectors.npy"))
    parser.add_argument("--out", type=Path, default=Path("data"))
    parser.add_argument("--pairs", type=int, default=80_000)
    options = parser.parse_args(argv)
    from ..common.files import read_json
    from ..data.build import build
    from ..embedding.job import manifest_of
    from ..embedding.registry import embedder_key

    documents, funnel = options.corpus / "documents.parquet", options.corpus / "funnel.json"
    vectors, note = read_vectors(options.vectors), read_json(manifest_of(options.vectors))
    embedder = embedder_key(note["embedder"])
    card = build(documents, vectors, funnel, options.out, options.pairs, embedder)
    print(f"{card['pairs']:,} pairs in {options.out}")
    return 0
