"""From raw documents to clean pairs: the study's filters in its order, as a datatrove pipeline.

Local filters run per rank (one rank a shard of files; a finished rank is not redone); the filters
that need the whole corpus (duplicates, slug frequency) run afterwards in DuckDB.
"""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..common.errors import Vec2SlugError
from ..common.files import atomic, file_sha256, read_json, write_json
from ..common.jobs import digest, one_writer
from .deduplicate import GLOBAL_FILTERS, global_filters
from .executors import LOCAL, ExecutorConfig, Ranks, Slurm, make_executor
from .filters import ReadableFilter, ShardWriter, SkippedWriter, local_filters
from .shards import check_mine, describe, filter_counts, take_up
from .sources import open_source

MOST_SHARDS = 1000  # beyond as many files, a shard has several


def build(
    source: str,
    out: Path,
    tokenizer: Path,
    workers: int | None = 1,
    place: ExecutorConfig = LOCAL,
    skip_bad: bool = False,
    titles: bool = False,
) -> dict[str, Any]:
    """Run all filters over ``source``; write ``out/documents.parquet`` and ``out/funnel.json``.

    A run that was cut off goes on where it stopped, and a second one does only what is needed: a
    shard is filtered again if the content of its files or the settings of the filters changed.
    ``out/skipped.jsonl`` lists the rows and files that could not be read, with the reason.

    Args:
        source: what :func:`vec2slug_lib.data.sources.open_source` reads.
        out: folder for the result and the working files; on a cluster, it, the source and the
            tokenizer are at the same place of a file system that all machines share.
        tokenizer: a ``tokenizer.json`` on disk, used to count tokens.
        workers: see :func:`vec2slug_lib.data.executors.make_executor`.
        place: where the local filters run; the others run here.
        skip_bad: go on past broken files and such as are not readable, with all rows before the
            break, instead of ending with an error after all other shards.
        titles: keep documents that have no slug in their address, labelled by their title.

    Returns:
        The funnel: the source's name, ``steps`` of :func:`local_funnel` and
        :func:`global_filters`, how many files were left out, and hashes of what it was made of and
        of ``documents.parquet``.

    Raises:
        Vec2SlugError: nothing to read, another source in ``out``, another process that writes
            there, a shard that failed, or no document left.
    """
    out, tokenizer = out.resolve(), tokenizer.resolve()  # a cluster has other working folders
    opened = open_source(source, out, skip_bad)
    tasks = min(len(opened.files), MOST_SHARDS)
    filters = local_filters(tokenizer, SkippedWriter(out), titles)
    with one_writer(out):
        job = describe(opened, tasks, tokenizer, filters)
        pipeline = [opened.reader(skip_bad), *filters, ShardWriter(out)]
        executor = make_executor(place, pipeline, tasks, out / "logs", workers)
        _take_up(out, job, executor, skip_bad)
        left_out = opened.count_left_out()
        whole = [*job["shards"], str(GLOBAL_FILTERS), str(left_out)]
        made_of = {"made_of_sha256": digest(whole)}
        funnel = _finished(out, made_of)
        if funnel is None:
            _run_with_progress(executor, out / "logs" / "completions", tasks)
            _list_skipped(out, opened.left_out)
            steps = local_funnel(out / "logs" / "stats")
            steps += _finish(out, steps)
            hashed = {**made_of, "parquet_sha256": file_sha256(out / "documents.parquet")}
            funnel = {"source": Path(source).name, "steps": steps, "left_out": left_out, **hashed}
            write_json(out / "funnel.json", funnel)
    return funnel


def _take_up(out: Path, job: dict[str, Any], executor: Ranks | Slurm, skip_bad: bool) -> None:
    """Keep what holds of an earlier run; say on stderr how much does not.

    Raises:
        Vec2SlugError: the earlier run was another source's, or its jobs are still in a queue.
    """
    before = check_mine(out, job)
    if before and before["shards"] != job["shards"] and executor.busy():
        raise Vec2SlugError(
            f"expected files that stay as they are while jobs of an earlier start write to {out}; "
            "wait for them, or cancel them"
        )
    again = take_up(out, job, before, skip_bad)
    if again:
        print(
            f"vec2slug: {again} of {len(job['shards'])} shards are filtered again, as their files "
            "or the settings have changed",
            file=sys.stderr,
        )


def _finished(out: Path, made_of: dict[str, str]) -> dict[str, Any] | None:
    """Return the funnel of a run that has all that this one would make; None if there is none."""
    documents, funnel = out / "documents.parquet", out / "funnel.json"
    if not (documents.is_file() and funnel.is_file()):
        return None
    content: dict[str, Any] = read_json(funnel)
    wanted = {**made_of, "parquet_sha256": file_sha256(documents)}
    return content if wanted.items() <= content.items() else None


def _finish(out: Path, steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Run the filters that look at all documents; return their steps of the funnel.

    Raises:
        Vec2SlugError: there is nothing to look at, or the shards' files cannot be read.
    """
    if not steps[-1]["kept"]:
        dropped = [f"{reason} {n:,}" for step in steps for reason, n in step["dropped"].items()]
        raise Vec2SlugError(
            "expected documents to filter, but no document passed the filters: "
            f"{steps[0]['kept']:,} rows, dropped as {', '.join(dropped) or 'nothing'}"
        )
    return global_filters(out / "ranks", out / "documents.parquet")


def _list_skipped(out: Path, left_out: dict[str, str]) -> None:
    """Join the shards' lists of skipped rows, and list the files that were left out."""
    files = sorted((out / "skipped").glob("*.jsonl"))
    others = [{"file": path, "row": None, "reason": kind} for path, kind in left_out.items()]
    shown = [json.dumps(other) for other in others if other["reason"] != "hidden"]
    with atomic(out / "skipped.jsonl") as temporary, temporary.open("wb") as target:
        for file in files:
            target.write(file.read_bytes())
        target.write("".join(f"{line}\n" for line in shown).encode())
    if not files and not shown:
        (out / "skipped.jsonl").unlink()


def _run_with_progress(executor: Ranks | Slurm, completions: Path, tasks: int) -> None:
    """Run all ranks beside a bar that counts their marks of completion."""
    done = threading.Event()

    def watch() -> None:
        with tqdm(total=tasks, desc="filtering", unit="shard") as bar:
            while not done.wait(0.5):
                bar.n = len(list(completions.glob("*")))
                bar.refresh()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        executor.run()
    finally:
        done.set()
        watcher.join()
    finished = len(list(completions.glob("*")))
    if finished != tasks:
        raise Vec2SlugError(
            f"expected {tasks} finished shards, but {tasks - finished} are missing (see "
            f"{completions.parent}); run it again to go on"
        )


def local_funnel(stats: Path) -> list[dict[str, Any]]:
    """Sum the counts after each local filter over ranks: name, kept, dropped by reason."""
    steps: dict[str, Counter[str]] = {}
    for path in sorted(stats.glob("*.json")):
        for name, counts in filter_counts(path):
            steps.setdefault(name, Counter()).update(counts)
    raw = steps[ReadableFilter.name]["total"] if steps else 0
    funnel: list[dict[str, Any]] = [{"name": "raw", "kept": raw, "dropped": {}}]
    for name, sums in steps.items():
        reasons = {k.removeprefix("dropped_"): v for k, v in sums.items() if "dropped_" in k}
        funnel.append(
            {"name": name, "kept": sums["forwarded"], "dropped": dict(sorted(reasons.items()))}
        )
    return funnel
