"""How an experiment is run: data, vocabulary, training, decoding, metrics, one record on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from tokenizers import Tokenizer
from tqdm import tqdm

from . import dataset, distributed, evaluation, mlp, vocab, word_table
from .dataset import Dataset
from .decoder_objective import DecoderObjective, Examples
from .decoding import Beams, Candidate, DecodingConfig, greedy, search
from .errors import Vec2SlugError
from .examples import load_examples, vectors_by
from .experiments import (
    PRESETS,
    Experiment,
    Preset,
    decoder_config,
    default_device,
    find,
    find_experiment,
    mlp_config,
    pretraining,
    training_config,
)
from .files import write_json
from .merged import stepper_for
from .minilm import MiniLMEmbedder
from .mlp_model import MLP, MLPConfig, load_mlp
from .mlp_model import predict as predict_sets
from .models import CachedDecoder, Decoder, DecoderConfig
from .retrieval import Index
from .risk import RiskConfig, Witnesses, least_risk_search
from .runs import Metrics, Run, environment, open_run, runs_dir, save_results
from .slugs import words
from .span_set import span_set
from .tokens import EOS, SPECIALS
from .training import Objective, TrainingConfig, TrainingResult, train
from .vectors import Floats
from .weights import load_decoder
from .word_record import map_slug, word_clusters

GREEDY_ROWS = 500  # validation rows decoded greedily at each evaluation

Config = DecoderConfig | MLPConfig
Scores = dict[str, float]


@dataclass(frozen=True)
class Task:
    """An experiment in a preset, with its data and vocabulary: all that training needs."""

    name: str
    preset_name: str
    data: Dataset
    lessons: Dataset  # what it learns from: the pages of `data`, or spans
    tokenizer: Tokenizer
    mapping: dict[str, str] | None  # word to the word that stands for it; None for subwords

    @property
    def experiment(self) -> Experiment:
        """Hyper-parameters."""
        return find_experiment(self.name)

    @property
    def preset(self) -> Preset:
        """Data and budget."""
        return PRESETS[self.preset_name]

    def target(self, slug: str) -> str:
        """What the model is asked to write for a slug."""
        return slug if self.mapping is None else map_slug(slug, self.mapping)

    def ids(self, part: Dataset) -> list[list[int]]:
        """Token ids of the targets of a split."""
        return vocab.encode(self.tokenizer, [self.target(slug) for slug in part.pairs["slug"]])


def make_task(name: str, preset_name: str) -> Task:
    """Load the data and make the vocabulary of an experiment.

    Raises:
        Vec2SlugError: unknown experiment or preset.
    """
    experiment = find_experiment(name)
    preset: Preset = find(PRESETS, "preset", preset_name)
    data = dataset.load(limit=preset.limit).thin(experiment.share)
    if data.embedder != "minilm" and (experiment.head_dim or experiment.spans):
        raise Vec2SlugError(
            f"expected vectors of minilm for {name}, which learns from what it embeds itself; got "
            f"those of {data.embedder}"
        )
    spans = spans_of(experiment, preset, data)
    mapping: dict[str, str] | None = None
    if experiment.vocabulary == "kmeans":
        mapping = word_clusters(preset_name).mapping
        tokenizer = vocab.word_level(sorted(set(mapping.values())))
    else:
        slugs = [
            slug for part in (data.part("train"), spans) if part for slug in part.pairs["slug"]
        ]
        size = experiment.vocabulary_multiple * preset.vocab_size
        tokenizer = vocab.train_bpe(slugs, size, experiment.merged)
    taught = spans if spans and experiment.spans else data
    return Task(name, preset_name, data, taught, tokenizer, mapping)


def spans_of(experiment: Experiment, preset: Preset, data: Dataset) -> Dataset | None:
    """The spans that an experiment, or its pretraining, learns to read back; None for none."""
    count = experiment.spans or experiment.pretrain
    if not count:
        return None
    kinds = preset.span_kinds or experiment.span_kinds
    return span_set(data, kinds, min(count, preset.spans or count))


def record(name: str, preset: str = "book", retrain: bool = False) -> Run:
    """The record of an experiment: read if it is there, made if not. What notebooks call."""
    find_experiment(name)
    find(PRESETS, "preset", preset)
    run = Run(runs_dir() / name / preset)
    if retrain or not run.complete:
        evaluate_run(trained(name, preset, retrain))
    return open_run(name, preset)


def trained(name: str, preset: str, retrain: bool = False) -> Run:
    """A run whose weights are on disk, with or without its results: trained if they are not."""
    run = Run(runs_dir() / name / preset)
    # The manifest is written when training is done: one that is there spares it.
    parts = (run.folder / "manifest.json", run.folder / "model.safetensors")
    if distributed.agree(retrain or not all(part.is_file() for part in parts)):
        train_run(name, preset, run)
    return run


def train_run(name: str, preset_name: str, run: Run, device: str | None = None) -> None:
    """Train an experiment, on all ranks; write weights, tokenizer, history and manifest."""
    with distributed.first_rank_first():
        task = make_task(name, preset_name)
        if distributed.rank() == 0:
            for part in ("manifest.json", "metrics.json"):  # of weights that are about to change
                (run.folder / part).unlink(missing_ok=True)
            vocab.save(task.tokenizer, run.folder / "tokenizer.json")
    where = device or default_device()
    config = model_config(task)
    result = fit(task, config, run.folder, where)
    train_rows = int((task.lessons.pairs["split"] == "train").sum())
    model = Decoder(config) if isinstance(config, DecoderConfig) else MLP(config)
    manifest = {
        "experiment": name,
        "preset": preset_name,
        "model": asdict(config),
        "training": asdict(training_config(task.experiment, task.preset, train_rows)),
        "parameters": sum(p.numel() for p in model.parameters()),
        "train_rows": train_rows,
        "data": dataset.ids_digest(task.data.pairs["id"]),
        "embedder": task.data.embedder,
        "result": {k: getattr(result, k) for k in ("best_val_loss", "best_step", "epochs")},
        "seconds": round(result.seconds, 1),
        "environment": {**environment(where), "ranks": distributed.world()},
    }
    if distributed.rank() == 0:
        write_json(run.folder / "manifest.json", manifest)
    distributed.wait()  # for files that the next training may start from


def model_config(task: Task) -> Config:
    """Shape of the task's model, with as many outputs as its vocabulary has entries."""
    width, size = task.data.vectors.shape[1], task.tokenizer.get_vocab_size()
    if task.experiment.model == "mlp":
        preset = replace(task.preset, vocab_size=size - len(SPECIALS))
        return mlp_config(task.experiment, preset, width)
    return decoder_config(task.experiment, replace(task.preset, vocab_size=size), width)


