"""Slugs of any number of vectors, on one or many machines: a table for each parquet file.

A file of vectors becomes a file of slugs of the same name, which is there whole or not at all, and
says of which vectors it was made. So a job that was killed goes on when it is started again, a file
that has changed is done anew, a file whose worker was lost is written again by another, and it does
no harm if two write the same one. That is why a file is the unit of work, and not a block of
``ray.data.read_parquet``: Ray Data cuts files into blocks as it sees fit and names the files it
writes by block, so that no file tells which vectors are done. A kill loses the work of one file a
worker at most: with files of a million vectors or less, hours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow.parquet import ParquetFile, ParquetWriter

from ..common.errors import Vec2SlugError
from ..common.files import (
    atomic,
    check_file,
    file_sha256,
    read_json,
    write_json,
    write_json_lines,
)
from ..common.jobs import one_writer, open_job
from ..common.parallel import Engine, processes
from ..common.parquet import open_parquet, strings
from ..common.vectors import Array
from .predictor import SlugPredictor
from .release_folder import DEFAULT_MODEL, Precision, graph_path
from .rows import Page, Rows, reason_of
from .text_model import TEXT_MODEL

ROWS = 4096  # of vectors in memory
PAGES = 512  # of vectors with their texts
TEXTS = "text"  # column of texts
NAMED = 3  # failures that a message names
SLUGS = [pa.field("slug", pa.string()), pa.field("score", pa.float32())]
REASON = pa.field("reason", pa.string())  # why a row has no slug
SOURCE = b"source_sha256"  # in a file of slugs: of the file of vectors


@dataclass(frozen=True)
class SlugJob:
    """Settings of a job of tables; all paths are read on every machine that works."""

    source: Path  # folder of the files of vectors
    out: Path  # folder of the files of slugs
    model: Path
    precision: Precision
    column: str
    text_column: str  # which not every file need have; empty if vectors count alone
    workers: int | None  # pieces of rows that a process works on at a time; None: one a core
    skip_bad: bool
    model_sha256: str
    graph_sha256: str
    text_sha256: str  # of the model of words in texts; empty if vectors count alone

    @classmethod
    def claim(
        cls,
        source: Path,
        out: Path,
        model: Path = DEFAULT_MODEL,
        precision: Precision = "float32",
        column: str = "embedding",
        workers: int | None = None,
        skip_bad: bool = False,
        text_column: str = "",
        vector_only: bool = False,
    ) -> SlugJob:
        """Claim a folder for a job, or refuse another job's.

        Args:
            source: a parquet file, or a folder in which all parquet files are taken.
            out: folder of the slugs; ``slugs.json`` in it says what they depend on.
            model: release folder.
            precision: as `SlugPredictor.from_dir`.
            column: of the vectors.
            workers: pieces of rows that a process works on at a time; one a core if None.
            skip_bad: whether a bad row has no slug but a reason, instead of costing its file.
            text_column: of texts, which count beside the vectors if the release knows of words in
                texts; if empty, a column ``text`` where a file has one.
            vector_only: whether texts count for nothing beyond the vectors.

        Raises:
            Vec2SlugError: no such source or model, no such texts, or a folder that holds another
                job's slugs.
        """
        source, out, model = source.resolve(), out.resolve(), model.resolve()
        if not source.exists():
            raise Vec2SlugError(f"expected parquet files at {source}, found none")
        folder = source if source.is_dir() else source.parent
        if (source.is_dir() and out.is_relative_to(source)) or out == folder:
            raise Vec2SlugError(f"expected an output folder apart from the vectors, got {out}")
        check_file(model / "model.json", None)
        hashes = file_sha256(model / "model.json"), file_sha256(graph_path(model, precision))
        texts = not vector_only and (model / TEXT_MODEL).is_file()
        known = file_sha256(model / TEXT_MODEL) if texts else ""
        named = (text_column or TEXTS) if texts else ""
        job = cls(source, out, model, precision, column, named, workers, skip_bad, *hashes, known)
        if text_column and not vector_only and not job.with_texts(job.files()):
            why = "" if texts else f", and a model of words in texts in {model}"
            raise Vec2SlugError(f"expected texts in a column {text_column} of {source}{why}")
        occupied = out.is_dir() and any(out.rglob("*.parquet"))
        note = out / "slugs.json"
        if job._moved():
            write_json(note, read_json(note) | {"source": str(source)})
        open_job(note, job._description(), f"slugs of this job in {out}", occupied)
        return job

    def _description(self) -> dict[str, Any]:
        """Return what slugs depend on, as JSON."""
        names = ("column", "precision", "skip_bad", "model_sha256", "graph_sha256")
        of_texts = ("text_column", "text_sha256") if self.text_sha256 else ()
        asked = {name: getattr(self, name) for name in (*names, *of_texts)}
        return {"source": str(self.source), **asked}

    def _moved(self) -> bool:
        """Tell whether all that is done is of this source, which lay elsewhere then."""
        note = self.out / "slugs.json"
        if not note.is_file() or read_json(note).get("source") == str(self.source):
            return False
        paths = [path.relative_to(self.out) for path in self.out.rglob("*.parquet")]
        return all(self.input(str(path)).is_file() and self.done(str(path)) for path in paths)

    def files(self) -> dict[str, int]:
        """Count the vectors of each file, by its path in the source folder; none of a broken one.

        Raises:
            Vec2SlugError: no file.
        """
        if self.source.is_file():
            return {self.source.name: _rows(self.source) or 0}
        paths = sorted(path.relative_to(self.source) for path in self.source.rglob("*.parquet"))
        # Names of this kind are of files that are not done, or that are no data.
        named = [p for p in paths if not any(part.startswith((".", "_")) for part in p.parts)]
        if not named:
            raise Vec2SlugError(f"expected parquet files in {self.source}, found none")
        return {str(path): _rows(self.source / path) or 0 for path in named}

    def with_texts(self, files: Iterable[str]) -> list[str]:
        """List the files that have texts which count."""
        return [name for name in files if _has_texts(self.input(name), self.text_column)]

    def input(self, name: str) -> Path:
        """Return where the vectors of a file are."""
        return self.source / name if self.source.is_dir() else self.source

    def done(self, name: str) -> bool:
        """Tell whether the slugs of a file are there, made of the vectors that it holds now."""
        try:
            with ParquetFile(self.out / name) as file:
                made_of = (file.schema_arrow.metadata or {}).get(SOURCE, b"")
        except (OSError, pa.ArrowException):
            return False
        return bool(made_of.decode() == file_sha256(self.input(name)))


def write_slug_tables(
    job: SlugJob,
    files: Mapping[str, int],
    engine: Engine | None = None,
    progress: Callable[[int], object] | None = None,
) -> list[dict[str, Any]]:
    """Write a parquet file of slugs for each file of vectors; those that are done are kept.

    Columns: ``id`` if the vectors have one, else ``row``, the number in the file; ``slug``;
    ``score``, as `SlugPredictor.predict_topk`; and in a job that skips bad rows their ``reason``.

    Args:
        job: see `SlugJob.claim`.
        files: what `SlugJob.files` says.
        engine: where the work is done; in this process if None. See `engines`.
        progress: called with the number of rows that are just done, also those of an earlier run.

    Returns:
        What was skipped, if the job skips: ``file``, ``row`` (None of a broken file), ``reason``.
        It stands in ``skipped.jsonl`` too.

    Raises:
        Vec2SlugError: not every file has its slugs in the end. All files that can be done are, and
            the message names the first others, such as a file with a bad vector, and its row. Or
            another process writes to the folder.
    """
    with one_writer(job.out / "slugs.json"):
        waiting = [name for name in files if not job.done(name)]
        if progress:
            progress(sum(files.values()) - sum(files[name] for name in waiting))
        messages: dict[str, str] = {}
        if waiting:
            with closing((engine or processes())(partial(_slugs_of, job), waiting)) as ended:
                for number, message in ended:
                    messages[waiting[number]] = message
                    if progress:
                        progress(files[waiting[number]])
        missing = {n: messages.get(n) or "no slugs" for n in waiting if not job.done(n)}
        for left in job.out.rglob(".*.parquet"):  # by workers that were killed
            left.unlink()
        if job.skip_bad:
            return _write_skipped(job, files, missing)
    if missing:
        why = "; ".join(f"{name}: {missing[name]}" for name in list(missing)[:NAMED])
        raise Vec2SlugError(
            f"expected slugs of {len(files)} files in {job.out}, but {len(missing)} are missing, "
            f"such as {why}"
        )
    return []


def _write_skipped(
    job: SlugJob, files: Mapping[str, int], missing: Mapping[str, str]
) -> list[dict[str, Any]]:
    """List broken files and bad rows in ``skipped.jsonl``."""
    skipped: list[dict[str, Any]] = []
    for name in files:
        if name in missing:
            skipped.append({"file": name, "row": None, "reason": missing[name]})
            continue
        reasons = pq.read_table(job.out / name, columns=["reason"]).column(0)
        rows = pc.indices_nonzero(pc.is_valid(reasons)).to_pylist()
        skipped += [{"file": name, "row": r, "reason": reasons[r].as_py()} for r in rows]
    write_json_lines(job.out / "skipped.jsonl", skipped)
    return skipped


def _slugs_of(job: SlugJob, name: str) -> str:
    """Write the slugs of one file; return what is wrong with it, or ""."""
    try:
        with _opened(job.input(name), job.column) as file:
            if not job.done(name):  # else done, but not reported
                _write(job, file, name)
    except (Vec2SlugError, OSError, pa.ArrowException) as error:
        return str(error).replace("\n", " ")
    return ""


def _write(job: SlugJob, file: ParquetFile, name: str) -> None:
    """Write the table of a file of vectors, whole or not at all."""
    names = file.schema_arrow
    key = names.field("id") if "id" in names.names else pa.field("row", pa.int64())
    metadata = {SOURCE: file_sha256(job.input(name)).encode()}
    schema = pa.schema([key, *SLUGS, *([REASON] if job.skip_bad else [])], metadata)
    texts = job.text_column if _are_texts(names, job.text_column) else None
    columns = {job.column, *(["id"] if key.name == "id" else []), *([texts] if texts else [])}
    first = 0
    with atomic(job.out / name) as temporary, ParquetWriter(temporary, schema) as writer:
        for batch in file.iter_batches(PAGES if texts else ROWS, columns=sorted(columns)):
            numbers = pa.array(np.arange(first, first + len(batch)))
            ids = batch.column("id") if key.name == "id" else numbers
            known = strings(batch.column(texts)) if texts else None
            found = _searched(job, batch.column(job.column), known, first)
            data = [ids, *_columns(found)][: len(schema)]
            writer.write_batch(pa.record_batch(data, schema=schema))
            first += len(batch)


def _searched(
    job: SlugJob, column: pa.Array, texts: list[str] | None, first: int
) -> list[tuple[Any, ...]]:
    """Make slug, score and None of each vector, or None twice and the reason of a bad one."""
    predictor = _predictor(job)
    vectors, wrong = _vectors(column, predictor.config.input_dim)
    for row, reason in wrong.items() if not job.skip_bad else ():
        wanted = f"vectors of width {predictor.config.input_dim}"
        raise Vec2SlugError(f"expected {wanted}; row {first + row} {reason}")
    rows: Rows = vectors
    if texts:  # some of which are null
        rows = [Page(vector, text or "") for vector, text in zip(vectors, texts, strict=True)]
    found: list[tuple[Any, ...]] = []
    for row, candidates in enumerate(predictor.stream(rows, 1, None, first, job.skip_bad)):
        if candidates:
            found.append((*candidates[0], None))
        else:
            found.append((None, None, wrong.get(row, reason_of(candidates))))
    return found


def _columns(found: list[tuple[Any, ...]]) -> Iterator[pa.Array]:
    """Yield the columns of slugs, scores and reasons."""
    kinds = [field.type for field in (*SLUGS, REASON)]
    for number, kind in enumerate(kinds):
        yield pa.array([row[number] for row in found], kind)


@lru_cache(1)
def _predictor(job: SlugJob) -> SlugPredictor:
    """Open the job's model, once a process, however many files it is given."""
    check_file(job.model / "model.json", job.model_sha256)
    predictor = SlugPredictor.from_dir(job.model, job.precision)
    predictor.workers = job.workers or predictor.workers
    if job.text_sha256:
        check_file(job.model / TEXT_MODEL, job.text_sha256)
    else:
        predictor.text_model = None
    return predictor


