from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.vocabulary import BOS, EOS, PAD
from vec2slug_lib.model.decoder import Decoder, DecoderConfig
from vec2slug_lib.model.weights import load_decoder
from vec2slug_lib.training.decoder_objective import (
    Batches,
    DecoderObjective,
    Examples,
    validation_loss,
)
from vec2slug_lib.training.losses import batch_loss
from vec2slug_lib.training.trainer import Trainer, TrainingConfig, train

torch.set_num_threads(1)  # tiny matrices; and the same sums in every process
CPU = torch.device("cpu")
TINY = DecoderConfig(
    input_dim=8,
    embed_dim=16,
    num_heads=2,
    num_layers=1,
    max_slug_tokens=8,
    vocab_size=20,
    scaled_input=True,
)
QUICK = TrainingConfig(
    epochs=3, batch_size=16, micro_batch=6, learning_rate=3e-3, evaluate_every=4, bf16=False
)


def examples(n: int, seed: int = 0) -> Examples:
    """Slugs that the embedding determines: its largest coordinate gives every token."""
    rng = np.random.default_rng(seed)
    kinds, lengths = rng.integers(0, TINY.input_dim, n), rng.integers(1, 8, n)
    vectors = np.eye(TINY.input_dim, dtype=np.float32)[kinds]
    vectors += rng.normal(0, 0.1, vectors.shape).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = [[5 + int(k)] * int(m) for k, m in zip(kinds, lengths, strict=True)]
    return Examples(vectors, ids)


def objective(config: TrainingConfig, train_data: Examples, val_data: Examples) -> DecoderObjective:
    return DecoderObjective(TINY, config, train_data, val_data, CPU)


