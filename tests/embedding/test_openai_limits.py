"""What servers cannot take: many texts, long texts, and texts of no fault of theirs."""

import json

import numpy as np
import pytest
from openai_server import KEY, answer, items, vector

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.embedding.base import TextsRefused
from vec2slug_lib.embedding.openai_embedder import OpenAIEmbedder

ALL = [f"text {i}" for i in range(70)]


def embedder(server, **options):
    return OpenAIEmbedder("local", base_url=server.url, **({"dimensions": 8} | options))


def expected(texts, width=8):
    return np.array([vector(text, width) for text in texts])


def limited(most, status, words):
    return lambda body: (status, words(len(body["input"]))) if len(body["input"]) > most else None


@pytest.mark.parametrize(
    ("most", "status", "words"),
    [
        (32, 422, lambda n: {"error": f"batch size {n} > maximum allowed batch size 32"}),
        (10, 400, lambda n: {"message": "batch size is invalid, it should not be larger than 10."}),
        (32, 400, lambda n: {"error": {"message": f"array too long: maximum length 32, got {n}"}}),
    ],
)
def test_a_batch_limit_is_read_off_the_first_refusal(server, most, status, words):
    server.rule = limited(most, status, words)
    client = embedder(server)
    for _ in range(2):
        np.testing.assert_allclose(client.embed(ALL), expected(ALL), atol=1e-6)
    sizes = [len(request) for request in server.requests if request != ["word"]]
    full, rest = divmod(70, most)
    once = [most] * full + [rest] * (rest > 0)
    assert client.limit == most
    assert [size for size in sizes if size <= most] == once * 2
    assert sum(size > most for size in sizes) <= 2


@pytest.mark.parametrize(("status", "words"), [(413, "too large"), (500, "boom"), (400, "no")])
def test_a_batch_limit_is_found_by_halves_and_kept(server, naps, status, words):
    server.rule = limited(20, status, lambda n: words)
    client = embedder(server)
    for _ in range(2):
        np.testing.assert_allclose(client.embed(ALL), expected(ALL), atol=1e-6)
    assert client.limit == 18
    assert len(server.requests) <= 20


def test_the_batch_size_is_an_option(server):
    embedder(server, batch_size=16).embed(ALL)
    assert [len(request) for request in server.requests] == [16, 16, 16, 16, 6]
    with pytest.raises(Vec2SlugError, match="batch size of 1 or more, got 0"):
        embedder(server, batch_size=0)


def context(most, words, status=400):
    """A server that reads so many words of a text."""

    def rule(body):
        longest = max(len(text.split()) for text in body["input"])
        return (status, {"error": {"message": words(longest)}}) if longest > most else None

    return rule


MIXED = [" ".join(f"w{i}" for i in range(n)) for n in (5, 70, 8, 200, 64, 65, 3)]


@pytest.mark.parametrize(
    ("status", "words", "least"),
    [
        (400, lambda n: f"maximum context length is 64 tokens. You requested {n} tokens", 0.8),
        (413, lambda n: f"inputs must have less than 65 tokens. Given: {n}", 0.8),
        (400, lambda n: "the input length exceeds the context length", 0.45),
        (500, lambda n: f"input ({n} tokens) is too large (maximum batch size: 64)", 0.8),
    ],
)
def test_a_text_over_the_context_is_cut_by_the_servers_word(server, naps, status, words, least):
    server.rule = context(64, words, status)
    client = embedder(server)
    found = client.embed(MIXED)
    sent = {text for text in server.embedded if text != "word"}
    for text, row in zip(MIXED, found, strict=True):
        starts = filter(text.startswith, sent)
        (start,) = [each for each in starts if np.allclose(vector(each, 8), row, atol=1e-6)]
        assert start == text or len(start.split()) >= least * 64
        assert (start == text) == (len(text.split()) <= 64)
    assert client.truncated == 3
    assert client.limit == 500  # the texts were too long, and not too many
    # The cut of a text depends on no other: alone it is the same.
    np.testing.assert_array_equal(found[3:4], embedder(server).embed(MIXED[3:4]))


def test_long_texts_go_alone_once_the_context_is_known(server):
    server.rule = context(64, lambda n: f"maximum context length is 64 tokens, got {n}")
    client = embedder(server)
    client.embed(MIXED)
    before = len(server.requests)
    client.embed(MIXED * 10)
    assert client.truncated == 33
    # The short ones stay together between the long ones.
    assert len(server.requests) - before <= 10 * (3 * 3 + 3)


