"""Embeddings from OpenAI or any server that speaks its protocol, as far as it does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import openai

from ..common.errors import Vec2SlugError
from ..common.vectors import Floats
from .base import TextsRefused, check_texts, slices
from .openai_answers import (
    REFUSALS,
    Failed,
    Row,
    Unreadable,
    batch_limit,
    read_rows,
    read_share,
    too_large,
)
from .openai_client import ERRORS, OPENAI, address, clean, open_client, post, reason, said
from .registry import embedder_key, find_embedder

BATCH = 500  # texts of a request, as in the study
# Models read at most 8,191 tokens of a text. Without the model's vocabulary there is one sure
# bound: a byte-level BPE token stands for at least one byte. So this many bytes always fit.
MAX_TEXT_BYTES = 8_191
# OpenAI refuses requests above 300,000 tokens in all; prose has about four bytes a token, and two
# leave room for anything but a request full of numbers or non-Latin script.
MAX_REQUEST_BYTES = 600_000
ENCODINGS = ("base64", "float", None)  # of vectors, the best first; None does not ask for any
PROBE = "word"  # what any server can embed
RETRIES = 3  # of a request that fails: a text may be at fault, for which no patience helps
SHORTEST = 16  # characters that a text is cut to at least


class OpenAIEmbedder:
    """Client of the embeddings endpoint; with the key in ``OPENAI_API_KEY``.

    The ``openai`` package waits and tries again, with exponential backoff and jitter, after rate
    limits (for as long as ``Retry-After`` says), server errors, timeouts and lost connections.

    What a server cannot do is learnt from its refusals, once a session: the encoding of vectors,
    and how many texts a request may have. A request that is refused is cut in halves, so that a
    text which has no vector is found; one over the server's context is cut by the server's word.

    Attributes:
        truncated: how many texts were cut so far to fit the model.
        asked: the width to ask for; None for the model's own.
        limit: texts of a request.
        client: of the server.
    """

    def __init__(
        self,
        model: str = "text-embedding-3-small",
        base_url: str | None = None,
        dimensions: int | None = None,
        timeout: float = 60.0,
        retries: int = 10,
        batch_size: int | None = None,
    ) -> None:
        """Set up the client; nothing is sent.

        Args:
            model: model name, as the server knows it.
            base_url: address of another server than OpenAI's, such as ``http://localhost:8000/v1``.
            dimensions: width to ask for, of a model that offers several; its own if None.
            timeout: seconds to wait for an answer.
            retries: how often to try again.
            batch_size: texts of a request at most; 500 if None, and fewer where a server says so.

        Raises:
            Vec2SlugError: ``OPENAI_API_KEY`` is not set, or there is no such batch size or width.
        """
        for name, number in (("batch size", batch_size), ("width", dimensions)):
            if number is not None and number < 1:
                raise Vec2SlugError(f"expected a {name} of 1 or more, got {number}")
        self.model, self.truncated, self.asked = model, 0, dimensions
        self.limit, self.retries = batch_size or BATCH, retries
        self.client = open_client(base_url, timeout, retries)
        known = find_embedder(model)
        self._width = dimensions or (known.width if known else None)
        self._encoding: str | None = ENCODINGS[0]
        self._answered = False  # whether this server has embedded anything
        self._long = MAX_REQUEST_BYTES  # bytes of the shortest text over the server's context

    @property
    def name(self) -> str:
        """Name the model, with the width if it is not the model's own."""
        return f"{self.model}-{self.asked}" if self.asked else self.model

    @property
    def key(self) -> str:
        """Return the name as files have it."""
        return embedder_key(self.name)

    @property
    def server(self) -> str:
        """Return the server's address, as another's model of the same name may be another.

        Empty for OpenAI's own.
        """
        where = address(self.client)
        return "" if where == OPENAI else where

    @cached_property
    def dimensions(self) -> int:
        """Return the width of a vector; of a model that is not OpenAI's, ask the server once."""
        if self._width is None:
            self._probe()
        assert self._width is not None
        return self._width

    def batches(self, texts: Sequence[str]) -> Iterator[slice]:
        """Cut ``texts`` into pieces, one request each: 500 texts, or fewer long ones."""
        sizes = (min(len(text.encode()), MAX_TEXT_BYTES) for text in texts)
        # A text that is surely over the context goes alone: it would cost its request.
        alone = (MAX_REQUEST_BYTES + 1 if size >= self._long else size for size in sizes)
        return slices(alone, self.limit, MAX_REQUEST_BYTES)

    def embed(self, texts: Sequence[str]) -> Floats:
        """Embed texts as unit vectors.

        Args:
            texts: N non-empty texts; what is beyond the first 8,191 bytes of one, or beyond the
                server's context, is cut off.

        Returns:
            float32 ``[N, dimensions]``, in the order of ``texts``.

        Raises:
            TextsRefused: some texts have no vector; the server embeds others.
            Vec2SlugError: an empty text; the server refused, or could not be reached, or sent
                vectors of another number or width.
        """
        check_texts(texts)
        vectors = np.full((len(texts), self.dimensions), np.nan, np.float32)
        short = [cut(text) for text in texts]
        rows = self._rows(short, RETRIES)
        for number, row in enumerate(rows):
            self.truncated += row.truncated or short[number] != texts[number]
            if row.vector is not None:
                vectors[number] = row.vector
        reasons = {n: row.reason for n, row in enumerate(rows) if row.vector is None}
        if reasons:
            raise TextsRefused(vectors, reasons)
        return vectors

    def _rows(self, texts: list[str], retries: int) -> list[Row]:
        """Embed texts by as many requests as it takes."""
        rows: list[Row] = []
        while len(rows) < len(texts):
            rest = texts[len(rows) :]
            rows += self._piece(rest[next(self.batches(rest))], retries)
        return rows

    def _piece(self, texts: list[str], retries: int) -> list[Row]:
        """Embed texts by one request; if it fails, by smaller ones."""
        encoding = self._encoding
        try:
            rows = self._request(texts, retries)
        except Failed as failure:
            if not (failure.refused and self._answered):
                self._probe()
            if self._encoding != encoding:
                return self._piece(texts, retries)
            if retries and not failure.refused:  # the server may have been away for a while
                return self._piece(texts, 0)
            if len(texts) > 1:
                return self._smaller(texts, failure)
            return [self._alone(texts[0], failure)]
        if len(rows) == 1:
            return rows
        if all(row.vector is None for row in rows):
            self._probe()
        # What has no vector beside others may have one alone, and is asked for once more.
        return [
            self._piece([text], 0)[0] if row.vector is None else row
            for text, row in zip(texts, rows, strict=True)
        ]

    def _smaller(self, texts: list[str], failure: Failed) -> list[Row]:
        """Embed texts of a request that failed by smaller ones; remember their size if it helps."""
        before = self.limit
        self.limit = batch_limit(failure.said, len(texts)) or (len(texts) + 1) // 2
        rows = self._rows(texts, 0)
        if any(row.vector is None or row.truncated for row in rows):
            self.limit = before  # a text was at fault, and not their number
        return rows

    def _alone(self, text: str, failure: Failed) -> Row:
        """Embed a text whose request failed, though the server embeds others."""
        if failure.too_large:
            return self._shortened(text, failure)
        if failure.refused:
            return Row(None, str(failure))
        try:
            return self._request([text], 1)[0]
        except Failed as again:
            return Row(None, str(again))

    def _shortened(self, text: str, failure: Failed) -> Row:
        """Embed as much of a text as the server reads, by its own word or by halves."""
        size, short, tries = len(text.encode()), text, 0
        while failure.too_large and len(short) > SHORTEST:
            share = read_share(failure.said) if tries < RETRIES else 0.5
            short, tries = short[: max(SHORTEST, int(len(short) * share))], tries + 1
            try:
                row = self._request([short], 0)[0]
            except Failed as again:
                failure = again
                continue
            self._long = min(self._long, size)
            return row._replace(truncated=True)
        return Row(None, str(failure))

    def _probe(self) -> None:
        """Learn from one word which encoding the server takes, and whether it embeds at all.

        Raises:
            Vec2SlugError: it does not; with its last words.
        """
        before, failure = self._encoding, Failed("")
        rest = ENCODINGS[ENCODINGS.index(before) :]
        # Each at once, then the first with patience: what fails may be the server.
        for encoding, retries in (*((each, 0) for each in rest), (before, self.retries)):
            if encoding != before and (self._answered or failure.unreachable):
                continue
            self._encoding = encoding
            try:
                row = self._request([PROBE], retries)[0]
                if row.vector is not None:
                    return
                failure = Failed(row.reason)
            except Failed as error:
                failure = error
            if encoding is None and failure.refused:
                break
        self._encoding = before
        raise Vec2SlugError(self._about(str(failure)))

    def _request(self, texts: list[str], retries: int) -> list[Row]:
        """Send one request.

        Raises:
            Failed: another request may do better.
            Vec2SlugError: none will.
        """
        body: dict[str, Any] = {"model": self.model, "input": texts}
        if self.asked:
            body["dimensions"] = self.asked
        if self._encoding:
            body["encoding_format"] = self._encoding
        # Without causes: a traceback would show the server's words, which may hold the key.
        try:
            rows = read_rows(self._post(body, min(retries, self.retries)), len(texts), self._width)
        except Unreadable as error:
            raise Failed(clean(str(error), self.client)) from None
        except Vec2SlugError as error:
            raise Vec2SlugError(self._about(str(error))) from None
        except ERRORS as error:
            raise self._failure(error) from None
        for row in rows:
            if row.vector is not None:
                self._width, self._answered = len(row.vector), True
        return rows

    def _post(self, body: dict[str, Any], retries: int) -> Any:
        try:
            return post(self.client, "/embeddings", body, retries)
        except openai.RateLimitError:  # for which patience helps
            return post(self.client, "/embeddings", body)

    def _failure(self, error: Exception) -> Failed | Vec2SlugError:
        """Tell whether another request may do better than the one that failed."""
        words = reason(error, self.client)
        if not isinstance(error, openai.APIStatusError):
            return Failed(words, unreachable=isinstance(error, openai.APIConnectionError))
        status, message = error.status_code, said(error.body)
        if status in REFUSALS or status == 408 or status >= 500:
            large = status == 413 or too_large(message)
            return Failed(words, message, refused=status in REFUSALS, too_large=large)
        return Vec2SlugError(self._about(words))

    def _about(self, words: str) -> str:
        return f"expected embeddings by {self.model} from {address(self.client)}, but {words}"


def cut(text: str) -> str:
    """Cut a text to its longest start, in whole characters, that surely fits the model."""
    return text.encode()[:MAX_TEXT_BYTES].decode(errors="ignore")
