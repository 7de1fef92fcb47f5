"""Pages of sources that are left out: which they are, and that nobody learns from them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from fake_embedder import Directions

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.workspace import Workspace, use
from vec2slug_lib.data import dataset, left_out
from vec2slug_lib.data.left_out import build_left_out, load_left_out
from vec2slug_lib.data.split import LEFT_OUT

PAGES = dataset.Dataset(
    pd.DataFrame({"cluster": [4, 4, 7], "split": ["train", "train", "test"]}),
    np.eye(4, dtype=np.float32)[[0, 0, 1]],
)


@pytest.fixture
def documents(tmp_path):
    sources = [LEFT_OUT["val"][0], LEFT_OUT["test"][0], "wikipedia", LEFT_OUT["test"][1]]
    frame = pd.DataFrame({"source": sources, "text": ["0 a", "1 b", "0 c", "0 d"]})
    frame["id"] = list("abcd")
    frame = frame.assign(url="https://e.org/one-two-three", slug="one-two-three", token_count=60)
    titled = frame.iloc[[1]].assign(id="e", url="https://e.org/12345")  # its label is its title
    pd.concat([frame, titled]).to_parquet(tmp_path / "d.parquet")
    with use(Workspace(data=tmp_path / "data")):
        yield tmp_path / "d.parquet"


def test_sources_left_out_are_dealt_to_their_halves(documents):
    build_left_out(documents, PAGES, Directions(4))
    val, test = (load_left_out(part) for part in ("val", "test"))
    assert val.pairs["id"].tolist() == ["a"]
    assert test.pairs["id"].tolist() == ["b", "d"]
    assert test.pairs["cluster"].tolist() == [7, 4], "the nearest topic of the data set"
    np.testing.assert_allclose(test.vectors, np.eye(4)[[1, 0]], atol=1e-6)


def test_either_half_has_its_most(documents, monkeypatch):
    monkeypatch.setattr(left_out, "MOST", 1)
    assert build_left_out(documents, PAGES, Directions(4)).pairs["id"].tolist() == ["a", "b"]


def test_a_corpus_without_such_sources_is_refused(documents):
    pd.read_parquet(documents).head(1).to_parquet(documents)
    with pytest.raises(Vec2SlugError, match="expected pages of pandasthumb, "):
        build_left_out(documents, PAGES, Directions(4))


def test_the_data_set_has_no_page_of_them():
    known = set(dataset.load().pairs["source"])
    assert not known & {source for sources in LEFT_OUT.values() for source in sources}
    assert len(LEFT_OUT["val"]) == len(LEFT_OUT["test"]) == 5
