"""The ``vec2slug`` command: slugs from text or vectors, and every step of the book.

Heavy packages are imported by the command that needs them, so that a slug comes quickly.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from ..common.errors import Vec2SlugError
from ..common.slugs import UniqueSlugs
from ..common.vectors import check_shape, vector_key
from ..embedding.registry import open_embedder
from .door import leave, naming
from .options import make_graphs, progress_bar

if TYPE_CHECKING:
    from ..embedding.base import Embedder
    from ..inference.predictor import ReleaseConfig, SlugPredictor

USAGE = """vec2slug "some text" ["another text" ...]     one slug a text
       vec2slug --vectors file.npy                 one slug a row
       vec2slug --vectors file.npy --out slugs.jsonl    of any length; resumes
       vec2slug COMMAND --help                     corpus, embed, data, train, export,
                                                   baseline, sweep, generate, paper,
                                                   feasibility"""

# Module of each command, which has a function of its name.
COMMANDS = {
    "corpus": "data", "embed": "data", "data": "data",
    "train": "runs", "export": "runs", "baseline": "runs", "sweep": "runs",
    "generate": "runs", "paper": "paper", "feasibility": "paper",
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code, see `door` for those of errors."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if arguments and arguments[0] in COMMANDS:
            module = import_module(f".{COMMANDS[arguments[0]]}", __package__)
            return int(getattr(module, arguments[0])(arguments[1:]))
        return slugs(arguments)
    except KeyboardInterrupt:
        print("vec2slug: interrupted; what is done is kept, run it again to go on", file=sys.stderr)
        return 130
    except BrokenPipeError:  # such as `vec2slug ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return leave(error)


def slugs(argv: Sequence[str]) -> int:
    """Print slugs: ``vec2slug TEXT ...`` and ``vec2slug --vectors FILE [--out FILE]``."""
    options = slug_options(argv)
    embedder = functools.cache(open_embedder)
    stops: list[str] = []
    if options.vectors:
        from ..inference.vector_files import read_vectors

        vectors = read_vectors(options.vectors, options.skip_bad, stops)
    else:
        texts = [sys.stdin.read() if text == "-" else text for text in options.texts]
        vectors = embedder().embed(texts)

    def key(row: int) -> bytes:
        return vector_key(vectors[row]) if options.vectors else texts[row].strip().encode()

    predictor = open_predictor(options, embedder)
    with naming(options.vectors, stops), progress_bar(len(vectors)) as bar:
        if options.out:
            return write_file(options, predictor, vectors, bar.update)
        return print_slugs(options, predictor, vectors, key, bar.update)


def print_slugs(
    options: argparse.Namespace,
    predictor: SlugPredictor,
    vectors: npt.NDArray[Any],
    key: Callable[[int], bytes],
    progress: Callable[[int], object],
) -> int:
    """Print one slug a line as they come; of several candidates a paragraph a row, with scores."""
    check_shape(vectors, predictor.config.input_dim)
    names = UniqueSlugs() if options.unique else None
    found = predictor.stream(vectors, options.top_k, progress, skip_bad=options.skip_bad)
    skipped = []
    for row, candidates in enumerate(found):
        for slug, score in candidates:
            name = names.name(slug, key(row)) if names else slug
            print(name if options.top_k == 1 else f"{name}\t{score:.3f}")
        if not candidates:
            print()  # a line a row
            skipped.append(row)
        if options.top_k > 1 and len(vectors) > 1:
            print()
    if skipped:
        print(f"vec2slug: skipped {len(skipped)} bad rows: {skipped}", file=sys.stderr)
    return 0


def write_file(
    options: argparse.Namespace,
    predictor: SlugPredictor,
    vectors: npt.NDArray[Any],
    progress: Callable[[int], object],
) -> int:
    """Write one JSON line a row; a second call goes on where the first was stopped."""
    from ..common.files import file_sha256
    from ..inference.predictor import graph_path
    from ..inference.slug_file import write_slugs

    made_of = {
        "model_sha256": options.model / "model.json",
        "graph_sha256": graph_path(options.model, options.precision),
        **({"index_sha256": options.index / "pairs.parquet"} if options.index else {}),
    }
    job = {name: file_sha256(path) for name, path in made_of.items()}
    job["embedder"] = predictor.embedder.key if predictor.embedder else ""
    given = (options.top_k, options.unique, progress, options.skip_bad)
    skipped = write_slugs(predictor, vectors, options.out, job, *given)
    if skipped:
        where = f"{options.out}.bad"
        print(f"vec2slug: skipped {skipped} bad rows, listed in {where}", file=sys.stderr)
    return 0


def slug_options(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the options of :func:`slugs`."""
    from ..inference.predictor import DEFAULT_MODEL

    parser = argparse.ArgumentParser("vec2slug", usage=USAGE, description="Slugs from embeddings.")
    parser.add_argument("texts", nargs="*", help="texts; - reads one from standard input")
    parser.add_argument("--vectors", type=Path, help="file of vectors, one slug a row")
    parser.add_argument("--top-k", type=int, default=1, help="candidates, with their scores")
    parser.add_argument("--unique", action="store_true", help="append a short stable hash")
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL, help="release folder")
    parser.add_argument("--precision", choices=("float32", "int8"), default="float32")
    parser.add_argument(
        "--fast", action="store_true", help="do not re-rank by embedding similarity"
    )
    parser.add_argument("--out", type=Path, help="write JSON lines, and go on with what is there")
    parser.add_argument(
        "--index", type=Path, help="data folder: slugs of its nearest pages are evidence too"
    )
    parser.add_argument("--skip-bad", action="store_true", help="go on past bad rows")
    options = parser.parse_args(argv)
    if bool(options.texts) == bool(options.vectors):
        raise Vec2SlugError('expected a text or --vectors FILE, such as: vec2slug "Some text"')
    if options.out and not options.vectors:
        raise Vec2SlugError("expected --vectors FILE beside --out")
    if options.top_k < 1:
        raise Vec2SlugError(f"expected --top-k of 1 or more, got {options.top_k}")
    return options


def open_predictor(options: argparse.Namespace, embedder: Callable[[], Embedder]) -> SlugPredictor:
    """Open a release with what it can use: an index of known slugs, an embedder to re-rank with."""
    from ..inference.predictor import ReleaseConfig, SlugPredictor

    index = None
    if options.index:
        from ..data.dataset import load
        from ..inference.index import Index

        pages = load(options.index).part("train")
        index = Index(pages.vectors, pages.slugs, pages.embedder)
    config = ReleaseConfig.load(options.model / "model.json")
    # The embedder is opened only if the model can re-rank with it: it takes a second to load.
    reranks = not options.fast and config.mbr and fits(config, embedder())
    threads = 1 if options.vectors else os.cpu_count() or 1
    make_graphs(options.model, options.precision)
    return SlugPredictor.from_dir(
        options.model, options.precision, index, embedder() if reranks else None, threads
    )


def fits(config: ReleaseConfig, embedder: Embedder) -> bool:
    """Tell whether a release takes the vectors of an embedder."""
    same = config.embedder in ("", embedder.key)
    return same and config.input_dim == embedder.dimensions
