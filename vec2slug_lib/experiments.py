"""The one table of experiments, the presets, and how an experiment is run.

A preset changes the data and the budget, never the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from tokenizers import Tokenizer
from tqdm import tqdm

from . import dataset, evaluation, vocab
from .dataset import Dataset
from .decoding import DecodingConfig, greedy, search
from .errors import Vec2SlugError
from .files import write_json
from .minilm import MiniLMEmbedder
from .models import CachedDecoder, Decoder, DecoderConfig, load_decoder
from .runs import Metrics, Run, environment, open_run, runs_dir, save_results
from .slugs import words
from .training import Examples, TrainingConfig, train
from .vectors import Floats

GREEDY_ROWS = 500  # validation rows decoded greedily at each evaluation


@dataclass(frozen=True)
class Experiment:
    """One row of the table: the study's hyper-parameters and what it reported."""

    embed_dim: int
    num_layers: int
    max_slug_tokens: int
    eos_calibration: bool
    epochs: int  # the study's, on 2.3 M pairs
    reported_token_f1: float


EXPERIMENTS = {
    "3d": Experiment(512, 4, 10, False, 15, 0.269),
    "3e": Experiment(384, 4, 10, False, 50, 0.267),
    "3f": Experiment(384, 6, 10, False, 15, 0.259),
    "3g": Experiment(512, 6, 10, False, 23, 0.272),
    "3h": Experiment(384, 4, 24, False, 50, 0.290),
    "3i": Experiment(384, 4, 24, True, 30, 0.298),
    "3j": Experiment(512, 6, 24, True, 36, 0.306),
}


@dataclass(frozen=True)
class Preset:
    """Data and budget of a run."""

    limit: int | None  # embedded pairs used; None for all
    width_divisor: int  # of the study's width
    vocab_size: int
    epochs: int  # at most; training stops earlier when validation does not improve
    batch_size: int


PRESETS = {
    "smoke": Preset(limit=600, width_divisor=8, vocab_size=300, epochs=2, batch_size=64),
    "book": Preset(limit=None, width_divisor=1, vocab_size=5000, epochs=20, batch_size=1024),
}


def find(table: dict[str, Any], kind: str, name: str) -> Any:
    """Row of a table by name.

    Raises:
        Vec2SlugError: no such row; the message lists the known ones.
    """
    if name not in table:
        raise Vec2SlugError(f"expected {kind} to be one of {', '.join(table)}, got {name!r}")
    return table[name]


def decoder_config(experiment: Experiment, preset: Preset, input_dim: int) -> DecoderConfig:
    """Shape of an experiment's decoder in a preset, with the one stated deviation of ours."""
    return DecoderConfig(
        input_dim=input_dim,
        embed_dim=experiment.embed_dim // preset.width_divisor,
        num_layers=experiment.num_layers,
        max_slug_tokens=experiment.max_slug_tokens,
        vocab_size=preset.vocab_size,
        scaled_input=True,
    )


def record(experiment: str, preset: str = "book", retrain: bool = False) -> Run:
    """The record of an experiment: read if it is there, made if not. What notebooks call."""
    find(EXPERIMENTS, "experiment", experiment)
    find(PRESETS, "preset", preset)
    run = Run(runs_dir() / experiment / preset)
    # The manifest is written when training is done: one that is there spares it.
    trained = all((run.folder / name).is_file() for name in ("manifest.json", "model.safetensors"))
    if retrain or not (run.complete or trained):
        train_run(experiment, preset, run)
    if retrain or not run.complete:
        evaluate_run(run)
    return open_run(experiment, preset)


