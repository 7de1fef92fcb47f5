"""Filters that look at all documents: duplicates and slugs that stand too often."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..common.errors import Vec2SlugError
from ..common.files import atomic
from ..common.parquet import open_parquet

MAX_SLUG_COUNT = 9  # a slug seen more often is site infrastructure

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
        Vec2SlugError: no document is left over from the local filters, or one of their files, or
            the disk, is not as it should be.
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
        # Else an unknown function or kind of file makes DuckDB fetch an extension that has it.
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    try:
        with duckdb.connect(config=settings) as connection:
            connection.execute("SET VARIABLE files = ?", [files])
            steps = _narrow_down(connection)
            connection.execute(f"CREATE OR REPLACE TABLE documents AS {ORDER}")
            _write_kept(connection, files, out, spill)
    except (duckdb.Error, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:300]
        raise Vec2SlugError(
            f"expected to join the documents in {ranks}, but: {reason}; remove what is damaged "
            "there, or make room, and run it again"
        ) from error
    finally:
        shutil.rmtree(spill, ignore_errors=True)
    return steps


def _narrow_down(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """Leave in the table ``documents`` the keys that pass the filters; count after each."""
    steps: list[dict[str, Any]] = []
    connection.execute(f"CREATE TABLE documents AS {KEYS}")
    before = _count(connection)
    for name, query in GLOBAL_FILTERS.items():
        connection.execute(f"CREATE OR REPLACE TABLE documents AS {query}")
        after = _count(connection)
        steps.append({"name": name, "kept": after, "dropped": {name: before - after}})
        before = after
    return steps


def _count(connection: duckdb.DuckDBPyConnection) -> int:
    """Count the rows of the table ``documents``."""
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
            places = connection.execute(KEPT, [index]).fetchnumpy()
            for batch in _placed_rows(file, places["row"], places["position"]):
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
    """Yield the given rows of a parquet file, with their ``position`` in the result, in batches.

    Within a batch positions ascend: the rows of a piece stand together, and writing them copies
    nothing.
    """
    start = 0
    for batch in open_parquet(file).iter_batches(ROW_GROUP):
        low, high = np.searchsorted(rows, (start, start + len(batch)))
        order = np.argsort(positions[low:high]) + low
        chosen = batch.take(pa.array(rows[order] - start))
        yield chosen.append_column("position", pa.array(positions[order]))
        start += len(batch)
