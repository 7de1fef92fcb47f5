"""The attention analysis of a run, as a record: attention, logit lens, knockouts and swaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from tqdm import tqdm

from chapters.ch09_attention import attention_report, by_kind, lens_report
from chapters.ch09_swaps import other_pages, swap
from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.vectors import Array, Floats
from vec2slug_lib.data.dataset import Dataset
from vec2slug_lib.evaluation import intervals, metrics
from vec2slug_lib.evaluation.intervals import Interval
from vec2slug_lib.evaluation.records import read_or_make
from vec2slug_lib.experiments.decoding_variants import decoder_of, scored_rows
from vec2slug_lib.experiments.run import record
from vec2slug_lib.experiments.score import predict
from vec2slug_lib.inference.beam_search import Stepper, greedy
from vec2slug_lib.inference.settings import DecodingConfig
from vec2slug_lib.model.decoder import Decoder
from vec2slug_lib.model.interpret import (
    SOURCES,
    TARGETS,
    Blocked,
    FullStepper,
    hyphen_marks,
    knock_out_heads,
    knock_out_kinds,
    knockout,
    target_kinds,
    token_losses,
)
from vec2slug_lib.model.merged_hyphens import MergedStepper, is_merged
from vec2slug_lib.model.tokenizer import encode_slugs, load_tokenizer, token_strings
from vec2slug_lib.release.release import load_release

ROWS = 500  # of the test rows, as in the study
DRAWS = 10  # of random heads, each as many as are called routing heads
DIGITS = 5  # kept of every number


@dataclass(frozen=True)
class AnalysedModel:
    """A decoder, and what it wrote about N pages."""

    model: Decoder
    tokenizer: Tokenizer
    vectors: Floats
    slugs: list[str]
    references: list[str]
    topics: list[Any]  # of the pages; pages that no one has clustered may have None

    @cached_property
    def strings(self) -> list[str]:
        """Return its vocabulary."""
        return token_strings(self.tokenizer)

    @cached_property
    def marks(self) -> Tensor:
        """Mark its tokens that hold a hyphen, bool ``[V]``."""
        return hyphen_marks(self.strings)

    def first(self, count: int) -> AnalysedModel:
        """Return the same with its first pages only."""
        rows = slice(count)
        return replace(
            self,
            vectors=self.vectors[rows],
            slugs=self.slugs[rows],
            references=self.references[rows],
            topics=self.topics[rows],
        )

    def encode(self, slugs: Sequence[str]) -> Tensor:
        """Encode slugs as token ids ``[N, T]``, see `encode_slugs`."""
        return encode_slugs(self.tokenizer, slugs, self.model.config.max_slug_tokens)


class Outcome(NamedTuple):
    """What a decoder does about N pages: whole, or with attention knocked out or swapped."""

    losses: Array  # nats, of the tokens that the whole model wrote, [N, T - 1]
    own: Array  # nats, of the tokens of the pages' own slugs
    slugs: Array  # greedy, [N]
    f1: Array  # their Token F1, [N]


def analysed_run(experiment: str, preset: str = "book", rows: int = ROWS) -> AnalysedModel:
    """Open a run's decoder with its first test rows.

    Raises:
        Vec2SlugError: an MLP's run, or one whose weights are not on disk.
    """
    run = record(experiment, preset)
    model, _ = decoder_of(run)
    pages, written = scored_rows(run), run.predictions
    tokenizer = load_tokenizer(run.folder / "tokenizer.json")
    slugs, topics = written["prediction"].tolist(), written["topic"].tolist()
    return AnalysedModel(model.eval(), tokenizer, pages.vectors, slugs, pages.slugs, topics).first(
        rows
    )


def analysed_release(folder: Path | str, pages: Dataset) -> AnalysedModel:
    """Open a release folder's decoder; let it write slugs about some pages.

    Raises:
        Vec2SlugError: the folder is incomplete, or made for vectors of another width.
    """
    model, tokenizer = load_release(Path(folder)), load_tokenizer(Path(folder) / "tokenizer.json")
    width, given = model.config.input_dim, pages.vectors.shape[1]
    if width != given:
        raise Vec2SlugError(f"expected vectors of width {width} for {folder}, got width {given}")
    with tqdm(total=len(pages.pairs), desc="decoding", unit="slug", delay=2) as bar:
        strings = token_strings(tokenizer)
        predictions = predict(model, pages.vectors, strings, progress=bar.update)
    slugs, topics = [slug for slug, _ in predictions], pages.pairs["cluster"].tolist()
    return AnalysedModel(model.eval(), tokenizer, pages.vectors, slugs, pages.slugs, topics)


def attention_analysis(
    experiment: str, preset: str = "book", remake: bool = False
) -> dict[str, Any]:
    """Read the attention analysis of a run, see `analyse`; make it if it is not there."""
    run = record(experiment, preset)
    return read_or_make(run, "inside", lambda: analyse(analysed_run(experiment, preset)), remake)


def analyse(analysed: AnalysedModel) -> dict[str, Any]:
    """Measure attention, logit lens, knockouts and swaps, on what the model wrote.

    Returns:
        ``rows``, ``drawn_over`` (what intervals are drawn over), ``merged`` (whether hyphens are
        part of words), ``attention`` (see `attention_report`), ``lens`` (see `lens_report`),
        ``routing`` (heads as [layer, head], both from 0), ``cuts`` (see `knockout_report`),
        ``swaps`` (see `swap_report`).
    """
    vectors, marks, topics = torch.from_numpy(analysed.vectors), analysed.marks, analysed.topics
    ids = analysed.encode(analysed.slugs)
    attention = attention_report(analysed.model, vectors, ids, marks, topics)
    routing = routing_heads(attention["heads"]["hyphen"])
    whole = measure(analysed, ids)
    report = {
        "rows": len(ids),
        "drawn_over": "topics",
        "merged": is_merged(analysed.strings),
        "attention": attention,
        "lens": lens_report(analysed.model, vectors, ids, marks, analysed.strings, topics),
        "routing": routing,
        "cuts": knockout_report(
            analysed, ids, whole, selections(analysed, routing) | random_heads(analysed, routing)
        ),
        "swaps": swap_report(analysed, ids, whole, selections(analysed, routing)),
    }
    return dict(rounded(report))


def routing_heads(heads: Sequence[Sequence[float]]) -> list[tuple[int, int]]:
    """Find the heads whose hyphens attend most to the prefix, as many as a layer has.

    Args:
        heads: share of the prefix, ``[L][heads]``.

    Returns:
        Layer and number, both from 0, in that order; from any layer.
    """
    flat = np.asarray(heads)
    best = np.argsort(-flat, axis=None, kind="stable")[: flat.shape[1]]
    return sorted(
        (int(i), int(j)) for i, j in zip(*np.unravel_index(best, flat.shape), strict=True)
    )


def selections(analysed: AnalysedModel, routing: Sequence[tuple[int, int]]) -> dict[str, Blocked]:
    """Return by name what is knocked out or swapped: kinds of tokens, then the routing heads."""
    heads, chosen = analysed.model.config.num_heads, {}
    for kinds in (("hyphen",), ("subword",), ("bos",), ("hyphen", "subword"), SOURCES):
        label = " and ".join(kinds) if len(kinds) < len(SOURCES) else "everything"
        chosen[label] = knock_out_kinds(heads, kinds, analysed.marks)
    return chosen | {"routing heads": knock_out_heads(heads, routing)}


def random_heads(analysed: AnalysedModel, routing: Sequence[tuple[int, int]]) -> dict[str, Blocked]:
    """Draw several times as many heads as are called routing heads, from the others."""
    config, chosen = analysed.model.config, {}
    heads = [(i, j) for i in range(config.num_layers) for j in range(config.num_heads)]
    others = [head for head in heads if head not in routing]
    for draw in range(DRAWS):
        order = np.random.default_rng(draw).permutation(len(others))[: len(routing)]
        drawn = [others[i] for i in order]
        chosen[f"random heads {draw + 1}"] = knock_out_heads(config.num_heads, drawn)
    return chosen


def knockout_report(
    analysed: AnalysedModel, ids: Tensor, whole: Outcome, selected: Mapping[str, Blocked]
) -> dict[str, Any]:
    """Measure loss and greedy slugs without attention of some tokens or heads to the prefix.

    Args:
        analysed: the decoder and its pages.
        ids: what it wrote, ``[N, T]``.
        whole: the outcome without a knockout.
        selected: heads of tokens, by name.

    Returns:
        Name to `effect`; ``nothing`` is the whole model.
    """
    outcomes = {"nothing": whole}
    for name, blocked in tqdm(selected.items(), "knocking out", unit="knockout", delay=2):
        with knockout(analysed.model, blocked):
            outcomes[name] = measure(analysed, ids)
    return {name: effect(analysed, ids, outcome, whole) for name, outcome in outcomes.items()}


def swap_report(
    analysed: AnalysedModel, ids: Tensor, whole: Outcome, selected: Mapping[str, Blocked]
) -> dict[str, Any]:
    """Measure loss and greedy slugs with another page's prefix for some tokens or heads.

    Args:
        analysed: the decoder and its pages.
        ids: what it wrote, ``[N, T]``.
        whole: the outcome without a swap.
        selected: heads of tokens, by name.

    Returns:
        Name to `effect`, with ``other`` (Token F1 of the greedy slugs against the other page's own
        slug) and ``gained`` (paired difference to the whole model's); ``nothing`` is the whole
        model.
    """
    others = other_pages(analysed.topics)
    pairs = np.concatenate([analysed.vectors, analysed.vectors[others]], axis=1)
    outcomes = {"nothing": whole}
    for name, chosen in tqdm(selected.items(), "swapping", unit="swap", delay=2):
        with swap(analysed.model, chosen):
            outcomes[name] = measure(replace(analysed, vectors=pairs), ids)
    references = [analysed.references[i] for i in others]
    return {
        name: effect(analysed, ids, outcome, whole) | follows(analysed, outcome, whole, references)
        for name, outcome in outcomes.items()
    }


def follows(
    analysed: AnalysedModel, outcome: Outcome, whole: Outcome, references: Sequence[str]
) -> dict[str, Interval]:
    """Compare greedy slugs with those of the other pages, see `swap_report`."""
    ours, theirs = (
        {"f1": metrics.token_overlap(x.slugs.tolist(), references)[2]} for x in (outcome, whole)
    )
    return {
        "other": intervals.summarise(ours, analysed.topics)["f1"],
        "gained": intervals.compare(ours, theirs, analysed.topics)["f1"],
    }


def measure(analysed: AnalysedModel, ids: Tensor) -> Outcome:
    """Measure a decoder as it stands: losses of what it wrote and of the pages' slugs, and F1."""
    vectors, own = torch.from_numpy(analysed.vectors), analysed.encode(analysed.references)
    losses, own_losses = (token_losses(analysed.model, vectors, x).numpy() for x in (ids, own))
    slugs = greedy_slugs(analysed)
    f1 = metrics.token_overlap(slugs, analysed.references)[2]
    return Outcome(losses, own_losses, np.array(slugs), f1)


def effect(
    analysed: AnalysedModel, ids: Tensor, outcome: Outcome, whole: Outcome
) -> dict[str, Any]:
    """Compare the outcome of a knockout or swap with that of the whole model.

    Args:
        analysed: the decoder and its pages.
        ids: what the whole model wrote, ``[N, T]``.
        outcome: with the knockout or swap.
        whole: without it.

    Returns:
        ``loss`` (nats, mean over tokens), ``added`` (to the whole model's loss, paired, by kind of
        token and over all), ``reference`` (the same over all tokens of the pages' own slugs),
        ``f1`` (Token F1 of the greedy slugs), ``lost`` (paired difference to the whole model's),
        ``same`` (share of slugs unchanged), ``diversity``, ``slugs`` of the first pages.
    """
    topics, own = analysed.topics, analysed.encode(analysed.references)
    kinds, own_kinds = (target_kinds(x, analysed.marks)[:, 1:].numpy() for x in (ids, own))
    more, own_more = (outcome.losses - whole.losses)[None], (outcome.own - whole.own)[None]
    every, own_every = np.minimum(kinds, 0), np.minimum(own_kinds, 0)
    added = by_kind(more, kinds, TARGETS, topics) | by_kind(more, every, ["all"], topics)
    slugs = outcome.slugs.tolist()
    return {
        "loss": float(outcome.losses.sum() / (kinds >= 0).sum()),
        "added": {kind: layers[0] for kind, layers in added.items()},
        "reference": by_kind(own_more, own_every, ["all"], topics)["all"][0],
        "f1": intervals.summarise({"f1": outcome.f1}, topics)["f1"],
        "lost": intervals.compare({"f1": outcome.f1}, {"f1": whole.f1}, topics)["f1"],
        "same": float(np.mean(outcome.slugs == whole.slugs)),
        "diversity": len(set(slugs)) / len(slugs),
        "slugs": slugs[:5],
    }


def greedy_slugs(analysed: AnalysedModel) -> list[str]:
    """Write slugs by a search without a cache, so that knockouts apply."""
    strings = analysed.strings
    stepper: Stepper = FullStepper(analysed.model)
    if is_merged(strings):
        stepper = MergedStepper(analysed.model, strings)
        strings = stepper.strings
    config = DecodingConfig(max_tokens=analysed.model.config.max_slug_tokens)
    return greedy(stepper, analysed.vectors, strings, config)


def rounded(values: Any) -> Any:
    """Round every float of nested lists and dictionaries, so that a record stays small."""
    if isinstance(values, dict):
        return {key: rounded(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [rounded(value) for value in values]
    return round(values, DIGITS) if isinstance(values, float) else values
