"""Expected beside found: deciles by hand, and sentences that follow them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from chapters import ch11_honesty

from vec2slug_lib.inference.beam_search import Candidate


@pytest.fixture
def deciles():
    scores = np.repeat(np.arange(1, 11) / 10, 4)
    predictions = pd.DataFrame(
        {
            "slug": "a-b", "prediction": ["a-b", "x-y"] * 20, "score": scores,
            "topic": np.arange(40) // 2 % 5,
        }
    )  # fmt: skip
    return ch11_honesty.honesty_by_decile(predictions.sample(frac=1, random_state=0))


def test_deciles_go_by_the_expectation(deciles):
    assert deciles.index.tolist() == list(range(1, 11))
    assert deciles["expected"].tolist() == pytest.approx([i / 10 for i in range(1, 11)])
    assert deciles["pages"].tolist() == [4] * 10
    assert deciles["value"].tolist() == [0.5] * 10


def test_sentences_name_the_groups_that_are_off(deciles):
    frame = deciles.assign(low=0.15, high=0.85)
    says = ch11_honesty.honesty_says(frame, 0.22, 0.08)
    assert says.startswith(
        "It expects too much in 2 of 10 groups (9 and 10) and too little in 1 of 10 groups (1). "
    )
    assert "gets 0.220 on average, more than 2 of the ten groups of pages" in says
    assert says.endswith("leaves it 0.080.")
    honest = ch11_honesty.honesty_says(frame.assign(low=0, high=1), 0.05, 0.08)
    assert honest.startswith("In no group does what it expects lie outside")


def test_the_figure_and_the_table_have_every_group(deciles):
    points, diagonal, random = ch11_honesty.honesty_figure(deciles, 0.3).data
    assert list(points.x) == deciles["expected"].tolist()
    assert list(diagonal.x) == list(diagonal.y)
    assert set(random.x) == {0.3}
    assert ch11_honesty.honesty_table(deciles)["expected"].tolist() == list(points.x)


def test_random_vectors_are_given_to_the_release(monkeypatch, recwarn):
    given = {}

    def open_release(folder, precision, embedder):
        def predict_topk(vectors, k):
            given["vectors"] = vectors
            return [[Candidate("a-b", float(i))] for i in range(len(vectors))]

        config = SimpleNamespace(input_dim=8)
        return SimpleNamespace(config=config, predict_topk=predict_topk)

    monkeypatch.setattr(ch11_honesty.SlugPredictor, "from_dir", open_release)
    assert ch11_honesty.random_vector_score(draws=5) == 2
    assert given["vectors"].shape == (5, 8)
    assert not recwarn.list
