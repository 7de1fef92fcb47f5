"""Run by pytest; and by `torchrun` in two processes, whose work on each rank is ``main`` below."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_trainer import CPU, QUICK, TINY, examples, load_run

from vec2slug_lib.cli.main import main as command
from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.training import distributed
from vec2slug_lib.training.decoder_objective import DecoderObjective
from vec2slug_lib.training.trainer import train

PARALLEL = QUICK.override(epochs=4, patience=99, word_loss=0.5, checkpoint_seconds=0.0)
HEADED = replace(TINY, head_dim=8)
# Sums in another order: float32 rounds at 6e-8, and 12 steps of AdamW add to it.
TOLERANCE = 1e-5


class Killed(DecoderObjective):
    """Training that kills the second rank in its eighth step."""

    steps = 0

    def backward(self, rows: torch.Tensor) -> float:
        self.steps += 1
        if self.steps == 8 and distributed.rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().backward(rows)


def objective(
    dropout: float, seed: int = 0, kind: type[DecoderObjective] = DecoderObjective
) -> DecoderObjective:
    """Three micro-batches a batch, the last one smaller; the last batch of an epoch has two."""
    shape = replace(HEADED, dropout=dropout)
    return kind(shape, PARALLEL, examples(40, seed), examples(17, 1), CPU)


def fit(folder: Path, task: DecoderObjective) -> None:
    train(task, PARALLEL, folder, lambda model: {"rank": distributed.rank()})


def gradients(rows: int) -> tuple[float, dict[str, torch.Tensor], dict[str, float]]:
    """Loss and gradients of the first rows; of four, there is one micro-batch."""
    task = objective(0.0)
    loss = task.backward(torch.arange(rows))
    found = {name: p.grad for name, p in task.model.named_parameters()}
    return loss, found, task.validation()


def refused(folder: Path) -> list[str]:
    """What is said to ranks that would not train the same, and to an MLP."""
    from vec2slug_lib.model.mlp import MLPConfig
    from vec2slug_lib.training.mlp_objective import MLPObjective

    with pytest.raises(Vec2SlugError) as other:
        fit(folder, objective(0.0, seed=distributed.rank()))
    with pytest.raises(Vec2SlugError) as mlp:
        MLPObjective(MLPConfig(), PARALLEL, None, None, "bce", CPU)
    return [str(other.value), str(mlp.value)]


def main(folder: Path) -> None:
    with distributed.group():
        kind = DecoderObjective if (folder / "broken").is_dir() else Killed
        distributed.wait()
        fit(folder / "broken", objective(0.3, kind=kind))
        fit(folder / "whole", objective(0.3))
        fit(folder / "no dropout", objective(0.0))
        found = {"gradients": [gradients(rows) for rows in (4, 40)]}
        found["refused"] = refused(folder / "refused")
        torch.save(found, folder / f"{distributed.rank()}.pt")


def torchrun(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Two processes, which meet on a free port."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    path = f"{Path(__file__).parents[2]}{os.pathsep}{Path(__file__).parent}"
    return subprocess.run(
        [*command, *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """Folder of what two ranks did: they were killed at first, and called again."""
    folder = tmp_path_factory.mktemp("ranks")
    first = torchrun(__file__, folder)
    assert first.returncode != 0
    assert "SIGKILL" in first.stderr
    assert (folder / "broken" / "checkpoint.pt").is_file(), first.stderr
    assert not (folder / "whole").exists()
    second = torchrun(__file__, folder)
    assert second.returncode == 0, second.stderr
    return folder


@pytest.fixture
def alone(monkeypatch):
    """What torchrun tells the one process that it starts."""
    told = {"TORCHELASTIC_RUN_ID": "none", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    for name, value in {**told, "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)


def losses(folder: Path) -> list[list[float]]:
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return [[row[name] for name in ("step", "train_loss", "val_loss", "lr")] for row in rows]


def check_close(folder: Path, wanted: Path) -> None:
    assert len(losses(folder)) == 3
    assert losses(folder) == [pytest.approx(row, rel=TOLERANCE) for row in losses(wanted)]


def test_two_ranks_have_the_loss_curve_of_one_process(ranks, tmp_path):
    fit(tmp_path, objective(0.0))
    check_close(ranks / "no dropout", tmp_path)


def test_one_rank_computes_what_a_process_without_torchrun_does(alone, tmp_path):
    fit(tmp_path / "plain", objective(0.0))
    with distributed.group():
        fit(tmp_path / "rank", objective(0.0))
    assert load_run(tmp_path / "rank") == load_run(tmp_path / "plain")


def test_dropout_does_not_hang_on_the_number_of_ranks(ranks, alone, tmp_path):
    with distributed.group():
        fit(tmp_path, objective(0.3))
    check_close(ranks / "whole", tmp_path)
    assert losses(tmp_path)[0][1] != pytest.approx(losses(ranks / "no dropout")[0][1], rel=1e-3)


def test_ranks_that_were_killed_go_on_like_unbroken_ones(ranks):
    assert load_run(ranks / "broken") == load_run(ranks / "whole")


def test_the_first_rank_alone_writes_and_scores(ranks):
    rows = (ranks / "whole" / "history.jsonl").read_text().splitlines()
    assert [json.loads(row)["rank"] for row in rows] == [0] * 3
    left = sorted(path.name for path in (ranks / "whole").iterdir())
    assert left == ["history.jsonl", "model.safetensors"]


def test_every_rank_has_the_gradient_of_one_process_even_without_a_piece(ranks):
    found = [torch.load(ranks / f"{rank}.pt")["gradients"] for rank in range(2)]
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)
    wanted = [gradients(rows) for rows in (4, 40)]
    torch.testing.assert_close(found[1], wanted, rtol=1e-4, atol=1e-7)


def test_ranks_of_other_data_and_mlps_are_refused(ranks):
    for rank in range(2):
        other, mlp = torch.load(ranks / f"{rank}.pt")["refused"]
        assert "expected the same data and checkpoint on all 2 ranks" in other
        assert "expected one process for an MLP, got 2" in mlp


def test_train_makes_one_record_on_all_ranks(tmp_path, monkeypatch):
    monkeypatch.setenv("VEC2SLUG_RUNS", str(tmp_path))
    done = torchrun("-m", "vec2slug_lib.cli", "train", "3h", "--preset", "smoke")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("token_f1") == 1
    folder = tmp_path / "3h" / "smoke"
    assert json.loads((folder / "manifest.json").read_text())["environment"]["ranks"] == 2
    assert (folder / "predictions.parquet").is_file()
    assert not (folder / "checkpoint.pt").exists()


def test_a_record_that_is_there_is_left(alone, monkeypatch, capsys):
    monkeypatch.setattr(
        "vec2slug_lib.experiments.run.train_run", None
    )  # would fail if it were called
    assert command(["train", "3i"]) == 0
    assert "token_f1" in capsys.readouterr().out
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["3h", "3i"], "expected one experiment under torchrun, got 2"),
        (["--all"], "expected one experiment under torchrun, got 12"),
        (["9z"], "got '9z'"),
        (["3i", "--preset", "huge"], "got 'huge'"),
    ],
)
def test_bad_requests_are_refused_before_ranks_meet(arguments, message, alone, capsys):
    assert command(["train", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not torch.distributed.is_initialized()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
