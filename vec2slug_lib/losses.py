"""What training minimises: cross-entropy per target, with the calibration of ``<eos>``."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .models import Decoder
from .tokens import EOS, PAD, SPECIALS


def eos_weights(lengths: npt.ArrayLike, max_tokens: int) -> npt.NDArray[np.float32]:
    """Loss weights on ``<eos>`` by target position: frequent ends are damped, none is amplified.

    The weight is min(1, median rate / rate at the position). The rate is the share of training
    slugs that end at the position; the median is over the positions where a slug ends.

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


class _TokenLosses(torch.autograd.Function):
    """Cross-entropy whose gradient is made on the way forward, in place and in half the bytes."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
        rows = torch.arange(len(targets))
        if not ctx.needs_input_grad[0]:
            log_p = logits.log_softmax(-1, dtype=torch.float32)
            return -(1 - smoothing) * log_p[rows, targets] - smoothing * log_p.mean(-1)
        # In the width of the logits, whose gradient has that width too: of bfloat16 logits the loss
        # of one token is known to 0.004, their mean far better.
        gradient = logits.softmax(-1)
        target_log_p = gradient[rows, targets].float().clamp_min(1e-38).log()
        losses = -(1 - smoothing) * target_log_p
        if smoothing:
            normaliser = logits[rows, targets].float() - target_log_p
            losses -= smoothing * (logits.mean(-1, dtype=torch.float32) - normaliser)
            gradient -= smoothing / logits.shape[1]
        gradient[rows, targets] -= 1 - smoothing
        ctx.save_for_backward(gradient)
        return losses

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grad[:, None].to(gradient.dtype), None, None


def token_losses(logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of every target in nats, float32 ``[n]``.

    The same as ``F.cross_entropy``; over thousands of tokens that one is bound by memory.

    Args:
        logits: ``[n, vocab]``, float32 or bfloat16.
        targets: int64 ``[n]``.
        smoothing: Label smoothing (Szegedy et al. 2016, doi 10.1109/CVPR.2016.308).
    """
    losses: Tensor = _TokenLosses.apply(logits, targets, smoothing)  # type: ignore[no-untyped-call]
    return losses


def batch_loss(
    model: Decoder,
    piece: tuple[Tensor, Tensor, Tensor],
    smoothing: float = 0.0,
    weights: Tensor | None = None,
) -> Tensor:
    """Sum of the cross-entropy over the targets of one piece, in nats.

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
    """Sum over slugs of the word head's cross-entropy, in nats.

    The head is asked for the subwords of a slug, each with the same share; hyphens and the other
    special tokens are none of its business.

    Args:
        model: A decoder with a word head.
        vectors: ``[n, input_dim]``.
        targets: int64 ``[n, T]``, padded with ``<pad>``.
    """
    logits = model.word_logits(vectors).float()
    log_p = logits.gather(1, targets) - logits.logsumexp(1, keepdim=True)
    wanted = targets >= len(SPECIALS)
    return -(log_p * wanted / wanted.sum(1, keepdim=True).clamp_min(1)).sum()
