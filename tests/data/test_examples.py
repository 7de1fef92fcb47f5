"""The book's own articles: well formed, unknown to the training data, embedded like a page."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.slugs import extract_slug
from vec2slug_lib.common.workspace import current
from vec2slug_lib.data import dataset
from vec2slug_lib.data.examples import Example, example_vectors, load_examples
from vec2slug_lib.embedding.base import slices
from vec2slug_lib.embedding.job import embed_documents
from vec2slug_lib.embedding.minilm import MiniLMEmbedder

EXAMPLES = load_examples()
FURTHER = load_examples(current().data / "examples" / "further")
ALL = [*EXAMPLES, *FURTHER]
GOOD = "---\ntitle: Bees: a life\nslug: life-of-bees\n---\n\nBees fly.\n\nThey hum.\n"
STUDY = {
    "amelia-earharts-enduring-image",
    "buddhism-in-burma",
    "facts-about-blood-donation",
    "dragonflies-and-mosquitoes",
}


class Recorder:
    """An embedder that remembers its texts; each vector points along an axis of its own."""

    name, dimensions = "recorder", 16

    def __init__(self):
        self.texts = []

    def batches(self, texts):
        return slices([1] * len(texts), 5, 5)

    def embed(self, texts):
        rows = np.eye(self.dimensions, dtype=np.float64)[len(self.texts) :][: len(texts)]
        self.texts += texts
        return 3 * rows


@pytest.fixture(scope="module")
def data():
    return dataset.load()


@pytest.fixture(scope="module")
def vectors():
    return example_vectors(MiniLMEmbedder("cpu"))


def test_there_are_twelve_and_thirty_further_ones_and_all_differ():
    assert (len(EXAMPLES), len(FURTHER)) == (12, 30)
    for field in ("name", "title", "slug", "text"):
        assert len({getattr(example, field) for example in ALL}) == 42
    assert {example.slug for example in EXAMPLES} >= STUDY
    assert [example.name for example in EXAMPLES] == sorted(example.name for example in EXAMPLES)


@pytest.mark.parametrize("example", ALL, ids=lambda example: example.name)
def test_each_is_a_page_that_the_corpus_filters_would_keep(example):
    assert extract_slug(f"https://example.org/2026/{example.slug}.html") == (example.slug, "")
    shortest, longest = (180, 320) if example in EXAMPLES else (100, 160)
    assert shortest <= len(example.text.split()) <= longest
    assert not set(example.text) & set("#*`<>[]|\t")  # plain prose, shown as it is


def test_the_folders_readme_lists_them_all():
    readme = (current().data / "examples" / "README.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in readme.splitlines() if line.startswith("| `")]
    listed = [(row[1].strip(" `"), row[3].strip(" `")) for row in rows]
    assert listed == [(f"{example.name}.md", example.slug) for example in EXAMPLES]


def test_no_training_page_has_the_slug_or_address(data):
    train = data.pairs[data.pairs["split"] == "train"]
    slugs = {example.slug for example in ALL}
    assert not slugs & set(train["slug"])
    assert not [url for url in train["url"] if any(slug in url.lower() for slug in slugs)]


def test_no_training_page_is_a_near_copy(data, vectors):
    further = MiniLMEmbedder("cpu").embed([example.text for example in FURTHER])
    cosines = np.concatenate([vectors, further]) @ data.part("train").vectors.T
    assert cosines.shape == (42, (data.pairs["split"] == "train").sum())
    nearest = pd.Series(cosines.max(axis=1), index=[example.name for example in ALL])
    assert nearest.max() < 0.95, nearest.idxmax()


def test_real_vectors_are_unit_rows_that_know_their_subject(vectors):
    assert vectors.shape == (12, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    # Each text is nearer to its own title than to any other's.
    titles = MiniLMEmbedder("cpu").embed([example.title for example in EXAMPLES])
    assert (vectors @ titles.T).argmax(axis=1).tolist() == list(range(12))


def test_vectors_are_made_like_those_of_documents(tmp_path):
    alone, documents = Recorder(), Recorder()
    found = example_vectors(alone)
    assert alone.texts == [example.text for example in EXAMPLES]
    names = [example.name for example in EXAMPLES]
    embed_documents(names, alone.texts, documents, tmp_path / "vectors.npy")
    assert documents.texts == alone.texts
    np.testing.assert_array_equal(found, np.load(tmp_path / "vectors.npy"))


def test_reads_fields_and_text(tmp_path):
    (tmp_path / "b.md").write_text(GOOD)
    (tmp_path / "a.md").write_text(GOOD.replace("bees", "ants"))
    (tmp_path / "README.md").write_text("# no example")
    (tmp_path / "notes.txt").write_text("no example either")
    ants, bees = load_examples(tmp_path)
    assert bees == Example("b", "Bees: a life", "life-of-bees", "Bees fly.\n\nThey hum.")
    assert (ants.name, ants.slug) == ("a", "life-of-ants")


line = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1)


@given(line, st.lists(line, min_size=1).map("\n\n".join))
def test_any_title_and_text_survive(tmp_path_factory, title, text):
    folder = tmp_path_factory.mktemp("examples")
    content = f"---\ntitle: {title}\nslug: life-of-bees\n---\n\n{text}\n"
    (folder / "x.md").write_text(content, encoding="utf-8")
    assert load_examples(folder) == [Example("x", title, "life-of-bees", text)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Bees fly.\n", "begin with fields"),
        ("\n" + GOOD, "begin with fields"),
        (GOOD.replace("---\n\nBees", "\n\nBees"), "begin with fields"),
        (GOOD.replace("title: Bees: a life\n", ""), "expected a title in .*x.md"),
        (GOOD.replace("Bees: a life", " "), "expected a title"),
        (GOOD.replace("slug:", "address:"), "expected a slug in"),
        (GOOD[: GOOD.index("Bees fly")], "expected a text"),
        (GOOD.replace("life-of-bees", "Life-of-bees"), "got 'Life-of-bees'"),
        (GOOD.replace("life-of-bees", "bee-life"), "3 to 8 words in .*x.md, got 'bee-life'"),
        (GOOD.replace("life-of-bees", "of-the-a"), "got 'of-the-a'"),
    ],
)
def test_says_what_is_wrong_with_a_file(tmp_path, content, message):
    (tmp_path / "x.md").write_text(content)
    with pytest.raises(Vec2SlugError, match=message):
        load_examples(tmp_path)


def test_a_file_in_another_encoding_is_refused(tmp_path):
    (tmp_path / "x.md").write_bytes(GOOD.replace("fly", "bourdonnent été").encode("latin-1"))
    with pytest.raises(Vec2SlugError, match=r"expected UTF-8 in .*x.md"):
        load_examples(tmp_path)


def test_a_folder_without_examples_is_refused(tmp_path):
    (tmp_path / "README.md").write_text("# none")
    with pytest.raises(Vec2SlugError, match="found none"):
        load_examples(tmp_path)
