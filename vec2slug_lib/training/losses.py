"""What training minimises: cross-entropy per target, with ``<eos>`` calibration."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..common.vocabulary import EOS, PAD, SPECIALS
from ..model.cpu_ops import token_losses
from ..model.decoder import Decoder


def eos_weights(lengths: npt.ArrayLike, max_tokens: int) -> npt.NDArray[np.float32]:
    """Compute loss weights on ``<eos>`` by target position: frequent ends are damped.

    None is amplified: the weight is min(1, median rate / rate at the position). The rate is the
    share of training slugs that end at the position; the median is over the positions where a slug
    ends.

    Args:
        lengths: Content tokens of each training slug, ``[N]``: ``<eos>`` is the target after them.
        max_tokens: Number of target positions, ``max_slug_tokens``.

    Returns:
        Weights ``[max_tokens]`` in (0, 1]; 1 where no slug ends.
    """
    ends = np.asarray(lengths)
    rates = np.bincount(ends[ends < max_tokens], minlength=max_tokens) / max(len(ends), 1)
    occurring = rates[rates > 0]
    if not len(occurring):
        return np.ones(max_tokens, dtype=np.float32)
    ratio = np.median(occurring) / np.where(rates > 0, rates, np.median(occurring))
    return np.minimum(1.0, ratio).astype(np.float32)


def batch_loss(
    model: Decoder,
    piece: tuple[Tensor, Tensor, Tensor],
    smoothing: float = 0.0,
    weights: Tensor | None = None,
) -> Tensor:
    """Sum the cross-entropy over the targets of one piece, in nats.

    Args:
        model: The decoder.
        piece: Vectors ``[n, input_dim]``, inputs and targets ``[n, T]``.
        smoothing: Label smoothing.
        weights: Weight of an ``<eos>`` target by position, ``[max_slug_tokens]``.
    """
    vectors, inputs, targets = piece
    wanted = targets != PAD
    logits = model.unembed(model.hidden(vectors, inputs)[wanted])
    losses = token_losses(logits, targets[wanted], smoothing)
    if weights is not None:
        is_eos = targets == EOS
        losses = losses * torch.where(is_eos, weights[: targets.shape[1]], 1.0)[wanted]
    return losses.sum()


def word_loss(model: Decoder, vectors: Tensor, targets: Tensor) -> Tensor:
    """Sum the bag-of-words head's cross-entropy over slugs, in nats.

    The head is asked for the subwords of a slug, each with the same share; hyphens and the other
    special tokens are none of its business.

    Args:
        model: A decoder with a bag-of-words head.
        vectors: ``[n, input_dim]``.
        targets: int64 ``[n, T]``, padded with ``<pad>``.
    """
    logits = model.word_logits(vectors).float()
    log_p = logits.gather(1, targets) - logits.logsumexp(1, keepdim=True)
    wanted = targets >= len(SPECIALS)
    return -(log_p * wanted / wanted.sum(1, keepdim=True).clamp_min(1)).sum()
