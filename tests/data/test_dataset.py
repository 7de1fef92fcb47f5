import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.files import file_sha256, read_json, write_json
from vec2slug_lib.common.jobs import digest
from vec2slug_lib.common.slugs import UUID, is_identifier, rejection, sound_word, words
from vec2slug_lib.common.vectors import check_vectors
from vec2slug_lib.common.workspace import current
from vec2slug_lib.data import build, dataset, split


def test_cap_by_hand():
    # 10 + 3 + 1: a cap of 4 gives 4 + 3 + 1 = 8, a cap of 5 gives 9.
    counts = pd.Series([10, 3, 1])
    assert split.source_cap(counts, 8) == 4
    assert split.source_cap(counts, 9) == 5
    assert split.source_cap(counts, 100) == 10


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4)), min_size=1, max_size=80),
    st.integers(3, 90),
)
def test_selection_caps_sources_and_keeps_small_ones_whole(rows, total):
    pairs = pd.DataFrame(rows, columns=["source", "cluster"])
    chosen = split.select(pairs, total)
    counts, kept = pairs["source"].value_counts(), pairs.iloc[chosen]["source"].value_counts()
    cap = split.source_cap(counts, total)
    assert len(chosen) <= total
    assert sorted(set(chosen)) == chosen.tolist()
    for source, count in counts.items():
        assert kept.get(source, 0) == min(count, cap)


def test_a_cut_source_keeps_its_topics_in_proportion():
    pairs = pd.DataFrame({"source": "a", "cluster": [0] * 60 + [1] * 30 + [2] * 10})
    kept = pairs.iloc[split.select(pairs, 50)]["cluster"].value_counts()
    assert kept.to_dict() == {0: 30, 1: 15, 2: 5}


@given(st.lists(st.integers(0, 60), min_size=300, max_size=600))
def test_split_deals_whole_clusters(clusters):
    clusters = np.array(clusters, np.int32)
    dealt = split.split_clusters(clusters)
    for one in np.unique(clusters):
        assert len(set(dealt[clusters == one])) == 1
    largest = np.bincount(clusters).max() / len(clusters)
    for name, share in split.SPLITS.items():
        assert abs((dealt == name).mean() - share) <= largest


def test_clusters_follow_topics():
    rng = np.random.default_rng(0)
    topics = rng.normal(size=(3, 16))
    vectors = check_vectors(np.repeat(topics, 300, axis=0) + rng.normal(size=(900, 16)) * 0.01)
    found = split.cluster(vectors)
    owner = np.repeat([0, 1, 2], 300)
    assert all(len(set(owner[found == one])) == 1 for one in np.unique(found))


def test_leaks_by_hand():
    pairs = pd.DataFrame(
        {"split": ["train", "test", "test", "val"], "slug": ["a-b-c", "a-b-c", "d-e-f", "d-e-f"]}
    )
    vectors = np.array([[1, 0], [0.99, 0.141], [0, 1], [0, 1]], np.float32)
    # Of two test rows, one lies at cosine 0.99 of training, and one has training's slug.
    assert split.leak_report(pairs, vectors) == {"near_vectors": 0.5, "same_slug": 0.5}


@pytest.mark.parametrize("block", [1, 7, 100])
def test_leaks_as_counted_pair_by_pair(block, monkeypatch):
    monkeypatch.setattr(split, "LEAK_BLOCK", block)
    rng = np.random.default_rng(0)
    vectors = check_vectors(rng.normal(size=(90, 3)).astype(np.float32))
    pairs = pd.DataFrame({"split": rng.choice(["train", "test", "val"], 90), "slug": "a-b-c"})
    train, test = (vectors[(pairs["split"] == name).to_numpy()] for name in ("train", "test"))
    near = sum(any(float(one @ other) > 0.95 for other in train) for one in test)
    assert 0 < near < len(test)
    assert split.leak_report(pairs, vectors)["near_vectors"] == pytest.approx(near / len(test))


@pytest.fixture
def folder(tmp_path):
    """A data folder made by the real build from 400 documents of two sources."""
    rng = np.random.default_rng(0)
    letters = ["".join(rng.choice(list("abcdefgh"), 5)) for _ in range(400)]
    documents = pd.DataFrame(
        {
            "id": [f"d{i:03}" for i in range(400)],
            "url": [f"https://e.org/{i}" for i in range(400)],
            "slug": [f"page-about-{word}{i}x" for i, word in enumerate(letters)],
            "text": [f"SECRETTEXT about {word} and more {word}" for word in letters],
            "title": [f"Page about {word}" for word in letters],
            "source": ["big"] * 300 + ["small"] * 100,
            "license": "CC0",
            "token_count": 60,
        }
    )
    documents.to_parquet(tmp_path / "documents.parquet")
    steps = [{"name": "raw", "kept": 400, "dropped": {}}]
    hashed = file_sha256(tmp_path / "documents.parquet")
    write_json(tmp_path / "funnel.json", {"steps": steps, "parquet_sha256": hashed})
    vectors = check_vectors(rng.normal(size=(400, 24)))
    out = tmp_path / "data"
    build.build(tmp_path / "documents.parquet", vectors, tmp_path / "funnel.json", out, 300)
    return out


