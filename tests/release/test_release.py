import hashlib
import json
from shutil import copytree

import numpy as np
import onnxruntime
import pytest
import torch
from exact_products import bytes_saturate, copy_with_exact_products

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.vocabulary import SPECIALS
from vec2slug_lib.evaluation.records import Run
from vec2slug_lib.inference.steppers import GRAPHS
from vec2slug_lib.model.tokenizer import save_tokenizer, train_bpe
from vec2slug_lib.release import release as releases
from vec2slug_lib.release.release import export_graphs, export_release, load_release


def test_layout_and_keys_are_the_studys(release):
    files = {path.name for path in release.iterdir()}
    assert files == {
        "model.onnx", "model_cached.onnx", "model_quantized.onnx", "model.json",
        "model.safetensors", "tokenizer.json", "README.md", "inference.py",
        "manifest.train.json", "manifest.onnx.json", "history.train.jsonl",
    }  # fmt: skip
    content = json.loads((release / "model.json").read_text())
    headed = "head_dim" in content["model"]
    assert set(content) - {"risk"} == {"model", "tokens", "vocab", "beam_search", "stopwords"}
    assert ("risk" in content) == headed
    assert content["tokens"] == {"pad": 0, "bos": 1, "eos": 2, "unk": 3, "hyphen": 4}
    assert [content["vocab"][str(i)] for i in range(5)] == list(SPECIALS)
    assert len(content["vocab"]) == content["model"]["vocab_size"]
    assert content["beam_search"] == {
        "beam_width": 4, "length_reward": 1.5, "reward_cap": 6,
        "min_decode_tokens": 3, "min_slug_words": 3,
    }  # fmt: skip


def test_graph_has_the_studys_inputs_and_follows_torch(release):
    session = onnxruntime.InferenceSession(release / "model.onnx")
    shapes = {node.name: len(node.shape) for node in session.get_inputs()}
    assert shapes == {"src_embedding": 2, "token_ids": 2}
    model = load_release(release)
    headed = ["word_logits"] if model.word_head else []
    assert [node.name for node in session.get_outputs()] == ["logits", *headed]
    for rows, tokens in ((1, 1), (3, 5), (2, model.config.max_slug_tokens)):
        source = torch.randn(rows, model.config.input_dim)
        ids = torch.randint(0, model.config.vocab_size, (rows, tokens))
        inputs = {"src_embedding": source.numpy(), "token_ids": ids.numpy()}
        with torch.inference_mode():
            expected = [model(source, ids).numpy()]
            expected += [model.word_logits(source).numpy()] if headed else []
        for ours, torchs in zip(session.run(None, inputs), expected, strict=True):
            np.testing.assert_allclose(ours, torchs, atol=1e-4)


def test_manifests_tell_hashes_and_differences(release):
    train, onnx = (
        json.loads((release / f"manifest.{name}.json").read_text()) for name in ("train", "onnx")
    )
    for name, digest in (train["sha256"] | onnx["sha256"]).items():
        assert hashlib.sha256((release / name).read_bytes()).hexdigest() == digest
    assert set(onnx["graphs"]) == set(onnx["opset"]) == {
        "model.onnx", "model_cached.onnx", "model_quantized.onnx",
    }  # fmt: skip
    for name, found in onnx["graphs"].items():
        assert found["bytes"] == (release / name).stat().st_size
        exact = name != "model_quantized.onnx"
        assert (found["max_difference"] < onnx["tolerance"]) == exact
        if exact or not bytes_saturate():
            assert found["argmax_agreement"] > (0.999 if exact else 0.9)


def test_int8_agrees_with_torch_where_its_products_are_exact(release, tmp_path):
    copy_with_exact_products(release, tmp_path)
    model = load_release(release)
    sample = releases._sample(model, release)
    found = releases.compare(model, tmp_path / GRAPHS["int8"], *sample)
    assert found["argmax_agreement"] > 0.9


def test_a_graph_that_differs_from_torch_is_no_release(release, tmp_path, monkeypatch):
    folder = tmp_path / "copy"
    copytree(release, folder)
    wrong = {"bytes": 1, "max_difference": 0.1, "argmax_agreement": 1.0}
    monkeypatch.setattr(releases, "compare", lambda *_: wrong)
    with pytest.raises(Vec2SlugError, match=r"within 0\.001 of torch, got 0\.1"):
        export_graphs(folder)
    assert not (folder / "manifest.onnx.json").exists()


def test_int8_weights_give_the_runs_model(release, run):
    from vec2slug_lib.model.decoder import DecoderConfig
    from vec2slug_lib.model.weights import load_decoder

    trained = load_decoder(DecoderConfig(**run.manifest["model"]), run.folder / "model.safetensors")
    source, ids = torch.randn(4, 24), torch.randint(0, 40, (4, 6))
    source /= source.norm(dim=1, keepdim=True)
    with torch.inference_mode():
        difference = trained(source, ids) - load_release(release)(source, ids)
    assert difference.abs().max() < 0.02


def test_card_has_the_records_numbers(release, run):
    card = (release / "README.md").read_text()
    for metric in run.metrics.values():
        assert f"{metric['value']:.3f}" in card
    assert "{" not in card.split("```")[0]
    headed = "head_dim" in json.loads((release / "model.json").read_text())["model"]
    assert ("after short spans of text" in card) == headed
    assert ("Token F1 to expect" in card) == headed
    assert ("re-ranked by embedding similarity" in card) == headed  # as the record's slugs are
    assert ("embedder=open_embedder(" in card) == headed


def test_release_without_weights(tmp_path, run):
    bare = Run(tmp_path / "3i" / "book")
    with pytest.raises(Vec2SlugError, match="expected weights"):
        export_release(bare, tmp_path / "out")


def test_a_vocabulary_with_merged_hyphens_is_no_release(tmp_path, run):
    merged = Run(tmp_path / "merged")
    copytree(run.folder, merged.folder)
    save_tokenizer(train_bpe(["bee-of-hive"], 90, merged=True), merged.folder / "tokenizer.json")
    with pytest.raises(Vec2SlugError, match="tokens of their own"):
        export_release(merged, tmp_path / "out")
    assert not (tmp_path / "out").exists()