def fit(
    task: Task, config: Config, folder: Any, device: str, batches: int | None = None
) -> TrainingResult:
    """Train the task's model; with ``batches``, on so many only, to see how long it takes."""
    rows, val = task.lessons.part("train"), task.lessons.part("val")
    training = training_config(task.experiment, task.preset, len(rows.pairs))
    if batches is not None:
        rows = rows.rows(np.arange(min(batches * training.batch_size, len(rows.pairs))))
        val, training = val.sample(64), replace(training, epochs=1)
    score = validation_score(task.data.part("val").sample(GREEDY_ROWS), task)
    return train(make_objective(task, config, training, rows, val, device), training, folder, score)


def make_objective(
    task: Task, config: Config, training: TrainingConfig, rows: Dataset, val: Dataset, device: str
) -> Objective:
    """A new model of the task with its training and validation data."""
    where = torch.device(device)
    if isinstance(config, MLPConfig):
        ours, theirs = word_sets(task, rows), word_sets(task, val)
        return mlp.MLPObjective(config, training, ours, theirs, task.experiment.loss, where)
    examples = [Examples(part.vectors, task.ids(part)) for part in (rows, val)]
    torch.manual_seed(training.seed)
    start = first_weights(task, config)
    return DecoderObjective(config, training, examples[0], examples[1], where, start)


