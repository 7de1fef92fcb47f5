"""Training of the prefix decoder: one loop that stops early and survives being killed.

What makes it fast, without changing the gradient: every batch is cut into micro-batches of similar
length, logits exist only where there is a target, and matrix products run in bfloat16.
"""

from __future__ import annotations

import json
import math
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from .errors import Vec2SlugError
from .files import atomic
from .losses import batch_loss, eos_weights
from .models import Decoder, DecoderConfig, save_decoder
from .vocab import BOS, EOS, PAD

CHECKPOINT = "checkpoint.pt"
WEIGHTS = "model.safetensors"
HISTORY = "history.jsonl"


@dataclass(frozen=True)
class TrainingConfig:
    """Everything about a training run but the model's shape and the data."""

    epochs: int = 15  # at most; early stopping may end sooner
    batch_size: int = 1024
    # Samples in one pass; the gradients of a batch add up. 64 keeps activations in a CPU's cache.
    # A GPU takes a quarter of the batch, if that is more.
    micro_batch: int = 64
    learning_rate: float = 3e-4
    weight_decay: float = 1e-4
    warmup_steps: int = 0  # the rate grows linearly over these steps, then the schedule begins
    grad_clip: float = 1.0
    plateau_factor: float = 0.5  # of ReduceLROnPlateau, on the validation loss
    plateau_patience: int = 5  # evaluations
    evaluate_every: int = 2000  # steps; the end of training is evaluated too
    patience: int = 10  # stop after so many evaluations without a better validation loss
    long_slugs: str = "drop"  # 'drop', or 'truncate': cut the targets at the cap, <eos> is lost
    label_smoothing: float = 0.0  # 0.1 in EOS calibration
    eos_calibration: bool = False  # weigh <eos> targets by ``eos_weights``
    bf16: bool = True
    seed: int = 42
    checkpoint_seconds: float = 300.0  # a kill loses at most this much work

    def __post_init__(self) -> None:
        if self.long_slugs not in ("drop", "truncate"):
            raise Vec2SlugError(
                f"expected long_slugs 'drop' or 'truncate', got {self.long_slugs!r}"
            )

    def override(self, **changes: float | str) -> TrainingConfig:
        """A copy with some fields changed.

        Raises:
            Vec2SlugError: a name is not a field.
        """
        known = [entry.name for entry in fields(self)]
        for name in changes:
            if name not in known:
                raise Vec2SlugError(f"expected one of {', '.join(known)}, got {name!r}")
        return replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Examples:
    """Embeddings and their slugs in tokens.

    Attributes:
        vectors: Unit-norm rows, float32 ``[N, input_dim]``.
        ids: Content token ids of each slug, without ``<bos>`` and ``<eos>``.
    """

    vectors: npt.NDArray[np.float32]
    ids: Sequence[Sequence[int]]


@dataclass(frozen=True)
class TrainingResult:
    """What a finished run came to; the best weights are in ``model.safetensors``."""

    best_val_loss: float  # nats per token, without smoothing or weights
    best_step: int
    epochs: int  # begun
    steps: int
    seconds: float
    history: list[dict[str, float]]  # one row an evaluation


