"""Where the ranks of a datatrove pipeline run: on this machine, on a Ray cluster or under Slurm.

All three mark a finished rank in the same folder, so any of them goes on where another stopped.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import dill
from datatrove.executor import LocalPipelineExecutor, SlurmPipelineExecutor

from ..common.errors import Vec2SlugError
from ..common.parallel import Engine, processes, ray_tasks

EXECUTORS = ("local", "ray", "slurm")
PAUSE = 5.0  # seconds between two looks at Slurm's queue
NAMED = 3  # shards that failed, in one message
LOOKS = 6  # in a row that find it empty: a shared file system may show the last files late


@dataclass(frozen=True)
class ExecutorConfig:
    """Place where a pipeline runs.

    Attributes:
        executor: "local", "ray" or "slurm".
        address: of the Ray cluster; see :func:`vec2slug_lib.common.parallel.connected`.
        partition: of Slurm.
        time: most that a rank may take under Slurm, as ``sbatch`` reads it.
    """

    executor: str = "local"
    address: str | None = None
    partition: str = ""
    time: str = "24:00:00"


LOCAL = ExecutorConfig()


def make_executor(
    place: ExecutorConfig,
    pipeline: Sequence[Any],
    tasks: int,
    logs: Path,
    workers: int | None = None,
) -> Ranks | Slurm:
    """Make the executor of a pipeline; its ``run`` returns when no rank runs any more.

    Args:
        place: where to run.
        pipeline: steps of datatrove.
        tasks: number of ranks.
        logs: folder of logs, statistics and marks of completion; all machines see it as this path.
        workers: ranks at a time; by default one a CPU here, and under Slurm as many as it lets
            run. Ray always runs one a CPU of the cluster.

    Raises:
        Vec2SlugError: no executor of this name, or Slurm without a partition.
    """
    if place.executor == "local":
        workers = min(workers or os.cpu_count() or 1, tasks)
        return Ranks(processes(workers), pipeline, tasks, logs)
    if place.executor == "ray":
        return Ranks(ray_tasks(place.address), pipeline, tasks, logs)
    if place.executor != "slurm":
        raise Vec2SlugError(
            f"expected executor to be one of {', '.join(EXECUTORS)}, got {place.executor!r}"
        )
    if not place.partition:
        raise Vec2SlugError("expected the name of a partition for Slurm, got none")
    return Slurm(place, pipeline, tasks, logs, workers)


class Ranks:
    """The ranks of a pipeline as items of an engine, and not as datatrove itself runs them.

    It waits for ever for a process that was killed, as by a machine that runs out of memory.
    """

    def __init__(self, engine: Engine, pipeline: Sequence[Any], tasks: int, logs: Path) -> None:
        self.engine = engine
        self.job = LocalPipelineExecutor([*pipeline], tasks, logging_dir=str(logs))

    def run(self) -> None:
        """Run the ranks that are not complete.

        Raises:
            Vec2SlugError: no such cluster, a process that was killed here, or a rank that failed;
                all others are run before that.
        """
        ranks = self.job.get_incomplete_ranks()
        work = partial(_reason, dill.dumps(self.job))  # dill, as pipelines may hold functions
        failed = [reason for _, reason in self.engine(work, ranks) if reason] if ranks else []
        if failed:
            more = "; and more" if len(failed) > NAMED else ""
            raise Vec2SlugError(
                f"expected all shards to go through, but {len(failed)} did not, because: "
                f"{'; '.join(failed[:NAMED])}{more}; mend that and run it again to go on"
            )

    def busy(self) -> bool:
        """Tell whether an earlier start still runs: never, as ranks end with it."""
        return False


def _reason(job: bytes, rank: int) -> str:
    """Run a rank; return why it failed, or "". A process has several, each with its own counts."""
    executor = dill.loads(job)
    try:
        executor._run_for_rank(rank)
    except Vec2SlugError as error:  # of the reader
        return f"{error} (--skip-bad goes on without the rest of it)"
    except Exception as error:  # one shard's, whatever it is: the others are still to be run
        log = Path(executor.logging_dir.path) / "logs" / f"task_{rank:05}.log"
        with log.open("a", encoding="utf-8") as file:
            traceback.print_exception(error, file=file)
        return f"{type(error).__name__}: {' '.join(str(error).split())} (more in {log})"
    return ""


class Slurm(SlurmPipelineExecutor):  # type: ignore[misc]
    """A job array that is waited for; jobs that an earlier start left in the queue are taken over.

    They are found by their name, which is made of the folder.
    """

    def __init__(
        self,
        place: ExecutorConfig,
        pipeline: Sequence[Any],
        tasks: int,
        logs: Path,
        workers: int | None,
    ) -> None:
        programs = shlex.quote(str(Path(sys.executable).parent))
        super().__init__(
            [*pipeline],
            tasks,
            place.time,
            place.partition,
            workers=workers or -1,
            job_name=f"vec2slug-{sha256(str(logs).encode()).hexdigest()[:12]}",
            qos="",  # the user's own
            env_command=f"export PATH={programs}:$PATH",
            logging_dir=str(logs),
            with_srun=False,
        )

    def run(self) -> None:
        """Submit the ranks that are not complete and wait; inside a job, run its ranks.

        Raises:
            Vec2SlugError: Slurm is not here, or does not take the job.
        """
        if "SLURM_ARRAY_TASK_ID" in os.environ:
            super().run()
            return
        try:
            if self.get_incomplete_ranks() and not self._queued():
                super().run()
        except (OSError, subprocess.CalledProcessError) as error:
            raise Vec2SlugError(f"expected Slurm to take the job, but: {error}") from error
        looks = 0
        while self.get_incomplete_ranks() and looks < LOOKS:
            time.sleep(PAUSE)
            try:
                looks = 0 if self._queued() else looks + 1
            except subprocess.CalledProcessError:
                looks = 0  # a controller that does not answer does not say that the jobs are over

    def busy(self) -> bool:
        """Tell whether jobs of an earlier start are in Slurm's queue."""
        try:
            return self._queued()
        except (OSError, subprocess.CalledProcessError):  # what `run` will say
            return False

    def launch_merge_stats(self) -> None:
        """Launch no further job for the sums: they come from the ranks' own statistics."""

    def _queued(self) -> bool:
        """Ask Slurm whether jobs of this name are in its queue."""
        queue = ["squeue", "--noheader", f"--name={self.job_name}"]
        return bool(subprocess.run(queue, check=True, stdout=subprocess.PIPE).stdout.strip())