def _vectors(column: pa.Array, width: int) -> tuple[Array, dict[int, str]]:
    """Read vectors ``[N, width]`` off a column of lists; lists of another length become NaN.

    Returns:
        The vectors, and what is wrong with each list of another length, by its number.
    """
    column = column.storage if isinstance(column, pa.ExtensionArray) else column
    lengths = pc.fill_null(pc.list_value_length(column), -1).to_numpy(zero_copy_only=False)
    right = lengths == width
    values = column.filter(pa.array(right)).flatten().to_numpy(zero_copy_only=False)
    vectors = values.reshape(-1, width)
    if not right.all():
        spread = np.full((len(column), width), np.nan, np.float64)
        spread[right], vectors = vectors, spread
    counts = {row: int(lengths[row]) for row in np.flatnonzero(~right).tolist()}
    return vectors, {r: "has none" if n < 0 else f"has {n} numbers" for r, n in counts.items()}


def _opened(path: Path, column: str) -> ParquetFile:
    """Open a parquet file with a column of lists of numbers.

    Raises:
        Vec2SlugError: it is broken, or without such a column.
    """
    try:
        file = open_parquet(path)
    except (OSError, pa.ArrowException) as error:
        raise Vec2SlugError(f"expected a whole parquet file at {path}, but: {error}") from error
    schema = file.schema_arrow
    if column not in schema.names:
        raise Vec2SlugError(f"expected a column {column} in {path}, got {', '.join(schema.names)}")
    kind = schema.field(column).type
    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    numbers = (pa.types.is_floating, pa.types.is_integer)
    if not (any(of(kind) for of in lists) and any(of(kind.value_type) for of in numbers)):
        raise Vec2SlugError(f"expected lists of numbers in {column} of {path}, got {kind}")
    return file


def _has_texts(path: Path, column: str) -> bool:
    """Tell whether a parquet file has a column of texts; not if it is broken."""
    try:
        with ParquetFile(path) as file:
            return _are_texts(file.schema_arrow, column)
    except (OSError, pa.ArrowException):
        return False


def _are_texts(schema: pa.Schema, column: str) -> bool:
    """Tell whether a schema has a column, and but one of the name, and it is of strings."""
    if not column or schema.names.count(column) != 1:
        return False
    kind = schema.field(column).type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(of(kind) for of in kinds)


def _rows(path: Path) -> int | None:
    """Count the rows of a parquet file; None if it is not there or broken."""
    try:
        with ParquetFile(path) as file:
            return int(file.metadata.num_rows)
    except (OSError, pa.ArrowException):
        return None
