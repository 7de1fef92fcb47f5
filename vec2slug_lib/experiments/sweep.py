"""Run a notebook over a grid of parameters: every cell once, whatever happens in between.

A finished cell is a notebook in the output folder; it is there whole or not at all. So a sweep that
was killed goes on when it is started again, and a cell that failed is tried again.
"""

from __future__ import annotations

import ast
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import nbformat
import pandas as pd
import yaml

from ..common.errors import Vec2SlugError
from ..common.files import atomic, file_sha256
from ..common.jobs import one_writer, open_job
from ..common.parallel import Engine, cores_each, threads
from ..common.workspace import current
from .parameters import check

GLUED = "application/papermill.record/"  # media type of a glued value, before its key
SCRATCH = ".running-"  # before the name of a cell that is not done
# Papermill that ends with the process that started it, at the end of the pipe that it holds: a
# worker that is killed leaves no notebook running beside the one that is started in its place.
PAPERMILL = """
import os, runpy, threading
threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()
runpy.run_module("papermill", run_name="__main__", alter_sys=True)
"""
# Ports of a kernel are chosen before it opens them, so another program may be quicker.
NO_PORT = "Kernel died before replying"
# A value in quotes or brackets, else up to the next comma.
VALUE = re.compile(r"""("[^"]*"|'[^']*'|\[.*?\]|[^,]*)(?:,|$)""")
Cell = dict[str, Any]  # a value for each swept parameter
Progress = Callable[[int], object]


class Outcome(NamedTuple):
    """What came of a sweep."""

    table: pd.DataFrame  # a row a finished cell: parameters, metrics, seconds, notebook
    failed: dict[str, str]  # message of each cell that failed, by the name of its notebook


def grid(options: Sequence[str]) -> list[Cell]:
    """Combine ``name=value,value`` options in every way, the last of them varying fastest.

    Raises:
        Vec2SlugError: an option of another form, or a parameter named twice.
    """
    values: dict[str, list[Any]] = {}
    for option in options:
        name, equals, listed = option.partition("=")
        if not (name.isidentifier() and equals and listed) or name in values:
            raise Vec2SlugError(f"expected each parameter once, as name=value,value; got {option}")
        values[name] = _values(listed)
    if not values:
        raise Vec2SlugError("expected at least one parameter to sweep, such as -p seed=0,1,2")
    return [dict(zip(values, cell, strict=True)) for cell in itertools.product(*values.values())]


def _values(listed: str) -> list[Any]:
    """Read values between commas; commas within quotes or brackets belong to a value."""
    try:
        return list(ast.literal_eval(f"[{listed}]"))
    except (ValueError, SyntaxError):
        return [_value(text) for text in VALUE.findall(listed)[:-1]]


def _value(text: str) -> Any:
    """Read a Python literal, else the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def cell_name(cell: Mapping[str, Any]) -> str:
    """Return the name of a cell's notebook, without the ending."""
    plain = ",".join(f"{name}={value}" for name, value in cell.items())
    # A value may be a path; two values that look alike as file names stay apart.
    safe = "".join(c if c.isalnum() or c in "=,._-" else "_" for c in plain)
    return safe if safe == plain else f"{safe[:80]}-{sha256(plain.encode()).hexdigest()[:8]}"


def sweep(
    notebook: Path,
    cells: Sequence[Cell],
    out: Path,
    jobs: int = 1,
    progress: Progress | None = None,
    engine: Engine | None = None,
) -> Outcome:
    """Run a notebook in a process a cell, and write ``sweep.parquet`` as cells finish.

    Args:
        notebook: with a cell of parameters (see `parameters`); its glued numbers are the metrics.
        cells: see `grid`.
        out: folder of the executed notebooks. Cells that are done there are not run again; a cell
            that failed stays as ``NAME.failed.ipynb``.
        jobs: processes at a time, that share the cores.
        progress: called with the number of cells that have just ended, first with those done.
        engine: where the processes are started, see `parallel`; ``threads(jobs)`` if None. On a
            cluster the notebook and ``out`` are on a file system that all nodes share.

    Raises:
        Vec2SlugError: before anything is run: no such notebook, one without a cell of parameters,
            an unknown parameter, a value of another type, or a folder of another sweep or in use.
    """
    job = {"notebook_sha256": _check(notebook, cells, jobs), **_data()}
    with one_writer(out / "sweep.json"):
        open_job(out / "sweep.json", job, f"{out} to hold a sweep of this notebook on these data")
        return _run_missing(notebook, cells, out, jobs, progress, engine)


def _data() -> dict[str, str]:
    """Describe what the chapters read beside their parameters: the data set and the preset."""
    here = current()
    pairs = here.data / "pairs.parquet"
    return {
        "data_sha256": file_sha256(pairs) if pairs.is_file() else "",
        "preset": here.preset,
    }


