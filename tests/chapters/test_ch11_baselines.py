"""Decoders beside baselines: verdicts by hand, and groups that leave no page out."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from chapters import ch11_baselines

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.experiments.baseline_runs import FROM_VECTORS


def run(predictions):
    frame = pd.DataFrame(predictions, columns=["id", "slug", "prediction"])
    return SimpleNamespace(predictions=frame)


def test_rows_are_scored_and_other_pages_refused():
    runs = {"one": run([("a", "x-y", "x-y"), ("b", "x-y", "x-z")])}
    scores = ch11_baselines.all_row_f1(runs, pd.Series(["a", "b"]))
    assert scores["one"].tolist() == [1, 0.5]
    with pytest.raises(Vec2SlugError, match="expected one to be scored on these 2 pages"):
        ch11_baselines.all_row_f1(runs, pd.Series(["b", "a"]))


def test_blind_are_the_baselines_of_vectors():
    assert {name.split("+")[0] for name in ch11_baselines.BLIND.values()} == set(FROM_VECTORS)
    values = {"random": 0.1, "nearest words": 0.3, "vote": 0.2, "title": 0.9}
    systems = {name: SimpleNamespace(value=lambda metric, f1=f1: f1) for name, f1 in values.items()}
    assert ch11_baselines.best_blind(systems) == "nearest words"


def test_outcomes_and_verdicts():
    topics = np.arange(50) % 5
    scores = {"3i": np.full(50, 0.5), "low": np.full(50, 0.25), "high": np.full(50, 0.75)}
    scores["level"] = scores["3i"]
    paired = ch11_baselines.paired_table(scores, "3i", ["low", "high", "level"], topics)
    assert paired["outcome"].tolist() == ["3i is better", "3i is worse", "draw"]
    says = [ch11_baselines.verdict(paired, "3i", name, 0.25) for name in paired.index]
    assert [text.split(" the best")[0] for text in says] == [
        "3i beats", "3i loses to", "3i is level with",
    ]  # fmt: skip
    assert says[0].endswith("“low” (0.250; difference +0.250, +0.250 to +0.250).")
    below = ch11_baselines.stands_to({"value": -0.2, "low": -0.3, "high": -0.1})
    assert below == "is below it (-0.200, -0.300 to -0.100)"


def test_the_headline_has_both_kinds_of_interval():
    topics = np.repeat(np.arange(40), 20)
    scores = {"4c": (topics % 2).astype(float), "vote": np.zeros(800)}
    frame = ch11_baselines.headline_table(scores, "4c", "vote", topics)
    assert frame.index.tolist() == ["4c", "vote", "4c − vote"]
    assert frame["Token F1"].tolist() == [0.5, 0, 0.5]
    assert frame.loc["vote", "over topics"] == "0.000 to 0.000"
    # Twenty equal pages a topic: a mean over pages seems sure by the root of twenty.
    assert ch11_baselines.times_wider(scores["4c"], topics) == pytest.approx(20**0.5, rel=0.2)
    assert np.isnan(ch11_baselines.times_wider(scores["vote"], topics))


def test_sources_count_alike():
    sources = ["large"] * 60 + ["small"] * 20 + ["tiny"] * 3
    rows = np.repeat([0.0, 1.0, 0.5], [60, 20, 3])
    topics = np.arange(83) % 7
    mean, count = ch11_baselines.mean_over_sources(rows, sources, topics)
    assert count == 2
    assert mean == pytest.approx({"value": 0.5, "low": 0.5, "high": 0.5})
    # A source whose only topic is not drawn is left out, not taken for 0.
    apart = ch11_baselines.mean_over_sources(rows + 1, sources, np.repeat([0, 1, 2], [60, 20, 3]))
    assert apart[0]["value"] == pytest.approx(1.5)
    assert apart[0]["low"] >= 1
    table = ch11_baselines.sources_table({"4c": rows}, sources, topics)
    assert table.loc["4c", "every source alike"] == "0.500 (0.500 to 0.500)"


def test_groups_of_pages():
    scores = {"one": np.array([0.0, 1, 1, 1]), "two": np.ones(4)}
    parts = ch11_baselines.split_by(scores, ["a", "b", "a", "a"], [0, 1, 1, 2])
    assert list(parts["one"].index) == ["a", "b"]
    assert parts["one"]["value"].tolist() == pytest.approx([2 / 3, 1])
    assert np.isnan(parts["one"].loc["b", "low"])  # one topic decides nothing
    assert ch11_baselines.ends(parts) == (
        "one 0.667 on the shortest slugs and 1.000 on the longest; "
        "two 1.000 on the shortest slugs and 1.000 on the longest"
    )
    for figure in (
        ch11_baselines.source_figure(parts, parts["one"].index),
        ch11_baselines.by_words_figure(parts),
    ):
        assert [trace.name for trace in figure.data] == ["one", "two"]


def test_lengths_of_texts_stand_beside_the_reported():
    counts = pd.Series([100, 200, 300])  # two short texts and a medium one
    scores = {"one": np.array([0.0, 1, 1])}
    parts = ch11_baselines.split_by(scores, ["short", "short", "medium"], [0, 1, 1])
    frame = ch11_baselines.length_table(parts, counts)
    assert frame.index.tolist() == ["short, 150 tokens", "medium, 300 tokens"]
    assert frame["3j, reported"].tolist() == ["0.327", "0.300"]
    assert frame["one"].tolist() == ["0.500 ±0.500", "1.000 (one topic)"]


def test_words_of_slugs_add_up():
    counts = ch11_baselines.word_counts(["a-b", "c", "a-b"])
    (bars,) = ch11_baselines.length_figure({"x": counts}).data
    assert dict(zip(bars.x, bars.y, strict=True)) == pytest.approx({1: 1 / 3, 2: 2 / 3})
