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
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from ..common.files import atomic, write_json
from ..common.slugs import DOUBLED_WORDS
from ..data.examples import example_vectors, load_examples
from ..embedding.minilm import (
    MAX_TOKENS,
    WIDTH,
    Encoder,
    MiniLMEmbedder,
    load_weights,
    model_folder,
)
from ..inference.beam_search import MAX_CHARS
from ..inference.predictor import Precision, ReleaseConfig
from ..inference.steppers import GRAPHS

RUNTIME = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")  # of onnxruntime-web
READER = "reader.onnx"
PRECISION: Precision = "float32"  # as the command line has it; WebAssembly gains little by int8


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
        release: folder with the graphs.
        reader: graph of `write_minilm_graph`.
        runtime: ``dist`` folder of the npm package onnxruntime-web.
        out: target folder.

    Returns:
        What is missing, in words for the page; without it the playground says so and stays shut.
    """
    out.mkdir(parents=True, exist_ok=True)
    sources = [*scripts.glob("*.js"), *scripts.glob("*.css"), *(runtime / name for name in RUNTIME)]
    sources += [release / GRAPHS[PRECISION], release / "model.json", reader]
    sources.append(model_folder() / "tokenizer.json")
    for source in filter(Path.is_file, sources):
        shutil.copy(source, out / source.name)
    complete = all((out / name).is_file() for name in RUNTIME)
    missing = [] if complete else ["onnxruntime-web (from npm)"]
    config = ReleaseConfig.load(release / "model.json")
    content = {
        "missing": missing,
        "writer": _sizes(out, (RUNTIME[1], GRAPHS[PRECISION], "model.json")),
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
    """The embedder: tokens int64 ``[N, T]`` and which are real, bool, to unit vectors."""

    def __init__(self) -> None:
        super().__init__()
        weights = load_weights(model_folder() / "model.safetensors")
        self.encoder = Encoder(weights, torch.device("cpu"), torch.float32)

    def forward(self, token_ids: Tensor, real: Tensor) -> Tensor:
        """Compute the direction of the mean over real tokens ``[N, 384]``."""
        return F.normalize((self.encoder(token_ids, real) * real[:, :, None]).sum(1))


def write_minilm_graph(path: Path) -> None:
    """Write the embedder's graph: ``token_ids`` and ``real`` ``[N, T]`` to ``vectors``.

    T is at most 256. Matrices are stored as int8.

    Raises:
        Vec2SlugError: the weights are missing, or are not the published ones.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    texts, tokens = torch.export.Dim("texts"), torch.export.Dim("tokens", min=2, max=MAX_TOKENS)
    example = torch.ones(2, 16, dtype=torch.int64)
    with TemporaryDirectory() as scratch, warnings.catch_warnings(), atomic(path) as temporary:
        warnings.simplefilter("ignore")
        exact = f"{scratch}/exact.onnx"
        torch.onnx.export(
            Reader(), (example, example > 0), exact, dynamo=True, opset_version=20,
            input_names=["token_ids", "real"], output_names=["vectors"], external_data=False,
            dynamic_shapes=({0: texts, 1: tokens},) * 2, verbose=False,
        )  # fmt: skip
        model = onnx.load(exact)
        store_bytes(model.graph)
        onnx.save(model, temporary)


def store_bytes(graph: onnx.GraphProto) -> None:
    """Store a graph's matrices as int8, with a scale a column or, of a table, a row.

    All is computed in float32: inputs of products as bytes would move the vectors ten times as far,
    and WebAssembly multiplies bytes no faster.
    """
    matrices = {t.name: t for t in graph.initializer if len(t.dims) == 2 and min(t.dims) >= WIDTH}
    nodes = []
    for node in graph.node:
        name = next((name for name in node.input if name in matrices), "")
        if not name or node.op_type not in ("MatMul", "Gather"):
            nodes.append(node)
            continue
        product = node.op_type == "MatMul"
        values = numpy_helper.to_array(matrices[name])
        scales = np.abs(values).max(axis=0 if product else 1, keepdims=True) / 127
        parts = {"codes": np.round(values / scales).astype(np.int8), "scales": scales}
        if product:
            parts["scales"] = scales[0]
        graph.initializer.remove(matrices[name])
        graph.initializer.extend(
            numpy_helper.from_array(part, f"{name}.{key}") for key, part in parts.items()
        )
        nodes += _restored(node, name)
    del graph.node[:]
    graph.node.extend(nodes)


def _restored(node: onnx.NodeProto, name: str) -> list[onnx.NodeProto]:
    """Return the node with its matrix restored, or of a table the rows that it looks up."""
    codes, scales = f"{name}.codes", f"{name}.scales"
    if node.op_type == "MatMul":
        return [helper.make_node("DequantizeLinear", [codes, scales], [name], axis=1), node]
    ids, out = node.input[1], node.output[0]
    return [
        helper.make_node("Gather", [codes, ids], [f"{out}.codes"]),
        helper.make_node("Cast", [f"{out}.codes"], [f"{out}.values"], to=TensorProto.FLOAT),
        helper.make_node("Gather", [scales, ids], [f"{out}.scales"]),
        helper.make_node("Mul", [f"{out}.values", f"{out}.scales"], [out]),
    ]


if __name__ == "__main__":
    write_minilm_graph(Path(sys.argv[1]))