def _run_missing(
    notebook: Path,
    cells: Sequence[Cell],
    out: Path,
    jobs: int,
    progress: Progress | None,
    engine: Engine | None,
) -> Outcome:
    """Run the cells that are not done; write the table after each."""
    _clean(out)
    missing = [cell for cell in cells if not (out / f"{cell_name(cell)}.ipynb").is_file()]
    report = progress or (lambda _: None)
    report(len(cells) - len(missing))
    known: dict[Path, dict[str, Any]] = {}  # what the notebooks that were read already say
    failed: dict[str, str] = {}
    run = partial(_run, notebook.resolve(), out.resolve(), jobs)
    chosen = engine if engine and missing else threads(jobs)  # nothing to do needs no cluster
    with closing(chosen(run, missing)) as ended:
        for number, message in ended:
            if message:
                failed[cell_name(missing[number])] = message
            _write_table(cells, out, known)
            report(1)
    _clean(out)
    return Outcome(_write_table(cells, out, known), failed)


def _check(notebook: Path, cells: Sequence[Cell], jobs: int) -> str:
    """Refuse what cannot be swept; return the notebook's SHA-256."""
    source = _source(notebook)
    declared = _declared(source, notebook)
    for cell in cells:
        check(declared, {**declared, **cell})
    if jobs < 1:
        raise Vec2SlugError(f"expected jobs of 1 or more, got {jobs}")
    return sha256(source.encode()).hexdigest()


def _source(notebook: Path) -> str:
    if not notebook.is_file():
        raise Vec2SlugError(f"expected a notebook at {notebook}, found none")
    return notebook.read_text(encoding="utf-8")


def _declared(source: str, notebook: Path) -> dict[str, Any]:
    """Return the parameters of a notebook and their defaults, by its cell of parameters."""
    names: dict[str, Any] = {}
    try:
        cells = nbformat.reads(source, as_version=4).cells
        tagged = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
        if tagged:
            exec(tagged[0].source, names)
    except Exception as error:  # of a file that is no notebook, or whatever the cell raises
        words = " ".join(str(error).split())[:200]
        raise Vec2SlugError(f"expected a notebook in {notebook}, but: {words}") from error
    if "declared" not in names:
        raise Vec2SlugError(
            f"expected {notebook} to have a cell of parameters that ends with "
            "`declared = declare(globals())`, found none"
        )
    return dict(names["declared"])


def _clean(out: Path) -> None:
    for left in out.glob(f"{SCRATCH}*.ipynb"):  # of a sweep or a worker that was killed
        left.unlink()


def _run(notebook: Path, out: Path, jobs: int, cell: Cell) -> str:
    """Run one cell; return "" or what went wrong."""
    name = cell_name(cell)
    target, failure = out / f"{name}.ipynb", out / f"{name}.failed.ipynb"
    scratch = out / f"{SCRATCH}{uuid4().hex[:8]}-{name}.ipynb"  # of this try, and no other
    command = [sys.executable, "-c", PAPERMILL, str(notebook), str(scratch)]
    command += ["--no-progress-bar", "--cwd", str(notebook.parent), "-y", yaml.safe_dump(cell)]
    env = {"OMP_NUM_THREADS": str(cores_each(jobs)), **os.environ}
    done = _papermill(command, env)
    if NO_PORT in done.stderr:
        done = _papermill(command, env)
    if done.returncode == 0:
        failure.unlink(missing_ok=True)
        scratch.replace(target)
        return ""
    if scratch.is_file():
        scratch.replace(failure)
    return (done.stderr.strip().splitlines() or ["no message"])[-1]


def _papermill(command: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    read, write = os.pipe()  # nothing is ever written
    try:
        return subprocess.run(
            command, env=env, stdin=read, capture_output=True, text=True, check=False
        )
    finally:
        os.close(read)
        os.close(write)


def _write_table(
    cells: Sequence[Cell], out: Path, known: dict[Path, dict[str, Any]]
) -> pd.DataFrame:
    """Write ``sweep.parquet`` of all cells of the grid that are done, in its order."""
    paths = [(cell, out / f"{cell_name(cell)}.ipynb") for cell in cells]
    known |= {path: results(path) for _, path in paths if path not in known and path.is_file()}
    table = pd.DataFrame([{**cell, **known[path]} for cell, path in paths if path in known])
    for name in cells[0] if cells and len(table) else ():
        kinds = {type(cell[name]) for cell in cells} - {type(None)}
        if len(kinds) > 1 and not kinds <= {int, float}:  # a column has one kind
            table[name] = table[name].map(str)
    with atomic(out / "sweep.parquet") as temporary:
        table.to_parquet(temporary)
    return table


def results(path: Path) -> dict[str, Any]:
    """Read glued numbers of an executed notebook, its seconds, and its name."""
    content = nbformat.read(path, as_version=4)
    glued: dict[str, Any] = {}
    for output in itertools.chain.from_iterable(c.get("outputs", []) for c in content.cells):
        for kind, shown in output.get("data", {}).items():
            if not kind.startswith(GLUED):
                continue
            value = _value(shown) if isinstance(shown, str) else None
            if isinstance(value, int | float) and not isinstance(value, bool):
                glued[output.metadata["scrapbook"]["name"]] = value
    seconds = content.metadata["papermill"]["duration"]
    return {**glued, "seconds": seconds, "notebook": path.name}
