"""Slugs of any number of vectors: a table for each parquet file, or lines of one file.

Tables are made on one or many machines. A file of vectors becomes a file of slugs of the same name,
which is there whole or not at all. So a job that was killed goes on when it is started again, a
file whose worker was lost is written again by another, and it does no harm if two write the same
one. That is why a file is the unit of work, and not a block of ``ray.data.read_parquet``: Ray Data
cuts files into blocks as it sees fit and names the files it writes by block, so that no file tells
which vectors are done. A kill loses the work of one file a worker at most: with files of a million
vectors or less, hours.

Lines are made by one process. They are appended as they come, and a killed job goes on behind the
last whole line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.parquet import ParquetFile, ParquetWriter

from ..common.errors import Vec2SlugError
from ..common.files import atomic, check_file, file_sha256, whole_lines
from ..common.jobs import open_job
from ..common.parallel import Engine, processes
from ..common.parquet import open_parquet
from .beam_search import Candidate
from .predictor import DEFAULT_MODEL, Precision, SlugPredictor, graph_path, with_hash

ROWS = 4096  # of vectors in memory
NAMED = 3  # failures that a message names
SLUGS = [pa.field("slug", pa.string()), pa.field("score", pa.float32())]


@dataclass(frozen=True)
class SlugJob:
    """Settings of a job of tables; all paths are read on every machine that works."""

    source: Path  # folder of the files of vectors
    out: Path  # folder of the files of slugs
    model: Path
    precision: Precision
    column: str
    workers: int | None  # pieces of rows that a process works on at a time; None: one a core
    model_sha256: str
    graph_sha256: str

    @classmethod
    def claim(
        cls,
        source: Path,
        out: Path,
        model: Path = DEFAULT_MODEL,
        precision: Precision = "float32",
        column: str = "embedding",
        workers: int | None = None,
    ) -> SlugJob:
        """Claim a folder for a job, or refuse another job's.

        Args:
            source: a parquet file, or a folder in which all parquet files are taken.
            out: folder of the slugs; ``slugs.json`` in it says what they depend on.
            model: release folder.
            precision: as `SlugPredictor.from_dir`.
            column: of the vectors.
            workers: pieces of rows that a process works on at a time; one a core if None.

        Raises:
            Vec2SlugError: no such source or model, or a folder that holds another job's slugs.
        """
        source, out, model = source.resolve(), out.resolve(), model.resolve()
        if not source.exists():
            raise Vec2SlugError(f"expected parquet files at {source}, found none")
        folder = source if source.is_dir() else source.parent
        if (source.is_dir() and out.is_relative_to(source)) or out == folder:
            raise Vec2SlugError(f"expected an output folder apart from the vectors, got {out}")
        check_file(model / "model.json", None)
        hashes = file_sha256(model / "model.json"), file_sha256(graph_path(model, precision))
        job = cls(source, out, model, precision, column, workers, *hashes)
        description = {
            "source": str(source), "column": column, "precision": precision,
            "model_sha256": job.model_sha256, "graph_sha256": job.graph_sha256,
        }  # fmt: skip
        occupied = out.is_dir() and any(out.rglob("*.parquet"))
        open_job(out / "slugs.json", description, f"slugs of this job in {out}", occupied)
        return job

    def files(self) -> dict[str, int]:
        """Count the vectors of each file, by its path in the source folder.

        Raises:
            Vec2SlugError: no file, a broken one, or one without vectors in the column.
        """
        if self.source.is_file():
            return {self.source.name: _checked_rows(self.source, self.column)}
        paths = sorted(path.relative_to(self.source) for path in self.source.rglob("*.parquet"))
        # Names of this kind are of files that are not done, or that are no data.
        named = [p for p in paths if not any(part.startswith((".", "_")) for part in p.parts)]
        if not named:
            raise Vec2SlugError(f"expected parquet files in {self.source}, found none")
        return {str(path): _checked_rows(self.source / path, self.column) for path in named}

    def input(self, name: str) -> Path:
        """Return where the vectors of a file are."""
        return self.source / name if self.source.is_dir() else self.source


def write_slug_tables(
    job: SlugJob,
    files: Mapping[str, int],
    engine: Engine | None = None,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Write a parquet file of slugs for each file of vectors; those that are there are kept.

    Columns: ``id`` if the vectors have one, else ``row``, the number in the file; ``slug``; and
    ``score``, as `SlugPredictor.predict_topk`.

    Args:
        job: see `SlugJob.claim`.
        files: what `SlugJob.files` says.
        engine: where the work is done; in this process if None. See `engines`.
        progress: called with the number of rows that are just done, also those of an earlier run.

    Raises:
        Vec2SlugError: not every file has its slugs in the end. All files that can be done are, and
            the message names the first others, such as a file with a bad vector, and its row.
    """
    waiting = [name for name, rows in files.items() if _rows(job.out / name) != rows]
    if progress:
        progress(sum(files.values()) - sum(files[name] for name in waiting))
    messages: dict[str, str] = {}
    if waiting:
        with closing((engine or processes())(partial(_slugs_of, job), waiting)) as ended:
            for number, message in ended:
                messages[waiting[number]] = message
                if progress:
                    progress(files[waiting[number]])
    missing = [name for name in waiting if _rows(job.out / name) != files[name]]
    if missing:
        why = "; ".join(f"{n}: {messages.get(n) or 'no slugs'}" for n in missing[:NAMED])
        raise Vec2SlugError(
            f"expected slugs of {len(files)} files in {job.out}, but {len(missing)} are missing, "
            f"such as {why}"
        )
    for left in job.out.rglob(".*.parquet"):  # by workers that were killed
        left.unlink()


