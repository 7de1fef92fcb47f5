"""Tables, figures and findings of attention, of a small analysis by hand."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from chapters import ch09_control, ch09_figures, ch09_knockouts
from chapters.ch09_attention import BINS, ROUTES
from chapters.report import METRICS

from vec2slug_lib.evaluation.records import Run


def interval(value, half=0.05):
    return {"value": value, "low": value - half, "high": value + half}


def cut(first, f1=0.25, lost=0.0, later=0.125):
    """A knockout of a record."""
    added = {"first subword": interval(first), "later subword": interval(later)}
    return {
        "added": {**added, "all": interval(first / 2)},
        "reference": interval(first),
        "loss": 1.5,
        "f1": interval(f1),
        "lost": interval(lost),
        "same": 0.5,
        "diversity": 1.0,
        "slugs": [f"slug-{first}"],
    }


def analysis_of(hyphen=2.0, subword=0.5, ratios=(0.5, 3.0)):
    """An analysis of two layers of two heads."""
    shares = {"bos": 0.4, "hyphen": 0.2, "subword": 0.1, "eos": 0.05}
    over = {kind: [interval(share), interval(2 * share)] for kind, share in shares.items()}
    spread = {"quartiles": [[0.1, 0.2, 0.3], [0.2, 0.4, 0.6]], "counts": [[2] * BINS, [1] * BINS]}
    routing = {route: [0.25 * (route == "itself"), 0.5] for route in ROUTES}
    attention = {
        "ratio": [interval(ratio) for ratio in ratios],
        "prefix": over,
        "entropy": over,
        "writes": {"first subword": over["bos"], "eos": over["eos"]},
        "even": dict.fromkeys(shares, 0.125),
        "heads": {"hyphen": [[0.1, 0.3], [0.7, 0.1]]},
        "spread": {"hyphen": spread, "subword": spread},
        "places": {"first": [interval(0.1), interval(0.3)]},
        "routing": {"hyphen": routing},
        "counts": {"hyphen": 4, "subword": 6},
    }
    cuts = {name: cut(0.0) for name in ("nothing", "bos", "hyphen and subword")}
    cuts |= {"hyphen": cut(hyphen, 0.125), "subword": cut(subword), "everything": cut(3.0, 0.0)}
    cuts |= {"routing heads": cut(1.0), "random heads 1": cut(0.25), "random heads 2": cut(0.75)}
    lens = {"counts": {"hyphen": 4, "first subword": 8}}
    return {"rows": 3, "attention": attention, "cuts": cuts, "routing": [(0, 1), (1, 0)]} | {
        "lens": lens
    }


def swapped(hyphen=2.0, subword=0.5, gained=0.1, **knocked):
    """The same with another page's prefix."""
    analysis = analysis_of(**knocked)
    swaps = {kind: cut(0.0) for kind in ("nothing", "bos", "routing heads")}
    swaps |= {"hyphen": cut(hyphen, 0.125), "subword": cut(subword), "everything": cut(4.0)}
    follows = {"other": interval(0.2), "gained": interval(gained)}
    return analysis | {"swaps": {kind: each | follows for kind, each in swaps.items()}}


ANALYSIS = analysis_of()
ATTENTION = ANALYSIS["attention"]


PREDICTIONS = pd.DataFrame({"slug": ["bee", "ant"], "prediction": ["bee", "bee"], "topic": [1, 2]})


@pytest.fixture
def run(tmp_path):
    values = {metric: interval(0.25) for metric in [*METRICS, "diversity"]}
    (tmp_path / "metrics.json").write_text(json.dumps(values))
    (tmp_path / "manifest.json").write_text(json.dumps({"result": {"epochs": 7}}))
    return Run(tmp_path)


