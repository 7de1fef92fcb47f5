"""Golden cases: what Python gives, handed to node's own test runner to compare."""

from __future__ import annotations

import json
import os
import string
import subprocess
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings

from vec2slug_lib.common.vocabulary import SPECIALS

SCRIPT = Path(__file__).parent / "release" / "parity.test.mjs"
ROUNDING = 1e-5  # of sums of float32 numbers in another order
# A vocabulary that can write every word.
ALPHABET = [*SPECIALS, *string.ascii_lowercase, *string.digits, "cat", "dog", "og", "lo", "zoo"]


def drawn(strategy, count):
    """Examples of a strategy, the same in every run."""
    cases = []

    @settings(max_examples=count, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(strategy)
    def collect(case):
        cases.append(case)

    collect()
    return cases


def run_in_node(folder, kind, cases, **shared):
    """Hand golden cases to node's test runner; all of them must pass."""
    path = folder / "golden.json"
    path.write_text(json.dumps({"kind": kind, "cases": cases, **shared}, default=str), "utf-8")
    command = [
        "node",
        "--test",
        "--test-reporter=tap",
        str(SCRIPT),
    ]
    done = subprocess.run(
        command, env=os.environ | {"GOLDEN": str(path)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"\n# pass {len(cases)}\n" in done.stdout, done.stdout


def pairs(candidates):
    """Slugs and scores, as JSON has them."""
    return [[candidate.slug, candidate.score] for candidate in candidates]
