import pytest

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.files import read_json
from vec2slug_lib.common.jobs import open_job

JOB = {"source": "a", "rows": 3}


def test_a_free_place_is_claimed_and_the_same_job_goes_on(tmp_path):
    path = tmp_path / "new" / "job.json"
    open_job(path, JOB, "slugs")
    before = path.stat().st_mtime_ns
    open_job(path, JOB, "slugs", occupied=True)
    assert read_json(path) == JOB
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("job", "message"),
    [
        ({**JOB, "rows": 4}, "expected slugs, got another job's: rows is 4 here and 3 there"),
        ({"source": "a"}, "rows is None here and 3 there"),
        ({**JOB, "model": "m"}, "model is m here and None there"),
        (["a", 3], r"\['a', 3\] here and {'source': 'a', 'rows': 3} there"),
    ],
)
def test_another_job_is_refused_and_told_what_differs(tmp_path, job, message):
    open_job(tmp_path / "job.json", JOB, "slugs")
    with pytest.raises(Vec2SlugError, match=message):
        open_job(tmp_path / "job.json", job, "slugs")
    assert read_json(tmp_path / "job.json") == JOB


def test_results_without_a_description_are_refused(tmp_path):
    with pytest.raises(Vec2SlugError, match=r"something else, without job\.json"):
        open_job(tmp_path / "job.json", JOB, "slugs", occupied=True)
    assert not (tmp_path / "job.json").exists()
