"""From texts to unit vectors, by a local model or a server.

One registry describes the embedders; a job embeds a file of any length, is killed and goes on, and
pays for no text twice.

In: texts. Out: float32 unit rows in their order, with a manifest that names the embedder.
It knows only `common`; a model is loaded when it is opened, not when this room is imported.
"""

from .base import Embedder
from .registry import EMBEDDERS, EmbedderInfo, find_embedder, open_embedder

__all__ = ["EMBEDDERS", "Embedder", "EmbedderInfo", "find_embedder", "open_embedder"]