def test_build_writes_pairs_under_a_cap_without_text(folder):
    data = dataset.load(folder)
    assert data.pairs["source"].value_counts().to_dict() == {"big": 200, "small": 100}
    assert data.vectors.shape == (300, 24)
    for path in folder.iterdir():
        assert b"SECRETTEXT" not in path.read_bytes(), path
    card = read_json(folder / "card.json")
    assert sum(card["splits"].values()) == card["pairs"] == 300
    assert card["quantisation"]["least_cosine"] > 0.9995
    page = (folder / "README.md").read_text()
    assert "| small | CC0 | 100 |" in page
    assert "of 2 sources the largest has 200 pairs, 67% of\nall, and half have 150 or fewer" in page
    texts = pd.read_parquet(folder / "text_baselines.parquet")
    assert texts["id"].tolist() == data.part("test").pairs["id"].tolist()
    assert texts["title"].str.startswith("page-about-").all()


def test_build_again_gives_the_same_bytes(folder, tmp_path):
    vectors = check_vectors(np.random.default_rng(1).normal(size=(400, 24)))
    for name in ("one", "two"):
        build.build(
            tmp_path / "documents.parquet", vectors, tmp_path / "funnel.json", tmp_path / name, 300
        )
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_splits_and_samples(folder):
    data = dataset.load(folder)
    parts = [data.part(name) for name in split.SPLITS]
    assert sum(len(part.pairs) for part in parts) == 300
    assert not set(parts[0].pairs["cluster"]) & set(parts[2].pairs["cluster"])
    small = dataset.load(folder, limit=40)
    assert len(small.pairs) == 40
    for row, vector in zip(small.pairs["id"], small.vectors, strict=True):
        position = data.pairs["id"].tolist().index(row)
        np.testing.assert_array_equal(vector, data.vectors[position])


def test_what_a_caller_changes_stays_with_the_caller(folder):
    first = dataset.load(folder)
    expected = first.vectors.copy(), first.slugs
    first.vectors[:] = 0
    first.pairs["slug"] = "mine"
    second = dataset.load(folder)
    np.testing.assert_array_equal(second.vectors, expected[0])
    assert second.slugs == expected[1]


def test_a_folder_that_has_changed_is_read_anew(folder):
    first = dataset.load(folder)
    path = folder / "embeddings.minilm.npz"
    dataset.save_vectors(path, first.vectors[::-1], first.pairs["id"])
    np.testing.assert_allclose(dataset.load(folder).vectors, first.vectors[::-1], atol=0.01)


def test_thinning_takes_training_rows_alone_and_nests(folder):
    whole = dataset.load(folder)
    assert whole.subsample(1.0) is whole
    quarter, half = whole.subsample(0.25), whole.subsample(0.5)
    ids = [set(part.part("train").pairs["id"]) for part in (quarter, half, whole)]
    assert ids[0] < ids[1] < ids[2]
    assert len(ids[0]) / len(ids[2]) == pytest.approx(0.25, abs=0.1)
    for name in ("val", "test"):
        assert quarter.part(name).pairs["id"].equals(whole.part(name).pairs["id"])
    rows = whole.pairs.set_index("id").index.get_indexer(quarter.pairs["id"])
    np.testing.assert_array_equal(quarter.vectors, whole.vectors[rows])


def test_wrong_number_of_vectors(folder, tmp_path):
    with pytest.raises(Vec2SlugError, match="expected 400 vectors"):
        build.build(
            tmp_path / "documents.parquet",
            np.ones((3, 4), np.float32),
            tmp_path / "funnel.json",
            folder,
            300,
        )


@pytest.fixture
def inputs(folder, tmp_path):
    """What `build` was called with, all but the data folder; and the hash of the documents."""
    frame = pd.read_parquet(tmp_path / "documents.parquet")
    pairs = zip(frame["id"], frame["text"], strict=True)
    made_of = digest(value for pair in pairs for value in pair)
    vectors = check_vectors(np.random.default_rng(1).normal(size=(400, 24)))
    return tmp_path / "documents.parquet", vectors, tmp_path / "funnel.json", made_of


def build_of(inputs, out, **options):
    *made_of, vectors_of = inputs
    return build.build(*made_of, out, 300, **{"vectors_of": vectors_of, **options})


def test_vectors_of_other_documents_are_refused_by_both_hashes(inputs, tmp_path):
    documents, _, funnel, ours = inputs
    build_of(inputs, tmp_path / "one")
    with pytest.raises(Vec2SlugError, match=f"hash to {ours}, got .* hash to other"):
        build_of(inputs, tmp_path / "two", vectors_of="other")
    frame = pd.read_parquet(documents)
    for other in (frame.iloc[::-1], frame.assign(text=frame["text"] + ".")):
        other.to_parquet(documents, index=False)
        content = {**read_json(funnel), "parquet_sha256": file_sha256(documents)}
        write_json(funnel, content)
        with pytest.raises(Vec2SlugError, match=f"got vectors of documents that hash to {ours}"):
            build_of(inputs, tmp_path / "two")
    assert not (tmp_path / "two").exists()


