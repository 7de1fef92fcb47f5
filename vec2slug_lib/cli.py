"""The ``vec2slug`` command: slugs from text or vectors, and every step of the book.

Heavy packages are imported by the command that needs them, so that a slug comes quickly.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .errors import Vec2SlugError

if TYPE_CHECKING:
    from .embedding import Embedder
    from .inference import SlugPredictor

USAGE = """vec2slug "some text" ["another text" ...]     one slug a text
       vec2slug --vectors file.npy                 one slug a row
       vec2slug --vectors file.npy --out slugs.jsonl    of any length; resumes
       vec2slug COMMAND --help                     corpus, embed, data, train, export,
                                                   baseline, sweep"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (2 for bad input, with one line on stderr)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    commands = {
        "corpus": corpus, "embed": embed, "data": data,
        "train": train, "export": export, "baseline": baseline, "sweep": sweep,
    }  # fmt: skip
    try:
        if arguments and arguments[0] in commands:
            return commands[arguments[0]](arguments[1:])
        return generate(arguments)
    except Vec2SlugError as error:
        print(f"vec2slug: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("vec2slug: interrupted; what is done is kept, run it again to go on", file=sys.stderr)
        return 130
    except BrokenPipeError:  # such as `vec2slug ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def generate(argv: Sequence[str]) -> int:
    """``vec2slug TEXT ...`` and ``vec2slug --vectors FILE [--out FILE]``."""
    from .inference import with_hash

    options = slug_options(argv)
    embedder = functools.cache(lambda: make_embedder("minilm"))
    if options.vectors:
        vectors = read_vectors(options.vectors)
    else:
        texts = [sys.stdin.read() if text == "-" else text for text in options.texts]
        vectors = embedder().embed(texts)
    predictor = open_predictor(options, embedder)
    if options.out:
        return write_file(options, predictor, vectors)
    with progress_bar(len(vectors)) as bar:
        found = predictor.predict_topk(vectors, options.top_k, bar.update)
    for row, candidates in enumerate(found):
        key = vectors[row].tobytes() if options.vectors else texts[row].encode()
        for slug, score in candidates:
            name = with_hash(slug, key) if options.unique else slug
            print(name if options.top_k == 1 else f"{name}\t{score:.3f}")
        if options.top_k > 1 and len(found) > 1:
            print()
    return 0


def write_file(
    options: argparse.Namespace, predictor: SlugPredictor, vectors: npt.NDArray[Any]
) -> int:
    """One JSON line a row; a second call goes on where the first was stopped."""
    from .files import file_sha256
    from .slug_file import write_slugs

    told = (options.vectors, options.vectors.stat().st_mtime_ns, options.index, options.fast)
    asked = [*map(str, told), options.precision, file_sha256(options.model / "model.json")]
    with progress_bar(len(vectors)) as bar:
        write_slugs(
            predictor, vectors, options.out, asked, options.top_k, options.unique, bar.update
        )
    return 0


def slug_options(argv: Sequence[str]) -> argparse.Namespace:
    """Options of :func:`generate`."""
    from .inference import DEFAULT_MODEL

    parser = argparse.ArgumentParser("vec2slug", usage=USAGE, description="Slugs from embeddings.")
    parser.add_argument("texts", nargs="*", help="texts; - reads one from standard input")
    parser.add_argument("--vectors", type=Path, help=".npy file [N, width], one slug a row")
    parser.add_argument("--top-k", type=int, default=1, help="candidates, with their scores")
    parser.add_argument("--unique", action="store_true", help="append a short stable hash")
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL, help="release folder")
    parser.add_argument("--precision", choices=("float32", "int8"), default="float32")
    parser.add_argument("--fast", action="store_true", help="do not proofread")
    parser.add_argument("--out", type=Path, help="write JSON lines, and go on with what is there")
    parser.add_argument(
        "--index", type=Path, help="data folder: slugs of its nearest pages have a say too"
    )
    options = parser.parse_args(argv)
    if bool(options.texts) == bool(options.vectors):
        raise Vec2SlugError('expected a text or --vectors FILE, such as: vec2slug "Some text"')
    if options.out and not options.vectors:
        raise Vec2SlugError("expected --vectors FILE beside --out")
    if options.top_k < 1:
        raise Vec2SlugError(f"expected --top-k of 1 or more, got {options.top_k}")
    return options


def open_predictor(options: argparse.Namespace, embedder: Callable[[], Embedder]) -> SlugPredictor:
    """A release with the witnesses that it can hear: known slugs, and the embedder proofreading."""
    from .inference import Sidecar, SlugPredictor

    known = None
    if options.index:
        from .dataset import load
        from .retrieval import Index

        known = Index.of(load(options.index).part("train"))
    sidecar = Sidecar.load(options.model / "model.json")
    # The embedder is asked for only if the model can weigh its word: it takes a second to load.
    proof = not options.fast and sidecar.risk and sidecar.input_dim == embedder().dimensions
    read = embedder().embed if proof else None
    threads = 1 if options.vectors else os.cpu_count() or 1
    return SlugPredictor.from_dir(options.model, options.precision, known, read, threads)


