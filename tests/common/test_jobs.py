import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.files import read_json
from vec2slug_lib.common.jobs import digest, one_writer, open_job

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


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_other_strings_have_another_digest(ours, theirs):
    assert (digest(ours) == digest(theirs)) == (ours == theirs)


def test_a_second_writer_is_told_who_the_first_is(tmp_path):
    out = tmp_path / "new" / "out.jsonl"
    code = f"""
from pathlib import Path
from vec2slug_lib.common.jobs import one_writer
with one_writer(Path({str(out)!r})):
    print("ready", flush=True)
    input()
"""
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "ready\n"
    with (
        pytest.raises(Vec2SlugError, match=f"alone in writing {out}, but process {holder.pid} on"),
        one_writer(out),
    ):
        raise AssertionError("two writers")
    holder.kill()  # as nobody plans it
    holder.communicate()
    with one_writer(out), one_writer(tmp_path / "new" / "other.jsonl"):
        pass
    with one_writer(out):  # once more, in the same process
        assert str(os.getpid()) in (tmp_path / "new" / ".out.jsonl.lock").read_text()
