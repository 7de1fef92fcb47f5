"""A merged decoder under the search: the same distribution over slugs, written in other steps."""

import numpy as np
import pandas as pd
import pytest
import torch
from tqdm import tqdm

from vec2slug_lib.common.vocabulary import BOS, EOS, HYPHEN, PAD, SPECIALS, UNK
from vec2slug_lib.data.dataset import Dataset
from vec2slug_lib.experiments.decoding_variants import Variant, decode_rows
from vec2slug_lib.inference.beam_search import search
from vec2slug_lib.inference.settings import DecodingConfig
from vec2slug_lib.model.decoder import CachedDecoder, Decoder, DecoderConfig
from vec2slug_lib.model.merged_hyphens import MergedStepper, is_merged, stepper_for

STRINGS = [*SPECIALS, "a", "b", "ab", "-a", "-b", "-ba"]
A, B, AB, DASH_A, DASH_B, DASH_BA = range(5, 11)


SPECIAL = [PAD, BOS, UNK]


@pytest.fixture
def model():
    torch.manual_seed(0)
    config = DecoderConfig(
        input_dim=6, embed_dim=16, num_heads=2, num_layers=2, max_slug_tokens=16, vocab_size=11
    )
    return Decoder(config).eval()


@pytest.fixture
def vectors():
    return np.random.default_rng(0).normal(size=(2, 6)).astype(np.float32)


def test_the_search_sees_each_string_once():
    assert is_merged(STRINGS)
    assert not is_merged(STRINGS[:8])


def test_a_plain_vocabulary_keeps_its_stepper(model):
    stepper, strings = stepper_for(model, STRINGS[:8])
    assert isinstance(stepper, CachedDecoder)
    assert strings == STRINGS[:8]


def test_a_slug_has_the_decoder_s_own_probability(model, vectors):
    stepper = MergedStepper(model, STRINGS)
    assert stepper.strings == [*SPECIALS, "a", "ab", "b", "ba"]
    ids = {token: i for i, token in enumerate(stepper.strings)}
    # Row 0 writes -ba b -a <eos>, row 1 writes -a -b ab <eos>: unequally long from the start.
    paths = [["ba", "b", "-", "a", "<eos>"], ["a", "-", "b", "ab", "<eos>"]]
    own = [[1, DASH_BA, B, DASH_A, EOS], [1, DASH_A, DASH_B, AB, EOS]]
    logits, found = stepper.start(vectors), np.zeros(2)
    for step in range(5):
        for row, path in enumerate(paths):
            opening = step == 0 or path[step - 1] == "-"
            logits[row, [EOS, HYPHEN] if opening else SPECIAL] = -np.inf  # as the search does
        tokens = np.array([ids[path[step]] for path in paths])
        found += torch.from_numpy(logits).log_softmax(1).numpy()[[0, 1], tokens]
        if step < 4:
            logits = stepper.step(np.arange(2), tokens)
    whole = model(torch.from_numpy(vectors), torch.tensor(own)[:, :-1]).detach()
    # The first word's hyphen is given; a bare hyphen and special tokens are never written.
    whole[:, :, [*SPECIAL, HYPHEN]] = -torch.inf
    whole[:, 0, [EOS, A, B, AB]] = -torch.inf
    expected = whole.log_softmax(-1).gather(-1, torch.tensor(own)[:, 1:, None]).sum((1, 2))
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)


def test_the_search_finds_slugs_and_rows_do_not_depend_on_each_other(model, vectors):
    stepper, strings = stepper_for(model, STRINGS)
    config = DecodingConfig(max_tokens=16)
    both = search(stepper, vectors, strings, config, top_k=3).candidates
    for row in (0, 1):
        alone = search(stepper, vectors[row : row + 1], strings, config, top_k=3).candidates[0]
        assert [c.slug for c in alone] == [c.slug for c in both[row]]
        assert all(3 <= len(c.slug.split("-")) <= 8 for c in alone)


def test_other_ways_to_decode_read_it_too(model, vectors):
    rows = Dataset(pd.DataFrame({"slug": ["a-b-a", "b-a-b"]}), vectors)
    found = decode_rows(model, rows, STRINGS, Variant("again"), ["", ""], tqdm(disable=True))
    stepper, strings = stepper_for(model, STRINGS)
    again = search(stepper, vectors, strings, DecodingConfig(max_tokens=16))
    assert found.candidates == again.candidates
