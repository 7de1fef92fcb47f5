"""Commands of ``vec2slug`` that make data: corpus, embed, data."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..common.errors import Vec2SlugError
from .options import add_embedder, counting_tokenizer, embed_file


def corpus(argv: Sequence[str]) -> int:
    """Build a corpus: ``vec2slug corpus build SOURCE --out FOLDER``."""
    parser = argparse.ArgumentParser("vec2slug corpus")
    parser.add_argument("action", choices=["build"])
    parser.add_argument(
        "source", help="fineweb-edu, or a folder or file of parquet, JSON lines or Markdown"
    )
    parser.add_argument("--out", type=Path, default=Path("work/corpus"))
    parser.add_argument(
        "--skip-bad", action="store_true", help="go on past broken files, listed in skipped.jsonl"
    )
    titles = "keep pages without a slug in their address, labelled by their title"
    parser.add_argument("--titles", action="store_true", help=titles)
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
    how = {"skip_bad": options.skip_bad, "titles": options.titles}
    funnel = build(options.source, options.out, tokenizer, options.workers, place, **how)
    for step in funnel["steps"]:
        print(f"{step['name']:16} {step['kept']:>10,}")
    say_skipped(funnel, options.out / "skipped.jsonl")
    return 0


def say_skipped(funnel: dict[str, Any], listed: Path) -> None:
    """Say on stderr how many rows and files of a corpus could not be read, and why."""
    rows = funnel["steps"][1]["dropped"]  # of the first filter, which drops what is not readable
    for what, counts in (("rows could not be read", rows), ("files left out", funnel["left_out"])):
        if counts:
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in counts.items())
            total = sum(counts.values())
            print(f"vec2slug: {total:,} {what}: {reasons}; see {listed}", file=sys.stderr)


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
    """Build the data folder from corpus and vectors: ``vec2slug data build``.

    Or, of a corpus that has them, the pages of sources that are left out: ``data left-out``.
    """
    parser = argparse.ArgumentParser("vec2slug data")
    actions = parser.add_subparsers(dest="action", required=True)
    build = actions.add_parser("build", help="split pairs and vectors into the data folder")
    build.set_defaults(run=build_data)
    build.add_argument("--corpus", type=Path, default=Path("work/corpus"))
    build.add_argument("--vectors", type=Path, default=Path("work/vectors.npy"))
    build.add_argument("--out", type=Path, default=Path("data"))
    build.add_argument("--pairs", type=int, default=80_000)
    others = actions.add_parser("left-out", help="add pages of sources that are left out")
    others.set_defaults(run=build_left_out)
    others.add_argument("--corpus", type=Path, help="default: where train --corpus leaves it")
    options = parser.parse_args(argv)
    return int(options.run(options))


def build_data(options: argparse.Namespace) -> int:
    """Build the data folder."""
    from ..data.build import build
    from ..embedding.job import read_bad
    from ..embedding.registry import embedder_key
    from ..inference.vector_files import read_vectors

    documents, funnel = options.corpus / "documents.parquet", options.corpus / "funnel.json"
    vectors, note = read_vectors(options.vectors), read_note(options.vectors)
    skipped, embedder = read_bad(options.vectors), embedder_key(note["embedder"])
    made_of = note["documents_sha256"]
    out, pairs = options.out, options.pairs
    card = build(documents, vectors, funnel, out, pairs, embedder, made_of, skipped)
    print(f"{card['pairs']:,} pairs in {options.out}")
    return 0


def build_left_out(options: argparse.Namespace) -> int:
    """Embed the pages of sources that are left out, and write them into the data folder."""
    from ..data import left_out
    from ..data.dataset import load
    from ..data.wide import wide_folder
    from ..embedding.registry import open_embedder

    data = load()
    embedder = open_embedder(data.embedder, exact=True)
    documents = (options.corpus or wide_folder()) / "documents.parquet"
    pages = left_out.build_left_out(documents, data, embedder)
    print(f"{len(pages.pairs):,} pairs in {left_out.left_out_folder()}")
    return 0


def read_note(vectors: Path) -> dict[str, str]:
    """Read what is written beside vectors: their embedder, and the hash of their documents.

    Raises:
        Vec2SlugError: there is no such file, or it says neither.
    """
    from ..common.files import read_json
    from ..embedding.job import manifest_of

    note = read_json(manifest_of(vectors))
    wanted = ("embedder", "documents_sha256")
    if not (isinstance(note, dict) and all(isinstance(note.get(key), str) for key in wanted)):
        names = " and ".join(wanted)
        raise Vec2SlugError(f"expected {names} in {manifest_of(vectors)}, as `embed` writes them")
    return note
