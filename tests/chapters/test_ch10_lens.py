"""Tables, figures and findings of the logit lens, of a small report by hand."""

from __future__ import annotations

import pytest
from chapters import ch10_lens
from chapters.ch09_attention import LEADERS

KINDS = ("first subword", "later subword", "hyphen", "eos")


def over(*values):
    """An interval a layer."""
    return [{"value": value, "low": value - 0.05, "high": value + 0.05} for value in values]


def lens_of(leads=(0.0, 0.25, 0.5), hyphens=(0.25, 0.75, 1.0), stop=(0.0, 0.75, 0.5, 0.25)):
    """A report of two layers: input, 1 and 2, as far as this chapter reads it."""
    rest = {kind: over(0.25, 0.5, 1.0) for kind in ("later subword", "eos")}
    settled = {kind: [0.25, 0.5, 0.25, 0.0] for kind in KINDS}
    leaders = [[0.0] * 4 + [1.0], [0.5, 0.125, 0.25, 0.0, 0.125], [1.0, 0.0, 0.0, 0.0, 0.0]]
    return {
        "leads": {"first subword": over(*leads), "hyphen": over(*hyphens), **rest},
        "probability": {"eos": over(0.0, 0.25, 0.75)},
        "rank": {"first subword": over(3, 2, 1)},
        "settled": settled | {"first subword": [0.0, 0.0, 0.25, 0.75]},
        "agrees": {"first subword": over(0.0, 0.25, 1.0)},
        "stopwords": {"first subword": over(*stop)},
        "leaders": {"first subword": leaders},
        "counts": dict.fromkeys(KINDS, 8),
        "examples": [{"text": "", "token": "bee", "leaders": ["a", "the", "bee"]}],
    }


LENS = lens_of()


def test_layers_begin_with_the_input():
    assert ch10_lens.layer_names(LENS) == ["input", "1", "2"]
    assert ch10_lens.over_layers(LENS, "leads")["hyphen"]["value"].to_dict() == {
        "input": 0.25, "1": 0.75, "2": 1.0
    }  # fmt: skip
    assert ch10_lens.leads_table(LENS).loc["1", "first subword"] == 0.25
    assert ch10_lens.leads_alt(LENS).startswith("A line for each kind of token. After layer 1: fi")
    assert "After layer 1: eos 0.25; after the last: eos 0.75" in ch10_lens.probability_alt(LENS)
    assert "At the input: first subword 3.00" in ch10_lens.rank_alt(LENS)


def test_half_of_the_tokens_have_settled_by_some_layer_or_by_none():
    settled = ch10_lens.settled_frame(LENS)
    half = ch10_lens.half_settled(settled)
    assert half["first subword"] == "never"
    assert half["hyphen"] == "1"
    bars = ch10_lens.settled_figure(settled).data
    assert [bar.name for bar in bars] == ["input", "1", "2", "never"]
    assert bars[-1].marker.color == "#D55E00"
    assert ch10_lens.settled_alt({"eos": "1"}).endswith("by layer: eos 1.")
    assert [ch10_lens.named(layer) for layer in ("input", "2", "never")] == [
        "the input", "layer 2", "no layer"
    ]  # fmt: skip
    found = ch10_lens.decided_table(LENS, half)
    assert found.loc["first subword"].tolist() == [8, "no layer", 0.25, 0.5]


def test_what_leads_where_a_word_begins():
    figure = ch10_lens.leaders_figure(LENS)
    assert [bar.name for bar in figure.data] == list(LEADERS)
    assert list(figure.data[0].y) == [0, 0.5, 1]
    assert "After layer 1: the token written 50%" in ch10_lens.leaders_alt(LENS)
    assert ch10_lens.last_leaders_table(LENS).loc["first subword", "written later"] == 0.25
    late = ch10_lens.late_table(LENS)
    assert late.loc["–"].tolist() == ["bee", "the", "bee"]


