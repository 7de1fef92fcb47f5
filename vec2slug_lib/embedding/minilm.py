"""all-MiniLM-L6-v2 in torch, of the exact weights: vectors to train on and to keep in records.

Weights come from a Python package, no network at any time. The encoder is written out in plain
torch because ``transformers.BertModel`` takes seconds to import, and because it leaves room for
batches without padding, which make it fast. Slugs of texts need no torch: see `minilm_graph`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor

from ..common.errors import Vec2SlugError
from ..common.vectors import Floats, Ints
from .registry import DEFAULT
from .wordpiece import (
    MODEL,
    TOKENIZER,
    WEIGHTS,
    WEIGHTS_SHA256,
    WIDTH,
    Batch,
    encode,
    open_tokenizer,
    pieces,
    weights_folder,
)

HEADS, LAYERS, EPSILON = 12, 6, 1e-12  # of the published model
BATCH_TOKENS = {"cpu": 4_096, "cuda": 131_072}
STEPS = (
    "attention.output.dense",
    "attention.output.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
)
Pair = tuple[Tensor, Tensor]  # weight and bias
Store = Callable[[Ints, Tensor, Tensor], None]  # rows, their states, which are real


def load_weights(path: Path) -> dict[str, Tensor]:
    """Read the float32 weights and check that they are the published ones.

    Raises:
        Vec2SlugError: the file is missing or its SHA-256 is not ``WEIGHTS_SHA256``.
    """
    if not path.is_file():
        raise Vec2SlugError(f"expected the MiniLM weights at {path}, found none")
    data = path.read_bytes()
    digest = sha256(data).hexdigest()
    if digest != WEIGHTS_SHA256:
        raise Vec2SlugError(f"expected {path} with SHA-256 {WEIGHTS_SHA256}, found {digest}")
    return safetensors.torch.load(data)


class Layer(NamedTuple):
    """Parameters of one encoder layer: query, key and value in one, then ``STEPS``."""

    projection: Pair
    output: Pair
    norm1: Pair
    widen: Pair
    narrow: Pair
    norm2: Pair


def _normalise(values: Tensor, parameters: Pair) -> Tensor:
    return F.layer_norm(values, (WIDTH,), parameters[0], parameters[1], EPSILON)


class Encoder:
    """BERT encoder (Devlin et al. 2019) with MiniLM's sizes, for inference only."""

    def __init__(
        self, weights: dict[str, Tensor], device: torch.device, dtype: torch.dtype
    ) -> None:
        """Arrange the published weights: query, key and value become one matrix."""

        def pair(name: str, dtype: torch.dtype = dtype) -> Pair:
            weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
            return weight.to(device, dtype), bias.to(device, dtype)

        self.device, self.dtype = device, dtype
        self.words = weights["embeddings.word_embeddings.weight"].to(device)
        # Every text is one segment, so the segment embedding is a constant of the position.
        segment = weights["embeddings.token_type_embeddings.weight"][0]
        self.positions = (weights["embeddings.position_embeddings.weight"] + segment).to(device)
        self.norm = pair("embeddings.LayerNorm", torch.float32)
        self.layers = []
        for index in range(LAYERS):
            layer = f"encoder.layer.{index}"
            parts = [pair(f"{layer}.attention.self.{part}") for part in ("query", "key", "value")]
            weight, bias = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
            steps = [pair(f"{layer}.{step}") for step in STEPS]
            self.layers.append(Layer((weight, bias), *steps))

    def __call__(self, tokens: Tensor, real: Tensor | None) -> Tensor:
        """Compute the last hidden states.

        Args:
            tokens: int64 [N, T].
            real: bool [N, T], false at padding; None where there is no padding.

        Returns:
            [N, T, 384] in the encoder's dtype.
        """
        count, length = tokens.shape
        mask = None if real is None else real[:, None, None, :]
        embedded = F.embedding(tokens, self.words) + self.positions[:length]
        hidden = _normalise(embedded, self.norm).to(self.dtype)
        for projection, output, norm1, widen, narrow, norm2 in self.layers:
            heads = F.linear(hidden, *projection).view(count, length, 3, HEADS, WIDTH // HEADS)
            query, key, value = heads.permute(2, 0, 3, 1, 4)
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
            mixed = mixed.transpose(1, 2).reshape(count, length, WIDTH)
            hidden = _normalise(hidden + F.linear(mixed, *output), norm1)
            wide = F.gelu(F.linear(hidden, *widen))
            hidden = _normalise(hidden + F.linear(wide, *narrow), norm2)
        return hidden


def _mean_direction(hidden: Tensor, real: Tensor) -> Floats:
    """Compute unit vectors [N, 384] of the mean over real tokens."""
    # The norm takes the division by the number of tokens out again: the sum is enough.
    sums = (hidden * real[:, :, None]).sum(1, dtype=torch.float32)
    unit: Floats = F.normalize(sums).cpu().numpy()
    return unit


def _inner_states(hidden: Tensor, real: Tensor) -> list[Floats]:
    """Return the states [T_i, 384] of each row's tokens between [CLS] and [SEP]."""
    states = hidden.float().cpu().numpy()
    return [row[1 : length - 1] for row, length in zip(states, real.sum(1).tolist(), strict=True)]


@contextmanager
def _one_thread_a_call() -> Iterator[None]:
    """Let each call of torch keep to its own thread for a while."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class MiniLMEmbedder:
    """Sentence embeddings of all-MiniLM-L6-v2 (mean over tokens, unit norm).

    A vector depends on the texts embedded with it by rounding alone (1e-6); with the same texts in
    the same order, it is the same bytes. In bfloat16 that rounding would change slugs.
    """

    key = DEFAULT
    name = MODEL
    dimensions = WIDTH

    def __init__(self, device: str | None = None, dtype: torch.dtype = torch.float32) -> None:
        """Load the weights.

        Args:
            device: "cpu" or "cuda"; by default CUDA where there is one.
            dtype: of the products; torch.bfloat16 is faster where the hardware has it, and rough.

        Raises:
            Vec2SlugError: the weights' package is missing, or not the published weights.
        """
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        folder = weights_folder()
        self.encoder = Encoder(load_weights(folder / WEIGHTS), self.device, dtype)
        self.tokenizer = open_tokenizer(folder / TOKENIZER)

    def batches(self, texts: Sequence[str]) -> Iterator[slice]:
        """Cut texts into pieces of 2,000."""
        return pieces(texts)

    def embed(self, texts: Sequence[str]) -> Floats:
        """Embed texts, each cut at 256 tokens, as unit vectors.

        Args:
            texts: N non-empty texts.

        Returns:
            float32 [N, 384], in the order of ``texts``.

        Raises:
            Vec2SlugError: a text is empty or not a string; the message names its row.
        """
        vectors = np.empty((len(texts), WIDTH), dtype=np.float32)

        def store(rows: Ints, hidden: Tensor, real: Tensor) -> None:
            vectors[rows] = _mean_direction(hidden, real)

        self._encode(texts, store)
        return vectors

    def token_embeddings(self, texts: Sequence[str]) -> list[Floats]:
        """Compute the last hidden states of each text's tokens, without [CLS] and [SEP].

        Args:
            texts: N non-empty texts.

        Returns:
            N arrays float32 [T_i, 384], in the order of ``texts``.

        Raises:
            Vec2SlugError: a text is empty or not a string; the message names its row.
        """
        states: list[Floats] = [np.empty((0, WIDTH), np.float32)] * len(texts)

        def store(rows: Ints, hidden: Tensor, real: Tensor) -> None:
            for row, values in zip(rows, _inner_states(hidden, real), strict=True):
                states[row] = values

        self._encode(texts, store)
        return states

    def _encode(self, texts: Sequence[str], store: Store) -> None:
        """Hand the rows of each batch, their states [N, T, 384] and which are real to ``store``."""

        def run(batch: Batch) -> None:
            real, padded = torch.from_numpy(batch.real).to(self.device), not batch.real.all()
            tokens = torch.from_numpy(batch.tokens).to(self.device)
            with torch.inference_mode():
                store(batch.rows, self.encoder(tokens, real if padded else None), real)

        batches = encode(self.tokenizer, texts, BATCH_TOKENS[self.device.type])
        # One batch a core beats one batch on all cores: no core waits for another at every layer,
        # which costs most when the machine has other work.
        workers = torch.get_num_threads() if self.device.type == "cpu" else 1
        with _one_thread_a_call(), ThreadPoolExecutor(workers) as pool:
            list(pool.map(run, batches))
