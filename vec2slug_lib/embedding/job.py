"""Documents to vectors: what an embedder is, and the job that survives being killed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..common.errors import Vec2SlugError
from ..common.files import atomic
from ..common.jobs import open_job
from ..common.vectors import check_vectors
from .base import Embedder, check_texts


def embed_documents(
    ids: Sequence[str], texts: Sequence[str], embedder: Embedder, out: Path | str
) -> None:
    """Embed documents into one ``.npy`` file, float32 ``[N, dimensions]`` of unit rows.

    Beside ``out``, ``<out>.json`` says what the rows are, and each batch waits in ``<out>.parts/``
    until the last one is done. Killed and started again, the job goes on after the last
    finished batch, asks for none of them again, and ends with the same bytes as an unbroken run.

    Args:
        ids: N document ids.
        texts: N texts.
        embedder: what makes the vectors.
        out: target, ending in ``.npy``.

    Raises:
        Vec2SlugError: a bad text; another job's files at ``out``; vectors of the wrong number or
            width, not finite or zero. What was embedded so far stays for the next start.
    """
    out = Path(out)
    parts = out.with_name(f"{out.name}.parts")
    open_output(ids, texts, embedder, out)
    if not out.exists():
        files = list(_embed_parts(texts, embedder, parts))
        _join(files, len(texts), embedder.dimensions, parts / "whole.npy")
        (parts / "whole.npy").replace(out)
    shutil.rmtree(parts, ignore_errors=True)


def describe(ids: Sequence[str], texts: Sequence[str], embedder: Embedder) -> dict[str, str | int]:
    """Say what a job's vectors depend on: embedder, width, number and digest of documents."""
    if len(ids) != len(texts) or not len(ids):
        raise Vec2SlugError(
            f"expected one id a text and at least one, got {len(ids)} ids and {len(texts)} texts"
        )
    check_texts(texts)
    digest = sha256()
    for item in (value for pair in zip(ids, texts, strict=True) for value in pair):
        data = str(item).encode()
        digest.update(len(data).to_bytes(8) + data)
    return {
        "embedder": embedder.name,
        "dimensions": embedder.dimensions,
        "documents": len(ids),
        "documents_sha256": digest.hexdigest(),
    }


def manifest_of(out: Path) -> Path:
    """Return the path of the file that says what the rows of ``out`` are, from the start on."""
    return out.with_name(f"{out.name}.json")


def open_output(
    ids: Sequence[str], texts: Sequence[str], embedder: Embedder, out: Path
) -> dict[str, str | int]:
    """Claim ``out`` for a job, and return what `describe` says of it.

    Raises:
        Vec2SlugError: a bad text, a target that does not end in ``.npy``, or another job's files.
    """
    if out.suffix != ".npy":
        raise Vec2SlugError(f"expected an output path ending in .npy, got {out}")
    job = describe(ids, texts, embedder)
    open_job(manifest_of(out), job, f"vectors of this job at {out}", out.exists())
    return job


def _embed_parts(texts: Sequence[str], embedder: Embedder, folder: Path) -> Iterator[Path]:
    """Yield one file of vectors a batch; embed what has none yet."""
    with tqdm(total=len(texts), unit=" documents", desc=embedder.name) as bar:
        for number, piece in enumerate(embedder.batches(texts)):
            size = piece.stop - piece.start
            part = folder / f"{number:06d}.npy"
            if part.exists():
                bar.initial += size  # the time left is judged by the speed of this run alone
                vectors = np.load(part, mmap_mode="r")
            else:
                vectors = check_vectors(embedder.embed(texts[piece]), embedder.dimensions)
            if vectors.shape != (size, embedder.dimensions):
                raise Vec2SlugError(f"expected {size} vectors in {part}, got {vectors.shape}")
            if not part.exists():
                with atomic(part) as temporary:
                    np.save(temporary, vectors)
            bar.update(size)
            yield part


def _join(files: list[Path], rows: int, width: int, target: Path) -> None:
    """Concatenate the parts, one in memory at a time."""
    head = {"descr": "<f4", "fortran_order": False, "shape": (rows, width)}
    with atomic(target) as temporary, temporary.open("wb") as whole:
        np.lib.format.write_array_header_1_0(whole, head)
        for file in files:
            whole.write(np.load(file).tobytes())