def test_agreement_and_stopwords_are_drawn():
    agrees, stop = ch10_lens.agreement_figure(LENS).data
    assert (list(agrees.x), list(agrees.y)) == (["input", "1", "2"], [0, 0.25, 1])
    assert (stop.x[-1], list(stop.y)) == ("written", [0, 0.75, 0.5, 0.25])
    assert "25% after layer 1 to all" in ch10_lens.agreement_alt(LENS)
    assert "from 75% to 50%; of the tokens written, 25% are" in ch10_lens.agreement_alt(LENS)


def test_what_is_said_of_the_order():
    half = {"first subword": "2", "later subword": "1", "hyphen": "input", "eos": "1"}
    found = ch10_lens.order_findings(LENS, half)
    assert found["order"] == (
        "hyphens by the input, later subwords by layer 1, <eos> by layer 1, "
        "first subwords by layer 2"
    )
    assert found["slowest"].endswith("Which word comes next takes longest")
    assert (found["last_first_subword"], found["last_eos"]) == (0.5, 1)
    tied = ch10_lens.order_findings(LENS, half | {"eos": "2"})
    assert tied["slowest"] == "Last come first subwords and <eos>"


def test_what_is_said_of_ranks_and_stopwords():
    found = ch10_lens.rank_findings(LENS)
    assert found.pop("narrowing") == "With every layer fewer are left"
    assert found == pytest.approx(
        {"rank_input": 999, "rank_one": 99, "rank_two": 9, "rank_last": 9}
    )
    flat = ch10_lens.rank_findings(LENS | {"rank": {"first subword": over(3, 1, 1)}})
    assert flat["narrowing"] == "Not every layer leaves fewer"
    found = ch10_lens.agreement_findings(LENS)
    assert (found["stop_one"], found["stop_late"], found["stop_last"]) == (0.75, 0.75, 0.5)
    assert (found["stop_written"], found["disagree_late"]) == (0.25, 0.75)
    assert found["comes_late"].startswith("The early leaders are what any slug might say next.")
    found = ch10_lens.agreement_findings(lens_of(stop=(0.0, 0.25, 0.25, 0.25)))
    assert found["comes_late"].startswith("So the early leaders are no mere language of slugs")


def test_what_is_said_of_the_last_layer():
    found = ch10_lens.last_layer_findings(LENS)
    assert (found["before_last"], found["after_last"]) == (0.25, 0.5)
    assert (found["same_slug"], found["later_too"], found["other_last"]) == (0.375, 0.25, 0.125)
    assert found["still_chooses"].startswith("So what is left to the last layer is for the most")
    others = [[0.0] * 4 + [1.0], [0.5, 0.0, 0.0, 0.0, 0.5], [1.0, 0.0, 0.0, 0.0, 0.0]]
    found_others = ch10_lens.last_layer_findings(LENS | {"leaders": {"first subword": others}})
    assert found_others["still_chooses"].endswith("it still chooses among words.")
    assert found["unlike"].startswith("No kind of token leads less often")
    found = ch10_lens.unlike(lens_of(hyphens=(0.25, 1.0, 0.75)))
    assert "hyphens lead in 100.0% of the cases one layer before the end and in 75.0% " in found
    half = {"hyphen": "input", "first subword": "never"}
    assert ch10_lens.answer("3j", LENS, half) == (
        "In 3j, half of the hyphens have settled by the input, half of the first subwords of a "
        "word by no layer: after layer 1 the written token leads for 75% of the hyphens and 25% of "
        "the first subwords."
    )


def test_what_is_said_of_a_bag_of_words_head():
    found = ch10_lens.head_findings(lens_of(leads=(0.5, 0.5, 0.25)), LENS)
    assert (found["head_input"], found["head_last"], found["plain_input"]) == (0.5, 0.25, 0)
    assert found["head_choice"] == "fewer of its first subwords are"
    assert ch10_lens.head_findings(LENS, LENS)["head_choice"].startswith("yet not measurably fewer")
