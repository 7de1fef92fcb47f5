"""The one table of experiments and the presets.

A preset changes the data and the budget, never the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from math import nan
from typing import Any, TypeVar

import torch

from ..common.errors import Vec2SlugError
from ..model.decoder import DecoderConfig
from ..model.mlp import MLPConfig
from ..training.trainer import TrainingConfig

Config = TypeVar("Config", DecoderConfig, MLPConfig, TrainingConfig)


@dataclass(frozen=True)
class Experiment:
    """One row of the table: the study's hyper-parameters and what it reported."""

    model: str  # 'mlp' or 'decoder'
    # 'bpe': subwords; or one word stands for a cluster of words, see ``word_clusters.METHODS``
    vocabulary: str
    embed_dim: int  # width of the residual stream, or of an MLP's layers
    num_layers: int
    max_slug_tokens: int  # targets of a decoder, <eos> included; an MLP has none
    reported_epochs: int  # the study's, on 2.3 M pairs
    reported_token_f1: float
    reported_parameters: float  # millions, at input width 1536
    loss: str = "cross_entropy"  # of an MLP: one of ``mlp.LOSSES``
    eos_calibration: bool = False
    learning_rate: float = 3e-4
    scaled_input: bool = True  # the one deviation from the study, see ``DecoderConfig``
    # What follows is ours; the defaults are the study's.
    merged: bool = False  # hyphens are part of the tokens that begin a word, see ``merged``
    vocabulary_multiple: int = 1  # of the preset's vocabulary
    embedding_init: bool = False  # tables begin as the embedder's vectors of the tokens
    tied: bool = False
    head_dim: int = 0  # of a bag-of-words head
    word_loss: float = 0.0  # weight of that head's own loss
    dropout: float = 0.1
    epochs: int = 0  # with a rate that falls to 0; 0: the preset's at most
    warmup: float = 0.0  # share of all steps over which the rate grows
    batch_size: int = 0  # at most that of the preset; 0: that of the preset
    train_fraction: float = 1.0  # of the training pages, drawn at random, a smaller from a larger
    min_steps: int = 0  # goes on for so many steps, though validation no longer improves
    pretrain: int = 0  # spans of text read back before the first page
    spans: int = 0  # so many spans are what it learns from; 0: the pages of the data set
    span_kinds: str = "random"  # one or more of ``spans.KINDS``, joined by commas
    wide: bool = False  # learns from the pages of the wide corpus too, see ``data.wide``
    titles: bool = False  # reads the wide corpus' pages that have a title alone, with the spans
    seed: int = 42  # of the first weights, the order of the pages and what drop-out leaves out


def _mlp(width: int, layers: int, loss: str, f1: float, parameters: float) -> Experiment:
    # The study's input: an MLP that had it scaled would be another experiment.
    return Experiment(
        "mlp", "kmeans", width, layers, 0, 5, f1, parameters, loss, scaled_input=False
    )


# A slug over whole words has at most 8 of them, 7 hyphens and <eos>.
EXPERIMENTS = {
    "1a": _mlp(768, 2, "bce", 0.071, 5.6),
    "1b": _mlp(768, 2, "focal", 0.082, 5.6),
    "1c": _mlp(1024, 4, "bce", 0.068, 9.8),
    "3a": Experiment("decoder", "kmeans", 256, 4, 16, 15, 0.189, 6.1),
    "3b": Experiment("decoder", "kmeans", 384, 4, 16, 15, 0.197, 11.5),
    "3d": Experiment("decoder", "bpe", 512, 4, 10, 15, 0.269, 18.5),
    "3e": Experiment("decoder", "bpe", 384, 4, 10, 50, 0.267, 11.5),
    "3f": Experiment("decoder", "bpe", 384, 6, 10, 15, 0.259, 15.1),
    "3g": Experiment("decoder", "bpe", 512, 6, 10, 23, 0.272, 24.8),
    "3h": Experiment("decoder", "bpe", 384, 4, 24, 50, 0.290, 11.5),
    "3i": Experiment("decoder", "bpe", 384, 4, 24, 30, 0.298, 11.5, eos_calibration=True),
    "3j": Experiment("decoder", "bpe", 512, 6, 24, 36, 0.306, 24.8, eos_calibration=True),
}
# Ours, after the study: 3i's shape, with tables made of the embedder's own vectors of the tokens, a
# bag-of-words head and a short schedule; then the same after reading spans of text back.
_OURS = Experiment(
    "decoder", "bpe", 384, 4, 24, 0, nan, nan, learning_rate=1e-3, vocabulary_multiple=3,
    embedding_init=True, tied=True, head_dim=1024, word_loss=1.0, epochs=5, warmup=0.05,
    batch_size=512,
)  # fmt: skip
EXPERIMENTS_OF_OURS = {
    "4a": _OURS,
    "4b": replace(_OURS, pretrain=400_000),
    "4c": replace(
        _OURS, pretrain=400_000, span_kinds="random,phrase,title,slug", vocabulary_multiple=6
    ),
}

# 1a without what made it collapse, as chapter 3 finds out: the rival of every decoder.
FAIR_MLP = "1a+loss=summed+scaled_input=True+learning_rate=0.001"


@dataclass(frozen=True)
class Preset:
    """Data and budget of a run."""

    limit: int | None  # embedded pairs used; None for all
    width_divisor: int  # of the study's width
    vocab_size: int  # subwords, or clusters of words
    # At most; training stops earlier when validation does not improve. 0: the study's. An epoch is
    # as many pages as there are in all: a fraction of them is passed over more often.
    epochs: int
    batch_size: int
    # Steps between two evaluations, one an epoch if that is less; then evaluations without a better
    # validation loss until the rate is halved, and until training ends. On a corpus as small as
    # ours a validation loss that has turned does not come back.
    evaluate_every: int = 1000
    plateau_patience: int = 1
    patience: int = 3
    spans: int | None = None  # at most so many are cut; None for as many as an experiment asks
    span_kinds: str | None = None  # instead of an experiment's own, where there is no corpus
    wide: bool = True  # there may be a wide corpus


