"""The client of an OpenAI-compatible server, and its errors in plain words."""

from __future__ import annotations

import json
import os
import re
from typing import Any

import openai

from ..common.errors import Vec2SlugError

OPENAI = "https://api.openai.com/v1"
SHOWN = 300  # characters of a server's words
SECRET = 6  # characters that a key has at least, if it is one and no placeholder
# What a failed request or an answer of another form raises, and what reads it.
ERRORS = (openai.OpenAIError, ValueError, TypeError, AttributeError, RecursionError)


def open_client(base_url: str | None, timeout: float, retries: int) -> openai.OpenAI:
    """Set up the client of OpenAI's or another server; nothing is sent.

    Raises:
        Vec2SlugError: ``OPENAI_API_KEY`` is not set, or the address is none.
    """
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not key:
        raise Vec2SlugError("expected a key in the environment, got none: set OPENAI_API_KEY")
    if base_url is not None and not re.match(r"https?://[^/]", base_url):
        raise Vec2SlugError(f"expected an address such as http://localhost:8000/v1, got {base_url}")
    return openai.OpenAI(api_key=key, base_url=base_url, timeout=timeout, max_retries=retries)


def address(client: openai.OpenAI) -> str:
    """Return the address of a server, without a user's name and password in it."""
    return re.sub(r"//[^/@]*@", "//", str(client.base_url)).rstrip("/")


def post(client: openai.OpenAI, path: str, body: dict[str, Any], retries: int | None = None) -> Any:
    """Send a request and return the JSON of its answer as it is; the text if it is none.

    The package's own methods fill an answer of another form into their classes without a look.

    Args:
        client: of the server.
        path: below the server's address.
        body: of the request.
        retries: how often the package may try again; as the client was set up if None.

    Raises:
        openai.OpenAIError: the server refused or could not be reached.
        ValueError: broken JSON.
    """
    if retries is None:
        answer = client.post(path, cast_to=object, body=body)
    else:
        answer = client.post(path, cast_to=object, body=body, options={"max_retries": retries})
    if isinstance(answer, str) and answer.lstrip().startswith("{"):
        return json.loads(answer)  # of a server that does not call it JSON
    return answer


def explain(error: Exception, wanted: str, client: openai.OpenAI) -> str:
    """Explain a failed request for ``wanted`` in one line, without the key."""
    return f"expected {wanted} from {address(client)}, but {reason(error, client)}"


def reason(error: Exception, client: openai.OpenAI) -> str:
    """Say why a request failed: its status, and the server's own words."""
    said = words(error, client)
    if isinstance(error, openai.AuthenticationError):
        return f"the server refuses the key: check OPENAI_API_KEY ({said})"
    if isinstance(error, openai.NotFoundError):
        return f"the server has no such model, or the address lacks its end, often /v1: {said}"
    if not isinstance(error, openai.OpenAIError):
        return f"the answer is not one of OpenAI's protocol: {said}"
    return f"the server says: {said}" if isinstance(error, openai.APIStatusError) else said


def words(error: Exception, client: openai.OpenAI) -> str:
    """Return a server's words about a failure behind its status, or what the client says."""
    if isinstance(error, openai.APIStatusError):
        return clean(f"{error.status_code} {said(error.body)}", client)
    cause = f" ({error.__cause__})" if isinstance(error, openai.APIConnectionError) else ""
    return clean(f"{error}{cause}", client)


def said(body: object) -> str:
    """Pick the message out of an answer, wherever a server puts it."""
    if isinstance(body, list) and body:
        return "; ".join(map(said, body))
    if isinstance(body, dict):
        for key in ("message", "error", "detail"):
            if body.get(key):
                return said(body[key])
        if "msg" in body:  # of a field, whose value may be all that was sent
            return f"{'.'.join(map(str, body.get('loc') or []))}: {body['msg']}"
    return body if isinstance(body, str) else json.dumps(body, ensure_ascii=False, default=str)


def clean(text: str, client: openai.OpenAI) -> str:
    """Bring words to one line of printable characters, shortened, without the key."""
    if len(client.api_key) >= SECRET:
        text = text.replace(client.api_key, "[key]")
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:SHOWN]
