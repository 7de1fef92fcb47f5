"""What of an earlier run into the same folder still holds: told by content, shard by shard.

Each shard has a mark of completion, statistics, documents and a list of the rows that
were skipped. ``job.json`` says what each shard was made of.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datatrove.pipeline.filters.base_filter import BaseFilter

from ..common.errors import Vec2SlugError
from ..common.files import file_sha256, read_json, write_json
from ..common.jobs import digest, open_job
from .filters import ReadableFilter
from .readers import BROKEN
from .sources import Source

PRODUCTS = ("documents.parquet", "funnel.json", "skipped.jsonl")
RANK = re.compile(r"\d{5}(?=\.|$)")  # in the name of a shard's file


def describe(
    source: Source, tasks: int, tokenizer: Path, filters: Sequence[BaseFilter]
) -> dict[str, Any]:
    """Say what the shards of a source depend on: the content of their files, and the settings.

    Args:
        source: the files.
        tasks: number of shards; each has every n-th file.
        tokenizer: file of the one that counts tokens.
        filters: which, and how they are set.

    Raises:
        Vec2SlugError: the tokenizer cannot be read.
    """
    try:
        settings = {"tokenizer": file_sha256(tokenizer), "filters": _settings(filters)}
    except OSError as error:
        raise Vec2SlugError(f"expected a tokenizer at {tokenizer}, but: {error}") from error
    hashes, same = source.hashes(), json.dumps(settings, sort_keys=True)
    named = [f"{path} {content}" for path, content in zip(source.files, hashes, strict=True)]
    return {
        "source": source.address,
        "content": digest(sorted(hashes)),
        "settings": settings,
        "shards": [digest([same, *named[rank::tasks]]) for rank in range(tasks)],
    }


def _settings(filters: Sequence[BaseFilter]) -> dict[str, Any]:
    """Gather the numbers and words that filters are set by; the tokenizer goes by its content."""
    plain = (str, int, float, bool, tuple, list)
    return {
        each.name: {
            key: value
            for key, value in sorted(vars(each).items())
            if isinstance(value, plain) and key not in ("tokenizer", "batch_size")
        }
        for each in filters
    }


def check_mine(out: Path, job: dict[str, Any]) -> dict[str, Any]:
    """Return the description of the earlier run in a folder, empty if there is none.

    Raises:
        Vec2SlugError: it was of another source, with other content.
    """
    path = out / "job.json"
    if not path.is_file():
        return {}
    theirs = read_json(path)
    before = theirs if isinstance(theirs, dict) and "shards" in theirs else {}
    if before.get("content") != job["content"] and before.get("source") != job["source"]:
        open_job(path, {"source": job["source"]}, f"{out} to hold the work of this source")
    return before


def take_up(out: Path, job: dict[str, Any], before: dict[str, Any], skip_bad: bool) -> int:
    """Keep the shards that were made of the same, under the numbers they have now; drop the rest.

    Args:
        out: folder of the run.
        job: what its shards depend on, see `describe`.
        before: the same of the earlier run, see `check_mine`.
        skip_bad: whether shards that lack what a broken file held are good, too.

    Returns:
        How many shards are not kept although the folder had shards: new and changed ones.
    """
    ours, theirs = job["shards"], before.get("shards", [])
    dropped = set[int]()
    if ours != theirs:
        places = {each: rank for rank, each in enumerate(ours)}
        _renumber(out, {old: places[each] for old, each in enumerate(theirs) if each in places})
        dropped = {rank for each, rank in places.items() if each not in set(theirs)}
    write_json(out / "job.json", job)
    marks = out / "logs" / "completions"
    done = {int(path.name) for path in marks.glob("?????")}
    for rank in sorted(done):
        if not is_good(out, rank, skip_bad):
            (marks / f"{rank:05}").unlink()
            dropped.add(rank)
    if dropped or len(done) < len(ours):
        for name in PRODUCTS:
            (out / name).unlink(missing_ok=True)
    return len(dropped) if theirs else 0


def _renumber(out: Path, numbers: dict[int, int]) -> None:
    """Give the files of shards the numbers that they have now; remove those of all others.

    Without ``job.json``, as a kill half way leaves it, nothing in the folder is trusted.
    """
    aside = out / "before"
    shutil.rmtree(aside, ignore_errors=True)
    (out / "job.json").unlink(missing_ok=True)
    aside.mkdir(parents=True)
    for name in ("logs", "ranks", "skipped"):
        if (out / name).is_dir():
            (out / name).rename(aside / name)
    for path in [path for path in aside.rglob("*") if path.is_file()]:
        rank = RANK.search(path.name)
        if rank and int(rank[0]) in numbers:
            name = RANK.sub(f"{numbers[int(rank[0])]:05}", path.name)
            target = (out / path.relative_to(aside)).with_name(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
    shutil.rmtree(aside)


def is_good(out: Path, rank: int, skip_bad: bool) -> bool:
    """Tell whether a shard that is marked as complete has all the documents that it counted.

    Args:
        out: folder of the run.
        rank: number of the shard.
        skip_bad: whether one that lacks what a broken file held is good, too.
    """
    files = (out / "ranks").glob(f"*_{rank:05}.parquet")
    try:
        counts = dict(filter_counts(out / "logs" / "stats" / f"{rank:05}.json"))
        *_, last = counts.values()
        broken = counts[ReadableFilter.name].get(f"dropped_{BROKEN}", 0)
        rows = sum(pq.read_metadata(path).num_rows for path in files)
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException):
        return False
    return bool(rows == last.get("forwarded", 0) and (skip_bad or not broken))


def filter_counts(stats: Path) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield the name and the counts of each filter from the statistics of a shard."""
    for step in read_json(stats):
        if "FILTER" in step["name"]:
            counts = {key: value for key, value in step["stats"].items() if isinstance(value, int)}
            yield step["name"].split(": ")[-1], counts
