"""Slugs of any number of rows in one file, which grows as they come and is there when all are.

A killed job goes on behind its last whole line, if the rows up to there are still the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..common.errors import Vec2SlugError
from ..common.files import whole_lines, write_json_lines
from ..common.jobs import one_writer, open_job
from .predictor import SlugPredictor
from .slug_output import Line, Outcome, check_format, distinct_lines, line_of, write_lines
from .slug_rows import Feed, Named, Rows
from .unique import KEY


class Part(NamedTuple):
    """What a job has done, beside the file that it is to become: lines, keys, and a note."""

    out: Path

    def path(self, end: str = "") -> Path:
        """Return the path of one of its files."""
        return self.out.with_name(f"{self.out.name}.part{end}")

    def known(self) -> list[bytes]:
        """Return the keys of the rows that are done; what is beyond them is cut off."""
        keys = self.path(".keys")
        known = keys.read_bytes() if keys.is_file() else b""
        count = min(whole_lines(self.path()), len(known) // KEY)  # a kill may leave one ahead
        self._cut(count)
        return [known[row * KEY : (row + 1) * KEY] for row in range(count)]

    def _cut(self, count: int) -> None:
        with self.path(".keys").open("ab") as file:
            file.truncate(count * KEY)
        with self.path().open("ab+") as file:
            file.seek(0)
            for _ in range(count):
                file.readline()
            file.truncate(file.tell())

    def append(self, rows: Iterable[Named], several: bool) -> None:
        """Append rows as they come; all of each, or the best candidate."""
        path, keys_path = self.path(), self.path(".keys")
        with path.open("a", encoding="utf-8") as lines, keys_path.open("ab") as keys:
            for named in rows:
                keys.write(named.key)
                lines.write(json.dumps(line_of(named, several)) + "\n")

    def lines(self) -> Iterator[Line]:
        """Yield its lines."""
        with self.path().open(encoding="utf-8") as file:
            yield from map(json.loads, file)

    def remove(self) -> None:
        """Remove all its files."""
        for end in ("", ".keys", ".json"):
            self.path(end).unlink(missing_ok=True)


def write_slugs(
    predictor: SlugPredictor,
    rows: Iterable[Rows],
    out: Path,
    job: Mapping[str, Any],
    top_k: int = 1,
    progress: Callable[[int], object] | None = None,
    skip_bad: bool = False,
) -> Outcome:
    """Write ``row``, ``id`` if rows have one, ``slug`` and ``score``, or all ``candidates``.

    What is done stands in ``OUT.part``; it becomes ``out`` when the last row is done.

    Args:
        predictor: makes the slugs, as its settings ask.
        rows: see `slug_rows`.
        out: the file, which must not be there yet; its ending is its format, see `slug_output`.
        job: what a slug depends on beside its row and the arguments here, such as the model's
            hash.
        top_k: candidates a row; of 2 or more, a line has the list.
        progress: called with the number of rows just done, also those of an earlier run.
        skip_bad: whether a bad row is skipped: its line has the ``reason`` and no slug, and stands
            in ``OUT.bad`` too.

    Raises:
        Vec2SlugError: ``out`` is there; or a part is, of other rows or settings; or another
            process writes it; or a row is bad, in which case all rows before it are kept.
    """
    check_format(out)
    settings = predictor.settings
    asked = {**job, "top_k": top_k, "settings": settings.description()}
    part, several = Part(out), settings.distinct or top_k > 1
    with one_writer(out):
        if out.exists():
            raise Vec2SlugError(f"expected to write {out} anew, but it is there: remove it first")
        if not part.path().exists():
            part.path(".json").unlink(missing_ok=True)  # of a part that was removed
        occupied = part.path().exists()
        open_job(part.path(".json"), asked, f"{part.path()} to be of these settings", occupied)
        known = part.known()
        if progress and known:
            progress(len(known))
        feed = Feed(rows, known)
        found = feed.search(predictor, max(top_k, predictor.choices), progress, skip_bad)
        part.append(found, several)
        return _finish(part, feed.count, predictor)


def _finish(part: Part, rows: int, predictor: SlugPredictor) -> Outcome:
    """Turn a part that is complete into the file that it is to be."""
    skipped = [line for line in part.lines() if "reason" in line]
    if skipped:
        write_json_lines(part.out.with_name(f"{part.out.name}.bad"), skipped)
    ties = None
    if predictor.settings.distinct:
        keys = part.path(".keys").read_bytes()
        named, ties = distinct_lines(part.lines, keys, predictor)
        write_lines(named, part.out)
    elif part.out.suffix == ".jsonl":
        part.path().replace(part.out)
    else:
        write_lines(part.lines(), part.out)
    part.remove()
    return Outcome(rows, len(skipped), ties)
