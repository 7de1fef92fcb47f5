"""Memory of a process and of all that it started."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import psutil


def family(pid: int) -> list[psutil.Process]:
    """List a process, all that it started, and what they started."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def anonymous(processes: Sequence[psutil.Process]) -> float:
    """Return MiB of anonymous memory.

    Not the whole of what is resident: pages of a memory-mapped file count there as soon as they
    are read, though the system may drop them at any time. What processes share counts for each.
    """
    total = 0
    for process in processes:
        with suppress(psutil.Error):  # a process that ends has no memory to tell of
            memory = process.memory_info()
            total += memory.rss - memory.shared
    return total / 2**20
