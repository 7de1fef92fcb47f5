"""Another page's prefix: the control of a knockout, which also shows a decoder what it never saw.

A swapped decoder has two prefixes before the slug, the page's own and another's. Of these, each
head of each token sees one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from vec2slug_lib.common.vectors import Ints
from vec2slug_lib.model.decoder import Block, Decoder
from vec2slug_lib.model.interpret import Blocked


def other_pages(topics: ArrayLike, seed: int = 0) -> Ints:
    """Draw another page for each of N pages, each once, of another topic if there are enough.

    Args:
        topics: the topic of each page.
        seed: of the draw.

    Returns:
        A permutation [N]; it holds a page of the same topic only if one topic has over half of
        them, and a page itself only if there is no other.
    """
    labels = np.asarray(topics)
    size = len(labels)
    costs = np.random.default_rng(seed).random((size, size))
    costs += size * (labels[:, None] == labels) + size**2 * np.eye(size)
    pages: Ints = linear_sum_assignment(costs)[1]
    return pages


@contextmanager
def swap(model: Decoder, selected: Blocked) -> Iterator[None]:
    """Show another prefix to some heads of some tokens, within the context.

    The bag-of-words head, if there is one, reads the page's own vector as ever.

    Args:
        model: a decoder in evaluation mode that is called with whole sequences, within the context
            with two vectors a row side by side, ``[N, 2 * input_dim]``: its own and the other's.
        selected: which heads of which tokens see the other's.
    """
    model.hidden = partial(swapped_hidden, model, selected)  # type: ignore[method-assign]
    try:
        yield
    finally:
        del model.hidden  # the method of the class is in sight again


def swapped_hidden(model: Decoder, selected: Blocked, vectors: Tensor, ids: Tensor) -> Tensor:
    """Compute the residual stream ``[N, T, d]`` after the last block, see `swap`."""
    own, other = vectors.chunk(2, dim=1)
    x = torch.cat([model.embed(other, ids[:, :0]), model.embed(own, ids)], dim=1)
    for layer, module in enumerate(model.blocks):
        block = cast(Block, module)
        q, k, v = (y.transpose(1, 2) for y in block.attn.heads(block.ln1(x)))
        seen = positions_in_sight(selected(layer, ids))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        x = x + block.attn.out_proj(mixed.transpose(1, 2).flatten(2))
        x = x + block.ffn(block.ln2(x))
    return x[:, 2:] + model.word_bias(own)


def positions_in_sight(selected: Tensor) -> Tensor:
    """Mark what each position sees: from ``[N, heads, T]`` to ``[N, heads, 2 + T, 2 + T]``.

    Positions are the other page's prefix, the own one and the tokens. A prefix sees itself, a token
    one prefix, the tokens before it and itself.
    """
    n, heads, t = selected.shape
    seen = torch.ones(2 + t, 2 + t, dtype=torch.bool).tril().repeat(n, heads, 1, 1)
    seen[:, :, 1, 0] = False
    seen[:, :, 2:, 0], seen[:, :, 2:, 1] = selected, ~selected
    return seen