def test_layers_count_from_one_and_stand_beside_the_study_s():
    prefix = ch09_figures.by_kind_over_layers(ATTENTION["prefix"])
    assert prefix["bos"]["value"].to_dict() == {1: 0.4, 2: 0.8}
    found = ch09_figures.prefix_table(prefix)
    assert found.loc[2, ["hyphen", "hyphen, reported"]].tolist() == [0.4, 0.136]
    assert np.isnan(found.loc[6, "hyphen"])
    assert "highest share, 0.400, at layer 2" in ch09_figures.prefix_alt(prefix)
    assert "layer 1, with 0.20 bits" in ch09_figures.entropy_alt(prefix)
    ratios = ch09_figures.ratios_table(ch09_figures.over_layers(ATTENTION["ratio"]))
    assert ratios.loc[1, ["measured", "95 %"]].tolist() == [0.5, "0.45 to 0.55"]
    assert ratios.loc[1, "reported"] == pytest.approx(0.530 / 0.093)
    writes = ch09_figures.writes_table(ATTENTION)
    assert writes.loc[2].to_dict() == {"first subword": 0.8, "eos": 0.1}


def test_single_tokens_are_drawn_and_tabulated_at_their_layer():
    bars = ch09_figures.spread_figure(ATTENTION, 2).data
    assert [bar.name for bar in bars] == ["hyphen", "subword"]
    assert bars[0].y.tolist() == [1 / BINS] * BINS
    assert "more than 0.40" in ch09_figures.spread_alt(ATTENTION, 2)
    found = ch09_figures.spread_table(ATTENTION)
    assert found.loc[1, "hyphen, quartiles"] == "0.100 / 0.200 / 0.300"
    assert found["first hyphen"].to_dict() == {1: 0.1, 2: 0.3}
    said = ch09_figures.spread_findings(ANALYSIS, 2)
    assert (said["quartiles"], said["places"]) == ("0.200 to 0.600", "0.300")
    assert said["place_effect"].endswith("the record of this model does not hold yet.")


def test_what_is_said_of_a_hyphen_s_place():
    effects = {"last_over_first": [interval(2.0), interval(1.0)]}
    attention = ATTENTION | effects | {"sight": {"first": 4, "last": 13}}
    said = ch09_figures.place_verdict({"attention": attention}, 2)
    assert said.startswith(
        "Counted so, the last hyphen's is 2.00 (1.95 to 2.05) times the first's at layer 1, so it "
        "favours the prefix more; 1.00 (0.95 to 1.05) times the first's at layer 2, which is no "
        "measurable difference. The study's own figures would come to 3.8 at its layer 1"
    )
    attention["last_over_first"] = [interval(0.5)]
    assert "favours the prefix less" in ch09_figures.place_verdict({"attention": attention}, 1)


def test_what_intervals_are_drawn_over_is_what_records_say():
    new = ANALYSIS | {"drawn_over": "topics"}
    found = ch09_figures.drawn_over({"4c": new})
    assert found == "drawn over topics, since pages of one topic are alike"
    assert ch09_figures.drawn_over({"3i": ANALYSIS}).startswith(
        "drawn over pages. Over pages they are"
    )
    found = ch09_figures.drawn_over({"3i": ANALYSIS, "4c": new, "3j": ANALYSIS})
    assert found.startswith("drawn over pages for 3i and 3j; over topics for 4c. Over pages they")


def test_heads_are_ranked_within_their_layer():
    heads = ch09_figures.heads_frame(ATTENTION)
    assert heads.loc[2, "head 1"] == 0.7
    assert ch09_figures.heads_figure(heads).data[0].y == ("layer 1", "layer 2")
    alt = ch09_figures.heads_alt(heads, ANALYSIS["routing"])
    assert alt.endswith("the most are 2 of layer 1 and 1 of layer 2.")
    found = ch09_figures.routing_findings(ANALYSIS)
    assert found == {
        "routing_where": "1 at layer 1 and 1 at layer 2", "routing_count": 2,
        "heads_at_one": 0, "heads_of_layer": 2, "heads_reported": 4,
    }  # fmt: skip


def test_heads_stand_beside_as_many_of_the_study():
    eight = pd.DataFrame([np.arange(8) / 8], index=[1])
    found = ch09_figures.heads_table(eight)
    assert found["layer 1"].tolist() == sorted(eight.loc[1], reverse=True)
    assert found.loc[1, "reported, layer 1"] == 0.993


