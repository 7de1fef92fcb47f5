"""Slugs by vector and text: limits hold, pages are apart, and each kind of evidence counts."""

import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_beam_search import HistoryStepper, configs, documents, models, random_model, sound
from tiny_text_model import tiny_text_model

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.slugs import is_valid
from vec2slug_lib.common.vocabulary import SPECIALS
from vec2slug_lib.inference.mbr import Evidence, MBRConfig, mbr_search
from vec2slug_lib.inference.settings import DecodingConfig
from vec2slug_lib.inference.text_search import judged_candidates, text_search

STRINGS = [*SPECIALS, *"abcdefghijklmnopqrstuvwxyz0123456789", "ab", "the", "of", "cat", "X"]
MODEL = tiny_text_model(len(STRINGS))
WORDS = ["Cat", "cats", "the", "of", "bee", "moonmoon", "Earhart", "b7k2c9d4e5f6", "7", "x" * 20]
TEXTS = st.lists(st.sampled_from([*WORDS, ".", "…", "Ночь"]), max_size=12).map(" ".join)
DECODER = random_model(seed=5, size=len(STRINGS), scale=0.5, eos=2.0, hyphen=3.0)


def word_logits(rows):
    """Logits of a head that depend on the row alone."""
    drawn = [np.random.default_rng(int(row[0])).standard_normal(len(STRINGS)) for row in rows]
    return np.array(drawn, np.float32)


def embed(texts):
    """One number a text, as the vectors of `documents` have it."""
    return np.array([[zlib.crc32(text.encode()) % 7 / 7] for text in texts], np.float32)


HEAD = Evidence(word_logits)


def found_in(texts, model=DECODER, config=None, mbr=None, evidence=HEAD, words=MODEL):
    stepper, rows = HistoryStepper(model), documents(len(texts))
    asked = (STRINGS, config or DecodingConfig(), mbr or MBRConfig(beam_width=4), evidence, words)
    return text_search(stepper, rows, texts, *asked)


@settings(max_examples=50)
@given(st.data(), configs(), st.lists(TEXTS, min_size=2, max_size=2), st.integers(1, 6))
def test_slugs_keep_the_limits_whatever_the_text(data, config, texts, width):
    model = data.draw(models(len(STRINGS)))
    beams = found_in(texts, model, config, MBRConfig(beam_width=width))
    for candidates in beams.candidates:
        assert 1 <= len(candidates) <= width + MODEL.runs
        assert len({c.slug for c in candidates}) == len(candidates)
        scores = [c.score for c in candidates]
        assert scores == sorted(scores, reverse=True)
        for slug, _ in candidates:
            parts = slug.split("-")
            assert all(sound(part) == part != "" for part in parts)
            assert config.min_words <= len(parts) <= config.max_words
            assert len(slug) <= config.max_chars


@settings(max_examples=8)
@given(st.data(), st.lists(TEXTS, min_size=5, max_size=5), st.booleans())
def test_a_page_does_not_depend_on_its_neighbours(data, texts, embedded):
    evidence = HEAD._replace(embed=embed if embedded else None)
    whole = found_in(texts, evidence=evidence)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vec2slug_lib.inference.text_search.PAGES", data.draw(st.integers(1, 4)))
        parts = found_in(texts, evidence=evidence)
    assert parts.candidates == whole.candidates
    assert parts.steps.tolist() == whole.steps.tolist()
    others = [data.draw(TEXTS) if row != 2 else text for row, text in enumerate(texts)]
    assert found_in(others, evidence=evidence).candidates[2] == whole.candidates[2]


@pytest.mark.parametrize("text", ["", " \n", "…?!", "Ночь. Улица."])
def test_a_text_without_words_leaves_the_slugs_of_the_vector(text):
    mbr = MBRConfig(beam_width=4)
    alone = mbr_search(
        HistoryStepper(DECODER), documents(2), STRINGS, DecodingConfig(), mbr, HEAD
    ).candidates
    found = found_in([text, text]).candidates
    assert [[c.slug for c in row] for row in found] == [[c.slug for c in row] for row in alone]


