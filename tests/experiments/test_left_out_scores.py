"""Scores on sources that are left out, of a baseline and of a trained decoder."""

from __future__ import annotations

import numpy as np
import pytest

from vec2slug_lib.common.workspace import current
from vec2slug_lib.data import dataset
from vec2slug_lib.evaluation import metrics
from vec2slug_lib.experiments import left_out_scores as left_out
from vec2slug_lib.experiments.left_out_scores import left_out_record

PAGES = dataset.load(limit=600).part("test").sample(40)


@pytest.fixture(autouse=True)
def pages(tmp_path, monkeypatch):
    monkeypatch.setenv("VEC2SLUG_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(left_out, "load_left_out", lambda part: PAGES)


@pytest.mark.parametrize("name", ["vote", "3h"])
def test_sums_are_those_of_the_slugs(name):
    found = left_out_record(name, "smoke")
    slugs = left_out.slugs_of(name, left_out.record(name, "smoke"), PAGES.vectors)
    f1 = metrics.token_overlap(slugs, PAGES.slugs)[2]
    for kind, label in (("by_topic", "cluster"), ("by_source", "source")):
        assert sum(found[kind]["rows"]) == len(PAGES.pairs)
        assert len(found[kind]["rows"]) == PAGES.pairs[label].nunique()
        assert sum(found[kind]["token_f1"]) == pytest.approx(f1.sum(), abs=1e-4)
    assert found["sources"] == sorted(set(PAGES.pairs["source"]))
    assert found["diversity"] == len(set(slugs)) / len(slugs)
    assert found["slugs"] == slugs[:12]
    distinct = [len(set(slug.split("-"))) for slug in slugs]
    assert sum(found["by_topic"]["distinct_words"]) == pytest.approx(np.sum(distinct))


def test_it_is_found_out_once(monkeypatch):
    first = left_out_record("nearest", "smoke", "val")
    monkeypatch.setattr(left_out, "slugs_of", None)
    assert left_out_record("nearest", "smoke", "val") == first
    assert (current().runs / "nearest" / "smoke" / "left_out" / "val.json").is_file()
