"""Whole processes that make one slug: the command, beside the same with MiniLM in torch.

That is how the command worked up to 0.1.0. Repetitions alternate, so that a busy machine slows all
alike; what is compared are ratios of medians of one run. Memory is the most that a process held.
Run: ``python benchmarks/command.py [--repetitions 15] [--out data/benchmarks/command.json]``.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from machine import is_free, processor

from vec2slug_lib.common.files import write_json
from vec2slug_lib.data import dataset

TEXT = "How to install and configure a web server on Linux"
TORCH = """
import sys
import numpy as np
from vec2slug_lib import SlugPredictor, open_embedder
predictor = SlugPredictor.from_dir(embedder=open_embedder("minilm", exact=True), threads=2)
given = sys.argv[1]
rows = given.endswith(".npy")
print(predictor.predict(np.load(given)) if rows else predictor.predict_texts([given]))
"""
# A process of its own starts and times each: a child's memory counts from that of its parent on.
LAUNCH = """
import os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(time.perf_counter() - began, usage.ru_maxrss / 1024)
sys.exit(status != 0)
"""


def one_run(command: list[str]) -> tuple[float, float]:
    """Seconds of a process from start to end, and the most memory that it held, in MiB."""
    launcher = [sys.executable, "-I", "-S", "-c", LAUNCH, *command]
    done = subprocess.run(launcher, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"expected {command} to succeed, but: {done.stderr}")
    seconds, mebibytes = map(float, done.stdout.split())
    return seconds, mebibytes


def main() -> None:
    """Time each process in turn; print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--out", type=Path, help="record to write")
    options = parser.parse_args()
    free = is_free()
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "row.npy"
        np.save(rows, dataset.load().part("test").vectors[:1])
        ours, torch = [sys.executable, "-m", "vec2slug_lib.cli"], [sys.executable, "-c", TORCH]
        commands = {
            "text": [*ours, TEXT],
            "text, torch": [*torch, TEXT],
            "vector": [*ours, "--vectors", str(rows)],
            "vector, not re-ranked": [*ours, "--vectors", str(rows), "--fast"],
            "vector, torch": [*torch, str(rows)],
        }
        runs: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for repetition in range(options.repetitions + 1):
            for name, command in commands.items():
                run = one_run(command)
                if repetition:  # the first fills the disk's cache
                    runs[name].append(run)
    record = {"processor": processor(), "alone": free, "processes": {}}
    for name, measured in runs.items():
        seconds, mebibytes = (list(values) for values in zip(*measured, strict=True))
        rival = f"{name.split(',')[0]}, torch"
        record["processes"][name] = {
            "seconds": statistics.median(seconds),
            "mebibytes": max(mebibytes),
            "of_torch": statistics.median(seconds) / statistics.median(s for s, _ in runs[rival]),
        }
        print(name, {key: round(v, 3) for key, v in record["processes"][name].items()})
    print(record["processor"], "alone" if free else "not alone")
    if options.out:
        write_json(options.out, record)


if __name__ == "__main__":
    main()
