import json
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.jobs import one_writer
from vec2slug_lib.common.vectors import vector_key
from vec2slug_lib.inference import predictor, slug_file, unique
from vec2slug_lib.inference.beam_search import Candidate
from vec2slug_lib.inference.predictor import SlugPredictor
from vec2slug_lib.inference.settings import SlugSettings
from vec2slug_lib.inference.slug_output import read_slugs
from vec2slug_lib.inference.slug_rows import Rows, rows_of_array, rows_of_blocks
from vec2slug_lib.inference.unique import row_key
from vec2slug_lib.inference.vector_source import Block


def write_slugs(predictor, vectors, *arguments, **options):
    return slug_file.write_slugs(predictor, rows_of_array(vectors, 24), *arguments, **options)


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
    write_slugs(predictor, rows[:3], tmp_path / "more.jsonl", {"model": "x"}, top_k=2)
    for row, line in enumerate(lines(tmp_path / "more.jsonl")):
        slugs = [c.slug for c in predictor.predict_topk(rows[row : row + 1], 2)[0]]
        assert [candidate["slug"] for candidate in line["candidates"]] == slugs


def test_distinct_slugs_are_those_of_the_predictor_whatever_their_order(release, rows, tmp_path):
    rows[25] = rows[3]
    plain = SlugPredictor.from_dir(release).predict(rows)
    taken = frozenset(plain[:5])
    asked = SlugSettings(unique=True, taken=taken)
    predictor = SlugPredictor.from_dir(release, settings=asked)
    expected = predictor.predict(rows)
    assert len(set(expected)) == len(rows)
    assert not taken & set(expected)
    outcome = write_slugs(predictor, rows, tmp_path / "out.jsonl", {})
    assert outcome.ties is not None
    assert [line["slug"] for line in lines(tmp_path / "out.jsonl")] == expected
    order = np.random.default_rng(1).permutation(len(rows))
    write_slugs(predictor, rows[order], tmp_path / "shuffled.txt", {})
    shuffled = (tmp_path / "shuffled.txt").read_text().splitlines()
    assert sorted(shuffled) == sorted(expected)
    same = [row not in (3, 25) for row in order]  # which of two alike is first, no one can tell
    assert [s for s, one in zip(shuffled, same, strict=True) if one] == [
        expected[row] for row, one in zip(order, same, strict=True) if one
    ]


@pytest.mark.parametrize("ending", ["jsonl", "txt", "parquet"])
def test_formats_say_the_same_and_ids_stand_beside_slugs(release, rows, tmp_path, ending):
    rows[7] = np.nan
    ids = [f"page {row}" for row in range(40)]
    predictor, out = SlugPredictor.from_dir(release), tmp_path / f"out.{ending}"
    blocks = [Block(ids[:11], rows[:11]), Block(ids[11:], rows[11:])]
    table = rows_of_blocks(blocks, 24)
    outcome = slug_file.write_slugs(predictor, table, out, {}, skip_bad=True)
    assert outcome == (40, 1, None)
    good = [row for row in range(40) if row != 7]
    expected = dict(zip([ids[row] for row in good], predictor.predict(rows[good]), strict=True))
    if ending == "txt":
        pairs = [line.split("\t") for line in out.read_text().splitlines()]
    elif ending == "parquet":
        frame = pd.read_parquet(out)
        assert frame["reason"].dropna().to_dict() == {7: "is not finite"}
        pairs = frame[["id", "slug"]].fillna("").to_numpy().tolist()
    else:
        pairs = [[line["id"], line["slug"] or ""] for line in lines(out)]
    assert pairs == [[name, expected.get(name, "")] for name in ids]
    assert read_slugs(out) == frozenset(expected.values())


def test_another_ending_is_refused_before_any_work(release, rows, tmp_path):
    with pytest.raises(Vec2SlugError, match=r"ending in \.jsonl, \.txt, \.parquet"):
        write_slugs(SlugPredictor.from_dir(release), rows, tmp_path / "out.csv", {})


