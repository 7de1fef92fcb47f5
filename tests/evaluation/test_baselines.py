"""Baselines on data small enough to work by hand, and exact search against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.slugs import title_slug
from vec2slug_lib.data.build import tfidf_keywords
from vec2slug_lib.evaluation.baselines import (
    RERANK_WEIGHT,
    WORD_WEIGHT,
    Tally,
    WordVectors,
    knn_vote,
    nearest_slug,
    nearest_words,
    random_slug,
    rank_words,
    word_vote,
)


def directions(*degrees):
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_random_slugs_are_training_slugs_and_seeded():
    slugs = [f"slug-number-{i}" for i in range(50)]
    drawn = random_slug(slugs, 2000, seed=1)
    assert set(drawn) == set(slugs)
    assert drawn == random_slug(slugs, 2000, seed=1) != random_slug(slugs, 2000, seed=2)


def test_nearest_slug():
    train, slugs = directions(0, 90, 180), ["east-a-b", "north-a-b", "west-a-b"]
    queries = directions(44, 46, 170, 269)
    assert nearest_slug(train, slugs, queries) == ["east-a-b", "north-a-b", "west-a-b", "west-a-b"]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 999), st.integers(1, 300), st.integers(1, 300))
def test_nearest_is_exact_across_blocks(seed, train_size, query_size):
    rng = np.random.default_rng(seed)
    train = rng.standard_normal((train_size, 4)).astype(np.float32)
    queries = rng.standard_normal((query_size, 4)).astype(np.float32)
    expected = [
        f"slug-{max(range(train_size), key=lambda i, q=query: float(train[i] @ q))}"
        for query in queries
    ]
    assert nearest_slug(train, [f"slug-{i}" for i in range(train_size)], queries) == expected


def test_vote_by_hand():
    # Cosines to the query at 0 degrees: 1, cos 60 = 1/2, cos 60 = 1/2; weights 1, 1/16, 1/16.
    train = directions(0, 60, -60)
    slugs = ["burma-buddhist-monks", "buddhist-temples-of-burma", "history-of-burma-and-asia"]
    # Length (3 + 4/16 + 5/16) / (18/16) = 3.17: 3 words. Votes in sixteenths: burma 18,
    # buddhist 17, monks 16. Places: burma (0*16 + 1 + 1/2) / 18 = .08, buddhist
    # (1/2 * 16 + 0) / 17 = .47, monks 1.
    assert knn_vote(train, slugs, directions(0), k=3) == ["burma-buddhist-monks"]
    # Query at 60 degrees: cosines 1/2, 1, cos 120 = -1/2 which counts 0: weights 1/16, 1, 0.
    # Length (3 + 4 * 16) / 17 = 3.94: 4 words: buddhist 17, burma 17, temples 16, of 16; monks 1.
    # Places: buddhist (1/2 + 0) / 17, temples 1/3, of 2/3, burma (0 + 16) / 17.
    assert knn_vote(train, slugs, directions(60), k=3) == ["buddhist-temples-of-burma"]
    # One neighbour is the nearest slug; more than there are count as all.
    assert knn_vote(train, slugs, directions(-50), k=1) == ["history-of-burma-and-asia"]
    assert knn_vote(train, slugs, directions(0), k=99) == ["burma-buddhist-monks"]


def test_vote_elects_the_words_that_neighbours_share():
    slugs = ["guide-to-python-lists", "python-lists-explained", "cats-love-python-lists-daily"]
    # Equal weights: python and lists have 3 votes, "guide", met first of the rest, 1; length 4:
    # guide 1, to 1. Places: guide 0, python (2/3 + 0 + 2/4) / 3 = .39,
    # lists (1 + 1/2 + 3/4) / 3 = .75, to 1/3.
    train = np.repeat(directions(0), 3, axis=0)
    assert knn_vote(train, slugs, directions(20)) == ["guide-to-python-lists"]


def test_vote_without_any_positive_cosine_is_equal():
    [slug] = knn_vote(directions(180, 170), ["a-b-c", "c-b-d"], directions(0))
    # All weights equal: b, c have 2 votes, then the first met, of the nearer row (170): d.
    # Places: b 1/2, c (1 + 0) / 2, d 1; b and c tie: b came after c in "c-b-d".
    assert slug == "c-b-d"


def test_vote_has_three_to_eight_words():
    long = "-".join("abcdefghijkl")
    assert knn_vote(directions(0), [long], directions(0)) == ["a-b-c-d-e-f-g-h"]
    votes = knn_vote(directions(0, 10), ["one-two", "three-four"], directions(0))
    assert len(votes[0].split("-")) == 3


def test_title_slug():
    assert (
        title_slug("Amelia Earhart’s Enduring Image | The Site") == "amelia-earharts-enduring-image"
    )
    assert title_slug("one two three four five six seven eight nine").count("-") == 7
    assert title_slug(None) == title_slug(float("nan")) == title_slug(" | ") == ""


def test_tfidf_keywords_by_hand():
    fit = ["cats eat fish", "cats eat mice", "cats sleep"]
    # ln(4/4)+1 = 1 for cats (in 3), ln(4/3)+1 = 1.29 for eat (2), ln(4/2)+1 = 1.69 for fish (1),
    # ln(4)+1 = 2.39 for unseen words. "the" is a stopword, "x" too short.
    text = "The cats, cats and x eat Fish; zebras!"
    # cats 2 * 1 = 2, eat 1.29, fish 1.69, zebras 2.39.
    assert tfidf_keywords([text], fit, 1) == ["zebras"]
    assert tfidf_keywords([text], fit, 2) == ["cats-zebras"]
    assert tfidf_keywords([text], fit, 3) == ["cats-fish-zebras"]
    assert tfidf_keywords([text, "", "the of"], fit) == ["cats-eat-fish-zebras", "", ""]
    # Four new words of equal weight: the first two.
    assert tfidf_keywords(["dd cc bb aa"], fit, 2) == ["dd-cc"]


@pytest.mark.parametrize(
    "call",
    [
        lambda: random_slug([], 3),
        lambda: nearest_slug(directions(0, 1), ["a-b"], directions(0)),
        lambda: nearest_slug(np.zeros((0, 2), np.float32), [], directions(0)),
        lambda: nearest_slug(directions(0), ["a-b"], np.zeros((1, 3), np.float32)),
        lambda: nearest_slug(directions(0), ["a-b"], np.zeros(2, np.float32)),
        lambda: knn_vote(directions(0), ["a-b"], directions(0), k=0),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(Vec2SlugError, match="expected"):
        call()


# --- words' own vectors ---

SLUGS = st.lists(st.sampled_from("abcdefghijkl"), min_size=3, max_size=8, unique=True)


def letters(width=6, seed=3):
    """A unit vector for each letter of the alphabet's first half."""
    vectors = np.random.default_rng(seed).standard_normal((12, width)).astype(np.float32)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return WordVectors(list("abcdefghijkl"), unit)


