"""The script of a release is the library's inference, and needs nothing else of it."""

import ast
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from vec2slug_lib.inference.predictor import SlugPredictor
from vec2slug_lib.release.standalone import standalone

WITHOUT = """
import runpy, sys
names = ["vec2slug_lib", "torch", "tokenizers", "pandas", "onnx", "safetensors"]
sys.modules.update(dict.fromkeys(names))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def call(folder, *arguments):
    command = [sys.executable, "-c", WITHOUT, str(folder / "inference.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_slugs_are_the_librarys(release, tmp_path):
    rows = np.random.default_rng(0).normal(size=(4, 24)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    done = call(release, "--input", tmp_path / "rows.npy")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == SlugPredictor.from_dir(release).predict(rows)
    done = call(
        release, release, "--input", tmp_path / "rows.npy", "--topk", 2, "--precision", "int8"
    )
    best = SlugPredictor.from_dir(release, "int8").predict_topk(rows, 2)
    lines = [f"{slug}\t{score:.3f}" for row in best for slug, score in row]
    assert [line for line in done.stdout.splitlines() if line] == lines


@pytest.mark.parametrize("content", [b"", b"no array", np.ones((2, 5)).tobytes()])
def test_bad_input_is_one_line(release, tmp_path, content):
    (tmp_path / "rows.npy").write_bytes(content)
    done = call(release, "--input", tmp_path / "rows.npy")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("inference.py: ")
    assert done.stderr.count("\n") == 1


def test_no_module_takes_a_name_of_another():
    """Later names would replace earlier ones; types' short names are read by nobody at run time."""
    names = Counter()
    for node in ast.parse(standalone()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names[node.name] += 1
        elif isinstance(node, ast.Assign):
            value = ast.unparse(node.value)
            if not value.startswith(("NDArray", "npt.NDArray", "Callable", "Mapping")):
                names.update(target.id for target in node.targets if isinstance(target, ast.Name))
    assert [name for name, count in names.items() if count > 1] == []


def test_the_script_names_what_it_needs():
    head = standalone().split("# ///")[1]
    assert '"numpy>=2"' in head
    assert '"onnxruntime>=1.20"' in head
