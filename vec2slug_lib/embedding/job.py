"""Documents to vectors: the job that survives being killed, and texts that have no vector."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..common.errors import Vec2SlugError
from ..common.files import atomic, read_json, write_json, write_json_lines
from ..common.jobs import digest, one_writer, open_job
from ..common.vectors import Floats, check_shape, unit_rows
from .base import Embedder, TextsRefused, text_fault

CHUNK = 10_000  # texts in memory


def embed_documents(
    ids: Sequence[str],
    texts: Sequence[str],
    embedder: Embedder,
    out: Path | str,
    skip_bad: bool = False,
) -> int:
    """Embed documents into one ``.npy`` file, float32 ``[N, dimensions]`` of unit rows.

    Beside ``out``, ``<out>.json`` says what the rows are, and each batch waits in ``<out>.parts/``
    until the last one is done. Killed and started again, the job goes on after the last
    finished batch, asks for none of them again, and ends with the same bytes as an unbroken run.

    Args:
        ids: N document ids.
        texts: N texts.
        embedder: what makes the vectors.
        out: target, ending in ``.npy``.
        skip_bad: whether to go on without a text that has no vector, be it empty or refused by the
            embedder: its row is NaN, and stands in ``<out>.bad`` with its id and the reason.

    Returns:
        How many rows were skipped.

    Raises:
        Vec2SlugError: a bad text, which is named by row and id; another job's files at ``out``, or
            another process that writes them; vectors of the wrong number or width, or none at all.
            What was embedded so far stays for the next start.
    """
    out = Path(out)
    parts = out.with_name(f"{out.name}.parts")
    job = describe(ids, texts, embedder, out, skip_bad)
    with one_writer(out):
        claim(job, out)
        if not out.exists():
            files, reasons = _embed_parts(ids, texts, embedder, parts, skip_bad)
            check_some(ids, reasons)
            _join(files, len(texts), embedder.dimensions, parts / "whole.npy")
            write_bad(ids, reasons, out)
            (parts / "whole.npy").replace(out)
        shutil.rmtree(parts, ignore_errors=True)
        return count_bad(out, skip_bad)


def describe(
    ids: Sequence[str], texts: Sequence[str], embedder: Embedder, out: Path, skip_bad: bool = False
) -> dict[str, str | int]:
    """Say what a job's vectors depend on: embedder, width, number and digest of documents.

    Raises:
        Vec2SlugError: a bad text, unless these are skipped; no document; or a target that does not
            end in ``.npy``.
    """
    if out.suffix != ".npy":
        raise Vec2SlugError(f"expected an output path ending in .npy, got {out}")
    if len(ids) != len(texts) or not len(ids):
        raise Vec2SlugError(
            f"expected one id a text and at least one, got {len(ids)} ids and {len(texts)} texts"
        )
    whole = digest(_content(ids, texts, skip_bad))
    server = getattr(embedder, "server", "")  # of a model that is not here
    return {
        "embedder": embedder.name,
        "dimensions": embedder.dimensions,
        **({"server": server} if server else {}),
        "documents": len(ids),
        "documents_sha256": whole,
    }


def _content(ids: Sequence[str], texts: Sequence[str], skip_bad: bool) -> Iterator[str]:
    """Yield ids and texts in turn, and look at each text."""
    for row, (name, text) in enumerate(zip(ids, texts, strict=True)):
        if (fault := text_fault(text)) and not skip_bad:
            raise Vec2SlugError(f"expected a text in row {row} (id {name}), but it {fault}")
        yield str(name)
        yield str(text)


def manifest_of(out: Path) -> Path:
    """Return the path of the file that says what the rows of ``out`` are, from the start on."""
    return out.with_name(f"{out.name}.json")


def bad_of(out: Path) -> Path:
    """Return the path of the list of rows of ``out`` that were skipped; absent if none was."""
    return out.with_name(f"{out.name}.bad")


def claim(job: Mapping[str, Any], out: Path) -> None:
    """Claim ``out`` for a job.

    Raises:
        Vec2SlugError: another job's files are there.
    """
    folders = (out.with_name(f"{out.name}.{ending}") for ending in ("parts", "batches"))
    occupied = out.exists() or any(any(folder.glob("[0-9]*")) for folder in folders)
    open_job(manifest_of(out), job, f"vectors of this job at {out}", occupied)


def check_some(ids: Sequence[str], reasons: Mapping[int, str]) -> None:
    """Refuse a job all of whose rows were skipped.

    Raises:
        Vec2SlugError: all were.
    """
    if len(reasons) == len(ids):
        wanted = "expected a vector of one text at least"
        raise Vec2SlugError(f"{wanted}, but row 0 has none: {reasons[0]}")


def write_bad(ids: Sequence[str], reasons: Mapping[int, str], out: Path) -> None:
    """Write the list of rows that were skipped, a line of JSON each; no file if none was."""
    if not reasons:
        bad_of(out).unlink(missing_ok=True)
        return
    lines = ({"row": row, "id": ids[row], "reason": reasons[row]} for row in sorted(reasons))
    write_json_lines(bad_of(out), lines, default=str)


def read_bad(out: Path) -> dict[int, str]:
    """Read which rows of ``out`` were skipped, and why.

    Raises:
        Vec2SlugError: the list is damaged.
    """
    if not bad_of(out).is_file():
        return {}
    try:
        lines = map(json.loads, bad_of(out).read_text("utf-8").splitlines())
        return {int(line["row"]): str(line["reason"]) for line in lines}
    except (ValueError, KeyError, TypeError) as error:
        raise Vec2SlugError(f"expected a list of rows in {bad_of(out)}, but: {error}") from error


def count_bad(out: Path, skip_bad: bool) -> int:
    """Count the rows of a finished job that were skipped.

    Raises:
        Vec2SlugError: some were, and should not be now.
    """
    bad = read_bad(out)
    if bad and not skip_bad:
        raise Vec2SlugError(
            f"expected a vector in each row of {out}, but an earlier run skipped {len(bad)}, "
            f"listed in {bad_of(out)}: say --skip-bad, or remove {out} to ask for all again"
        )
    return len(bad)


def _embed_parts(
    ids: Sequence[str], texts: Sequence[str], embedder: Embedder, folder: Path, skip_bad: bool
) -> tuple[list[Path], dict[int, str]]:
    """Embed what is in no part yet; return the parts, and the rows without a vector."""
    files, reasons, done = _read_parts(folder, embedder.dimensions)
    if done > len(texts):
        raise Vec2SlugError(f"expected {len(texts)} vectors in {folder}, got {done}")
    if reasons and not skip_bad:
        raise _refused(ids, reasons, folder)
    # What is done counts as initial: the time left is judged by the speed of this run alone.
    with tqdm(total=len(texts), initial=done, unit=" documents", desc=embedder.name) as bar:
        for first, piece in _pieces(texts, embedder, done):
            part = folder / f"{len(files):06d}.npy"
            vectors, bad = _embed(piece, embedder)
            if bad and not skip_bad:
                if least := min(bad):
                    _write_part(part, vectors[:least], {})
                raise _refused(ids, {first + row: why for row, why in bad.items()}, folder)
            _write_part(part, vectors, bad)
            reasons |= {first + row: why for row, why in bad.items()}
            files.append(part)
            bar.update(len(piece))
    return files, reasons


def _refused(ids: Sequence[str], reasons: Mapping[int, str], folder: Path) -> Vec2SlugError:
    """Return the error about the first row without a vector."""
    row = min(reasons)
    return Vec2SlugError(
        f"expected a vector of row {row} (id {ids[row]}), but {reasons[row]}; "
        f"what came before is kept in {folder}, and --skip-bad goes on without it"
    )


def _read_parts(folder: Path, width: int) -> tuple[list[Path], dict[int, str], int]:
    """List the parts from the first on; return them, the rows that were skipped, and how many rows.

    Raises:
        Vec2SlugError: one is damaged or of another width.
    """
    files: list[Path] = []
    reasons: dict[int, str] = {}
    done = 0
    while (part := folder / f"{len(files):06d}.npy").exists():
        try:
            vectors = np.load(part, mmap_mode="r")
            check_shape(vectors, width)
        except (ValueError, OSError, EOFError) as error:
            raise Vec2SlugError(f"expected vectors in {part}, but: {error}; remove it") from error
        note = part.with_suffix(".json")
        bad = read_json(note) if note.is_file() else {}
        reasons |= {done + int(row): str(why) for row, why in bad.items()}
        files.append(part)
        done += len(vectors)
    return files, reasons, done


def _write_part(part: Path, vectors: Floats, bad: Mapping[int, str]) -> None:
    """Write one part; the reasons first, as the vectors say that it is done."""
    note = part.with_suffix(".json")
    if bad:
        write_json(note, bad)
    else:
        note.unlink(missing_ok=True)
    with atomic(part) as temporary:
        np.save(temporary, vectors)


def _pieces(
    texts: Sequence[str], embedder: Embedder, first: int
) -> Iterator[tuple[int, list[str]]]:
    """Yield batches of texts, each with the number of its first row; a bad text is empty.

    One batch is cut at a time, as an embedder may learn how much it can take.
    """
    while first < len(texts):
        chunk = texts[first : (first // CHUNK + 1) * CHUNK]
        rest = ["" if text_fault(text) else text for text in chunk]
        while rest:
            piece = rest[next(iter(embedder.batches(rest)))]
            # The bad ones as they are: what is wrong with them is said later.
            start = len(chunk) - len(rest)
            yield first + start, list(chunk[start : start + len(piece)])
            rest = rest[len(piece) :]
        first += len(chunk)


def _embed(texts: Sequence[str], embedder: Embedder) -> tuple[Floats, dict[int, str]]:
    """Embed texts: unit vectors ``[N, width]``, NaN for those without, and why by row."""
    reasons = {
        row: f"its text {why}" for row, text in enumerate(texts) if (why := text_fault(text))
    }
    good = [row for row in range(len(texts)) if row not in reasons]
    vectors = np.full((len(texts), embedder.dimensions), np.nan, np.float32)
    if good:
        try:
            rows = embedder.embed([texts[row] for row in good])
        except TextsRefused as refused:
            rows = refused.vectors
            reasons |= {good[row]: why for row, why in refused.reasons.items()}
        check_shape(rows, embedder.dimensions)
        if len(rows) != len(good):
            raise Vec2SlugError(f"expected {len(good)} vectors by {embedder.name}, got {len(rows)}")
        vectors[good], bad = unit_rows(rows)
        reasons = {good[row]: f"its vector {why}" for row, why in bad.items()} | reasons
    return vectors, reasons


def _join(files: list[Path], rows: int, width: int, target: Path) -> None:
    """Concatenate the parts, one in memory at a time."""
    with atomic(target) as temporary, temporary.open("wb") as whole:
        write_head(whole, rows, width)
        for file in files:
            whole.write(np.load(file).tobytes())


def write_head(whole: Any, rows: int, width: int) -> None:
    """Write the head of a ``.npy`` file of float32 ``[rows, width]``."""
    head = {"descr": "<f4", "fortran_order": False, "shape": (rows, width)}
    np.lib.format.write_array_header_1_0(whole, head)
