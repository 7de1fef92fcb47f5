"""OpenAIEmbedder against a local server that speaks the protocol, and breaks it."""

import base64
import json
import logging
import traceback

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai_server import OpenAIServer, vector

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.embedding import openai_embedder
from vec2slug_lib.embedding.base import TextsRefused
from vec2slug_lib.embedding.openai_embedder import OpenAIEmbedder
from vec2slug_lib.embedding.registry import EMBEDDERS

KEY = "sk-secret-0123456789"


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture
def naps(monkeypatch):
    """Seconds that the client waited before each retry; it waits for none of them here."""
    waited = []
    monkeypatch.setattr("time.sleep", waited.append)
    return waited


@pytest.fixture
def server():
    with OpenAIServer() as running:
        yield running


def embedder(server, **options):
    return OpenAIEmbedder("local", base_url=server.url, **({"dimensions": 8} | options))


def expected(texts, width=8):
    return np.array([vector(text, width) for text in texts])


def test_vectors_come_in_the_order_of_the_texts_in_batches_of_500(server):
    texts = [f"text {i}" for i in range(1203)]
    found = embedder(server).embed(texts)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected(texts), atol=1e-6)
    assert [len(request) for request in server.requests] == [500, 500, 203]
    assert [text for request in server.requests for text in request] == texts


@pytest.mark.parametrize("fault", ["429", "500", "503", "drop"])
def test_a_passing_fault_is_tried_again(server, naps, fault):
    server.faults = [fault] * 3
    found = embedder(server).embed(["a", "b"])
    np.testing.assert_allclose(found, expected(["a", "b"]), atol=1e-6)
    assert server.requests == [["a", "b"]] * 4
    if fault == "429":
        assert naps == [7, 7, 7]  # Retry-After: 7
    else:
        # Doubling from half a second, less up to a quarter of it at random.
        for nap, full in zip(naps, [0.5, 1, 2], strict=True):
            assert 0.75 * full <= nap <= full


def test_a_slow_answer_is_tried_again(server):
    server.faults = ["slow"]
    found = embedder(server, timeout=0.3).embed(["a"])
    np.testing.assert_allclose(found, expected(["a"]), atol=1e-6)
    assert server.requests == [["a"], ["a"]]


def test_a_lasting_fault_ends_in_one_line(server, naps):
    server.rule = lambda body: (500, {"error": {"message": "out of order"}})
    with pytest.raises(Vec2SlugError, match=r"by local from .*500 out of order") as caught:
        embedder(server, retries=2).embed(["a"])
    # The text, then another, also without base64: the server is at fault and not the text.
    assert server.requests == [["a"]] * 3 + [["word"]] * 3 + [["word"]] * 3
    assert len(naps) == 4
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "message"),
    [("401", "refuses the key: check OPENAI_API_KEY"), ("404", "404 refused"), ("403", "403")],
)
def test_what_cannot_get_better_is_not_tried_again(server, fault, message):
    server.faults = [fault]
    with pytest.raises(Vec2SlugError, match=message):
        embedder(server).embed(["a", "b"])
    assert len(server.requests) == 1


@pytest.mark.parametrize("fault", ["400", "short", "html", "nan"])
def test_a_request_that_failed_once_is_asked_for_in_parts(server, fault):
    server.faults = [fault]
    np.testing.assert_allclose(embedder(server).embed(["a", "b"]), expected(["a", "b"]), atol=1e-6)


def test_answers_out_of_order_are_put_in_order(server):
    server.faults = ["shuffle"]
    texts = list("abcde")
    np.testing.assert_allclose(embedder(server).embed(texts), expected(texts), atol=1e-6)


def test_width_is_sent_only_when_asked_for(server):
    chosen, own = embedder(server, dimensions=5), embedder(server, dimensions=None)
    assert chosen.embed(["a"]).shape == (1, 5)
    assert chosen.name == "local-5"
    assert own.embed(["a"]).shape == (1, 8)
    assert own.name == "local"
    assert [body.get("dimensions") for body in server.bodies[:1]] == [5]
    assert all("dimensions" not in body for body in server.bodies[1:])


