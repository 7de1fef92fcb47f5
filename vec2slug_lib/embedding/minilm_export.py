"""Make the graph of `minilm_graph` of the published weights: torch and onnx, once."""

from __future__ import annotations

import logging
import shutil
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from filelock import FileLock
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from ..common.files import atomic, file_sha256, write_json
from ..common.workspace import model_folder
from .minilm import Encoder, load_weights
from .minilm_graph import MANIFEST, READER, is_made
from .wordpiece import (
    MAX_TOKENS,
    MODEL,
    TOKENIZER,
    WEIGHTS,
    WEIGHTS_SHA256,
    WIDTH,
    weights_folder,
)


def make_reader(folder: Path, anew: bool = False) -> None:
    """Write the graph, its tokenizer and their manifest, unless another process just has.

    Args:
        folder: of the three files.
        anew: whether to write them also if they are there.

    Raises:
        Vec2SlugError: the weights are missing, or are not the published ones.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".reader.lock"):
        if is_made(folder) and not anew:
            return
        (folder / MANIFEST).unlink(missing_ok=True)  # of a graph that goes now
        write_minilm_graph(folder / READER)
        with atomic(folder / TOKENIZER) as temporary:
            shutil.copyfile(weights_folder() / TOKENIZER, temporary)
        hashes = {name: file_sha256(folder / name) for name in (READER, TOKENIZER)}
        made_of = {WEIGHTS: WEIGHTS_SHA256}
        write_json(folder / MANIFEST, {"sha256": hashes, "made_of": made_of})


class Reader(torch.nn.Module):
    """The embedder: tokens int64 ``[N, T]`` and which are real, bool, to unit vectors."""

    def __init__(self) -> None:
        super().__init__()
        weights = load_weights(weights_folder() / WEIGHTS)
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
        forget_sources(model.graph)
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


def forget_sources(graph: onnx.GraphProto) -> None:
    """Remove what the exporter notes of its sources: paths of the machine that it ran on."""
    for part in (graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        del part.metadata_props[:]
    del graph.value_info[:]


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
    make_reader(model_folder(MODEL), anew=True)
