"""Rows on their way through a predictor: in order, as they come, and bad ones by themselves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.slugs import is_valid
from vec2slug_lib.inference.predictor import SlugPredictor


def vectors(n, width, seed=0):
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


def test_rows_stream_in_order_from_an_array_a_file_and_an_iterator(release, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "vec2slug_lib.inference.predictor.ROWS", 16
    )  # several pieces, several workers
    predictor, rows = SlugPredictor.from_dir(release), vectors(23, 24)
    alone = [predictor.predict(rows[i : i + 1])[0] for i in range(23)]
    np.save(tmp_path / "rows.npy", rows)
    done = []
    for given_rows in (rows, np.load(tmp_path / "rows.npy", mmap_mode="r"), iter(rows)):
        found = predictor.stream(given_rows, progress=done.append)
        assert [candidates[0].slug for candidates in found] == alone
        assert sum(done) == 23
        done.clear()
    assert list(predictor.stream(iter([]))) == []


def test_a_stream_takes_no_more_rows_than_it_needs(release, monkeypatch):
    monkeypatch.setattr("vec2slug_lib.inference.predictor.ROWS", 8)
    taken = []

    def endless():
        for i in range(10**9):
            taken.append(i)
            yield vectors(1, 24, i)[0]

    first = next(SlugPredictor.from_dir(release).stream(endless()))
    assert is_valid(first[0].slug)
    assert len(taken) < 50


def test_a_bad_row_of_a_stream_is_named_and_what_came_before_is_kept(release, monkeypatch):
    monkeypatch.setattr("vec2slug_lib.inference.predictor.ROWS", 16)
    rows = vectors(9, 24)
    rows[6] = np.nan
    found = []
    with pytest.raises(Vec2SlugError, match="row 6 is not finite"):
        found.extend(SlugPredictor.from_dir(release).stream(iter(rows)))
    assert len(found) == 6
    with pytest.raises(Vec2SlugError, match=r"row 1 has the shape \[5\]"):
        list(SlugPredictor.from_dir(release).stream(iter([rows[0], rows[1, :5]])))
    with pytest.raises(Vec2SlugError, match="k of 1 or more"):
        next(SlugPredictor.from_dir(release).stream(rows, 0))


def test_an_error_of_the_rows_themselves_waits_for_its_turn(release, monkeypatch):
    monkeypatch.setattr("vec2slug_lib.inference.predictor.ROWS", 16)

    def broken():
        yield from vectors(7, 24)
        raise OSError("disk")

    found = []
    with pytest.raises(OSError, match="disk"):
        found.extend(SlugPredictor.from_dir(release).stream(broken()))
    assert len(found) == 7


@given(st.sets(st.integers(0, 8)), st.booleans())
def test_bad_rows_cost_themselves_alone(release, bad, listed):
    predictor, rows = SlugPredictor.from_dir(release), vectors(9, 24)
    expected = predictor.predict(rows)
    rows[list(bad)] = 0
    given_rows = [row[: 3 if i in bad else None] for i, row in enumerate(rows)] if listed else rows
    found = list(predictor.stream(given_rows, skip_bad=True))
    assert [c[0].slug if c else None for c in found] == [
        None if row in bad else slug for row, slug in enumerate(expected)
    ]
