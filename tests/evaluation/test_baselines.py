"""Baselines on data small enough to work by hand, and exact search against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.data.build import tfidf_keywords, title_slug
from vec2slug_lib.evaluation.baselines import knn_vote, nearest_slug, random_slug


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
