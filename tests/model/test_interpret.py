"""Hooks that record change nothing; knockouts change what they should, by hand."""

import numpy as np
import pytest
import torch

from vec2slug_lib.common.vocabulary import BOS, EOS, HYPHEN, PAD, SPECIALS
from vec2slug_lib.inference.beam_search import search
from vec2slug_lib.inference.settings import DecodingConfig
from vec2slug_lib.model import interpret
from vec2slug_lib.model.decoder import CachedDecoder, Decoder, DecoderConfig
from vec2slug_lib.model.interpret import (
    SOURCES,
    TARGETS,
    FullStepper,
    knock_out_heads,
    knock_out_kinds,
    knockout,
    lens,
    trace_attention,
)
from vec2slug_lib.model.tokenizer import encode_slugs, train_bpe

TINY = DecoderConfig(
    input_dim=12, embed_dim=16, num_heads=2, num_layers=3, max_slug_tokens=10, vocab_size=20
)
PLAIN = torch.arange(20) == HYPHEN
IDS = torch.tensor([[BOS, 7, HYPHEN, 8, 9, EOS], [BOS, 6, EOS, PAD, PAD, PAD]])


@pytest.fixture(params=[0, 8], ids=["plain", "headed"])
def model(request):
    torch.manual_seed(0)
    return Decoder(TINY.__class__(**{**TINY.__dict__, "head_dim": request.param})).eval()


@pytest.fixture
def vectors():
    rows = torch.randn(2, 12, generator=torch.Generator().manual_seed(1))
    return rows / rows.norm(dim=1, keepdim=True)


def test_recording_attention_changes_nothing(model, vectors):
    with torch.no_grad():
        plain = model(vectors, IDS)
        seen = trace_attention(model, vectors, IDS)
        torch.testing.assert_close(model.unembed(seen.hidden), plain, rtol=0, atol=0)
        torch.testing.assert_close(model(vectors, IDS), plain, rtol=0, atol=0)
    assert not model.blocks[0]._forward_hooks
    assert not model.blocks[0].attn._forward_hooks


def test_weights_are_those_the_model_uses(model, vectors):
    seen = trace_attention(model, vectors, IDS)
    assert seen.attention.shape == (3, 2, 2, 7, 7)
    torch.testing.assert_close(seen.attention.sum(-1), torch.ones(3, 2, 2, 7))
    assert (seen.attention.triu(1) == 0).all()
    with torch.no_grad():
        for layer, block in enumerate(model.blocks):
            x = block.ln1(seen.states[layer])
            values = block.attn.heads(x)[2]
            mixed = torch.einsum("nhqk,nkhd->nqhd", seen.attention[layer], values).flatten(2)
            torch.testing.assert_close(block.attn.out_proj(mixed), block.attn(x)[0])


def test_states_lead_to_the_logits(model, vectors):
    seen = trace_attention(model, vectors, IDS)
    with torch.no_grad():
        last = seen.states[-1][:, 1:] + model.word_bias(vectors)
        torch.testing.assert_close(last, seen.hidden)
        torch.testing.assert_close(seen.states[0], model.embed(vectors, IDS))


def named(kinds, names):
    return [[names[k] if k >= 0 else "" for k in row] for row in kinds]


def test_kinds_by_hand():
    assert named(interpret.source_kinds(IDS, PLAIN), SOURCES) == [
        ["bos", "subword", "hyphen", "subword", "subword", "eos"],
        ["bos", "subword", "eos", "", "", ""],
    ]
    assert named(interpret.target_kinds(IDS, PLAIN), TARGETS) == [
        ["", "first subword", "hyphen", "first subword", "later subword", "eos"],
        ["", "first subword", "eos", "", "", ""],
    ]


def test_kinds_where_hyphens_are_merged_by_hand():
    marks = interpret.hyphen_marks([*SPECIALS, "-a", "b", "-ab"])
    ids = torch.tensor([[BOS, 5, 6, 7, EOS], [BOS, HYPHEN, 6, EOS, PAD]])
    assert named(interpret.source_kinds(ids, marks), SOURCES) == [
        ["bos", "hyphen", "subword", "hyphen", "eos"],
        ["bos", "hyphen", "subword", "eos", ""],
    ]
    assert named(interpret.target_kinds(ids, marks), TARGETS) == [
        ["", "first subword", "later subword", "first subword", "eos"],
        ["", "first subword", "later subword", "eos", ""],
    ]


