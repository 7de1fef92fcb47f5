"""A rehearsal of ``vec2slug paper``: killed at every stage, on a server that behaves badly.

The server speaks OpenAI's protocol on this machine and draws its vectors at random, so the models
are worth nothing. What counts is what was lost, and what was paid for twice. Run:
``python benchmarks/rehearsal.py [SOURCE] [--out record.json]``, SOURCE as FineWeb has its files;
without one, documents are made of common words.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from scaling import SHARDS, Inputs, make_documents
from tqdm import tqdm

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from openai_server import OpenAIServer

from vec2slug_lib.common.files import read_json, write_json

ROWS, BATCH = 3_000, 500  # documents where none are given; requests of a batch
FAULTS = ["429", "none", "500", "none", "drop", "none", "none", "slow", "none", "lost", "none"]
ENDINGS = ["expire", "errors", "", "fail"]  # of the first batches
# Small batches, so that there are several.
CODE = f"""
import sys
from vec2slug_lib.cli.main import main
from vec2slug_lib.embedding import openai_batch
openai_batch.BATCH_ROWS = {BATCH}
sys.exit(main(sys.argv[1:]))
"""


def stages(server: OpenAIServer, out: Path) -> dict[str, Callable[[], bool]]:
    """Moments at which the run is killed, in their order."""
    return {
        "documents are filtered": lambda: any((out / "corpus" / "ranks").glob("*")),
        "the first batch is made": lambda: bool(server.batches),
        "a batch is collected": lambda: any((out / "vectors.npy.batches").glob("*.npz")),
        "the data folder grows": lambda: (out / "data" / "pairs.parquet").exists(),
        "3i is in training": lambda: (out / "runs/3i/smoke/history.jsonl").exists(),
        "3i is being released": lambda: (out / "models/vec2slug-3i").exists(),
        "3j is in training": lambda: (out / "runs/3j/smoke/history.jsonl").exists(),
    }


def attempt(command: list[str], moment: Callable[[], bool] | None, log: Path) -> int | None:
    """Run once, until a moment if one is given; the exit code, None if killed."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", CODE, *command],
            stdout=file,
            stderr=file,
            env=os.environ | {"OPENAI_API_KEY": "sk-rehearsal"},
            start_new_session=True,
        )
        while process.poll() is None:
            if moment and moment():
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return None
            time.sleep(0.01)
    return process.returncode


def rehearse(source: Path, out: Path) -> dict[str, Any]:
    """All attempts until the last one ends well; what happened."""
    kills, refusals = [], 0
    with OpenAIServer(width=1536) as server:
        server.looks, server.endings, server.faults = 2, ENDINGS.copy(), FAULTS * 3
        command = [
            "paper", "--source", str(source), "--out", str(out), "--base-url", server.url,
            "--preset", "smoke", "--wait", "0.2", "--timeout", "0.5", "--yes",
        ]  # fmt: skip
        moments = stages(server, out)
        for name, moment in tqdm([*moments.items(), ("the end", None)], unit="attempt"):
            while (code := attempt(command, moment, out.with_suffix(".log"))) not in (0, None):
                refusals += 1  # a batch that the server will not have ends a run with a message
                if refusals > 10:
                    sys.exit(out.with_suffix(".log").read_text()[-2000:])
            kills += [name] if code is None else []
        paid, injected = server.paid(), dict(server.injected)
        ended = [batch["ending"] for batch in server.batches.values()]
    return {
        "kills": kills,
        "refusals": refusals,
        "faults": {name: count for name, count in injected.items() if name != "none"},
        "batches": len(ended),
        "batch_endings": {name: ended.count(name) for name in set(ended) - {""}},
        "paid_once": sum(count == 1 for count in paid.values()),
        "paid_more": sum(count > 1 for count in paid.values()),
        "report": read_json(out / "paper.json"),
    }


def main() -> None:
    """Rehearse, print, and write the record if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", nargs="?", type=Path)
    parser.add_argument("--out", type=Path, help="record to write")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        inputs = Inputs(Path(scratch) / "made", ROWS)
        if options.source is None:
            make_documents(inputs)
        found = rehearse(options.source or inputs.folder / SHARDS, Path(scratch) / "paper")
        documents = pd.read_parquet(Path(scratch) / "paper/corpus/documents.parquet")
    texts = documents["text"].nunique() + 12  # our twelve articles too
    found["lost"] = texts - found["paid_once"] - found["paid_more"]
    found["report"].pop("source")  # a place on this machine
    for name, value in found.items():
        print(f"{name:14} {value}")
    if options.out:
        write_json(options.out, found)


if __name__ == "__main__":
    main()