def test_other_ids_are_other_rows(release, rows, tmp_path):
    predictor, out = SlugPredictor.from_dir(release), tmp_path / "out.jsonl"
    rows[30] = 0
    ids = [str(row) for row in range(40)]
    with pytest.raises(Vec2SlugError, match="row 30 is zero"):
        slug_file.write_slugs(predictor, rows_of_blocks([Block(ids, rows)], 24), out, {})
    ids[12] = "another"
    with pytest.raises(Vec2SlugError, match="row 12 is another"):
        slug_file.write_slugs(predictor, rows_of_blocks([Block(ids, rows)], 24), out, {})


def test_what_is_done_is_not_made_again(release, rows, tmp_path):
    """A text whose slug is there is not embedded once more."""
    predictor, out, asked = SlugPredictor.from_dir(release), tmp_path / "out.jsonl", []

    def table(stop):
        keys = [row_key(str(row).encode()) for row in range(40)]
        for begin in range(0, 40, 8):
            if begin == stop:
                raise Vec2SlugError("stop")

            def make(first, begin=begin):
                asked.extend(range(begin + first, begin + 8))
                return rows[begin + first : begin + 8]

            yield Rows(None, keys[begin : begin + 8], make)

    with pytest.raises(Vec2SlugError, match="stop"):
        slug_file.write_slugs(predictor, table(24), out, {})
    assert asked == list(range(24))
    kept = len(lines(tmp_path / "out.jsonl.part"))
    asked.clear()
    slug_file.write_slugs(predictor, table(None), out, {})
    assert asked == list(range(kept, 40))
    assert [line["slug"] for line in lines(out)] == predictor.predict(rows)


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
    unique = SlugPredictor.from_dir(release, settings=SlugSettings(unique=True))
    for other, asked, k in (
        (predictor, {"model": "y"}, 1),
        (predictor, {"model": "x"}, 2),
        (unique, {"model": "x"}, 1),
    ):
        with pytest.raises(Vec2SlugError, match=r"out\.jsonl\.part to be of these settings"):
            write_slugs(other, rows, out, asked, k)
    others = rows.copy()
    others[17] *= -1
    for changed, row in ((others, 17), (rows[:20], 20)):
        with pytest.raises(Vec2SlugError, match=f"same rows, but row {row} is another"):
            write_slugs(predictor, changed, out, {"model": "x"})
    assert len(lines(tmp_path / "out.jsonl.part")) == 30  # nothing of it is lost
    out.touch()
    with pytest.raises(Vec2SlugError, match="remove it first"):
        write_slugs(predictor, rows, out, {"model": "x"})


def test_bad_rows_are_skipped_and_listed_if_asked(release, rows, tmp_path):
    out, predictor = tmp_path / "out.jsonl", SlugPredictor.from_dir(release)
    rows[5], rows[30] = np.nan, 0
    assert write_slugs(predictor, rows, out, {}, skip_bad=True).skipped == 2
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
    monkeypatch.setattr(unique, "DIGITS", 1)
    rows[20] = rows[3]
    with pytest.raises(Vec2SlugError):
        write_slugs(SameSlug(stop=33), rows, tmp_path / "cut.jsonl", {})
    for name in ("cut", "whole"):
        write_slugs(SameSlug(), rows, tmp_path / f"{name}.jsonl", {})
    assert lines(tmp_path / "cut.jsonl") == lines(tmp_path / "whole.jsonl")
    named = [line["slug"] for line in lines(tmp_path / "whole.jsonl")]
    assert len(set(named)) == 40
    first = min(range(40), key=lambda row: (row_key(vector_key(rows[row])), row))
    assert named[first] == "same-slug"


class SameSlug:
    """A predictor that gives each row the same slug."""

    settings, choices = SlugSettings(unique=True), 1

    def __init__(self, stop=1000):
        self.stop = stop

    def stream(self, vectors, k, progress, first, skip_bad):
        for row, _ in enumerate(vectors, start=first):
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