def spelled(texts):
    """Embed a text as the mean of its words' vectors, at unit length."""
    known = letters()
    rows = np.stack([known.vectors[[known.places[w] for w in t.split()]].mean(0) for t in texts])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_words_own_vector_decides_between_equal_votes():
    # Two neighbours as near: three of six words are elected, those nearer to the query first.
    train = directions(30, -30)
    known = WordVectors(list("abcdef"), directions(90, 10, 80, 0, 100, -5))
    assert word_vote(train, ["a-b-c", "d-e-f"], directions(0), known) == ["d-b-f"]
    assert knn_vote(train, ["a-b-c", "d-e-f"], directions(0)) == ["a-b-c"]


@settings(deadline=None, max_examples=40)
@given(st.lists(SLUGS.map("-".join), min_size=1, max_size=8), st.integers(0, 99))
def test_word_vote_equals_a_slow_version(slugs, seed):
    rng, known = np.random.default_rng(seed), letters()
    train = rng.standard_normal((len(slugs), 6)).astype(np.float32)
    train /= np.linalg.norm(train, axis=1, keepdims=True)
    query = known.vectors[seed % 12]
    cosines = np.maximum(train @ query, 0).astype(np.float64) ** 4
    weights = cosines / cosines.sum() if cosines.any() else np.full(len(slugs), 1 / len(slugs))
    scores, length = {}, 0.0
    for letter in "abcdefghijkl":
        votes = sum(w for w, slug in zip(weights, slugs, strict=True) if letter in slug.split("-"))
        if any(letter in slug.split("-") for slug in slugs):
            own = float(known.vectors[known.places[letter]] @ query)
            scores[letter] = votes + WORD_WEIGHT * own
    length = sum(w * len(slug.split("-")) for w, slug in zip(weights, slugs, strict=True))
    best = sorted(scores, key=lambda letter: -scores[letter])[: min(max(round(length), 3), 8)]
    (elected,) = word_vote(train, slugs, query[None], known)
    assert sum(scores[w] for w in elected.split("-")) == pytest.approx(sum(scores[w] for w in best))
    (chosen,) = word_vote(train, slugs, query[None], known, spelled)
    assert 3 <= len(set(chosen.split("-"))) == len(chosen.split("-")) <= 8


def test_re_ranked_vote_takes_the_best_of_eight():
    rng, known = np.random.default_rng(0), letters()
    train = known.vectors[rng.integers(12, size=40)]
    slugs = ["-".join(rng.choice(list("abcdefghijkl"), 4, replace=False)) for _ in range(40)]
    query = known.vectors[:1]
    tally = Tally.of(slugs, np.sort(train @ query[0])[::-1])
    ranked = rank_words(tally.votes)
    candidates = tally.candidates(ranked)
    assert candidates[0] == tally.slug(ranked[: tally.count])
    assert len(set(candidates)) == len(candidates) <= 8
    assert {len(slug.split("-")) for slug in candidates} <= set(range(3, 9))
    plain, chosen = (word_vote(train, slugs, query, known, way)[0] for way in (None, spelled))
    assert RERANK_WEIGHT > 0
    near = {
        slug: float((spelled([slug.replace("-", " ")]) @ query.T)[0, 0]) for slug in (plain, chosen)
    }
    assert near[chosen] >= near[plain]


def test_nearest_words_by_hand():
    known = WordVectors(list("abcdef"), directions(0, 10, 20, 30, 40, 50))
    assert nearest_words(directions(0, 50), known) == ["a-b-c-d", "f-e-d-c"]
    # As a text, a slug lies where its words do in the mean; the nearest of all choices is taken.
    known, query = letters(), letters().vectors[:1]
    (chosen,) = nearest_words(query, known, spelled)
    five = [
        *nearest_words(query, known)[0].split("-"),
        known.words[np.argsort(-(query @ known.vectors.T)[0])[4]],
    ]
    sizes = [five[:3], five, *(five[:i] + five[i + 1 :] for i in range(5))]
    near = {"-".join(words): float((spelled([" ".join(words)]) @ query.T)[0, 0]) for words in sizes}
    assert chosen == max(near, key=near.get)