def test_a_funnel_of_other_documents_is_refused(inputs, tmp_path):
    documents = inputs[0]
    frame = pd.read_parquet(documents)
    frame.assign(slug="another-slug-here").to_parquet(documents)
    with pytest.raises(Vec2SlugError, match=f"with SHA-256 {file_sha256(documents)}, got that of"):
        build_of(inputs, tmp_path / "two")


@pytest.mark.parametrize("content", [b"", b"no parquet", None, pd.DataFrame({"id": ["a"]})])
def test_what_is_no_file_of_documents(inputs, tmp_path, content):
    documents = inputs[0]
    documents.unlink()
    if isinstance(content, bytes):
        documents.write_bytes(content)
    elif content is not None:
        content.to_parquet(documents)
    with pytest.raises(Vec2SlugError, match=r"expected documents in .*documents\.parquet"):
        build_of(inputs, tmp_path / "two")


def test_rows_without_a_vector_are_left_out_and_counted(inputs, tmp_path):
    documents, vectors, *rest = inputs
    vectors[[3, 7]] = np.nan
    build_of((documents, vectors, *rest), tmp_path / "two", skipped={3, 7})
    ids = set(dataset.load(tmp_path / "two").pairs["id"])
    assert not {"d003", "d007"} & ids
    last = read_json(tmp_path / "two" / "funnel.json")["steps"][-1]
    assert last == {"name": "selected", "kept": 300, "dropped": {"no_vector": 2}}


@pytest.mark.parametrize("step", ["save_vectors", "write_text_baselines", "describe"])
def test_a_folder_that_a_kill_left_half_made_is_not_taken_for_whole(
    inputs, folder, tmp_path, monkeypatch, step
):
    """The old vectors would fit: the pairs have the same ids."""

    def fail(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(build, step, fail)
        with pytest.raises(KeyboardInterrupt):
            build_of(inputs, folder)
    assert not (folder / "card.json").exists()
    if step == "save_vectors":
        with pytest.raises(Vec2SlugError, match="found none"):
            dataset.load(folder)
    build_of(inputs, folder)
    build_of(inputs, tmp_path / "whole")
    for path in (tmp_path / "whole").iterdir():
        assert path.read_bytes() == (folder / path.name).read_bytes()


def test_vectors_of_another_embedder_are_not_written_over(inputs, folder):
    before = (folder / "embeddings.minilm.npz").read_bytes()
    with pytest.raises(Vec2SlugError, match=r"folder for embeddings\.other\.npz, found embeddings"):
        build_of(inputs, folder, embedder="other")
    assert (folder / "embeddings.minilm.npz").read_bytes() == before
    assert len(dataset.load(folder).pairs) == 300


@pytest.mark.parametrize("name", ["pairs.parquet", "embeddings.minilm.npz"])
@pytest.mark.parametrize("damage", ["remove", "truncate"])
def test_damaged_files_are_named(folder, name, damage):
    path = folder / name
    path.unlink() if damage == "remove" else path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(Vec2SlugError, match=name.partition(".")[0]):
        dataset.load(folder)


def test_the_embedder_is_read_off_the_folder(folder):
    assert dataset.load(folder).embedder == dataset.load(folder).part("val").embedder == "minilm"
    other = folder / "embeddings.text-v1.5.npz"
    other.write_bytes((folder / "embeddings.minilm.npz").read_bytes())
    with pytest.raises(Vec2SlugError, match=r"one file embeddings\.NAME\.npz"):
        dataset.load(folder)
    (folder / "embeddings.minilm.npz").unlink()
    assert dataset.load(folder).embedder == "text-v1.5"


def test_vectors_of_other_pairs_are_refused(folder):
    pairs = pd.read_parquet(folder / "pairs.parquet")
    pairs.iloc[::-1].to_parquet(folder / "pairs.parquet", index=False)
    with pytest.raises(Vec2SlugError, match="these 300 pairs"):
        dataset.load(folder)


def test_the_search_may_write_every_word_of_the_training_slugs_but_identifiers():
    slugs = dataset.load().part("train").pairs["slug"]
    every = {word for slug in slugs for word in words(UUID.sub("", slug))}
    assert {word for word in every if sound_word(word) != word and not is_identifier(word)} == set()


def test_the_committed_data():
    data = dataset.load()
    pairs, card = data.pairs, read_json(current().data / "card.json")
    assert len(pairs) == card["pairs"] >= 75_000
    assert pairs["id"].is_unique
    assert pairs["slug"].value_counts().max() < 10
    reasons = pairs["slug"].map(rejection)
    assert set(reasons) <= {"", "identifier"}  # the data set is older than that rule
    assert (reasons != "").mean() < 0.01
    assert pairs["token_count"].between(50, 1000).all()
    assert pairs.groupby("cluster")["split"].nunique().max() == 1
    np.testing.assert_allclose(np.linalg.norm(data.vectors, axis=1), 1, atol=1e-5)
    assert pairs["source"].value_counts(normalize=True).max() < 0.25
