"""all-MiniLM-L6-v2 as an int8 ONNX graph, small enough to be read by a browser."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor

from .files import atomic
from .minilm import MAX_TOKENS, Encoder, load_weights, model_folder


class Reader(torch.nn.Module):
    """One text's tokens, int64 ``[1, T]``, to its unit vector ``[1, 384]``."""

    def __init__(self) -> None:
        super().__init__()
        weights = load_weights(model_folder() / "model.safetensors")
        self.encoder = Encoder(weights, torch.device("cpu"), torch.float32)

    def forward(self, token_ids: Tensor) -> Tensor:
        """The direction of the mean over tokens."""
        return F.normalize(self.encoder(token_ids, None).sum(1))


def write_minilm_graph(path: Path) -> None:
    """Write the graph: ``token_ids`` int64 ``[1, T]``, T up to 256, to ``vector`` ``[1, 384]``.

    Matrices are int8 with a scale a column, the inputs of products are quantised as they come.

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
