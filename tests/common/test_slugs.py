import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vec2slug_lib.common.slugs import (
    STOPWORDS,
    extract_slug,
    is_identifier,
    is_valid,
    repeats,
    slugify,
    sound_word,
    words,
)


@pytest.mark.parametrize(
    ("url", "slug"),
    [
        ("https://example.org/history/amelia-earhart-pilot", "amelia-earhart-pilot"),
        ("https://example.org/2019/05/Blood_Donation_Facts.html", "blood-donation-facts"),
        ("https://example.org/buddhism-in-burma/index.html", "buddhism-in-burma"),
        ("https://example.org/buddhism-in-burma/?page=2#top", "buddhism-in-burma"),
        ("https://example.org/a/ten-facts-about-mars.aspx", "ten-facts-about-mars"),
        ("https://example.org/may-31-in-history/", "may-31-in-history"),
    ],
)
def test_slug_of_url(url, slug):
    assert extract_slug(url) == (slug, "")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://example.org/", "no_path"),
        ("https://example.org/index.html", "no_path"),
        ("http://[::1/broken-ipv6-address", "no_path"),
        ("https://example.org/caf%C3%A9-au-lait-recipe", "not_kebab"),
        ("https://example.org/double--hyphen-slug", "not_kebab"),
        ("https://example.org/Army_of_God_(Bonekickers)", "not_kebab"),
        ("https://example.org/two-words", "word_count"),
        ("https://example.org/one-two-three-four-five-six-seven-eight-nine", "word_count"),
        ("https://example.org/report-12-part-7", "numeric"),  # two numbers
        ("https://example.org/the-war-of-1812", "numeric"),  # above 31
        ("https://example.org/vitamin-a-b", "short_words"),  # one word longer than a letter
        ("https://example.org/what-is-it-about", "stopwords"),  # four of four
        ("https://example.org/king-of-the-hill", "stopwords"),  # two of four: over 40 %
        ("https://example.org/moon-landing-photo-5c427385e4b027c3bbc1d076", "identifier"),
        ("https://example.org/us-health-study-iduskbn19o2ml", "identifier"),
        ("https://example.org/fddc7630-9cd8-11e4-a7ee-526210d665b4-story", "identifier"),
        ("https://example.org/deadbeef-cafe-face-baba-deadbeefcafe-story", "identifier"),  # UUID
    ],
)
def test_rejected_url(url, reason):
    assert extract_slug(url) == (None, reason)


def test_forty_per_cent_stopwords_are_allowed():
    # 2 of 5 words are stopwords: exactly 40 %.
    assert extract_slug("https://example.org/facts-about-the-blood-moon")[0]


@given(st.text(max_size=200))
def test_any_text_as_url_gives_slug_or_reason(url):
    slug, reason = extract_slug(url)
    assert (slug is None) == bool(reason)
    assert slug is None or (re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+){2,7}", slug))


@given(st.text(max_size=200))
def test_slugify_is_kebab_and_idempotent(text):
    slug = slugify(text)
    assert re.fullmatch(r"([a-z0-9]+(-[a-z0-9]+){0,7})?", slug)
    assert slugify(slug) == slug


def test_slugify_examples():
    assert slugify("Amelia Earhart’s Enduring Image!") == "amelia-earharts-enduring-image"
    assert slugify("Café: naïve façade") == "cafe-naive-facade"


@pytest.mark.parametrize(
    ("slug", "valid"),
    [
        ("a-b", True), ("a", False), ("one", False), ("Two-Words", False), ("a--b", False),
        ("-a-b", False), ("a-b-", False), ("a_b", False), ("", False), ("a-b\n", False),
        ("-".join(["word"] * 8), True), ("-".join(["word"] * 9), False),
        ("x" * 78 + "-y", True), ("x" * 79 + "-y", False),
    ],
)  # fmt: skip
def test_validity(slug, valid):
    assert is_valid(slug) is valid


def test_words_and_stopwords():
    assert words("a--b-") == ["a", "b"]
    assert {"the", "of", "and", "is"} < STOPWORDS
    assert not {"up", "now", "science"} & STOPWORDS


@pytest.mark.parametrize(
    "word",
    [
        "5c427385e4b027c3bbc1d076", "526210d665b4", "80b5b98e", "77759fc1eacc", "b07f3k2x9q",
        "iduskbn19o2ml", "iduskcn1040tx", "idustre80t1wv20120130", "idusbre88916a20120910",
        "0x800a139e", "img20190101wa0001",
    ],
)  # fmt: skip
def test_identifiers(word):
    assert is_identifier(word)


@pytest.mark.parametrize(
    "word",
    [
        "a1", "mp3", "2nd", "b52", "h264", "covid19", "facade", "decade", "defaced", "deadbeef",
        "face2face", "decade2010", "code4lib2009", "texture2dmsarray", "netipv6protocol",
        "zero2hero", "id2d1image", "d3dx11", "id3d11texture2d1", "b8g8r8a8", "2009dec21",
        "20141026a", "n1565484", "201206dream", "1920x1080px", "1200x800x600mm", "months12to24",
        "20th21st", "web2irelanddmf", "strncmp", "20120130", "c8h10n4o2", "kd65x9005b", "wh1000xm4",
    ],
)  # fmt: skip
def test_words_and_models_are_no_identifiers(word):
    assert not is_identifier(word)


@pytest.mark.parametrize(
    ("word", "left"),
    [
        ("breadbread", "bread"), ("moonmoonmoon", "moon"), ("redred", "red"), ("redreds", "reds"),
        ("lele", "le"), ("hhhh", "hh"), ("defaultdefaults", "defaults"), ("crocroco", "croco"),
        ("porporokeratosis", "porokeratosis"), ("magneticfieldsfields", "magneticfields"),
        ("hyperhyperbole", "hyperbole"), ("cxx00cxx00", "cxx00"), ("9d9d", "9d"),
        ("5f2b9c1e", "fbce"),
    ],
)  # fmt: skip
def test_what_is_glued_is_written_once_and_identifiers_lose_their_digits(word, left):
    assert sound_word(word) == left


@pytest.mark.parametrize(
    "word",
    [
        "couscous", "murmurs", "tartar", "tsetse", "papa", "mama", "isis", "memes", "banana",
        "2020", "20202020", "assassination", "barbarian", "mississippi", "nonsense", "hotshots",
        "aa", "a", "alfalfa", "cincinnati", "duckduckgo", "entente", "singing", "testes", "bonbons",
        "shoshone", "tartare", "murmuring", "assassins", "bringing", "chihuahua", "2010s",
    ],
)  # fmt: skip
def test_words_that_are_not_glued(word):
    assert sound_word(word) == word


@given(st.text("ab1s", max_size=12))
def test_a_sound_word_is_sound(word):
    assert sound_word(sound_word(word)) == sound_word(word)
    assert (sound_word(word) == "") == (word == "")


@pytest.mark.parametrize(
    ("slug", "repeated"),
    [
        ("cat-cat", True), ("cat-cats", True), ("cats-cat", True), ("of-cat-of", False),
        ("black-lake-blacklake", True), ("blacklake-lake-black", True), ("blacklake-lake", False),
        ("smart-interfaces-smartinterface", True),
        ("red-redder", False), ("black-blackboard", False), ("a-cat-acat", False),  # of two letters
    ],
)  # fmt: skip
def test_repeated_words(slug, repeated):
    *before, last = slug.split("-")
    assert repeats(last, before) is repeated
