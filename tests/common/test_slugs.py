import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vec2slug_lib.common import slugs
from vec2slug_lib.common.slugs import (
    STOPWORDS,
    UniqueSlugs,
    extract_slug,
    is_valid,
    slugify,
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


def test_hash_by_hand():
    # SHA-256 of "abc" begins ba7816bf.
    assert UniqueSlugs().name("amelia-earhart", b"abc") == "amelia-earhart-ba781"
    assert UniqueSlugs().name("amelia-earhart", b"abd") != "amelia-earhart-ba781"


@given(st.lists(st.binary(max_size=2), max_size=60))
def test_items_have_the_same_name_only_if_they_are_the_same(keys):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slugs, "DIGITS", 1)  # so that they collide
        given_names = UniqueSlugs()
        named = [given_names.name("page", key) for key in keys]
    assert len(set(named)) == len(set(keys))
    assert len(set(zip(named, keys, strict=True))) == len(set(keys))
