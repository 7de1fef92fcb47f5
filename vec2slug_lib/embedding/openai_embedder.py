"""Embeddings from OpenAI or any server that speaks its protocol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import openai

from ..common.errors import Vec2SlugError
from ..common.vectors import Floats, check_vectors
from .base import check_texts, slices
from .openai_client import explain, open_client
from .registry import embedder_key, find_embedder

BATCH = 500  # texts of a request, as in the study
# Models read at most 8,191 tokens of a text. Without the model's vocabulary there is one sure
# bound: a byte-level BPE token stands for at least one byte. So this many bytes always fit.
MAX_TEXT_BYTES = 8_191
# OpenAI refuses requests above 300,000 tokens in all; prose has about four bytes a token, and two
# leave room for anything but a request full of numbers or non-Latin script.
MAX_REQUEST_BYTES = 600_000


class OpenAIEmbedder:
    """Client of the embeddings endpoint; with the key in ``OPENAI_API_KEY``.

    The ``openai`` package waits and tries again, with exponential backoff and jitter, after rate
    limits (for as long as ``Retry-After`` says), server errors, timeouts and lost connections.

    Attributes:
        truncated: how many texts were cut so far to fit the model.
        asked: the width to ask for; None for the model's own.
        client: of the server.
    """

    def __init__(
        self,
        model: str = "text-embedding-3-small",
        base_url: str | None = None,
        dimensions: int | None = None,
        timeout: float = 60.0,
        retries: int = 10,
    ) -> None:
        """Set up the client; nothing is sent.

        Args:
            model: model name, as the server knows it.
            base_url: address of another server than OpenAI's, such as ``http://localhost:8000/v1``.
            dimensions: width to ask for, of a model that offers several; its own if None.
            timeout: seconds to wait for an answer.
            retries: how often to try again.

        Raises:
            Vec2SlugError: ``OPENAI_API_KEY`` is not set.
        """
        self.model, self.truncated, self.asked = model, 0, dimensions
        self.client = open_client(base_url, timeout, retries)

    @property
    def name(self) -> str:
        """Name the model, with the width if it is not the model's own."""
        return f"{self.model}-{self.asked}" if self.asked else self.model

    @property
    def key(self) -> str:
        """Return the name as files have it."""
        return embedder_key(self.name)

    @cached_property
    def dimensions(self) -> int:
        """Return the width of a vector; of a model that is not OpenAI's, ask the server once."""
        known = find_embedder(self.model)
        return self.asked or (known and known.width) or len(self._request(["width"])[0])

    def batches(self, texts: Sequence[str]) -> Iterator[slice]:
        """Cut ``texts`` into pieces, one request each: 500 texts, or fewer long ones."""
        sizes = (min(len(text.encode()), MAX_TEXT_BYTES) for text in texts)
        return slices(sizes, BATCH, MAX_REQUEST_BYTES)

    def embed(self, texts: Sequence[str]) -> Floats:
        """Embed texts as unit vectors.

        Args:
            texts: N non-empty texts; what is beyond the first 8,191 bytes of one is cut off.

        Returns:
            float32 ``[N, dimensions]``, in the order of ``texts``.

        Raises:
            Vec2SlugError: an empty text; the server refused, or could not be reached, or sent
                vectors of another number or width.
        """
        check_texts(texts)
        short = [cut(text) for text in texts]
        vectors = [self._vectors(short[piece]) for piece in self.batches(short)]
        self.truncated += sum(a != b for a, b in zip(texts, short, strict=True))
        return np.concatenate([np.empty((0, self.dimensions), np.float32), *vectors])

    def _vectors(self, texts: list[str]) -> Floats:
        """Embed texts that fit one request: unit vectors ``[N, dimensions]``."""
        rows = self._request(texts)
        widths = sorted({len(row) for row in rows})
        if widths != [self.dimensions]:
            raise Vec2SlugError(f"expected {self.dimensions} values a text, got {widths}")
        return check_vectors(np.array(rows, np.float32), self.dimensions)

    def _request(self, texts: list[str]) -> list[list[float]]:
        """Send one request; return vectors in the order of ``texts``."""
        width = self.asked or openai.omit
        try:
            answer = self.client.embeddings.create(model=self.model, input=texts, dimensions=width)
            rows = {item.index: item.embedding for item in answer.data}
        except (openai.OpenAIError, ValueError, TypeError, AttributeError) as error:
            # Without its cause: a traceback would show the server's words, which may hold the key.
            wanted = f"embeddings by {self.model}"
            raise Vec2SlugError(explain(error, wanted, self.client)) from None
        if sorted(rows) != list(range(len(texts))) or len(answer.data) != len(texts):
            raise Vec2SlugError(
                f"expected one vector for each of {len(texts)} texts, got {len(answer.data)}"
            )
        return [rows[index] for index in range(len(texts))]


def cut(text: str) -> str:
    """Cut a text to its longest start, in whole characters, that surely fits the model."""
    return text.encode()[:MAX_TEXT_BYTES].decode(errors="ignore")
