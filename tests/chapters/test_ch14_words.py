"""The words nearest to vectors: found in a small data set, and told for either outcome."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from chapters import ch14_words
from chapters.ch14_words import nearest_record

from vec2slug_lib.common.slugs import words
from vec2slug_lib.data import dataset
from vec2slug_lib.data.examples import load_examples


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    """Folder of the record of preset smoke."""
    root = tmp_path_factory.mktemp("nearest")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VEC2SLUG_RUNS", str(root))
        yield root / "words" / "smoke"


@pytest.fixture(scope="module")
def record():
    return nearest_record("smoke")


def test_nearest_words_are_words_of_training_slugs(record):
    data = dataset.load(limit=600)
    known = {word for slug in data.part("train").slugs for word in words(slug)}
    assert record["words"] == len(known)
    assert len(record["pages"]) == len(data.test_rows().pairs)
    assert set(record["pages"]) <= known
    for article in load_examples():
        closest = record["articles"][article.name]
        assert {word for word, *_ in closest["trained"]} <= known
        own = [cosine for _, cosine, _ in closest["own"]]
        assert own == sorted(own, reverse=True)
        assert own[0] >= closest["trained"][0][1]
        for word, _, count in closest["own"]:
            assert count > 0 if word in known else word in article.text.lower()
    ranks = [record["asked"][word]["rank"] for word in ch14_words.ASKED]
    cosines = [record["asked"][word]["cosine"] for word in ch14_words.ASKED]
    assert np.argsort(ranks).tolist() == np.argsort(np.negative(cosines)).tolist()


def test_the_record_is_read_the_second_time(record, folder, monkeypatch):
    before = (folder / "nearest.json").read_bytes()

    def refuse(*_):
        raise AssertionError("made again")

    monkeypatch.setattr(ch14_words, "find_nearest", refuse)
    assert nearest_record("smoke") == record
    with pytest.raises(AssertionError, match="made again"):
        nearest_record("smoke", remake=True)
    assert before == (folder / "nearest.json").read_bytes()


def told(first, counts=None):
    """A record in which one word is nearest to every article."""
    cells = [[first, 0.5, 3], ["other", 0.4, 1]]
    asked = {word: {"cosine": 0.3, "count": 2, "rank": 1} for word in ch14_words.ASKED}
    articles = {one.name: {"trained": cells, "own": cells} for one in load_examples()}
    return {"words": 10, "articles": articles, "asked": {**asked, "between": 0.7}}


def test_names_are_told_for_each_outcome():
    record = told("nginx")
    written = dict.fromkeys(record["articles"], "a-b-c")
    says = ch14_words.names_say(record, written)
    assert says.startswith("For 1 of the 12 articles")
    assert says.endswith("it is the decoder that misses.")
    written["nginx"] = "nginx-as-proxy"
    assert ch14_words.names_say(record, written).endswith("the decoder writes.")
    frame = ch14_words.release_table(record, written)
    row = frame.loc["configure-nginx-as-reverse-proxy"]
    assert row["nearest, own words too"] == "nginx (0.50; 3), other (0.40; 1)"
    assert row["of these it writes"] == "nginx"
    assert (frame["of these it writes"] == "–").sum() == len(frame) - 1
    assert ch14_words.nearest_table(record)["nearest words"].unique().tolist() == ["nginx, other"]


def test_a_record_without_such_names_says_so():
    record = told("nothing")
    says = ch14_words.names_say(record, dict.fromkeys(record["articles"], "a-b-c"))
    assert says.startswith("For 0 of the 12 articles")
    assert says.endswith("the vectors do not name the things.")


def test_asm_and_wasm_are_told_for_each_outcome():
    record = told("x")
    says = ch14_words.asked_says(record, "webassembly-in-browsers")
    assert says.endswith("So the vector has the name in full, and prefers the wrong one of the "
                         "short forms; the release writes the name.")  # fmt: skip
    record["asked"]["wasm"]["cosine"] = 0.4
    says = ch14_words.asked_says(record, "javascript-module")
    assert "tells the short forms apart, as it should" in says
    assert says.endswith("does not write the name is the decoder's doing.")
    record["asked"]["webassembly"]["rank"] = 2
    assert "has not the name in full" in ch14_words.asked_says(record, "javascript-module")


def test_hits_by_hand():
    predictions = pd.DataFrame(
        {
            "slug": ["a-x", "b-x", "c-x", "d-x"],
            "prediction": ["a-y", "y-z", "c-y", "d-y"],
            "topic": [0, 1, 2, 3],
        }
    )
    counts = pd.Series({"a": 1, "b": 1, "c": 20, "q": 3})
    frame = ch14_words.hits(["a", "b", "c", "q"], predictions, counts)
    assert frame["own"].tolist() == [True, True, True, False]
    assert frame["written"].tolist() == [True, False, True, False]
    assert ch14_words.share_written(frame)["value"] == pytest.approx(2 / 3)
    table = ch14_words.hit_table(frame)
    assert table["pages"].to_dict() == {"all": 4, "1": 2, "2 to 4": 1, "more than 16": 1}
    says = ch14_words.hits_say(frame)
    assert says.startswith("On 75% of the test pages")
    assert "on 50% (0% to 100%) where 4 training slugs or fewer have it" in says
    none = frame.assign(own=False)
    assert ch14_words.hit_table(none).iloc[0, -1] == "–"
