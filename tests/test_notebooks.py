"""Every notebook runs from nothing in preset ``smoke``, its records in a temporary folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
INTO_A_RELEASE = {"09_attention", "10_logit_lens"}  # chapters that look into a folder, if given
assert {path.stem for path in NOTEBOOKS} >= INTO_A_RELEASE


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_from_nothing(notebook, tmp_path):
    # An outer pytest's variables would make the inner one think it is a worker of it.
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    env |= {"VEC2SLUG_PRESET": "smoke", "VEC2SLUG_RUNS": str(tmp_path / "runs")}
    launch(
        "pytest", "--nbmake", "--nbmake-timeout=600", "-p", "no:xdist", notebook, cwd=ROOT, env=env
    )
    if notebook.stem in INTO_A_RELEASE:  # here, as the records that it compares with are made
        check_a_release(notebook, tmp_path / "out.ipynb", env)


def check_a_release(notebook, out, env):
    """The chapter says what is inside a release folder."""
    options = ["-p", "model_dir", "../data/models/vec2slug-minilm-small", "-p", "rows", "12"]
    launch("papermill", notebook, out, "--no-progress-bar", *options, cwd=notebook.parent, env=env)
    assert "vec2slug-minilm-small" in out.read_text(encoding="utf-8")


def launch(module, *arguments, cwd, env):
    """Run a program of this environment."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
