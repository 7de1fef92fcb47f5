"""The record of the words, made from 200 pairs of the data set with a vocabulary of 60 clusters."""

from dataclasses import replace
from time import sleep

import numpy as np
import pandas as pd
import pytest
from chapters import ch02_methods
from chapters.ch02_methods import word_map, word_methods

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.slugs import words
from vec2slug_lib.data import dataset
from vec2slug_lib.evaluation.metrics import token_overlap
from vec2slug_lib.experiments.table import PRESETS
from vec2slug_lib.experiments.task import make_task
from vec2slug_lib.experiments.word_clusters import map_slug, nearest, word_clusters, word_space
from vec2slug_lib.model.tokenizer import token_strings


def write_data(folder, limit):
    """A small data set on disk, as the library reads it."""
    data = dataset.load(limit=limit)
    folder.mkdir()
    data.pairs.to_parquet(folder / "pairs.parquet")
    dataset.save_vectors(folder / "embeddings.minilm.npz", data.vectors, data.pairs["id"])
    return folder


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    """Folder of the record; preset smoke reads a small data set while this file is tested."""
    root = tmp_path_factory.mktemp("words")
    data = write_data(root / "data", 200)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VEC2SLUG_DATA", str(data))
        patch.setenv("VEC2SLUG_RUNS", str(root / "runs"))
        patch.setitem(PRESETS, "smoke", replace(PRESETS["smoke"], vocab_size=60))
        yield root / "runs" / "words" / "smoke"


@pytest.fixture
def no_work(monkeypatch):
    """Make any embedding fail: what is read needs none."""

    def refuse(texts):
        raise AssertionError("embedded again")

    monkeypatch.setattr("vec2slug_lib.experiments.word_clusters._embed", refuse)


@pytest.fixture(scope="module")
def methods(folder):
    return word_methods("smoke")


def test_every_word_of_the_data_has_a_representative():
    slugs = dataset.load().pairs["slug"]
    mapping = word_clusters("smoke").mapping
    assert set(mapping) == {word for slug in slugs for word in words(slug)}
    assert len(set(mapping.values())) <= 60
    assert all(mapping[word] == word for word in mapping.values())


def test_the_representative_is_the_most_frequent_training_word_of_its_cluster():
    frame = word_clusters("smoke").words
    slugs = dataset.load().part("train").pairs["slug"]
    counts = pd.Series([word for slug in slugs for word in words(slug)]).value_counts()
    assert frame["count"].tolist() == counts.reindex(frame["word"]).fillna(0).tolist()
    of = dict(zip(frame["word"], frame["count"], strict=True))
    for _, part in frame.groupby("cluster"):
        assert part["representative"].nunique() == 1
        assert of[part["representative"].iloc[0]] == part["count"].max() > 0
    assert (frame["count"] == 0).any(), "words that training lacks are mapped too"


def test_a_word_that_training_lacks_joins_the_nearest_centroid():
    space, frame = word_space("smoke"), word_clusters("smoke").words
    seen = (frame["count"] > 0).to_numpy()
    groups = frame[seen].groupby("cluster").indices
    centres = np.stack([space.vectors[rows].mean(axis=0) for _, rows in sorted(groups.items())])
    assert frame["cluster"][~seen].tolist() == nearest(space.vectors[~seen], centres).tolist()


def test_clusters_around_the_most_frequent_words(folder):
    frame = word_clusters("smoke", method="frequent").words
    frequent = set(frame["word"][:60])
    assert set(frame["representative"]) == frequent
    assert (frame["word"] == frame["representative"])[:60].all()
    assert (folder / "frequent.parquet").is_file()
    task = make_task("3b+vocabulary=frequent", "smoke")
    assert task.mapping == dict(zip(frame["word"], frame["representative"], strict=True))
    assert set(token_strings(task.tokenizer)) >= frequent
    with pytest.raises(Vec2SlugError, match="method to be one of kmeans, frequent, got 'louvain'"):
        word_clusters("smoke", method="louvain")


def test_parts_are_read_the_second_time(methods, no_work):
    assert word_clusters("smoke").words.equals(word_clusters("smoke").words)
    assert word_methods("smoke")["vocabulary"].tolist() == methods["vocabulary"].tolist()


