"""How slugs are written: plain lines, JSON lines or parquet, with the id of a row beside its slug.

A line of a job says all of a row, as JSON; the other formats are made of such lines.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from ..common.errors import Vec2SlugError
from ..common.files import atomic
from .beam_search import Candidate
from .predictor import SlugPredictor
from .slug_rows import Named
from .unique import KEY, Assignment

Line = dict[str, Any]  # row, id if rows have one, slug and score or candidates; or a reason
BATCH = 10_000  # lines of a row group


class Outcome(NamedTuple):
    """What a job came to."""

    rows: int  # in all
    skipped: int  # rows without a slug
    # Rows whose slug hangs on scores that are level within rounding; None where rows did not have
    # to be told apart.
    ties: int | None


def line_of(named: Named, several: bool = False) -> Line:
    """Return what a line says of a row: its best candidate, or several; or why it has none."""
    line: Line = {"row": named.row, **({} if named.id is None else {"id": named.id})}
    if not named.candidates:
        return line | {"slug": None, "reason": named.reason}
    pairs = [{"slug": slug, "score": round(score, 4)} for slug, score in named.candidates]
    return line | ({"candidates": pairs} if several else pairs[0])


def distinct_lines(
    lines: Callable[[], Iterable[Line]], keys: bytes, predictor: SlugPredictor
) -> tuple[Iterator[Line], int]:
    """Choose a candidate for each row, as the settings ask.

    Args:
        lines: yields the lines of all rows, with their candidates, each time it is called.
        keys: of the rows, one behind the other.
        predictor: whose settings say what is taken.

    Returns:
        Lines with one slug each, and how many hang on ties, see `Assignment`.
    """
    settings = predictor.settings
    rows = (
        (keys[row * KEY : (row + 1) * KEY], [Candidate(**c) for c in line.get("candidates", [])])
        for row, line in enumerate(lines())
    )
    assignment = Assignment(rows, settings.taken, settings.unique)
    slugs = ([c["slug"] for c in line.get("candidates", [])] for line in lines())
    pairs = zip(lines(), assignment.names(slugs), strict=True)
    return (_chosen(line, name) for line, name in pairs), assignment.ties


def _chosen(line: Line, name: str | None) -> Line:
    """Return the line with the slug that the row gets, and its candidate's score."""
    candidates = line.pop("candidates", None)
    if name is None or candidates is None:
        return line
    score = next((c["score"] for c in candidates if c["slug"] == name), candidates[0]["score"])
    return line | {"slug": name, "score": score}


def plain_line(line: Line) -> str:
    """Return the slug of a row, behind its id if it has one; a bad row has an empty one."""
    slugs = [candidate["slug"] for candidate in line.get("candidates", [line])]
    return "\t".join(text or "" for text in [*([line["id"]] if "id" in line else []), *slugs])


def _write_text(lines: Iterable[Line], path: Path, form: Callable[[Line], str]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(form(line) + "\n" for line in lines)


def _write_parquet(lines: Iterable[Line], path: Path) -> None:
    try:
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter
    except ImportError as error:
        advice = 'pip install "vec2slug[files]", or give the file another ending'
        raise Vec2SlugError(f"expected pyarrow for {path.suffix}: {advice}") from error
    lines = iter(lines)
    batch = list(islice(lines, BATCH))
    several = any("candidates" in line for line in batch)
    pair = [pa.field("slug", pa.string()), pa.field("score", pa.float32())]
    schema = pa.schema([
        pa.field("id", pa.string()) if batch and "id" in batch[0] else pa.field("row", pa.int64()),
        *([pa.field("candidates", pa.list_(pa.struct(pair)))] if several else pair),
        pa.field("reason", pa.string()),
    ])  # fmt: skip
    with ParquetWriter(path, schema) as writer:
        while batch:
            writer.write_table(pa.Table.from_pylist(batch, schema))
            batch = list(islice(lines, BATCH))


# By the ending of a file's name.
FORMATS: dict[str, Callable[[Iterable[Line], Path], None]] = {
    ".jsonl": lambda lines, path: _write_text(lines, path, json.dumps),
    ".txt": lambda lines, path: _write_text(lines, path, plain_line),
    ".parquet": _write_parquet,
}


def check_format(path: Path) -> str:
    """Return the ending of a file of slugs.

    Raises:
        Vec2SlugError: it is of no format that is written.
    """
    if path.suffix not in FORMATS:
        raise Vec2SlugError(f"expected a file ending in {', '.join(FORMATS)}, got {path}")
    return path.suffix


def write_lines(lines: Iterable[Line], path: Path) -> None:
    """Write lines in the format of the path's ending, all or nothing."""
    with atomic(path) as temporary:
        FORMATS[check_format(path)](lines, temporary)


def read_slugs(path: Path) -> frozenset[str]:
    """Read the slugs of a file: of a table or JSON ``slug``, of text what ends each line.

    Raises:
        Vec2SlugError: no such file, or one without slugs.
    """
    try:
        if path.suffix == ".parquet":
            from pyarrow.parquet import read_table

            return frozenset(filter(None, read_table(path, columns=["slug"])["slug"].to_pylist()))
        with path.open(encoding="utf-8") as file:
            return frozenset(filter(None, _slugs(file)))
    except (OSError, ValueError, KeyError, TypeError) as error:
        said = " ".join(str(error).split())
        raise Vec2SlugError(f"expected slugs in {path}, but: {said}") from error


def _slugs(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        if line.startswith("{"):
            yield json.loads(line)["slug"]
        else:
            last = line.rstrip("\r\n").rpartition("\t")[2]
            yield last.strip().strip("/").rpartition("/")[2]  # of an address its last part
