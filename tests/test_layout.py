"""The walls of the house: imports point upstream, files stay short, notebooks stay clean."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = sorted((ROOT / "vec2slug_lib").glob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

# In the order in which the data passes through: a module imports only from those before it.
ORDER = """
    errors files slugs vectors engines documents sources executors corpus embedding minilm
    minilm_graph openai_embedder openai_batch chat_baseline feasibility baselines dataset
    dataset_build spans span_set examples tokens vocab clustering models merged weights word_table
    losses distributed training decoder_objective ranking decoding risk retrieval evaluation scaling
    word_order collapse mlp_model mlp experiments runs word_record pipeline decodings batch claims
    interpret inside cached ahead calibration step_graph standalone card export paper inside_record
    steps inference playground slug_file slug_table figures report parameters sweep cli_input
    cli_data cli_paper cli_runs cli_scale cli
""".split()
# All that is loaded with what a user imports to make slugs.
INFERENCE_LOADS = {
    "errors", "files", "slugs", "vectors", "tokens", "ranking", "decoding", "risk", "cached",
    "ahead", "inference",
}  # fmt: skip


def imported(path):
    """Return the modules of the library that a file imports, wherever in the file it does so."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names = [alias.name for alias in node.names]
            if node.level == 1 or module.split(".")[0] == "vec2slug_lib":
                parts = module.removeprefix("vec2slug_lib").strip(".")
                found.update([parts.split(".")[0]] if parts else names)
        elif isinstance(node, ast.Import):
            parts = [alias.name.split(".") for alias in node.names]
            found.update(part[1] for part in parts if part[0] == "vec2slug_lib" and part[1:])
    return found - {"__version__"}


def test_imported_reads_every_form(tmp_path):
    source = tmp_path / "sample.py"
    source.write_text(
        "import os, vec2slug_lib.runs\n"
        "from . import slugs, __version__\nfrom .files import atomic\n"
        "def late():\n    from vec2slug_lib.vocab import PAD\n    from vec2slug_lib import corpus\n"
    )
    assert imported(source) == {"runs", "slugs", "files", "vocab", "corpus"}


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_imports_point_upstream(path):
    if path.stem == "__init__":
        assert not imported(path)
        return
    assert path.stem in ORDER, f"give {path.stem} its place in ORDER"
    upstream = set(ORDER[: ORDER.index(path.stem)])
    assert imported(path) <= upstream, f"imports from downstream: {imported(path) - upstream}"


def test_inference_needs_neither_torch_nor_the_rest_of_the_library():
    # None in sys.modules makes an import of that name fail.
    heavy = ["torch", "pandas", "pyarrow", "transformers", "sklearn", "plotly", "openai"]
    code = f"""
import sys
sys.modules.update(dict.fromkeys({heavy}))
import vec2slug_lib.inference
print(*(name.partition(".")[2] for name in sys.modules if name.startswith("vec2slug_lib.")))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert set(run.stdout.split()) <= INFERENCE_LOADS


@pytest.mark.parametrize(
    "path",
    [*LIBRARY, *sorted((ROOT / "tests").glob("*.py")), *sorted((ROOT / "benchmarks").glob("*.py"))],
    ids=lambda path: f"{path.parent.name}/{path.stem}",
)
def test_files_are_short(path):
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines < 400


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_clean(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] for cell in code), "clear all outputs before you commit"
    assert all(cell["execution_count"] is None for cell in code)
    tagged = [cell for cell in code if "parameters" in cell["metadata"].get("tags", [])]
    assert tagged == code[:1], "the first code cell, and no other, has the tag `parameters`"
    assert cells[0]["cell_type"] == "markdown"
    assert "".join(cells[0]["source"]).startswith("# ")