def test_slugs_are_framed_padded_and_cut():
    tokenizer = train_bpe(["ab-c"], 60)
    a, b, c = (tokenizer.token_to_id(x) for x in "abc")
    ab = tokenizer.token_to_id("ab")
    assert encode_slugs(tokenizer, ["ab-c", "b"], 10).tolist() == [
        [BOS, ab, HYPHEN, c, EOS],
        [BOS, b, EOS, PAD, PAD],
    ]
    assert encode_slugs(tokenizer, ["ab-c", "ba"], 3).tolist() == [
        [BOS, ab, HYPHEN],
        [BOS, b, a],
    ]


def test_a_knockout_of_nothing_changes_nothing(model, vectors):
    with torch.no_grad():
        plain = model(vectors, IDS)
        for blocked in (knock_out_heads(2, []), knock_out_kinds(2, [], PLAIN)):
            with knockout(model, blocked):
                torch.testing.assert_close(model(vectors, IDS), plain)
        torch.testing.assert_close(model(vectors, IDS), plain, rtol=0, atol=0)


def test_without_the_prefix_nothing_of_the_vector_is_left(vectors):
    torch.manual_seed(0)
    model = Decoder(TINY).eval()
    with torch.no_grad():
        for blocked in (
            knock_out_kinds(2, SOURCES, PLAIN),
            knock_out_heads(2, [(i, j) for i in range(3) for j in range(2)]),
        ):
            with knockout(model, blocked):
                one, other = model(vectors, IDS), model(-vectors, IDS)
            torch.testing.assert_close(one[IDS != PAD], other[IDS != PAD])
        assert (model(vectors, IDS) - model(-vectors, IDS)).abs().max() > 0.01


def test_a_knocked_out_kind_changes_nothing_before_it(model, vectors):
    whole = trace_attention(model, vectors, IDS)
    with knockout(model, knock_out_kinds(2, ["hyphen"], PLAIN)):
        part = trace_attention(model, vectors, IDS)
    # Position 3 is the hyphen of the first row; nothing before it can know, nor can row 1.
    assert (part.states[1][0, 3] - whole.states[1][0, 3]).abs().max() > 1e-4
    torch.testing.assert_close(part.states[:, 0, :3], whole.states[:, 0, :3])
    torch.testing.assert_close(part.states[:, 1], whole.states[:, 1])


def test_a_knocked_out_head_gives_its_share_to_what_is_left(model, vectors):
    whole = trace_attention(model, vectors, IDS)
    with knockout(model, knock_out_heads(2, [(1, 0)])):
        part = trace_attention(model, vectors, IDS)
    torch.testing.assert_close(part.states[1], whole.states[1])
    layer, x = model.blocks[1], whole.states[1]
    with torch.no_grad():
        values = layer.attn.heads(layer.ln1(x))[2]
        weights = whole.attention[1].clone()
        weights[:, 0, 1:, 0] = 0
        weights /= weights.sum(-1, keepdim=True)
        mixed = torch.einsum("nhqk,nkhd->nqhd", weights, values).flatten(2)
        x = x + layer.attn.out_proj(mixed)
        torch.testing.assert_close(part.states[2], x + layer.ffn(layer.ln2(x)))


def test_a_full_stepper_finds_what_the_cached_one_finds(model, vectors):
    strings = [*SPECIALS, *"abcdefghijklmno"]
    config = DecodingConfig(max_tokens=10)
    found = [
        search(stepper, vectors.numpy(), strings, config, top_k=2).candidates
        for stepper in (CachedDecoder(model), FullStepper(model))
    ]
    for one, other in zip(*found, strict=True):
        assert [c.slug for c in one] == [c.slug for c in other]
        np.testing.assert_allclose([c.score for c in one], [c.score for c in other], atol=1e-4)


def test_the_last_layer_s_lens_is_the_model(model, vectors):
    found = lens(model, vectors, IDS, chunk=1)
    with torch.no_grad():
        logits = model(vectors, IDS[:, :-1])
    assert found.rank.shape == (4, 2, 5)
    torch.testing.assert_close(found.leader[-1], logits.argmax(-1))
    expected = logits.softmax(-1).gather(-1, IDS[:, 1:, None]).squeeze(-1)
    torch.testing.assert_close(found.probability[-1], expected)
    assert ((found.rank == 0) == (found.leader == IDS[None, :, 1:])).all()


def test_losses_are_those_of_the_tokens(model, vectors):
    losses = interpret.token_losses(model, vectors, IDS)
    expected = -lens(model, vectors, IDS).probability[-1].log()
    real = IDS[:, 1:] != PAD
    torch.testing.assert_close(losses[real], expected[real])
    assert (losses[~real] == 0).all()
