"""Figures and tables over the runs: every run and reported value is drawn where it belongs."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from chapters import ch11_figures
from chapters.ch11_claims import REPORTED
from chapters.ch11_figures import FAMILIES, column, listing

from vec2slug_lib.experiments.table import EXPERIMENTS

METRICS = [key for labels in ch11_figures.METRIC_TABLES.values() for key in labels]


@pytest.fixture
def levels():
    rng = np.random.default_rng(0)
    values = {name: rng.random(len(METRICS)) for name in EXPERIMENTS}
    return {
        name: {
            key: {"value": x, "low": x - 0.01, "high": x + 0.02}
            for key, x in zip(METRICS, row.tolist(), strict=True)
        }
        for name, row in values.items()
    }


def test_families_are_the_experiments():
    assert sorted(name for names in FAMILIES.values() for name in names) == sorted(EXPERIMENTS)


def test_tables_have_a_row_a_run(levels):
    for labels in ch11_figures.METRIC_TABLES.values():
        frame = ch11_figures.metric_table(levels, labels)
        assert list(frame.index) == list(EXPERIMENTS)
        assert list(frame) == list(labels.values())
    runs = {name: SimpleNamespace(manifest={"parameters": 2_500_000}) for name in EXPERIMENTS}
    frame = ch11_figures.run_table(runs)
    assert frame.loc["3i"].tolist() == ["decoder, 384 × 4", "bpe, cap 24", "calibrated", 2.5]
    assert frame.loc["1a", "loss"] == "bce"


def test_a_value_is_written_with_half_its_interval():
    assert ch11_figures.half_width({"value": 0.5, "low": 0.44, "high": 0.52}) == "0.500 ±0.040"
    one_topic = {"value": 0.5, "low": float("nan"), "high": float("nan")}
    assert ch11_figures.half_width(one_topic) == "0.500 (one topic)"
    assert listing({"1a": 0.25, "3j": 0.5}) == "3j 0.500, 1a 0.250"
    assert listing(pd.Series({"1a": 0.25}), 1) == "1a 0.2"


def test_dots_are_the_runs_and_diamonds_the_study(levels):
    figure = ch11_figures.dots(levels, "rouge_l", "ROUGE-L", REPORTED["rouge_l"])
    drawn = {y: x for trace in figure.data[:-1] for x, y in zip(trace.x, trace.y, strict=True)}
    assert drawn == {name: row["rouge_l"]["value"] for name, row in levels.items()}
    assert dict(zip(figure.data[-1].y, figure.data[-1].x, strict=True)) == REPORTED["rouge_l"]
    assert list(figure.layout.yaxis.categoryarray) == list(EXPERIMENTS)[::-1]


@pytest.mark.parametrize("kind", ["order", "size"])
def test_scatter_plots_hold_every_run_once(levels, kind):
    sizes = pd.Series(np.arange(1.0, 13), list(EXPERIMENTS))
    figure = (
        ch11_figures.order_figure(levels)
        if kind == "order"
        else ch11_figures.size_figure(levels, sizes)
    )
    families = figure.data[: len(FAMILIES)]
    assert [name for trace in families for name in trace.hovertext] == list(EXPERIMENTS)
    x = np.concatenate([trace.x for trace in families])
    wanted = column(levels, "token_f1")["value"] if kind == "order" else sizes
    np.testing.assert_allclose(x, wanted)


def test_precision_and_recall_stand_side_by_side(levels):
    names = [trace.name for trace in ch11_figures.precision_recall_figure(levels).data]
    assert names == ["precision", "precision, reported", "recall", "recall, reported"]


def test_ghosts_of_both_stand_beside_token_f1(levels):
    figure = ch11_figures.token_f1_figure(levels, {"3b": 0.3})
    assert [trace.name for trace in figure.data[-2:]] == ["ghost", "ghost, reported"]
