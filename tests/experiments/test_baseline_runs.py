"""Baselines have records like experiments: the same files but a history, the same metrics."""

from __future__ import annotations

import numpy as np
import pytest

from vec2slug_lib.cli.main import main
from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.slugs import is_valid
from vec2slug_lib.data import dataset
from vec2slug_lib.data.examples import load_examples
from vec2slug_lib.evaluation import metrics
from vec2slug_lib.evaluation.records import FILES, open_run
from vec2slug_lib.experiments import run as runs
from vec2slug_lib.experiments.baseline_runs import BASELINES, FROM_VECTORS, find_baseline
from vec2slug_lib.experiments.run import example_slugs, record

RERANKED = ["nearest-words+reranked=True", "word-vote+reranked=True"]
FRACTIONS = [  # of chapter 14
    f"word-vote+share={2.0**-power:g}+reranked=True" for power in (1, 2, 3, 4)
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("VEC2SLUG_RUNS", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", [*BASELINES, "vote+share=0.25+neighbours=3", *RERANKED])
def test_a_record_from_nothing(name, folder, monkeypatch):
    run = record(name, "smoke")
    assert {path.name for path in run.folder.iterdir()} == {*FILES} - {"history.jsonl"}
    predictions = run.predictions
    assert predictions["id"].tolist() == dataset.load(limit=600).test_rows().pairs["id"].tolist()
    f1 = metrics.token_overlap(predictions["prediction"].tolist(), predictions["slug"].tolist())[2]
    assert run.value("token_f1") == pytest.approx(f1.mean())
    assert "bertscore_f1" in run.metrics
    assert predictions["score"].isna().all()
    monkeypatch.setattr(runs, "make_baseline", None)
    assert record(name, "smoke").metrics == run.metrics


def test_articles_get_slugs_unless_the_texts_of_other_pages_are_needed(folder):
    slugs = example_slugs(["nearest", "vote", "title"], "smoke")
    assert len(slugs) == 12
    assert all(is_valid(slug) for name in slugs for slug in slugs[name])
    assert slugs["title"].tolist()[0] == runs.record("title", "smoke").examples["amelia-earhart"]
    assert record("keywords", "smoke").examples == {}


def test_fewer_pages_and_neighbours_are_variants(folder):
    whole, part = (record(name, "smoke").manifest for name in ("vote", "vote+share=0.25"))
    rows = dataset.load(limit=600)
    assert whole["train_rows"] == len(rows.part("train").pairs)
    assert part["train_rows"] == len(rows.subsample(0.25).part("train").pairs)
    settings = {"train_fraction": 0.25, "neighbours": 40, "reranked": False, "wide": False}
    assert part["baseline"] == settings
    one = record("vote+neighbours=1+share=0.25", "smoke").predictions["prediction"]
    assert one.map(lambda slug: slug.count("-")).between(2, 7).all()


def test_the_command_makes_several_and_makes_them_anew(folder, capsys):
    assert main(["train", "title", "random", "--preset", "smoke"]) == 0
    first = capsys.readouterr().out
    assert [line for line in first.splitlines() if line[0] != " "] == ["title", "random"]
    written = folder / "title" / "smoke" / "metrics.json"
    written.write_text("{}")
    assert main(["train", "title", "random", "--preset", "smoke", "--retrain"]) == 0
    assert capsys.readouterr().out == first


def test_unknown_settings_are_refused(folder):
    with pytest.raises(Vec2SlugError, match="field of baseline vote to be one of train_fraction"):
        record("vote+beam=4", "smoke")
    with pytest.raises(Vec2SlugError, match="expected neighbours=<int>, got 'neighbours=x'"):
        find_baseline("vote+neighbours=x")
    with pytest.raises(Vec2SlugError, match="expected preset to be one of"):
        record("vote", "huge")


@pytest.mark.parametrize("name", [*BASELINES, *RERANKED, *FRACTIONS])
def test_committed_records_are_of_the_committed_data(name):
    run, data = open_run(name, "book"), dataset.load()
    data = data.subsample(find_baseline(name).train_fraction)
    assert run.manifest["data"] == dataset.ids_digest(data.pairs["id"])
    assert run.manifest["train_rows"] == (data.pairs["split"] == "train").sum()
    predictions = run.predictions
    assert predictions["id"].tolist() == data.test_rows().pairs["id"].tolist()
    f1 = metrics.token_overlap(predictions["prediction"].tolist(), predictions["slug"].tolist())[2]
    assert f1.mean() == pytest.approx(run.value("token_f1"))
    assert np.isnan(predictions["score"]).all()
    assert len(run.examples) in (0, len(load_examples()))


@pytest.mark.parametrize(("name", "rows"), [("random", 5000), ("nearest", 128), ("vote", 128)])
def test_committed_records_are_what_the_baselines_write(name, rows):
    data = dataset.load()
    train, test = data.part("train"), data.test_rows()
    slugs = FROM_VECTORS[name](train, test.vectors[:rows], BASELINES[name])
    same = open_run(name, "book").predictions["prediction"].iloc[:rows] == slugs
    # Another processor may add up a cosine in another order, and so turn a tie.
    assert same.mean() > 0.98
