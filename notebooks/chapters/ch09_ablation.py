"""What is inside a run, as a record: attention, the logit lens, and what is lost without a path."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from tqdm import tqdm

from chapters.ch09_attention import attention_report, by_kind, lens_report
from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.vectors import Floats
from vec2slug_lib.data.dataset import Dataset
from vec2slug_lib.evaluation import intervals, metrics
from vec2slug_lib.evaluation.records import read_or_make
from vec2slug_lib.experiments.decoding_variants import decoder_of, scored_rows
from vec2slug_lib.experiments.run import record
from vec2slug_lib.experiments.score import predict
from vec2slug_lib.inference.beam_search import DecodingConfig, Stepper, greedy
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

    @cached_property
    def strings(self) -> list[str]:
        """Its vocabulary."""
        return token_strings(self.tokenizer)

    @cached_property
    def marks(self) -> Tensor:
        """Which tokens hold a hyphen."""
        return hyphen_marks(self.strings)

    def first(self, count: int) -> AnalysedModel:
        """The same with its first pages only."""
        rows = slice(count)
        return replace(
            self,
            vectors=self.vectors[rows],
            slugs=self.slugs[rows],
            references=self.references[rows],
        )

    def encode(self, slugs: Sequence[str]) -> Tensor:
        """Token ids, see `encode_slugs`."""
        return encode_slugs(self.tokenizer, slugs, self.model.config.max_slug_tokens)


def analysed_run(experiment: str, preset: str = "book", rows: int = ROWS) -> AnalysedModel:
    """A run's decoder with its first test rows.

    Raises:
        Vec2SlugError: an MLP's run, or one whose weights are not on disk.
    """
    run = record(experiment, preset)
    model, _ = decoder_of(run)
    pages, written = scored_rows(run), run.predictions
    tokenizer = load_tokenizer(run.folder / "tokenizer.json")
    slugs, references = written["prediction"].tolist(), pages.pairs["slug"].tolist()
    return AnalysedModel(model.eval(), tokenizer, pages.vectors, slugs, references).first(rows)


def analysed_release(folder: Path | str, pages: Dataset) -> AnalysedModel:
    """A release folder's decoder with the slugs that it writes about some pages.

    Raises:
        Vec2SlugError: the folder is incomplete, or made for vectors of another width.
    """
    model, tokenizer = load_release(Path(folder)), load_tokenizer(Path(folder) / "tokenizer.json")
    width, given = model.config.input_dim, pages.vectors.shape[1]
    if width != given:
        raise Vec2SlugError(f"expected vectors of width {width} for {folder}, got width {given}")
    with tqdm(total=len(pages.pairs), desc="decoding", unit="slug", delay=2) as bar:
        strings = token_strings(tokenizer)
        found = predict(model, pages.vectors, strings, progress=bar.update)
    slugs, references = [slug for slug, _ in found], pages.pairs["slug"].tolist()
    return AnalysedModel(model.eval(), tokenizer, pages.vectors, slugs, references)


def attention_analysis(
    experiment: str, preset: str = "book", remake: bool = False
) -> dict[str, Any]:
    """What is inside a run, see `analyse`: read if it is there, made if not."""
    run = record(experiment, preset)
    return read_or_make(run, "inside", lambda: analyse(analysed_run(experiment, preset)), remake)


def analyse(analysed: AnalysedModel) -> dict[str, Any]:
    """Attention, lens and cuts, teacher-forced on what the model wrote.

    Returns:
        ``rows``, ``merged`` (whether hyphens are part of words), ``attention`` and ``lens`` (see
        the reports of `inside`), ``routing`` (heads as [layer, head], both from 0), ``cuts`` (see
        `knockout_report`).
    """
    vectors, marks = torch.from_numpy(analysed.vectors), analysed.marks
    ids = analysed.encode(analysed.slugs)
    attention = attention_report(analysed.model, vectors, ids, marks)
    routing = routing_heads(attention["heads"]["hyphen"])
    found = {
        "rows": len(ids),
        "merged": is_merged(analysed.strings),
        "attention": attention,
        "lens": lens_report(analysed.model, vectors, ids, marks, analysed.strings),
        "routing": routing,
        "cuts": knockout_report(analysed, ids, knockouts(analysed, routing)),
    }
    return dict(rounded(found))


def routing_heads(heads: Sequence[Sequence[float]]) -> list[tuple[int, int]]:
    """As many heads as a layer has, over all layers: those whose hyphens see most of the prefix.

    Args:
        heads: share of the prefix, ``[L][heads]``.

    Returns:
        Layer and number, both from 0, in that order.
    """
    flat = np.asarray(heads)
    best = np.argsort(-flat, axis=None, kind="stable")[: flat.shape[1]]
    return sorted(
        (int(i), int(j)) for i, j in zip(*np.unravel_index(best, flat.shape), strict=True)
    )


def knockouts(
    analysed: AnalysedModel, routing: Sequence[tuple[int, int]]
) -> dict[str, Blocked | None]:
    """Cuts by name, the uncut model first: kinds of tokens, then heads."""
    config, marks = analysed.model.config, analysed.marks
    kinds = [("hyphen",), ("subword",), ("bos",), ("hyphen", "subword"), SOURCES]
    cuts: dict[str, Blocked | None] = {"nothing": None}
    for names in kinds:
        label = " and ".join(names) if len(names) < len(SOURCES) else "everything"
        cuts[label] = knock_out_kinds(config.num_heads, names, marks)
    heads = [(i, j) for i in range(config.num_layers) for j in range(config.num_heads)]
    others = [head for head in heads if head not in routing]
    cuts["routing heads"] = knock_out_heads(config.num_heads, routing)
    for draw in range(DRAWS):
        order = np.random.default_rng(draw).permutation(len(others))[: len(routing)]
        chosen = [others[i] for i in order]
        cuts[f"random heads {draw + 1}"] = knock_out_heads(config.num_heads, chosen)
    return cuts


def knockout_report(
    analysed: AnalysedModel, ids: Tensor, cuts: dict[str, Blocked | None]
) -> dict[str, Any]:
    """Loss and greedy slugs when some of the tokens or heads do not see the prefix.

    Args:
        analysed: the decoder and its pages.
        ids: what it wrote, ``[N, T]``.
        cuts: by name, the uncut model first.

    Returns:
        Name of the cut to ``loss`` (nats, mean over tokens), ``added`` (to the uncut loss, paired,
        by kind of token and over all), ``reference`` (the same over all tokens of the pages' own
        slugs), ``f1`` (Token F1 of the greedy slugs), ``lost`` (paired difference to the uncut
        model's), ``same`` (share of slugs unchanged), ``diversity``, ``slugs`` of the first pages.
    """
    own, vectors = analysed.encode(analysed.references), torch.from_numpy(analysed.vectors)
    kinds = target_kinds(ids, analysed.marks)[:, 1:].numpy()
    real = np.minimum(target_kinds(own, analysed.marks)[:, 1:].numpy(), 0)
    base: tuple[NDArray[Any], ...] | None = None
    found = {}
    for name, blocked in tqdm(cuts.items(), "cutting", unit="way", delay=2):
        with knockout(analysed.model, blocked) if blocked else nullcontext():
            losses, others = (token_losses(analysed.model, vectors, x).numpy() for x in (ids, own))
            slugs = greedy_slugs(analysed)
        f1 = metrics.token_overlap(slugs, analysed.references)[2]
        base = base or (losses, others, np.array(slugs), f1)
        added = by_kind((losses - base[0])[None], kinds, TARGETS)
        added |= by_kind((losses - base[0])[None], np.minimum(kinds, 0), ["all"])
        found[name] = {
            "loss": float(losses.sum() / (kinds >= 0).sum()),
            "added": {kind: intervals[0] for kind, intervals in added.items()},
            "reference": by_kind((others - base[1])[None], real, ["all"])["all"][0],
            "f1": intervals.summarise({"f1": f1})["f1"],
            "lost": intervals.compare({"f1": f1}, {"f1": base[3]})["f1"],
            "same": float(np.mean(np.array(slugs) == base[2])),
            "diversity": intervals.diversity(slugs)["value"],
            "slugs": slugs[:5],
        }
    return found


def greedy_slugs(analysed: AnalysedModel) -> list[str]:
    """Slugs by a search without a cache, so that cuts apply."""
    strings = analysed.strings
    stepper: Stepper = FullStepper(analysed.model)
    if is_merged(strings):
        stepper = MergedStepper(analysed.model, strings)
        strings = stepper.strings
    config = DecodingConfig(max_tokens=analysed.model.config.max_slug_tokens)
    return greedy(stepper, analysed.vectors, strings, config)


def rounded(found: Any) -> Any:
    """The same with every float rounded, so that a record stays small."""
    if isinstance(found, dict):
        return {key: rounded(value) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return [rounded(value) for value in found]
    return round(found, DIGITS) if isinstance(found, float) else found
