"""Boosted trees against a walk of each tree, features worked by hand, and the file of a release."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tiny_text_model import tiny_text_model

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.files import write_json
from vec2slug_lib.inference.text_model import (
    FEATURES,
    TEXT_MODEL,
    TextModel,
    Trees,
    describe,
    frequency_code,
    load_text_model,
)
from vec2slug_lib.inference.text_words import text_words

NUMBERS = st.integers(-4, 4).map(lambda n: n / 2)


@st.composite
def forests(draw):
    count, inner = draw(st.integers(1, 4)), 2 ** draw(st.integers(0, 4)) - 1
    return Trees(
        draw(arrays(np.int64, (count, inner), elements=st.integers(0, len(FEATURES) - 1))),
        draw(arrays(np.float64, (count, inner), elements=NUMBERS)),
        draw(arrays(np.float64, (count, inner + 1), elements=NUMBERS)),
        draw(NUMBERS),
    )


def walked(trees, features):
    """Walk down each tree, for one row."""
    logit = trees.base
    for feature, threshold, value in zip(trees.feature, trees.threshold, trees.value, strict=True):
        node = 0
        while node < len(feature):
            below = 2 * node + 1
            node = below if features[feature[node]] <= threshold[node] else below + 1
        logit += value[node - len(feature)]
    return 1 / (1 + math.exp(-logit))


ROWS = arrays(np.float64, st.tuples(st.integers(1, 6), st.just(len(FEATURES))), elements=NUMBERS)


@given(forests(), ROWS)
def test_trees_are_walked_to_their_leaves(trees, features):
    expected = [walked(trees, row) for row in features]
    np.testing.assert_allclose(trees(features), expected)


@given(forests(), st.text(st.characters(codec="ascii"), max_size=9), st.floats(0, 9))
def test_a_model_is_the_same_after_a_file(trees, frequencies, bonus):
    model = tiny_text_model(3, frequencies=frequencies, bonus=bonus)
    model = TextModel(trees, *[getattr(model, name) for name in list(vars(model))[1:]])
    content = json.loads(json.dumps(model.to_json(), allow_nan=False))
    again = TextModel.from_json(content)
    for name in ("feature", "threshold", "value"):
        np.testing.assert_array_equal(getattr(again.trees, name), getattr(trees, name))
    assert again.to_json() == content
    assert {**vars(again), "trees": 0} == {**vars(model), "trees": 0}


def test_numbers_of_trees_are_stored_to_five_digits():
    trees = Trees(np.zeros((1, 1), int), np.array([[1234.5678]]), np.array([[1e-7 / 3, -2.0]]), 0.5)
    content = TextModel(trees, "", 0.3, 2.0, 8, (0.1,) * 4, (1, 0), (1, 1, 0)).to_json()["trees"]
    assert content["threshold"] == [[1234.6]]
    assert content["value"] == [[3.3333e-8, -2.0]]


@pytest.mark.parametrize(
    "damage",
    [
        lambda c: c.pop("bonus"),
        lambda c: c.pop("trees"),
        lambda c: c["trees"].pop("base"),
        lambda c: c.update(features=c["features"][::-1]),
        lambda c: c.update(score_fit=[1.0, 0.0, 0.0]),
        lambda c: c.update(rerank_fit=[1.0, 0.0]),
        lambda c: c.update(run_gains="much"),
        lambda c: c.update(run_gains=[0.1]),
        lambda c: c.update(elsewhere=None),
        lambda c: c["trees"].update(feature=[[0, len(FEATURES), 0]]),
        lambda c: c["trees"].update(feature=[[0, -1, 0]]),
        lambda c: c["trees"].update(threshold=[[0.5, 0.5]]),
        lambda c: c["trees"].update(threshold=[["a", "b", "c"]]),
        lambda c: c["trees"].update(value=[[0.0, 1.0, 2.0]]),
        lambda c: c["trees"].update(feature=[[0, 0]], threshold=[[1, 1]], value=[[1, 1, 1]]),
        lambda c: c["trees"].update(feature=[], threshold=[], value=[]),
    ],
)
def test_a_broken_model_is_refused(tmp_path, damage):
    content = tiny_text_model(3).to_json()
    damage(content)
    write_json(tmp_path / TEXT_MODEL, content)
    with pytest.raises(Vec2SlugError, match="expected a model of words in texts, but"):
        load_text_model(tmp_path)


@pytest.mark.parametrize("content", [None, [], 7, {"trees": []}])
def test_what_is_no_model_is_refused(content):
    with pytest.raises(Vec2SlugError, match="expected a model of words in texts, but"):
        TextModel.from_json(content)


def test_a_release_may_have_a_model_and_its_manifest_knows_which(tmp_path):
    assert load_text_model(tmp_path) is None
    model = tiny_text_model(3)
    write_json(tmp_path / TEXT_MODEL, model.to_json())
    assert load_text_model(tmp_path).to_json() == model.to_json()
    write_json(tmp_path / "manifest.train.json", {"sha256": {TEXT_MODEL: "of another"}})
    with pytest.raises(Vec2SlugError, match="truncated or changed"):
        load_text_model(tmp_path)


def test_features_by_hand():
    ids = {token: i for i, token in enumerate(["a", "b", "c", "bee", "ant", "2", "the"])}
    logits = np.log([0.1, 0.2, 0.05, 0.4, 0.05, 0.1, 0.1]).astype(np.float32)
    words = text_words("The Bee and the cab. Bee 2, a Bee")
    ids["n"], ids["d"] = 0, 0  # of "and", which no token is
    codes = "!!!" + frequency_code(56) + "!" + frequency_code(8) + frequency_code(24)
    distinct, features = describe(words, logits, ids, 2.0, codes)
    assert distinct == ["the", "bee", "and", "cab", "2", "a"]
    by_name = dict(zip(FEATURES, features.T.tolist(), strict=True))
    np.testing.assert_allclose(np.exp(by_name["head"]), [0.2, 0.8, 0.2, 0.1, 0.2, 0.2], rtol=1e-5)
    assert by_name["count"] == [2, 3, 1, 1, 1, 1]
    assert by_name["frequency"] == [16, 24, 0, 0, 8, 0]
    assert by_name["first"] == [0, 1, 2, 4, 6, 7]
    assert by_name["capitals"] == [0.5, 1, 0, 0, 0, 0]
    np.testing.assert_allclose(by_name["capitals_inside"], [0, 2 / 3, 0, 0, 0, 0])
    assert by_name["letters"] == [3, 3, 3, 3, 1, 1]
    assert by_name["stopword"] == [1, 0, 1, 0, 0, 1]
    assert by_name["digits"] == [0, 0, 0, 0, 1, 0]


def test_words_get_what_the_trees_say_of_them():
    ids = {letter: i for i, letter in enumerate("abenthof")}
    model = tiny_text_model(len(ids))
    found = model.probabilities(text_words("a Bee, the ant"), np.zeros(8, np.float32), ids, 4.6)
    capital, short = 1 / (1 + math.exp(-1)), 1 / (1 + math.exp(3))
    assert found == pytest.approx({"a": short, "bee": capital, "the": short, "ant": short})
    assert model.probabilities([], np.zeros(8, np.float32), ids, 4.6) == {}


@given(st.integers(0, 10**7), st.integers(0, 10**5))
def test_codes_of_frequencies_ascend_and_can_be_printed(texts, more):
    code, higher = frequency_code(texts), frequency_code(texts + more)
    assert code <= higher
    assert "!" <= code <= "~"


def test_codes_of_frequencies_are_eight_to_a_doubling():
    assert [ord(frequency_code(8 * (2**n - 1))) - ord("!") for n in range(5)] == [0, 8, 16, 24, 32]
