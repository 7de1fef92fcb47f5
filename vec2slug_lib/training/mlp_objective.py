"""The phase of the MLP: its losses, and what can be said of a trained one."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..common.errors import Vec2SlugError
from ..common.slugs import MAX_WORDS, MIN_WORDS
from ..common.vectors import Floats
from ..model.mlp import BLOCK, MLP, Clusters, MLPConfig, save_mlp
from . import distributed
from .trainer import TrainingConfig, fingerprint

LOSSES = ("bce", "focal", "balanced", "summed")
GAMMA = 2.0  # of the focal loss
BALANCE_CLIP = 1000.0


@dataclass(frozen=True)
class WordSets:
    """Embeddings and the words of their slugs.

    Attributes:
        vectors: Unit-norm rows, float32 ``[N, input_dim]``.
        clusters: Cluster ids of each slug's words, 3 to 8 in slug order; an id may repeat.
    """

    vectors: Floats
    clusters: Clusters


class Rows:
    """Word sets as tensors; the multi-hot targets are made a batch at a time.

    Attributes:
        vectors: float32 ``[N, input_dim]``.
        clusters: int64 ``[N, 8]``, padded with ``size``.
        lengths: Class of the length head, int64 ``[N]``.
    """

    def __init__(self, data: WordSets, config: MLPConfig, device: torch.device) -> None:
        shape, self.size = (len(data.clusters), config.input_dim), config.vocab_size
        if data.vectors.shape != shape:
            raise Vec2SlugError(f"expected vectors of shape {shape}, got {data.vectors.shape}")
        if not len(data.clusters):
            raise Vec2SlugError("expected one row or more, got none")
        counts = np.array([len(ids) for ids in data.clusters])
        if counts.min() < MIN_WORDS or counts.max() > MAX_WORDS:
            raise Vec2SlugError(
                f"expected {MIN_WORDS} to {MAX_WORDS} words, got {counts.min()} to {counts.max()}"
            )
        padded = np.full((len(counts), MAX_WORDS), self.size)
        for row, ids in zip(padded, data.clusters, strict=True):
            row[: len(ids)] = ids
        bounds = min(map(min, data.clusters)), max(map(max, data.clusters))
        if bounds[0] < 0 or bounds[1] >= self.size:
            raise Vec2SlugError(
                f"expected cluster ids from 0 to {self.size - 1}, got {bounds[0]} to {bounds[1]}"
            )
        self.vectors = torch.from_numpy(np.ascontiguousarray(data.vectors)).to(device)
        self.clusters = torch.from_numpy(padded).to(device)
        self.lengths = torch.from_numpy(counts - MIN_WORDS).to(device)

    def targets(self, rows: Tensor) -> Tensor:
        """Make multi-hot targets, float32 ``[len(rows), size]``."""
        hot = torch.zeros(len(rows), self.size + 1, device=self.clusters.device)
        return hot.scatter_(1, self.clusters[rows], 1.0)[:, : self.size]


def focal_loss(logits: Tensor, targets: Tensor, gamma: float = GAMMA) -> Tensor:
    """Average (1 - p)^gamma times the binary cross-entropy, p being the truth's probability.

    Lin et al. 2017 (arXiv 1708.02002), without their class weight alpha.

    Args:
        logits: ``[n, vocab]``.
        targets: 0 or 1, float ``[n, vocab]``.
        gamma: 0 is plain binary cross-entropy.
    """
    plain = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return ((1 - torch.exp(-plain)) ** gamma * plain).mean()


def balance_weights(clusters: Clusters, size: int) -> Floats:
    """Weigh the positives in the balanced loss by the negatives per positive, clipped: ``[size]``.

    Unclipped, one half would be the best constant for every cluster, so that frequency alone wins
    nothing. Beyond the clip a cluster has less than one positive in a batch of a thousand, and its
    weight would make that one row the whole step.
    """
    rates = base_rates(clusters, size)
    return np.asarray(np.minimum((1 - rates) / rates, np.float32(BALANCE_CLIP)))


def losses(
    model: MLP, data: Rows, rows: Tensor, loss: str, weights: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Compute the token loss and the length head's cross-entropy, means over rows, in nats.

    The token loss is a mean over clusters too, but for 'summed'. Their sum is what the likelihood
    of a whole set asks for, and weighs the words as the length head's loss weighs the length.
    """
    tokens, lengths = model(data.vectors[rows])
    tokens, targets = tokens.float(), data.targets(rows)
    if loss == "focal":
        token_loss = focal_loss(tokens, targets)
    else:
        token_loss = F.binary_cross_entropy_with_logits(tokens, targets, pos_weight=weights)
        token_loss = token_loss * (data.size if loss == "summed" else 1)
    return token_loss, F.cross_entropy(lengths.float(), data.lengths[rows])


