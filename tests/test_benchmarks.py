"""The benchmark's plain search is the specified one too, and its record bears the book out."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_beam_search import configs, models, plain_search, usable, vocabularies

from vec2slug_lib.common.files import read_json
from vec2slug_lib.common.workspace import current
from vec2slug_lib.inference.familiarity import TrainingVectors
from vec2slug_lib.inference.release_folder import DEFAULT_MODEL

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


@pytest.mark.parametrize("name", ["small", "release"])
def test_the_record_is_of_the_same_slugs(name):
    found = read_json(current().data / "benchmarks" / "inference.json")["models"][name]
    assert found["parity"]["same_slugs"] == found["parity"]["rows"] == 1000
    assert found["parity"]["score_difference"] < 1e-3


def test_the_record_is_of_the_released_weights():
    found = read_json(current().data / "benchmarks" / "inference.json")["models"]["release"]
    weights = "model.safetensors"
    assert found["model"]["bytes"][weights] == (DEFAULT_MODEL / weights).stat().st_size


def test_the_record_of_familiarity_is_of_the_release_and_tells_embedders_apart():
    found = read_json(current().data / "benchmarks" / "familiarity.json")
    assert found["limit"] == pytest.approx(TrainingVectors.load(DEFAULT_MODEL).limit)
    for kind, own in found["own"].items():
        assert own["warned"]["1"] < 0.01, kind
        assert own["warned"]["10"] < 0.001, kind
    assert len(found["strange"]) >= 10
    for name, strange in found["strange"].items():
        assert strange["warned"]["1"] > 0.99, name
        assert strange["warned"]["10"] > 0.999, name
    assert max(found["milliseconds_a_row"].values()) < 1


def test_one_slug_takes_a_fraction_of_the_time_with_torch_and_little_memory():
    found = read_json(current().data / "benchmarks" / "command.json")["processes"]
    for name, row in found.items():
        if not name.endswith("torch"):
            assert row["mebibytes"] < 250, name
            assert row["of_torch"] < 0.5, name


def test_the_graph_of_the_embedder_loses_no_more_than_it_may():
    found = read_json(current().data / "benchmarks" / "reader.json")
    assert found["difference"]["token_f1"]["value"] >= -0.003
    assert found["cosine"]["mean"] > 0.999
