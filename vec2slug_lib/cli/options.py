"""What the commands of ``vec2slug`` read and show alike."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ..common.errors import Vec2SlugError
from ..embedding.base import Embedder, text_fault
from ..embedding.registry import DEFAULT, EMBEDDERS, find_embedder, open_embedder

SILENT = 100  # rows that need no bar

if TYPE_CHECKING:
    from ..evaluation.llm_baseline import Answer, ChatSlugs
    from ..inference.release_folder import Precision


def progress_bar(total: int | None) -> Any:
    """Show a bar on stderr for work of more than a moment; silent for a few rows or in a pipe.

    Args:
        total: of the work; None if it is not known.
    """
    if total is not None and total <= SILENT:
        return nullcontext(SimpleNamespace(update=lambda _: None))  # tqdm takes long to import
    from tqdm import tqdm

    return tqdm(total=total, unit="slug", disable=None)


def make_graphs(folder: Path, precision: Precision) -> None:
    """Make the graph of a release on first use, of its weights.

    Raises:
        Vec2SlugError: the graph is not there, and torch, which makes it, is not installed.
    """
    from ..inference.release_folder import lacks_graph
    from ..inference.steppers import PLAIN

    if not lacks_graph(folder, precision):
        return
    try:
        from ..release.release import export_graphs
    except ImportError as error:
        if precision == "float32" and (folder / PLAIN).is_file():
            return
        how = 'to make it from the weights: pip install "vec2slug[train]"'
        raise Vec2SlugError(f"expected a graph in {folder}, found none: {how}") from error
    export_graphs(folder)


def read_documents(path: Path, *others: str) -> Any:
    """Read documents with the columns id and text, and those of the others that are there.

    Raises:
        Vec2SlugError: no parquet file with these columns.
    """
    import pandas as pd
    from pyarrow.parquet import read_schema

    try:
        wanted = ["id", "text", *(name for name in others if name in read_schema(path).names)]
        return pd.read_parquet(path, columns=wanted)
    except (OSError, ValueError) as error:
        raise Vec2SlugError(f"expected id and text in {path}, but: {error}") from error


def counting_tokenizer(path: Path | None) -> Path:
    """Return the tokenizer that counts a document's tokens: MiniLM's, if none is named."""
    from ..embedding.wordpiece import tokenizer_path

    return path or tokenizer_path()


def add_embedder(parser: argparse.ArgumentParser, default: str = DEFAULT) -> None:
    """Add the options that choose an embedder, and what it may cost."""
    names = ", ".join(EMBEDDERS)
    parser.add_argument("--embedder", default=default, help=f"{names}; or openai with --model")
    parser.add_argument("--model", help="model of an OpenAI-compatible server")
    parser.add_argument("--dimensions", type=int, help="width, of a model that offers several")
    parser.add_argument(
        "--batch-size", type=int, help="texts of a request to a server; default 500"
    )
    parser.add_argument("--price", type=float, default=0.02, help="dollars a million tokens")
    parser.add_argument("--wait", type=float, default=60, help="seconds between looks at a batch")
    parser.add_argument("--skip-bad", action="store_true", help="go on without bad texts")
    parser.add_argument("--yes", action="store_true", help="do not ask before it costs anything")
    add_server(parser)


def add_server(parser: argparse.ArgumentParser) -> None:
    """Add the options of every command that asks a server."""
    parser.add_argument("--base-url", help="address of an OpenAI-compatible server")
    parser.add_argument("--timeout", type=float, default=60, help="seconds to wait for an answer")


def add_chat(parser: argparse.ArgumentParser) -> None:
    """Add the options of every command that asks a chat model, but for the model's name."""
    tokens = "of an answer at most; a model that thinks first needs more; default 64"
    parser.add_argument("--answer-tokens", type=int, help=tokens)
    parser.add_argument("--input-price", type=float, default=0.8, help="dollars a million tokens")
    parser.add_argument("--output-price", type=float, default=4.0)
    parser.add_argument("--skip-bad", action="store_true", help="go on without pages of no answer")
    add_server(parser)


