import numpy as np
import pandas as pd
import pytest

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.files import write_json
from vec2slug_lib.evaluation import records


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("VEC2SLUG_RUNS", str(tmp_path))
    monkeypatch.setenv("VEC2SLUG_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    pairs = pd.DataFrame({"id": ["b", "a"], "slug": ["x-y", "x-y-z"], "cluster": [7, 3]})
    pairs.to_parquet(tmp_path / "data" / "pairs.parquet")
    return records.Run(tmp_path / "3i" / "book")


def test_a_record_comes_back_as_written(run):
    write_json(run.folder / "manifest.json", {"seed": 1})
    (run.folder / "history.jsonl").write_text('{"step": 1}\n{"step": 2}\n')
    frame = pd.DataFrame({"id": ["a"], "slug": ["x-y-z"], "prediction": ["x-y"], "score": [1.0]})
    metrics = {"token_f1": {"value": 0.8, "low": 0.7, "high": 0.9}}
    assert not run.complete
    records.save_results(run, frame, metrics, {"blood-donation": "facts-about-blood"})
    opened = records.open_run("3i", "book")
    assert opened.complete
    assert opened.metrics == metrics
    assert opened.value("token_f1") == 0.8
    assert opened.manifest == {"seed": 1}
    assert opened.history["step"].tolist() == [1, 2]
    assert opened.examples == {"blood-donation": "facts-about-blood"}
    predictions = opened.predictions
    assert predictions.pop("topic").tolist() == [3]
    pd.testing.assert_frame_equal(predictions, frame)
    # The references are the data set's: the record does not hold them a second time.
    assert "slug" not in pd.read_parquet(run.folder / "predictions.parquet")
    pairs = pd.DataFrame({"id": ["a", "b"], "slug": ["x-y", "x-y-z"], "cluster": [7, 3]})
    pairs.to_parquet(run.folder.parents[1] / "data" / "pairs.parquet")
    with pytest.raises(Vec2SlugError, match="to be scored on the pairs"):
        _ = opened.predictions


def test_rows_of_another_data_set_are_refused(run):
    frame = pd.DataFrame({"id": ["c"], "slug": ["x-y-z"], "prediction": ["x-y"], "score": [1.0]})
    with pytest.raises(Vec2SlugError, match="expected rows of the data set, got 1 other"):
        records.save_results(run, frame, {}, {})


def test_missing_files_are_named(run):
    write_json(run.folder / "manifest.json", {})
    with pytest.raises(
        Vec2SlugError, match=r"history\.jsonl, examples\.json, predictions\.parquet, m"
    ):
        records.open_run("3i", "book")


def test_a_baseline_needs_no_history(run):
    write_json(run.folder / "manifest.json", {"baseline": {}})
    assert run.missing == ["examples.json", "predictions.parquet", "metrics.json"]
    frame = pd.DataFrame({"id": ["a"], "slug": ["x-y-z"], "prediction": [""], "score": [np.nan]})
    records.save_results(run, frame, {}, {})
    assert records.open_run("3i", "book").complete
    pd.testing.assert_frame_equal(run.predictions.drop(columns="topic"), frame)


def test_a_further_file_is_made_once_for_the_same_predictions(run):
    frame = pd.DataFrame({"id": ["a"], "slug": ["x-y-z"], "prediction": ["x-y"], "score": [1.0]})
    records.save_results(run, frame, {}, {})
    counts = iter(range(9))

    def further(**options):
        return records.read_or_make(run, "more/count", lambda: {"count": next(counts)}, **options)[
            "count"
        ]

    assert [further(), further(), further(remake=True), further()] == [0, 0, 1, 1]
    records.save_results(run, frame.assign(prediction="x-z"), {}, {})
    assert further() == 2