def padded(model: DecoderConfig, ids: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets, every row padded to the cap: what a plain loop trains on."""
    inputs = torch.full((len(ids), model.max_slug_tokens), PAD)
    targets = torch.full((len(ids), model.max_slug_tokens), PAD)
    for i, row in enumerate(ids):
        inputs[i, : len(row) + 1] = torch.tensor([BOS, *row])
        targets[i, : len(row) + 1] = torch.tensor([*row, EOS])
    return inputs, targets


def test_one_batch_has_the_loss_and_gradient_of_a_plain_padded_loop():
    torch.manual_seed(0)
    data = examples(20)
    model = Decoder(replace(TINY, dropout=0.0))
    weights = torch.linspace(0.3, 1.0, TINY.max_slug_tokens)
    inputs, targets = padded(TINY, data.ids)
    logits = model(torch.from_numpy(data.vectors), inputs).flatten(0, 1)
    plain = F.cross_entropy(logits, targets.flatten(), reduction="none", label_smoothing=0.1)
    scale = torch.where(targets == EOS, weights.expand_as(targets), 1.0) * (targets != PAD)
    plain = (plain.view_as(targets) * scale).sum()
    plain.backward()
    wanted = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    batches = Batches(data, TINY, "drop", CPU)
    total = 0.0
    for piece in batches.micro(torch.arange(20), 6):
        part = batch_loss(model, piece, 0.1, weights)
        part.backward()
        total += part.item()
    assert total == pytest.approx(plain.item(), rel=1e-5)
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.grad, wanted[name], rtol=1e-3, atol=1e-4)


def test_validation_loss_is_nats_per_target():
    data, model = examples(20), Decoder(TINY).eval()
    inputs, targets = padded(TINY, data.ids)
    with torch.no_grad():
        logits = model(torch.from_numpy(data.vectors), inputs)
        wanted = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=PAD).item()
    batches = Batches(data, TINY, "drop", CPU)
    assert validation_loss(model, batches, 7, bf16=False) == pytest.approx(wanted, rel=1e-5)


def test_long_slugs_are_dropped_or_lose_their_end():
    data = Examples(examples(3).vectors, [[5] * 7, [6] * 8, [7] * 9])
    dropped = Batches(data, TINY, "drop", CPU)
    assert dropped.targets.tolist() == [[5] * 7 + [EOS]]
    cut = Batches(data, TINY, "truncate", CPU)
    assert cut.targets.tolist() == [[5] * 7 + [EOS], [6] * 8, [7] * 8]


def test_every_epoch_sees_every_row_once_in_another_order(tmp_path):
    trainer = Trainer(objective(QUICK, examples(40), examples(8, 1)), QUICK, tmp_path)
    epochs = [torch.cat([trainer.batch_rows(3 * e + i) for i in range(3)]) for e in range(2)]
    assert all(sorted(rows.tolist()) == list(range(40)) for rows in epochs)
    assert not torch.equal(*epochs)
    assert [len(trainer.batch_rows(i)) for i in range(3)] == [16, 16, 8]


def test_the_decoder_learns_what_the_embedding_says(tmp_path):
    config = QUICK.override(epochs=20, batch_size=64, micro_batch=32, learning_rate=1e-2)
    result = train(objective(config, examples(256), examples(50, 1)), config, tmp_path)
    model = load_decoder(TINY, tmp_path / "model.safetensors")
    data = examples(50, 1)
    with torch.no_grad():
        logits = model(torch.from_numpy(data.vectors), torch.full((50, 1), BOS))[:, 0]
    right = (logits.argmax(1).numpy() == [ids[0] for ids in data.ids]).mean()
    assert right > 0.9  # chance is one in eight
    assert result.best_val_loss < result.history[0]["val_loss"] / 2


def test_best_weights_and_history_are_written(tmp_path):
    seen = []

    def score(model: Decoder) -> dict[str, float]:
        seen.append(model.training)
        return {"token_f1": 0.25}

    result = train(objective(QUICK, examples(40), examples(16, 1)), QUICK, tmp_path, score)
    rows = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert rows == result.history
    assert [row["step"] for row in rows] == [4, 8, 9]
    assert [row["epoch"] for row in rows] == pytest.approx([4 / 3, 8 / 3, 3])
    assert {"train_loss", "val_loss", "lr", "seconds", "token_f1"} <= rows[0].keys()
    assert seen == [False] * 3
    assert result.best_val_loss == min(row["val_loss"] for row in rows)
    assert (result.epochs, result.steps) == (3, 9)
    best = load_decoder(TINY, tmp_path / "model.safetensors")
    batches = Batches(examples(16, 1), TINY, "drop", CPU)
    assert validation_loss(best, batches, 6, False) == pytest.approx(result.best_val_loss)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "history.jsonl",
        "model.safetensors",
    ]


def test_the_same_seed_gives_the_same_run(tmp_path):
    def losses(name: str, seed: int) -> list[float]:
        config = QUICK.override(seed=seed, bf16=True)
        result = train(objective(config, examples(40), examples(16, 1)), config, tmp_path / name)
        return [row["val_loss"] for row in result.history]

    first = losses("a", 1)
    assert first == losses("b", 1)
    assert first != losses("c", 2)


def test_early_stop_after_stale_evaluations(tmp_path):
    # A rate of zero leaves the weights as they are: the first evaluation is the best.
    config = QUICK.override(epochs=50, learning_rate=0.0, evaluate_every=2, patience=3)
    result = train(objective(config, examples(40), examples(16, 1)), config, tmp_path)
    assert [row["step"] for row in result.history] == [2, 4, 6, 8]
    assert result.best_step == 2


def test_no_early_stop_before_the_steps_asked_for(tmp_path):
    config = QUICK.override(epochs=50, learning_rate=0.0, evaluate_every=2, patience=1, min_steps=7)
    result = train(objective(config, examples(40), examples(16, 1)), config, tmp_path)
    assert (result.steps, result.best_step) == (7, 2)


def test_warm_up_then_plateau(tmp_path):
    config = QUICK.override(
        epochs=5, learning_rate=0.0, warmup_steps=4, evaluate_every=1, plateau_patience=1
    )
    flat = train(objective(config, examples(16), examples(16, 1)), config, tmp_path / "flat")
    assert [row["lr"] for row in flat.history] == [0.0] * 5
    config = config.override(learning_rate=0.1, warmup_steps=4, epochs=4)
    result = train(objective(config, examples(16), examples(16, 1)), config, tmp_path / "warm")
    assert [row["lr"] for row in result.history] == pytest.approx([0.025, 0.05, 0.075, 0.1])


def test_warm_up_then_down_to_zero(tmp_path):
    config = QUICK.override(
        epochs=6, learning_rate=0.4, warmup_steps=2, evaluate_every=1, schedule="linear", patience=9
    )
    result = train(objective(config, examples(16), examples(16, 1)), config, tmp_path)
    # Four steps after the two of the warm-up; one more would have the rate 0.
    wanted = [0.2, 0.4, 0.32, 0.24, 0.16, 0.08]
    assert [row["lr"] for row in result.history] == pytest.approx(wanted)


def test_a_planned_run_ends_with_its_last_weights(tmp_path):
    # Random targets: the loss on other rows rises from the first step.
    config = QUICK.override(epochs=4, learning_rate=0.3, evaluate_every=1, schedule="linear")
    task = objective(config, examples(16), examples(16, 1))
    result = train(task, config, tmp_path)
    losses = [row["val_loss"] for row in result.history]
    assert min(losses) < losses[-1] == result.best_val_loss
    assert result.best_step == result.steps
    kept, last = load_decoder(TINY, tmp_path / "model.safetensors").state_dict(), task.model
    for name, value in last.state_dict().items():
        torch.testing.assert_close(kept[name], value, rtol=1e-3, atol=1e-3)


def test_the_word_head_learns_beside_the_decoder(tmp_path):
    config = QUICK.override(epochs=20, batch_size=64, learning_rate=1e-2, word_loss=1.0)
    shape = replace(TINY, head_dim=16, tied=True)
    task = DecoderObjective(shape, config, examples(256), examples(50, 1), CPU)
    train(task, config, tmp_path)
    model, data = load_decoder(shape, tmp_path / "model.safetensors"), examples(50, 1)
    with torch.no_grad():
        found = model.word_logits(torch.from_numpy(data.vectors))[:, 5:].argmax(1) + 5
    assert (found.numpy() == [ids[0] for ids in data.ids]).mean() > 0.9


def test_training_goes_on_from_a_given_decoder(tmp_path):
    config, data = QUICK.override(learning_rate=0.0, epochs=1), (examples(16), examples(16, 1))
    torch.manual_seed(7)
    start = Decoder(TINY)
    wanted = {name: p.clone() for name, p in start.named_parameters()}
    task = DecoderObjective(TINY, config, *data, CPU, start)
    train(task, config, tmp_path)
    for name, p in load_decoder(TINY, tmp_path / "model.safetensors").named_parameters():
        torch.testing.assert_close(p, wanted[name])
    other = DecoderObjective(TINY, config, *data, CPU, Decoder(TINY))
    assert task.identity != other.identity


KILLED = QUICK.override(
    epochs=8, evaluate_every=1, patience=99, checkpoint_seconds=0.0, eos_calibration=True
)
RUN = """
import sys
sys.path.insert(0, sys.argv[1])
from test_trainer import KILLED, examples, objective, train
def score(model):
    print("evaluated", flush=True)
    return {}
train(objective(KILLED, examples(64), examples(16, 1)), KILLED, sys.argv[2], score)
"""


def test_a_killed_run_ends_like_an_unbroken_one(tmp_path):
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    command = [sys.executable, "-c", RUN, str(Path(__file__).parent), str(broken)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as process:
        for _ in range(10):
            assert process.stdout.readline() == "evaluated\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert (broken / "checkpoint.pt").is_file()
    evaluated = []
    for folder in (broken, whole):
        steps: list[int] = []
        train(objective(KILLED, examples(64), examples(16, 1)), KILLED, folder, counter(steps))
        evaluated.append(len(steps))
    assert evaluated[1] == 32
    assert evaluated[0] <= 23  # of the 10 seen in the killed run, at most the last is repeated
    assert load_run(broken) == load_run(whole)


def counter(calls: list[int]):
    def score(model: Decoder) -> dict[str, float]:
        calls.append(1)
        return {}

    return score


def load_run(folder: Path) -> tuple[list[dict[str, float]], bytes]:
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    weights = (folder / "model.safetensors").read_bytes()
    return [{**row, "seconds": 0.0} for row in rows], weights


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    data, val_data = examples(40), examples(16, 1)
    Trainer(objective(QUICK, data, val_data), QUICK, tmp_path).save()
    other = QUICK.override(seed=7)
    with pytest.raises(Vec2SlugError, match="another run"):
        train(objective(other, data, val_data), other, tmp_path)
    with pytest.raises(Vec2SlugError, match="another run"):
        train(objective(QUICK, examples(40, 5), val_data), QUICK, tmp_path)
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(Vec2SlugError, match="expected a checkpoint"):
        train(objective(QUICK, data, val_data), QUICK, tmp_path)


def test_a_loss_that_is_not_finite_stops_with_its_step(tmp_path):
    data = examples(40)
    data.vectors[:] = np.nan
    with pytest.raises(Vec2SlugError, match="got nan at step 1"):
        train(objective(QUICK, data, examples(16, 1)), QUICK, tmp_path)


def test_bad_arguments_are_refused(tmp_path):
    with pytest.raises(Vec2SlugError, match="schedule 'plateau' or 'linear', got 'cosine'"):
        QUICK.override(schedule="cosine")
    with pytest.raises(Vec2SlugError, match=r"epochs.*got 'epoch'"):
        QUICK.override(epoch=3)
    with pytest.raises(Vec2SlugError, match="got 'cut'"):
        QUICK.override(long_slugs="cut")
    wide = Examples(np.zeros((2, 9), np.float32), [[5], [6]])
    with pytest.raises(Vec2SlugError, match=r"shape \(2, 8\), got \(2, 9\)"):
        Batches(wide, TINY, "drop", CPU)
    with pytest.raises(Vec2SlugError, match="ids below 20, got 20"):
        Batches(Examples(np.zeros((1, 8), np.float32), [[20]]), TINY, "drop", CPU)
    with pytest.raises(Vec2SlugError, match="at most 7 tokens, got none"):
        Batches(Examples(np.zeros((1, 8), np.float32), [[5] * 8]), TINY, "drop", CPU)
