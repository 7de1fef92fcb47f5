"""An experiment with its data and vocabulary: all that training it needs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tokenizers import Tokenizer

from ..common.errors import Vec2SlugError
from ..common.vocabulary import SPECIALS
from ..common.workspace import current
from ..data import dataset
from ..data.dataset import Dataset, joined
from ..data.spans import span_set
from ..data.wide import wide_folder, wide_pages, widen
from ..embedding.registry import DEFAULT, find_embedder
from ..evaluation.records import Run
from ..model.decoder import DecoderConfig
from ..model.mlp import MLPConfig
from ..model.tokenizer import encode, train_bpe, word_level
from ..training import mlp_objective
from .table import PRESETS, Experiment, Preset, decoder_config, find, find_experiment, mlp_config
from .word_clusters import map_slug, word_clusters

Config = DecoderConfig | MLPConfig


@dataclass(frozen=True)
class Task:
    """An experiment in a preset, with its data and vocabulary: all that training needs."""

    name: str
    preset_name: str
    data: Dataset
    training_set: Dataset  # what it learns from: the pages of `data`, or spans
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
        """Return what the model is asked to write for a slug."""
        return slug if self.mapping is None else map_slug(slug, self.mapping)

    def ids(self, part: Dataset) -> list[list[int]]:
        """Encode the targets of a split."""
        return encode(self.tokenizer, [self.target(slug) for slug in part.pairs["slug"]])


def make_task(name: str, preset_name: str) -> Task:
    """Load the data and make the vocabulary of an experiment.

    Raises:
        Vec2SlugError: unknown experiment or preset.
    """
    experiment = find_experiment(name)
    preset: Preset = find(PRESETS, "preset", preset_name)
    data = dataset.load(limit=preset.limit).subsample(experiment.train_fraction)
    info = find_embedder(data.embedder)
    if not (info and info.local) and (experiment.head_dim or experiment.spans):
        raise Vec2SlugError(
            f"expected vectors of {DEFAULT} for {name}, which learns from what it embeds itself; "
            f"got those of {data.embedder}"
        )
    pages = widen(data) if experiment.wide and preset.wide else data
    spans = spans_of(experiment, preset, data, pages)
    mapping: dict[str, str] | None = None
    if experiment.vocabulary != "bpe":
        mapping = word_clusters(preset_name, method=experiment.vocabulary).mapping
        tokenizer = word_level(sorted(set(mapping.values())))
    else:
        slugs = [
            slug for part in (pages.part("train"), spans) if part for slug in part.pairs["slug"]
        ]
        size = experiment.vocabulary_multiple * preset.vocab_size
        tokenizer = train_bpe(slugs, size, experiment.merged)
    taught = spans if spans and experiment.spans else pages
    return Task(name, preset_name, data, taught, tokenizer, mapping)


def spans_of(
    experiment: Experiment, preset: Preset, data: Dataset, pages: Dataset
) -> Dataset | None:
    """Load the spans that an experiment, or its pretraining, learns to read back, if any.

    Where there is a wide corpus, its pages that have a title alone may be among them.

    Args:
        experiment: how many spans, and of which kinds.
        preset: what there is to cut them from.
        data: the data set.
        pages: it, or more, with the training pages that spans are cut from.
    """
    count = experiment.spans or experiment.pretrain
    if not count:
        return None
    kinds, wide = preset.span_kinds or experiment.span_kinds, pages is not data
    texts = wide_folder() if wide else current().work / "corpus"
    spans = span_set(pages, kinds, min(count, preset.spans or count), texts)
    return joined(spans, wide_pages(data, titles=True)) if wide and experiment.titles else spans


def model_config(task: Task) -> Config:
    """Return the shape of the task's model, its outputs as many as the vocabulary's entries."""
    width, size = task.data.vectors.shape[1], task.tokenizer.get_vocab_size()
    if task.experiment.model == "mlp":
        preset = replace(task.preset, vocab_size=size - len(SPECIALS))
        return mlp_config(task.experiment, preset, width)
    return decoder_config(task.experiment, replace(task.preset, vocab_size=size), width)


def word_sets(task: Task, part: Dataset) -> mlp_objective.WordSets:
    """Return vectors and cluster ids of a split."""
    first = len(SPECIALS)
    ids = [[i - first for i in row if i >= first] for row in task.ids(part)]
    return mlp_objective.WordSets(part.vectors, ids)


def run_data(run: Run) -> Dataset:
    """Load the data set that a run was trained on.

    Raises:
        Vec2SlugError: the one on disk is another.
    """
    manifest = run.manifest
    data = dataset.load(limit=find(PRESETS, "preset", manifest["preset"]).limit)
    data = data.subsample(find_experiment(manifest["experiment"]).train_fraction)
    if dataset.ids_digest(data.pairs["id"]) != manifest["data"]:
        raise Vec2SlugError(f"expected the data that {run.folder} was trained on, found another")
    return data
