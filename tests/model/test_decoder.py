from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.vocabulary import BOS
from vec2slug_lib.model.decoder import CachedDecoder, Decoder, DecoderConfig
from vec2slug_lib.model.weights import folded_state, load_decoder, save_decoder

TINY = DecoderConfig(
    input_dim=12, embed_dim=16, num_heads=4, num_layers=2, max_slug_tokens=7, vocab_size=23
)
SCALED = replace(TINY, scaled_input=True)
HEADED = replace(SCALED, tied=True, head_dim=10)


def tiny_model(config: DecoderConfig = TINY, seed: int = 0) -> Decoder:
    torch.manual_seed(seed)
    return Decoder(config).eval()


def unit_vectors(n: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(n, TINY.input_dim, generator=generator), dim=1)


def plain_forward(state, config, src, ids):
    """The same decoder in the plainest words: nn.MultiheadAttention and an explicit mask."""

    def norm(name, x):
        return F.layer_norm(x, (config.embed_dim,), state[name + ".weight"], state[name + ".bias"])

    def linear(name, x):
        return x @ state[name + ".weight"].T + state[name + ".bias"]

    rows = []
    for vector, row in zip(src, ids, strict=True):
        states = [linear("embedding_projection", vector)]
        states += [state["token_embedding.weight"][i] for i in row]
        x = torch.stack(states) + state["position_embedding.weight"][: len(states)]
        future = torch.ones(len(x), len(x)).triu(1).bool()
        for i in range(config.num_layers):
            block = f"blocks.{i}."
            attention = nn.MultiheadAttention(config.embed_dim, config.num_heads)
            attention.load_state_dict(
                {
                    k.removeprefix(block + "attn."): v
                    for k, v in state.items()
                    if block + "attn" in k
                }
            )
            y = norm(block + "ln1", x)
            x = x + attention(y, y, y, attn_mask=future)[0]
            inner = F.gelu(linear(block + "ffn.0", norm(block + "ln2", x)))
            x = x + linear(block + "ffn.3", inner)
        rows.append(linear("output_projection", norm("ln_final", x))[1:])
    return torch.stack(rows)


@pytest.mark.parametrize(
    ("width", "layers", "parameters"), [(384, 4, 11_543_432), (512, 6, 24_840_072)]
)
def test_parameter_counts_are_the_study_s(width, layers, parameters):
    config = DecoderConfig(input_dim=1536, embed_dim=width, num_layers=layers)
    with torch.device("meta"):
        model = Decoder(config)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_parameter_names_are_the_study_s():
    block = [
        *("ln1.weight", "ln1.bias", "ln2.weight", "ln2.bias"),
        *("attn.in_proj_weight", "attn.in_proj_bias"),
        *("attn.out_proj.weight", "attn.out_proj.bias"),
        *("ffn.0.weight", "ffn.0.bias", "ffn.3.weight", "ffn.3.bias"),
    ]
    wanted = {f"blocks.{i}.{name}" for i in range(2) for name in block}
    wanted |= {"token_embedding.weight", "position_embedding.weight"}
    for name in ("embedding_projection", "ln_final", "output_projection"):
        wanted |= {f"{name}.weight", f"{name}.bias"}
    assert set(tiny_model().state_dict()) == wanted


@pytest.mark.parametrize("config", [TINY, SCALED])
def test_forward_equals_a_plain_implementation(config):
    model, src = tiny_model(config), unit_vectors(3)
    ids = torch.randint(0, 23, (3, 7), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        plain = plain_forward(folded_state(model), config, src, ids)
        torch.testing.assert_close(model(src, ids), plain, rtol=1e-4, atol=1e-5)


@given(position=st.integers(0, 6), token=st.integers(0, 22))
@settings(max_examples=20, deadline=None)
def test_logits_do_not_see_later_tokens(position, token):
    model, src = tiny_model(), unit_vectors(1)
    ids = torch.arange(3, 10)[None]
    changed = ids.clone()
    changed[0, position] = token
    with torch.no_grad():
        before, after = model(src, ids), model(src, changed)
    torch.testing.assert_close(before[:, :position], after[:, :position])
    assert token == ids[0, position] or not torch.allclose(
        before[:, position:], after[:, position:]
    )


def test_logits_depend_on_the_embedding():
    model, ids = tiny_model(SCALED), torch.full((2, 1), BOS)
    with torch.no_grad():
        first, second = model(unit_vectors(2), ids)
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("config", [TINY, HEADED])
@given(data=st.data(), rows=st.integers(1, 3), steps=st.integers(0, 6))
@settings(max_examples=25, deadline=None)
def test_cached_steps_equal_full_forward_passes(config, data, rows, steps):
    model, src = tiny_model(config), unit_vectors(rows)
    stepper = CachedDecoder(model)
    logits = stepper.start(src.numpy())
    owners, slugs = list(range(rows)), [[BOS] for _ in range(rows)]
    for _ in range(steps):
        parent = st.integers(0, len(slugs) - 1)
        beams = data.draw(st.lists(st.tuples(parent, st.integers(0, 22)), min_size=1, max_size=5))
        parents, tokens = np.array(beams, dtype=np.int64).T
        logits = stepper.step(parents, tokens)
        slugs = [[*slugs[p], int(t)] for p, t in beams]
        owners = [owners[p] for p, _ in beams]
    with torch.no_grad():
        full = model(src[owners], torch.tensor(slugs))[:, -1].numpy()
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, full, rtol=1e-4, atol=1e-5)


