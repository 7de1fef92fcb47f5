"""Two small sweeps by hand: effects within seeds, and sentences for either outcome."""

from __future__ import annotations

import pandas as pd
import pytest
from chapters import ch15_sweeps
from chapters.report import over_seeds


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
    assert [trace.name for trace in ch15_sweeps.cap_figure(caps, by_cap).data] == [
        "seed 0", "seed 1", "seed 2", "mean",
    ]  # fmt: skip


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
