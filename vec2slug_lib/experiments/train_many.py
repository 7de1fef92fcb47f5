"""Many trainings in a row or side by side, each in a process of its own."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from functools import partial

from tqdm import tqdm

from ..common.errors import Vec2SlugError
from ..common.parallel import cores_each, threads
from ..common.workspace import current
from ..evaluation.records import Run
from .run import fit, make_pretraining
from .table import PRESETS, default_device, find, find_experiment, training_config
from .task import make_task, model_config


def train_many(
    names: Sequence[str], preset: str = "book", retrain: bool = False, jobs: int = 1
) -> None:
    """Make the records that are missing, after an estimate of the time on stderr.

    On a CPU two trainings of one thread each are faster than two in turn with two threads: the
    layers are too small to share. What is done is kept, and a training that was interrupted goes on
    from its checkpoint when this is called again.

    Args:
        names: experiments of the table, or variants of them.
        preset: for all of them.
        retrain: also those whose record is there.
        jobs: processes side by side; the cores are divided among them.

    Raises:
        Vec2SlugError: an unknown name, ``jobs`` below 1, or trainings that failed; the message
            names these and ends with the last line of each.
    """
    for name in names:
        find_experiment(name)
    find(PRESETS, "preset", preset)
    if jobs < 1:
        raise Vec2SlugError(f"expected one job or more, got {jobs}")
    wanted = [name for name in names if retrain or not Run(current().runs / name / preset).complete]
    if not wanted:
        return
    announce(wanted, preset, jobs)
    train = partial(train_one, preset=preset, retrain=retrain, jobs=jobs)
    with closing(threads(jobs)(train, wanted)) as ended:
        errors = dict(tqdm(ended, "trainings", len(wanted), unit="run"))
    if any(errors.values()):
        raise Vec2SlugError("; ".join(errors[i] for i in sorted(errors) if errors[i]))


def announce(names: Sequence[str], preset: str, jobs: int) -> None:
    """Say on stderr how long some trainings take at most."""
    times = [estimate(name, preset) for name in tqdm(names, "estimating", unit="run")]
    tqdm.write(
        f"{len(names)} trainings ({', '.join(names)}), {jobs} at a time: at most about "
        f"{sum(times) / 3600 / jobs:.1f} hours, less where validation ends them early",
        file=sys.stderr,
    )


def train_one(name: str, preset: str, retrain: bool, jobs: int) -> str:
    """Train in a process of its own, its bar in ``train.log``; return the line of an error."""
    folder = current().runs / name / preset
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "vec2slug_lib.cli", "train", name, "--preset", preset]
    with (folder / "train.log").open("w", encoding="utf-8") as log:
        done = subprocess.run(
            command + ["--retrain"] * retrain,
            env={**os.environ, "OMP_NUM_THREADS": str(cores_each(jobs))},
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode == 0:
        (folder / "train.log").unlink()
        return ""
    last = (folder / "train.log").read_text(encoding="utf-8").strip().splitlines()[-1:]
    return f"training {name} failed: {''.join(last)}"


def estimate(name: str, preset_name: str = "book", batches: int = 3) -> float:
    """Estimate the seconds that training takes here at most, by a few steps of the experiment."""
    make_pretraining(name, preset_name)
    task = make_task(name, preset_name)
    with tempfile.TemporaryDirectory() as folder:
        seconds = fit(task, model_config(task), folder, default_device(), batches).seconds
    rows = len(task.training_set.part("train").pairs)
    training = training_config(task.experiment, task.preset, rows)
    steps = math.ceil(rows / training.batch_size) * training.epochs
    return seconds / batches * steps