def test_bf16_steps_stay_near_float32():
    model, src = tiny_model(SCALED), unit_vectors(4).numpy()
    exact, rounded = CachedDecoder(model), CachedDecoder(model, bf16=True)
    np.testing.assert_allclose(rounded.start(src), exact.start(src), atol=0.01)
    parents, tokens = np.array([3, 0, 0]), np.array([5, 6, 7])
    near = rounded.step(parents, tokens)
    assert near.dtype == np.float32
    np.testing.assert_allclose(near, exact.step(parents, tokens), atol=0.01)


def test_default_initialisation_is_pytorch_s_and_scaled_is_small():
    config = replace(TINY, embed_dim=256, num_heads=8, vocab_size=500)
    plain = tiny_model(config)
    small = tiny_model(replace(config, scaled_input=True))
    assert plain.token_embedding.weight.std().item() == pytest.approx(1.0, rel=0.05)
    assert small.token_embedding.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert small.blocks[0].attn.in_proj_weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert small.output_projection.bias.abs().max().item() == 0.0
    assert torch.equal(small.ln_final.weight, torch.ones(256))


def test_a_file_holds_the_folded_layout_and_gives_the_same_function(tmp_path):
    model, path = tiny_model(SCALED), tmp_path / "model.safetensors"
    save_decoder(model, path)
    src, ids = unit_vectors(3), torch.randint(0, 23, (3, 4))
    with torch.no_grad():
        wanted = model(src, ids)
        for config in (TINY, SCALED):
            torch.testing.assert_close(load_decoder(config, path)(src, ids), wanted)


def test_a_tied_table_is_written_once_and_read_twice(tmp_path):
    model, path = tiny_model(HEADED), tmp_path / "model.safetensors"
    save_decoder(model, path)
    assert "output_projection.weight" not in load_file(path)
    src, ids = unit_vectors(3), torch.randint(0, 23, (3, 4))
    with torch.no_grad():
        for config in (HEADED, replace(HEADED, scaled_input=False)):
            loaded = load_decoder(config, path)
            torch.testing.assert_close(loaded(src, ids), model(src, ids))
            assert loaded.output_projection.weight is loaded.token_embedding.weight


def test_the_word_head_speaks_through_the_output_layer_at_every_step():
    model, src, ids = tiny_model(HEADED), unit_vectors(2), torch.randint(0, 23, (2, 4))
    with torch.no_grad():
        topic = model.word_head(src * HEADED.input_dim**0.5)
        torch.testing.assert_close(model.word_logits(src), model.unembed(topic))
        x = model.embed(src, ids)
        for block in model.blocks:
            x, _ = block(x)
        torch.testing.assert_close(model(src, ids), model.unembed(x[:, 1:] + topic[:, None]))
    with pytest.raises(Vec2SlugError, match="with a bag-of-words head, got head_dim 0"):
        tiny_model().word_logits(src)


def test_a_state_dict_of_the_study_loads(tmp_path):
    model, path = tiny_model(), tmp_path / "model.pt"
    torch.save(model.state_dict(), path)
    loaded = load_decoder(TINY, path)
    src, ids = unit_vectors(2), torch.randint(0, 23, (2, 5))
    with torch.no_grad():
        torch.testing.assert_close(loaded(src, ids), model(src, ids))


def test_loading_says_what_is_wrong(tmp_path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(Vec2SlugError, match="found none"):
        load_decoder(TINY, path)
    save_decoder(tiny_model(), path)
    with pytest.raises(Vec2SlugError, match=r"blocks.2.attn.in_proj_bias of shape \(48,\).*None"):
        load_decoder(replace(TINY, num_layers=3), path)
    with pytest.raises(Vec2SlugError, match=r"embedding_projection.weight.*\(16, 9\).*\(16, 12\)"):
        load_decoder(replace(TINY, input_dim=9), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(Vec2SlugError, match="expected weights in"):
        load_decoder(TINY, path)


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    path = tmp_path / "model.pt"
    torch.save({"weights": pytest.raises}, path)
    with pytest.raises(Vec2SlugError, match="expected weights in"):
        load_decoder(TINY, path)


def test_bad_shapes_are_refused():
    with pytest.raises(Vec2SlugError, match="multiple of num_heads=5"):
        replace(TINY, num_heads=5)
    model = tiny_model()
    with pytest.raises(Vec2SlugError, match=r"width 12 and at most 7.*got width 11 and 1"):
        model(torch.zeros(1, 11), torch.ones(1, 1, dtype=torch.long))
    with pytest.raises(Vec2SlugError, match="got width 12 and 8 tokens"):
        model(torch.zeros(1, 12), torch.ones(1, 8, dtype=torch.long))
