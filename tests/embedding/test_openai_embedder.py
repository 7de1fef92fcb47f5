"""OpenAIEmbedder against a local server that speaks the protocol, and breaks it."""

import logging
import traceback

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai_server import KEY, vector

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.embedding import openai_embedder
from vec2slug_lib.embedding.openai_embedder import OpenAIEmbedder
from vec2slug_lib.embedding.registry import EMBEDDERS


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