def first_weights(task: Task, config: DecoderConfig) -> Decoder | None:
    """Decoder to start from: of a pretraining, or with the embedder's tables; None for neither."""
    if start := pretraining(task.name):
        return load_decoder(config, trained(start, task.preset_name).folder / "model.safetensors")
    if not task.experiment.word_table:
        return None
    model = Decoder(config)
    ids = [i for row in task.ids(task.data.part("train")) for i in (*row, EOS)]
    tokens = vocab.token_strings(task.tokenizer)
    vectors = word_table.token_vectors(tokens, MiniLMEmbedder())
    word_table.fill(model, vectors, np.bincount(ids, minlength=len(tokens)).tolist())
    return model


def word_sets(task: Task, part: Dataset) -> mlp.WordSets:
    """Vectors and cluster ids of a split."""
    first = len(SPECIALS)
    ids = [[i - first for i in row if i >= first] for row in task.ids(part)]
    return mlp.WordSets(part.vectors, ids)


def validation_score(part: Dataset, task: Task) -> Callable[[Any], Scores]:
    """Score during training: greedy Token F1 and words; over clusters also the ghost value.

    The ghost value is what the study's training log showed in its KMeans phase: micro F1 with the
    references written in the reduced vocabulary too.
    """
    strings = vocab.token_strings(task.tokenizer)
    references = part.pairs["slug"].tolist()

    def score(model: Any) -> Scores:
        slugs = [slug for slug, _ in predict(model, part.vectors, strings, quick=True)]
        f1 = evaluation.token_overlap(slugs, references)[2]
        found = {
            "token_f1": float(f1.mean()),
            "mean_words": float(np.mean([len(words(slug)) for slug in slugs])),
        }
        if task.mapping is not None:
            found["ghost_f1"] = evaluation.micro_f1(slugs, [task.target(r) for r in references])
        return found

    return score


def predict(
    model: Decoder | MLP,
    vectors: Floats,
    strings: Sequence[str],
    quick: bool = False,
    progress: Callable[[int], object] | None = None,
) -> Sequence[Candidate | tuple[str, float]]:
    """Slug and score of each vector ``[N, d]``; ``quick`` takes the greedy slug.

    A decoder with a word head searches wide and takes the slug of least risk, proofread; its score
    is the Token F1 to expect. Without one, the slug is that of the project's search.
    """
    if isinstance(model, MLP):
        return predict_sets(model, vectors, strings[len(SPECIALS) :])
    config = DecodingConfig(max_tokens=model.config.max_slug_tokens)
    stepper, strings = stepper_for(model, strings, bf16=quick)
    if quick:
        slugs = greedy(stepper, vectors, strings, config)
        return [(slug, 0.0) for slug in slugs]
    if model.word_head is not None:
        read = MiniLMEmbedder().embed
        found = least_risk_slugs(model, vectors, strings, read=read, progress=progress)
        return [candidates[0] for candidates in found.candidates]
    found = search(stepper, vectors, strings, config, progress=progress)
    return [candidates[0] for candidates in found.candidates]


def least_risk_slugs(
    model: Decoder,
    vectors: Floats,
    strings: Sequence[str],
    risk: RiskConfig | None = None,
    index: Index | None = None,
    read: Callable[[Sequence[str]], Floats] | None = None,
    progress: Callable[[int], object] | None = None,
) -> Beams:
    """Candidates of each vector ``[N, d]`` by expected Token F1, best first.

    Args:
        model: a decoder; its word head is asked if it has one.
        vectors: unit rows.
        strings: its vocabulary.
        risk: the project's settings if None.
        index: pages with known slugs, asked too if given.
        read: vectors of texts; with it, slugs are proofread.
        progress: called with the number of rows just done.
    """
    stepper, config = CachedDecoder(model), DecodingConfig(max_tokens=model.config.max_slug_tokens)
    heads = stepper.word_logits if model.word_head is not None else None
    asked = Witnesses(heads, index.chances if index else None, read)
    return least_risk_search(
        stepper, vectors, strings, config, risk or RiskConfig(), asked, progress
    )


