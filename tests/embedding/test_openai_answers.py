"""Answers of servers that speak OpenAI's protocol badly: encodings, indices, words."""

import base64
import json

import numpy as np
import pytest
from openai_server import answer, items, vector

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.embedding.base import TextsRefused
from vec2slug_lib.embedding.openai_embedder import OpenAIEmbedder

ALL = [f"text {i}" for i in range(70)]


def embedder(server, **options):
    return OpenAIEmbedder("local", base_url=server.url, **({"dimensions": 8} | options))


def expected(texts, width=8):
    return np.array([vector(text, width) for text in texts])


def base64_of(kind):
    def change(number, row):
        return base64.b64encode(np.array(row, kind).tobytes()).decode()

    return change


@pytest.mark.parametrize("dimensions", [8, None])
@pytest.mark.parametrize(
    ("refusal", "encoding"),
    [
        ((400, {"error": {"message": "encoding_format 'base64' is not supported"}}), "float"),
        ((500, {"error": "not implemented"}), "float"),
        ((200, {"data": []}), "float"),
        ((200, {"data": None}), "float"),
        ((200, "<html>no</html>"), "float"),
        ((422, {"detail": [{"loc": ["body", "encoding_format"], "msg": "extra field"}]}), None),
    ],
)
def test_an_encoding_that_is_refused_is_not_asked_for_again(
    server, naps, refusal, encoding, dimensions
):
    def rule(body):
        wanted = body.get("encoding_format")
        return refusal if wanted not in (encoding, None) else answer(items(body))

    server.rule = rule
    client = embedder(server, dimensions=dimensions)
    for texts in (ALL, ["a"]):
        np.testing.assert_allclose(client.embed(texts), expected(texts), atol=1e-6)
    refused = [body for body in server.bodies if rule(body) is refusal]
    assert len(refused) <= 6
    assert [body.get("encoding_format") for body in server.bodies[-2:]] == [encoding] * 2


@pytest.mark.parametrize("kind", ["<f8", "<f2", "<f4"])
def test_base64_of_other_numbers_is_read_as_what_it_is(server, kind):
    server.rule = lambda body: answer(items(body, base64_of(kind)))
    client = embedder(server, dimensions=64)
    np.testing.assert_allclose(client.embed(ALL), expected(ALL, 64), atol=1e-3)


def test_double_precision_is_seen_without_a_width(server):
    server.rule = lambda body: answer(items({**body, "dimensions": 64}, base64_of("<f8")))
    found = embedder(server, dimensions=None).embed(ALL)
    np.testing.assert_allclose(found, expected(ALL, 64), atol=1e-6)


@pytest.mark.parametrize("kind", ["<f4", "<f8"])
def test_a_server_that_ignores_the_width_is_refused(server, kind):
    """Also one of exactly twice the width, whose float32 have as many bytes as float64."""
    server.rule = lambda body: answer(items({**body, "dimensions": 128}, base64_of(kind)))
    with pytest.raises(Vec2SlugError, match=r"expected 64 values a text, got \[(128|256)\]"):
        embedder(server, dimensions=64).embed(ALL)


@pytest.mark.parametrize(
    "index",
    [lambda n: {}, lambda n: {"index": 0}, lambda n: {"index": None}, lambda n: {"index": n + 1},
     lambda n: {"index": str(n)}, lambda n: {"index": n + 500}],
)  # fmt: skip
def test_indices_that_say_nothing_or_count_otherwise(server, index):
    def rule(body):
        data = items(body)
        return answer([{"embedding": item["embedding"], **index(n)} for n, item in enumerate(data)])

    server.rule = rule
    np.testing.assert_allclose(embedder(server).embed(ALL), expected(ALL), atol=1e-6)


def test_a_strange_order_is_followed(server):
    server.rule = lambda body: answer(items(body)[::-1])
    np.testing.assert_allclose(embedder(server).embed(ALL), expected(ALL), atol=1e-6)


@pytest.mark.parametrize(
    "change",
    [lambda n, row: [row], lambda n, row: json.dumps(row), lambda n, row: [str(x) for x in row]],
)
def test_numbers_in_another_dress(server, change):
    server.rule = lambda body: answer(items(body, change))
    np.testing.assert_allclose(embedder(server).embed(ALL), expected(ALL), atol=1e-6)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (lambda body: answer(items(body)[1:]), "one vector for each of 1 texts, got 0"),
        (lambda body: answer(items(body) * 2), "one vector for each of 1 texts, got 2"),
        (lambda body: (200, {"error": {"message": "model not loaded"}}), "model not loaded"),
        (lambda body: (200, {"embeddings": [[1.0]]}), "not one of OpenAI's protocol"),
        (lambda body: (200, "<html>log in</html>"), "not one of OpenAI's protocol: <html>log in"),
        (lambda body: (200, ""), "not one of OpenAI's protocol"),
        (lambda body: (200, [1]), "not one of OpenAI's protocol"),
        (lambda body: answer(items(body, lambda n, row: "%%%")), "expected a vector of numbers"),
        (lambda body: answer(items(body, lambda n, row: {"a": 1})), "expected a vector of numbers"),
        (lambda body: answer(items(body, lambda n, row: 1.5)), "expected one vector a text"),
        (lambda body: answer(items(body, lambda n, row: [row, row])), "expected one vector a text"),
        (lambda body: answer(items(body, lambda n, row: row[:7])), r"8 values a text, got \[7\]"),
        (lambda body: (400, {"error": "no such model"}), "the server says: 400 no such model"),
        (lambda body: (400, {"detail": "dimensions: extra field"}), "400 dimensions: extra field"),
        (lambda body: (413, "Payload Too Large"), "413 Payload Too Large"),
        (
            lambda body: (
                422,
                {"detail": [{"loc": ["body", "input"], "msg": "no list", "input": ""}]},
            ),
            "422 body.input: no list$",
        ),
        (lambda body: (503, {"message": "loading"}), "503 loading"),
        (lambda body: "drop", "Connection error"),
    ],
)
def test_a_server_that_embeds_nothing_is_explained_in_its_own_words(server, naps, reply, message):
    server.rule = reply
    with pytest.raises(Vec2SlugError, match=message) as caught:
        embedder(server, retries=2).embed(["a", "b"])
    assert not isinstance(caught.value, TextsRefused)
    assert len(server.requests) <= 9
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "words", ["the indices", [5, 5, 9], [0, 1, None], ["a", "b", "c"], [0, 2, 3]]
)
def test_indices_that_contradict_each_other_are_refused(server, words):
    def rule(body):
        data = items(body)
        return answer([{**item, "index": words[n]} for n, item in enumerate(data)])

    server.rule = rule
    if len(words) == 3:
        # Each text alone has an index that says nothing.
        texts = ["a", "b", "c"]
        np.testing.assert_allclose(embedder(server).embed(texts), expected(texts), atol=1e-6)
        assert len(server.requests) > 3