def test_a_text_brings_its_words_and_the_same_text_the_same_slug():
    text = "The first flight of Amelia Earhart, over the Atlantic."
    (with_text,), (without,) = found_in([text]).candidates, found_in([""]).candidates
    assert {"amelia", "earhart"} <= set(with_text[0].slug.split("-"))
    assert not {"amelia", "earhart"} & {w for c in without for w in c.slug.split("-")}
    assert is_valid(with_text[0].slug)
    assert found_in([text]).candidates == [with_text]


def test_runs_of_the_text_are_offered_and_no_others():
    (page,), _ = judged_candidates(
        HistoryStepper(DECODER), documents(1), ["Flight of Amelia Earhart. Amelia Earhart flew"],
        STRINGS, DecodingConfig(), MBRConfig(beam_width=4), HEAD, MODEL,
    )  # fmt: skip
    runs = {c.slug for c, traits in zip(page.candidates, page.traits, strict=True) if traits[0]}
    longer = {"flight-of-amelia-earhart", "of-amelia-earhart", "amelia-earhart-flew"}
    assert runs == longer | {"flight-of-amelia"}
    gains = (0.5, 0.2, -0.3, 0.1)
    worth = zip(page.worth(gains), page.expected, page.traits, strict=True)
    assert all(w == pytest.approx(f1 + np.dot(gains, traits)) for w, f1, traits in worth)
    none = replace(MODEL, runs=0)
    assert all(c.slug not in runs for c in found_in(["Amelia Earhart"], words=none).candidates[0])


def test_what_the_text_lacks_is_worth_less():
    def scores(elsewhere):
        fit = replace(MODEL, elsewhere=elsewhere, bonus=0.0, runs=0, score_fit=(1.0, 0.0))
        return {c.slug: c.score for c in found_in(["7"], words=fit).candidates[0]}

    whole, none = scores(1.0), scores(0.0)
    assert whole.keys() == none.keys()
    assert all(score == 0 for score in none.values())
    assert scores(0.5) == pytest.approx({slug: score / 2 for slug, score in whole.items()})


def test_the_nearest_pages_are_evidence_too():
    text = "Flight of Amelia Earhart"
    candidates = [c.slug for c in found_in([text]).candidates[0]]
    liked = dict.fromkeys(candidates[-1].split("-"), 1.0)
    near = HEAD._replace(neighbours=lambda rows: [liked] * len(rows))

    def best(weight):
        mbr = MBRConfig(beam_width=4, neighbour_weight=weight)
        return found_in([text], mbr=mbr, evidence=near).candidates[0][0].slug

    assert best(0.0) == candidates[0] != candidates[-1]
    assert best(1.0) == candidates[-1]


def test_a_slug_that_reads_like_its_page_wins():
    text = "Flight of Amelia Earhart"
    candidates = [c.slug for c in found_in([text]).candidates[0]]

    def like(texts):
        return np.array(
            [[0.0 if text.replace(" ", "-") == candidates[-1] else -1.0] for text in texts]
        )

    def ones(rows):
        return word_logits(rows - 1)

    near = Evidence(ones, None, like)
    rows = documents(1) + 1
    stepper = HistoryStepper(lambda document, tokens: DECODER(document - 1, tokens))
    asked = (STRINGS, DecodingConfig(), MBRConfig(beam_width=4), near)
    for fit, best in (((1.0, 9.0, 0.0), candidates[-1]), ((1.0, 0.0, 0.0), candidates[0])):
        words = replace(MODEL, rerank_fit=fit)
        assert text_search(stepper, rows, [text], *asked, words).candidates[0][0].slug == best


def test_refuses_a_decoder_without_a_head_and_texts_of_another_number():
    with pytest.raises(Vec2SlugError, match="expected a bag-of-words head"):
        found_in(["a text"], evidence=Evidence())
    stepper, asked = HistoryStepper(DECODER), (STRINGS, DecodingConfig(), MBRConfig(), HEAD, MODEL)
    for texts in ([], ["a", "b"]):
        with pytest.raises(Vec2SlugError, match=f"a text a row of 1, got {len(texts)}"):
            text_search(stepper, documents(1), texts, *asked)
