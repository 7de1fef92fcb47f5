"""From raw documents to clean pairs: the study's filters in its order, as a datatrove pipeline.

Local filters run per rank (one rank a shard of files; a finished rank is not redone); the filters
that need the whole corpus (duplicates, slug frequency) run afterwards in DuckDB.
"""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

from datatrove.pipeline.writers import ParquetWriter
from loguru import logger
from tqdm import tqdm

from ..common.errors import Vec2SlugError
from ..common.files import read_json, write_json
from ..common.jobs import open_job
from .deduplicate import global_filters
from .executors import LOCAL, ExecutorConfig, Ranks, Slurm, make_executor
from .filters import SCHEMA, ReadableFilter, _flat, local_filters
from .readers import open_source

# Here and not in a function: datatrove's workers import this module before they start to log.
logger.disable("datatrove")


def build(
    source: str, out: Path, tokenizer: Path, workers: int | None = 1, place: ExecutorConfig = LOCAL
) -> dict[str, Any]:
    """Run all filters over ``source``; write ``out/documents.parquet`` and ``out/funnel.json``.

    A run that was cut off goes on where it stopped: ranks that are complete are not redone.

    Args:
        source: what :func:`vec2slug_lib.data.readers.open_source` reads.
        out: folder for the result and the working files; on a cluster, it, the source and the
            tokenizer are at the same place of a file system that all machines share.
        tokenizer: a ``tokenizer.json`` on disk, used to count tokens.
        workers: see :func:`vec2slug_lib.data.executors.make_executor`.
        place: where the local filters run; the others run here.

    Returns:
        The funnel, see :func:`local_funnel` and :func:`global_filters`.

    Raises:
        Vec2SlugError: nothing to read, another source in ``out``, or a rank that failed.
    """
    # The workers of a cluster have other working folders.
    out, local = out.resolve(), source != "fineweb-edu" and Path(source).exists()
    reader, files = open_source(str(Path(source).resolve()) if local else source)
    tasks = min(files, 1000)
    job = {"source": source, "tasks": tasks}
    open_job(out / "job.json", job, f"{out} to hold the work of this source")
    writer = ParquetWriter(
        str(out / "ranks"), "${rank}.parquet", compression="zstd", adapter=_flat, schema=SCHEMA
    )
    pipeline = [reader, *local_filters(tokenizer.resolve()), writer]
    executor = make_executor(place, pipeline, tasks, out / "logs", workers)
    _run_with_progress(executor, out / "logs" / "completions", tasks)
    steps = local_funnel(out / "logs" / "stats")
    steps += global_filters(out / "ranks", out / "documents.parquet")
    funnel = {"source": Path(source).name, "steps": steps}
    write_json(out / "funnel.json", funnel)
    return funnel


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
        for step in read_json(path):
            if "FILTER" in step["name"]:
                counts = {k: v for k, v in step["stats"].items() if isinstance(v, int)}
                steps.setdefault(step["name"].split(": ")[-1], Counter()).update(counts)
    raw = steps[ReadableFilter.name]["total"] if steps else 0
    funnel: list[dict[str, Any]] = [{"name": "raw", "kept": raw, "dropped": {}}]
    for name, counts in steps.items():
        reasons = {k.removeprefix("dropped_"): v for k, v in counts.items() if "dropped_" in k}
        funnel.append(
            {"name": name, "kept": counts["forwarded"], "dropped": dict(sorted(reasons.items()))}
        )
    return funnel
