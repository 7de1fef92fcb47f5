"""The study's first model: one pass from an embedding to a set of words and their number.

The words are clusters of words, each with a probability of its own; a second head says how many
of them to take. The order is not the model's affair.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from ..common.errors import Vec2SlugError
from ..common.files import atomic
from ..common.slugs import MAX_WORDS, MIN_WORDS
from ..common.vectors import Floats, Ints
from .weights import read_weights

BLOCK = 1024  # rows in one pass without gradients

Clusters = Sequence[Sequence[int]]
WordLists = list[list[int]]

LENGTHS = MAX_WORDS - MIN_WORDS + 1  # classes of the length head


@dataclass(frozen=True)
class MLPConfig:
    """Shape of an MLP; two of one config have the same parameters."""

    input_dim: int = 384  # width of the text embedding
    hidden_dim: int = 768
    num_layers: int = 2
    vocab_size: int = 5000  # clusters of words
    dropout: float = 0.2
    scaled_input: bool = False  # multiply the unit vector by sqrt(input_dim); False is the study

    def __post_init__(self) -> None:
        if self.vocab_size < MAX_WORDS:
            raise Vec2SlugError(f"expected {MAX_WORDS} clusters or more, got {self.vocab_size}")


class MLP(nn.Module):
    """Embedding to one logit a cluster and one a slug length."""

    def __init__(self, config: MLPConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.input_dim] + [config.hidden_dim] * config.num_layers
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.dropout = nn.Dropout(config.dropout)
        self.token_head = nn.Linear(widths[-1], config.vocab_size)
        self.length_head = nn.Linear(widths[-1], LENGTHS)

    def hidden(self, src_embedding: Tensor) -> Tensor:
        """Compute the last hidden layer, ``[N, hidden_dim]``.

        Raises:
            Vec2SlugError: the embeddings have another width.
        """
        width = self.config.input_dim
        if src_embedding.shape[-1] != width:
            raise Vec2SlugError(
                f"expected embeddings of width {width}, got {src_embedding.shape[-1]}"
            )
        x = src_embedding * math.sqrt(width) if self.config.scaled_input else src_embedding
        for layer in self.layers:
            x = self.dropout(F.relu(layer(x)))
        return x

    def forward(self, src_embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Compute token logits ``[N, vocab]`` and length logits ``[N, 6]`` (3 to 8 words).

        Args:
            src_embedding: Unit-norm text embeddings, float ``[N, input_dim]``.
        """
        hidden = self.hidden(src_embedding)
        return self.token_head(hidden), self.length_head(hidden)


def save_mlp(model: MLP, path: Path | str) -> None:
    """Write the weights as safetensors, atomically."""
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    with atomic(path) as temporary:
        save_file(state, temporary)


def load_mlp(config: MLPConfig, path: Path | str) -> MLP:
    """Build an MLP from its weight file, in evaluation mode.

    Raises:
        Vec2SlugError: the file cannot be read, or its names or shapes are not the config's.
    """
    model = MLP(config)
    model.load_state_dict(read_weights(model, path))
    return model.eval()


def hidden(model: MLP, vectors: Floats) -> Floats:
    """Compute the last hidden layer [N, hidden_dim] of ``vectors`` [N, input_dim], no dropout."""
    device = next(model.eval().parameters()).device
    with torch.inference_mode():
        blocks = torch.from_numpy(np.ascontiguousarray(vectors)).split(BLOCK)
        return torch.cat([model.hidden(block.to(device)).cpu() for block in blocks]).numpy()


def outputs(model: MLP, vectors: Floats) -> Outputs:
    """Compute hidden layer and logits of both heads of ``vectors`` [N, input_dim], no dropout."""
    last = hidden(model, vectors)
    with torch.inference_mode():
        state = torch.from_numpy(last).to(next(model.parameters()).device)
        heads = model.token_head(state), model.length_head(state)
    return Outputs(last, *(head.cpu().numpy() for head in heads))


def predict(model: MLP, vectors: Floats, names: Sequence[str]) -> list[tuple[str, float]]:
    """Predict slug and score of each vector: the likeliest words, as many as the head says.

    The score is the log-probability, in nats, of the length plus those of the words.

    Args:
        model: Left in evaluation mode.
        vectors: Unit rows, float32 ``[N, input_dim]``.
        names: The word of each cluster.

    Raises:
        Vec2SlugError: the model has another number of clusters, or another input width.
    """
    if len(names) != model.config.vocab_size:
        raise Vec2SlugError(f"expected {model.config.vocab_size} names, got {len(names)}")
    slugs: list[tuple[str, float]] = []
    for begin in tqdm(range(0, len(vectors), BLOCK), "predicting", leave=False, delay=2):
        block = outputs(model, vectors[begin : begin + BLOCK])
        ids = top(block.tokens)
        chosen = np.arange(MAX_WORDS) < block.counts[:, None]
        best = torch.from_numpy(np.take_along_axis(block.tokens, ids, 1))
        scores = torch.from_numpy(block.lengths).log_softmax(1).amax(1).numpy()
        scores = scores + (F.logsigmoid(best).numpy() * chosen).sum(1)
        lists = cut(ids, block.counts)
        slugs += zip(spell(lists, names), scores.tolist(), strict=True)
    return slugs


@dataclass(frozen=True)
class Outputs:
    """A model's outputs for N rows: hidden [N, d], tokens [N, k], lengths [N, 6], all float32."""

    hidden: Floats
    tokens: Floats
    lengths: Floats

    @property
    def counts(self) -> Ints:
        """Number of words by the length head, [N]."""
        return np.asarray(self.lengths.argmax(1) + MIN_WORDS)


def top(scores: Floats) -> Ints:
    """Return the eight highest-scoring clusters of rows of ``scores`` [N, k], best first."""
    best = np.argpartition(-scores, MAX_WORDS - 1, axis=1)[:, :MAX_WORDS]
    order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable")
    return np.take_along_axis(best, order, 1)


def cut(ids: Ints, counts: Ints) -> WordLists:
    """Return the first ``counts[i]`` entries of row i of ``ids`` [N, 8]."""
    return [row[:count] for row, count in zip(ids.tolist(), counts.tolist(), strict=True)]


def spell(lists: WordLists, names: Sequence[str]) -> list[str]:
    """Spell the slugs of lists of cluster ids; ``names[i]`` is the word of cluster i."""
    return ["-".join(names[i] for i in ids) for ids in lists]
