"""Run an experiment: data, vocabulary, training, decoding, metrics, one record on disk."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from filelock import FileLock

from ..common.files import write_json
from ..common.vocabulary import EOS
from ..common.workspace import current
from ..data import dataset
from ..data.dataset import Dataset
from ..data.examples import load_examples
from ..embedding.registry import open_embedder
from ..evaluation.records import Run, environment, open_run
from ..model import embedding_init
from ..model.decoder import Decoder, DecoderConfig
from ..model.mlp import MLP, MLPConfig
from ..model.tokenizer import save_tokenizer, token_strings
from ..model.weights import load_decoder
from ..training import distributed, mlp_objective
from ..training.decoder_objective import DecoderObjective, Examples
from ..training.trainer import Objective, TrainingConfig, TrainingResult, train
from .baseline_runs import is_baseline, make_baseline
from .score import evaluate_run, validation_score
from .table import PRESETS, default_device, find, find_experiment, pretraining, training_config
from .task import Config, Task, make_task, model_config, word_sets

GREEDY_ROWS = 500  # validation rows decoded greedily at each evaluation
RESULTS = ("manifest.json", "metrics.json", "diagnostics.json")  # void when weights change


def record(name: str, preset: str = "book", retrain: bool = False) -> Run:
    """Read the record of an experiment or a baseline; make it if it is missing.

    What notebooks call. Of two processes that ask for one record, the second waits and reads it.

    Raises:
        Vec2SlugError: unknown name or preset.
    """
    if not is_baseline(name):
        find_experiment(name)
    find(PRESETS, "preset", preset)
    run = Run(current().runs / name / preset)
    if retrain or not run.complete:
        with lock(run):
            if retrain or not run.complete:  # another process may have made it meanwhile
                make_record(name, preset, retrain)
    return open_run(name, preset)


def make_record(name: str, preset: str, retrain: bool = False) -> None:
    """Compute a baseline's slugs, or train an experiment and score it."""
    if is_baseline(name):
        make_baseline(name, preset)
    else:
        evaluate_run(trained(name, preset, retrain))


def lock(run: Run) -> AbstractContextManager[object]:
    """Return the lock of a record, for those who make it."""
    if distributed.rank() > 0:  # they wait for the first one, which has it
        return nullcontext()
    run.folder.parent.mkdir(parents=True, exist_ok=True)
    # A singleton, so that one process may take it twice.
    return FileLock(run.folder.with_name(f".{run.folder.name}.lock"), is_singleton=True)


def trained(name: str, preset: str, retrain: bool = False) -> Run:
    """Return a run whose weights are on disk: its pretraining and it are trained if they are not.

    On several ranks all of them call this; the run may lack its results.
    """
    run = Run(current().runs / name / preset)
    # The manifest is written when training is done: one that is there spares it.
    parts = (run.folder / "manifest.json", run.folder / "model.safetensors")

    def wanted() -> bool:
        return distributed.agree(retrain or not all(part.is_file() for part in parts))

    if wanted():
        with lock(run):
            if wanted():  # another process may have trained it meanwhile
                make_pretraining(name, preset)
                train_run(name, preset, run)
    return run


def make_pretraining(name: str, preset: str) -> None:
    """Make sure of the weights that an experiment starts from, if it starts from another's."""
    if start := pretraining(name):
        trained(start, preset)  # which starts from no other


def train_run(name: str, preset: str, run: Run) -> None:
    """Train an experiment, on all ranks; write weights, tokenizer, history and manifest."""
    with distributed.first_rank_first():
        task = make_task(name, preset)
        if distributed.rank() == 0:
            for part in RESULTS:
                (run.folder / part).unlink(missing_ok=True)
            save_tokenizer(task.tokenizer, run.folder / "tokenizer.json")
    device, config = default_device(), model_config(task)
    result = fit(task, config, run.folder, device)
    if distributed.rank() == 0:
        write_json(run.folder / "manifest.json", make_manifest(task, config, result, device))
    distributed.wait()  # for files that the next training may start from


def make_manifest(
    task: Task, config: Config, result: TrainingResult, device: str
) -> dict[str, Any]:
    """Describe a trained run: its configs, what it learnt from, and where."""
    train_rows = int((task.training_set.pairs["split"] == "train").sum())
    model = Decoder(config) if isinstance(config, DecoderConfig) else MLP(config)
    return {
        "experiment": task.name,
        "preset": task.preset_name,
        "model": asdict(config),
        "training": asdict(training_config(task.experiment, task.preset, train_rows)),
        "parameters": sum(p.numel() for p in model.parameters()),
        "train_rows": train_rows,
        "data": dataset.ids_digest(task.data.pairs["id"]),
        "embedder": task.data.embedder,
        "result": {k: getattr(result, k) for k in ("best_val_loss", "best_step", "epochs")},
        "seconds": round(result.seconds, 1),
        "environment": {**environment(device), "ranks": distributed.world()},
    }


def fit(
    task: Task, config: Config, folder: Any, device: str, batches: int | None = None
) -> TrainingResult:
    """Train the task's model; with ``batches``, on so many only, to see how long it takes."""
    rows, val = task.training_set.part("train"), task.training_set.part("val")
    training = training_config(task.experiment, task.preset, len(rows.pairs))
    if batches is not None:
        rows = rows.rows(np.arange(min(batches * training.batch_size, len(rows.pairs))))
        val, training = val.sample(64), replace(training, epochs=1)
    score = validation_score(task.data.part("val").sample(GREEDY_ROWS), task)
    return train(make_objective(task, config, training, rows, val, device), training, folder, score)


def make_objective(
    task: Task, config: Config, training: TrainingConfig, rows: Dataset, val: Dataset, device: str
) -> Objective:
    """Make a new model of the task with its training and validation data."""
    where = torch.device(device)
    if isinstance(config, MLPConfig):
        ours, theirs = word_sets(task, rows), word_sets(task, val)
        return mlp_objective.MLPObjective(
            config, training, ours, theirs, task.experiment.loss, where
        )
    examples = [Examples(part.vectors, task.ids(part)) for part in (rows, val)]
    torch.manual_seed(training.seed)
    start = first_weights(task, config)
    return DecoderObjective(config, training, examples[0], examples[1], where, start)


def first_weights(task: Task, config: DecoderConfig) -> Decoder | None:
    """Make the decoder to start from; None for weights at random.

    That of the pretraining, which must be there; or one with the embedder's vectors of the tokens.
    """
    if start := pretraining(task.name):
        run = Run(current().runs / start / task.preset_name)
        return load_decoder(config, run.folder / "model.safetensors")
    if not task.experiment.embedding_init:
        return None
    model = Decoder(config)
    ids = [i for row in task.ids(task.data.part("train")) for i in (*row, EOS)]
    tokens = token_strings(task.tokenizer)
    vectors = embedding_init.token_vectors(tokens, open_embedder(task.data.embedder, exact=True))
    embedding_init.fill(model, vectors, np.bincount(ids, minlength=len(tokens)).tolist())
    return model


def example_slugs(names: Sequence[str], preset: str = "book") -> pd.DataFrame:
    """Tabulate slugs of the book's articles: a row an article, indexed by its editor's slug."""
    examples = load_examples()
    written = {name: record(name, preset).examples for name in names}
    return pd.DataFrame(
        {name: [slugs[example.name] for example in examples] for name, slugs in written.items()},
        index=pd.Index([example.slug for example in examples], name="editor's slug"),
    )
