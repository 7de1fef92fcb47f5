"""The files of the playground: the released model as a browser loads it."""

from __future__ import annotations

import json
import logging
import shutil
import sys
import warnings
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor

from ..common.files import atomic, write_json
from ..common.slugs import DOUBLED_WORDS
from ..data.examples import example_vectors, load_examples
from ..embedding.minilm import MAX_TOKENS, Encoder, MiniLMEmbedder, load_weights, model_folder
from ..inference.beam_search import MAX_CHARS
from ..inference.predictor import ReleaseConfig
from ..inference.steppers import GRAPHS

RUNTIME = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")  # of onnxruntime-web
READER = "reader.onnx"


def settings(config: ReleaseConfig) -> dict[str, Any]:
    """Return the decoding configuration of a release, as the playground's search takes it."""
    decoding = asdict(config.decoding) | {"max_chars": MAX_CHARS}
    decoding["stopwords"] = sorted(config.decoding.stopwords)
    decoding["doubled_words"] = sorted(DOUBLED_WORDS)
    return {"decoding": decoding, "risk": config.mbr.to_json() if config.mbr else None}


def collect(scripts: Path, release: Path, reader: Path, runtime: Path, out: Path) -> list[str]:
    """Put everything that the playground loads into one folder; ``files.json`` lists it.

    Args:
        scripts: folder of the page's scripts and style.
        release: folder with the int8 graph.
        reader: graph of `write_minilm_graph`.
        runtime: ``dist`` folder of the npm package onnxruntime-web.
        out: target folder.

    Returns:
        What is missing, in words for the page; without it the playground says so and stays shut.
    """
    out.mkdir(parents=True, exist_ok=True)
    sources = [*scripts.glob("*.js"), *scripts.glob("*.css"), *(runtime / name for name in RUNTIME)]
    sources += [release / GRAPHS["int8"], release / "model.json", reader]
    sources.append(model_folder() / "tokenizer.json")
    for source in filter(Path.is_file, sources):
        shutil.copy(source, out / source.name)
    complete = all((out / name).is_file() for name in RUNTIME)
    missing = [] if complete else ["onnxruntime-web (from npm)"]
    config = ReleaseConfig.load(release / "model.json")
    content = {
        "missing": missing,
        "writer": _sizes(out, (RUNTIME[1], GRAPHS["int8"], "model.json")),
        "reader": _sizes(out, (reader.name, "tokenizer.json")),
        "width": config.input_dim,
        "limit": MAX_TOKENS,
        "settings": settings(config),
    }
    write_json(out / "files.json", content)
    write_examples(out / "examples.json")
    return missing


def _sizes(folder: Path, names: Iterable[str]) -> list[dict[str, Any]]:
    paths = [folder / name for name in names]
    return [{"name": p.name, "bytes": p.stat().st_size} for p in paths if p.is_file()]


def write_examples(path: Path) -> None:
    """Write the book's examples with the vectors of their texts, to six digits."""
    vectors = example_vectors(MiniLMEmbedder("cpu", torch.float32)).astype(np.float64)
    rows = [
        {"title": example.title, "slug": example.slug, "text": example.text, "vector": vector}
        for example, vector in zip(load_examples(), vectors.round(6).tolist(), strict=True)
    ]
    path.write_text(json.dumps(rows), encoding="utf-8")


class Reader(torch.nn.Module):
    """The embedder: one text's tokens, int64 ``[1, T]``, to its unit vector ``[1, 384]``."""

    def __init__(self) -> None:
        super().__init__()
        weights = load_weights(model_folder() / "model.safetensors")
        self.encoder = Encoder(weights, torch.device("cpu"), torch.float32)

    def forward(self, token_ids: Tensor) -> Tensor:
        """Compute the direction of the mean over tokens."""
        return F.normalize(self.encoder(token_ids, None).sum(1))


def write_minilm_graph(path: Path) -> None:
    """Write the embedder's graph: ``token_ids`` int64 ``[1, T]`` to ``vector`` ``[1, 384]``.

    T is at most 256. Matrices are int8 with a scale a column, the inputs of products are quantised
    as they come.

    Raises:
        Vec2SlugError: the weights are missing, or are not the published ones.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    logging.getLogger("root").setLevel(logging.ERROR)  # the quantiser's advice on preprocessing
    length = torch.export.Dim("tokens", min=2, max=MAX_TOKENS)
    with TemporaryDirectory() as scratch, warnings.catch_warnings(), atomic(path) as temporary:
        warnings.simplefilter("ignore")
        exact = f"{scratch}/exact.onnx"
        torch.onnx.export(
            Reader(), (torch.ones(1, 16, dtype=torch.int64),), exact, dynamo=True, opset_version=20,
            input_names=["token_ids"], output_names=["vector"], external_data=False,
            dynamic_shapes=({1: length},), verbose=False,
        )  # fmt: skip
        quantize_dynamic(exact, temporary, per_channel=True, weight_type=QuantType.QInt8)


if __name__ == "__main__":
    write_minilm_graph(Path(sys.argv[1]))