class MLPObjective:
    """An `Objective` of training: a new MLP and its word sets.

    The loss is the token loss plus the cross-entropy of the length head.

    Args:
        config: Shape of the model.
        training: Seed and precision; what concerns a decoder's tokens is passed over.
        train: Training rows.
        val: Validation rows.
        loss: 'bce', 'focal' (``focal_loss``), 'balanced' (bce with ``balance_weights``) or 'summed'
            (bce, summed over clusters).
        device: Where model and data are.

    Raises:
        Vec2SlugError: an unknown loss, data that do not fit the config, or several ranks.
    """

    def __init__(
        self,
        config: MLPConfig,
        training: TrainingConfig,
        train: WordSets,
        val: WordSets,
        loss: str,
        device: torch.device,
    ) -> None:
        if loss not in LOSSES:
            raise Vec2SlugError(f"expected a loss among {', '.join(LOSSES)}, got {loss!r}")
        if distributed.world() > 1:
            raise Vec2SlugError(
                f"expected one process for an MLP, got {distributed.world()}: "
                "only decoders share their batches"
            )
        torch.manual_seed(training.seed)
        self.loss, self.bf16, self.rows = loss, training.bf16, len(train.clusters)
        self.data, self.val_data = Rows(train, config, device), Rows(val, config, device)
        self.model = MLP(config).to(device)
        self.weights: Tensor | None = None
        if loss == "balanced":
            weights = balance_weights(train.clusters, config.vocab_size)
            self.weights = torch.from_numpy(weights).to(device)
        data = fingerprint(train.vectors, train.clusters)
        self.identity = {**asdict(config), "loss": loss, "data": data}

    def losses(self, data: Rows, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Compute token and length loss of some rows."""
        device = data.vectors.device
        with torch.autocast(device.type, torch.bfloat16, self.bf16):
            return losses(self.model, data, rows.to(device), self.loss, self.weights)

    def backward(self, rows: Tensor) -> float:
        """Add the gradient of the mean loss of these rows; return the loss, in nats."""
        token_loss, length_loss = self.losses(self.data, rows)
        (token_loss + length_loss).backward()
        return float(token_loss.detach() + length_loss.detach())

    def validation(self) -> dict[str, float]:
        """Compute token loss, length loss and their sum over the validation rows."""
        count, parts = len(self.val_data.lengths), np.zeros(2)
        with torch.inference_mode():
            for rows in torch.arange(count).split(BLOCK):
                means = self.losses(self.val_data, rows)
                parts += [float(mean) * len(rows) / count for mean in means]
        names = ("val_loss", "token_loss", "length_loss")
        return dict(zip(names, [float(parts.sum()), *parts.tolist()], strict=True))

    def save(self, path: Path) -> None:
        """Write the weights, atomically."""
        save_mlp(self.model, path)


def base_rates(clusters: Clusters, size: int) -> Floats:
    """Compute the share of rows that have each cluster, [size]; smoothed, so none is 0."""
    counts = Counter(i for ids in clusters for i in set(ids))
    smoothed = [(counts[i] + 0.5) / (len(clusters) + 1) for i in range(size)]
    return np.array(smoothed, np.float32)
