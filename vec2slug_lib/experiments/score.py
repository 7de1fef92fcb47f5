"""Slugs and metrics of a trained run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from ..common.errors import Vec2SlugError
from ..common.slugs import words
from ..common.vectors import Floats
from ..common.vocabulary import SPECIALS
from ..data.dataset import Dataset
from ..data.examples import load_examples, vectors_by
from ..embedding.registry import open_embedder, open_minilm
from ..evaluation import intervals, metrics
from ..evaluation.records import Metrics, Run, save_results
from ..inference.beam_search import Beams, Candidate, greedy, search
from ..inference.index import Index
from ..inference.mbr import Evidence, MBRConfig, mbr_search
from ..inference.settings import DecodingConfig
from ..model.decoder import CachedDecoder, Decoder, DecoderConfig
from ..model.merged_hyphens import stepper_for
from ..model.mlp import MLP, MLPConfig, load_mlp
from ..model.mlp import predict as predict_sets
from ..model.tokenizer import load_tokenizer, token_strings
from ..model.weights import load_decoder
from .task import Task, run_data

Scores = dict[str, float]


def validation_score(part: Dataset, task: Task) -> Callable[[Any], Scores]:
    """Return the score of training: greedy Token F1 and words; over clusters the ghost value.

    The ghost value is what the study's training log showed in its KMeans phase: micro F1 with the
    references written in the reduced vocabulary too.
    """
    strings = token_strings(task.tokenizer)
    references = part.pairs["slug"].tolist()

    def score(model: Any) -> Scores:
        slugs = [slug for slug, _ in predict(model, part.vectors, strings, quick=True)]
        f1 = metrics.token_overlap(slugs, references)[2]
        scores = {
            "token_f1": float(f1.mean()),
            "mean_words": float(np.mean([len(words(slug)) for slug in slugs])),
        }
        if task.mapping is not None:
            scores["ghost_f1"] = metrics.micro_f1(slugs, [task.target(r) for r in references])
        return scores

    return score


def predict(
    model: Decoder | MLP,
    vectors: Floats,
    strings: Sequence[str],
    quick: bool = False,
    progress: Callable[[int], object] | None = None,
) -> Sequence[Candidate | tuple[str, float]]:
    """Predict slug and score of each vector ``[N, d]``; ``quick`` takes the greedy slug.

    A decoder with a bag-of-words head has MBR decoding, re-ranked by embedding similarity; its
    score is the Token F1 to expect. Without a head, the slug is that of the project's search.
    """
    if isinstance(model, MLP):
        return predict_sets(model, vectors, strings[len(SPECIALS) :])
    config = DecodingConfig(max_tokens=model.config.max_slug_tokens)
    stepper, strings = stepper_for(model, strings, bf16=quick)
    if quick:
        slugs = greedy(stepper, vectors, strings, config)
        return [(slug, 0.0) for slug in slugs]
    if model.word_head is not None:
        embed = open_embedder(exact=True).embed
        beams = mbr_slugs(model, vectors, strings, embed=embed, progress=progress)
    else:
        beams = search(stepper, vectors, strings, config, progress=progress)
    return [candidates[0] for candidates in beams.candidates]


def mbr_slugs(
    model: Decoder,
    vectors: Floats,
    strings: Sequence[str],
    mbr: MBRConfig | None = None,
    index: Index | None = None,
    embed: Callable[[Sequence[str]], Floats] | None = None,
    progress: Callable[[int], object] | None = None,
) -> Beams:
    """Return candidates of each vector ``[N, d]`` by expected Token F1, best first.

    Args:
        model: a decoder; its bag-of-words head is evidence if it has one.
        vectors: unit rows.
        strings: its vocabulary.
        mbr: the project's settings if None.
        index: pages with known slugs, evidence too if given.
        embed: vectors of texts; with it, candidates are re-ranked.
        progress: called with the number of rows just done.
    """
    stepper, config = CachedDecoder(model), DecodingConfig(max_tokens=model.config.max_slug_tokens)
    heads = stepper.word_logits if model.word_head is not None else None
    asked = Evidence(heads, index.word_probabilities if index else None, embed)
    return mbr_search(stepper, vectors, strings, config, mbr or MBRConfig(), asked, progress)


def load_model(run: Run) -> tuple[Decoder | MLP, list[str]]:
    """Load the weights of a trained run and its tokens as strings.

    Raises:
        Vec2SlugError: the weights are not on disk, as in a fresh clone.
    """
    path, config = run.folder / "model.safetensors", run.manifest["model"]
    strings = token_strings(load_tokenizer(run.folder / "tokenizer.json"))
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
        written = predict(model, rows.vectors, strings, progress=bar.update)
    predictions = rows.references.assign(
        prediction=[slug for slug, _ in written],
        score=np.array([score for _, score in written], np.float32),
    )
    names = [example.name for example in load_examples()]
    slugs = predict(model, vectors_by(run.embedder), strings)
    examples = dict(zip(names, [slug for slug, _ in slugs], strict=True))
    save_results(run, predictions, measure(predictions, rows.vectors), examples)


def measure(predictions: pd.DataFrame, vectors: Floats) -> Metrics:
    """Compute every metric of predictions (slug, topic, prediction) with its interval.

    BERTScore is taken with the local MiniLM, so its level is not that of the study's roberta-large.
    """
    bert = open_minilm().token_embeddings
    guesses, references = predictions["prediction"].tolist(), predictions["slug"].tolist()
    return metrics.evaluate(guesses, references, vectors, predictions["topic"], bert)


def paired(ours: Run, theirs: Run) -> dict[str, intervals.Interval]:
    """Compare each text metric of two runs on the same test rows: ours minus theirs.

    Raises:
        Vec2SlugError: the two runs were scored on different rows.
    """
    sides = [run.predictions for run in (ours, theirs)]
    if sides[0]["id"].tolist() != sides[1]["id"].tolist():
        raise Vec2SlugError(f"expected the same test rows in {ours.folder} and {theirs.folder}")
    above, below = (
        metrics.text_metrics(x["prediction"].tolist(), x["slug"].tolist()) for x in sides
    )
    return intervals.compare(above, below, sides[0]["topic"])
