"""The wide set by hand: which pages may be learnt from, and which may not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_embedder import Directions
from hypothesis import given
from hypothesis import strategies as st

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.workspace import Workspace, use
from vec2slug_lib.data import wide
from vec2slug_lib.data.dataset import Dataset
from vec2slug_lib.data.filters import SCHEMA
from vec2slug_lib.data.split import LEFT_OUT
from vec2slug_lib.embedding.job import embed_documents

# Three topics, each in a direction of its own: of training, validation and test.
PAGES = Dataset(
    pd.DataFrame(
        {
            "id": ["a", "b", "c", "d"],
            "source": "s",
            "url": "",
            "slug": ["first-known-page", "second-known-page", "of-validation-here", "of-test-here"],
            "token_count": 60,
            "split": ["train", "train", "val", "test"],
            "cluster": [0, 0, 1, 2],
        }
    ),
    np.eye(4, dtype=np.float32)[[0, 0, 1, 2]],
)


@pytest.fixture
def folder(tmp_path):
    with use(Workspace(work=tmp_path)):
        yield tmp_path / "wide"


def fill(folder: Path, rows: list[tuple[str, ...]]) -> None:
    """Write a wide corpus: id, last part of the address, slug, text, source of each page."""
    folder.mkdir(parents=True, exist_ok=True)
    names = ["id", "url", "slug", "text", "source"]
    frame = pd.DataFrame(rows, columns=names).assign(title="", license="", token_count=60)
    frame["url"] = "https://e.org/" + frame["url"]
    frame[SCHEMA.names].to_parquet(folder / "documents.parquet")
    ids, texts = frame["id"].tolist(), frame["text"].tolist()
    embed_documents(ids, texts, Directions(4), folder / "vectors.npy")


def test_only_pages_of_training_topics_and_known_sources_are_learnt_from(folder):
    left_out = LEFT_OUT["test"][0]
    rows = [
        ("a", "first-known-page", "first-known-page", "0 is in the data set", "s"),
        ("e", "new-page-here", "new-page-here", "0 is new", "t"),
        ("f", "near-validation-page", "near-validation-page", "1 lies in another topic", "t"),
        ("g", "near-test-page", "near-test-page", "2 too", "t"),
        ("h", "of-unseen-source", "of-unseen-source", "0 but left out", left_out),
        ("i", "12345", "a-title", "0 has a title alone", "t"),
    ]
    fill(folder, rows)
    more = wide.wide_pages(PAGES, titles=False)
    assert more.pairs[["id", "slug", "split"]].to_numpy().tolist() == [
        ["e", "new-page-here", "train"]
    ]
    assert wide.wide_pages(PAGES, titles=True).pairs["id"].tolist() == ["i"]
    whole = wide.widen(PAGES)
    assert whole.pairs["id"].tolist() == ["a", "b", "c", "d", "e"]
    assert whole.pairs["split"].tolist() == ["train", "train", "val", "test", "train"]
    np.testing.assert_array_equal(whole.vectors[-1], [1, 0, 0, 0])


def test_patterns_of_a_source_are_thinned():
    slugs = "install-tool-one install-a-tool-2 install-tool-three other-one install-tool-one"
    pages = pd.DataFrame({"source": [*"ssss", "t"], "slug": slugs.split()})
    assert wide.few_alike(pages, 2).tolist() == [True, True, False, True, True]
    assert wide.beginning("how-to-install-2-tools-in-linux") == "install-tools"


@given(st.lists(st.sampled_from("abc"), max_size=30), st.integers(1, 5))
def test_of_each_source_as_many_as_the_cap_allows(sources, cap):
    pages = pd.DataFrame({"source": sources}, dtype=object)
    chosen = pages["source"][wide.within_cap(pages, cap)].value_counts()
    wanted = pages["source"].value_counts().clip(upper=cap)
    assert chosen.to_dict() == wanted.to_dict()


def test_a_missing_corpus_and_vectors_of_another_are_told(folder):
    with pytest.raises(Vec2SlugError, match=r"found no documents\.parquet: vec2slug train"):
        wide.widen(PAGES)
    fill(folder, [("e", "new-page-here", "new-page-here", "0 is new", "t")])
    frame = pd.read_parquet(folder / "documents.parquet")
    frame.assign(text="0 is another").to_parquet(folder / "documents.parquet")
    with pytest.raises(Vec2SlugError, match="embed these documents again"):
        wide.widen(PAGES)
