"""Every notebook runs from nothing in preset ``smoke``, its records in a temporary folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_from_nothing(notebook, tmp_path):
    # An outer pytest's variables would make the inner one think it is a worker of it.
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    env |= {"VEC2SLUG_PRESET": "smoke", "VEC2SLUG_RUNS": str(tmp_path)}
    command = [sys.executable, "-m", "pytest", "--nbmake", "--nbmake-timeout=600", "-p", "no:xdist"]
    run = subprocess.run(
        [*command, str(notebook)], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("notebook", ["09_attention", "10_logit_lens"])
def test_looks_into_a_release_folder(notebook, tmp_path):
    env = {**os.environ, "VEC2SLUG_PRESET": "smoke", "VEC2SLUG_RUNS": str(tmp_path / "runs")}
    out, release = tmp_path / "out.ipynb", "../data/models/vec2slug-minilm-small"
    command = [
        sys.executable,
        "-m",
        "papermill",
        f"{notebook}.ipynb",
        str(out),
        "--no-progress-bar",
    ]
    options = ["-p", "model_dir", release, "-p", "rows", "12"]
    run = subprocess.run(
        [*command, *options], cwd=ROOT / "notebooks", env=env, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert "vec2slug-minilm-small" in out.read_text(encoding="utf-8")
