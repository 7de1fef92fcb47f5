"""What a release folder says of its model, and which of its graphs to decode with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..common.errors import Vec2SlugError
from ..common.files import read_json
from ..common.workspace import model_folder
from .mbr import MBRConfig
from .settings import DecodingConfig
from .steppers import GRAPHS, PLAIN

Precision = Literal["float32", "int8"]
DEFAULT_MODEL = model_folder("vec2slug-minilm-small")
WEIGHTS = ("model.safetensors", "model.pt")  # ours, and the study's
# What a decoder's shape must say, and the settings of its search with the keys that the study gave
# them: both as they stand in ``model.json``.
SHAPE = ("input_dim", "embed_dim", "num_heads", "num_layers", "max_slug_tokens", "vocab_size")
DECODING_KEYS = {
    "beam_width": "beam_width",
    "length_reward": "length_reward",
    "reward_cap": "reward_cap",
    "min_tokens": "min_decode_tokens",
    "min_words": "min_slug_words",
}


@dataclass(frozen=True)
class ReleaseConfig:
    """What the weights do not hold: ``model.json``, and the embedder of the manifest."""

    shape: dict[str, Any]  # sizes of the decoder
    token_strings: list[str]
    decoding: DecodingConfig
    mbr: MBRConfig | None  # of a decoder with a bag-of-words head
    embedder: str = ""  # key of the embedder whose vectors it reads; empty if it is not known

    @property
    def input_dim(self) -> int:
        """Return the width of the vectors."""
        return int(self.shape["input_dim"])

    @classmethod
    def load(cls, path: Path) -> ReleaseConfig:
        """Read ``model.json`` in the study's layout.

        Raises:
            Vec2SlugError: missing, not JSON, or without the expected keys.
        """
        content = read_json(path)
        try:
            vocab, beams = content["vocab"], content["beam_search"]
            shape = content["model"] | {name: int(content["model"][name]) for name in SHAPE}
            mbr = MBRConfig.from_json(content["risk"]) if "risk" in content else None
            decoding = DecodingConfig(
                **{field: beams[key] for field, key in DECODING_KEYS.items()},
                max_tokens=shape["max_slug_tokens"],
                stopwords=frozenset(content["stopwords"]),
                sound_words=mbr is None,  # MBR decoding asks for them itself
            )
            strings = [vocab[str(index)] for index in range(shape["vocab_size"])]
            return cls(shape, strings, decoding, mbr, _embedder_of(path.parent))
        except (KeyError, TypeError, ValueError) as error:
            raise Vec2SlugError(
                f"expected a model description in {path}; missing {error}"
            ) from error


def _embedder_of(folder: Path) -> str:
    """Read from a release's manifest whose vectors it takes; empty where nothing is said."""
    path = folder / "manifest.train.json"
    manifest = read_json(path) if path.is_file() else {}
    # Of the first releases none says so: there was one embedder then.
    return str(manifest.get("embedder", "minilm")) if "experiment" in manifest else ""


def lacks_graph(folder: Path, precision: Precision) -> bool:
    """Tell whether a folder has weights, but not yet the graph that is made of them."""
    graph = folder / GRAPHS.get(precision, PLAIN)
    weights = any((folder / name).is_file() for name in WEIGHTS)
    return weights and (not graph.is_file() or is_stale(folder))


def is_stale(folder: Path) -> bool:
    """Tell whether the graphs were made of other weights than the folder's, by its manifests."""
    trained, made = (folder / f"manifest.{part}.json" for part in ("train", "onnx"))
    if not (trained.is_file() and made.is_file()):
        return False
    wanted, found = read_json(trained).get("sha256"), read_json(made).get("made_of")
    if not (isinstance(wanted, dict) and isinstance(found, dict)):  # of the study's manifests
        return False
    return any(wanted.get(name, sha256) != sha256 for name, sha256 in found.items())


def graph_path(folder: Path, precision: Precision) -> Path:
    """Find the graph to decode with: ours with a cache, or else the study's without one.

    Raises:
        Vec2SlugError: an unknown precision, or no such graph, or one of other weights.
    """
    if precision not in GRAPHS:
        raise Vec2SlugError(f"expected precision to be one of {list(GRAPHS)}, got {precision!r}")
    path, plain = folder / GRAPHS[precision], folder / PLAIN
    if is_stale(folder):
        raise Vec2SlugError(
            f"expected graphs of the weights in {folder}, got those of others: make them anew with "
            f"vec2slug export {folder}"
        )
    if path.is_file():
        return path
    if precision == "float32" and plain.is_file():
        return plain
    how = f"; make it once with: vec2slug export {folder}" * lacks_graph(folder, precision)
    raise Vec2SlugError(f"expected {path.name} in {folder}, found none{how}")
