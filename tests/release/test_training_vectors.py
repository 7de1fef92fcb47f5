"""What a release says of its training vectors."""

import json

import numpy as np
import pytest

from vec2slug_lib.common.files import file_sha256
from vec2slug_lib.inference.familiarity import TRAINING_VECTORS, TrainingVectors
from vec2slug_lib.release import training_vectors
from vec2slug_lib.release.training_vectors import source_folds, write_training_vectors

ROWS = np.random.default_rng(0).normal(size=(800, 8)).astype(np.float32) * np.geomspace(1, 0.1, 8)
ROWS = (ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True)).astype(np.float32)
SOURCES = [f"site-{i % 20}" for i in range(800)]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "manifest.train.json").write_text('{"seed": 1, "sha256": {"model.json": "x"}}')
    return tmp_path


def test_the_file_is_in_the_manifest_and_the_same_each_time(folder):
    write_training_vectors(folder, ROWS, SOURCES)
    manifest = json.loads((folder / "manifest.train.json").read_text())
    digest = file_sha256(folder / TRAINING_VECTORS)
    assert manifest == {"seed": 1, "sha256": {"model.json": "x", TRAINING_VECTORS: digest}}
    write_training_vectors(folder, ROWS, SOURCES)
    assert file_sha256(folder / TRAINING_VECTORS) == digest


def test_rounded_directions_measure_as_the_covariance_does(folder):
    write_training_vectors(folder, ROWS, SOURCES)
    centred = ROWS.astype(np.float64) - ROWS.mean(axis=0)
    noise = training_vectors.ROUNDING * np.eye(8)
    inverse = np.linalg.inv(np.cov(centred.T, bias=True) + noise)
    expected = np.einsum("nd,de,ne->n", centred, inverse, centred) / 8
    np.testing.assert_allclose(TrainingVectors.load(folder).distances(ROWS), expected, rtol=0.05)


def test_of_wide_vectors_it_has_the_narrowest_directions(folder, monkeypatch):
    monkeypatch.setattr(training_vectors, "BYTES", 3 * 8 + 7)
    write_training_vectors(folder, ROWS, SOURCES)
    directions = TrainingVectors.load(folder).directions
    assert directions.shape == (3, 8)
    narrow = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    assert np.square(narrow[:, 5:]).sum(axis=1).min() > 0.9


def test_too_few_vectors_tell_nothing(folder):
    write_training_vectors(folder, ROWS[:79], SOURCES[:79])
    assert not (folder / TRAINING_VECTORS).exists()
    assert TRAINING_VECTORS not in (folder / "manifest.train.json").read_text()


@pytest.mark.parametrize("names", [["a"], ["a", "b"], list("abcdefghijklmnop")])
def test_a_source_is_in_one_fold(folder, names):
    sources = [names[i % len(names)] for i in range(800)]
    folds = source_folds(sources)
    assert len({(s, f) for s, f in zip(sources, folds.tolist(), strict=True)}) == len(names)
    assert len(set(folds.tolist())) == min(len(names), training_vectors.FOLDS)
    write_training_vectors(folder, ROWS, sources)
    assert (folder / TRAINING_VECTORS).exists() == (len(names) > 1)
