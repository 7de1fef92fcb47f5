"""Every notebook runs in preset ``smoke`` by nbmake, on records that the notebooks make.

Those in ALONE make all that they read in a folder of their own. The others share one, as readers
do, where the first that asks for a record makes it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from nbmake.nb_run import NotebookRun

from vec2slug_lib.experiments.sweep import NO_PORT

ROOT = Path(__file__).parents[1]
# Longest first; the first makes the record of every experiment.
FIRST = ("11_evaluation", "14_small_corpus", "09_attention", "03_mlp_collapse")
NOTEBOOKS = sorted(
    (ROOT / "notebooks").glob("*.ipynb"),
    key=lambda path: (FIRST.index(path.stem) if path.stem in FIRST else len(FIRST), path.stem),
)
ALONE = {"03_mlp_collapse", "14_small_corpus"}
INTO_A_RELEASE = {"09_attention", "10_logit_lens"}  # chapters that look into a folder, if given
assert {path.stem for path in NOTEBOOKS} >= {*FIRST, *ALONE, *INTO_A_RELEASE}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_from_nothing(notebook, tmp_path, common, monkeypatch):
    runs = (tmp_path if notebook.stem in ALONE else common) / "notebook-runs"
    monkeypatch.setenv("VEC2SLUG_PRESET", "smoke")
    monkeypatch.setenv("VEC2SLUG_RUNS", str(runs))
    error = execute(notebook).error
    assert error is None, error.trace
    if notebook.stem in INTO_A_RELEASE:  # here, as the records that it compares with are made
        check_a_release(notebook, tmp_path / "out.ipynb")


def execute(notebook):
    """Execute a notebook; once more where another program took a port of its kernel."""
    try:
        return NotebookRun(notebook, 600).execute()
    except RuntimeError as error:
        if NO_PORT not in str(error):
            raise
        return NotebookRun(notebook, 600).execute()


def check_a_release(notebook, out):
    """The chapter says what is inside a release folder."""
    options = ["-p", "model_dir", "../data/models/vec2slug-minilm-small", "-p", "rows", "12"]
    command = [sys.executable, "-m", "papermill", notebook, out, "--no-progress-bar", *options]
    done = subprocess.run(command, cwd=notebook.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "vec2slug-minilm-small" in out.read_text(encoding="utf-8")
