"""What rules prevent and where words repeat, by hand."""

from __future__ import annotations

from math import isnan, nan

import pandas as pd
from chapters import ch08_rules as ch08

from vec2slug_lib.experiments.decoding_variants import VARIANTS, defects


def interval(low, high):
    return {"value": (low + high) / 2, "low": low, "high": high}


def variant(f1, **defective):
    """A record of a variant, as far as this chapter reads it."""
    return {
        "difference": {"token_f1": f1},
        "changed": 0.5,
        "metrics": {"mean_words": interval(4, 5), "validity": interval(1, 1)},
        "defects": dict.fromkeys(ch08.DEFECTS, 0.125) | defective,
        "examples": [{"slug": "a-b", "project": "a-c", "prediction": "a-a"}],
    }


FLAT = interval(-0.01, 0.01)
WITHOUT = {name: variant(FLAT) for name in [*ch08.PREVENTS, "reward-0"]}
PREDICTIONS = pd.DataFrame(
    {
        "slug": ["bee-hive", "ant-hill", "of-the-bee"],
        "prediction": ["bee-bee-bee", "ant-hill-ant", "the-bee-of-the-hive"],
        "score": [-1.0, -2.0, -3.0],
        "topic": [0, 1, 2],
    }
)


def test_every_rule_has_its_variant_and_its_defect():
    assert set(ch08.PREVENTS) <= set(VARIANTS)
    assert set(ch08.PREVENTS.values()) == set(ch08.DEFECTS) == set(defects(["a-b"]))


def test_rules_left_out_are_tabulated():
    found = ch08.ablation_table(WITHOUT)
    assert len(found) == 7
    assert found.loc["no length reward", "Token F1"] == "+0.0000"
    found = ch08.defects_table(WITHOUT, variant(FLAT, long=0.25), dict.fromkeys(ch08.DEFECTS, 1))
    assert found["with"].tolist() == ["12.5%"] * 5 + ["25.0%"]
    assert found["pages' own"].tolist() == ["100.0%"] * 6


def test_rules_left_out_are_drawn_the_first_on_top():
    without = WITHOUT | {"reward-0": variant(interval(0.5, 0.7))}
    points = ch08.ablation_points(without)
    dots = ch08.ablation_figure(points).data[0]
    assert dots.y[0] == "no length reward"
    assert dots.y[-1] == VARIANTS["no-minimum"].label
    assert ch08.ablation_alt(points).endswith("+0.6000 (no length reward).")


def test_rules_that_are_felt_are_counted_and_named():
    assert ch08.felt_rules(WITHOUT) == "none changes"
    one = WITHOUT | {"reward-0": variant(interval(0.5, 0.7))}
    assert ch08.felt_rules(one) == "1 of 7 (no length reward: +0.5000 to +0.7000) changes"
    two = one | {"no-repeat-penalty": variant(interval(-0.5, -0.3))}
    assert ch08.felt_rules(two).startswith("2 of 7 (no penalty for a repeated word: -0.5000 to")
    assert ch08.felt_rules(two).endswith(") change")


def test_rules_are_sorted_by_the_size_that_their_intervals_leave():
    changes = {
        "no-minimum": interval(0.0001, 0.0003),  # measurable, and too small to matter
        "stopword-end": interval(-0.0009, 0.0009),
        "no-repeat-penalty": interval(0.001, 0.003),
        "no-reward-cap": interval(-0.02, -0.01),
        "reward-0": interval(-0.002, 0.0005),
        "no-stopword-rules": interval(nan, nan),
    }
    found = ch08.rule_sizes({name: variant(change) for name, change in changes.items()})
    labels = [VARIANTS[name].label for name in changes]
    assert found == (
        "Held against a change of 0.001, rules left out change it by that much or more: "
        f"{labels[2]} and {labels[3]}; by less: {labels[0]} and {labels[1]}; undecided: "
        f"{labels[4]} and {labels[5]}."
    )
    assert "by that much or more: none; by less: none; undecided: no" in ch08.rule_sizes(WITHOUT)


def test_what_is_said_of_the_rules():
    without = WITHOUT | {"no-repeat-penalty": variant(FLAT, repeated_word=0.75)}
    found = ch08.rule_findings(without, variant(FLAT), dict.fromkeys(ch08.DEFECTS, 0.0625))
    assert (found["repeat_with"], found["repeat_without"]) == (0.125, 0.75)
    assert found["repeat_own"] == found["stopword_own"] == 0.0625
    assert found["trailing_changed"] == 0.5
    assert found["large_rules"] == "none by 0.001 or more"
    large = without | {"reward-0": variant(interval(-0.02, -0.01))}
    found = ch08.rule_findings(large, variant(FLAT), dict.fromkeys(ch08.DEFECTS, 0.0625))
    assert found["large_rules"] == "1 by 0.001 or more"
    shown = ch08.changed_table(without["no-repeat-penalty"])
    assert shown.loc["a-b"].tolist() == ["a-c", "a-a"]


def test_stopwords_may_repeat():
    assert [ch08.repeats(slug) for slug in PREDICTIONS["prediction"]] == [2, 1, 0]
    found = ch08.stammers_table(PREDICTIONS, 2)
    assert found.index.tolist() == ["bee-hive", "ant-hill"]
    assert found.columns.tolist() == ["prediction", "score"]


def test_repeats_by_the_length_of_the_text():
    rows = PREDICTIONS.loc[[0] * 3 + [2] * 4].assign(topic=[0, 1, 2, 0, 1, 3, 3])
    pairs = pd.DataFrame({"token_count": [100] * 3 + [900] * 2 + [300] * 2})
    found = ch08.repeats_by_length(rows, pairs)
    assert found["short"] == {"count": 3, "repeated": interval(1, 1)}
    shown = ch08.repeats_table(found)
    assert shown["repeat a word"].to_dict() == {"short": "100.0%", "medium": "0.0%", "long": "0.0%"}
    assert shown.loc["medium", "95 % interval"] == "–"  # one topic
    gap = ch08.length_gap(rows, pairs)
    assert gap == interval(1, 1)
    assert isnan(ch08.length_gap(rows, pairs.assign(token_count=100))["value"])


def test_short_texts_are_told_from_long_ones_by_an_interval():
    verdict = ch08.length_verdict
    assert verdict(interval(0.01, 0.03)) == (
        "Short ones do lead to it more often than long ones (+2.0%, +1.0% to +3.0%)"
    )
    assert verdict(interval(-0.03, -0.01)).startswith("Long ones lead to it more")
    assert verdict(interval(-0.01, 0.01)).startswith("Short and long ones cannot be told apart")
    assert verdict(interval(nan, nan)) == "These pages cannot tell"
