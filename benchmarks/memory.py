"""Memory of a process and of all that it started, from ``/proc``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path


def family(pid: int) -> list[int]:
    """A process, all that it started, and what they started."""
    found, parents = [pid], {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            parents[folder.name] = (folder / "stat").read_text().rpartition(")")[2].split()[1]
    for known in found:  # grows as it goes
        found += [int(child) for child, parent in parents.items() if int(parent) == known]
    return found


def anonymous(pids: Sequence[int]) -> float:
    """MiB of anonymous memory.

    Not the whole of what is resident: pages of a memory-mapped file count there as soon as they
    are read, though the system may drop them at any time. What processes share counts for each.
    """
    total = 0
    for pid in pids:
        with suppress(OSError, IndexError):  # a process that ends has no memory to tell of
            status = Path(f"/proc/{pid}/status").read_text()
            total += int(status.split("RssAnon:")[1].split()[0])
    return total / 1024
