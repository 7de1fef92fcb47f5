"""Spans: what is cut, what is refused, what is never cut."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.slugs import STOPWORDS, is_valid, rejection, slugify, words
from vec2slug_lib.data.spans import KINDS, cut, draw, label, phrases, sentences

TEXT = (
    "Bees fly far for nectar. They live in large wooden hives!\n"
    "A keeper of honey bees, Anna Lind, wears white linen gloves"
)
PAGE = {"text": TEXT, "title": "Honey bees: a life", "slug": "life-of-honey-bees"}


def test_sentences_end_at_marks_and_lines_and_have_three_words():
    assert [" ".join(part) for part in sentences(TEXT + "\nToo short.")] == [
        "Bees fly far for nectar.",
        "They live in large wooden hives!",
        "A keeper of honey bees, Anna Lind, wears white linen gloves",
    ]


def test_phrases_lie_between_stopwords_and_marks():
    found = [list(phrases(part)) for part in sentences(TEXT)]
    assert found == [["Bees fly far"], ["large wooden hives"], ["wears white linen gloves"]]


def test_a_page_has_one_title_and_one_slug():
    rng = np.random.default_rng(0)
    assert cut(PAGE, "title", 9, [3], rng) == ["Honey bees: a life"]
    assert cut(PAGE, "slug", 9, [3], rng) == ["life of honey bees"]


def test_starts_begin_a_sentence_and_no_sentence_twice():
    found = cut(PAGE, "start", 9, [3], np.random.default_rng(0))
    assert sorted(found) == ["A keeper of", "Bees fly far", "They live in"]


@given(st.integers(0, 50), st.lists(st.integers(3, 8), min_size=1))
def test_random_spans_are_runs_of_words_of_a_drawn_length(seed, lengths):
    found = cut(PAGE, "random", 20, lengths, np.random.default_rng(seed))
    assert len(found) == 20
    for span in found:
        assert any(span in " ".join(part) for part in sentences(TEXT))
        whole = any(span == " ".join(part) for part in sentences(TEXT))
        assert len(span.split()) in lengths or whole


def test_a_page_without_sentences_has_no_spans():
    page = {**PAGE, "text": "Too short."}
    for kind in ("random", "start", "phrase"):
        assert cut(page, kind, 5, [3], np.random.default_rng(0)) == []


def test_labels_are_slugs_by_the_corpus_rules():
    texts = ["Bees fly far", "of the and", "bees fly far!", "Too short", "Paris 1871 Commune 1872",
             "Amelia Earhart, Pilot"]  # fmt: skip
    found = label(texts, banned=["amelia-earhart-pilot"])
    assert found.to_dict("records") == [{"text": "Bees fly far", "slug": "bees-fly-far"}]


@given(st.lists(st.text(max_size=60), max_size=8))
def test_any_text_gives_a_good_label_or_none(texts):
    found = label(texts)
    assert found["slug"].is_unique
    for text, slug in zip(found["text"], found["slug"], strict=True):
        assert is_valid(slug)
        assert not rejection(slug)
        assert slugify(text, 9) == slug


@pytest.mark.parametrize("kind", KINDS)
def test_draws_the_same_spans_again_and_not_too_many(kind):
    pages = pd.DataFrame([PAGE, {**PAGE, "slug": "keepers-of-bees", "title": "Keepers of bees"}])
    first = draw(pages, kind, 5)
    pd.testing.assert_frame_equal(first, draw(pages, kind, 5))
    assert 1 <= len(first) <= 5
    assert first["slug"].is_unique


def test_barred_slugs_are_never_drawn():
    pages = pd.DataFrame([PAGE])
    for kind in KINDS:
        for slug in draw(pages, kind, 20)["slug"]:
            assert slug not in set(draw(pages, kind, 20, banned=[slug])["slug"])


def test_an_unknown_kind_is_refused():
    with pytest.raises(Vec2SlugError, match="among random, start, phrase, title, slug, got 'verb'"):
        draw(pd.DataFrame([PAGE]), "verb", 5)


def test_phrases_hold_no_stopword():
    found = [phrase for part in sentences(TEXT) for phrase in phrases(part)]
    assert not {word for phrase in found for word in words(slugify(phrase))} & STOPWORDS
