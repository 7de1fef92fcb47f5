"""Minimum Bayes risk: worked by hand, and against the mean of Token F1 over drawn slugs."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_beam_search import (
    HistoryStepper,
    configs,
    documents,
    models,
    sound,
    vocabularies,
)

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.evaluation.metrics import token_overlap
from vec2slug_lib.inference.beam_search import Candidate
from vec2slug_lib.inference.mbr import (
    Evidence,
    MBRConfig,
    embedding_similarities,
    expected_f1,
    expected_scores,
    head_word_probabilities,
    longest_match_tokens,
    mbr_search,
    mix,
    rerank,
    slug_word_probabilities,
    softmax_weights,
)

THREE = st.lists(st.sampled_from("ant bee cow dog emu".split()), min_size=3, max_size=3).filter(
    lambda found: len(set(found)) == 3
)
SLUG = THREE.map("-".join)


def test_beliefs_follow_the_scores():
    np.testing.assert_allclose(softmax_weights([0.0, math.log(3)]), [0.25, 0.75])
    np.testing.assert_allclose(softmax_weights([-1e4, -1e4], 0.1), [0.5, 0.5])
    assert softmax_weights([0.0, -1.0], 0.01)[0] > 0.999


@given(st.lists(SLUG, min_size=1, max_size=5), SLUG)
def test_expected_f1_is_the_mean_over_slugs_of_one_length(slugs, guess):
    weights = softmax_weights(list(range(len(slugs))))
    mean = token_overlap([guess] * len(slugs), slugs)[2] @ weights
    assert expected_f1(guess, slug_word_probabilities(slugs, weights), 3) == pytest.approx(mean)


def test_the_middle_of_the_crowd_wins_over_the_most_probable():
    # ant-bee is likeliest, but bee is in seven slugs of ten and cow in six: ant 0.4, dog 0.3.
    crowd = [("ant-bee", 0.4), ("bee-cow", 0.3), ("cow-dog", 0.3)]
    candidates = [Candidate(slug, math.log(p)) for slug, p in crowd]
    probabilities = slug_word_probabilities(
        [slug for slug, _ in crowd], softmax_weights([c.score for c in candidates])
    )
    assert probabilities == pytest.approx({"ant": 0.4, "bee": 0.7, "cow": 0.6, "dog": 0.3})
    expected = [expected_f1(c.slug, probabilities, 2) for c in candidates]
    found = rerank(candidates, expected, None, MBRConfig(score_fit=(1.0, 0.0)))
    assert [c.slug for c in found] == ["bee-cow", "ant-bee", "cow-dog"]
    assert [c.score for c in found] == pytest.approx([0.65, 0.55, 0.45])


def test_a_repeated_word_counts_once():
    assert expected_f1("ant-ant-bee", {"ant": 0.5, "bee": 0.5}, 2) == pytest.approx(0.5)


def test_the_head_s_chance_of_a_word_is_that_of_its_unlikeliest_subword():
    ids = {"ant": 0, "bee": 1, "cow": 2, "co": 3, "w": 4}
    logits = np.log([0.6, 0.25, 0.05, 0.06, 0.04]).astype(np.float32)
    found = head_word_probabilities(logits, ids, ["ant", "cow", "antbee"], 2)
    assert found == pytest.approx({"ant": 1.0, "cow": 0.1, "antbee": 0.5})


def test_pieces_are_the_longest_tokens_that_fit():
    ids = {token: i for i, token in enumerate(["a", "b", "c", "ab", "abc", "ca"])}
    assert longest_match_tokens("abcab", ids) == [4, 3]
    assert longest_match_tokens("bca", ids) == [1, 5]


def test_each_kind_of_evidence_can_turn_the_choice():
    found = [[Candidate("ant-bee", 0.0), Candidate("cow-dog", -1.0), Candidate("emu-fox", -1.0)]]
    ids = {word: i for i, word in enumerate(["ant", "bee", "cow", "dog", "emu", "fox"])}
    logits = np.array([[0, 0, 5, 5, 0, 0]], np.float32)
    near = [{"emu": 1.0, "fox": 1.0}]
    config = MBRConfig(candidate_weight=0.2, neighbour_weight=0.0, mean_words=2)

    def best(config, **evidence):
        expected = expected_scores(found, ids, config, **evidence)[0]
        return rerank(found[0], expected, None, config)[0].slug

    assert best(config) == "ant-bee"
    assert best(config, logits=logits) == "cow-dog"
    assert best(replace(config, candidate_weight=1.0), logits=logits, neighbours=near) == "ant-bee"
    assert best(replace(config, neighbour_weight=0.8), logits=logits, neighbours=near) == "emu-fox"
    assert best(replace(config, neighbour_weight=0.8), neighbours=near) == "emu-fox"


def test_a_slug_that_reads_like_its_page_wins():
    found = [[Candidate("ant-bee-cow", 0.0), Candidate("dog-emu-fox", 0.0)], [Candidate("a-b", 0)]]
    vectors = {"ant bee cow": [0.0, 1.0], "dog emu fox": [0.6, 0.8], "a b": [1.0, 0.0]}
    pages = np.array([[1.0, 0.0], [0.8, 0.6]], np.float32)

    def read(texts):
        return np.array([vectors[text] for text in texts], np.float32)

    cosines = embedding_similarities(found, pages, read)
    assert [len(row) for row in cosines] == [2, 1]
    np.testing.assert_allclose(np.concatenate(cosines), [0.0, 0.6, 0.8], rtol=1e-6)
    config = MBRConfig(score_fit=(1.0, 0.0), rerank_fit=(0.5, 1.0, -0.25))
    ranked = rerank(found[0], [0.4, 0.3], cosines[0], config)
    assert [c.slug for c in ranked] == ["dog-emu-fox", "ant-bee-cow"]
    # 0.5 * 0.3 + 0.6 - 0.25, and 0.5 * 0.4 + 0 - 0.25 cut at zero.
    assert [c.score for c in ranked] == pytest.approx([0.5, 0.0])
    assert rerank(found[0], [0.4, 0.3], None, config)[0].slug == "ant-bee-cow"


def test_a_mix_is_a_weighted_sum():
    found = mix([(0.25, {"ant": 1.0}), (0.75, {"ant": 0.2, "bee": 0.4})])
    assert found == pytest.approx({"ant": 0.4, "bee": 0.3})


@pytest.mark.parametrize(
    "settings",
    [
        {"candidate_weight": 1.2},
        {"neighbour_weight": 1.1},
        {"candidate_weight": -0.1},
        {"temperature": 0},
        {"beam_width": 0},
    ],
)
def test_refuses_what_has_no_meaning(settings):
    with pytest.raises(Vec2SlugError, match="expected"):
        MBRConfig(**settings)


@settings(max_examples=60, deadline=None)
@given(st.data(), vocabularies(), configs(), st.integers(1, 8))
def test_only_slugs_of_sound_words_are_offered(data, strings, config, width):
    model, mbr = data.draw(models(len(strings))), MBRConfig(beam_width=width)
    beams = mbr_search(HistoryStepper(model), documents(3), strings, config, mbr, Evidence())
    for candidates in beams.candidates:
        assert 1 <= len(candidates) <= width
        assert all(sound(w) == w != "" for c in candidates for w in c.slug.split("-"))
