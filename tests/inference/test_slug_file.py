import json
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from vec2slug_lib.common import slugs
from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.jobs import one_writer
from vec2slug_lib.common.slugs import UniqueSlugs
from vec2slug_lib.common.vectors import vector_key
from vec2slug_lib.inference import predictor
from vec2slug_lib.inference.beam_search import Candidate
from vec2slug_lib.inference.predictor import SlugPredictor
from vec2slug_lib.inference.slug_file import write_slugs


@pytest.fixture
def rows():
    return np.random.default_rng(0).normal(size=(40, 24)).astype(np.float32)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(predictor, "ROWS", 16)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_a_row(release, rows, tmp_path):
    predictor, done = SlugPredictor.from_dir(release), []
    write_slugs(predictor, rows, tmp_path / "out.jsonl", {"model": "x"}, progress=done.append)
    found = lines(tmp_path / "out.jsonl")
    assert [line["row"] for line in found] == list(range(40))
    assert [line["slug"] for line in found] == predictor.predict(rows)
    assert sum(done) == 40
    assert {path.name for path in tmp_path.iterdir()} == {"out.jsonl", ".out.jsonl.lock"}
    write_slugs(predictor, rows[:3], tmp_path / "more.jsonl", {"model": "x"}, top_k=2, unique=True)
    for row, line in enumerate(lines(tmp_path / "more.jsonl")):
        slugs = [c.slug for c in predictor.predict_topk(rows[row : row + 1], 2)[0]]
        named = [UniqueSlugs().name(slug, vector_key(rows[row])) for slug in slugs]
        assert [candidate["slug"] for candidate in line["candidates"]] == named


def test_a_bad_row_keeps_what_was_done_and_the_rest_goes_on(release, rows, tmp_path):
    out, predictor = tmp_path / "out.jsonl", SlugPredictor.from_dir(release)
    broken = rows.copy()
    broken[30] = np.inf
    with pytest.raises(Vec2SlugError, match="row 30 is not finite"):
        write_slugs(predictor, broken, out, {"model": "x"})
    assert not out.exists()
    kept = len(lines(tmp_path / "out.jsonl.part"))
    assert kept == 30
    with (tmp_path / "out.jsonl.part").open("a") as file:
        file.write('{"row": 99, "sl')  # as a kill leaves it
    done = []
    write_slugs(predictor, rows, out, {"model": "x"}, progress=done.append)
    assert done[0] == kept
    assert sum(done) == 40
    assert [line["slug"] for line in lines(out)] == predictor.predict(rows)


def test_a_part_of_something_else_is_not_gone_on_with(release, rows, tmp_path):
    out, predictor = tmp_path / "out.jsonl", SlugPredictor.from_dir(release)
    rows[30] = 0
    with pytest.raises(Vec2SlugError, match="row 30 is zero"):
        write_slugs(predictor, rows, out, {"model": "x"})
    for asked, k, unique in (
        ({"model": "y"}, 1, False),
        ({"model": "x"}, 2, False),
        ({"model": "x"}, 1, True),
    ):
        with pytest.raises(Vec2SlugError, match=r"out\.jsonl\.part to be of these settings"):
            write_slugs(predictor, rows, out, asked, k, unique)
    others = rows.copy()
    others[17] *= -1
    for changed, row in ((others, 17), (rows[:20], 20)):
        with pytest.raises(Vec2SlugError, match=f"same vectors, but row {row} is another"):
            write_slugs(predictor, changed, out, {"model": "x"})
    assert len(lines(tmp_path / "out.jsonl.part")) == 30  # nothing of it is lost
    out.touch()
    with pytest.raises(Vec2SlugError, match="remove it first"):
        write_slugs(predictor, rows, out, {"model": "x"})


def test_bad_rows_are_skipped_and_listed_if_asked(release, rows, tmp_path):
    out, predictor = tmp_path / "out.jsonl", SlugPredictor.from_dir(release)
    rows[5], rows[30] = np.nan, 0
    assert write_slugs(predictor, rows, out, {}, skip_bad=True) == 2
    bad = [
        {"row": 5, "slug": None, "reason": "is not finite"},
        {"row": 30, "slug": None, "reason": "is zero"},
    ]
    assert lines(tmp_path / "out.jsonl.bad") == bad
    good = [row for row in range(40) if row not in (5, 30)]
    found = lines(out)
    assert [found[5], found[30]] == bad
    assert [found[row]["slug"] for row in good] == predictor.predict(rows[good])


def test_a_part_ahead_of_its_keys_loses_a_line_only(release, rows, tmp_path):
    """A kill leaves the two files at different lengths."""
    out, predictor, done = tmp_path / "out.jsonl", SlugPredictor.from_dir(release), []
    broken = rows.copy()
    broken[30] = np.inf
    with pytest.raises(Vec2SlugError):
        write_slugs(predictor, broken, out, {})
    keys = tmp_path / "out.jsonl.part.keys"
    keys.write_bytes(keys.read_bytes()[:-20])
    write_slugs(predictor, rows, out, {}, progress=done.append)
    assert done[0] == 28
    assert [line["slug"] for line in lines(out)] == predictor.predict(rows)


def test_one_writer_a_file(release, rows, tmp_path):
    with (
        one_writer(tmp_path / "out.jsonl"),
        pytest.raises(Vec2SlugError, match="alone in writing"),
    ):
        write_slugs(SlugPredictor.from_dir(release), rows, tmp_path / "out.jsonl", {})


def test_items_of_one_slug_stay_apart_across_a_kill(rows, tmp_path, monkeypatch):
    monkeypatch.setattr(slugs, "DIGITS", 1)
    predictor = SameSlug(stop=33)
    rows[20] = rows[3]  # the same item has the same name
    with pytest.raises(Vec2SlugError):
        write_slugs(predictor, rows, tmp_path / "cut.jsonl", {}, unique=True)
    for name in ("cut", "whole"):
        write_slugs(SameSlug(), rows, tmp_path / f"{name}.jsonl", {}, unique=True)
    assert lines(tmp_path / "cut.jsonl") == lines(tmp_path / "whole.jsonl")
    named = [line["slug"] for line in lines(tmp_path / "whole.jsonl")]
    assert len(set(named)) == 39
    assert named[20] == named[3]


class SameSlug:
    """A predictor that gives each row the same slug."""

    config = SimpleNamespace(input_dim=24)

    def __init__(self, stop=1000):
        self.stop = stop

    def stream(self, vectors, k, progress, first, skip_bad):
        for row in range(first, first + len(vectors)):
            if row == self.stop:
                raise Vec2SlugError("stop")
            yield [Candidate("same-slug", 1.0)]


def test_the_command_goes_on_after_a_kill(release, tmp_path):
    rows = np.random.default_rng(1).normal(size=(4000, 24)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    out = tmp_path / "out.jsonl"
    command = [
        sys.executable, "-m", "vec2slug_lib.cli", "--vectors", tmp_path / "rows.npy",
        "--model", release, "--out", out,
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    part = tmp_path / "out.jsonl.part"
    while process.poll() is None and not (part.exists() and part.stat().st_size):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists()
    kept = part.read_bytes().count(b"\n")
    assert 0 < kept < 4000
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line["row"] for line in lines(out)] == list(range(4000))
