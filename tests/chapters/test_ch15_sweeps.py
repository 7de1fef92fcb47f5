"""Two small sweeps by hand: effects within seeds, and sentences for either outcome."""

from __future__ import annotations

import pandas as pd
import pytest
from chapters import ch15_sweeps
from chapters.report import over_seeds

from vec2slug_lib.data import dataset

CONSTANT = {"value": 0.05, "low": 0.04, "high": 0.06}


@pytest.fixture
def caps():
    rows = [(cap, seed, 0.1 * seed + 0.01 * cap) for cap in (10, 24) for seed in (0, 1, 2)]
    caps = pd.DataFrame(rows, columns=["cap", "seed", "token_f1"])
    return caps.assign(words_new=caps["token_f1"], unknown_new=0.5)


@pytest.fixture
def beams():
    rows = [
        (width, reward, seed, 0.3, 4 + width * (reward - 1) + 0.1 * seed)
        for width in (1, 8)
        for reward in (0.0, 3.0)
        for seed in (0, 1, 2)
    ]
    return pd.DataFrame(rows, columns=["width", "reward", "seed", "token_f1", "mean_words"])


def test_effects_are_taken_within_seeds(caps):
    effects = ch15_sweeps.cap_effects(caps)
    assert effects["Token F1"].loc[24].tolist() == pytest.approx([0.14] * 3)
    assert ch15_sweeps.effect_table(effects).loc["cap 24 minus cap 10", "words"].startswith("+0.14")
    assert ch15_sweeps.seed_range(caps) == pytest.approx(0.2)
    by_cap = over_seeds(caps, "cap", "token_f1")
    assert ch15_sweeps.student_factor(caps, by_cap) == pytest.approx(4.303, abs=1e-3)
    assert [trace.name for trace in ch15_sweeps.cap_figure(caps, by_cap, CONSTANT).data] == [
        "seed 0", "seed 1", "seed 2", "mean",
    ]  # fmt: skip


def test_a_constant_slug_is_the_floor():
    by_cap = pd.DataFrame({10: (0.05, 0.04, 0.07), 24: (0.08, 0.07, 0.09)}).T
    by_cap.columns = ["value", "low", "high"]
    assert ch15_sweeps.above_constant(by_cap, CONSTANT) == [24]
    says = ch15_sweeps.constant_says(by_cap, "the-of-and", CONSTANT)
    assert "has a Token F1 of 0.050 (0.040 to 0.060) on the same pages" in says
    assert says.endswith("Measurably better than the constant are those at 24 tokens.")
    low, high = by_cap.loc[[10]], by_cap.loc[[24]]
    says = ch15_sweeps.constant_says(low, "the-of-and", CONSTANT)
    assert "none of these decoders is measurably better than a constant" in says
    says = ch15_sweeps.constant_says(high, "the-of-and", CONSTANT)
    assert says.endswith("So all of them are measurably better than the constant.")
    gained = {"value": 0.001, "low": -0.001, "high": 0.003}
    answer = ch15_sweeps.cap_answer(gained, 3, 24, above=False)
    assert answer.endswith("these are at the level of one slug for all pages.")
    answer = ch15_sweeps.cap_answer(gained, 3, 24, above=True)
    assert answer.endswith("it does not change measurably.")


def test_the_constant_slug_is_made_of_frequent_words():
    data = dataset.load(limit=600)
    slug, f1 = ch15_sweeps.constant_slug(data.part("train"), data.test_rows())
    assert set(slug.split("-")) & {"the", "of", "and"}
    assert f1["low"] < f1["value"] < f1["high"] < 0.2


def test_a_wider_beam_by_reward(beams):
    f1, lengths = (ch15_sweeps.widening(beams, name) for name in ("token_f1", "mean_words"))
    assert {reward: row["value"] for reward, row in lengths.items()} == pytest.approx(
        {0: -7, 3: 14}
    )
    frame = ch15_sweeps.widening_table(f1, lengths, "width 8 minus width 1")
    assert list(frame.index) == ["reward 0.0", "reward 3.0"]
    answer = ch15_sweeps.beam_answer(f1, lengths, 1, 8)
    assert answer.endswith("; Token F1 does not change measurably with any reward.")
    f1[3.0] = {"value": 0.2, "low": 0.1, "high": 0.3}
    answer = ch15_sweeps.beam_answer(f1, lengths, 1, 8)
    assert answer.endswith("; as to Token F1, with a reward of 3.0 it rises.")
    assert len(ch15_sweeps.beam_figure(beams).data) == 2


def test_only_what_differs_is_listed():
    frame = ch15_sweeps.changed_fields("+embed_dim=96+num_layers=2")
    assert frame.to_dict("index") == {
        "embed_dim": {"chapter 6": "384", "this sweep": "96"},
        "num_layers": {"chapter 6": "4", "this sweep": "2"},
    }
