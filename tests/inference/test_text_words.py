"""Words of texts against the rules of slugs, and runs of them against all runs that there are."""

import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_beam_search import configs, said_before, sound

from vec2slug_lib.common.slugs import STOPWORDS, slugify
from vec2slug_lib.inference.settings import DecodingConfig
from vec2slug_lib.inference.text_words import (
    MOST_WORDS,
    TextWord,
    has_words,
    run_traits,
    runs,
    text_words,
)

PIECES = st.tuples(
    st.from_regex(r"[a-zA-Z0-9éñÅü½]{1,6}(['’`][a-zA-Zé]{1,3})?", fullmatch=True),
    st.sampled_from([" ", ", ", "\n", "-", ". ", "_", " (", ") ", " & ", "/", " 'n' ", " — "]),
)
WORDS = [
    "a", "the", "of", "cat", "cats", "dog", "bee", "moonmoon", "b7k2c9d4e5f6", "catdog", "x" * 20,
    "y" * 45, "9",
]  # fmt: skip


@given(st.lists(PIECES), st.sampled_from(["NFC", "NFD"]))
def test_words_are_those_of_a_slug(pieces, form):
    text = unicodedata.normalize(form, "".join(word + gap for word, gap in pieces))
    found = [word.word for word in text_words(text)]
    assert found == [word for word in slugify(text, 10**6).split("-") if word]


def test_capitals_and_phrases_are_told_apart():
    text = "Amelia Earhart (1897–1937) didn't stop. «Ночь» in New\nYork"
    assert text_words(text) == [
        TextWord("amelia", True, True),
        TextWord("earhart", True, False),
        TextWord("1897", False, True),
        TextWord("1937", False, False),
        TextWord("didnt", False, True),
        TextWord("stop", False, False),
        TextWord("in", False, True),
        TextWord("new", True, False),
        TextWord("york", True, True),
    ]


@pytest.mark.parametrize("mark", '.!?:;,|()[]{}<>"“”«»\n')
def test_a_phrase_ends_at_a_mark_and_not_at_a_space_or_hyphen(mark):
    assert [word.begins for word in text_words(f"one{mark}two three-four")] == [1, 1, 0, 0]


@given(st.text())
def test_a_text_has_words_or_none(text):
    found = text_words(text)
    assert has_words(text) == bool(found)
    assert all(word.word.isascii() and word.word.isalnum() for word in found)
    assert all(word.begins for word in found[:1])


def test_of_a_long_text_the_first_words_count():
    assert len(text_words("word " * (MOST_WORDS + 5))) == MOST_WORDS
    assert not has_words("Ночь, улица, 夜")


def plain_runs(words, probabilities, config, mean_words):
    """All runs with their worth, by trying each stretch of words."""
    worth = {}
    for first in range(len(words)):
        for end in range(first + 1, len(words) + 1):
            parts = [word.word for word in words[first:end] if word.word not in config.dropped]
            run = "-".join(parts)
            told = any(said_before("-".join(parts[: n + 1])) for n in range(len(parts)))
            if (
                any(word.begins for word in words[first + 1 : end])
                or not config.min_words <= len(parts) <= config.max_words
                or len(run) > config.max_chars
                or len(set(parts)) < len(parts)
                or told
                or parts[-1] in STOPWORDS
                or (config.sound_words and any(sound(part) != part for part in parts))
            ):
                continue
            worth[run] = 2 * sum(probabilities.get(part, 0) for part in parts)
            worth[run] /= len(parts) + mean_words
    return worth


TEXT_WORDS = st.builds(
    TextWord, st.sampled_from(WORDS), st.booleans(), st.sampled_from([False] * 5 + [True])
)
PROBABILITIES = st.dictionaries(st.sampled_from(WORDS), st.sampled_from([0.0, 0.1, 0.25, 0.9]))


@given(
    st.lists(TEXT_WORDS, max_size=14),
    PROBABILITIES,
    configs(),
    st.sets(st.sampled_from(["the", "of", "bee"])),
    st.integers(0, 5),
)
def test_runs_are_the_best_of_all_that_keep_the_limits(words, known, config, dropped, count):
    config = replace(config, dropped=frozenset(dropped))
    found = runs(words, known, config, 4.6, 10**6)
    expected = plain_runs(words, known, config, 4.6)
    assert len(found) == len(set(found))
    assert set(found) == set(expected)
    worth = [expected[run] for run in found]
    assert worth == pytest.approx(sorted(expected.values(), reverse=True))
    assert runs(words, known, config, 4.6, count) == found[:count]


def test_runs_of_a_sentence_by_hand():
    words = text_words("The flight of Amelia Earhart, first woman over the Atlantic")
    known = {"flight": 0.5, "amelia": 0.9, "earhart": 0.9, "atlantic": 0.4, "woman": 0.4}
    found = runs(words, known, DecodingConfig(), 4.0, 3)
    # 2 * 2.3 / 8 and 2 * 2.3 / 9; "of-amelia-earhart" has 2 * 1.8 / 7.
    best = "flight-of-amelia-earhart"
    assert found == [best, "of-amelia-earhart", f"the-{best}"]
    assert runs(words, {}, DecodingConfig(max_chars=12), 4.0, 3) == []


def test_a_run_holds_no_word_that_the_search_may_not_write():
    words = text_words("red cat moonmoon")
    config = DecodingConfig()
    assert runs(words, {}, config, 4.0, 3) == ["red-cat-moonmoon"]
    assert runs(words, {}, replace(config, sound_words=True), 4.0, 3) == []


def test_traits_of_runs_by_hand():
    words = text_words("How bees fly: they can see. See how bees fly, and how they land")
    assert run_traits("how-bees-fly", words) == (1, 0, 1, 1)  # where it stands first
    assert run_traits("they-can-see", words) == (1, 1, 1, 1)
    assert run_traits("they-can", words) == (1, 1, 1, 0)
    assert run_traits("they-land", words) == (1, 1, 0, 1)
    assert run_traits("bees-land", words) == (1, 0, 0, 0)  # with words between them left out
