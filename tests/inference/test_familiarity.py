"""Codes are refused, and vectors of another embedder are warned of: once, and of no other."""

import json
import shutil
import warnings

import numpy as np
import pytest

from vec2slug_lib.cli.main import main
from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.data import dataset
from vec2slug_lib.inference.familiarity import (
    INSPECTED,
    TRAINING_VECTORS,
    Inspector,
    TrainingVectors,
    codes_in,
)
from vec2slug_lib.inference.predictor import SlugPredictor
from vec2slug_lib.inference.release_folder import DEFAULT_MODEL
from vec2slug_lib.release.training_vectors import write_training_vectors

WIDTH = 24
RNG = np.random.default_rng(0)
SHAPE = RNG.normal(size=(WIDTH, WIDTH)) * np.geomspace(1, 0.01, WIDTH)
ROTATION = np.linalg.qr(RNG.normal(size=(WIDTH, WIDTH)))[0]


def own(rows, seed=1):
    """Unit vectors of an embedder of our own."""
    values = np.random.default_rng(seed).normal(size=(rows, WIDTH)) @ SHAPE.T + 0.3 * SHAPE[:, 0]
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


OTHERS = {
    "rotated": lambda rows: own(rows) @ ROTATION,
    "permuted": lambda rows: own(rows)[:, ::-1],
    "noise": lambda rows: np.random.default_rng(2).normal(size=(rows, WIDTH)),
    "positive": lambda rows: np.random.default_rng(2).random(size=(rows, WIDTH)),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    (folder / "manifest.train.json").write_text('{"sha256": {"model.json": "x"}}')
    write_training_vectors(folder, own(3000, seed=0), [f"site-{i % 40}" for i in range(3000)])
    return folder


@pytest.fixture(scope="module")
def training(folder):
    return TrainingVectors.load(folder)


def warned(inspector, rows):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rows = inspector.inspect(rows)
        if not isinstance(rows, np.ndarray):
            list(rows)
    return [str(warning.message) for warning in caught]


def test_training_vectors_are_at_1_and_others_far_away(training):
    assert training.distances(own(500)).mean() == pytest.approx(1, rel=0.1)
    assert (training.distances(own(500)) > training.limit).mean() < 0.01
    for name, rows in OTHERS.items():
        assert (training.distances(rows(500)) > training.limit).mean() > 0.9, name


@pytest.mark.parametrize("scale", [1e-3, 1, 1e4])
@pytest.mark.parametrize("rows", [1, 10, 5000])
def test_own_vectors_of_any_length_are_not_warned_of(training, rows, scale):
    assert warned(Inspector(training, "ours"), own(rows) * scale) == []
    assert warned(Inspector(training, "ours"), iter(own(min(rows, 50)) * scale)) == []


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("rows", [10, 5000])
def test_another_embedders_are_warned_of_once(training, name, rows):
    inspector = Inspector(training, "ours")
    (message,) = warned(inspector, OTHERS[name](rows))
    assert "expected vectors of ours, got what looks like another embedder's" in message
    assert f"(median of {min(rows, INSPECTED)} rows)" in message
    assert warned(inspector, OTHERS[name](rows)) == []
    assert len(warned(Inspector(training, "ours"), iter(OTHERS[name](10)))) == 1


def test_half_of_them_are_enough(training):
    rows = np.concatenate([own(500), OTHERS["rotated"](500)])
    assert len(warned(Inspector(training, "ours"), rows)) == 1


def test_single_rows_are_judged_together(training):
    inspector = Inspector(training, "ours")
    strange = OTHERS["rotated"](1)
    for row in own(20):
        assert warned(inspector, row[None]) == []
    assert warned(inspector, strange) == []


def test_rows_that_are_refused_elsewhere_are_no_matter(training):
    inspector = Inspector(training, "ours")
    broken = (np.zeros((2, WIDTH)), np.full((2, WIDTH), np.nan), np.ones((2, 7)), np.zeros((0, 3)))
    for rows in (*broken, np.array(3.0), np.array([["a"]])):
        assert warned(inspector, rows) == []
    assert inspector.inspect(3) == 3


def test_without_training_vectors_nothing_is_said(training):
    assert warned(Inspector(None, ""), OTHERS["noise"](10)) == []
    assert TrainingVectors.load(DEFAULT_MODEL.parent) is None


@pytest.mark.parametrize("content", [b"", b"not an archive", None])
def test_damaged_training_vectors(folder, tmp_path, content):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    content = content if content is not None else (copy / TRAINING_VECTORS).read_bytes()[:-9]
    (copy / TRAINING_VECTORS).write_bytes(content)
    with pytest.raises(Vec2SlugError, match="SHA-256"):
        TrainingVectors.load(copy)
    (copy / "manifest.train.json").unlink()
    with pytest.raises(Vec2SlugError, match="expected training vectors in"):
        TrainingVectors.load(copy)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.bool_, np.int32, np.float32])
@pytest.mark.parametrize("listed", [False, True])
def test_codes_are_refused_by_the_predictor(release, kind, listed):
    codes = np.clip(own(3) * 200 + 100, 0, 127).astype(np.uint8).astype(kind)
    predictor = SlugPredictor.from_dir(release)
    with pytest.raises(Vec2SlugError, match=r"expected vectors of numbers .*codes of a quantised"):
        list(predictor.stream(iter(codes) if listed else codes))


def test_few_integers_are_no_codes():
    for rows in (np.eye(WIDTH), np.ones((3, WIDTH)), np.zeros((3, WIDTH)), own(3) * 1000):
        assert not codes_in(rows)
    assert not codes_in((own(3) * 1000).astype(np.int16))


@pytest.fixture(scope="module")
def minilm():
    return TrainingVectors.load(DEFAULT_MODEL)


def test_the_release_knows_its_vectors(minilm):
    rows = dataset.load(limit=4000)
    distances = minilm.distances(rows.part("test").vectors)
    assert len(distances) > 200
    assert np.median(distances) < 1.5
    assert distances.max() < minilm.limit
    shuffled = rows.vectors[:500, RNG.permutation(384)]
    assert (minilm.distances(shuffled) > minilm.limit).mean() > 0.98
    assert (minilm.distances(RNG.normal(size=(500, 384))) > minilm.limit).mean() > 0.98


def test_its_manifest_has_its_hash_and_it_is_small():
    manifest = json.loads((DEFAULT_MODEL / "manifest.train.json").read_text())
    assert TRAINING_VECTORS in manifest["sha256"]
    assert (DEFAULT_MODEL / TRAINING_VECTORS).stat().st_size < 150_000


def test_the_command_warns_in_one_line_and_goes_on(capsys, tmp_path):
    np.save(tmp_path / "v.npy", RNG.normal(size=(2, 384)))
    assert main(["--vectors", str(tmp_path / "v.npy"), "--fast"]) == 0
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 2
    assert captured.err.count("\n") == 1
    assert captured.err.startswith(f"vec2slug: {tmp_path / 'v.npy'}: expected vectors of minilm")
