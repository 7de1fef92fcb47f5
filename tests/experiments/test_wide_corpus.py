"""The wide corpus from raw documents to vectors, and what is not done twice."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from prose import PROSE

from vec2slug_lib.cli import runs
from vec2slug_lib.common.workspace import Workspace, use
from vec2slug_lib.data.wide import wide_folder
from vec2slug_lib.embedding import job
from vec2slug_lib.embedding.registry import open_embedder
from vec2slug_lib.experiments.wide_corpus import make_wide_corpus

PAGES = [
    ("a", "https://e.org/keeper-of-bright-lamps", "Lamp"),
    ("b", "https://e.org/123", "Ships Lost in Fog"),
    ("c", "https://e.org/456", "Fog"),
]


@pytest.fixture
def source(tmp_path):
    lines = [
        {"id": key, "url": url, "title": title, "text": f"{PROSE} It was number {key}."}
        for key, url, title in PAGES
    ]
    (tmp_path / "pages.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with use(Workspace(work=tmp_path / "work")):
        yield str(tmp_path / "pages.jsonl")


def test_documents_with_a_slug_or_a_title_get_vectors(source, monkeypatch):
    make_wide_corpus(source)
    documents = pd.read_parquet(wide_folder() / "documents.parquet")
    assert documents["slug"].tolist() == ["keeper-of-bright-lamps", "ships-lost-in-fog"]
    vectors = np.load(wide_folder() / "vectors.npy")
    exact = open_embedder(exact=True).embed(documents["text"].tolist())
    assert (vectors * exact).sum(axis=1).min() > 0.999
    monkeypatch.setattr(job, "_embed_parts", None)
    make_wide_corpus(source)  # nothing is embedded again


def test_one_command_makes_it_before_it_trains(source, monkeypatch):
    asked: list[object] = []
    wide = "vec2slug_lib.experiments.wide_corpus.make_wide_corpus"
    monkeypatch.setattr(wide, lambda *given: asked.append(given))
    monkeypatch.setattr("vec2slug_lib.experiments.run.record", lambda *given: asked.append(given))
    with pytest.raises(AttributeError):  # there is no record to print
        runs.train(["4a", "--preset", "smoke", "--corpus", source])
    assert asked == [(source, 1), ("4a", "smoke", False)]
