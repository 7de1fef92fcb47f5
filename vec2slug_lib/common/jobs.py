"""Places that belong to one job, so that a killed one goes on and no other writes over it.

Whether results are a job's own is told by content: a description holds hashes of what the results
were made of, see `digest` and ``files.file_sha256``, and the settings; never a count or a time.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from .errors import Vec2SlugError
from .files import read_json, write_json


def digest(values: Iterable[str]) -> str:
    """Hash strings in their order, each with its length: SHA-256, hexadecimal."""
    whole = sha256()
    for value in values:
        data = value.encode(errors="surrogatepass")
        whole.update(len(data).to_bytes(8) + data)
    return whole.hexdigest()


@contextmanager
def one_writer(out: Path) -> Iterator[None]:
    """Keep other processes from writing the same output, a file or a folder, for a while.

    The lock ends with the process, however that ends; its hidden file beside ``out`` stays.

    Raises:
        Vec2SlugError: another process has the output; the message says which.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    path = out.with_name(f".{out.name}.lock")
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        holder = path.read_text(encoding="utf-8").strip() or "another process"
        raise Vec2SlugError(f"expected to be alone in writing {out}, but {holder} does") from None
    try:
        path.write_text(f"process {os.getpid()} on {platform.node()}\n", encoding="utf-8")
        yield
    finally:
        lock.release()


def open_job(path: Path, job: Any, what: str, occupied: bool = False) -> None:
    """Claim a free place for a job, or refuse another job's.

    Args:
        path: file of the job's description; written where the place is free.
        job: what the results depend on, as JSON.
        what: what the place should hold, such as ``slugs of this job in out``.
        occupied: whether results lie there; without a description they are not this job's.

    Raises:
        Vec2SlugError: the place holds results of another job; the message says what differs.
    """
    if path.is_file():
        if (theirs := read_json(path)) != job:
            differs = _first_difference(job, theirs)
            advice = "choose another place, or remove what is there"
            raise Vec2SlugError(f"expected {what}, got another job's: {differs}; {advice}")
    elif occupied:
        raise Vec2SlugError(f"expected {what}, got files of something else, without {path.name}")
    else:
        write_json(path, job)


def _first_difference(ours: Any, theirs: Any) -> str:
    """Describe the first key in which two descriptions differ; both whole where they have none."""
    if not (isinstance(ours, dict) and isinstance(theirs, dict)):
        return f"{ours} here and {theirs} there"
    key = next(key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key))
    return f"{key} is {ours.get(key)} here and {theirs.get(key)} there"
