"""Weights of a decoder on disk: the study's names, safetensors, or int8 for a release."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..common.errors import Vec2SlugError
from ..common.files import atomic
from .decoder import Decoder, DecoderConfig

# What the embedding is multiplied with: the input scale goes into these.
INPUTS = ("embedding_projection.weight", "word_head.straight.weight", "word_head.network.0.weight")


def folded_state(model: Decoder) -> dict[str, Tensor]:
    """Return the weights in the study's layout: input scale folded in, a tied table once."""
    state = {name: value.detach().cpu().contiguous() for name, value in model.named_parameters()}
    return {k: v * model.input_scale if k in INPUTS else v for k, v in state.items()}


def save_decoder(model: Decoder, path: Path | str, int8: bool = False) -> None:
    """Write `folded_state` as safetensors, atomically; ``int8`` takes a quarter of the bytes."""
    state = folded_state(model)
    with atomic(path) as temporary:
        save_file(quantised(state) if int8 else state, temporary)


def quantised(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Quantise matrices to int8 with a float32 scale a row, under ``<name>.scale``."""
    small: dict[str, Tensor] = {}
    for name, value in state.items():
        if value.ndim != 2:
            small[name] = value
            continue
        scale = (value.abs().amax(1) / 127).clamp_min(1e-12)
        small[name] = (value / scale[:, None]).round().to(torch.int8)
        small[f"{name}.scale"] = scale
    return small


def dequantised(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return float32 weights of a state that may be `quantised`."""
    return {
        name: value.float() * state[f"{name}.scale"][:, None]
        if value.dtype == torch.int8
        else value.float()
        for name, value in state.items()
        if not name.endswith(".scale")
    }


def read_state(path: Path | str) -> dict[str, Tensor]:
    """Read a ``.safetensors`` file, or a ``.pt`` state dict as the study released it.

    Raises:
        Vec2SlugError: the file is missing, truncated, or holds more than tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise Vec2SlugError(f"expected weights at {path}, found none")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # both packages raise their own kinds
        raise Vec2SlugError(f"expected weights in {path}, but: {error}") from error


def read_weights(model: nn.Module, path: Path | str) -> dict[str, Tensor]:
    """Read weights in float32 and check that they fit the model.

    Raises:
        Vec2SlugError: the file cannot be read, or its names or shapes are not the model's.
    """
    state = dequantised(read_state(path))
    wanted = {name: tuple(value.shape) for name, value in model.named_parameters()}
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    for name in sorted(wanted.keys() | shapes.keys()):
        if wanted.get(name) != shapes.get(name):
            raise Vec2SlugError(
                f"expected {name} of shape {wanted.get(name)} in {path}, got {shapes.get(name)}"
            )
    return state


def load_decoder(config: DecoderConfig, path: Path | str) -> Decoder:
    """Build a decoder from a weight file in the study's layout, in evaluation mode.

    A config with ``scaled_input`` gives the same function: the scale is taken out again.

    Raises:
        Vec2SlugError: the file cannot be read, or its names or shapes are not the config's.
    """
    model = Decoder(config)
    state = read_weights(model, path)
    state = {k: v / model.input_scale if k in INPUTS else v for k, v in state.items()}
    model.load_state_dict(state, strict=False)  # a tied table is in it once, but twice in a model
    return model.eval()
