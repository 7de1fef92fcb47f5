"""The plain search of the benchmark is the specified one too."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_beam_search import configs, models, plain_search, usable, vocabularies

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
from plain_search import PlainSearch


@settings(max_examples=150)
@given(st.data(), configs(), st.integers(1, 3))
def test_slugs_and_scores_are_those_of_the_slow_search(data, config, top_k):
    strings = data.draw(vocabularies())
    strings = [*strings[:5], *filter(usable, strings[5:])]
    model = data.draw(models(len(strings)))
    config = replace(config, stopping="optimal")
    expected, _, margin = plain_search(lambda tokens: model(0, tokens), strings, config, top_k)

    def forward(sequences):
        return np.array([[model(0, tuple(row[1:].tolist()))] for row in sequences])

    found = PlainSearch(strings, config).slugs(forward, top_k)
    if margin > 1e-4:
        assert [slug for slug, _ in found] == [slug for slug, _ in expected]
        assert [s for _, s in found] == pytest.approx([s for _, s in expected], abs=1e-4)
