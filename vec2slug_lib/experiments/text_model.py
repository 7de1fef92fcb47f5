"""Fit the model of words in texts to pages with slugs, and turn it into plain arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from ..common.errors import Vec2SlugError
from ..common.files import note_hash, write_json
from ..common.slugs import words
from ..common.vectors import Bools, Doubles, Floats
from ..data.dataset import load
from ..data.left_out import load_left_out
from ..embedding.registry import open_embedder
from ..evaluation.metrics import token_overlap
from ..inference.mbr import Evidence
from ..inference.predictor import SlugPredictor
from ..inference.text_model import (
    TEXT_MODEL,
    TextModel,
    Trees,
    describe,
    frequency_code,
)
from ..inference.text_search import Judged, judged_candidates
from ..inference.text_words import text_words
from .text_pages import TextPages, pages_of

DEPTH, TREES, RATE, SEED = 5, 80, 0.12, 42
SHRINKAGE = 5.0  # of the values of leaves
ELSEWHERE, BONUS, RUNS = 0.3, 2.0, 16  # chosen on pages of sources left out; see `TextModel`
PIECE = 32  # pages searched together


class Described(NamedTuple):
    """The words of N pages' texts."""

    features: Doubles  # [W, F] of all distinct words, page after page
    held: Bools  # [W] whether the page's slug has the word
    distinct: list[list[str]]  # of each page


def write_text_model(folder: Path, corpus: Path) -> TextModel:
    """Fit the model of words in texts of a release, and write it into its folder.

    Args:
        folder: of the release.
        corpus: folder of parquet with the pages of the data set and of sources that are left out.

    Raises:
        Vec2SlugError: texts are missing, or the release has no bag-of-words head.
    """
    data = load()
    predictor = SlugPredictor.from_dir(folder, embedder=open_embedder(data.embedder))
    if predictor.config.mbr is None:
        raise Vec2SlugError(f"expected a model with a bag-of-words head in {folder}")
    left_out = pages_of(load_left_out("val"), corpus)
    known, training = (pages_of(data.part(part), corpus) for part in ("val", "train"))
    model = fit_text_model(predictor, known, left_out, training.texts)
    write_json(folder / TEXT_MODEL, model.to_json(), indent=None)
    note_hash(folder, TEXT_MODEL)
    return model


def fit_text_model(
    predictor: SlugPredictor, known: TextPages, left_out: TextPages, training: Iterable[str]
) -> TextModel:
    """Fit the model of words in texts of a release, whose decoder has learnt from no page here.

    Args:
        predictor: of the release, with the embedder that re-ranks.
        known: pages of the sources that it has learnt from, for the trees.
        left_out: pages of other sources, for the weights of the choice.
        training: texts of its training pages, for frequencies of words.
    """
    config, mbr = predictor.config, predictor.config.mbr
    assert mbr is not None
    frequencies = token_frequencies(training, config.token_strings)
    logits = head_logits(predictor, known.vectors)
    ids, mean = predictor.vocabulary.ids, mbr.mean_words
    described = describe_pages(known.texts, known.slugs, logits, ids, mean, frequencies)
    trees = fit_trees(described)
    model = TextModel(trees, frequencies, ELSEWHERE, BONUS, RUNS, *Choice())
    choice = fit_choice(judge(predictor, left_out, model), left_out.slugs)
    return replace(model, **choice._asdict())


def head_logits(predictor: SlugPredictor, vectors: Floats) -> Floats:
    """Ask the bag-of-words head for the logits ``[N, V]`` of unit rows."""
    starts = range(0, len(vectors), PIECE)
    stepper = predictor.stepper(1, PIECE)
    return np.concatenate([stepper.word_logits(vectors[i : i + PIECE]).copy() for i in starts])


def judge(predictor: SlugPredictor, pages: TextPages, model: TextModel) -> list[Judged]:
    """Find and judge candidates of pages by their vectors and texts."""
    assert predictor.config.mbr is not None
    found: list[Judged] = []
    for begin in tqdm(range(0, len(pages.slugs), PIECE), "candidates", delay=2):
        block = slice(begin, begin + PIECE)
        stepper = predictor.stepper(predictor.config.mbr.beam_width, PIECE)
        embed = predictor.embedder.embed if predictor.embedder else None
        evidence = Evidence(stepper.word_logits, None, embed)
        found += judged_candidates(
            stepper,
            pages.vectors[block],
            pages.texts[block],
            predictor.vocabulary,
            predictor.decoding,
            predictor.config.mbr,
            evidence,
            model,
        )[0]
    return found


