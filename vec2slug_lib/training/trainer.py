"""Training: one loop for every model, which stops early and survives being killed.

What is learnt from which data is an ``Objective``; `decoder_objective` and `mlp_objective` have one
each. On several ranks (`distributed`) every one runs this loop, on the same batches.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..common.errors import Vec2SlugError
from ..common.files import atomic, write_json_lines
from ..common.vectors import Floats
from . import distributed

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
    schedule: str = "plateau"  # of the rate: halved at plateaus, or 'linear': down to 0 at the end
    grad_clip: float = 1.0
    plateau_factor: float = 0.5  # of ReduceLROnPlateau, on the validation loss
    plateau_patience: int = 5  # evaluations
    evaluate_every: int = 2000  # steps; the end of training is evaluated too
    patience: int = 10  # stop after so many evaluations without a better validation loss
    min_steps: int = 0  # but not before so many steps
    long_slugs: str = "drop"  # 'drop', or 'truncate': cut the targets, <eos> is lost
    label_smoothing: float = 0.0  # 0.1 in EOS calibration
    word_loss: float = 0.0  # weight of the bag-of-words head's own loss
    eos_calibration: bool = False  # weigh <eos> targets by ``eos_weights``
    bf16: bool = True
    seed: int = 42
    checkpoint_seconds: float = 300.0  # a kill loses at most this much work

    def __post_init__(self) -> None:
        if self.long_slugs not in ("drop", "truncate"):
            raise Vec2SlugError(
                f"expected long_slugs 'drop' or 'truncate', got {self.long_slugs!r}"
            )
        if self.schedule not in ("plateau", "linear"):
            raise Vec2SlugError(f"expected schedule 'plateau' or 'linear', got {self.schedule!r}")

    def override(self, **changes: float | str) -> TrainingConfig:
        """Return a copy with some fields changed.

        Raises:
            Vec2SlugError: a name is not a field.
        """
        known = [entry.name for entry in fields(self)]
        for name in changes:
            if name not in known:
                raise Vec2SlugError(f"expected one of {', '.join(known)}, got {name!r}")
        return replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class TrainingResult:
    """What a finished run came to; ``model.safetensors`` has the weights of ``best_step``.

    That is the step of the lowest validation loss; under schedule 'linear', the last.
    """

    best_val_loss: float  # nats per token, without smoothing or weights
    best_step: int
    epochs: int  # begun
    steps: int
    seconds: float
    history: list[dict[str, float]]  # one row an evaluation


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


def fingerprint(vectors: Floats, ids: object) -> int:
    """Return a number that changes with the training data, for ``Objective.identity``."""
    return zlib.crc32(vectors.tobytes(), zlib.crc32(repr(ids).encode()))


class Objective(Protocol):
    """A model with its data, as the training loop sees them."""

    rows: int  # of the training data
    identity: dict[str, Any]  # of model and data: what a checkpoint must agree with

    @property
    def model(self) -> nn.Module:
        """What is trained."""

    def backward(self, rows: Tensor) -> float:
        """Make the gradient of the mean loss of these training rows; return the loss.

        Gradients are None before. On several ranks, each gets the same rows, and has to get the
        same gradient and loss; likewise in ``validation``.
        """

    def validation(self) -> dict[str, float]:
        """Compute ``val_loss`` and its parts over the validation rows, in evaluation mode."""

    def save(self, path: Path) -> None:
        """Write the weights, atomically."""


Score = Callable[[Any], dict[str, float]]


class LearningRate:
    """The learning rate of an optimiser, which nothing else sets: warm-up, then the schedule."""

    def __init__(
        self, optimizer: torch.optim.Optimizer, config: TrainingConfig, total_steps: int
    ) -> None:
        self.optimizer, self.config, self.total_steps = optimizer, config, total_steps
        self.plateaus = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=config.plateau_factor, patience=config.plateau_patience
        )

    @property
    def value(self) -> float:
        """The rate in use."""
        return float(self.optimizer.param_groups[0]["lr"])

    def begin_step(self, step: int) -> None:
        """Set the rate of a step, counted from 1; at plateaus it is `end_evaluation` that does."""
        config, end = self.config, self.total_steps + 1
        if step <= config.warmup_steps:
            rate = config.learning_rate * step / config.warmup_steps
        elif config.schedule == "linear":
            rate = config.learning_rate * (end - step) / (end - config.warmup_steps)
        else:
            return
        self.optimizer.param_groups[0]["lr"] = rate

    def end_evaluation(self, step: int, val_loss: float) -> None:
        """Lower the rate if its schedule goes by plateaus and the validation loss is on one."""
        if self.config.schedule == "plateau" and step > self.config.warmup_steps:
            self.plateaus.step(val_loss)


class Trainer:
    """State of one run: model, optimiser, schedule and counters. ``train`` drives it."""

    def __init__(self, objective: Objective, config: TrainingConfig, out_dir: Path) -> None:
        self.objective, self.config, self.out_dir = objective, config, out_dir
        self.model = objective.model.train()
        self.device = next(self.model.parameters()).device
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(),
            config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.learning_rate = LearningRate(self.optimizer, config, self.total_steps)
        self.progress = Progress()
        self.identity = {**objective.identity, **asdict(config)}
        self.writes = distributed.rank() == 0

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in one pass over the training data."""
        return math.ceil(self.objective.rows / self.config.batch_size)

    @property
    def total_steps(self) -> int:
        """Optimiser steps if training does not stop early."""
        return self.config.epochs * self.steps_per_epoch

    def batch_rows(self, step: int) -> Tensor:
        """Return the rows of the batch of a step.

        A pure function of seed and step, so that a run can resume.
        """
        epoch, index = divmod(step, self.steps_per_epoch)
        generator = torch.Generator().manual_seed(self.config.seed + 1_000_003 * epoch)
        order = torch.randperm(self.objective.rows, generator=generator)
        return torch.split(order, self.config.batch_size)[index]

    def train_step(self) -> None:
        """Take one optimiser step on the next batch.

        Raises:
            Vec2SlugError: the loss is not finite.
        """
        config, state = self.config, self.progress
        self.optimizer.zero_grad()
        loss = self.objective.backward(self.batch_rows(state.step))
        state.step += 1
        if not math.isfinite(loss):
            raise Vec2SlugError(f"expected a finite loss, got {loss} at step {state.step}")
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.grad_clip)
        self.learning_rate.begin_step(state.step)
        self.optimizer.step()
        state.loss_sum += loss
        state.loss_steps += 1

    def evaluate(self, score: Score | None) -> None:
        """Score the model on validation rows; keep it if it is the best; append to the history."""
        state = self.progress
        self.model.eval()
        row = {
            "step": state.step,
            "epoch": state.step / self.steps_per_epoch,
            "train_loss": state.loss_sum / state.loss_steps,
            **self.objective.validation(),
            "lr": self.learning_rate.value,
            "seconds": round(state.seconds, 3),
            **(score(self.model) if score and self.writes else {}),
        }
        self.model.train()
        state.history.append(row)
        state.loss_sum, state.loss_steps = 0.0, 0
        self.learning_rate.end_evaluation(state.step, row["val_loss"])
        self.keep_best(row["val_loss"])
        if self.writes:
            write_json_lines(self.out_dir / HISTORY, state.history)

    def keep_best(self, val_loss: float) -> None:
        """Write the weights if no validation loss was lower, or if the rate falls by plan."""
        state = self.progress
        state.stale += 1
        # A rate that falls to zero is a plan: its weights are those at the end.
        if val_loss < state.best_val_loss or self.config.schedule == "linear":
            state.best_val_loss, state.best_step, state.stale = val_loss, state.step, 0
            if self.writes:
                self.objective.save(self.out_dir / WEIGHTS)

    def save(self) -> None:
        """Write the checkpoint, atomically."""
        state = {
            "identity": self.identity,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.learning_rate.plateaus.state_dict(),
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
        self.learning_rate.plateaus.load_state_dict(state["scheduler"])
        torch.set_rng_state(state["rng"].cpu())
        if state["cuda_rng"] is not None:
            torch.cuda.set_rng_state(state["cuda_rng"].cpu())
        self.progress = Progress(**state["progress"])

    def result(self) -> TrainingResult:
        """Return what the run has come to."""
        state = self.progress
        return TrainingResult(
            best_val_loss=state.best_val_loss,
            best_step=state.best_step,
            epochs=math.ceil(state.step / self.steps_per_epoch),
            steps=state.step,
            seconds=state.seconds,
            history=state.history,
        )


def train(
    objective: Objective, config: TrainingConfig, out_dir: Path | str, score: Score | None = None
) -> TrainingResult:
    """Train a model; write its best weights to ``model.safetensors``, and ``history.jsonl``.

    A run that was killed goes on from its checkpoint when called again with the same arguments,
    and ends with the weights of an unbroken run.

    Args:
        objective: Model and data. Its validation rows choose the learning rate, the end and the
            best weights.
        config: Budget and optimiser.
        out_dir: Folder of this run.
        score: More validation scores for the history, from the model in evaluation mode. On several
            ranks the first alone asks for them, and has them in its result.

    Raises:
        Vec2SlugError: the loss is not finite, the folder holds the checkpoint of another run, or
            ranks have other data or another folder.
    """
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(objective, config, out_dir)
    trainer.resume()
    distributed.check_same((trainer.identity, trainer.progress.step), "data and checkpoint")
    run(trainer, score)
    if trainer.writes:
        (out_dir / CHECKPOINT).unlink(missing_ok=True)
    return trainer.result()


def run(trainer: Trainer, score: Score | None) -> None:
    """Step, evaluate and checkpoint until the budget or the patience is spent."""
    config, state = trainer.config, trainer.progress
    began = saved = time.monotonic()
    before = state.seconds
    shown = {"desc": "train", "unit": "step", "disable": not trainer.writes}
    with tqdm(total=trainer.total_steps, initial=state.step, **shown) as bar:
        while state.step < trainer.total_steps and (
            state.stale < config.patience or state.step < config.min_steps
        ):
            trainer.train_step()
            bar.update()
            state.seconds = before + time.monotonic() - began
            if state.step % config.evaluate_every == 0 or state.step == trainer.total_steps:
                trainer.evaluate(score)
                bar.set_postfix(val_loss=f"{state.history[-1]['val_loss']:.4f}")
            if trainer.writes and time.monotonic() - saved >= config.checkpoint_seconds:
                trainer.save()
                saved = time.monotonic()
