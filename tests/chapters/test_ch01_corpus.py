import numpy as np
import pandas as pd
import pytest
from chapters import ch01_corpus
from hypothesis import given
from hypothesis import strategies as st


def unit(seed, size, width=4):
    """Random unit rows [size, width]."""
    rows = np.random.default_rng(seed).normal(size=(size, width)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def pairs():
    slugs = [
        "how-to-write-a",  # ends in a stopword
        "the-senate-passes-a-bill-that-nobody-had-asked-for",  # 50 characters
        "part-3-of-the-story",
        "v2-of-the-story",  # a digit in a word is no number
        "bees-and-honey",
        "bees-and-honey",
    ]
    return pd.DataFrame({"slug": slugs, "source": ["blog", "news-allsides-articles", *["x"] * 4]})


def test_poor_labels_by_hand(pairs):
    masks = ch01_corpus.poor_labels(pairs)
    assert {kind: np.flatnonzero(mask).tolist() for kind, mask in masks.items()} == {
        "ends in a stopword": [0, 1],
        "news page, 47 to 50 characters": [1],
        "holds a number": [2],
        "shared by several pages": [4, 5],
    }


def test_the_limit_in_characters_is_that_of_one_source(pairs):
    masks = ch01_corpus.poor_labels(pairs.assign(source="blog"))
    assert not masks["news page, 47 to 50 characters"].any()


def test_examples_are_of_their_kind(pairs):
    masks = ch01_corpus.poor_labels(pairs)
    found = ch01_corpus.label_table(pairs["slug"], masks)
    assert found.loc["holds a number"].tolist() == [1 / 6, "part-3-of-the-story"]
    for kind, mask in masks.items():
        assert set(found.loc[kind, "for example"].split(", ")) <= set(pairs["slug"][mask])


def test_reasons_are_ranked_and_their_shares_sum_to_one():
    found = ch01_corpus.refusals({"no_path": 1, "word_count": 6, "numeric": 3})
    assert found["documents"].tolist() == [6, 3, 1]
    assert found["share"].tolist() == pytest.approx([0.6, 0.3, 0.1])
    assert found.index[-1] == "no path"


@given(st.integers(0, 99), st.integers(1, 12), st.integers(1, 5), st.integers(1, 13))
def test_nearest_cosines_are_those_of_all_pairs(seed, size, rows, block):
    queries, known = unit(seed, size), unit(seed + 1, rows)
    found = ch01_corpus.nearest_cosines(queries, known, block)
    np.testing.assert_allclose(found, (queries @ known.T).max(axis=1), atol=1e-6)


def test_a_cosine_of_one_half_is_sixty_degrees():
    found = ch01_corpus.quantisation_table({"mean_cosine": 1.0, "least_cosine": 0.5})
    assert found["angle, degrees"].tolist() == pytest.approx([0, 60])
    assert found.loc["worst row", "cosine to the original"] == "0.500000"


def test_figures_have_the_numbers_that_their_texts_name():
    kept = ch01_corpus.read_funnel()["kept"]
    (bars,) = ch01_corpus.funnel_figure(kept).data
    assert f"from {bars.x[0]:,} documents" in ch01_corpus.funnel_alt(kept)
    frequency = np.array([7, 2, 1, 1])
    (line,) = ch01_corpus.frequency_figure(frequency).data
    assert (line.x.tolist(), line.y.tolist()) == ([1, 2, 3, 4], [7, 2, 1, 1])
    assert "7 for the most frequent word to one for 50%" in ch01_corpus.frequency_alt(frequency)
    sources = pd.Series({"c": 1, "b": 3, "a": 4})
    (bars,) = ch01_corpus.sources_figure(sources).data
    assert bars.y[-1] == "a"
    assert "source, a, has 4 pairs, 50% of all; the next has 3." in ch01_corpus.sources_alt(sources)


def test_the_histogram_counts_every_page():
    cosines = np.linspace(0.2, 1, 50)
    (bars,) = ch01_corpus.nearest_figure(cosines).data
    assert bars.y.sum() == 50
    assert f"{(cosines > 0.95).mean():.2%} of the test pages" in ch01_corpus.nearest_alt(cosines)


def test_every_filter_and_reason_of_the_funnel_has_a_name():
    steps = ch01_corpus.read_funnel()
    assert set(steps.index) == ch01_corpus.FILTERS.keys()
    # The funnel is older than the rule against identifiers.
    assert {*steps.loc["slug", "dropped"], "identifier"} == ch01_corpus.REASONS.keys()