def train_run(name: str, preset_name: str, run: Run, device: str | None = None) -> None:
    """Train an experiment and write weights, tokenizer, history and manifest."""
    experiment, preset = EXPERIMENTS[name], PRESETS[preset_name]
    (run.folder / "manifest.json").unlink(missing_ok=True)  # of weights that are about to change
    data = dataset.load(limit=preset.limit)
    parts = {split: data.part(split) for split in ("train", "val")}
    tokenizer = vocab.train_bpe(parts["train"].pairs["slug"], preset.vocab_size)
    vocab.save(tokenizer, run.folder / "tokenizer.json")
    preset = replace(preset, vocab_size=tokenizer.get_vocab_size())
    config = decoder_config(experiment, preset, data.vectors.shape[1])
    training = training_config(experiment, preset, len(parts["train"].pairs))
    examples = {split: make_examples(part, tokenizer) for split, part in parts.items()}
    score = greedy_score(parts["val"].sample(GREEDY_ROWS), tokenizer, config)
    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    result = train(config, training, examples["train"], examples["val"], run.folder, score, where)
    write_json(
        run.folder / "manifest.json",
        {
            "experiment": name,
            "preset": preset_name,
            "model": asdict(config),
            "training": asdict(training),
            "parameters": sum(p.numel() for p in Decoder(config).parameters()),
            "train_rows": len(parts["train"].pairs),
            "data": dataset.ids_digest(data.pairs["id"]),
            "result": {
                "best_val_loss": result.best_val_loss,
                "best_step": result.best_step,
                "epochs": result.epochs,
            },
            "seconds": round(result.seconds, 1),
            "environment": environment(where),
        },
    )


def training_config(experiment: Experiment, preset: Preset, rows: int) -> TrainingConfig:
    """The study's training constants with the preset's budget.

    One evaluation an epoch, as in the study, but less patience: on a corpus this small a
    validation loss that has turned does not come back.
    """
    return TrainingConfig(
        epochs=preset.epochs,
        batch_size=preset.batch_size,
        evaluate_every=math.ceil(rows / preset.batch_size),
        plateau_patience=1,
        patience=4,
        long_slugs="truncate" if experiment.max_slug_tokens < 24 else "drop",
        eos_calibration=experiment.eos_calibration,
        label_smoothing=0.1 if experiment.eos_calibration else 0.0,
    )


def make_examples(part: Dataset, tokenizer: Tokenizer) -> Examples:
    """Vectors and token ids of a split."""
    return Examples(part.vectors, vocab.encode(tokenizer, part.pairs["slug"].tolist()))


def greedy_score(
    part: Dataset, tokenizer: Tokenizer, config: DecoderConfig
) -> Callable[[Decoder], dict[str, float]]:
    """Validation score during training: greedy Token F1 and mean words."""
    strings = vocab.token_strings(tokenizer)
    decoding = DecodingConfig(max_tokens=config.max_slug_tokens)
    references = part.pairs["slug"].tolist()

    def score(model: Decoder) -> dict[str, float]:
        slugs = greedy(CachedDecoder(model, bf16=True), part.vectors, strings, decoding)
        f1 = evaluation.token_overlap(slugs, references)[2]
        mean_words = float(np.mean([len(words(slug)) for slug in slugs]))
        return {"token_f1": float(f1.mean()), "mean_words": mean_words}

    return score


def evaluate_run(run: Run) -> None:
    """Decode the test rows of a trained run; write predictions and metrics.

    Raises:
        Vec2SlugError: the data set on disk is not the one the run was trained on.
    """
    manifest = run.manifest
    data = dataset.load(limit=find(PRESETS, "preset", manifest["preset"]).limit)
    if dataset.ids_digest(data.pairs["id"]) != manifest["data"]:
        raise Vec2SlugError(f"expected the data that {run.folder} was trained on, found another")
    rows = data.test_rows()
    model = load_decoder(DecoderConfig(**manifest["model"]), run.folder / "model.safetensors")
    strings = vocab.token_strings(vocab.load(run.folder / "tokenizer.json"))
    decoding = DecodingConfig(max_tokens=model.config.max_slug_tokens)
    with tqdm(total=len(rows.pairs), desc="decoding", unit="slug") as bar:
        found = search(CachedDecoder(model), rows.vectors, strings, decoding, progress=bar.update)
    predictions = rows.pairs[["id", "slug"]].assign(
        prediction=[candidates[0].slug for candidates in found.candidates],
        score=np.array([candidates[0].score for candidates in found.candidates], np.float32),
    )
    save_results(run, predictions, measure(predictions, rows.vectors))


def measure(predictions: pd.DataFrame, vectors: Floats) -> Metrics:
    """Every metric of predictions (columns slug, prediction) with its interval.

    BERTScore is taken with the local MiniLM, so its level is not that of the study's roberta-large.
    """
    bert = MiniLMEmbedder().token_embeddings
    guesses, references = predictions["prediction"].tolist(), predictions["slug"].tolist()
    return evaluation.evaluate(guesses, references, vectors, bert)
