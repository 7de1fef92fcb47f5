"""``vec2slug TEXT ...`` and ``vec2slug --vectors FILE``: slugs, to the terminal or to a file."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.errors import Vec2SlugError
from ..common.extras import advice
from ..common.files import file_sha256
from ..common.vectors import Floats
from ..embedding.base import text_fault
from ..embedding.registry import DEFAULT, find_embedder, open_embedder
from ..inference.predictor import SlugPredictor
from ..inference.release_folder import DEFAULT_MODEL, ReleaseConfig, graph_path
from ..inference.settings import SlugSettings
from ..inference.slug_output import (
    Line,
    Outcome,
    check_format,
    distinct_lines,
    line_of,
    plain_line,
    read_slugs,
)
from ..inference.slug_rows import Feed, Named, Rows, no_vectors, rows_of_blocks
from ..inference.text_model import TEXT_MODEL
from ..inference.unique import row_key
from .door import naming
from .options import make_graphs, progress_bar

if TYPE_CHECKING:
    from ..embedding.registry import EmbedderInfo
    from ..inference.index import Index
    from ..inference.vector_files import VectorTable

USAGE = """vec2slug "some text" ["another text" ...]     one slug a text
       vec2slug - < texts.txt                      one slug a line
       vec2slug --vectors file.npy                 one slug a row
       vec2slug --vectors file.npy --out slugs.jsonl    of any length; resumes
       vec2slug COMMAND --help                     corpus, embed, data, train, export,
                                                   baseline, sweep, generate, paper,
                                                   feasibility"""
MOST_TEXTS = 256  # that are embedded together, once so many have come
FEW = 4  # rows that should come soon, rather than many in a second
NAMED = 10  # bad rows that are named
Progress = Callable[[int], object]


def slugs(argv: Sequence[str]) -> int:
    """Make slugs of texts or vectors; return the exit code."""
    options = slug_options(argv)
    with opened_vectors(options) as table:
        total = table.rows if table else None if "-" in options.texts else len(options.texts)
        few = total is not None and total <= FEW
        predictor, embedder = open_models(options, few)
        if table:
            for note in table.notes:
                say(f"{options.vectors}: {note}")
            rows = rows_of_blocks(table, predictor.config.input_dim)
        else:
            assert embedder is not None
            rows = rows_of_texts(lines_of(options.texts), predictor, embedder, options.skip_bad)
        with naming(options.vectors, table.stops if table else ()), progress_bar(total) as bar:
            make = write_file if options.out else print_slugs
            outcome = make(options, predictor, rows, bar.update)
    report(options, predictor, outcome)
    return 0


class Opening:
    """An embedder that is being opened meanwhile; who wants a vector waits for it."""

    def __init__(self, info: EmbedderInfo, lean: bool) -> None:
        self.key, self.dimensions = info.key, info.width
        self._opened = ThreadPoolExecutor(1).submit(open_embedder, info.key, lean=lean)

    def embed(self, texts: Sequence[str]) -> Floats:
        """Embed N texts: unit vectors ``[N, dimensions]``."""
        return self._opened.result().embed(texts)


def open_models(
    options: argparse.Namespace, few: bool = False
) -> tuple[SlugPredictor, Opening | None]:
    """Open the model as the options ask, and its embedder if it is of use.

    Args:
        options: of `slug_options`.
        few: whether there are few rows, which should come soon, rather than many in a second.
    """
    predictor = open_predictor(options, few)
    # Begun now and not before: both together would need half as much memory again.
    embedder = find_reader(options, predictor.config, few)
    if embedder and not options.fast:
        predictor.rerank_with(embedder)
    return predictor, embedder


def find_reader(options: argparse.Namespace, config: ReleaseConfig, few: bool) -> Opening | None:
    """Begin to open the embedder of the model: texts need it, and vectors are re-ranked with it.

    Raises:
        Vec2SlugError: there are texts, and it does not run here.
    """
    if options.vectors and (options.fast or not config.mbr):
        return None
    info = find_embedder(config.embedder or DEFAULT)
    if info is None or not info.local or info.width != config.input_dim:
        if options.texts:
            whose = config.embedder or f"an embedder of {config.input_dim} numbers"
            raise Vec2SlugError(f"expected --vectors FILE: {whose} does not run here")
        return None
    if options.vectors and find_spec("tokenizers") is None:
        say(f"slugs are not re-ranked by similarity: {advice('text')}, or say --fast")
        return None
    return Opening(info, few)


def say(text: str) -> None:
    """Print a line that is no slug."""
    print(f"vec2slug: {text}", file=sys.stderr)


def opened_vectors(options: argparse.Namespace) -> AbstractContextManager[VectorTable | None]:
    """Open the file of vectors, if there is one."""
    if not options.vectors:
        return nullcontext()
    from ..inference.vector_files import open_vectors

    return open_vectors(options.vectors, options.column, options.id_column, options.skip_bad)


def lines_of(texts: Sequence[str]) -> Iterator[str]:
    """Yield the texts, and for ``-`` the lines of standard input as they come."""
    for text in texts:
        if text == "-":
            yield from (line.rstrip("\r\n") for line in sys.stdin)
        else:
            yield text


def rows_of_texts(
    texts: Iterator[str], predictor: SlugPredictor, embedder: Opening, skip_bad: bool
) -> Iterator[Rows]:
    """Make rows of texts, more at a time as they go on, so that the first slug comes soon.

    Raises:
        Vec2SlugError: a text is none, and bad ones are not skipped; those before it are yielded.
    """
    count, size = 0, 1
    while batch := list(islice(texts, size)):
        faults = {row: fault for row, text in enumerate(batch) if (fault := text_fault(text))}
        batch, wrong = (batch, None) if skip_bad else cut(batch, faults)
        predictor.inspector.read([text for row, text in enumerate(batch) if row not in faults])
        keys = [row_key(text.strip().encode(errors="surrogatepass")) for text in batch]
        known = batch if predictor.text_model else None
        yield Rows(None, keys, partial(embedded, embedder, batch, faults), faults, known)
        count, size = count + len(batch), min(2 * size, MOST_TEXTS)
        if wrong:
            raise Vec2SlugError(f"expected a text in row {count}, but it {wrong}")


def cut(batch: list[str], faults: Mapping[int, str]) -> tuple[list[str], str | None]:
    """Cut a batch before its first fault; return the fault too."""
    first = min(faults, default=len(batch))
    return batch[:first], faults.get(first)


def embedded(
    embedder: Opening, batch: Sequence[str], faults: Mapping[int, str], first: int
) -> Floats:
    """Embed the texts from ``first`` on, but for faults, which get no vector."""
    good = [row for row in range(first, len(batch)) if row not in faults]
    vectors = no_vectors(len(batch), embedder.dimensions)
    if good:
        vectors[good] = embedder.embed([batch[row] for row in good])
    return vectors[first:]


def write_file(
    options: argparse.Namespace, predictor: SlugPredictor, rows: Iterable[Rows], progress: Progress
) -> Outcome:
    """Write a file of slugs; a second call goes on where the first was stopped."""
    from ..inference.slug_file import write_slugs

    by_text = options.texts and predictor.text_model
    made_of = {
        "model_sha256": options.model / "model.json",
        "graph_sha256": graph_path(options.model, options.precision),
        **({"index_sha256": options.index / "pairs.parquet"} if options.index else {}),
        **({"text_sha256": options.model / TEXT_MODEL} if by_text else {}),
    }
    job: dict[str, object] = {name: file_sha256(path) for name, path in made_of.items()}
    job["embedder"] = predictor.embedder.key if predictor.embedder else ""
    return write_slugs(predictor, rows, options.out, job, options.top_k, progress, options.skip_bad)


def print_slugs(
    options: argparse.Namespace, predictor: SlugPredictor, rows: Iterable[Rows], progress: Progress
) -> Outcome:
    """Print slugs as they come; those that have to be told apart, once all have come."""
    feed, keys, ties = Feed(rows), bytearray(), None
    several = options.top_k > 1 or predictor.settings.distinct
    found = feed.search(
        predictor, max(options.top_k, predictor.choices), progress, options.skip_bad
    )
    lines: Iterable[Line] = (line_of(named, several) for named in remembered(found, keys))
    if predictor.settings.distinct:
        all_lines = list(lines)
        lines, ties = distinct_lines(lambda: map(dict, all_lines), bytes(keys), predictor)
    bad = []
    for line in lines:
        print(json.dumps(line) if options.json else paragraph(line), flush=True)
        if "reason" in line:
            bad.append(str(line["row"]))
    if bad:
        say(f"skipped {len(bad)} bad rows: {', '.join(bad[:NAMED])}{' ...' * (len(bad) > NAMED)}")
    return Outcome(feed.count, len(bad), ties)


def remembered(rows: Iterable[Named], keys: bytearray) -> Iterator[Named]:
    """Yield rows, and append their keys."""
    for named in rows:
        keys += named.key
        yield named


def paragraph(line: Line) -> str:
    """Return a line of text; of several candidates one line each with its score, and a gap."""
    if "candidates" not in line:
        return plain_line(line)
    texts = [f"{each['slug']}\t{each['score']:.3f}" for each in line["candidates"]]
    return "\n".join([*([line["id"]] if "id" in line else []), *texts, ""])


def report(options: argparse.Namespace, predictor: SlugPredictor, outcome: Outcome) -> None:
    """Say what a user should know of a job that is done."""
    if options.out and outcome.skipped:
        say(f"skipped {outcome.skipped} bad rows, listed in {options.out}.bad")
    if outcome.ties:
        level = f"of {outcome.rows:,} rows, {outcome.ties:,} have candidates of level scores"
        say(f"{level}: another processor may choose otherwise there")
    for line in predictor.inspector.summary():
        say(line)


def slug_options(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the options of `slugs`.

    Raises:
        Vec2SlugError: they do not go together.
    """
    parser = argparse.ArgumentParser("vec2slug", usage=USAGE, description="Slugs from embeddings.")
    parser.add_argument("texts", nargs="*", help="texts; - for the lines of standard input")
    parser.add_argument("--vectors", type=Path, help="file of vectors, or -; one slug a row")
    parser.add_argument("--column", default="", help="of the vectors, where there are several")
    parser.add_argument("--id-column", default="", help="of ids, which come out beside the slugs")
    parser.add_argument("--top-k", type=int, default=1, help="candidates, with their scores")
    parser.add_argument("--json", action="store_true", help="print JSON lines")
    parser.add_argument("--out", type=Path, help="write .jsonl, .txt or .parquet; resumes")
    parser.add_argument("--skip-bad", action="store_true", help="go on past bad rows")
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL, help="release folder")
    parser.add_argument("--precision", choices=("float32", "int8"), default="float32")
    parser.add_argument("--fast", action="store_true", help="do not re-rank by similarity")
    parser.add_argument(
        "--vector-only", action="store_true", help="texts count by their vectors alone"
    )
    parser.add_argument("--index", type=Path, help="data folder: its nearest pages are evidence")
    add_settings(parser)
    options = parser.parse_args(argv)
    if bool(options.texts) == bool(options.vectors):
        raise Vec2SlugError('expected a text or --vectors FILE, such as: vec2slug "Some text"')
    if options.texts and (options.column or options.id_column):
        raise Vec2SlugError("expected --vectors FILE beside --column and --id-column")
    if options.out:
        check_format(options.out)
    if options.top_k < 1:
        raise Vec2SlugError(f"expected --top-k of 1 or more, got {options.top_k}")
    if options.top_k > 1 and (options.unique or options.taken):
        raise Vec2SlugError("expected one slug a row beside --unique and --taken, not --top-k")
    return options


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the options of `SlugSettings`."""
    parser.add_argument("--unique", action="store_true", help="no slug twice")
    parser.add_argument("--taken", type=Path, help="file of slugs that no row gets")
    parser.add_argument("--max-chars", type=int, help="characters of a slug, at most; default 80")
    parser.add_argument("--max-words", type=int, help="words, at most; default 8")
    parser.add_argument("--min-words", type=int, help="words, at least; default 3")
    parser.add_argument(
        "--stopwords",
        default="keep",
        metavar="keep|drop|FILE",
        help="leave out stopwords, or a list",
    )


def settings_of(options: argparse.Namespace) -> SlugSettings:
    """Return what the options of `add_settings` ask for.

    Raises:
        Vec2SlugError: a file is missing, or a value is out of its range.
    """
    stopwords = options.stopwords
    if stopwords not in ("keep", "drop"):
        stopwords = tuple(Path(stopwords).read_text(encoding="utf-8").lower().split())
    return SlugSettings(
        options.max_chars,
        options.max_words,
        options.min_words,
        stopwords,
        options.unique,
        read_slugs(options.taken) if options.taken else frozenset(),
    )


def open_index(folder: Path | None) -> Index | None:
    """Open a data folder whose pages are evidence."""
    if folder is None:
        return None
    from ..data.dataset import load
    from ..inference.index import Index

    pages = load(folder).part("train")
    return Index(pages.vectors, pages.slugs, pages.embedder)


def open_predictor(options: argparse.Namespace, few: bool) -> SlugPredictor:
    """Open a release with what the options ask of its slugs."""
    make_graphs(options.model, options.precision)
    predictor = SlugPredictor.from_dir(
        options.model,
        options.precision,
        open_index(options.index),
        threads=os.cpu_count() or 1 if few else 1,
        settings=settings_of(options),
        lean=few,
    )
    if options.vector_only:
        predictor.text_model = None
    return predictor
