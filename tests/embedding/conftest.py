"""A server of OpenAI's protocol, a key for it, and no pauses."""

import pytest
from openai_server import KEY, OpenAIServer


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