def test_remaking_gives_the_same(folder, methods):
    word_clusters("smoke")
    before = (folder / "words.parquet").read_bytes()
    word_clusters("smoke", remake=True)
    again = word_methods("smoke", remake=True)
    assert before == (folder / "words.parquet").read_bytes()
    measured = ["seconds", "peak_mib"]
    assert methods.drop(columns=measured).equals(again.drop(columns=measured))


def test_other_data_or_another_vocabulary_make_a_new_record(tmp_path, monkeypatch):
    monkeypatch.setenv("VEC2SLUG_RUNS", str(tmp_path))
    first = word_clusters("smoke")
    monkeypatch.setitem(PRESETS, "smoke", replace(PRESETS["smoke"], vocab_size=20))
    second = word_clusters("smoke")
    assert second.words["cluster"].nunique() <= 20 < first.words["cluster"].nunique()
    monkeypatch.setenv("VEC2SLUG_DATA", str(write_data(tmp_path / "data", 60)))
    assert len(word_clusters("smoke").words) < len(first.words)


def test_one_row_a_method_and_setting(methods):
    assert not methods.duplicated(["method", "setting"]).any()
    assert set(methods["method"]) == {
        "components", "Louvain", "HDBSCAN", "KMeans", "nearest frequent word",
    }  # fmt: skip
    words_clustered = (word_clusters("smoke").words["count"] > 0).sum()
    assert (methods["words"] == words_clustered).all()
    for row in methods.itertuples():
        size, times = np.array([(int(size), times) for size, times in row.sizes.items()]).T
        assert (size * times).sum() == row.words
        assert times.sum() == row.vocabulary == row.clusters + round(row.noise * row.words)
        assert row.largest == size.max() / row.words
    assert methods["edges"].notna().tolist() == methods["degree"].notna().tolist()


def test_more_edges_join_more_words(methods):
    graphs = methods[methods["method"] == "components"].sort_values("value")
    assert graphs["edges"].is_monotonic_decreasing
    assert graphs["largest"].is_monotonic_decreasing
    assert graphs["vocabulary"].is_monotonic_increasing
    assert np.allclose(graphs["degree"], 2 * graphs["edges"] / graphs["words"])


def test_the_row_of_the_vocabulary_judges_the_mapping_on_disk(methods):
    mapping, references = word_clusters("smoke").mapping, dataset.load().test_rows().pairs["slug"]
    row = methods[(methods["method"] == "KMeans") & (methods["value"] == 60)].iloc[0]
    guesses = ["-".join(mapping[word] for word in words(slug)) for slug in references]
    assert row["perfect_f1"] == token_overlap(guesses, list(references))[2].mean()
    every = [word for slug in references for word in words(slug)]
    assert row["changed"] == np.mean([mapping[word] != word for word in every])


def test_the_map_holds_the_most_frequent_words(folder):
    plane, frame = word_map("smoke"), word_clusters("smoke").words
    assert plane["word"].tolist() == frame["word"][:30].tolist()
    assert np.isfinite(plane[["x", "y"]]).all(axis=None)


def test_map_slug_replaces_word_by_word():
    mapping = {"buddhism": "buddhist", "in": "in", "burma": "myanmar"}
    assert map_slug("buddhism-in-burma", mapping) == "buddhist-in-myanmar"


def test_judge_worked_by_hand():
    # b stands for a, d for itself. First slug: a-a-d against {a, b, d}; second: untouched.
    mapping = {"a": "a", "b": "a", "d": "d", "e": "e"}
    found = ch02_methods.judge(["a-b-d", "a-d-e"], mapping)
    assert found["changed"] == 1 / 6
    assert found["perfect_f1"] == pytest.approx((4 / 5 + 1) / 2)
    assert found["best_f1"] == pytest.approx((4 / 6 + 1) / 2)


def test_measured_sees_seconds_and_memory_that_was_given_back():
    def work():
        sleep(0.05)
        return float(np.ones(8 << 20).sum())  # 64 MiB

    result, cost = ch02_methods.measured(work)
    assert result == 8 << 20
    assert cost.seconds >= 0.05
    assert cost.peak_mib is None or 60 < cost.peak_mib < 100


def test_an_unknown_preset_is_refused():
    with pytest.raises(Vec2SlugError, match="expected preset to be one of"):
        word_clusters("tiny")