class Batches:
    """Examples as tensors, and passes over them.

    Attributes:
        vectors: float32 ``[N, input_dim]``.
        targets: int64 ``[N, cap]``, padded with ``<pad>``.
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
        cap = model.max_slug_tokens
        kept = [i for i, ids in enumerate(data.ids) if long_slugs == "truncate" or len(ids) < cap]
        if not kept:
            raise Vec2SlugError(f"expected slugs of at most {cap - 1} tokens, got none")
        rows = [[*data.ids[i], EOS][:cap] for i in kept]
        targets = np.full((len(rows), cap), PAD)
        for target, row in zip(targets, rows, strict=True):
            target[: len(row)] = row
        if targets.max() >= model.vocab_size:
            raise Vec2SlugError(f"expected ids below {model.vocab_size}, got {targets.max()}")
        self.vectors = torch.from_numpy(np.ascontiguousarray(data.vectors[kept])).to(device)
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
    """Mean cross-entropy per target in nats, without dropout, smoothing or weights."""
    model.eval()
    total = 0.0
    device = data.targets.device.type
    with torch.inference_mode(), torch.autocast(device, torch.bfloat16, bf16):
        for piece in data.micro(torch.arange(len(data.lengths)), size):
            total += float(batch_loss(model, piece))
    model.train()
    return total / int(data.lengths.sum())


@dataclass
class Progress:
    """Counters of a run that a checkpoint has to carry."""

    step: int = 0
    best_val_loss: float = math.inf
    best_step: int = 0
    stale: int = 0  # evaluations since the best
    seconds: float = 0.0
    loss_sum: float = 0.0  # of training, since the last evaluation
    loss_steps: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


class Trainer:
    """State of one run: model, optimiser, schedule and counters. ``train`` drives it."""

    def __init__(
        self,
        model_config: DecoderConfig,
        config: TrainingConfig,
        train_data: Examples,
        val_data: Examples,
        out_dir: Path,
        device: torch.device,
    ) -> None:
        torch.manual_seed(config.seed)
        self.config, self.out_dir, self.device = config, out_dir, device
        on_gpu = device.type == "cuda"
        self.micro_batch = max(config.micro_batch, on_gpu * config.batch_size // 4)
        self.data = Batches(train_data, model_config, config.long_slugs, device)
        self.val_data = Batches(val_data, model_config, config.long_slugs, device)
        self.model = Decoder(model_config).to(device)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(),
            config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self.optimizer, factor=config.plateau_factor, patience=config.plateau_patience
        )
        self.eos_weights: Tensor | None = None
        if config.eos_calibration:
            lengths = [len(ids) for ids in train_data.ids]
            weights = eos_weights(lengths, model_config.max_slug_tokens)
            self.eos_weights = torch.from_numpy(weights).to(device)
        self.progress = Progress()
        data_crc = zlib.crc32(
            train_data.vectors.tobytes(), zlib.crc32(repr(train_data.ids).encode())
        )
        # What a checkpoint must agree with.
        self.identity = {**asdict(model_config), **asdict(config), "data": data_crc}

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in one pass over the training data."""
        return math.ceil(len(self.data.lengths) / self.config.batch_size)

    @property
    def total_steps(self) -> int:
        """Optimiser steps if training does not stop early."""
        return self.config.epochs * self.steps_per_epoch

    def batch_rows(self, step: int) -> Tensor:
        """Rows of the batch of a step: a pure function of seed and step, so a run can resume."""
        epoch, index = divmod(step, self.steps_per_epoch)
        generator = torch.Generator().manual_seed(self.config.seed + 1_000_003 * epoch)
        order = torch.randperm(len(self.data.lengths), generator=generator)
        return torch.split(order, self.config.batch_size)[index]

    def train_step(self) -> None:
        """One optimiser step on the next batch.

        Raises:
            Vec2SlugError: the loss is not finite.
        """
        config, state = self.config, self.progress
        rows = self.batch_rows(state.step)
        targets = int(self.data.lengths[rows].sum())
        loss = torch.zeros((), device=self.device)
        self.optimizer.zero_grad()
        with torch.autocast(self.device.type, torch.bfloat16, config.bf16):
            for piece in self.data.micro(rows, self.micro_batch):
                part = batch_loss(self.model, piece, config.label_smoothing, self.eos_weights)
                (part / targets).backward()
                loss += part.detach() / targets
        state.step += 1
        if not math.isfinite(float(loss)):
            raise Vec2SlugError(f"expected a finite loss, got {float(loss)} at step {state.step}")
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.grad_clip)
        if state.step <= config.warmup_steps:
            self.optimizer.param_groups[0]["lr"] = (
                config.learning_rate * state.step / config.warmup_steps
            )
        self.optimizer.step()
        state.loss_sum += float(loss)
        state.loss_steps += 1

    def evaluate(self, score: Callable[[Decoder], dict[str, float]] | None) -> None:
        """Score the model on validation rows; keep it if it is the best; append to the history."""
        config, state = self.config, self.progress
        val_loss = validation_loss(self.model, self.val_data, self.micro_batch, config.bf16)
        row = {
            "step": state.step,
            "epoch": state.step / self.steps_per_epoch,
            "train_loss": state.loss_sum / state.loss_steps,
            "val_loss": val_loss,
            "lr": self.optimizer.param_groups[0]["lr"],
            "seconds": round(state.seconds, 3),
        }
        if score is not None:
            row |= score(self.model.eval())
            self.model.train()
        state.history.append(row)
        state.loss_sum, state.loss_steps = 0.0, 0
        if state.step > config.warmup_steps:
            self.scheduler.step(val_loss)
        state.stale += 1
        if val_loss < state.best_val_loss:
            state.best_val_loss, state.best_step, state.stale = val_loss, state.step, 0
            save_decoder(self.model, self.out_dir / WEIGHTS)
        with atomic(self.out_dir / HISTORY) as path:
            path.write_text("".join(json.dumps(entry) + "\n" for entry in state.history))

    def save(self) -> None:
        """Write the checkpoint, atomically."""
        state = {
            "identity": self.identity,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state() if self.device.type == "cuda" else None,
            "progress": asdict(self.progress),
        }
        with atomic(self.out_dir / CHECKPOINT) as path:
            torch.save(state, path)

    def resume(self) -> None:
        """Continue from the checkpoint, if there is one.

        Raises:
            Vec2SlugError: the checkpoint is unreadable, or belongs to another config or data.
        """
        path = self.out_dir / CHECKPOINT
        if not path.is_file():
            return
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
        except Exception as error:
            raise Vec2SlugError(f"expected a checkpoint in {path}, but: {error}") from error
        if state["identity"] != self.identity:
            raise Vec2SlugError(
                f"expected {path} to be of this config and data, but it is of another run; "
                "remove it to start anew"
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        torch.set_rng_state(state["rng"].cpu())
        if state["cuda_rng"] is not None:
            torch.cuda.set_rng_state(state["cuda_rng"].cpu())
        self.progress = Progress(**state["progress"])


def train(
    model_config: DecoderConfig,
    config: TrainingConfig,
    train_data: Examples,
    val_data: Examples,
    out_dir: Path | str,
    score: Callable[[Decoder], dict[str, float]] | None = None,
    device: str | None = None,
) -> TrainingResult:
    """Train a decoder; write ``model.safetensors`` (the best) and ``history.jsonl`` to ``out_dir``.

    A run that was killed goes on from its checkpoint when called again with the same arguments,
    and ends with the weights of an unbroken run.

    Args:
        model_config: Shape of the decoder.
        config: Budget, optimiser and loss.
        train_data: Training rows.
        val_data: Validation rows: they choose the learning rate, the end and the best weights.
        out_dir: Folder of this run.
        score: More validation scores for the history, from the model in evaluation mode.
        device: 'cpu', 'cuda'; by default cuda if there is one.

    Raises:
        Vec2SlugError: shapes or ids do not fit the config, the loss is not finite, or the folder
            holds the checkpoint of another run.
    """
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    trainer = Trainer(model_config, config, train_data, val_data, out_dir, where)
    trainer.resume()
    run(trainer, score)
    (out_dir / CHECKPOINT).unlink(missing_ok=True)
    state = trainer.progress
    return TrainingResult(
        best_val_loss=state.best_val_loss,
        best_step=state.best_step,
        epochs=math.ceil(state.step / trainer.steps_per_epoch),
        steps=state.step,
        seconds=state.seconds,
        history=state.history,
    )


def run(trainer: Trainer, score: Callable[[Decoder], dict[str, float]] | None) -> None:
    """Step, evaluate and checkpoint until the budget or the patience is spent."""
    config, state = trainer.config, trainer.progress
    trainer.model.train()
    began = saved = time.monotonic()
    before = state.seconds
    bar = tqdm(total=trainer.total_steps, initial=state.step, desc="train", unit="step")
    with bar:
        while state.step < trainer.total_steps and state.stale < config.patience:
            trainer.train_step()
            bar.update()
            state.seconds = before + time.monotonic() - began
            if state.step % config.evaluate_every == 0 or state.step == trainer.total_steps:
                trainer.evaluate(score)
                bar.set_postfix(val_loss=f"{state.history[-1]['val_loss']:.4f}")
            if time.monotonic() - saved >= config.checkpoint_seconds:
                trainer.save()
                saved = time.monotonic()
