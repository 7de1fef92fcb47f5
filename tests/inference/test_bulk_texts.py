"""Slugs of parquet files by their vectors and texts."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_text_model import tiny_text_model

from vec2slug_lib.cli.main import main
from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.files import file_sha256, read_json, write_json
from vec2slug_lib.inference.bulk import SlugJob, write_slug_tables
from vec2slug_lib.inference.predictor import SlugPredictor
from vec2slug_lib.inference.rows import Page
from vec2slug_lib.inference.text_model import TEXT_MODEL

pytestmark = pytest.mark.parametrize("run", ["headed"], indirect=True)
ROWS = {"a.parquet": 3, "deep/b.parquet": 5, "deep/c.parquet": 7}
TEXTS = ["The hive of the Honey Bee", None, "", "Amelia Earhart flew", "Ночь"]


def vectors(rows, seed):
    return np.random.default_rng(seed).normal(size=(rows, 24)).astype(np.float32)


def write_lists(path, rows):
    """Write lists of any length, or None."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"embedding": pa.array(rows, pa.list_(pa.float32()))}), path)


@pytest.fixture
def source(tmp_path):
    """A folder of vectors."""
    for seed, (name, rows) in enumerate(ROWS.items()):
        write_lists(tmp_path / "vectors" / name, list(vectors(rows, seed)))
    return tmp_path / "vectors"


def made(source, out, release, **options):
    job = SlugJob.claim(source, out, release, **options)
    write_slug_tables(job, job.files())
    return out


def check_equal(folder, other):
    for name in ROWS:
        pd.testing.assert_frame_equal(*(pd.read_parquet(each / name) for each in (folder, other)))


@pytest.fixture
def knowing(release, tmp_path):
    """A release with a model of words in texts."""
    folder = shutil.copytree(release, tmp_path / "knowing")
    size = len(SlugPredictor.from_dir(release).vocabulary.strings)
    write_json(folder / TEXT_MODEL, tiny_text_model(size).to_json())
    return folder


def add_texts(path, texts, name="text"):
    table = pq.read_table(path)
    pq.write_table(table.append_column(name, pa.array(texts)), path)


def slugs(folder, name):
    return pd.read_parquet(folder / name)["slug"].tolist()


def test_texts_count_where_a_file_has_them(source, release, knowing, tmp_path):
    alone = made(source, tmp_path / "alone", release)
    add_texts(source / "deep/b.parquet", TEXTS)
    add_texts(source / "deep/c.parquet", range(7))  # of numbers: no texts
    out = made(source, tmp_path / "out", knowing)
    found, without = slugs(out, "deep/b.parquet"), slugs(alone, "deep/b.parquet")
    pages = map(Page, vectors(5, 1), [text or "" for text in TEXTS])
    predictor = SlugPredictor.from_dir(knowing)
    assert found == [row[0].slug for row in predictor.stream(list(pages))]
    assert {"honey", "bee"} <= set(found[0].split("-"))
    assert [found[row] == without[row] for row in range(5)] == [False, True, True, False, True]
    for name in ("a.parquet", "deep/c.parquet"):
        assert slugs(out, name) == slugs(alone, name)
    job = SlugJob.claim(source, out, knowing)
    assert job.with_texts(job.files()) == ["deep/b.parquet"]
    check_equal(made(source, tmp_path / "asked", knowing, vector_only=True), alone)
    check_equal(made(source, tmp_path / "plain", release), alone)  # which knows of no words


@pytest.mark.parametrize("kind", [pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_kinds_of_texts_and_batches_make_no_difference(
    source, knowing, tmp_path, kind, monkeypatch
):
    path = source / "deep/b.parquet"
    add_texts(path, TEXTS)
    out = made(path, tmp_path / "out", knowing)
    table = pq.read_table(path)
    table = table.set_column(table.column_names.index("text"), "body", table["text"].cast(kind))
    pq.write_table(table, path)
    monkeypatch.setattr("vec2slug_lib.inference.bulk.PAGES", 2)
    other = made(path, tmp_path / "other", knowing, text_column="body")
    assert slugs(other, path.name) == slugs(out, path.name)


def test_bad_bytes_in_a_text_and_bad_vectors_beside_texts(source, knowing, tmp_path):
    path, rows = source / "deep/b.parquet", [*vectors(5, 1)]
    rows[1], rows[2] = None, [1.0]
    write_lists(path, rows)
    coded = [b"The hive \xff of the Honey Bee", b"a", b"b", b"Amelia Earhart", None]
    texts = pa.array(coded, pa.binary())
    table = pq.read_table(path).append_column("text", texts.view(pa.string()))
    pq.write_table(table, path)
    out = made(path, tmp_path / "out", knowing, skip_bad=True)
    frame = pd.read_parquet(out / path.name)
    assert frame["reason"].dropna().to_dict() == {1: "has none", 2: "has 1 numbers"}
    assert {"honey", "bee"} <= set(frame["slug"][0].split("-"))
    with pytest.raises(Vec2SlugError, match="row 1 has none"):
        made(path, tmp_path / "other", knowing)


def test_a_job_by_texts_is_another_than_one_by_vectors(source, knowing, tmp_path):
    add_texts(source / "deep/b.parquet", TEXTS)
    out = made(source, tmp_path / "out", knowing)
    described = read_json(out / "slugs.json")
    assert described["text_column"] == "text"
    assert described["text_sha256"] == file_sha256(knowing / TEXT_MODEL)
    with pytest.raises(Vec2SlugError, match="text_column is None here and text there"):
        SlugJob.claim(source, out, knowing, vector_only=True)
    size = len(SlugPredictor.from_dir(knowing).vocabulary.strings)
    write_json(knowing / TEXT_MODEL, tiny_text_model(size, bonus=1.0).to_json())
    with pytest.raises(Vec2SlugError, match="text_sha256 is"):
        SlugJob.claim(source, out, knowing)
    alone = made(source, tmp_path / "alone", knowing, vector_only=True)
    assert not {"text_column", "text_sha256"} & read_json(alone / "slugs.json").keys()
    with pytest.raises(Vec2SlugError, match="text_column is text here and None there"):
        SlugJob.claim(source, alone, knowing)


def test_a_column_of_texts_that_is_asked_for_must_be_there(source, release, knowing, tmp_path):
    add_texts(source / "deep/b.parquet", range(5), "number")
    for column in ("body", "number"):
        with pytest.raises(Vec2SlugError, match=f"expected texts in a column {column} of"):
            SlugJob.claim(source, tmp_path / "out", knowing, text_column=column)
    add_texts(source / "deep/b.parquet", TEXTS)
    with pytest.raises(Vec2SlugError, match="and a model of words in texts in"):
        SlugJob.claim(source, tmp_path / "out", release, text_column="text")
    assert not (tmp_path / "out").exists()


def test_the_command_says_that_texts_count(source, knowing, tmp_path, capsys):
    add_texts(source / "deep/b.parquet", TEXTS, "body")
    common = ["generate", str(source), "--model", str(knowing)]
    assert main([*common, "--text-column", "body", "--out", str(tmp_path / "out")]) == 0
    assert "texts count beside the vectors in 1 of 3 files" in capsys.readouterr().err
    assert main([*common, "--vector-only", "--out", str(tmp_path / "alone")]) == 0
    assert "texts" not in capsys.readouterr().err
    found, without = (slugs(tmp_path / name, "deep/b.parquet") for name in ("out", "alone"))
    assert found != without