def progress_bar(total: int) -> Any:
    """Bar on stderr for work of more than a moment; silent for a few rows or in a pipe."""
    from tqdm import tqdm

    return tqdm(total=total, unit="slug", disable=None if total > 100 else True)


def read_vectors(path: Path) -> npt.NDArray[np.float32]:
    """Vectors of a ``.npy`` file, left on the disk; the predictor checks them.

    Raises:
        Vec2SlugError: the file is missing, empty, truncated or not a plain numeric array.
    """
    try:
        return np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except FileNotFoundError as error:
        raise Vec2SlugError(f"expected vectors at {path}, found no file") from error
    except (ValueError, EOFError, OSError) as error:
        raise Vec2SlugError(f"expected a .npy array of numbers in {path}, but: {error}") from error


def make_embedder(name: str, model: str | None = None, base_url: str | None = None) -> Embedder:
    """Embedder by name: ``minilm`` (local) or ``openai`` (any compatible server)."""
    if name == "minilm":
        from .minilm import MiniLMEmbedder

        return MiniLMEmbedder()
    from .openai_embedder import OpenAIEmbedder

    return OpenAIEmbedder(model=model or "text-embedding-3-small", base_url=base_url)


def corpus(argv: Sequence[str]) -> int:
    """``vec2slug corpus build SOURCE --out FOLDER``."""
    parser = argparse.ArgumentParser("vec2slug corpus")
    parser.add_argument("action", choices=["build"])
    parser.add_argument(
        "source", help="fineweb-edu, or a folder or file of parquet, JSON lines or Markdown"
    )
    parser.add_argument("--out", type=Path, default=Path("work/corpus"))
    parser.add_argument("--tokenizer", type=Path, help="tokenizer.json that counts tokens")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(argv)
    from .corpus import build

    if options.tokenizer is None:
        from .minilm import model_folder

        options.tokenizer = model_folder() / "tokenizer.json"
    funnel = build(options.source, options.out, options.tokenizer, options.workers)
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
    options = parser.parse_args(argv)
    from .embedding import embed_documents, manifest_of

    frame = read_documents(options.documents)
    ids, texts = frame["id"].tolist(), frame["text"].tolist()
    if options.batch and options.embedder != "openai":
        raise Vec2SlugError("expected --embedder openai beside --batch")
    begun = manifest_of(options.out).exists()
    price = options.price / 2 if options.batch else options.price
    if options.embedder == "openai" and not begun and not agreed(texts, price, options.yes):
        return 1
    embedder = make_embedder(options.embedder, options.model, options.base_url)
    if options.batch:
        from .openai_batch import BatchJob

        BatchJob(ids, texts, embedder, options.out).run(options.wait)  # type: ignore[arg-type]
    else:
        embed_documents(ids, texts, embedder, options.out)
    print(f"{len(frame):,} vectors of {embedder.name} in {options.out}")
    if cut := getattr(embedder, "truncated", 0):
        print(f"{cut:,} texts were over the model's limit and were cut")
    return 0


def agreed(texts: Sequence[str], price: float, yes: bool) -> bool:
    """Whether the user agrees to what embedding will cost, at ``price`` dollars a million tokens.

    Raises:
        Vec2SlugError: there is nobody to ask.
    """
    from .openai_embedder import cut

    # English prose has about four bytes a token; the server's own count is what is paid.
    tokens = sum(len(cut(text).encode()) for text in texts) / 4
    print(
        f"{len(texts):,} texts, about {tokens / 1e6:.2f} million tokens: "
        f"about {price * tokens / 1e6:.2f} dollars",
        file=sys.stderr,
    )
    if yes:
        return True
    if not sys.stdin.isatty():
        raise Vec2SlugError("expected --yes, as there is nobody to ask")
    return input("Go on? [y/N] ").strip().lower() in ("y", "yes")


def data(argv: Sequence[str]) -> int:
    """``vec2slug data build``: the data folder from corpus and vectors."""
    parser = argparse.ArgumentParser("vec2slug data")
    parser.add_argument("action", choices=["build"])
    parser.add_argument("--corpus", type=Path, default=Path("work/corpus"))
    parser.add_argument("--vectors", type=Path, default=Path("work/vectors.npy"))
    parser.add_argument("--out", type=Path, default=Path("data"))
    parser.add_argument("--pairs", type=int, default=80_000)
    options = parser.parse_args(argv)
    from .dataset_build import build

    documents, funnel = options.corpus / "documents.parquet", options.corpus / "funnel.json"
    card = build(documents, read_vectors(options.vectors), funnel, options.out, options.pairs)
    print(f"{card['pairs']:,} pairs in {options.out}")
    return 0


