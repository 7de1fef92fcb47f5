"""Places that belong to one job, so that a killed one goes on and no other writes over it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .errors import Vec2SlugError
from .files import read_json, write_json


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
