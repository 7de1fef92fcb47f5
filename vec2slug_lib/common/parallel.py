"""Where many pieces of work are done: in threads or processes here, or on a Ray cluster.

An engine takes a function and the items to call it with, and yields the number of each item and
what the function said of it (nothing, or what went wrong) as the items end, in any order. An item
whose process was killed is tried again on Ray; so the function must be one that can be called
twice.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from multiprocessing import get_context
from typing import Any

from .errors import Vec2SlugError

Ended = Generator[tuple[int, str], None, None]
Engine = Callable[[Callable[[Any], str], Sequence[Any]], Ended]
RETRIES = 10  # of a task whose worker was lost; more is no accident
STORE = 100 << 20  # bytes of Ray's shared memory here: only names and messages pass through it


def cores_each(jobs: int) -> int:
    """Return how many cores each of some jobs side by side gets, at least one."""
    return max((os.cpu_count() or 1) // jobs, 1)


def threads(jobs: int = 1) -> Engine:
    """Work in threads of this process: for work that is done by processes that it starts."""

    def run(work: Callable[[Any], str], items: Sequence[Any]) -> Ended:
        with ThreadPoolExecutor(jobs) as pool:
            yield from _ended(pool, work, items)

    return run


def processes(jobs: int = 1) -> Engine:
    """Work in processes of this machine; with one job, in this process itself."""

    def run(work: Callable[[Any], str], items: Sequence[Any]) -> Ended:
        if jobs == 1:
            yield from ((number, work(item)) for number, item in enumerate(items))
            return
        try:  # spawned, as onnxruntime's threads do not live through a fork
            with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
                yield from _ended(pool, work, items)
        except BrokenProcessPool as error:
            raise Vec2SlugError(
                "expected all processes to live, but one was killed; run this again to go on"
            ) from error

    return run


def _ended(
    pool: ThreadPoolExecutor | ProcessPoolExecutor,
    work: Callable[[Any], str],
    items: Sequence[Any],
) -> Ended:
    """Yield the number and the message of each item of a pool as it ends."""
    try:
        running: dict[Future[str], int] = {}
        for number, item in enumerate(items):
            running[pool.submit(work, item)] = number
        for done in as_completed(running):
            yield running[done], done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def ray_tasks(address: str | None = None) -> Engine:
    """Work on Ray: one task of one CPU an item.

    Args:
        address: as `connected`.
    """

    def run(work: Callable[[Any], str], items: Sequence[Any]) -> Ended:
        with connected(address) as ray:
            task = ray.remote(num_cpus=1, max_retries=RETRIES)(lambda item: work(item))
            running = {task.remote(item): number for number, item in enumerate(items)}
            while running:
                (done, *_), _ = ray.wait(list(running))
                try:
                    message = ray.get(done)
                except ray.exceptions.RayError as error:
                    message = _last_line(error)
                yield running.pop(done), message

    return run


def ray_data(address: str | None = None, jobs: int | None = None) -> Engine:
    """Work by Ray Data: one block and one task of one CPU an item.

    So what is lost with a worker is one item. Tasks, not a pool of actors: a lost task goes to the
    next CPU that is free. A lost actor keeps its items until there is room for the actor again,
    which on a cluster that has become smaller is when all others are done. Tasks also spread to
    nodes that come later. Ray keeps a worker's process for the next task, so what is loaded once a
    process is loaded as seldom as by an actor. Ray Data tries a lost task again as often as it
    takes.

    Args:
        address: as `connected`.
        jobs: most tasks at a time; as many as the cluster has CPUs if None.
    """

    def run(work: Callable[[Any], str], items: Sequence[Any]) -> Ended:
        with connected(address) as ray:
            from ray import data

            logging.getLogger("ray.data").setLevel(logging.ERROR)
            data.DataContext.get_current().enable_progress_bars = False
            data.DataContext.get_current().print_on_execution_start = False
            rows = [{"number": number, "item": item} for number, item in enumerate(items)]
            ended = data.from_items(rows, override_num_blocks=len(rows)).map(
                lambda row: {"number": row["number"], "message": work(row["item"])},
                num_cpus=1,
                concurrency=jobs,
            )
            try:
                for row in ended.iter_rows():
                    yield row["number"], row["message"]
            except ray.exceptions.RayError as error:
                raise Vec2SlugError(
                    f"expected Ray to end the job, but: {_last_line(error)}; run it again to go on"
                ) from error

    return run


@contextmanager
def connected(address: str | None = None) -> Iterator[Any]:
    """Connect the package ray to a cluster, or use the connection that is there already.

    Args:
        address: ``host:port`` of the cluster, or ``auto`` for the one that runs on this machine;
            if None, a cluster of this machine alone is started, and stopped afterwards.

    Raises:
        Vec2SlugError: ray is not installed, or there is no such cluster.
    """
    try:
        import ray
    except ImportError as error:
        raise Vec2SlugError(
            "expected the package ray, found none: install vec2slug[scale]"
        ) from error
    if ray.is_initialized():
        yield ray
        return
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        settings |= {"object_store_memory": STORE, "include_dashboard": False}
    try:
        _check_reachable(address)
        with nullcontext() if address else on_loopback():
            ray.init(address or "local", **settings)
    except Exception as error:  # Ray raises just this for a node that does not start
        where = f"at {address}" if address else "to start here"
        raise Vec2SlugError(f"expected a Ray cluster {where}, but: {error}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def on_loopback() -> Iterator[None]:
    """Have a cluster that is started meanwhile stay on this machine, and report to nobody.

    Ray starts a process for reports, without a dashboard too. With reports switched off, it still
    asks three clouds' services whether it runs there, and may report that reports are off. And
    Ray's processes find their address by connecting to a public one, unless told not to.
    """
    from unittest import mock

    from ray._private import node, ray_constants

    with (
        mock.patch.object(node.Node, "start_api_server"),
        mock.patch.object(ray_constants, "ENABLE_RAY_CLUSTER", False),
        mock.patch.dict(os.environ, {ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR: "0"}),
    ):
        yield


def _check_reachable(address: str | None) -> None:
    """Ask for the port first: Ray waits five minutes for a cluster that is not there."""
    host, _, port = (address or "").rpartition(":")
    if port.isdigit() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=10).close()


def _last_line(error: Exception) -> str:
    """Return the last line of an error's message, or else the error's kind."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
