"""Embedding initialisation: tables made of the embedder's own vectors of the tokens.

A slug's words lie close to its page in the space of an embedder that was trained on sentences and
their neighbours. A decoder that begins with random tables has to find that out word by word, and
never does for words it meets once; one that begins with the embedder's vectors of its tokens knows
it before the first step.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..common.errors import Vec2SlugError
from ..common.vectors import Floats
from ..common.vocabulary import SPECIALS
from ..embedding.base import Embedder
from .decoder import BagOfWordsHead, Decoder

SCALE = 0.5  # of a unit vector: a tied table serves as input too, where 0.02 an entry is usual


def token_vectors(tokens: Sequence[str], embedder: Embedder) -> Floats:
    """Embed the tokens as texts: unit vectors ``[V, input_dim]``; zero for the special tokens."""
    first = len(SPECIALS)
    pieces = [embedder.embed(tokens[first:][piece]) for piece in embedder.batches(tokens[first:])]
    vectors = np.concatenate(pieces)
    return np.concatenate([np.zeros((first, vectors.shape[1]), np.float32), vectors])


def projection(vectors: Floats, width: int) -> Floats:
    """Return a matrix ``[width, input_dim]`` that takes vectors to a table of another width.

    The identity where the widths agree, else the directions in which the vectors vary most.
    """
    if vectors.shape[1] == width:
        return np.eye(width, dtype=np.float32)
    directions = np.linalg.eigh(vectors.T @ vectors)[1][:, ::-1].T[:width]
    padding = np.zeros((width - len(directions), vectors.shape[1]))
    return np.concatenate([directions, padding]).astype(np.float32)


def fill(model: Decoder, vectors: Floats, counts: Sequence[int]) -> None:
    """Set both token tables, the output bias and the head's straight path, in place.

    Args:
        model: a new decoder.
        vectors: `token_vectors` of its vocabulary.
        counts: how often each token occurs in training slugs, ``[V]``.

    Raises:
        Vec2SlugError: the shapes are not the model's.
    """
    expected = (model.config.vocab_size, model.config.input_dim)
    if vectors.shape != expected or len(counts) != expected[0]:
        shapes = f"{vectors.shape} and {len(counts)} counts"
        raise Vec2SlugError(f"expected token vectors {expected} and a count each, got {shapes}")
    down = projection(vectors, model.config.embed_dim)
    table = torch.from_numpy(SCALE * vectors @ down.T)
    log_counts = torch.log(torch.as_tensor(counts) + 0.5).float()
    with torch.no_grad():
        specials = len(SPECIALS)
        model.token_embedding.weight[specials:] = table[specials:]
        model.output_projection.weight[specials:] = table[specials:]
        model.output_projection.bias.copy_(log_counts - log_counts.mean())
        if isinstance(model.word_head, BagOfWordsHead):
            model.word_head.straight.weight.copy_(torch.from_numpy(down))