def test_routes_are_a_grid_of_layers_and_kinds():
    (grid,) = ch09_figures.routes_figure(ATTENTION).data
    assert (grid.y, grid.x) == (("layer 1, hyphen", "layer 2, hyphen"), ROUTES)
    assert list(grid.z[0]) == [0, 0, 0, 0, 0, 0.25]
    assert ch09_figures.routes_alt(ATTENTION, 1).endswith("layer 1: hyphen most to itself.")


def test_what_is_said_of_the_prefix():
    found = ch09_figures.prefix_findings(ANALYSIS, 2)
    assert (found["looks"], found["first_span"]) == ("less", "0.45 to 0.55")
    assert (found["peak"], found["peak_ratio"], found["peak_hyphen"]) == (2, 3, 0.4)
    assert (found["pages"], found["hyphens"], found["subwords"]) == (3, 4, 6)
    for ratio, word in ((2.0, "more"), (1.0, "neither more nor less")):
        again = analysis_of(ratios=(ratio, 3.0))
        assert ch09_figures.prefix_findings(again, 2)["looks"] == word
    assert found["switchboard"] == "The switchboard is there all the same, at layer 2"
    assert ch09_figures.prefix_findings(ANALYSIS, 1)["switchboard"].startswith("Nowhere do hyphens")
    level = analysis_of(ratios=(1.0, 1.0))
    assert ch09_figures.prefix_findings(level, 2)["switchboard"].startswith("Nor is there a switch")


def test_knockouts_are_tabulated_and_drawn():
    cuts = ANALYSIS["cuts"]
    found = ch09_knockouts.knockouts_table(cuts)
    assert found.loc["hyphen", "first subwords"] == "+2.000 (+1.950 to +2.050)"
    assert len(found) == 7
    bars = ch09_knockouts.added_figure(cuts).data
    assert [bar.name for bar in bars] == ["first subword", "later subword"]
    assert list(bars[0].y) == [2, 0.5, 0, 1]
    assert ch09_knockouts.added_alt(ANALYSIS).startswith("Bars by kind of token written. First")
    assert "+2.00 (hyphen), +0.50 (subword)" in ch09_knockouts.added_alt(ANALYSIS)
    slugs = ch09_knockouts.slugs_table(cuts)
    assert (slugs.index.name, slugs.loc["slug-0.0", "hyphen"]) == ("no knockout", "slug-2.0")


def test_knockouts_of_heads_stand_beside_random_ones():
    draws = ch09_knockouts.draws_frame(ANALYSIS)
    assert draws["heads"].tolist() == ["routing", "random", "random"]
    assert [len(points.x) for points in ch09_knockouts.draws_figure(draws, 2).data] == [1, 2]
    alt = ch09_knockouts.draws_alt(draws)
    assert "routing heads: +1.00 nats, Token F1 0.250" in alt
    assert "other heads: +0.25 to +0.75 nats" in alt
    found = ch09_knockouts.heads_findings(draws)
    assert (found["random_mean"], found["random_most"]) == (0.5, 0.75)
    assert found["heads_verdict"] == "more than any of the draws"
    weak = ch09_knockouts.heads_findings(draws.assign(nats=[0.5, 0.25, 0.75]))
    assert weak["heads_verdict"] == "no more than the worst of the draws"


def test_what_is_said_of_knockouts():
    found = ch09_knockouts.knockout_findings(ANALYSIS)
    assert found["verdict"].endswith(
        "word, a missing prefix costs more at hyphens than at subwords"
    )
    assert (found["hyphen_f1"], found["own_f1"], found["subword_ratio"]) == (0.125, 0.25, 1.5)
    assert found["later_cost"] == "+0.125 (+0.075 to +0.175)"
    del (blind := analysis_of(0.5, 0.5))["cuts"]["subword"]["added"]["later subword"]
    found = ch09_knockouts.knockout_findings(blind)
    assert found["verdict"].endswith("attention is no proof of reading")
    assert found["later_cost"] == "nothing, there being none,"
    answer = ch09_knockouts.answer("3j", ANALYSIS, 2)
    assert answer.startswith("In 3j, hyphens give the prefix 0.50 (0.45 to 0.55) times what")
    assert "and 3.00 times at layer 2. For the first subword of a word, a missing" in answer
    assert answer.endswith("from 0.250 to 0.125; for subwords alone, 0.50 nats and 0.250.")
    answer = ch09_knockouts.answer("3j", swapped(), 2)
    assert answer.endswith(" With another page's prefix instead, it is 2.00 and 0.50 nats.")


