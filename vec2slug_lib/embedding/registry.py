"""The one registry of embedders: what the project knows of each, and how to open it.

A new embedder is a new row here; its key stands in names of vector files and in manifests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from ..common.errors import Vec2SlugError
from .base import Embedder

if TYPE_CHECKING:
    from .minilm import MiniLMEmbedder
    from .minilm_graph import MiniLMGraph


@dataclass(frozen=True)
class EmbedderInfo:
    """Description of an embedder.

    Attributes:
        key: its name in files, manifests and on the command line.
        model: its full name, as its makers have it.
        width: numbers of a vector.
        max_tokens: tokens of a text that it reads; what is beyond is cut off.
        open: makes it, with the options of its class.
        open_exact: makes the one that records and training vectors are made with; None if that is
            the same.
        prefix: what it wants before a document.
        normalised: whether its own vectors have unit norm; ours have in any case.
        local: whether it runs here, without a key.
    """

    key: str
    model: str
    width: int
    max_tokens: int
    open: Callable[..., Embedder]
    open_exact: Callable[..., Embedder] | None = None
    prefix: str = ""
    normalised: bool = True
    local: bool = False


@cache
def _open_graph(lean: bool = False) -> MiniLMGraph:
    from .minilm_graph import MiniLMGraph

    return MiniLMGraph(lean=lean)


@cache  # loading its weights takes a second
def open_minilm() -> MiniLMEmbedder:
    """Open MiniLM's exact weights in torch, which have vectors of single tokens too."""
    from .minilm import MiniLMEmbedder

    return MiniLMEmbedder()


def _open_remote(model: str, **options: Any) -> Embedder:
    from .openai_embedder import OpenAIEmbedder

    return OpenAIEmbedder(model, **options)


def _openai(model: str, width: int) -> EmbedderInfo:
    return EmbedderInfo(
        model, model, width, 8_191, lambda **options: _open_remote(model, **options)
    )


DEFAULT = "minilm"
SMALL = "text-embedding-3-small"  # the study's
EMBEDDERS = {
    info.key: info
    for info in (
        EmbedderInfo(DEFAULT, "all-MiniLM-L6-v2", 384, 256, _open_graph, open_minilm, local=True),
        _openai(SMALL, 1536),
        _openai("text-embedding-3-large", 3072),
        _openai("text-embedding-ada-002", 1536),
    )
}


def find_embedder(name: str) -> EmbedderInfo | None:
    """Find an embedder by its key or its full name; None if it is not in the registry."""
    known = (info for info in EMBEDDERS.values() if name in (info.key, info.model))
    return next(known, None)


def embedder_key(name: str) -> str:
    """Return an embedder's name as files have it, registered or not."""
    info = find_embedder(name)
    return info.key if info else name.replace("/", "_")


def full_name(key: str) -> str:
    """Return an embedder's full name; of one that is not registered, its key."""
    info = find_embedder(key)
    return info.model if info else key


def open_embedder(name: str = DEFAULT, exact: bool = False, **options: Any) -> Embedder:
    """Open an embedder.

    Args:
        name: key or full name of a registered one; or ``openai``, any model of a server that
            speaks OpenAI's protocol, with the options ``model``, ``base_url``, ``timeout``,
            ``dimensions``, ``batch_size``.
        exact: of MiniLM the published float32 weights in torch, as records and training vectors
            are made with, rather than its graph: rounded weights without torch, for slugs.
        options: of the embedder's class; of MiniLM's graph ``lean``, to take less memory.

    Raises:
        Vec2SlugError: no such embedder; its weights or its key are missing.
    """
    if name == "openai":
        return _open_remote(options.pop("model", None) or SMALL, **options)
    info = find_embedder(name)
    if info is None:
        names = ", ".join([*EMBEDDERS, "openai"])
        raise Vec2SlugError(f"expected embedder to be one of {names}, got {name!r}")
    opener = info.open_exact if exact and info.open_exact else info.open
    return opener(**options)
