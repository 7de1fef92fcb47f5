"""What can be said of a trained MLP: chapter 3 reads it beside the run's record."""

from __future__ import annotations

import math
from typing import Any

import torch
from numpy.typing import ArrayLike

from chapters import ch03_collapse
from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.files import read_json, write_json
from vec2slug_lib.common.vocabulary import SPECIALS
from vec2slug_lib.evaluation.records import Run
from vec2slug_lib.experiments.score import load_model
from vec2slug_lib.experiments.task import make_task, run_data, word_sets
from vec2slug_lib.model import mlp
from vec2slug_lib.model.mlp import BLOCK, MLP, hidden, outputs
from vec2slug_lib.model.tokenizer import token_strings
from vec2slug_lib.training import mlp_objective
from vec2slug_lib.training.mlp_objective import Rows, WordSets, losses


def trunk_gradients(model: MLP, data: WordSets) -> dict[str, float]:
    """Compute the norm of the gradient that each part of the BCE loss sends into the hidden layers.

    Args:
        model: Left in evaluation mode.
        data: Rows of one batch; at most 1,024 are taken.
    """
    rows = Rows(data, model.config, next(model.parameters()).device)
    parts = losses(model.eval(), rows, torch.arange(min(len(data.clusters), BLOCK)), "bce", None)
    norms = {}
    for name, part in zip(("token", "length"), parts, strict=True):
        grads = torch.autograd.grad(part, list(model.layers.parameters()), retain_graph=True)
        norms[name] = math.sqrt(sum(float(grad.square().sum()) for grad in grads))
    return norms


def diagnose(
    model: MLP,
    train: WordSets,
    val: WordSets,
    test: WordSets,
    references: list[str],
    topics: ArrayLike,
    names: list[str],
) -> dict[str, Any]:
    """Analyse a trained MLP: everything that needs its weights, ready for JSON.

    Args:
        model: Left in evaluation mode.
        train: Training rows: base rates, positions and precedences come from them.
        val: Validation rows, on which decision rules are tuned.
        test: Test rows.
        references: True slugs of the test rows.
        topics: The topic of each test row.
        names: The word of each cluster.

    Returns:
        ``orders``: three orders of the same word sets. ``rules``: three decision rules; ``top`` is
        the one that `predict` follows. ``pulls``: gradients on logits, on validation rows.
        ``trunk``: gradients on hidden layers, likewise. ``variation``: of logits, on test rows.
    """
    size = model.config.vocab_size
    rates = mlp_objective.base_rates(train.clusters, size)
    on_val, on_test = outputs(model, val.vectors), outputs(model, test.vectors)
    wanted = ch03_collapse.multi_hot(val.clusters, size)
    lists = mlp.cut(mlp.top(on_test.tokens), on_test.counts)
    known = train.clusters, hidden(model, train.vectors)
    return {
        "orders": ch03_collapse.orders(lists, on_test.hidden, known, names, references, topics),
        "rules": ch03_collapse.rules(on_val, on_test, rates, wanted, names, references, topics),
        "pulls": ch03_collapse.pulls(on_val.tokens, wanted, rates, names),
        "trunk": trunk_gradients(model, val),
        "variation": ch03_collapse.variation(
            on_test.tokens, ch03_collapse.multi_hot(test.clusters, size), rates
        ),
    }


def diagnostics(run: Run) -> dict[str, Any]:
    """Return what `diagnose` finds out about an MLP's run on its test rows: read, or else made.

    Raises:
        Vec2SlugError: the run is a decoder's, its weights are not on disk, or it has learnt other
            clusters of words than those of the record.
    """
    path = run.folder / "diagnostics.json"
    if not path.is_file():
        model, strings = load_model(run)
        if not isinstance(model, MLP):
            raise Vec2SlugError(f"expected an MLP in {run.folder}, found a decoder")
        task = make_task(run.manifest["experiment"], run.manifest["preset"])
        if strings != token_strings(task.tokenizer):  # KMeans differs between processors
            raise Vec2SlugError(
                f"expected {run.folder} to have learnt the clusters of the record of words, got "
                f"others: train {task.name} again"
            )
        rows = run_data(run).test_rows()
        parts = (task.data.part("train"), task.data.part("val"), rows)
        sets = [word_sets(task, part) for part in parts]
        names = list(strings[len(SPECIALS) :])
        topics = rows.pairs["cluster"]
        found = diagnose(model, sets[0], sets[1], sets[2], rows.slugs, topics, names)
        write_json(path, found, allow_nan=True)  # ends that nothing tells of
    return dict(read_json(path))
