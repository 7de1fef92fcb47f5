"""What is asked of slugs, and what a search makes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_beam_search import HistoryStepper, configs, documents, models, vocabularies

from vec2slug_lib.common.english import looks_english
from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.slugs import STOPWORDS, words
from vec2slug_lib.inference.beam_search import search
from vec2slug_lib.inference.settings import DecodingConfig, SlugSettings


@settings(max_examples=100, deadline=None)
@given(st.data(), vocabularies(), configs(), st.integers(1, 6))
def test_dropped_words_are_in_no_slug_that_has_others(data, strings, config, top_k):
    model = data.draw(models(len(strings)))
    dropped = frozenset({"a", "the", "of", "cat"})
    asked = replace(config, dropped=dropped)
    found = search(HistoryStepper(model), documents(2), strings, asked, top_k).candidates
    for candidates in found:
        slugs = [candidate.slug for candidate in candidates]
        assert slugs
        assert len(set(slugs)) == len(slugs)
        for slug in slugs:
            assert not dropped & set(words(slug)) or set(words(slug)) <= dropped
            assert len(words(slug)) <= config.max_words
            assert len(slug) <= config.max_chars


def test_words_dropped_do_not_count():
    """Of a model that writes the-cat-of-dog7-… a slug of two words has two that stay."""
    strings = ["<pad>", "<bos>", "<eos>", "<unk>", "-", "the", "cat", "of", "dog7"]
    wanted = [5, 4, 6, 4, 7, 4, 8, 2]

    def model(document, tokens):
        logits = [0.0] * len(strings)
        logits[wanted[min(len(tokens), 7)]] = 30.0
        return logits

    config = DecodingConfig(min_words=2, max_words=2, dropped=STOPWORDS)
    [[best]] = search(HistoryStepper(model), documents(1), strings, config).candidates
    assert best.slug == "cat-dog7"


def test_what_is_not_asked_for_is_the_models():
    config = DecodingConfig(min_words=4, max_words=6, max_chars=50, stopwords=frozenset({"x"}))
    assert SlugSettings().applied(config) == config
    assert SlugSettings(stopwords="drop").applied(config).dropped == {"x"}
    assert SlugSettings(stopwords=["y", "z"]).applied(config).dropped == {"y", "z"}
    short = SlugSettings(max_words=1).applied(config)
    assert (short.min_words, short.max_words, short.min_tokens) == (1, 1, 1)
    long = SlugSettings(min_words=9).applied(config)
    assert (long.min_words, long.max_words) == (9, 9)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"max_chars": 0}, "max_chars of 1 or more, got 0"),
        ({"min_words": 4, "max_words": 3}, "at most max_words, got 4 and 3"),
        ({"stopwords": "some"}, "'keep', 'drop' or words, got 'some'"),
    ],
)
def test_what_has_no_meaning_is_refused(asked, message):
    with pytest.raises(Vec2SlugError, match=message):
        SlugSettings(**asked)


def test_more_words_than_fit_are_refused():
    with pytest.raises(Vec2SlugError, match="max_tokens"):
        SlugSettings(min_words=13).applied(DecodingConfig())


# The first article of the declaration of human rights, 1948.
FOREIGN = {
    "de": "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft "
    "und Gewissen begabt und sollen einander im Geist der Brüderlichkeit begegnen.",
    "fr": "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués "
    "de raison et de conscience et doivent agir les uns envers les autres dans un esprit de "
    "fraternité.",
    "es": "Todos los seres humanos nacen libres e iguales en dignidad y derechos y, dotados como "
    "están de razón y conciencia, deben comportarse fraternalmente los unos con los otros.",
    "nl": "Alle mensen worden vrij en gelijk in waardigheid en rechten geboren. Zij zijn begiftigd "
    "met verstand en geweten, en behoren zich jegens elkander in een geest van broederschap te "
    "gedragen.",
    "da": "Alle mennesker er født frie og lige i værdighed og rettigheder. De er udstyret med "
    "fornuft og samvittighed, og de bør handle mod hverandre i en broderskabets ånd.",
    "pl": "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw. Są oni "
    "obdarzeni rozumem i sumieniem i powinni postępować wobec innych w duchu braterstwa.",
    "ru": "Все люди рождаются свободными и равными в своем достоинстве и правах.",
    "zh": "人人生而自由,在尊严和权利上一律平等。",
}  # fmt: skip


@pytest.mark.parametrize("language", FOREIGN)
def test_other_languages_do_not_look_english(language):
    assert not looks_english(FOREIGN[language])


@pytest.mark.parametrize(
    "text",
    [
        "All human beings are born free and equal in dignity and rights. They are endowed with "
        "reason and conscience and should act towards one another in a spirit of brotherhood.",
        "Café Müller, Wuppertal",  # too short to tell
        "1234 5678",
        "QOM RAILWAY STATION (Persian: ايستگاه) is located in Qom, and is one of the stations of "
        "the railway that leads to the south of the country.",
    ],
)
def test_english_looks_english(text):
    assert looks_english(text)
