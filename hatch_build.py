"""Put the models into wheel and sdist: their graphs are made of weights, and not committed."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODELS = {
    "vec2slug-minilm-small": (
        "README.md",
        "manifest.onnx.json",
        "manifest.train.json",
        "model.json",
        "model_cached.onnx",
        "model_quantized.onnx",
        "training_vectors.npz",
    ),
    "all-MiniLM-L6-v2": (
        "LICENSE",
        "README.md",
        "manifest.onnx.json",
        "reader.onnx",
        "tokenizer.json",
    ),
}


class Models(BuildHookInterface):
    """Add what inference reads of a model; weights, from which graphs are made, stay out."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the files, of a checkout from ``data/models``.

        Raises:
            FileNotFoundError: one is missing.
        """
        if version == "editable":
            return
        inside = "vec2slug_lib" if self.target_name == "wheel" else "data"
        for model, names in MODELS.items():
            for name in names:
                path = Path(self.root, "data", "models", model, name)
                if not path.is_file():
                    raise FileNotFoundError(f"expected {path}, found none: run `make wheel`")
                build_data["force_include"][str(path)] = f"{inside}/models/{model}/{name}"
