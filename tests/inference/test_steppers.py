"""The graph of one step and its stepper against the model itself and the plain search."""

import shutil
from dataclasses import asdict

import numpy as np
import pytest
import torch
from exact_products import bytes_saturate, with_exact_products
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from plain_beam_search import configs, plain_search, vocabularies

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.vocabulary import BOS, EOS, HYPHEN
from vec2slug_lib.inference.beam_search import search
from vec2slug_lib.inference.release_folder import ReleaseConfig
from vec2slug_lib.inference.steppers import AheadStepper, CachedStepper, open_session
from vec2slug_lib.model.decoder import CachedDecoder, Decoder, DecoderConfig
from vec2slug_lib.model.weights import dequantised, folded_state, quantised
from vec2slug_lib.release.quantization import activation_ranges
from vec2slug_lib.release.step_graph import write_step_graph


def decoder(seed, vocabulary, headed=False, layers=2):
    """A random decoder whose logits are about as far apart as a trained one's."""
    torch.manual_seed(seed)
    extra = {"head_dim": 8, "tied": True} if headed else {}
    config = DecoderConfig(
        input_dim=6, embed_dim=8, num_heads=2, num_layers=layers, vocab_size=vocabulary, **extra
    )
    model = Decoder(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def stepper(folder, model, width=3, ranges=None, codes=False, kind=CachedStepper):
    state = folded_state(model)
    state = quantised(state) if codes or ranges else state
    path, shape = folder / "step.onnx", asdict(model.config)
    write_step_graph(path, {k: v.numpy() for k, v in state.items()}, shape, ranges)
    return kind(open_session(path, shape), shape, width)


def unit(rows, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(rows, 6)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def walk(steppers, rows, size, seed, steps=20, hyphens=0.0):
    """Each stepper's answers along one random growth of hypotheses; documents drop out."""
    rng, vectors = np.random.default_rng(seed), unit(rows, seed)
    answers, owner = [[s.start(vectors) for s in steppers]], np.arange(rows)
    for _ in range(steps):
        alive = np.unique(owner)
        alive = alive[rng.random(len(alive)) < 0.9]
        if not len(alive):
            break
        picks = [rng.choice(np.flatnonzero(owner == d), rng.integers(1, 5)) for d in alive]
        parents = np.concatenate(picks)
        tokens = rng.integers(5, size, len(parents))
        tokens[rng.random(len(parents)) < hyphens] = HYPHEN
        owner = owner[parents]
        answers.append([s.step(parents, tokens) for s in steppers])
    return answers


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(0, 7), st.booleans(), st.booleans())
def test_steps_are_those_of_the_model(tmp_path_factory, seed, rows, headed, codes):
    model, folder = decoder(seed, 40, headed), tmp_path_factory.mktemp("graph")
    kind = CachedStepper if rows else AheadStepper
    fast = stepper(folder, model, codes=codes, kind=kind)
    if codes:
        model.load_state_dict(dequantised(quantised(folded_state(model))), strict=False)
    for ours, logits in walk([fast, CachedDecoder(model)], max(rows, 1), 40, seed, hyphens=0.4):
        count = len(logits)
        np.testing.assert_allclose(ours.all_subwords(np.arange(count)), logits[:, 5:], atol=1e-4)
        np.testing.assert_allclose(ours.eos, logits[:, EOS], atol=1e-4)
        np.testing.assert_allclose(ours.hyphen, logits[:, HYPHEN], atol=1e-4)
        exact = np.log(np.exp(logits[:, 5:].astype(np.float64)).sum(axis=1))
        np.testing.assert_allclose(ours.total, exact, atol=1e-4)
        best = np.sort(logits[:, 5:], axis=1)[:, ::-1][:, :3]
        np.testing.assert_allclose(ours.best, best, atol=1e-4)
        chosen = np.take_along_axis(logits, ours.tokens, axis=1)
        np.testing.assert_allclose(chosen, best, atol=1e-4)


@settings(max_examples=60)
@given(st.data(), st.integers(0, 10**6), configs(), st.integers(1, 3), st.booleans())
def test_fast_search_is_the_plain_search(tmp_path_factory, data, seed, config, top_k, headed):
    strings = data.draw(vocabularies())
    model, vectors = decoder(seed, len(strings), headed, layers=1), unit(3, seed)
    folder = tmp_path_factory.mktemp("graph")
    fast = stepper(folder, model, config.beam_width)
    found = search(fast, vectors, strings, config, top_k)
    ahead = stepper(folder, model, config.beam_width, kind=AheadStepper)
    alone = search(ahead, vectors, strings, config, top_k, chunk_size=1)

    def forward(row, tokens):
        with torch.inference_mode():
            ids = torch.tensor([[BOS, *tokens]])
            return model(torch.from_numpy(vectors[row : row + 1]), ids)[0, -1].numpy()

    for row, candidates in enumerate(found.candidates):
        slow, steps, margin = plain_search(
            lambda tokens, row=row: forward(row, tokens), strings, config, top_k
        )
        assume(margin > 1e-3)
        assert [slug for slug, _ in candidates] == [slug for slug, _ in slow]
        assert [c.score for c in candidates] == pytest.approx([s for _, s in slow], abs=1e-3)
        assert found.steps[row] == alone.steps[row] == steps
        assert [slug for slug, _ in alone.candidates[row]] == [slug for slug, _ in slow]
        scores = [c.score for c in alone.candidates[row]]
        assert scores == pytest.approx([s for _, s in slow], abs=1e-3)


def test_hyphens_that_come_ahead_spare_calls_and_the_last_place_is_no_edge(tmp_path):
    model = decoder(1, 40)
    places, calls = model.config.max_slug_tokens, []
    ahead = stepper(tmp_path, model, kind=AheadStepper)
    run = ahead._run
    ahead._run = lambda *arguments: calls.append(0) or run(*arguments)
    ahead.start(unit(1))
    for position in range(2, places + 1):
        token = HYPHEN if position % 2 else 5 + position
        ahead.step(np.array([0]), np.array([token]))
    assert len(calls) == 1 + places // 2


def test_nodes_that_no_row_sees_are_forgotten(tmp_path):
    fast, vectors = stepper(tmp_path, decoder(2, 40)), unit(3)
    fast.start(vectors)
    for step in range(20):  # four children of one row, every time
        rows = np.repeat(np.arange(3) * (4 if step else 1), 4)
        fast.step(rows, np.arange(5, 17))
    assert fast.used <= 2 + 20 + 4 * 4 + 16  # not the 2 + 80 that were made


def test_int8_follows_float_and_no_row_depends_on_another(tmp_path):
    model = decoder(3, 40, headed=True)
    ids = torch.randint(5, 40, (50, 10))
    ranges = activation_ranges(model, torch.from_numpy(unit(50)), ids)
    exact, small = stepper(tmp_path, model, codes=True), stepper(tmp_path, model, ranges=ranges)
    with_exact_products(tmp_path / "step.onnx", tmp_path / "floats.onnx")
    session, shape = open_session(tmp_path / "floats.onnx", small.shape), small.shape
    steppers = [exact, CachedStepper(session, shape, small.width), small]
    error = processors = 0.0  # of the format, and what this processor makes of the same bytes
    for answers in walk(steppers, 5, 40, 0, steps=6):
        floats, rounded, ours = (a.all_subwords(np.arange(len(a.eos))) for a in answers)
        error = max(error, float(np.abs(rounded - floats).max()))
        processors = max(processors, float(np.abs(ours - rounded).max()))
    assert 0 < error < 0.5
    assert processors < error or bytes_saturate()
    vectors = unit(9)
    together = small.start(vectors).all_subwords(np.arange(9)).copy()
    alone = [small.start(vectors[i : i + 1]).all_subwords(np.array([0]))[0] for i in range(9)]
    np.testing.assert_array_equal(together, alone)


def test_ranges_hold_zero_and_cover_every_layer_behind_the_prefix():
    model = decoder(0, 40, headed=True)
    seen = activation_ranges(model, torch.from_numpy(unit(8)), torch.randint(5, 40, (8, 4)))
    layer = ("attn.in_proj_weight", "attn.out_proj.weight", "ffn.0.weight", "ffn.3.weight")
    names = {f"blocks.{i}.{name}" for i in range(2) for name in layer}
    assert set(seen) == {*names, "token_embedding.weight"}
    assert all(low <= 0 <= high and low < high for low, high in seen.values())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_outliers_are_left_out():
    model = decoder(0, 40)
    vectors, ids = torch.from_numpy(unit(40)), torch.randint(5, 40, (40, 8))
    whole, cut = (activation_ranges(model, vectors, ids, share) for share in (0.0, 0.1))
    for name, (low, high) in whole.items():
        assert low <= cut[name][0] <= cut[name][1] <= high
    assert whole != cut


def test_a_graph_of_another_shape_is_refused(release, tmp_path):
    config = ReleaseConfig.load(release / "model.json")
    path = release / "model_cached.onnx"
    for changed in ({"input_dim": 25}, {"num_layers": 3}, {"vocab_size": 99}, {"num_heads": 4}):
        with pytest.raises(Vec2SlugError, match=r"model_cached\.onnx, got"):
            open_session(path, config.shape | changed)
    shutil.copy(path, tmp_path / "model.onnx")
    with pytest.raises(Vec2SlugError, match="expected logits with size"):
        open_session(tmp_path / "model.onnx", config.shape)


@pytest.mark.parametrize("damage", ["truncated", "tampered", "later opset"])
@pytest.mark.parametrize("name", ["model.onnx", "model_cached.onnx", "model_quantized.onnx"])
def test_a_damaged_graph_is_refused(release, tmp_path, name, damage):
    import onnx

    folder = tmp_path / "copy"
    shutil.copytree(release, folder)
    path, shape = folder / name, ReleaseConfig.load(folder / "model.json").shape
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "tampered":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    else:
        graph = onnx.load(path)
        graph.opset_import[0].version = 99
        onnx.save(graph, path)
    with pytest.raises(Vec2SlugError, match="truncated or changed"):
        open_session(path, shape)
    (folder / "manifest.onnx.json").unlink()  # the study's folders have no hashes
    if damage != "tampered":
        with pytest.raises(Vec2SlugError, match="expected a whole ONNX graph"):
            open_session(path, shape)
