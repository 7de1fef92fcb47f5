"""What a text adds to a search, against logits to which it is added before the search."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from plain_beam_search import HistoryStepper, configs, documents, models, random_model

from vec2slug_lib.common.vocabulary import FIRST, HYPHEN, SPECIALS
from vec2slug_lib.inference.beam_search import search
from vec2slug_lib.inference.grounding import MOST_GAIN, USUAL, GroundedStepper, bonuses, raised
from vec2slug_lib.inference.mbr import longest_match_tokens
from vec2slug_lib.inference.scores import scores_of
from vec2slug_lib.inference.settings import DecodingConfig

STRINGS = [*SPECIALS, "a", "b", "c", "t", "s", "ab", "cat", "of", "X"]
IDS = {token: i for i, token in enumerate(STRINGS)}
WORDS = st.from_regex("[abcts]{1,6}", fullmatch=True)
TEXTS = st.dictionaries(WORDS, st.floats(0, 1), max_size=5)
SIZE = 11
LOGITS = st.integers(-3, 3)  # so that there are ties


@st.composite
def gains(draw, rows):
    """Tokens of some rows, and what each gains."""
    found = {}
    for row in draw(st.sets(st.integers(0, rows - 1))):
        tokens = draw(st.lists(st.integers(FIRST, FIRST + SIZE - 1), min_size=1, unique=True))
        values = draw(arrays(np.float64, len(tokens), elements=st.integers(0, 6)))
        found[row] = (np.array(tokens), values)
    return found


@given(st.data(), st.integers(1, 5), st.integers(1, SIZE + 2), st.booleans())
def test_raised_scores_are_those_of_raised_logits(data, rows, width, taken):
    logits = data.draw(arrays(np.float32, (rows, SIZE), elements=LOGITS.map(np.float32)))
    eos, hyphen = np.zeros(rows, np.float32), np.ones(rows, np.float32)
    scores = scores_of(eos, hyphen, logits, width)
    if taken:  # rows in another order, whose subwords stay where they are
        order = data.draw(arrays(np.int64, rows, elements=st.integers(0, rows - 1)))
        scores, logits = scores.take(order), logits[order]
    before, logits, added = logits, logits.copy(), data.draw(gains(rows))
    found = raised(scores, added)
    for row, (tokens, values) in added.items():
        logits[row, tokens - FIRST] += values.astype(np.float32)
    expected = scores_of(eos, hyphen, logits, width)
    np.testing.assert_allclose(found.total, expected.total, atol=1e-5)
    np.testing.assert_array_equal(found.best, expected.best)
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    np.testing.assert_array_equal(found.all_subwords(np.arange(rows)), logits)
    np.testing.assert_array_equal(scores.all_subwords(np.arange(rows)), before)


def test_gains_by_hand():
    known = {"cat": 0.5, "cab": 0.3, "of": 0.9, "bat": USUAL, "sat": 1.0}
    found = bonuses(known, IDS, 1.0)
    c, a, b, s, t = (IDS[letter] for letter in "cabst")
    by_node = {
        node: dict(zip(*map(np.ndarray.tolist, pair), strict=True)) for node, pair in found.items()
    }
    usual = math.log((1 - USUAL) / USUAL)
    cab = math.log(0.3 / 0.7) + usual
    assert by_node.keys() == {(), (c,), (s,), (s, a)}
    assert by_node[()] == pytest.approx({IDS["cat"]: usual, c: cab, s: MOST_GAIN})
    assert by_node[(c,)] == pytest.approx({IDS["ab"]: cab})
    assert by_node[(s,)] == {a: MOST_GAIN}
    assert by_node[(s, a)] == {t: MOST_GAIN}
    assert b not in by_node[()]
    assert bonuses({}, IDS, 1.0) == {}


@given(TEXTS, st.floats(0, 3))
def test_no_gain_is_a_loss_and_each_part_of_a_word_gains(known, strength):
    found = bonuses(known, IDS, strength)
    for tokens, values in found.values():
        assert len(tokens) == len(set(tokens.tolist())) == len(values)
        assert (values >= 0).all()
        assert (values <= MOST_GAIN).all()
    for word, probability in known.items():
        if probability > USUAL and word not in ("a", "as", "at"):
            pieces = longest_match_tokens(word, IDS)
            for end, token in enumerate(pieces):
                assert token in found[tuple(pieces[:end])][0]


@settings(max_examples=40)
@given(st.data(), configs())
def test_without_gains_a_search_is_what_it_was(data, config):
    model = data.draw(models(len(STRINGS)))
    grounded = GroundedStepper(HistoryStepper(model), [{}] * 3, config.beam_width)
    expected = search(HistoryStepper(model), documents(3), STRINGS, config, 3)
    found = search(grounded, documents(3), STRINGS, config, 3)
    assert found.candidates == expected.candidates
    assert found.steps.tolist() == expected.steps.tolist()


@settings(max_examples=60)
@given(st.data(), configs(), st.lists(TEXTS, min_size=3, max_size=3), st.integers(1, 3))
def test_each_document_gets_its_own_gains_whatever_the_chunks(data, config, texts, chunk):
    model = data.draw(models(len(STRINGS)))
    gained = [bonuses(known, IDS, 1.0) for known in texts]

    def with_gains(document, tokens):
        logits = model(document, tokens)
        last = max((end for end, token in enumerate(tokens, 1) if token == HYPHEN), default=0)
        more, values = gained[document].get(tokens[last:], ([], np.zeros(0)))
        logits[np.array(more, int)] += values.astype(np.float32)
        return logits

    expected = search(HistoryStepper(with_gains), documents(3), STRINGS, config, 3)
    grounded = GroundedStepper(HistoryStepper(model), gained, config.beam_width)
    found = search(grounded, documents(3), STRINGS, config, 3, chunk)
    for ours, theirs in zip(found.candidates, expected.candidates, strict=True):
        assert [c.score for c in ours] == pytest.approx([c.score for c in theirs], abs=1e-3)
        # Float32 may order what is as good as level.
        if len({round(c.score, 2) for c in theirs}) == len(theirs):
            assert [c.slug for c in ours] == [c.slug for c in theirs]


@pytest.mark.parametrize("word", ["earhart", "zzyzx"])
def test_a_word_that_the_vocabulary_splits_is_written_as_a_whole(word):
    strings = [*SPECIALS, *"abcdefghijklmnopqrstuvwxyz0123456789", "ear", "the", "flight", "woman"]
    ids = {token: i for i, token in enumerate(strings)}
    assert len(longest_match_tokens(word, ids)) > 3
    model = random_model(seed=3, size=len(strings), scale=0.5, eos=3.0, hyphen=4.0)
    config = DecodingConfig(distinct_words=True)
    gained = bonuses({word: 0.95, "flight": 0.5}, ids, 3.0)

    def words(given):
        stepper = GroundedStepper(HistoryStepper(model), [given], config.beam_width)
        (candidates,) = search(stepper, documents(1), strings, config).candidates
        return candidates[0].slug.split("-")

    assert word in words(gained)
    assert "flight" in words(gained)
    assert word not in words({})