def test_knockout_and_swap_decide_together():
    verdict = ch09_knockouts.reading_verdict
    level = {"hyphen": 0.5, "subword": 0.5}
    blind = swapped(**level) | {"cuts": analysis_of(**level)["cuts"]}
    reads = swapped() | {"cuts": analysis_of(**level)["cuts"]}
    assert "the page is read at hyphens: a missing prefix and another" in verdict(swapped())
    assert verdict(swapped(**level)).endswith("what hyphens need is a prefix, whichever it is")
    assert verdict(reads).endswith("a missing one does not")
    assert "neither a missing prefix nor another page's costs more" in verdict(blind)


def test_swaps_stand_beside_knockouts():
    beside = {"3j": ANALYSIS, "4c": swapped()}
    found = ch09_knockouts.swaps_table(beside)
    assert found.index.tolist() == ["4c"] * 5
    assert found["for"].tolist() == list(ch09_knockouts.SWAPPED)
    assert found["another's: nats"].iloc[-1] == "+4.000 (+3.950 to +4.050)"
    written = ch09_knockouts.written_table(beside)
    assert written["prefix"].tolist() == ["none", "another page's"] * 2
    assert written["first subword"].iloc[3] == "+0.500 (+0.450 to +0.550)"
    bars = ch09_knockouts.swaps_figure(beside).data
    assert [bar.name for bar in bars] == ["4c, knocked out", "4c, another page's"]
    assert "4c, hyphen: +2.00 knocked out, +2.00 with" in ch09_knockouts.swaps_alt(beside)
    said = ch09_knockouts.swap_findings(beside)
    assert said["swap_lacking"].startswith(
        "Where the analysis is older than this control, it is lacking: for 3j."
    )
    assert (
        "so what hyphens miss when theirs is knocked out is not just any prefix"
        in (said["swap_verdicts"])
    )
    assert "the slugs move towards the page whose prefix" in said["swap_verdicts"]
    said = ch09_knockouts.swap_findings({"4c": swapped(0.0, gained=0.0)})
    assert said["swap_lacking"] == "All of these models have been measured."
    assert "does not show that they read the page" in said["swap_verdicts"]
    assert "do not move measurably towards" in said["swap_verdicts"]


def test_spelling_needs_the_page_or_a_prefix_or_neither():
    def said(missing, other):
        sides = {"cuts": cut(0.0, later=missing), "swaps": cut(0.0, later=other)}
        return ch09_knockouts.spelling({key: {"subword": each} for key, each in sides.items()})

    assert said(0.5, 0.5).endswith("what spelling needs of it is the page.")
    assert said(0.5, 0.0).endswith("is a prefix, and not measurably the page.")
    assert said(0.0, 0.0).endswith("what spelling needs of it is neither.")
    whole = {key: {"subword": {"added": {}}} for key in ("cuts", "swaps")}
    assert ch09_knockouts.spelling(whole) == ""


def test_where_no_record_holds_a_swap_the_page_says_so():
    beside = {"3j": ANALYSIS}
    for table in (ch09_knockouts.swaps_table, ch09_knockouts.written_table):
        assert table(beside).index.tolist() == ["none has been measured yet"]
    assert len(ch09_knockouts.swaps_figure(beside).data) == 0
    assert "None has been measured yet" in ch09_knockouts.swaps_alt(beside)
    assert ch09_knockouts.swap_findings(beside)["swap_verdicts"] == ""


def test_models_stand_side_by_side():
    beside = {"3j": ANALYSIS, "3i": analysis_of(ratios=(2.0, 3.0)), "4c": ANALYSIS}
    found = ch09_knockouts.models_table(beside)
    assert found["layer of most"].tolist() == [2, 2, 2]
    assert found.loc["3i", "random heads"] == 0.5
    said = ch09_knockouts.models_findings(beside)
    assert said["first_layer"] == "At layer 1 hyphens exceed subwords in 3i"
    assert said["other_first"] == "3i 2.00 (1.95 to 2.05); 4c 0.50 (0.45 to 0.55)"
    assert said["luxury"].endswith("does not fall measurably without attention to the prefix")
    needs = analysis_of()
    needs["cuts"]["everything"]["lost"] = interval(-0.2)
    said = ch09_knockouts.models_findings({"3j": ANALYSIS, "4c": needs})
    assert said["luxury"] == "The release, too, needs its attention to the prefix"
    assert said["first_layer"] == "None of these routes at layer 1"