def train(argv: Sequence[str]) -> int:
    """``vec2slug train EXPERIMENT`` or ``vec2slug train --all``, in a preset."""
    parser = argparse.ArgumentParser("vec2slug train")
    parser.add_argument(
        "experiments", nargs="*", help="ids in the table, such as 3i, or 3h+max_slug_tokens=16"
    )
    parser.add_argument("--all", action="store_true", help="every experiment of the table")
    parser.add_argument("--preset", default="book")
    parser.add_argument("--retrain", action="store_true", help="even if the record is there")
    parser.add_argument("--jobs", type=int, default=1, help="trainings side by side")
    options = parser.parse_args(argv)
    from . import pipeline
    from .batch import train_many
    from .experiments import EXPERIMENTS

    if bool(options.experiments) == options.all:
        raise Vec2SlugError("expected experiments or --all, such as: vec2slug train 3i")
    names = list(EXPERIMENTS) if options.all else options.experiments
    if len(names) > 1:
        train_many(names, options.preset, options.retrain, options.jobs)
    for name in names:
        run = pipeline.record(name, options.preset, options.retrain and len(names) == 1)
        print(name)
        for metric, found in run.metrics.items():
            print(f"  {metric:20} {found['value']:.3f}  [{found['low']:.3f}, {found['high']:.3f}]")
    return 0


def export(argv: Sequence[str]) -> int:
    """``vec2slug export RUN FOLDER``, and ``vec2slug export FOLDER`` of a release."""
    parser = argparse.ArgumentParser("vec2slug export")
    parser.add_argument("run", nargs="?", help="experiment whose trained run is released")
    parser.add_argument("folder", type=Path, help="release folder; alone, its graphs are made anew")
    parser.add_argument("--preset", default="book")
    options = parser.parse_args(argv)
    from .export import export_graphs, release
    from .runs import open_run

    if options.run:
        release(open_run(options.run, options.preset), options.folder)
    manifest = export_graphs(options.folder)
    for name, found in manifest["graphs"].items():
        size, difference = found["bytes"] / 1e6, found["max_difference"]
        agreement = f"{found['argmax_agreement']:.2%} of the argmaxes"
        print(f"{name:22} {size:6.1f} MB, within {difference:.1e} of torch, {agreement}")
    print(f"released in {options.folder}")
    return 0


def baseline(argv: Sequence[str]) -> int:
    """``vec2slug baseline llm DOCUMENTS --model NAME``: a chat model's slugs, resumable."""
    parser = argparse.ArgumentParser("vec2slug baseline")
    parser.add_argument("kind", choices=["llm"])
    parser.add_argument("documents", type=Path, help="parquet with id and text, perhaps slug")
    parser.add_argument("--model", required=True, help="chat model, as the server knows it")
    parser.add_argument("--base-url", help="address of an OpenAI-compatible server")
    parser.add_argument("--rows", type=int, default=200, help="pages to ask for, the first ones")
    parser.add_argument("--out", type=Path, default=Path("work/llm.jsonl"))
    parser.add_argument("--input-price", type=float, default=0.8, help="dollars a million tokens")
    parser.add_argument("--output-price", type=float, default=4.0)
    options = parser.parse_args(argv)
    from .chat_baseline import ChatSlugs, ask_all, summary
    from .evaluation import summarise, token_overlap

    frame = read_documents(options.documents, "slug").head(options.rows)
    chat = ChatSlugs(options.model, options.base_url)
    with progress_bar(len(frame)) as bar:
        names, texts = frame["id"].astype(str).tolist(), frame["text"].tolist()
        answers = ask_all(chat, names, texts, options.out, bar.update)
    for name, value in summary(answers, options.input_price, options.output_price).items():
        print(f"{name:22} {value:10.4f}")
    if "slug" in frame:
        f1 = token_overlap([answer.slug for answer in answers], frame["slug"].tolist())[2]
        found = summarise({"token_f1": f1})["token_f1"]
        print(f"{'token_f1':22} {found['value']:10.4f}  [{found['low']:.3f}, {found['high']:.3f}]")
    return 0


def sweep(argv: Sequence[str]) -> int:
    """``vec2slug sweep NOTEBOOK -p name=value,value ...``; 1 if a cell of the grid failed."""
    from tqdm import tqdm

    from . import sweep as sweeps

    parser = argparse.ArgumentParser("vec2slug sweep", description=sweep.__doc__)
    parser.add_argument("notebook", type=Path)
    parser.add_argument("-p", action="append", default=[], dest="grid", metavar="NAME=VALUE,…")
    parser.add_argument("--jobs", type=int, default=1, help="notebooks that run at a time")
    where = "default: sweeps/NOTEBOOK; goes on with what is there"
    parser.add_argument("--out", type=Path, help=where)
    options = parser.parse_args(argv)
    out = options.out or Path("sweeps") / options.notebook.stem
    cells = sweeps.grid(options.grid)
    with tqdm(total=len(cells), unit="cell", disable=None) as bar:
        found = sweeps.sweep(options.notebook, cells, out, options.jobs, bar.update)
    for name, message in found.failed.items():
        print(f"vec2slug: {name} failed: {message}", file=sys.stderr)
    print(f"{len(found.table)} of {len(cells)} cells in {out / 'sweep.parquet'}")
    return 1 if found.failed else 0


def read_documents(path: Path, *others: str) -> Any:
    """Table of documents with the columns id and text, and those of the others that are there.

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


if __name__ == "__main__":
    sys.exit(main())
