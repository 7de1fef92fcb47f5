"""Commands of ``vec2slug`` that make data: corpus, embed, data."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..common.errors import Vec2SlugError
from .options import consent, counting_tokenizer, make_embedder, read_vectors


def corpus(argv: Sequence[str]) -> int:
    """``vec2slug corpus build SOURCE --out FOLDER``."""
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
    from ..data.executors import Place

    tokenizer = counting_tokenizer(options.tokenizer)
    place = Place(options.executor, options.address, options.partition, options.time)
    funnel = build(options.source, options.out, tokenizer, options.workers, place)
    for step in funnel["steps"]:
        print(f"{step['name']:16} {step['kept']:>10,}")
    return 0


def embed(argv: Sequence[str]) -> int:
    """``vec2slug embed DOCUMENTS --out FILE``."""
    parser = argparse.ArgumentParser("vec2slug embed")
    parser.add_argument("documents", type=Path, help="parquet with the columns id and text")
    parser.add_argument("--out", type=Path, default=Path("work/vectors.npy"))
    parser.add_argument("--embedder", choices=["minilm", "openai"], default="minilm")
    parser.add_argument("--model", help="model of an OpenAI-compatible server")
    parser.add_argument("--base-url", help="address of an OpenAI-compatible server")
    parser.add_argument("--batch", action="store_true", help="OpenAI's Batch API: half the price")
    parser.add_argument("--price", type=float, default=0.02, help="dollars a million tokens")
    parser.add_argument("--yes", action="store_true", help="do not ask before it costs anything")
    parser.add_argument("--wait", type=float, default=60, help="seconds between looks at a batch")
    parser.add_argument("--timeout", type=float, default=60, help="seconds to wait for an answer")
    options = parser.parse_args(argv)
    from ..common.parquet import open_documents
    from ..embedding.job import embed_documents, manifest_of

    ids, texts = open_documents(options.documents)
    if options.batch and options.embedder != "openai":
        raise Vec2SlugError("expected --embedder openai beside --batch")
    begun = manifest_of(options.out).exists()
    price = options.price / 2 if options.batch else options.price
    if options.embedder == "openai" and not begun and not agreed(texts, price, options.yes):
        return 1
    embedder = make_embedder(options.embedder, options.model, options.base_url, options.timeout)
    if options.batch:
        from ..embedding.openai_batch import BatchJob

        BatchJob(ids, texts, embedder, options.out).run(options.wait)  # type: ignore[arg-type]
    else:
        embed_documents(ids, texts, embedder, options.out)
    print(f"{len(ids):,} vectors of {embedder.name} in {options.out}")
    if cut := getattr(embedder, "truncated", 0):
        print(f"{cut:,} texts were over the model's limit and were cut")
    return 0


def agreed(texts: Sequence[str], price: float, yes: bool) -> bool:
    """Whether the user agrees to what embedding will cost, at ``price`` dollars a million tokens.

    Raises:
        Vec2SlugError: there is nobody to ask.
    """
    from ..embedding.openai_embedder import cut

    # English prose has about four bytes a token; the server's own count is what is paid.
    tokens = sum(len(cut(text).encode()) for text in texts) / 4
    return consent(
        f"{len(texts):,} texts, about {tokens / 1e6:.2f} million tokens: "
        f"about {price * tokens / 1e6:.2f} dollars",
        yes,
    )


def data(argv: Sequence[str]) -> int:
    """``vec2slug data build``: the data folder from corpus and vectors."""
    parser = argparse.ArgumentParser("vec2slug data")
    parser.add_argument("action", choices=["build"])
    parser.add_argument("--corpus", type=Path, default=Path("work/corpus"))
    parser.add_argument("--vectors", type=Path, default=Path("work/vectors.npy"))
    parser.add_argument("--out", type=Path, default=Path("data"))
    parser.add_argument("--pairs", type=int, default=80_000)
    options = parser.parse_args(argv)
    from ..common.files import read_json
    from ..data.build import build
    from ..data.dataset import short_name
    from ..embedding.job import manifest_of

    documents, funnel = options.corpus / "documents.parquet", options.corpus / "funnel.json"
    vectors, note = read_vectors(options.vectors), read_json(manifest_of(options.vectors))
    embedder = short_name(note["embedder"])
    card = build(documents, vectors, funnel, options.out, options.pairs, embedder)
    print(f"{card['pairs']:,} pairs in {options.out}")
    return 0
