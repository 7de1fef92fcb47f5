"""Turn text embeddings into URL slugs: the library under the book.

>>> from vec2slug_lib import SlugPredictor, open_embedder
>>> predictor = SlugPredictor.from_dir(embedder=open_embedder("minilm"))
>>> predictor.predict_texts(["How to install and configure a web server on Linux"])
['install-web-server-on-linux']

Vectors go in by ``predictor.predict(vectors)``, ``predict_topk`` and ``stream``. The rooms:
`common`, `inference`, `embedding`, `data`, `model`, `evaluation`, `training`, `release`,
`experiments` and `cli`. Names are loaded on first use, so that a slug needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .common.private import switch_off

if TYPE_CHECKING:
    from .common.errors import Vec2SlugError as Vec2SlugError
    from .common.slugs import is_valid as is_valid
    from .common.slugs import slugify as slugify
    from .common.workspace import Workspace as Workspace
    from .data import load_dataset as load_dataset
    from .embedding.minilm import MiniLMEmbedder as MiniLMEmbedder
    from .embedding.openai_embedder import OpenAIEmbedder as OpenAIEmbedder
    from .embedding.registry import open_embedder as open_embedder
    from .evaluation.metrics import evaluate as evaluate
    from .experiments.run import record as record
    from .inference.index import Index as Index
    from .inference.predictor import SlugPredictor as SlugPredictor
    from .inference.settings import SlugSettings as SlugSettings
    from .release.release import export_release as export_release

switch_off()

__version__ = "0.1.0"

_MODULES = {
    "SlugPredictor": "inference",
    "SlugSettings": "inference",
    "Index": "inference",
    "Vec2SlugError": "common",
    "slugify": "common",
    "is_valid": "common",
    "Workspace": "common.workspace",
    "open_embedder": "embedding",
    "MiniLMEmbedder": "embedding.minilm",
    "OpenAIEmbedder": "embedding.openai_embedder",
    "load_dataset": "data",
    "evaluate": "evaluation",
    "record": "experiments.run",
    "export_release": "release",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    """Load a public name from its room on first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    """List the public names too that are not loaded yet."""
    return sorted({*globals(), *__all__})
