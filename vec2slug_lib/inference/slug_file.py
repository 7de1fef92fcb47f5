"""Slugs of any number of vectors as lines of one file, appended as they come.

A killed job goes on behind its last whole line, if the vectors up to there are still the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from ..common.errors import Vec2SlugError
from ..common.files import whole_lines, write_json_lines
from ..common.jobs import one_writer, open_job
from ..common.slugs import UniqueSlugs
from ..common.vectors import Array, check_shape, vector_key
from .beam_search import Candidate
from .predictor import SlugPredictor
from .rows import reason_of

KEY = 16  # bytes that stand for a vector in the list of what is done


def write_slugs(
    predictor: SlugPredictor,
    vectors: Array,
    out: Path,
    job: Mapping[str, Any],
    top_k: int = 1,
    unique: bool = False,
    progress: Callable[[int], object] | None = None,
    skip_bad: bool = False,
) -> int:
    """Write a line ``{"row": 0, "slug": ..., "score": ...}`` a row, or with all ``candidates``.

    What is done stands in ``OUT.part``; it becomes ``out`` when the last row is done.

    Args:
        predictor: makes the slugs.
        vectors: ``[N, input_dim]``, memory-mapped if they are many.
        out: the file, which must not be there yet.
        job: what a slug depends on beside its vector and the arguments here, such as the model's
            hash.
        top_k: candidates a row; of 2 or more, a line has the list.
        unique: whether a short hash of the vector ends the slug.
        progress: called with the number of rows just done, also those of an earlier run.
        skip_bad: whether a bad row is skipped: its line has the ``reason`` and no slug, and stands
            in ``OUT.bad`` too.

    Returns:
        How many rows were skipped.

    Raises:
        Vec2SlugError: ``out`` is there; or a part is, of other vectors or settings; or another
            process writes it; or a row is bad, in which case all rows before it are kept.
    """
    check_shape(vectors, predictor.config.input_dim)
    part, keys, note = (out.with_name(f"{out.name}.part{end}") for end in ("", ".keys", ".json"))
    settings = {**job, "width": vectors.shape[1], "top_k": top_k, "unique": unique}
    with one_writer(out):
        if out.exists():
            raise Vec2SlugError(f"expected to write {out} anew, but it is there: remove it first")
        if not part.exists():
            note.unlink(missing_ok=True)  # of a part that was removed
        open_job(note, settings, f"{part} to be of these settings", part.exists())
        done = _resume(part, keys, vectors)
        names = _names_of(part, vectors) if unique else None
        if progress and done:
            progress(done)
        found = predictor.stream(vectors[done:], top_k, progress, done, skip_bad)
        with part.open("a", encoding="utf-8") as lines, keys.open("ab") as digests:
            for row, candidates in enumerate(found, start=done):
                key = vector_key(vectors[row])
                digests.write(_digest(key))
                lines.write(_line(row, candidates, key, top_k, names))
        skipped = _write_bad(part, out.with_name(f"{out.name}.bad"))
        part.replace(out)
        keys.unlink()
        note.unlink()
    return skipped


def _digest(key: bytes) -> bytes:
    return sha256(key).digest()[:KEY]


def _line(
    row: int, candidates: list[Candidate], key: bytes, top_k: int, names: UniqueSlugs | None
) -> str:
    """Return the line of a row; of a bad one, which has no candidates, with the reason."""
    if not candidates:
        return json.dumps({"row": row, "slug": None, "reason": reason_of(candidates)}) + "\n"
    named = [
        {"slug": names.name(slug, key) if names else slug, "score": round(score, 4)}
        for slug, score in candidates
    ]
    content = named[0] if top_k == 1 else {"candidates": named}
    return json.dumps({"row": row, **content}) + "\n"


def _resume(part: Path, keys: Path, vectors: Array) -> int:
    """Return how many rows of a part are done, which must be those of ``vectors``.

    Raises:
        Vec2SlugError: they are of other vectors.
    """
    known = keys.read_bytes() if keys.is_file() else b""
    count = min(whole_lines(part), len(known) // KEY)  # a kill may have left one ahead
    same = [
        row < len(vectors)
        and known[row * KEY : (row + 1) * KEY] == _digest(vector_key(vectors[row]))
        for row in range(count)
    ]
    if not all(same):
        raise Vec2SlugError(
            f"expected {part} to be of the same vectors, but row {same.index(False)} is another; "
            "remove it, or give the vectors that it was made of"
        )
    _cut(part, keys, count)
    return count


def _cut(part: Path, keys: Path, count: int) -> None:
    """Cut a part and its keys to their first ``count`` rows."""
    with keys.open("ab") as file:
        file.truncate(count * KEY)
    with part.open("ab+") as file:
        file.seek(0)
        for _ in range(count):
            file.readline()
        file.truncate(file.tell())


def _lines(part: Path) -> Iterator[dict[str, Any]]:
    with part.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def _names_of(part: Path, vectors: Array) -> UniqueSlugs:
    """Give the rows that are done their names once more: those to come depend on them."""
    names = UniqueSlugs()
    for line in _lines(part):
        for candidate in line.get("candidates", [line]):
            if candidate["slug"] is not None:
                slug = candidate["slug"].rpartition("-")[0]
                names.name(slug, vector_key(vectors[line["row"]]))
    return names


def _write_bad(part: Path, bad: Path) -> int:
    """List the rows that were skipped, if there are any; return how many."""
    skipped = [line for line in _lines(part) if "reason" in line]
    if skipped:
        write_json_lines(bad, skipped)
    return len(skipped)