def run_data(run: Run) -> Dataset:
    """The data set that a run was trained on.

    Raises:
        Vec2SlugError: the one on disk is another.
    """
    manifest = run.manifest
    data = dataset.load(limit=find(PRESETS, "preset", manifest["preset"]).limit)
    data = data.thin(find_experiment(manifest["experiment"]).share)
    if dataset.ids_digest(data.pairs["id"]) != manifest["data"]:
        raise Vec2SlugError(f"expected the data that {run.folder} was trained on, found another")
    return data


def load_model(run: Run) -> tuple[Decoder | MLP, list[str]]:
    """Weights of a trained run and its tokens as strings.

    Raises:
        Vec2SlugError: the weights are not on disk, as in a fresh clone.
    """
    path, config = run.folder / "model.safetensors", run.manifest["model"]
    strings = vocab.token_strings(vocab.load(run.folder / "tokenizer.json"))
    if "hidden_dim" in config:
        return load_mlp(MLPConfig(**config), path), strings
    return load_decoder(DecoderConfig(**config), path), strings


def evaluate_run(run: Run) -> None:
    """Write the slugs of the test rows and of the book's examples, and every metric.

    Raises:
        Vec2SlugError: the data set on disk is not the one the run was trained on.
    """
    rows = run_data(run).test_rows()
    model, strings = load_model(run)
    with tqdm(total=len(rows.pairs), desc="decoding", unit="slug") as bar:
        found = predict(model, rows.vectors, strings, progress=bar.update)
    predictions = rows.pairs[["id", "slug"]].assign(
        prediction=[slug for slug, _ in found],
        score=np.array([score for _, score in found], np.float32),
    )
    names = [example.name for example in load_examples()]
    slugs = predict(model, vectors_by(run.embedder), strings)
    examples = dict(zip(names, [slug for slug, _ in slugs], strict=True))
    if isinstance(model, MLP):
        write_json(run.folder / "diagnostics.json", diagnose(run, model, rows, strings))
    save_results(run, predictions, measure(predictions, rows.vectors), examples)


def diagnose(run: Run, model: MLP, rows: Dataset, strings: Sequence[str]) -> dict[str, Any]:
    """What `mlp.diagnose` finds out about a trained MLP on the test rows."""
    task = make_task(run.manifest["experiment"], run.manifest["preset"])
    train_sets, val_sets = (word_sets(task, task.data.part(name)) for name in ("train", "val"))
    names, references = list(strings[len(SPECIALS) :]), rows.pairs["slug"].tolist()
    return mlp.diagnose(model, train_sets, val_sets, word_sets(task, rows), references, names)


def measure(predictions: pd.DataFrame, vectors: Floats) -> Metrics:
    """Every metric of predictions (columns slug, prediction) with its interval.

    BERTScore is taken with the local MiniLM, so its level is not that of the study's roberta-large.
    """
    bert = MiniLMEmbedder().token_embeddings
    guesses, references = predictions["prediction"].tolist(), predictions["slug"].tolist()
    return evaluation.evaluate(guesses, references, vectors, bert)


def paired(ours: Run, theirs: Run) -> dict[str, evaluation.Interval]:
    """Difference ours minus theirs of each text metric on the same test rows, with intervals.

    Raises:
        Vec2SlugError: the two runs were scored on different rows.
    """
    sides = [run.predictions for run in (ours, theirs)]
    if sides[0]["id"].tolist() != sides[1]["id"].tolist():
        raise Vec2SlugError(f"expected the same test rows in {ours.folder} and {theirs.folder}")
    return evaluation.compare(
        *(evaluation.text_metrics(x["prediction"].tolist(), x["slug"].tolist()) for x in sides)
    )


def example_slugs(names: Sequence[str], preset: str = "book") -> pd.DataFrame:
    """Slugs of the book's own articles: a row an article, indexed by its editor's slug."""
    examples = load_examples()
    found = {name: record(name, preset).examples for name in names}
    return pd.DataFrame(
        {name: [slugs[example.name] for example in examples] for name, slugs in found.items()},
        index=pd.Index([example.slug for example in examples], name="editor's slug"),
    )
