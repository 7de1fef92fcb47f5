"""Slugs of a file of vectors, of any length, as JSON lines: in order, and resumable."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from .decoding import Candidate
from .errors import Vec2SlugError
from .files import read_json, whole_lines, write_json
from .inference import SlugPredictor, with_hash


def write_slugs(
    predictor: SlugPredictor,
    vectors: npt.NDArray[Any],
    out: Path,
    asked: Sequence[str],
    top_k: int = 1,
    unique: bool = False,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Write ``{"row": 0, "slug": ..., "score": ...}`` a row, with ``top_k`` over 1 all candidates.

    What is done stands in ``OUT.part``; it becomes ``out`` when the last row is done.

    Args:
        predictor: makes the slugs.
        vectors: ``[N, input_dim]``, memory-mapped if they are many.
        out: the file, which must not be there yet.
        asked: what the result depends on beside the arguments here, such as the model's hash.
        top_k: candidates a row.
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
    if part.exists() and (not note.exists() or read_json(note) != settings):
        raise Vec2SlugError(f"expected {part} to be of the same vectors and settings: remove it")
    write_json(note, settings)
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
