"""The wheel in empty environments, outside the checkout: what a new user gets.

Each Python that is there gets an environment of the wheel and what it declares, and then the extra
``text``; the slugs are those of the checkout.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from vec2slug_lib import SlugPredictor, __version__, open_embedder
from vec2slug_lib.data import dataset
from vec2slug_lib.embedding.minilm_graph import reader_folder
from vec2slug_lib.inference.release_folder import DEFAULT_MODEL
from vec2slug_lib.release import ensure_graphs

ROOT = Path(__file__).parents[1]
TEXT = "How to install and configure a web server on Linux"
PYTHONS = ("3.11", "3.12", "3.13")
LIMIT = 100_000_000  # bytes of a file on PyPI
LINE = 'vec2slug: expected the extra {extra}: pip install "vec2slug[{extra}]"\n'
HEAVY = ("torch", "pandas", "pyarrow", "sklearn", "safetensors", "openai", "onnx")
PREDICT = """
import numpy as np
from vec2slug_lib import SlugPredictor
print(*SlugPredictor.from_dir().predict(np.load("rows.npy")), sep="\\n")
"""
PLACES = "from vec2slug_lib.common.workspace import ROOT, PACKAGE; print(ROOT, PACKAGE)"
PACKAGES = "from importlib.metadata import distributions as d; print(*(x.name for x in d()))"
LOADED = f"""
import sys
from vec2slug_lib.cli.main import main
assert main([{TEXT!r}]) == 0
print(*(name for name in {HEAVY} if name in sys.modules), sep=",")
"""


def interpreter(version: str) -> str | None:
    """Path of a Python that runs, of pyenv too where its shims do not; None if there is none."""
    if sys.version.startswith(f"{version}."):
        return sys.executable
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [shutil.which(f"python{version}"), *pyenv.glob(f"versions/{version}.*/bin/python")]
    works = (
        str(path)
        for path in found
        if path and not subprocess.run([path, "-c", "pass"], capture_output=True).returncode
    )
    return next(works, None)


def run(*command, cwd=None, env=None):
    """Run a command and have its output as text."""
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Folder of wheel and sdist, built as by `make wheel`."""
    reader_folder()
    ensure_graphs(DEFAULT_MODEL)
    out = tmp_path_factory.mktemp("dist")
    done = run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def wheel(built):
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def rows():
    return dataset.load(limit=600).part("test").vectors[:8]


class Environment:
    """An environment of one Python, and a folder with nothing but a file of vectors."""

    def __init__(self, python: str, folder: Path, rows: np.ndarray) -> None:
        self.bin, self.cwd = folder / "env" / "bin", folder / "cwd"
        assert run(python, "-m", "venv", "--without-pip", folder / "env").returncode == 0
        self.cwd.mkdir()
        np.save(self.cwd / "rows.npy", rows)
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}

    def install(self, what: str) -> None:
        pip = [sys.executable, "-m", "pip", "--python", self.bin / "python", "install"]
        done = run(*pip, "--quiet", "--no-input", "--no-compile", what)
        assert done.returncode == 0, done.stderr

    def run(self, program: str, *arguments: str):
        done = run(self.bin / program, *arguments, cwd=self.cwd, env=self.environment)
        return done.returncode, done.stdout, done.stderr

    def run_all(self) -> dict[str, tuple[int, str, str]]:
        """Run what does and does not work without extras."""
        commands = {
            "vectors": ("vec2slug", "--vectors", "rows.npy", "--fast"),
            "text": ("vec2slug", TEXT),
            "train": ("vec2slug", "train", "3h"),
            "corpus": ("vec2slug", "corpus", "build", "pages.jsonl"),
            "predict": ("python", "-c", PREDICT),
            "places": ("python", "-c", PLACES),
            "packages": ("python", "-c", PACKAGES),
            "loaded": ("python", "-c", LOADED),
        }
        return {name: self.run(*command) for name, command in commands.items()}


@pytest.fixture(scope="module", params=PYTHONS)
def outputs(request, wheel, rows, tmp_path_factory):
    """Outputs by command, with the wheel alone and then with the extra ``text``."""
    python = interpreter(request.param)
    if python is None:
        warnings.warn(f"NOT TESTED on Python {request.param}, which is not here", stacklevel=1)
        pytest.skip(f"no Python {request.param}")
    environment = Environment(python, tmp_path_factory.mktemp("python"), rows)
    environment.install(str(wheel))
    alone = environment.run_all()
    environment.install("vec2slug[text]")
    return alone, environment.run_all(), environment


def test_vectors_need_the_wheel_alone(outputs, rows):
    alone, texts, _ = outputs
    slugs = "".join(f"{slug}\n" for slug in SlugPredictor.from_dir().predict(rows))
    for found in (alone, texts):
        assert found["vectors"] == (0, slugs, "")
        assert found["predict"][:2] == (0, slugs), found["predict"]


def test_texts_need_the_extra_text_and_no_torch(outputs):
    alone, texts, _ = outputs
    assert alone["text"] == (2, "", LINE.format(extra="text"))
    predictor = SlugPredictor.from_dir(embedder=open_embedder())
    (slug,) = predictor.predict_texts([TEXT])
    assert texts["text"] == (0, f"{slug}\n", "")
    assert texts["loaded"][:2] == (0, f"{slug}\n\n"), texts["loaded"]


@pytest.mark.parametrize("extra", ["train", "corpus"])
def test_what_needs_another_extra_names_it_in_one_line(outputs, extra):
    for found in outputs[:2]:
        assert found[extra] == (2, "", LINE.format(extra=extra))


def test_nothing_heavy_is_installed(outputs):
    alone, texts, _ = outputs
    plain, with_text = (set(found["packages"][1].split()) for found in (alone, texts))
    assert {"vec2slug", "numpy", "onnxruntime", "filelock"} <= plain
    assert not {"torch", "pandas", "pyarrow", "tokenizers"} & plain
    assert "tokenizers" in with_text
    assert not {"torch", "pandas", "pyarrow"} & with_text


def test_data_and_runs_lie_in_the_current_folder(outputs):
    alone, _, environment = outputs
    root, package = alone["places"][1].split()
    assert Path(root) == environment.cwd
    assert environment.bin.parent in Path(package).parents
    assert [path.name for path in environment.cwd.iterdir()] == ["rows.npy"]


def test_wheel_and_sdist_hold_the_graphs_and_no_weights(built, wheel):
    with zipfile.ZipFile(wheel) as file:
        inside = [name.partition("models/")[2] for name in file.namelist() if "/models/" in name]
        metadata = file.read(f"vec2slug-{__version__}.dist-info/METADATA").decode()
        sources = [file.read(name) for name in file.namelist()]
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as file:
        names = file.getnames()
    graphs = {"model_cached.onnx", "model_quantized.onnx", "reader.onnx"}
    for found in (inside, names):
        assert {Path(name).name for name in found if name.endswith(".onnx")} == graphs
        assert not [name for name in found if name.endswith(("safetensors", ".pt", ".parquet"))]
    assert not [source for source in sources if str(ROOT).encode() in source]
    assert "License-Expression: MIT AND Apache-2.0" in metadata
    assert max(path.stat().st_size for path in built.iterdir()) < LIMIT
