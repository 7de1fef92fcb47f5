"""Beam search against a plain transcription for one document, a worked example, properties."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from plain_beam_search import (
    HistoryStepper,
    can_be_completed,
    configs,
    documents,
    grammar,
    models,
    plain_search,
    shortest_subword,
    sound,
    vocabularies,
)

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.slugs import is_valid
from vec2slug_lib.common.vocabulary import EOS, HYPHEN, SPECIALS
from vec2slug_lib.inference.beam_search import Candidate, greedy, search
from vec2slug_lib.inference.settings import DecodingConfig

# --- differential and property tests ---


@settings(max_examples=150, deadline=None)
@given(st.data(), vocabularies(), configs(), st.integers(1, 6))
def test_equals_the_plain_version(data, strings, config, top_k):
    model = data.draw(models(len(strings)))
    found = search(HistoryStepper(model), documents(2), strings, config, top_k)
    for document in range(2):
        expected, steps, margin = plain_search(
            lambda tokens, d=document: model(d, tokens), strings, config, top_k
        )
        assume(margin > 1e-4)  # closer decisions hang on float32 rounding
        assert [c.slug for c in found.candidates[document]] == [slug for slug, _ in expected]
        scores = [c.score for c in found.candidates[document]]
        assert scores == pytest.approx([score for _, score in expected], abs=1e-4)
        assert found.steps[document] == steps


@settings(max_examples=100, deadline=None)
@given(st.data(), vocabularies(), configs(), st.integers(1, 6))
def test_optimal_stopping_loses_nothing(data, strings, config, top_k):
    model = data.draw(models(len(strings)))
    full, early = (
        search(
            HistoryStepper(model), documents(3), strings, replace(config, stopping=stopping), top_k
        )
        for stopping in ("exhaustive", "optimal")
    )
    assert early.candidates == full.candidates
    assert (early.steps <= full.steps).all()


@settings(max_examples=50, deadline=None)
@given(st.data(), vocabularies(), configs())
def test_result_depends_on_neither_neighbours_nor_chunks(data, strings, config):
    model = data.draw(models(len(strings)))
    whole = search(HistoryStepper(model), documents(5), strings, config, 3)
    order = data.draw(st.permutations(range(5)))
    chunk_size = data.draw(st.integers(1, 5))
    parts = search(HistoryStepper(model), documents(5)[order], strings, config, 3, chunk_size)
    assert parts.candidates == [whole.candidates[i] for i in order]
    assert parts.steps.tolist() == whole.steps[order].tolist()
    alone = search(HistoryStepper(model), documents(5)[order[:1]], strings, config, 3).candidates
    assert alone == [whole.candidates[order[0]]]


EXTREMES = st.sampled_from([-3.4e38, -1e38, -1e4, -1.0, 0.0, 1.0, 1e4, 1e38, 3.4e38])


@settings(max_examples=150, deadline=None)
@given(st.data(), vocabularies(), st.integers(1, 5), st.sampled_from(["optimal", "first_k"]))
def test_every_candidate_is_a_slug_whatever_the_logits(data, strings, width, stopping):
    """Also with a model that always wants one token, such as a subword and never a hyphen."""
    table = [
        data.draw(st.lists(EXTREMES, min_size=len(strings), max_size=len(strings)))
        for _ in range(data.draw(st.integers(1, 3)))
    ]
    config = DecodingConfig(beam_width=width, stopping=stopping)
    stepper = HistoryStepper(lambda document, tokens: table[len(tokens) % len(table)])
    for found in search(stepper, documents(2), strings, config, top_k=9).candidates:
        assert 1 <= len(found) <= 9
        assert len({c.slug for c in found}) == len(found)
        assert [c.score for c in found] == sorted((c.score for c in found), reverse=True)
        for candidate in found:
            assert is_valid(candidate.slug)
            assert 3 <= len(candidate.slug.split("-")) <= 8
            assert math.isfinite(candidate.score)


@settings(max_examples=150, deadline=None)
@given(st.data(), vocabularies(), configs(), st.integers(1, 6))
def test_no_candidate_holds_a_glued_word_or_an_identifier(data, strings, config, top_k):
    """Also with a model that never wants a hyphen, and writes the same few tokens again."""
    model, few = data.draw(models(len(strings))), data.draw(st.integers(1, 3))

    def stammer(document, tokens):
        return model(document, (len(tokens) % few,)) + 8 * (np.arange(len(strings)) > HYPHEN)

    config = replace(config, sound_words=True)
    stepper = HistoryStepper(data.draw(st.sampled_from([model, stammer])))
    for candidates in search(stepper, documents(2), strings, config, top_k).candidates:
        assert candidates
        for word in "-".join(c.slug for c in candidates).split("-"):
            assert word == sound(word) != ""


@settings(max_examples=50, deadline=None)
@given(st.data(), vocabularies(), configs())
def test_greedy_follows_the_most_probable_allowed_token(data, strings, config):
    model = data.draw(models(len(strings)))
    config = replace(config, distinct_words=False, sound_words=False)
    shortest = shortest_subword(strings)
    text, tokens = "", ()
    while True:
        allowed = [
            t
            for t in grammar(text, len(tokens), strings, config)
            if t == EOS or can_be_completed(text + strings[t], len(tokens) + 1, shortest, config)
        ]
        logits = model(0, tokens)
        best = max(allowed, key=lambda t: logits[t], default=EOS)
        if best == EOS:
            break
        text, tokens = text + strings[best], (*tokens, best)
    assert greedy(HistoryStepper(model), documents(1), strings, config) == [text]


# --- a worked example ---

TINY = [*SPECIALS, "x", "y"]
TINY_CONFIG = DecodingConfig(
    beam_width=2,
    length_reward=1,
    reward_cap=2,
    min_tokens=1,
    min_words=2,
    max_words=2,
    max_tokens=6,
)


def tiny_model(document, tokens):
    """Weights (exponentials of the logits) of <pad> <bos> <eos> <unk> - x y."""
    opening = not tokens or tokens[-1] == HYPHEN
    return np.log([100, 100, 4, 100, 2, 3, 1] if opening else [100, 100, 4, 100, 2, 1, 1])


def test_worked_example():
    # 0 tokens: only x, y: 3/4, 1/4.
    # 1 token:  <eos> is suppressed (1 word): - x y = 1/2 1/4 1/4.
    #           x- .375, xx .1875, xy .1875, y- .125: keep x- and xx (a tie goes to the lower token)
    # 2 tokens: x-x .375 * 3/4 = .28125 and x-y .09375 with reward 2; xx- .09375 with reward 1:
    #           keep x-x, x-y
    # 3 tokens: two words, so no hyphen: <eos> x y = 4/6 1/6 1/6.
    #           x-x <eos> .1875, x-y <eos> .0625, x-xx = x-xy = .046875, x-yx = x-yy = .015625
    #           both <eos> are among the best two. x-x repeats a word:
    #             x-x ln .1875 + 2 - 2 = -1.674,  x-y ln .0625 + 2 = -0.773
    #           keep x-xx and x-xy: bound ln .046875 + 2 = -1.060, so one slug is settled, two not
    # 4 tokens: x-xx and x-xy finish with .03125: ln .03125 + 2 = -1.466;
    #           keep two of .0078125: bound -2.852, so four slugs are settled
    # 5 tokens: the cap: <eos> forced and charged 4/6: .0052083: ln + 2 = -3.257
    expected = [
        Candidate("x-y", math.log(1 / 16) + 2),
        Candidate("x-xx", math.log(1 / 32) + 2),
        Candidate("x-xy", math.log(1 / 32) + 2),
        Candidate("x-x", math.log(3 / 16)),
        Candidate("x-xxx", math.log(1 / 192) + 2),
        Candidate("x-xxy", math.log(1 / 192) + 2),
    ]
    for top_k, steps in [(1, 4), (2, 5), (4, 5), (5, 6), (9, 6)]:
        found = search(HistoryStepper(tiny_model), documents(1), TINY, TINY_CONFIG, top_k)
        assert [c.slug for c in found.candidates[0]] == [c.slug for c in expected[:top_k]]
        assert [c.score for c in found.candidates[0]] == pytest.approx(
            [c.score for c in expected[:top_k]], abs=1e-5
        )
        assert found.steps.tolist() == [steps]


def test_stopword_at_the_cap_is_forced_charged_and_penalised():
    # At the cap (5 tokens) <eos> has weight 1 beside "the" 2 and "-" 1.
    config = DecodingConfig(beam_width=1, length_reward=0, max_tokens=6)
    strings = [*SPECIALS, "the"]
    stepper = HistoryStepper(lambda document, tokens: np.log([9, 9, 1, 9, 1, 2]))
    [[found]] = search(stepper, documents(1), strings, config).candidates
    # Start: only "the". Then "-" is the one token that leaves room for three words: every step is
    # certain. At the cap ln(1/4), and 1 off for the trailing stopword; no content word repeats.
    assert found.slug == "the-the-the"
    assert found.score == pytest.approx(math.log(1 / 4) - 1, abs=1e-6)


@settings(max_examples=150, deadline=None)
@given(st.data(), st.integers(1, 25), st.integers(1, 81), st.integers(1, 3))
def test_characters_are_spent_to_the_limit_and_no_further(data, short, long, width):
    """Two subwords; a model that ranks them, hyphen and <eos> in a fixed order at each length."""
    orders = data.draw(st.lists(st.permutations([EOS, HYPHEN, 5, 6]), min_size=1, max_size=4))
    strings = [*SPECIALS, "a" * short, "b" * long]

    def model(document, tokens):
        logits = np.zeros(7)
        logits[orders[len(tokens) % len(orders)]] = (40, 30, 20, 10)
        return logits

    config = DecodingConfig(beam_width=width)
    [found] = search(HistoryStepper(model), documents(1), strings, config, top_k=9).candidates
    assert all(is_valid(c.slug) and len(c.slug.split("-")) >= 3 for c in found)


def test_two_spellings_of_a_slug_count_once_with_the_better_score():
    # One word, no hyphen: x, xx are 1/2 each, then <eos> x xx 1/2 1/4 1/4. "xx" finishes with
    # 1/4 as one token and later with 1/2 * 1/4 * 1/2 = 1/16 as x+x; "x" finishes with 1/4.
    config = DecodingConfig(
        length_reward=0, min_words=1, max_words=1, min_tokens=1, stopping="exhaustive"
    )
    stepper = HistoryStepper(lambda document, tokens: np.log([9, 9, 2, 9, 9, 1, 1]))
    [found] = search(stepper, documents(1), [*SPECIALS, "x", "xx"], config, top_k=99).candidates
    assert [c.slug for c in found].count("xx") == 1
    assert [c.slug for c in found[:2]] == ["x", "xx"]
    assert [c.score for c in found[:2]] == pytest.approx([math.log(1 / 4)] * 2, abs=1e-6)


def test_equal_logits_choose_the_lowest_token():
    stepper = HistoryStepper(lambda document, tokens: [0.0] * 8)
    config = DecodingConfig(beam_width=1, length_reward=0)
    # Ties go <eos>, hyphen, then the first subword: as short as the rules allow.
    assert greedy(stepper, documents(1), [*SPECIALS, "cat", "dog", "x"], config) == ["cat-cat-cat"]


def test_progress_counts_documents_and_no_document_is_no_work():
    done = []
    search(HistoryStepper(tiny_model), documents(5), TINY, chunk_size=2, progress=done.append)
    assert done == [2, 2, 1]
    empty = search(HistoryStepper(tiny_model), np.zeros((0, 1)), TINY)
    assert empty.candidates == []
    assert empty.steps.shape == (0,)


# --- bad input ---


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_refused(bad):
    stepper = HistoryStepper(lambda document, tokens: [0.0] * 6 + [bad if len(tokens) > 1 else 0])
    with pytest.raises(Vec2SlugError, match="finite"):
        search(stepper, documents(1), TINY)


@pytest.mark.parametrize(
    ("embeddings", "strings", "top_k", "message"),
    [
        (np.zeros(3), TINY, 1, r"\[N, D\]"),
        (np.zeros((1, 1)), TINY, 0, "top_k"),
        (np.zeros((1, 1)), [*TINY, "z"], 1, "shape"),
        (np.zeros((1, 1)), TINY[1:], 1, "beginning"),
        (np.zeros((1, 1)), [*SPECIALS, "A", "B"], 1, "subwords"),
        (np.zeros((1, 1)), [*SPECIALS, "a" * 27, "B"], 1, "characters"),
    ],
)
def test_malformed_arguments_are_refused(embeddings, strings, top_k, message):
    with pytest.raises(Vec2SlugError, match=message):
        search(HistoryStepper(tiny_model), embeddings, strings, top_k=top_k)


@pytest.mark.parametrize(
    "change",
    [
        {"beam_width": 0},
        {"length_reward": -0.1},
        {"length_reward": math.nan},
        {"repeat_penalty": -1.0},
        {"reward_cap": -1},
        {"min_words": 0},
        {"min_words": 9},
        {"max_tokens": 5},
        {"min_tokens": 24},
        {"stopping": "never"},
    ],
)
def test_impossible_settings_are_refused(change):
    with pytest.raises(Vec2SlugError):
        DecodingConfig(**change)


def test_distinct_words_bars_the_second_and_its_plural():
    strings = [*SPECIALS, "cat", "s", "dog"]
    cat, plural, dog = 5, 6, 7

    def model(document, tokens):  # cat-cats-cat-... at any price
        logits = np.full(len(strings), -6.0)
        if not tokens or tokens[-1] == HYPHEN:
            logits[[cat, dog]] = (3, 0)
        else:
            logits[[HYPHEN, EOS]] = (2, 1)
        logits[plural] = -3.0
        return logits

    def found(distinct):
        config = DecodingConfig(beam_width=8, distinct_words=distinct, min_words=2, max_words=2)
        return search(HistoryStepper(model), documents(1), strings, config, 99).candidates[0]

    assert found(False)[0].slug in ("cat-cat", "cat-cats")
    slugs = [candidate.slug for candidate in found(True)]
    assert slugs[0] in ("cat-dog", "dog-cat")
    assert not {"cat-cat", "cat-cats", "cats-cat", "dog-dog"} & set(slugs)
    scores = dict(found(False))
    assert all(score <= scores.get(slug, 0.0) + 1e-9 for slug, score in found(True))


def wanted(strings, slug, config, **changes):
    """Slugs of a search whose model wants this one, token by token, and tends to end words."""
    ids = {string: i for i, string in enumerate(strings)}
    path = [ids[token] for token in slug.split()] + [EOS]

    def model(document, tokens):
        logits = np.where(np.arange(len(strings)) <= HYPHEN, 1.0, 0.0)
        if tokens == tuple(path[: len(tokens)]):
            logits[path[len(tokens)]] = 6
        return logits

    config = replace(config, **changes)
    found = search(HistoryStepper(model), documents(1), strings, config, 99).candidates[0]
    return [candidate.slug for candidate in found]


WIDE = DecodingConfig(beam_width=6, min_words=2, max_words=4, max_tokens=9)


@pytest.mark.parametrize(
    "slug",
    [
        "bread bread - loaf",
        "loaf - bread bread",
        "loaf - bread bread bread",
        "loaf - bread bread s",  # with an s
        "loaf - bread bread y",  # with any rest
        "5f2b 9c1e - loaf",
        "loaf - b07f 3k2 x9q",
    ],
)
def test_no_word_is_glued_from_itself_or_an_identifier(slug):
    strings = [*SPECIALS, "bread", "loaf", "s", "y", "5f2b", "9c1e", "b07f", "3k2", "x9q"]
    meant = slug.replace(" ", "")
    assert wanted(strings, slug, WIDE)[0] == meant
    assert meant not in wanted(strings, slug, WIDE, sound_words=True)


@pytest.mark.parametrize("slug", ["cous cous - loaf", "loaf - tar tar s", "loaf - 20 20"])
def test_words_that_have_the_form_of_glued_ones_are_written(slug):
    strings = [*SPECIALS, "cous", "tar", "20", "loaf", "s"]
    assert wanted(strings, slug, WIDE, sound_words=True)[0] == slug.replace(" ", "")


@pytest.mark.parametrize(
    "slug",
    ["bread - loaf - bread loaf", "bread loaf - bread - loaf", "bread - loaf - loaf s bread"],
)
def test_distinct_words_bars_two_of_them_written_as_one(slug):
    strings = [*SPECIALS, "bread", "loaf", "s"]
    meant = slug.replace(" ", "")
    assert wanted(strings, slug, WIDE)[0] == meant
    assert (meant in wanted(strings, slug, WIDE, distinct_words=True)) == ("s" in meant)


def test_where_nothing_else_fits_a_glued_word_is_written_once():
    stepper = HistoryStepper(lambda document, tokens: np.array([0, 0, 0, 0, 0, 9.0]))
    config = DecodingConfig(beam_width=1, sound_words=True, max_tokens=9)
    [found] = search(stepper, documents(1), [*SPECIALS, "cat"], config).candidates
    assert [candidate.slug for candidate in found] == ["cat-cat-cat"]
