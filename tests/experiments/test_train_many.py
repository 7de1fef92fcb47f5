import pytest

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.evaluation.records import open_run
from vec2slug_lib.experiments.train_many import estimate, train_many


def test_missing_records_are_made_and_present_ones_left(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VEC2SLUG_RUNS", str(tmp_path))
    train_many(["1a", "3i"], "smoke", jobs=2)
    assert "2 trainings (1a, 3i), 2 at a time: at most about" in capsys.readouterr().err
    written = [open_run(name, "smoke").folder / "metrics.json" for name in ("1a", "3i")]
    times = [path.stat().st_mtime_ns for path in written]
    monkeypatch.setattr(
        "vec2slug_lib.experiments.train_many.train_one", None
    )  # would fail if it were called
    train_many(["1a", "3i"], "smoke")
    assert [path.stat().st_mtime_ns for path in written] == times


def test_a_failed_training_is_named_and_the_others_are_made(tmp_path, monkeypatch):
    monkeypatch.setenv("VEC2SLUG_RUNS", str(tmp_path))
    monkeypatch.setattr("vec2slug_lib.experiments.train_many.estimate", lambda name, preset: 1.0)
    diverging = "3i+learning_rate=1e30"
    with pytest.raises(Vec2SlugError, match=r"3i\+learning_rate=1e30 failed: .*finite loss"):
        train_many([diverging, "1a"], "smoke")
    assert open_run("1a", "smoke").complete
    assert (tmp_path / diverging / "smoke" / "train.log").is_file()


@pytest.mark.parametrize(
    ("names", "preset", "jobs", "message"),
    [
        (["3i", "9z"], "smoke", 1, "one of 1a, .*got '9z'"),
        (["3i"], "huge", 1, "one of smoke, book, paper, got 'huge'"),
        (["3i"], "smoke", 0, "expected one job or more, got 0"),
    ],
)
def test_bad_requests_are_refused_before_anything_is_trained(names, preset, jobs, message):
    with pytest.raises(Vec2SlugError, match=message):
        train_many(names, preset, jobs=jobs)


def test_an_estimate_leaves_no_trace(tmp_path, monkeypatch):
    monkeypatch.setenv("VEC2SLUG_RUNS", str(tmp_path))
    assert 0 < estimate("3i", "smoke") < 600
    assert not (tmp_path / "3i").exists()