def poisoned(reply):
    return lambda body: reply if any("BAD" in text for text in body["input"]) else None


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ((500, {"error": {"message": "unsupported value: NaN"}}), "500 unsupported value: NaN"),
        ((400, {"error": {"message": "cannot parse this"}}), "400 cannot parse this"),
        ((422, {"detail": "no"}), "422 no"),
        ((200, {"data": []}), "got 0"),
        ("drop", "Connection error"),
    ],
)
def test_texts_without_a_vector_are_found_and_all_others_have_theirs(server, naps, reply, reason):
    server.rule = poisoned(reply)
    texts = [*ALL[:33], "so BAD", *ALL[33:50], "BAD too", *ALL[50:]]
    client = embedder(server)
    with pytest.raises(TextsRefused, match="expected a vector of row 33") as caught:
        client.embed(texts)
    assert sorted(caught.value.reasons) == [33, 51]
    assert reason in caught.value.reasons[33]
    good = np.delete(np.arange(72), [33, 51])
    np.testing.assert_allclose(caught.value.vectors[good], expected(ALL), atol=1e-6)
    assert np.isnan(caught.value.vectors[[33, 51]]).all()
    assert client.limit == 500
    assert len(server.requests) <= 60
    assert sum(naps) < 30


@pytest.mark.parametrize("value", [None, [], [None] * 8, [np.nan] * 8, [0.0] * 8, [1e60] * 8])
@pytest.mark.parametrize("alone", [True, False])
def test_a_vector_that_is_none_is_asked_for_once_more(server, value, alone):
    def rule(body):
        bad = alone or len(body["input"]) > 1
        texts = body["input"]
        return answer(items(body, lambda n, row: value if bad and "BAD" in texts[n] else row))

    server.rule = rule
    texts = ["a", "BAD", "c"]
    if not alone:
        np.testing.assert_allclose(embedder(server).embed(texts), expected(texts), atol=1e-6)
        return
    with pytest.raises(TextsRefused, match="expected a vector of row 1") as caught:
        embedder(server).embed(texts)
    np.testing.assert_allclose(caught.value.vectors[[0, 2]], expected(["a", "c"]), atol=1e-6)


def test_a_server_that_dies_is_not_taken_for_bad_texts(server, naps):
    server.rule = lambda body: "drop" if len(server.requests) > 3 else None
    client = embedder(server, batch_size=10, retries=2)
    with pytest.raises(Vec2SlugError, match="Connection error") as caught:
        client.embed(ALL)
    assert not isinstance(caught.value, TextsRefused)
    assert len(server.requests) <= 10


def test_a_server_that_was_away_for_a_while_keeps_its_batch_size(server, naps):
    texts = ALL * 3
    client = embedder(server)
    client.embed(["a"])
    server.faults = ["503"] * 4
    np.testing.assert_allclose(client.embed(texts), expected(texts), atol=1e-6)
    assert client.limit == 500


def test_a_lost_connection_says_nothing_of_encodings(server, naps):
    server.faults = ["drop"] * 5
    embedder(server, dimensions=None).embed(ALL)
    assert {body["encoding_format"] for body in server.bodies} == {"base64"}


def test_json_by_another_name(server):
    """Sent as plain text."""
    server.rule = lambda body: (200, json.dumps(answer(items(body))[1]))
    np.testing.assert_allclose(embedder(server).embed(ALL), expected(ALL), atol=1e-6)


def test_words_are_shortened_and_the_key_is_left_out(server):
    words = {"error": {"message": f"bad\nkey {KEY} \x1b[31m" + "x" * 10_000}}
    server.rule = lambda body: (400, words)
    with pytest.raises(Vec2SlugError) as caught:
        embedder(server).embed(["a"])
    shown = str(caught.value)
    assert "bad key [key]" in shown
    assert len(shown) < 500
    assert shown.isprintable()


def test_a_password_in_the_address_is_not_shown(monkeypatch):
    client = OpenAIEmbedder("local", base_url="http://me:secret@127.0.0.1:9/v1", retries=0)
    assert client.server == "http://127.0.0.1:9/v1"
    with pytest.raises(Vec2SlugError) as caught:
        client.embed(["a"])
    assert "secret" not in str(caught.value)
    with pytest.raises(Vec2SlugError, match="expected an address such as"):
        OpenAIEmbedder("local", base_url="localhost:8000/v1")
