"""Quantization ranges of a decoder's activations, for a graph that multiplies int8.

A range is fixed when the graph is written. Scales taken from the batch at hand would be as good,
but then what a row gets would depend on the rows beside it.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..model.decoder import Attention, Decoder

OUTSIDE = 1e-5  # share of the values that may lie beyond either end of a range


def activation_ranges(
    model: Decoder, vectors: Tensor, token_ids: Tensor, outside: float = OUTSIDE
) -> dict[str, tuple[float, float]]:
    """Measure the lowest and highest input of every linear layer behind the prefix.

    Args:
        model: in evaluation mode.
        vectors: unit embeddings ``[N, input_dim]`` such as the model will meet.
        token_ids: ``<bos>`` and slugs, int64 ``[N, T]``.
        outside: share of the values left out at either end; they are clipped.

    Returns:
        The two ends by the name of the layer's weight.
    """
    ranges: dict[str, tuple[float, float]] = {}

    def note(name: str, _: nn.Module, inputs: tuple[Any, ...]) -> None:
        values = inputs[0].flatten()
        count = int(outside * len(values)) + 1
        low, high = (float(values.topk(count, largest=up).values[-1]) for up in (False, True))
        # A range must hold 0, which is a byte of its own.
        ranges[name] = (min(low, 0.0), max(high, 0.0))

    with ExitStack() as hooks, torch.inference_mode():
        for name, module in model.named_modules():
            if weight := _weight(name, module, model.config.tied):
                hooks.callback(module.register_forward_pre_hook(partial(note, weight)).remove)
        model(vectors, token_ids)
    return ranges


def _weight(name: str, module: nn.Module, tied: bool) -> str:
    """Return the weight that a module's input is multiplied with; empty if none is quantised."""
    if isinstance(module, Attention):
        return f"{name}.in_proj_weight"
    if isinstance(module, nn.Linear) and name.startswith("blocks."):
        return f"{name}.weight"
    if name == "output_projection":
        return "token_embedding.weight" if tied else f"{name}.weight"
    return ""