def _slugs_of(job: SlugJob, name: str) -> str:
    """Write the slugs of one file; return what is wrong with it, or ""."""
    try:
        with _opened(job.input(name), job.column) as file:
            if _rows(job.out / name) != file.metadata.num_rows:  # else done, but not reported
                _write(job, file, job.out / name)
    except (Vec2SlugError, OSError, pa.ArrowException) as error:
        return str(error).replace("\n", " ")
    return ""


def _write(job: SlugJob, file: ParquetFile, target: Path) -> None:
    """Write the table of a file of vectors, whole or not at all."""
    names = file.schema_arrow
    key = names.field("id") if "id" in names.names else pa.field("row", pa.int64())
    schema, predictor, first = pa.schema([key, *SLUGS]), _predictor(job), 0
    columns = [job.column, *(["id"] if key.name == "id" else [])]
    with atomic(target) as temporary, ParquetWriter(temporary, schema) as writer:
        for batch in file.iter_batches(ROWS, columns=columns):
            vectors = _vectors(batch.column(job.column), predictor.config.input_dim, first)
            best = [candidates[0] for candidates in predictor.stream(vectors, first=first)]
            numbers = pa.array(np.arange(first, first + len(best)))
            ids = batch.column("id") if key.name == "id" else numbers
            slugs, scores = [row.slug for row in best], [row.score for row in best]
            data = [ids, pa.array(slugs), pa.array(scores, pa.float32())]
            writer.write_batch(pa.record_batch(data, schema=schema))
            first += len(best)


@lru_cache(1)
def _predictor(job: SlugJob) -> SlugPredictor:
    """Open the job's model, once a process, however many files it is given."""
    check_file(job.model / "model.json", job.model_sha256)
    predictor = SlugPredictor.from_dir(job.model, job.precision)
    predictor.workers = job.workers or predictor.workers
    return predictor


def _vectors(column: pa.Array, width: int, first: int) -> npt.NDArray[Any]:
    """Read vectors ``[N, width]`` off a column of lists; NaN and zero rows pass."""
    column = column.storage if isinstance(column, pa.ExtensionArray) else column
    lengths = pc.fill_null(pc.list_value_length(column), -1).to_numpy(zero_copy_only=False)
    bad = np.flatnonzero(lengths != width)
    if len(bad):
        got = "none" if lengths[bad[0]] < 0 else f"{lengths[bad[0]]} numbers"
        raise Vec2SlugError(f"expected vectors of width {width}; row {first + bad[0]} has {got}")
    values: npt.NDArray[Any] = column.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(-1, width)


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


def _checked_rows(path: Path, column: str) -> int:
    """Count the rows of a file of vectors, as `_opened` finds it."""
    with _opened(path, column) as file:
        return int(file.metadata.num_rows)


def _rows(path: Path) -> int | None:
    """Count the rows of a file of slugs; None if it is not there or broken."""
    try:
        with ParquetFile(path) as file:
            return int(file.metadata.num_rows)
    except (OSError, pa.ArrowException):
        return None


def write_slugs(
    predictor: SlugPredictor,
    vectors: npt.NDArray[Any],
    out: Path,
    asked: Sequence[str],
    top_k: int = 1,
    unique: bool = False,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Write a line ``{"row": 0, "slug": ..., "score": ...}`` a row, or with all ``candidates``.

    What is done stands in ``OUT.part``; it becomes ``out`` when the last row is done.

    Args:
        predictor: makes the slugs.
        vectors: ``[N, input_dim]``, memory-mapped if they are many.
        out: the file, which must not be there yet.
        asked: what the result depends on beside the arguments here, such as the model's hash.
        top_k: candidates a row; of 2 or more, a line has the list.
        unique: whether a short hash of the vector ends the slug.
        progress: called with the number of rows just done, also those of an earlier run.

    Raises:
        Vec2SlugError: ``out`` is there; or a part is, of other vectors or settings; or a row is
            bad, in which case all rows before it are kept.
    """
    if out.exists():
        raise Vec2SlugError(f"expected to write {out} anew, but it is there: remove or rename it")
    part, note = out.with_name(f"{out.name}.part"), out.with_name(f"{out.name}.part.json")
    settings = [*asked, list(vectors.shape), top_k, unique]
    if not part.exists():
        note.unlink(missing_ok=True)  # of a part that was removed
    open_job(note, settings, f"{part} to be of the same vectors and settings", part.exists())
    done = whole_lines(part)
    if progress and done:
        progress(done)
    with part.open("a", encoding="utf-8") as file:
        rows = predictor.stream(vectors[done:], top_k, progress, first=done)
        for row, candidates in enumerate(rows, start=done):
            if unique:
                key = vectors[row].tobytes()
                candidates = [Candidate(with_hash(slug, key), score) for slug, score in candidates]
            named = [{"slug": slug, "score": round(score, 4)} for slug, score in candidates]
            content = named[0] if top_k == 1 else {"candidates": named}
            file.write(json.dumps({"row": row, **content}) + "\n")
    part.replace(out)
    note.unlink()