def test_two_inputs_are_told_apart(run, monkeypatch):
    monkeypatch.setattr(Run, "predictions", PREDICTIONS)
    loud, calm = (run, analysis_of(ratios=(3.0, 2.0))), (run, ANALYSIS)
    inputs = {"loud": loud, "calm": calm}
    assert ch09_control.ratios_by_input(inputs).loc[2, "calm"] == "3.00 (2.95 to 3.05)"
    assert ch09_control.inputs_table(inputs)["largest of a head there"].tolist() == [0.3, 0.3]
    found = ch09_control.inputs_findings(loud, calm, 0.01)
    assert (found["loud_peak"], found["calm_peak"], found["loud_f1"]) == (1, 2, 0.25)
    assert found["input_verdict"].startswith("The input moves the layer")
    assert found["input_quality"].startswith("In quality the two do not differ by more")
    found = ch09_control.inputs_findings(calm, calm, 0.01)
    assert found["input_verdict"].startswith("The input does not explain")


def test_two_vocabularies_are_tabulated(run):
    found = ch09_control.vocabularies_table({"apart": (run, ANALYSIS)})
    assert found.loc["apart", ["tokens a slug", "nats a slug", "epochs"]].tolist() == [4, 6, 7]
    prefix = ch09_control.merged_prefix(ANALYSIS)
    assert list(prefix) == ["bos", "word's first token", "word's later token"]
    assert ch09_control.merged_alt(prefix).endswith("0.400, of a word's first token, at layer 2.")
    tasks = ch09_control.tasks_table({"apart": ANALYSIS, "merged": ANALYSIS})
    assert list(tasks) == [
        "first subword, apart", "first subword, merged", "eos, apart", "eos, merged"
    ]  # fmt: skip
    control = ch09_control.control_table(ANALYSIS, ANALYSIS)
    assert control["knocked out for"].tolist() == [
        "nothing", "hyphens", "subwords", "bos", "everything",
        "nothing", "first tokens", "later tokens", "bos", "everything",
    ]  # fmt: skip


def test_what_is_said_of_the_control(run, monkeypatch):
    found = ch09_control.control_findings(ANALYSIS, ANALYSIS)
    # Hyphens reach 0.4, subwords 0.2: only the first is twice 0.125.
    assert found["control_verdict"].startswith("The attention does not move")
    assert (found["merged_first"], found["merged_later"], found["merged_layer"]) == (0.4, 0.2, 2)
    assert (found["least_head"], found["most_head"]) == (0.1, 0.7)
    assert ch09_control.control_verdict(ANALYSIS, ["hyphen"]).startswith("The attention moves")
    found = ch09_control.merged_heads_findings(ANALYSIS)
    assert found["no_switchboard"].startswith("more than any draw")
    assert found["labour"] == "A division of labour between the heads is left"
    assert ch09_control.control_conclusion(ANALYSIS, ["hyphen"]).startswith("So the hyphen is not")
    monkeypatch.setattr(Run, "predictions", PREDICTIONS)
    assert ch09_control.f1_difference(run, run) == {"value": 0, "low": 0, "high": 0}
    found = ch09_control.price_findings(run, run, 0.01)
    assert found["control_gain"].startswith("neither a gain nor a loss that another seed")
    assert (found["longer"], found["longer_why"]) == (0, "")


def test_a_difference_within_the_spread_of_seeds_decides_nothing():
    words = ("up", "down", "level")
    assert ch09_control.beyond_seeds(interval(0.1), 0.01, *words) == "up"
    assert ch09_control.beyond_seeds(interval(-0.1), 0.01, *words) == "down"
    assert ch09_control.beyond_seeds(interval(0.1), 0.2, *words) == "level"
    assert ch09_control.beyond_seeds(interval(0.02), 0.01, *words) == "level"
