"""The client of an OpenAI-compatible server, and its errors in plain words."""

from __future__ import annotations

import os

import openai

from ..common.errors import Vec2SlugError


def open_client(base_url: str | None, timeout: float, retries: int) -> openai.OpenAI:
    """Set up the client of OpenAI's or another server; nothing is sent.

    Raises:
        Vec2SlugError: ``OPENAI_API_KEY`` is not set.
    """
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not key:
        raise Vec2SlugError("expected a key in the environment, got none: set OPENAI_API_KEY")
    return openai.OpenAI(api_key=key, base_url=base_url, timeout=timeout, max_retries=retries)


def explain(error: Exception, wanted: str, client: openai.OpenAI) -> str:
    """Explain a failed request for ``wanted`` in one line, without the key."""
    where = f"expected {wanted} from {client.base_url}"
    if isinstance(error, openai.AuthenticationError):
        return f"{where}, but the server refuses the key: check OPENAI_API_KEY"
    if isinstance(error, AttributeError | TypeError):
        return f"{where}, but the answer is not one of OpenAI's protocol"
    text = " ".join(str(error).split()).replace(client.api_key, "[key]")
    return f"{where}, but: {text[:500]}"
