"""What training asks of a prefix decoder: the loss of every token of a slug, given its embedding.

What makes it fast, without changing the gradient: every batch is cut into micro-batches of similar
length, logits exist only where there is a target, and matrix products run in bfloat16.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..common.errors import Vec2SlugError
from ..common.vectors import Floats
from ..common.vocabulary import BOS, EOS, PAD
from ..model.decoder import Decoder, DecoderConfig
from ..model.weights import save_decoder
from . import distributed
from .losses import batch_loss, eos_weights, word_loss
from .trainer import TrainingConfig, fingerprint


@dataclass(frozen=True)
class Examples:
    """Embeddings and their slugs in tokens.

    Attributes:
        vectors: Unit-norm rows, float32 ``[N, input_dim]``.
        ids: Content token ids of each slug, without ``<bos>`` and ``<eos>``.
    """

    vectors: Floats
    ids: Sequence[Sequence[int]]


class Batches:
    """Examples as tensors, and passes over them.

    Attributes:
        vectors: float32 ``[N, input_dim]``.
        targets: int64 ``[N, max_slug_tokens]``, padded with ``<pad>``.
        lengths: Targets of each row, int64 ``[N]``.
    """

    def __init__(
        self, data: Examples, model: DecoderConfig, long_slugs: str, device: torch.device
    ) -> None:
        if data.vectors.shape != (len(data.ids), model.input_dim):
            raise Vec2SlugError(
                f"expected vectors of shape {(len(data.ids), model.input_dim)}, "
                f"got {data.vectors.shape}"
            )
        most, truncate = model.max_slug_tokens, long_slugs == "truncate"
        usable = [i for i, ids in enumerate(data.ids) if truncate or len(ids) < most]
        if not usable:
            raise Vec2SlugError(f"expected slugs of at most {most - 1} tokens, got none")
        rows = [[*data.ids[i], EOS][:most] for i in usable]
        targets = np.full((len(rows), most), PAD)
        for target, row in zip(targets, rows, strict=True):
            target[: len(row)] = row
        if targets.max() >= model.vocab_size:
            raise Vec2SlugError(f"expected ids below {model.vocab_size}, got {targets.max()}")
        self.vectors = torch.from_numpy(np.ascontiguousarray(data.vectors[usable])).to(device)
        self.targets = torch.from_numpy(targets).to(device)
        self.lengths = torch.tensor([len(row) for row in rows])

    def micro(self, rows: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Cut a batch into pieces of similar length: (vectors, inputs, targets) of each.

        Inputs are ``<bos>`` and the targets shifted by one; each piece is as wide as its longest.
        """
        rows = rows[self.lengths[rows].argsort(stable=True)]
        for piece in torch.split(rows, size):
            width = int(self.lengths[piece].max())
            piece = piece.to(self.targets.device)
            targets = self.targets[piece, :width]
            yield self.vectors[piece], F.pad(targets, (1, -1), value=BOS), targets


def validation_loss(model: Decoder, data: Batches, size: int, bf16: bool) -> float:
    """Compute the mean cross-entropy per target in nats, without smoothing or weights.

    Ranks share the work.

    Args:
        model: In evaluation mode.
        data: Validation rows.
        size: Rows in one pass.
        bf16: Matrix products in bfloat16.
    """
    total = 0.0
    device = data.targets.device.type
    with torch.inference_mode(), torch.autocast(device, torch.bfloat16, bf16):
        for piece in distributed.share(data.micro(torch.arange(len(data.lengths)), size)):
            total += float(batch_loss(model, piece))
    return distributed.total(total) / int(data.lengths.sum())


def weight_sum(model: Decoder | None) -> int:
    """Return a number that changes with any weight; 0 where there is no model."""
    weights = (p.detach().cpu().contiguous().numpy() for p in model.parameters()) if model else ()
    return reduce(lambda total, part: zlib.crc32(part, total), weights, 0)


class DecoderObjective:
    """An `Objective` of training: a new decoder and its slugs.

    Args:
        model_config: Shape of the decoder.
        config: Seed, loss, precision, and what becomes of long slugs.
        train_data: Training rows.
        val_data: Validation rows.
        device: Where model and data are.
        start: A decoder of that shape to go on from; without one, weights are drawn.

    Raises:
        Vec2SlugError: shapes or ids do not fit the config.
    """

    def __init__(
        self,
        model_config: DecoderConfig,
        config: TrainingConfig,
        train_data: Examples,
        val_data: Examples,
        device: torch.device,
        start: Decoder | None = None,
    ) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        on_gpu = device.type == "cuda"
        self.micro_batch = max(config.micro_batch, on_gpu * config.batch_size // 4)
        self.data = Batches(train_data, model_config, config.long_slugs, device)
        self.val_data = Batches(val_data, model_config, config.long_slugs, device)
        self.rows = len(self.data.lengths)
        self.model = (start or Decoder(model_config)).to(device)
        distributed.start_alike(self.model)
        self.eos_weights: Tensor | None = None
        if config.eos_calibration:
            lengths = [len(ids) for ids in train_data.ids]
            weights = eos_weights(lengths, model_config.max_slug_tokens)
            self.eos_weights = torch.from_numpy(weights).to(device)
        data = fingerprint(train_data.vectors, train_data.ids)
        self.identity = {**asdict(model_config), "data": data, "start": weight_sum(start)}

    def backward(self, rows: Tensor) -> float:
        """Make the gradient of the mean loss per target of these rows; return the loss, in nats.

        On several ranks, each takes its share of the micro-batches, and all get the whole gradient.
        """
        config, device = self.config, self.data.targets.device
        targets = int(self.data.lengths[rows].sum())
        loss = torch.zeros((), device=device)
        with torch.autocast(device.type, torch.bfloat16, config.bf16):
            # The rows are another permutation in every step, and hang on the seed.
            key = zlib.crc32(rows.numpy().tobytes())
            for piece in distributed.share(self.data.micro(rows, self.micro_batch), key):
                part = batch_loss(self.model, piece, config.label_smoothing, self.eos_weights)
                part = part / targets
                loss += part.detach()
                if config.word_loss:
                    part += config.word_loss / len(rows) * word_loss(self.model, *piece[::2])
                part.backward()
        return float(distributed.sum_gradients(self.model, loss))

    def validation(self) -> dict[str, float]:
        """Compute ``val_loss``: nats per target of the validation rows."""
        size, bf16 = self.micro_batch, self.config.bf16
        return {"val_loss": validation_loss(self.model, self.val_data, size, bf16)}

    def save(self, path: Path) -> None:
        """Write the weights, atomically."""
        save_decoder(self.model, path)
