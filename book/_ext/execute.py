"""Run the book's notebooks side by side, into the cache: ``execute.py CACHE JOBS NOTEBOOK...``.

Jupyter Book would run them one after another; what it finds in its cache, it takes from there.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn, JupyterCacheAbstract
from jupyter_cache.executors.utils import ExecutionResult, single_nb_execution

TIMEOUT = 3600  # seconds a cell, as in _config.yml
LONGEST = ("01_corpus", "05_bpe", "14_small_corpus", "11_evaluation")  # are started first


def missing(cache: JupyterCacheAbstract, paths: list[Path]) -> list[Path]:
    """List the notebooks whose cells are not in the cache, the longest first."""

    def hit(path: Path) -> bool:
        try:
            return bool(cache.match_cache_notebook(nbformat.read(path, as_version=4)))
        except KeyError:
            return False

    return sorted((path for path in paths if not hit(path)), key=lambda p: p.stem not in LONGEST)


def execute(path: Path) -> ExecutionResult:
    """Run a notebook in a kernel of its own, in its folder."""
    notebook = nbformat.read(path, as_version=4)
    return single_nb_execution(notebook, str(path.parent), TIMEOUT, allow_errors=False)


def main(folder: str, jobs: int, paths: list[Path]) -> int:
    """Run what the cache lacks; returns the exit code, 1 if a notebook failed."""
    os.environ["VEC2SLUG_BOOK"] = "1"  # as `offline` does
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # sums in one order, whatever the machine
    cache, failed = get_cache(folder), False
    with ThreadPoolExecutor(jobs) as pool:
        running = {pool.submit(execute, path.resolve()): path for path in missing(cache, paths)}
        for future in as_completed(running):
            path, result = running[future], future.result()
            failed |= result.err is not None
            print(f"{path}: {result.exc_string or f'{result.time:.0f} s'}", flush=True)
            if result.err is None:
                seconds = {"execution_seconds": result.time}
                bundle = CacheBundleIn(result.nb, str(path.resolve()), data=seconds)
                cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), list(map(Path, sys.argv[3:]))))
