import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.inference import predictor
from vec2slug_lib.inference.bulk import write_slugs
from vec2slug_lib.inference.predictor import SlugPredictor, with_hash


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
    write_slugs(predictor, rows, tmp_path / "out.jsonl", ["x"], progress=done.append)
    found = lines(tmp_path / "out.jsonl")
    assert [line["row"] for line in found] == list(range(40))
    assert [line["slug"] for line in found] == predictor.predict(rows)
    assert sum(done) == 40
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]
    write_slugs(predictor, rows[:3], tmp_path / "more.jsonl", ["x"], top_k=2, unique=True)
    for row, line in enumerate(lines(tmp_path / "more.jsonl")):
        slugs = [c.slug for c in predictor.predict_topk(rows[row : row + 1], 2)[0]]
        named = [with_hash(slug, rows[row].tobytes()) for slug in slugs]
        assert [candidate["slug"] for candidate in line["candidates"]] == named


def test_a_bad_row_keeps_what_was_done_and_the_rest_goes_on(release, rows, tmp_path):
    out, predictor = tmp_path / "out.jsonl", SlugPredictor.from_dir(release)
    broken = rows.copy()
    broken[30] = np.inf
    with pytest.raises(Vec2SlugError, match="row 30 is not finite"):
        write_slugs(predictor, broken, out, ["x"])
    assert not out.exists()
    kept = len(lines(tmp_path / "out.jsonl.part"))
    assert 8 <= kept <= 30
    with (tmp_path / "out.jsonl.part").open("a") as file:
        file.write('{"row": 99, "sl')  # as a kill leaves it
    done = []
    write_slugs(predictor, rows, out, ["x"], progress=done.append)
    assert done[0] == kept
    assert sum(done) == 40
    assert [line["slug"] for line in lines(out)] == predictor.predict(rows)


def test_a_part_of_something_else_is_not_gone_on_with(release, rows, tmp_path):
    out, predictor = tmp_path / "out.jsonl", SlugPredictor.from_dir(release)
    rows[30] = 0
    with pytest.raises(Vec2SlugError, match="row 30 is zero"):
        write_slugs(predictor, rows, out, ["x"])
    for asked, k, unique in ((["y"], 1, False), (["x"], 2, False), (["x"], 1, True)):
        with pytest.raises(Vec2SlugError, match=r"out\.jsonl\.part to be of the same vectors"):
            write_slugs(predictor, rows, out, asked, k, unique)
    out.touch()
    with pytest.raises(Vec2SlugError, match="remove or rename it"):
        write_slugs(predictor, rows, out, ["x"])


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
