import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.data import dataset
from vec2slug_lib.evaluation import metrics
from vec2slug_lib.evaluation.records import open_run
from vec2slug_lib.experiments import run as runs
from vec2slug_lib.experiments.run import record
from vec2slug_lib.experiments.table import EXPERIMENTS
from vec2slug_lib.experiments.task import make_task
from vec2slug_lib.model.tokenizer import token_strings


def test_unknown_names_list_the_known():
    with pytest.raises(Vec2SlugError, match=r"one of 1a, .*got '9z'"):
        record("9z", "smoke")
    with pytest.raises(Vec2SlugError, match="one of smoke, book, paper, got 'huge'"):
        record("3i", "huge")


@pytest.mark.parametrize("name", ["1b", "3a", "3i"])
def test_smoke_run_from_nothing_is_repeatable(name, tmp_path, monkeypatch):
    monkeypatch.setenv("VEC2SLUG_RUNS", str(tmp_path))
    first = record(name, "smoke")
    metrics, predictions = first.metrics, first.predictions
    assert metrics["validity"]["value"] == 1
    assert predictions["prediction"].str.count("-").between(2, 7).all()
    assert len(first.examples) == 12
    written = (first.folder / "metrics.json").stat().st_mtime_ns
    assert record(name, "smoke").metrics == metrics
    assert (first.folder / "metrics.json").stat().st_mtime_ns == written
    shutil.rmtree(first.folder)
    assert record(name, "smoke").metrics == metrics


def test_a_run_killed_while_decoding_is_not_trained_again(tmp_path, monkeypatch):
    monkeypatch.setenv("VEC2SLUG_RUNS", str(tmp_path))
    run = record("3h", "smoke")
    metrics = run.metrics
    (run.folder / "metrics.json").unlink()
    monkeypatch.setattr(runs, "train_run", None)
    assert record("3h", "smoke").metrics == metrics


@pytest.mark.parametrize("retrain", [False, True])
def test_two_that_ask_for_a_record_make_it_one_after_the_other(tmp_path, monkeypatch, retrain):
    monkeypatch.setenv("VEC2SLUG_RUNS", str(tmp_path))
    make, events = runs.make_record, []

    def slow(*arguments):
        events.append("begin")
        make(*arguments)
        time.sleep(0.3)
        events.append("end")

    monkeypatch.setattr(runs, "make_record", slow)
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: record("random", "smoke", retrain), range(2))
    assert one.metrics == other.metrics
    assert events == ["begin", "end"] * (2 if retrain else 1)


def test_targets_over_clusters_hold_representatives_only(tmp_path, monkeypatch):
    monkeypatch.setenv("VEC2SLUG_RUNS", str(tmp_path))
    task = make_task("3a", "smoke")
    known = set(token_strings(task.tokenizer))
    for part in ("train", "val", "test"):
        rows = task.data.part(part)
        ids = task.ids(rows)  # raises if a word has no representative
        slug = rows.pairs["slug"].iloc[0]
        assert set(task.target(slug).split("-")) <= known
        assert len(ids[0]) == 2 * len(slug.split("-")) - 1


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_committed_records_are_of_the_committed_data(name):
    run, data = open_run(name, "book"), dataset.load()
    assert run.manifest["data"] == dataset.ids_digest(data.pairs["id"])
    assert run.manifest["experiment"] == name
    predictions = run.predictions
    assert predictions["id"].tolist() == data.test_rows().pairs["id"].tolist()
    f1 = metrics.token_overlap(predictions["prediction"].tolist(), predictions["slug"].tolist())[2]
    assert f1.mean() == pytest.approx(run.value("token_f1"))
