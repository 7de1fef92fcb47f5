"""Texts and pages beside plain rows: what has a text is named by it too, each row by itself."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from given_vectors import Fake, vectors
from tiny_text_model import tiny_text_model

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.files import write_json
from vec2slug_lib.common.slugs import is_valid
from vec2slug_lib.inference.predictor import SlugPredictor
from vec2slug_lib.inference.release_folder import ReleaseConfig
from vec2slug_lib.inference.rows import Page, reason_of
from vec2slug_lib.inference.settings import SlugSettings
from vec2slug_lib.inference.text_model import TEXT_MODEL

TEXTS = [
    "The hive of the Honey Bee",
    "Amelia Earhart over the Atlantic",
    "ants in a hill",
    "  ",
    "Ночь. Улица.",
]
headed = pytest.mark.parametrize("run", ["headed"], indirect=True)


@pytest.fixture
def with_text_model(release, tmp_path):
    """A release with a model of words in texts."""
    folder = shutil.copytree(release, tmp_path / "release")
    size = len(ReleaseConfig.load(folder / "model.json").token_strings)
    write_json(folder / TEXT_MODEL, tiny_text_model(size).to_json())
    return folder


def asked(folder, **options):
    """A predictor whose embedder gives each of the texts its vector."""
    known = dict(zip(TEXTS, vectors(len(TEXTS), 24), strict=True))

    def embed(texts):
        rows = np.array([known.get(text, np.ones(24)) for text in texts], np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    return SlugPredictor.from_dir(folder, embedder=Fake(embed), **options)


@headed
@pytest.mark.filterwarnings("ignore:expected English text")
def test_texts_are_named_by_their_words_where_the_release_knows_of_them(release, with_text_model):
    predictor, rows = asked(with_text_model), vectors(len(TEXTS), 24)
    done = []
    found = predictor.predict_texts(TEXTS, done.append)
    assert sum(done) == len(TEXTS)
    assert {"honey", "bee"} <= set(found[0].split("-"))
    assert {"amelia", "earhart"} <= set(found[1].split("-"))
    assert all(is_valid(slug) for slug in found)
    assert [predictor.predict_texts([text])[0] for text in TEXTS] == found
    alone = asked(release).predict_texts(TEXTS)
    assert found[3:] == alone[3:]  # texts without a word
    assert not set(found[:3]) & set(alone)
    assert predictor.predict(rows) == asked(release).predict(rows) == alone
    predictor.text_model = None
    assert predictor.predict_texts(TEXTS) == alone


@headed
@pytest.mark.filterwarnings("ignore:expected English text")
def test_settings_hold_for_texts_too(with_text_model):
    predictor = asked(with_text_model, settings=SlugSettings(min_words=2, max_words=3))
    for slug in predictor.predict_texts(TEXTS):
        assert 2 <= len(slug.split("-")) <= 3
    twice = asked(with_text_model, settings=SlugSettings(unique=True))
    assert len(set(twice.predict_texts([TEXTS[0], TEXTS[0] + "!", TEXTS[1]]))) == 3
    taken = asked(with_text_model).predict_texts(TEXTS[:1])
    other = asked(with_text_model, settings=SlugSettings(taken=frozenset(taken)))
    assert other.predict_texts(TEXTS[:1]) != taken


@headed
@pytest.mark.parametrize("paged", [[0], [1, 2], [0, 3, 4], [0, 1, 2, 3, 4]])
def test_pages_and_plain_rows_go_side_by_side(with_text_model, paged):
    predictor, rows = SlugPredictor.from_dir(with_text_model), vectors(5, 24)
    given_rows = [
        Page(row, text) if i in paged else row
        for i, (row, text) in enumerate(zip(rows, TEXTS, strict=True))
    ]
    alone = [next(predictor.stream([row], 3)) for row in given_rows]
    for together in (given_rows, iter(given_rows)):
        for found, expected in zip(predictor.stream(together, 3), alone, strict=True):
            assert [c.slug for c in found] == [c.slug for c in expected]
            assert [c.score for c in found] == pytest.approx([c.score for c in expected])
    texts = [i for i, row in enumerate(rows) if alone[i] != next(predictor.stream([row], 3))]
    assert texts == [i for i in paged if i < 3]  # the others have no word


@headed
def test_a_bad_page_costs_itself_alone(with_text_model):
    predictor, rows = SlugPredictor.from_dir(with_text_model), vectors(4, 24)
    good = [Page(row, text) for row, text in zip(rows, TEXTS, strict=False)]
    expected = list(predictor.stream(good))
    bad = [good[0], Page(np.zeros(24), "of zeros"), Page(rows[0, :5], "short"), *good[1:]]
    found = list(predictor.stream(bad, skip_bad=True))
    assert [found[0], *found[3:]] == expected
    assert [reason_of(row) for row in found[1:3]] == ["is zero", "has the shape [5]"]
    with pytest.raises(Vec2SlugError, match="row 1 is zero"):
        list(predictor.stream(bad))
    listed = [Page(row.tolist(), text) for row, text in good]
    assert [row[0].slug for row in predictor.stream(listed)] == [c[0].slug for c in expected]


@headed
def test_a_model_of_words_of_another_vocabulary_is_refused(with_text_model):
    write_json(with_text_model / TEXT_MODEL, tiny_text_model(7).to_json())
    with pytest.raises(Vec2SlugError, match="expected a model of words in texts of this model"):
        SlugPredictor.from_dir(with_text_model)


@headed
def test_a_few_texts_are_shared_out(with_text_model, monkeypatch):
    predictor, sizes = asked(with_text_model), []
    predictor.workers = 2
    search = predictor._search
    monkeypatch.setattr(
        predictor, "_search", lambda rows, **given: sizes.append(len(rows)) or search(rows, **given)
    )
    predictor.predict_texts(TEXTS[:4])
    assert sizes == [2, 2]
