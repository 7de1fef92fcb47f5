"""Command of ``vec2slug`` for more vectors than one machine likes: generate."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from .cli_input import progress_bar
from .errors import Vec2SlugError


def generate(argv: Sequence[str]) -> int:
    """``vec2slug generate INPUT --out FOLDER``: slugs of parquet files, here or on a Ray cluster.

    The folders of the vectors, the slugs and the model are on a file system that all nodes share,
    and vec2slug is installed on each.
    """
    from .engines import processes, ray_data
    from .inference import DEFAULT_MODEL
    from .slug_table import SlugJob, write_slug_tables

    parser = argparse.ArgumentParser("vec2slug generate", description=generate.__doc__)
    parser.add_argument("input", type=Path, help="parquet file, or a folder of them")
    where = "folder of one file of slugs for each of vectors; goes on with what is there"
    parser.add_argument("--out", type=Path, required=True, help=where)
    parser.add_argument("--column", default="embedding", help="of the vectors: lists of numbers")
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL, help="release folder")
    parser.add_argument("--precision", choices=("float32", "int8"), default="float32")
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--address", help="of a Ray cluster, or auto; default: one is started here")
    parser.add_argument(
        "--jobs", type=int, help="files at a time; default: 1, or with Ray one a CPU"
    )
    options = parser.parse_args(argv)
    if options.jobs is not None and options.jobs < 1:
        raise Vec2SlugError(f"expected --jobs of 1 or more, got {options.jobs}")
    if options.engine == "ray":
        engine, workers = ray_data(options.address, options.jobs), 1
    else:
        jobs = options.jobs or 1
        engine, workers = processes(jobs), max((os.cpu_count() or 1) // jobs, 1)
    job = SlugJob.claim(
        options.input, options.out, options.model, options.precision, options.column, workers
    )
    files = job.files()
    with progress_bar(sum(files.values())) as bar:
        write_slug_tables(job, files, engine, bar.update)
    print(f"{sum(files.values())} slugs of {len(files)} files in {options.out}")
    return 0
