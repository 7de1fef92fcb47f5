"""From vectors to slugs with a released model, by numpy and onnxruntime alone.

A predictor searches slugs with a beam, one token at a time, over an ONNX graph; of the finished
ones it takes that of minimum Bayes risk, with the evidence of an index of known slugs and of an
embedder where it is given them.

In: unit vectors ``[N, D]`` and a release folder. Out: slugs with scores, in memory or in files.
It knows only `common`.
"""

from .beam_search import Candidate, search
from .index import Index
from .mbr import MBRConfig
from .predictor import SlugPredictor
from .release_folder import DEFAULT_MODEL, ReleaseConfig
from .settings import DecodingConfig, SlugSettings

__all__ = [
    "DEFAULT_MODEL",
    "Candidate",
    "DecodingConfig",
    "Index",
    "MBRConfig",
    "ReleaseConfig",
    "SlugPredictor",
    "SlugSettings",
    "search",
]
