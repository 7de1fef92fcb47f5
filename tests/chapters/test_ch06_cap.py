import numpy as np
import pytest
from chapters import ch06_cap
from chapters.ch06_cap import KINDS

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.vocabulary import HYPHEN
from vec2slug_lib.model.tokenizer import train_bpe

LETTERS = train_bpe(["b-a"], 41)  # single letters and digits: a token a character


def test_caps_name_the_experiments_that_differ_in_nothing_else():
    assert ch06_cap.pair_of_caps(24, 42, "") == ("3e", "3h")
    assert ch06_cap.pair_of_caps(16, 7, "+share=0.5") == (
        "3e+share=0.5+seed=7",
        "3h+max_slug_tokens=16+share=0.5+seed=7",
    )
    with pytest.raises(Vec2SlugError, match="a cap of 10 to 24, got 25"):
        ch06_cap.pair_of_caps(25, 42, "")


def test_kinds_of_cut_by_hand():
    assert ch06_cap.cut_kind([7] * 9) == KINDS[0]
    assert ch06_cap.cut_kind([7] * 10) == KINDS[1]
    assert ch06_cap.cut_kind([7] * 9 + [HYPHEN, 7]) == KINDS[2]
    assert ch06_cap.cut_kind([7] * 10 + [HYPHEN, 7]) == KINDS[2]
    assert ch06_cap.cut_kind([7] * 11) == KINDS[3]


def test_cut_words_are_lost_words():
    cuts = ch06_cap.cut_slugs(LETTERS, ["ab-cd", "abcd-efgh-ij"])
    assert cuts["target"].tolist() == ["ab-cd", "abcd-efgh-"]
    assert cuts["kind"].tolist() == [KINDS[0], KINDS[2]]
    assert ch06_cap.kinds_table(cuts)["slugs"].tolist() == [1, 0, 1, 0]
    assert ch06_cap.lost_words(cuts) == pytest.approx(1 / 5)
    assert ch06_cap.target_lengths(LETTERS, ["ab-cd", "abcd-efgh-ij"], 12) == {
        "old": 8.0,
        "new": 9.0,
    }


def test_endings_meet_the_cap_or_an_unknown_word():
    full, unknown = ch06_cap.endings(LETTERS, ["ab-cd", "abcd-efgh"], 10, {"cd"})
    assert full.tolist() == [False, True]
    assert unknown.tolist() == [False, True]
    table = ch06_cap.endings_table({"3e": (full, unknown), "pages' own": (full, unknown)})
    assert table.loc["3e"].tolist() == [0.5, 0.5, 1.0]
    assert np.isnan(table.loc["pages' own", "at the cap"])


def test_groups_are_by_the_pages_own_slug():
    references = ["ab-cd", "abcd-efgh-ij"]
    guesses = {"old": ["ab-xx", "xx-xx"], "new": ["ab-cd", "abcd-ij"]}
    groups = ch06_cap.fits(LETTERS, references, 24)
    assert [mask.tolist() for mask in groups.values()] == [
        [True, False],
        [False, True],
        [False, False],
    ]
    rows = ch06_cap.fit_rows(groups, references, guesses, [0, 1])
    assert [row["own slug"] for row in rows] == ["fits 10", "fits 24, not 10"]
    assert [row["difference"] for row in rows] == pytest.approx([0.5, 0.8])
    assert [row["95 %"] for row in rows] == ["–", "–"]  # one topic tells nothing of others
    gap = ch06_cap.gap_of_fits(groups, references, guesses, [0, 1])
    assert gap["value"] == pytest.approx(0.3)


def test_where_the_cap_gains_is_said_of_an_interval():
    gap = {"value": 0.02, "low": 0.01, "high": 0.03}
    assert ch06_cap.cause_verdict(gap) == (
        "Slugs that the cap of 10 cuts gain more than those that fit it: the gains differ by "
        "+0.020 (+0.010 to +0.030)."
    )
    assert "gain less than" in ch06_cap.cause_verdict({"value": -1, "low": -2, "high": -0.5})
    assert "do not gain measurably more" in ch06_cap.cause_verdict(gap | {"low": -0.01})


def test_unknown_last_words_are_counted_over_topics():
    before, after = np.ones(40, bool), np.arange(40) % 2 == 0
    assert ch06_cap.stumps_sentence(before, after, np.arange(40)) == (
        "The share of unknown last words falls with the raised cap (-50.0%, -65.0% to -35.0%)."
    )
    one = ch06_cap.stumps_sentence(before, after, np.arange(40) % 2)
    assert "does not change measurably" in one