class Choice(NamedTuple):
    """What is fitted of the choice among candidates, as a `TextModel` has it."""

    run_gains: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    score_fit: tuple[float, float] = (1.0, 0.0)
    rerank_fit: tuple[float, float, float] = (1.0, 0.0, 0.0)


def fit_choice(judged: Sequence[Judged], slugs: Sequence[str]) -> Choice:
    """Fit the Token F1 of candidates by least squares to what speaks for them.

    Args:
        judged: candidates of N pages.
        slugs: true ones.
    """
    counts = [len(page.candidates) for page in judged]
    guesses = [candidate.slug for page in judged for candidate in page.candidates]
    f1 = token_overlap(guesses, np.repeat(np.array(slugs), counts).tolist())[2]
    expected = np.concatenate([page.expected for page in judged])
    traits = np.concatenate([page.traits for page in judged])
    cosine = np.concatenate([page.cosines or [0.0] * len(page.traits) for page in judged])
    one = np.ones(len(f1))
    slope, similar, offset, *gains = _least_squares(f1, expected, cosine, one, *traits.T)
    run, spoken, begins, ends = (round(gain / slope, 3) for gain in gains)
    worth = expected + traits @ [run, spoken, begins, ends]
    plain = _least_squares(f1, worth, one)
    return Choice((run, spoken, begins, ends), (plain[0], plain[1]), (slope, similar, offset))


def _least_squares(target: Doubles, *columns: Doubles) -> list[float]:
    found = np.linalg.lstsq(np.column_stack(columns), target, rcond=None)[0]
    return [round(float(value), 3) for value in found]


def token_frequencies(texts: Iterable[str], tokens: Sequence[str]) -> str:
    """Count in how many texts each token stands as a word; return a code for each."""
    counts: Counter[str] = Counter()
    for text in tqdm(texts, "words of texts", unit="text", delay=2):
        counts.update({word.word for word in text_words(text)})
    return "".join(frequency_code(counts[token]) for token in tokens)


def describe_pages(
    texts: Sequence[str],
    slugs: Sequence[str],
    logits: Floats,
    ids: Mapping[str, int],
    mean_words: float,
    frequencies: str,
) -> Described:
    """Describe the words of N pages' texts, and tell which are in their slugs.

    Args:
        texts: of the pages.
        slugs: of the pages.
        logits: of the bag-of-words head, ``[N, V]``, which has not learnt from these pages.
        ids: of the V tokens.
        mean_words: of a slug.
        frequencies: see `token_frequencies`.
    """
    features, held, distinct = [], [], []
    for text, slug, row in zip(tqdm(texts, "pages", delay=2), slugs, logits, strict=True):
        found, described = describe(text_words(text), row, ids, mean_words, frequencies)
        true = set(words(slug))
        features.append(described)
        held.append(np.array([word in true for word in found], bool))
        distinct.append(found)
    return Described(np.concatenate(features), np.concatenate(held), distinct)


def fit_trees(described: Described) -> Trees:
    """Fit boosted trees (Friedman 2001) that say which words of a text its slug has."""
    from sklearn.ensemble import HistGradientBoostingClassifier  # a second to load

    boosted = HistGradientBoostingClassifier(
        max_iter=TREES,
        learning_rate=RATE,
        max_depth=DEPTH,
        max_leaf_nodes=None,
        l2_regularization=SHRINKAGE,
        early_stopping=False,
        random_state=SEED,
    )
    boosted.fit(described.features, described.held)
    trees = [full_tree(predictor.nodes) for (predictor,) in boosted._predictors]
    feature, threshold, value = (np.array(part) for part in zip(*trees, strict=True))
    return Trees(feature, threshold, value, float(np.ravel(boosted._baseline_prediction)[0]))


def full_tree(nodes: np.ndarray) -> tuple[list[int], list[float], list[float]]:
    """Fill up a tree of scikit-learn to its full depth: features, thresholds, values of leaves.

    Args:
        nodes: a record a node, the first one at the root.
    """
    inner = 2**DEPTH - 1
    feature, threshold, value = [0] * inner, [0.0] * inner, [0.0] * (inner + 1)
    places = [(0, 0)]  # of a node in the full tree, and in scikit-learn's
    while places:
        place, number = places.pop()
        node = nodes[number]
        if place >= inner:
            value[place - inner] = float(node["value"])
        elif node["is_leaf"]:  # both ways lead to its value
            places += [(2 * place + 1, number), (2 * place + 2, number)]
        else:
            feature[place] = int(node["feature_idx"])
            threshold[place] = float(node["num_threshold"])
            places += [(2 * place + 1, node["left"]), (2 * place + 2, node["right"])]
    return feature, threshold, value
