"""Training on several processes at once, as ``torchrun`` starts them: each of them is a rank.

Every rank has the whole model and all the data and takes its share of the pieces of every batch.
What the shares add up to is the gradient of one process, so all ranks take the same steps and the
same decisions; the first one alone writes files. In a process that `torchrun` did not start there
is one rank, and nothing here changes what it computes.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..common.errors import Vec2SlugError

# A rank that dies ends the run at once, by `torchrun`. This is for one that is stuck; the first
# rank may be long alone, when it embeds what the others then find on disk.
TIMEOUT = timedelta(hours=3)


def launched() -> bool:
    """Tell whether `torchrun` started this process."""
    return dist.is_available() and dist.is_torchelastic_launched()


@contextmanager
def group() -> Iterator[None]:
    """Work as one rank of those that `torchrun` started: with gloo on CPUs, with nccl on GPUs.

    Raises:
        Vec2SlugError: a machine has more processes than GPUs.
    """
    backend = "gloo"
    if torch.cuda.is_available():
        index, count = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if index >= count:
            raise Vec2SlugError(f"expected --nproc-per-node of at most {count}, the GPUs here")
        torch.cuda.set_device(index)
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, timeout=TIMEOUT)
    # Not after an error: to take leave of ranks that wait for something else can hang.
    yield
    wait()
    dist.destroy_process_group()


def rank() -> int:
    """Return the number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """Return the number of ranks."""
    return dist.get_world_size() if dist.is_initialized() else 1


def total(value: float) -> float:
    """Sum a number over the ranks, in double precision."""
    if not dist.is_initialized():
        return value
    summed = torch.tensor(value, dtype=torch.float64)
    dist.all_reduce(summed)
    return float(summed)


def wait() -> None:
    """Wait until every rank has come here."""
    total(0.0)


def agree(answer: bool) -> bool:
    """Return the answer of the first rank, on all of them."""
    return total(float(answer and rank() == 0)) > 0


@contextmanager
def first_rank_first() -> Iterator[None]:
    """Let the other ranks enter a block when the first is through, to find what it has made."""
    if rank() > 0:
        wait()
    yield
    if rank() == 0:
        wait()


def check_same(value: object, what: str) -> None:
    """Refuse ranks that would not train the same.

    Raises:
        Vec2SlugError: the value is another on another rank.
    """
    if not dist.is_initialized():
        return
    values: list[object] = [None] * world()
    dist.all_gather_object(values, value)
    if any(other != values[0] for other in values):
        raise Vec2SlugError(f"expected the same {what} on all {world()} ranks, got different ones")


def share(pieces: Iterable[Any], key: int = 0) -> Iterator[Any]:
    """Yield the pieces of a batch that are this rank's: every ``world()``-th, perhaps none.

    Where `torchrun` started the process, the random state is set for each piece from ``key`` and
    the number of the piece: dropout is the same however many ranks there are. Where it did not,
    random numbers are drawn on and on.
    """
    for index, piece in enumerate(pieces):
        if index % world() == rank():
            if dist.is_initialized():
                torch.manual_seed(zlib.crc32(f"{key} {index}".encode()))
            yield piece


def sum_gradients(model: nn.Module, loss: Tensor) -> Tensor:
    """Replace the gradients on every rank by their sum over the ranks; return the sum of losses.

    Args:
        model: Its parameters have the gradients, None where this rank had no piece.
        loss: A scalar on the model's device.
    """
    if not dist.is_initialized():
        return loss
    parameters = list(model.parameters())
    for p in parameters:
        p.grad = torch.zeros_like(p) if p.grad is None else p.grad
    grads = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([loss.reshape(1), *(grad.flatten() for grad in grads)])
    dist.all_reduce(flat)
    for grad, part in zip(grads, flat[1:].split([grad.numel() for grad in grads]), strict=True):
        grad.copy_(part.view_as(grad))
    return flat[0]


def start_alike(model: nn.Module) -> None:
    """Give the model of every rank the weights that the first one has."""
    if dist.is_initialized():
        for p in model.parameters():
            dist.broadcast(p.data, 0)
