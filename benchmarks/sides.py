"""Sides of a comparison, each in a process of its own, where no other side's threads are."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

PAUSE = 0.2  # seconds after which idle threads of onnxruntime have stopped to spin
Slugs = list[tuple[str, float]]
Side = Callable[[np.ndarray], Slugs]
Timed = Callable[[np.ndarray], tuple[float, Slugs]]


def serve(end: Any, opener: Callable[[], Side]) -> None:
    """Open a side; answer rows with seconds and slugs until there are none."""
    side = opener()
    while (rows := end.recv()) is not None:
        began = time.perf_counter()
        slugs = side(rows)
        end.send((time.perf_counter() - began, slugs))


@contextmanager
def sides_of(openers: Mapping[str, Callable[[], Side]]) -> Iterator[dict[str, Timed]]:
    """Open sides by name; each gives seconds and slugs of rows, and waits in between."""
    sides, ends, context = {}, [], multiprocessing.get_context("spawn")
    for name, opener in openers.items():
        near, far = context.Pipe()
        context.Process(target=serve, args=(far, opener), daemon=True).start()

        def ask(rows: np.ndarray, near: Any = near) -> tuple[float, Slugs]:
            near.send(rows)
            return near.recv()

        ends.append(near)
        sides[name] = ask
    try:
        yield sides
    finally:
        for end in ends:
            end.send(None)


def single_rows(sides: Mapping[str, Timed], rows: np.ndarray) -> dict[str, list[float]]:
    """Milliseconds of each row alone, all sides in turn."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for i in range(-3, len(rows)):
        for name, side in sides.items():
            time.sleep(PAUSE)
            spent, _ = side(rows[max(i, 0)][None])
            if i >= 0:  # first calls set things up
                times[name].append(1000 * spent)
    return times


def spread(values: list[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, median, high = np.percentile(values, [25, 50, 75])
    return {"median": float(median), "low": float(low), "high": float(high)}


def beside(times: Mapping[str, list[float]], base: str) -> dict[str, Any]:
    """Milliseconds a slug, and how many times as fast as the base of the same round."""
    ratios = {name: list(np.array(times[base]) / times[name]) for name in times}
    return {name: spread(times[name]) | {"ratio": spread(ratios[name])} for name in times}
