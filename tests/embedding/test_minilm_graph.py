"""MiniLMGraph against the exact weights, and with files or packages missing."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_minilm import TEXTS

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.files import read_json, write_json
from vec2slug_lib.data.examples import load_examples
from vec2slug_lib.embedding import minilm_graph
from vec2slug_lib.embedding.minilm_export import make_reader
from vec2slug_lib.embedding.minilm_graph import MANIFEST, READER, MiniLMGraph, reader_folder
from vec2slug_lib.embedding.registry import open_embedder
from vec2slug_lib.embedding.wordpiece import TOKENIZER


@pytest.fixture(scope="module")
def graph():
    return MiniLMGraph()


@pytest.fixture(scope="module")
def alone(graph):
    """Vectors of the texts embedded one by one."""
    return np.concatenate([graph.embed([text]) for text in TEXTS])


@pytest.fixture
def folder(tmp_path):
    """A copy of the graph's folder."""
    return shutil.copytree(reader_folder(), tmp_path / "reader")


def test_close_to_the_exact_weights(graph):
    texts = [part for example in load_examples() for part in (example.title, example.text)]
    found = graph.embed(texts + TEXTS)
    assert (found.dtype, found.shape) == (np.float32, (len(texts + TEXTS), 384))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    cosines = (found * open_embedder(exact=True).embed(texts + TEXTS)).sum(axis=1)
    assert cosines.min() > 0.9985
    assert cosines.mean() > 0.9994


@settings(max_examples=5, deadline=None)
@given(st.permutations(range(len(TEXTS))), st.integers(1, 600))
def test_order_is_kept_and_company_does_not_matter(graph, alone, order, budget):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(minilm_graph, "BATCH_TOKENS", budget)
        found = graph.embed([TEXTS[row] for row in order])
    np.testing.assert_allclose(found, alone[order], atol=1e-6)


def test_the_same_bytes_run_after_run(graph):
    assert graph.embed(TEXTS * 20).tobytes() == graph.embed(TEXTS * 20).tobytes()


def test_a_lean_one_has_the_same_vectors(alone):
    found = open_embedder(lean=True).embed(TEXTS)
    np.testing.assert_allclose(found, alone, atol=1e-6)


def test_cut_at_256_tokens(graph):
    whole, cut, shorter = graph.embed(["word " * 300, "word " * 254, "word " * 253])
    np.testing.assert_allclose(whole, cut, atol=1e-6)
    assert np.abs(whole - shorter).max() > 1e-5


@pytest.mark.parametrize("text", ["", "  \n", None, "\ud800"])
def test_row_without_text_is_named(graph, text):
    with pytest.raises(Vec2SlugError, match="row 1"):
        graph.embed(["fine", text])


def test_no_texts(graph):
    assert graph.embed([]).shape == (0, 384)
    assert list(graph.batches(["x"] * 2100)) == [slice(0, 2000), slice(2000, 2100)]


@pytest.mark.parametrize("name", [READER, TOKENIZER])
def test_files_that_are_changed_or_missing_are_refused(folder, name):
    changed = bytearray((folder / name).read_bytes())
    changed[-1] ^= 1
    (folder / name).write_bytes(changed)
    with pytest.raises(Vec2SlugError, match=f"{name} with SHA-256 .*: truncated or changed"):
        MiniLMGraph(folder)
    (folder / name).unlink()
    with pytest.raises(Vec2SlugError, match=f"{name}, found none"):
        MiniLMGraph(folder)


def test_a_graph_of_other_weights_is_made_anew(folder, monkeypatch):
    made = []
    monkeypatch.setattr(minilm_graph, "model_folder", lambda name: folder)
    monkeypatch.setattr("vec2slug_lib.embedding.minilm_export.write_minilm_graph", made.append)
    assert reader_folder() == folder
    make_reader(folder)
    assert made == []
    manifest = read_json(folder / MANIFEST)
    write_json(folder / MANIFEST, manifest | {"made_of": {"model.safetensors": "others"}})
    assert reader_folder() == folder
    assert made == [folder / READER]
    assert read_json(folder / MANIFEST) == manifest


def run_without(packages, code):
    """Run code in a process where some packages cannot be imported."""
    code = f"import sys; sys.modules.update(dict.fromkeys({packages}))\n{code}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


OPEN = """
from vec2slug_lib import Vec2SlugError, open_embedder
try:
    print(open_embedder().embed(["text"]).shape)
except Vec2SlugError as error:
    print(error)
"""
HEAVY = ["torch", "pandas", "pyarrow", "safetensors", "transformers", "sklearn", "openai"]


def test_needs_no_heavy_package():
    done = run_without(HEAVY, OPEN)
    assert (done.returncode, done.stdout) == (0, "(1, 384)\n"), done.stderr


def test_a_missing_package_is_one_line_that_names_the_extra():
    done = run_without(["tokenizers"], OPEN)
    assert done.stdout == 'expected the extra text: pip install "vec2slug[text]"\n', done.stderr


def test_without_graph_and_torch_a_line_says_what_makes_it(tmp_path):
    nowhere = "from vec2slug_lib.embedding import minilm_graph as m; from pathlib import Path\n"
    nowhere += f"m.model_folder = lambda name: Path({str(tmp_path)!r})\n"
    done = run_without(HEAVY, nowhere + OPEN)
    assert done.stdout.startswith(f"expected {READER} in {tmp_path}, found none"), done.stderr
    assert 'pip install "vec2slug[train]"' in done.stdout
