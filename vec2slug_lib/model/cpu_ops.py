"""Operations of the decoder that PyTorch does slowly on a CPU, written with fewer passes."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _ByteDropout(torch.autograd.Function):
    """Dropout whose mask is made of random bytes and laid over the bits of the values."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, threshold: int) -> Tensor:
        bits = torch.int16 if x.element_size() == 2 else torch.int32
        ctx.scale = 256 / (256 - threshold)
        words = torch.empty(x.numel() // 8 + 1, dtype=torch.int64).random_(-(2**63), None)
        stays = words.view(torch.uint8)[: x.numel()].view(x.shape) >= threshold
        mask = stays.view(torch.int8).to(bits).neg_()  # all ones where a value stays
        ctx.save_for_backward(mask)
        dropped: Tensor = (x.contiguous().view(bits) & mask).view(x.dtype) * ctx.scale
        return dropped

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (mask,) = ctx.saved_tensors
        return (grad.contiguous().view(mask.dtype) & mask).view(grad.dtype) * ctx.scale, None


class Dropout(nn.Module):
    """Dropout (Srivastava et al. 2014) whose mask on a CPU costs one random byte a value.

    PyTorch draws Bernoulli values one by one on a CPU, which took a fifth of a training step. The
    rate is rounded to 1/256 there: 0.1 becomes 26/256.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Zero each value of ``x`` with probability ``rate``, in training alone."""
        if not self.training or self.rate == 0 or x.device.type != "cpu":
            return F.dropout(x, self.rate, self.training)
        dropped: Tensor = _ByteDropout.apply(x, round(256 * self.rate))  # type: ignore[no-untyped-call]
        return dropped


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
    """Compute the cross-entropy of every target in nats, float32 ``[n]``.

    The same as ``F.cross_entropy``; over thousands of tokens that one is bound by memory.

    Args:
        logits: ``[n, vocab]``, float32 or bfloat16.
        targets: int64 ``[n]``.
        smoothing: Label smoothing (Szegedy et al. 2016, doi 10.1109/CVPR.2016.308).
    """
    losses: Tensor = _TokenLosses.apply(logits, targets, smoothing)  # type: ignore[no-untyped-call]
    return losses