PRESETS = {
    "smoke": Preset(
        limit=600,
        width_divisor=8,
        vocab_size=300,
        epochs=2,
        batch_size=64,
        spans=400,
        span_kinds="slug",
        wide=False,
    ),
    # No run of the book has come to its 100 epochs: validation ends them all.
    "book": Preset(limit=None, width_divisor=1, vocab_size=5000, epochs=100, batch_size=1024),
    # The study's own budget, for its corpus and embedder: what `vec2slug paper` makes.
    "paper": Preset(
        limit=None,
        width_divisor=1,
        vocab_size=5000,
        epochs=0,
        batch_size=1024,
        evaluate_every=2000,
        plateau_patience=5,
        patience=10,
    ),
}


# Fields that ids of variants call otherwise: records on disk are older than the fields' names.
FIELD_OF_ID = {"share": "train_fraction", "passes": "epochs", "word_table": "embedding_init"}


def find(table: Mapping[str, Any], kind: str, name: str) -> Any:
    """Return the row of a table by name.

    Raises:
        Vec2SlugError: no such row; the message lists the known ones.
    """
    if name not in table:
        raise Vec2SlugError(f"expected {kind} to be one of {', '.join(table)}, got {name!r}")
    return table[name]


def find_experiment(name: str) -> Experiment:
    """Return an experiment by its id, or a variant of one: ``3h+max_slug_tokens=16``.

    Raises:
        Vec2SlugError: no such experiment or field, or a value of another type.
    """
    rows = {**EXPERIMENTS, **EXPERIMENTS_OF_OURS}
    experiment: Experiment = find_variant(rows, "experiment", name)
    return experiment


def find_variant(rows: Mapping[str, Any], kind: str, name: str) -> Any:
    """Return a row of a table, or one with other values of some fields: ``ID+FIELD=VALUE+…``.

    Raises:
        Vec2SlugError: no such row or field, or a value of another type.
    """
    base, *changes = name.split("+")
    row = find(rows, kind, base)
    known = {field.name: type(getattr(row, field.name)) for field in fields(row)}
    readers: dict[type, Callable[[str], Any]] = {
        bool: {"True": True, "False": False}.__getitem__, int: int, float: float
    }  # fmt: skip
    for change in changes:
        key, _, value = change.partition("=")
        field = FIELD_OF_ID.get(key, key)
        cast = find(known, f"field of {kind} {base}", field)
        try:
            row = replace(row, **{field: readers.get(cast, str)(value)})
        except (KeyError, ValueError) as error:
            raise Vec2SlugError(f"expected {key}=<{cast.__name__}>, got {change!r}") from error
    return row


def pretraining(name: str) -> str:
    """Return the id of the experiment whose weights this one starts from; empty for none.

    A decoder of the same shape that learns spans in one pass.
    """
    experiment = find_experiment(name)
    if not experiment.pretrain:
        return ""
    return f"{name}+pretrain=0+spans={experiment.pretrain}+passes=1"


def _config(kind: type[Config], experiment: Experiment, preset: Preset, **others: Any) -> Config:
    """Make a config of what the experiment and the preset call by the same names, and of others."""
    named = {**vars(experiment), **vars(preset), **others}
    return kind(**{field.name: named[field.name] for field in fields(kind) if field.name in named})


def decoder_config(experiment: Experiment, preset: Preset, input_dim: int) -> DecoderConfig:
    """Return the shape of an experiment's decoder in a preset."""
    sizes = (experiment.embed_dim, experiment.head_dim)
    width, head = (size // preset.width_divisor for size in sizes)
    others = {"input_dim": input_dim, "embed_dim": width, "head_dim": head}
    return _config(DecoderConfig, experiment, preset, **others)


def mlp_config(experiment: Experiment, preset: Preset, input_dim: int) -> MLPConfig:
    """Return the shape of an experiment's MLP in a preset; its dropout is always the study's."""
    width = experiment.embed_dim // preset.width_divisor
    others = {"input_dim": input_dim, "hidden_dim": width, "dropout": MLPConfig.dropout}
    return _config(MLPConfig, experiment, preset, **others)


def default_device() -> str:
    """Return the device on which training runs."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def multiplies_bfloat16(device: str) -> bool:
    """Tell whether the hardware itself multiplies bfloat16 (CUDA, AMX, AVX512-BF16)."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16"))


def training_config(experiment: Experiment, preset: Preset, rows: int) -> TrainingConfig:
    """Return the study's training constants with the preset's budget: one rule for all.

    Products are in bfloat16 where the processor has it: emulated, it is slower than float32.
    """
    cut = experiment.vocabulary == "bpe" and experiment.max_slug_tokens < 24
    batch_size = min(experiment.batch_size or preset.batch_size, preset.batch_size)
    fraction = experiment.train_fraction
    epochs = experiment.epochs or round((preset.epochs or experiment.reported_epochs) / fraction)
    steps = math.ceil(rows / batch_size)
    return _config(
        TrainingConfig,
        experiment,
        preset,
        epochs=epochs,
        batch_size=batch_size,
        warmup_steps=round(experiment.warmup * epochs * steps),
        schedule="linear" if experiment.epochs else "plateau",
        evaluate_every=min(math.ceil(rows / fraction / batch_size), preset.evaluate_every),
        long_slugs="truncate" if cut else "drop",
        label_smoothing=0.1 if experiment.eos_calibration else 0.0,
        bf16=multiplies_bfloat16(default_device()),
    )
