"""Sets of spans on disk, and the training that begins with them."""

import numpy as np
import pandas as pd
import pytest

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.workspace import current
from vec2slug_lib.data import dataset
from vec2slug_lib.data.spans import span_set, training_pages
from vec2slug_lib.experiments.run import make_objective, record
from vec2slug_lib.experiments.table import pretraining, training_config
from vec2slug_lib.experiments.task import make_task, model_config
from vec2slug_lib.model.weights import load_decoder


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("VEC2SLUG_WORK", str(tmp_path / "work"))
    monkeypatch.setenv("VEC2SLUG_RUNS", str(tmp_path / "runs"))


@pytest.fixture
def pages():
    return dataset.load(limit=600)


@pytest.fixture
def corpus(tmp_path, pages):
    """Documents of all pages: a text and a title that name the page's split."""
    texts = [f"This {row.split} page tells of {row.slug.replace('-', ' ')}."
             for row in pages.pairs.itertuples()]  # fmt: skip
    frame = pages.pairs[["id"]].assign(text=texts, title=pages.pairs["split"] + " page title")
    (tmp_path / "work" / "corpus").mkdir(parents=True)
    frame.to_parquet(tmp_path / "work" / "corpus" / "documents.parquet")


def test_spans_come_from_training_pages_alone(pages, corpus):
    found = training_pages(pages, "random", current().work / "corpus")
    assert len(found) == (pages.pairs["split"] == "train").sum()
    assert found["text"].str.startswith("This train page").all()
    spans = span_set(pages, "random,title", 60, current().work / "corpus")
    held = set(pages.pairs.loc[pages.pairs["split"] != "train", "slug"])
    assert not held & set(spans.pairs["slug"])
    assert not spans.pairs["text"].str.contains("val page|test page").any()


def test_a_set_is_made_once(pages, monkeypatch):
    first = span_set(pages, "slug", 100, current().work / "corpus")
    monkeypatch.setattr("vec2slug_lib.data.spans.mixture", None)
    monkeypatch.setattr("vec2slug_lib.data.spans.embed_documents", None)
    again = span_set(pages, "slug", 100, current().work / "corpus")
    pd.testing.assert_frame_equal(first.pairs, again.pairs)
    np.testing.assert_array_equal(first.vectors, again.vectors)
    assert first.vectors.shape == (100, 384)
    assert first.pairs["split"].value_counts().to_dict() == {"train": 98, "val": 2}


def test_even_a_small_set_has_a_span_to_judge_by(pages):
    assert span_set(pages, "slug", 20, current().work / "corpus").pairs[
        "split"
    ].value_counts().to_dict() == {
        "train": 19,
        "val": 1,
    }


def test_without_a_corpus_there_is_a_clear_error(pages):
    with pytest.raises(Vec2SlugError, match=r"expected the corpus in .*documents\.parquet"):
        span_set(pages, "random", 10, current().work / "corpus")


def test_training_starts_from_the_weights_of_its_pretraining():
    begun = record(pretraining("4b"), "smoke")
    assert begun.manifest["train_rows"] == 392
    task = make_task("4b", "smoke")
    config = model_config(task)
    settings = training_config(task.experiment, task.preset, 1)
    part = task.data.part("val")
    objective = make_objective(task, config, settings, part, part, "cpu")
    ours = load_decoder(config, begun.folder / "model.safetensors").state_dict()
    for name, value in objective.model.state_dict().items():
        np.testing.assert_array_equal(value, ours[name])
    run = record("4b", "smoke")
    assert run.manifest["train_rows"] == (task.data.pairs["split"] == "train").sum()
    assert run.metrics["validity"]["value"] == 1
