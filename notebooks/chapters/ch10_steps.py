"""The interactive figure of chapter 10: every step of some decodings, as compact JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import torch
from IPython.display import display_html
from torch import Tensor

from chapters.ch09_ablation import AnalysedModel, analysed_run
from vec2slug_lib.common.vectors import Floats
from vec2slug_lib.data.examples import example_vectors, load_examples
from vec2slug_lib.embedding.registry import open_embedder
from vec2slug_lib.evaluation.records import read_or_make
from vec2slug_lib.experiments.run import record
from vec2slug_lib.experiments.score import predict
from vec2slug_lib.model.interpret import layer_logits, trace_attention

PAGES = 12  # test rows shown after the book's own articles
UNIT = 10_000  # probabilities and shares of attention are whole numbers of 1 / UNIT
CANDIDATES, LEADERS = 4, 10  # tokens listed for a layer, and for the output
POINTS = 40  # of the curve of all tokens' probabilities, about evenly spaced in log rank
STATIC = Path(__file__).parents[2] / "book" / "_static"


def steps_record(experiment: str, preset: str = "book", remake: bool = False) -> dict[str, Any]:
    """Read the steps of a run on the book's articles and first test rows; make them if need be.

    Returns:
        See `steps_report`.

    Raises:
        Vec2SlugError: there is no record of them and the run's weights are not on disk.
    """
    run = record(experiment, preset)

    def make() -> dict[str, Any]:
        slugs = [run.examples[example.name] for example in load_examples()]
        vectors = example_vectors(open_embedder(exact=True))
        return steps_report(analysed_run(experiment, preset, PAGES), vectors, slugs)

    return read_or_make(run, "steps", make, remake)


def steps_of_model(analysed: AnalysedModel) -> dict[str, Any]:
    """Let any decoder write the slugs of the articles; return its steps, see `steps_report`."""
    vectors = example_vectors(open_embedder(exact=True))
    slugs = [slug for slug, _ in predict(analysed.model, vectors, analysed.strings)]
    return steps_report(analysed.first(PAGES), vectors, slugs)


def steps_report(analysed: AnalysedModel, vectors: Floats, slugs: Sequence[str]) -> dict[str, Any]:
    """Collect every step of a decoder on the book's articles, then on its own pages.

    Args:
        analysed: the decoder and its pages.
        vectors: of the articles ``[12, input_dim]``.
        slugs: what the decoder wrote about them.

    Returns:
        ``size`` (of the vocabulary), ``ranks`` (at which ``curve`` is given) and ``examples``: each
        ``name``, ``reference``, ``slug`` and ``steps``, see `steps_of`.
    """
    articles, size = load_examples(), len(analysed.strings)
    names = [f"Article: {article.title}" for article in articles]
    names += [f"Test page: {slug}" for slug in analysed.references]
    whole = replace(
        analysed,
        vectors=np.concatenate([vectors, analysed.vectors]),
        slugs=[*slugs, *analysed.slugs],
        references=[*(article.slug for article in articles), *analysed.references],
        topics=[*(None for _ in articles), *analysed.topics],
    )
    ranks = np.unique(np.geomspace(1, size, POINTS).round().astype(int)).tolist()
    examples = [
        {"name": name, "reference": reference, "slug": slug, "steps": steps_of(whole, row, ranks)}
        for row, (name, reference, slug) in enumerate(
            zip(names, whole.references, whole.slugs, strict=True)
        )
    ]
    return {"size": size, "ranks": ranks, "examples": examples}


def steps_of(analysed: AnalysedModel, row: int, ranks: Sequence[int]) -> list[dict[str, Any]]:
    """Trace attention and logit lens before each token of one slug.

    Args:
        analysed: the decoder and its pages.
        row: which page.
        ranks: of the tokens by probability, from 1.

    Returns:
        A step a token, ``<eos>`` included: ``token``, ``p`` (its probability), ``attention`` (a
        layer to the shares of prefix, ``<bos>`` and each token so far, mean over heads), ``lens``
        (input and each layer to the likeliest tokens with probabilities), ``top`` (the output's)
        and ``curve`` (of all tokens: minus the logarithm to base 10 of the probability at each
        rank, times 100). Shares and probabilities are whole numbers of 1 / ``UNIT``.
    """
    vectors = torch.from_numpy(analysed.vectors[row : row + 1])
    ids = analysed.encode(analysed.slugs[row : row + 1])
    trace = trace_attention(analysed.model, vectors, ids[:, :-1])
    logits = layer_logits(analysed.model, vectors, trace.states[:, :, 1:])[:, 0]
    probabilities, weights = logits.softmax(-1), trace.attention[:, 0, :, 1:].mean(1)
    sorted_logs = logits[-1].log_softmax(-1).sort(-1, descending=True).values / np.log(10)
    chosen = sorted_logs[:, torch.as_tensor(ranks) - 1]
    return [
        {
            "token": analysed.strings[token],
            "p": units(probabilities[-1, t, token]),
            "attention": units(weights[:, t, : t + 2]),
            "lens": [leaders(layer, analysed.strings, CANDIDATES) for layer in probabilities[:, t]],
            "top": leaders(probabilities[-1, t], analysed.strings, LEADERS),
            "curve": (-100 * chosen[t]).round().int().tolist(),
        }
        for t, token in enumerate(ids[0, 1:].tolist())
    ]


def units(values: Tensor) -> Any:
    """Round shares to whole numbers of 1 / ``UNIT``."""
    return (values * UNIT).round().int().tolist()


def leaders(probabilities: Tensor, strings: Sequence[str], count: int) -> list[list[Any]]:
    """Return the likeliest tokens of ``probabilities [V]``, each as [string, units]."""
    best = probabilities.topk(count)
    return [[strings[i], p] for i, p in zip(best.indices.tolist(), units(best.values), strict=True)]


def show_steps(models: dict[str, dict[str, Any]], label: str) -> None:
    """Display the viewer, in JupyterLab or in the book.

    Args:
        models: name of a decoder to its steps.
        label: what a screen reader calls the figure.
    """
    # "<" would let a token such as "</script>" end the element early.
    spec = json.dumps({"unit": UNIT, "models": models}, separators=(",", ":"))
    spec = spec.replace("<", "\\u003c")
    markup = (
        f'<div class="v2s-steps" role="group" tabindex="0" aria-label="{escape(label)}">'
        f'<script type="application/json">{spec}</script>'
        "<noscript>This figure needs JavaScript.</noscript></div>"
    )
    if "VEC2SLUG_BOOK" not in os.environ:  # the book's pages have both already
        script, style = ((STATIC / name).read_text("utf-8") for name in ("steps.js", "steps.css"))
        markup += f"<style>{style}</style><script>{script}</script>"
    display_html(markup, raw=True)  # type: ignore[no-untyped-call]
