import numpy as np
import pytest

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.embedding.registry import (
    EMBEDDERS,
    embedder_key,
    find_embedder,
    full_name,
    open_embedder,
)

LOCAL = [info.key for info in EMBEDDERS.values() if info.local]
# The first numbers of the unit vector of "A short text." by each local embedder.
CANONICAL = {"minilm": [0.0046, 0.1598, 0.0154]}


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("key", LOCAL)
def test_canonical_vectors(key, exact):
    embedder = open_embedder(key, exact)
    assert open_embedder(EMBEDDERS[key].model, exact) is embedder
    (vector,) = embedder.embed(["A short text."])
    assert (embedder.key, embedder.name) == (key, EMBEDDERS[key].model)
    assert len(vector) == embedder.dimensions == EMBEDDERS[key].width
    np.testing.assert_allclose(vector[:3], CANONICAL[key], atol=1e-4 if exact else 0.005)


def test_the_default_is_the_graph_and_records_are_exact():
    assert type(open_embedder()).__name__ == "MiniLMGraph"
    assert type(open_embedder(exact=True)).__name__ == "MiniLMEmbedder"


def test_names_lead_to_keys_and_back():
    for info in EMBEDDERS.values():
        assert find_embedder(info.model) is find_embedder(info.key) is info
        assert embedder_key(info.model) == info.key
        assert full_name(info.key) == info.model
    assert embedder_key("some/model") == full_name("some_model") == "some_model"
    assert find_embedder("some/model") is None


def test_a_remote_one_takes_the_options_of_its_server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    known = open_embedder("text-embedding-3-large", exact=True, base_url="http://127.0.0.1:1/v1")
    assert (known.key, known.dimensions) == ("text-embedding-3-large", 3072)
    other = open_embedder("openai", model="local/x", base_url="http://127.0.0.1:1/v1")
    assert (other.key, other.name) == ("local_x", "local/x")
    assert open_embedder("openai").name == "text-embedding-3-small"


def test_an_unknown_one_is_refused_with_the_known_ones():
    with pytest.raises(
        Vec2SlugError, match=r"one of minilm, text-embedding-3-small.*got 'word2vec'"
    ):
        open_embedder("word2vec")