@pytest.mark.parametrize(
    ("model", "width"), [(info.key, info.width) for info in EMBEDDERS.values() if not info.local]
)
def test_widths_of_openai_models_need_no_request(model, width):
    assert OpenAIEmbedder(model, base_url="http://127.0.0.1:9/v1").dimensions == width


def items(body, change=lambda number, vector: vector, **more):
    """The data of an answer, as a list of numbers each."""
    width = body.get("dimensions", 8)
    vectors = [vector(text, width).tolist() for text in body["input"]]
    return [{"index": n, "embedding": change(n, row), **more} for n, row in enumerate(vectors)]


def answer(data):
    return 200, {"object": "list", "data": data, "model": "local"}


def base64_of(kind):
    def change(number, row):
        return base64.b64encode(np.array(row, kind).tobytes()).decode()

    return change


ALL = [f"text {i}" for i in range(70)]


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


def test_texts_above_the_limit_are_cut_and_counted(server, monkeypatch):
    monkeypatch.setattr(openai_embedder, "MAX_TEXT_BYTES", 10)
    texts = ["0123456789", "01234567890", "aaaaaaaaé", "aaaaaaaaaé"]
    client = embedder(server)
    client.embed(texts)
    # The last é has its first byte as the tenth: it goes as a whole.
    assert server.requests == [["0123456789", "0123456789", "aaaaaaaaé", "aaaaaaaaa"]]
    assert client.truncated == 2
    client.embed(texts[:2])
    assert client.truncated == 3


@given(st.text(), st.integers(4, 20))
def test_cut_is_the_longest_start_that_fits(text, limit):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openai_embedder, "MAX_TEXT_BYTES", limit)
        cut = openai_embedder.cut(text)
    starts = [text[:length] for length in range(len(text) + 1)]
    assert cut == [start for start in starts if len(start.encode()) <= limit][-1]


def test_long_texts_make_smaller_requests(server, monkeypatch):
    monkeypatch.setattr(openai_embedder, "MAX_REQUEST_BYTES", 10)
    texts = ["aaaa", "bbbb", "cccc", "dddddddddddd", "e"]
    embedder(server).embed(texts)
    assert server.requests == [["aaaa", "bbbb"], ["cccc"], ["dddddddddddd"], ["e"]]


def test_bad_rows_are_named_before_anything_is_sent(server):
    with pytest.raises(Vec2SlugError, match="row 1"):
        embedder(server).embed(["a", " \n"])
    assert server.requests == []


def test_no_texts_no_request(server):
    assert embedder(server).embed([]).shape == (0, 8)
    assert server.requests == []


@pytest.mark.parametrize("value", [None, "", "  "])
def test_missing_key(monkeypatch, value):
    monkeypatch.delenv("OPENAI_API_KEY")
    if value is not None:
        monkeypatch.setenv("OPENAI_API_KEY", value)
    with pytest.raises(Vec2SlugError, match="set OPENAI_API_KEY"):
        OpenAIEmbedder()


@pytest.mark.parametrize("fault", ["none", "400", "401", "403", "500", "drop"])
def test_the_key_shows_nowhere(server, naps, caplog, capfd, fault):
    """Not in repr, message, traceback, log at its loudest, nor on stdout or stderr."""
    server.faults = [fault] * 2  # the server repeats the key in its refusal
    client = embedder(server, retries=1)
    shown = [repr(client), str(client), str(vars(client))]
    with caplog.at_level(logging.DEBUG):
        try:
            client.embed(["a"])
        except Vec2SlugError as error:
            shown += [repr(error), *traceback.format_exception(error)]
    assert len(server.requests) >= 1
    assert caplog.text
    shown += [caplog.text, *capfd.readouterr()]
    assert KEY not in "\n".join(shown)