def open_chat(model: str, options: argparse.Namespace) -> ChatSlugs:
    """Set up the chat model that the options of `add_chat` are about."""
    from ..evaluation.llm_baseline import ChatSlugs

    return ChatSlugs(model, options.base_url, options.timeout, answer_tokens=options.answer_tokens)


def ask_chat(
    chat: ChatSlugs, names: Sequence[str], texts: Sequence[str], out: Path, skip_bad: bool
) -> list[Answer]:
    """Ask for all pages as `llm_baseline.ask_all`, with a bar; say what was skipped."""
    from ..embedding.job import bad_of, read_bad
    from ..evaluation.llm_baseline import ask_all

    with progress_bar(len(names)) as bar:
        answers = ask_all(chat, names, texts, out, bar.update, skip_bad)
    if skipped := len(read_bad(out)):
        print(f"vec2slug: skipped {skipped:,} pages, listed in {bad_of(out)}", file=sys.stderr)
    if chat.truncated:
        ended = f"{chat.truncated:,} answers ended at {chat.answer_tokens} tokens"
        print(f"vec2slug: {ended}: see --answer-tokens", file=sys.stderr)
    return answers


def is_local(name: str) -> bool:
    """Tell whether an embedder runs here, without a key and at no cost."""
    info = find_embedder(name)
    return info is not None and info.local


def open_as_asked(options: argparse.Namespace) -> Embedder:
    """Open the embedder that the options of `add_embedder` choose, of exact weights."""
    if is_local(options.embedder):
        return open_embedder(options.embedder, exact=True)
    names = ("base_url", "timeout", "dimensions", "batch_size")
    given = {name: getattr(options, name) for name in names}
    if options.embedder == "openai":
        given["model"] = options.model
    return open_embedder(options.embedder, **given)


def embed_file(options: argparse.Namespace, documents: Path, out: Path, batch: bool) -> bool:
    """Embed the texts of a parquet file, once the user agrees to the cost; False if not.

    Raises:
        Vec2SlugError: a batch of a local embedder; or as the embedder and its job.
    """
    from ..common.parquet import open_documents
    from ..embedding.job import bad_of, embed_documents, manifest_of

    ids, texts = open_documents(documents)
    local = is_local(options.embedder)
    if batch and local:
        raise Vec2SlugError("expected --embedder openai beside --batch")
    price = options.price / 2 if batch else options.price
    if not local and not manifest_of(out).exists() and not agreed(texts, price, options.yes):
        return False
    embedder = open_as_asked(options)
    if batch:
        from ..embedding.openai_batch import BatchJob

        job = BatchJob(ids, texts, embedder, out, options.skip_bad)  # type: ignore[arg-type]
        skipped = job.run(options.wait)
    else:
        skipped = embed_documents(ids, texts, embedder, out, options.skip_bad)
    print(f"{len(ids) - skipped:,} vectors of {embedder.name} in {out}")
    if skipped:
        print(f"vec2slug: skipped {skipped:,} bad texts, listed in {bad_of(out)}", file=sys.stderr)
    if truncated := getattr(embedder, "truncated", 0):
        print(f"{truncated:,} texts were over the model's limit and were cut")
    return True


def agreed(texts: Sequence[str], price: float, yes: bool) -> bool:
    """Ask whether the user agrees to what embedding will cost, at a price a million tokens.

    Raises:
        Vec2SlugError: there is nobody to ask.
    """
    from ..embedding.openai_embedder import cut

    # English prose has about four bytes a token; the server's own count is what is paid.
    tokens = sum(len(cut(text).encode()) for text in texts if not text_fault(text)) / 4
    return consent(
        f"{len(texts):,} texts, about {tokens / 1e6:.2f} million tokens: "
        f"about {price * tokens / 1e6:.2f} dollars",
        yes,
    )


def consent(cost: str, yes: bool) -> bool:
    """Say what something will cost, and whether the user agrees to it.

    Raises:
        Vec2SlugError: there is nobody to ask.
    """
    print(cost, file=sys.stderr)
    if yes:
        return True
    if not sys.stdin.isatty():
        raise Vec2SlugError("expected --yes, as there is nobody to ask")
    return input("Go on? [y/N] ").strip().lower() in ("y", "yes")
