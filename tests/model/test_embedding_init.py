"""Token tables made of the embedder's vectors: what the decoder knows before its first step."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.vocabulary import SPECIALS
from vec2slug_lib.embedding.minilm import MiniLMEmbedder
from vec2slug_lib.model.decoder import Decoder, DecoderConfig
from vec2slug_lib.model.embedding_init import SCALE, fill, projection, token_vectors

CONFIG = DecoderConfig(
    input_dim=16, embed_dim=16, num_heads=2, num_layers=1, max_slug_tokens=8, vocab_size=25,
    scaled_input=True, tied=True, head_dim=8,
)  # fmt: skip


def table(seed=0):
    rows = np.random.default_rng(seed).normal(size=(25, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[: len(SPECIALS)] = 0
    return rows


def test_token_vectors_are_those_of_the_tokens_as_texts():
    embedder = MiniLMEmbedder()
    found = token_vectors([*SPECIALS, "aviation", "soup"], embedder)
    assert not found[: len(SPECIALS)].any()
    np.testing.assert_allclose(found[-2:], embedder.embed(["aviation", "soup"]), atol=1e-3)
    pilot = embedder.embed(["Amelia Earhart was the first woman to fly alone over the Atlantic."])
    assert (found[-2:] @ pilot[0]).argmax() == 0


def test_a_new_word_head_names_the_tokens_nearest_to_the_embedding():
    torch.manual_seed(0)
    model, vectors = Decoder(CONFIG).eval(), table()
    fill(model, vectors, [1] * 25)
    with torch.no_grad():
        logits = model.word_logits(torch.from_numpy(vectors[5:]))
    assert (logits[:, 5:].argmax(1) == torch.arange(20)).all()
    torch.testing.assert_close(
        model.token_embedding.weight[5:], SCALE * torch.from_numpy(vectors[5:])
    )


def test_frequent_tokens_begin_with_a_higher_bias():
    model, counts = Decoder(CONFIG), np.arange(25)
    fill(model, table(), counts.tolist())
    bias = model.output_projection.bias.detach().numpy()
    np.testing.assert_allclose(np.diff(bias), np.diff(np.log(counts + 0.5)), rtol=1e-4)
    assert abs(bias.mean()) < 1e-6


@pytest.mark.parametrize("width", [8, 16, 24])
def test_a_table_of_another_width_keeps_what_varies_most(width):
    # Vectors of rank 6: any table of 8 dimensions or more holds all of their dot products.
    basis = np.random.default_rng(1).normal(size=(6, 16))
    vectors = (np.random.default_rng(2).normal(size=(25, 6)) @ basis).astype(np.float32)
    small = vectors @ projection(vectors, width).T
    assert small.shape == (25, width)
    np.testing.assert_allclose(small @ small.T, vectors @ vectors.T, rtol=1e-3, atol=1e-2)


def test_a_narrower_model_takes_the_table_too():
    torch.manual_seed(0)
    model = Decoder(replace(CONFIG, embed_dim=8, tied=False)).eval()
    vectors = table()
    fill(model, vectors, [1] * 25)
    down = torch.from_numpy(projection(vectors, 8))
    torch.testing.assert_close(model.word_head.straight.weight.detach(), down)
    for weight in (model.token_embedding.weight, model.output_projection.weight):
        wanted = SCALE * torch.from_numpy(vectors) @ down.T
        torch.testing.assert_close(weight[5:], wanted[5:])


def test_a_table_of_another_vocabulary_is_refused():
    with pytest.raises(Vec2SlugError, match=r"token vectors \(25, 16\).*got \(24, 16\)"):
        fill(Decoder(CONFIG), table()[1:], [1] * 25)
    with pytest.raises(Vec2SlugError, match="and 24 counts"):
        fill(Decoder(CONFIG), table(), [1] * 24)
