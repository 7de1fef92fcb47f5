"""Chapter 14's levers: what each part of the recipe adds, page by page, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from numpy.typing import ArrayLike

from chapters.ch11_baselines import BLIND, gain, row_f1
from chapters.report import signed
from vec2slug_lib.common.vectors import Doubles
from vec2slug_lib.evaluation.intervals import Interval
from vec2slug_lib.evaluation.records import Metrics, Run
from vec2slug_lib.experiments.baseline_runs import is_baseline
from vec2slug_lib.experiments.decoding_variants import VARIANTS, decoding_record
from vec2slug_lib.experiments.run import record
from vec2slug_lib.experiments.table import find_experiment, pretraining

UNTRAINED = tuple(BLIND.values())  # they see no more than the release does
LABELS = {
    "random": "a training slug at random",
    "nearest": "the nearest page's slug",
    "vote": "the word vote",
    "nearest-words": "the nearest words",
    "word-vote": "the vote with word vectors",
    "3i": "3i as trained here",
    "3j": "3j as trained here",
}
MIN_STEPS = 0  # least steps of the study's models on a fraction of the pages; 0: no such records


@dataclass(frozen=True)
class Lever:
    """One change to a system: a run, or a decoding of it, beside what it is compared with."""

    says: str
    run: str
    variant: str = ""  # of the decoding; the run's own if empty
    than: str = ""  # the run without the change; the first line of a table has none


def all_levers(
    study: str, random_run: str, table_run: str, spans_run: str, release: str
) -> dict[str, Lever]:
    """Return the levers on the way from the study's small release to ours."""
    return {
        "study": Lever("3i as trained here", study),
        "study_risk": Lever(
            "3i with minimum Bayes risk over its own candidates", study, "mbr-candidates", study
        ),
        "study_proof": Lever("3i with the same, re-ranked", study, "mbr", study),
        "random": Lever(
            "ours with random tables: bag-of-words head, five epochs", random_run, "", study
        ),
        "table": Lever("ours with the embedder's tables", table_run, "", random_run),
        "spans": Lever("embedder's tables, 400,000 random spans", spans_run, "", table_run),
        "release": Lever("four kinds of span, twice the vocabulary", release, "", spans_run),
        "neighbours": Lever(
            "the same, with the nearest pages as evidence", release, "mbr-index", release
        ),
    }


def quarter_levers(study: str, table_run: str) -> dict[str, Lever]:
    """Return the levers that are tried on a quarter of the training pages."""
    few_pairs, ours = (on_fraction(name, 0.25) for name in (study, table_run))
    unscaled = on_fraction(f"{study}+scaled_input=False", 0.25)
    no_head = on_fraction(f"{table_run}+head_dim=0+word_loss=0.0", 0.25)
    smaller = on_fraction(f"{table_run}+vocabulary_multiple=1", 0.25)
    dropout = on_fraction(f"{table_run}+dropout=0.3", 0.25)
    return {
        "unscaled": Lever("a quarter: 3i, the vector as small as in the study", unscaled),
        "scaled": Lever(
            "a quarter: 3i as trained here, the vector scaled", few_pairs, "", unscaled
        ),
        "quarter": Lever("a quarter: ours, with the embedder's tables", ours, "", few_pairs),
        "head": Lever(
            "a quarter: ours without bag-of-words head, so without a choice", no_head, "", ours
        ),
        "vocabulary": Lever("a quarter: ours, a third of the vocabulary", smaller, "", ours),
        "dropout": Lever("a quarter: ours, three times the dropout", dropout, "", ours),
    }


def lever_gain(lever: Lever, preset: str) -> Interval:
    """Compute the paired difference in Token F1 that a lever makes."""
    if lever.variant:
        difference = decoding_record(lever.run, lever.variant, preset)["difference"]
        interval: Interval = difference["token_f1"]
        return interval
    ours, theirs = (record(name, preset) for name in (lever.run, lever.than))
    return gain(row_f1(ours), row_f1(theirs), ours.predictions["topic"])


def lever_table(
    levers: Mapping[str, Lever], gains: Mapping[str, Interval], preset: str
) -> pd.DataFrame:
    """Return scores, differences and minutes of training, a row a lever."""
    rows = {lever.says: lever_row(lever, gains.get(key), preset) for key, lever in levers.items()}
    return pd.DataFrame(rows).T.rename_axis("system")


def lever_row(lever: Lever, gained: Interval | None, preset: str) -> dict[str, Any]:
    """Return the cells of a lever; the minutes of a run after spans include them."""
    run = record(lever.run, preset)
    metrics = run.metrics
    if lever.variant:
        metrics = decoding_record(lever.run, lever.variant, preset)["metrics"]
    before = pretraining(lever.run)
    stages = [run, record(before, preset)] if before else [run]
    return {
        "Token F1": metrics["token_f1"]["value"],
        "difference": signed(gained) if gained else "",
        **variety(metrics),
        "minutes": round(sum(stage.manifest["seconds"] for stage in stages) / 60),
    }


def variety(metrics: Metrics) -> dict[str, float]:
    """Return the share of distinct slugs and the mean number of words."""
    return {"distinct": metrics["diversity"]["value"], "words": metrics["mean_words"]["value"]}


def label(name: str) -> str:
    """Write the name of a baseline or of the study's model for a sentence."""
    base, _, changes = name.partition("+")
    text = LABELS.get(base, base)
    return text.replace("the ", "the re-ranked ", 1) if "reranked=True" in changes else text


def best_untrained(scores: Mapping[str, Doubles]) -> str:
    """Return the name of the untrained baseline with the highest mean score: the rival."""
    return max(UNTRAINED, key=lambda name: float(scores[name].mean()))


def standing(
    runs: Mapping[str, Run], scores: Mapping[str, Doubles], rival: str, topics: ArrayLike
) -> pd.DataFrame:
    """Return Token F1, its distance to the rival, variety and length, a row a system."""

    def distance(name: str) -> str:
        return "" if name == rival else signed(gain(scores[name], scores[rival], topics))

    rows = {
        label(name): {
            "Token F1": run.value("token_f1"),
            "minus the rival": distance(name),
            **variety(run.metrics),
        }
        for name, run in runs.items()
    }
    return pd.DataFrame(rows).T.rename_axis("system")


def decoding_table(decoded: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return Token F1 of decoding variants and the paired difference to the run's own slugs."""
    rows = {
        VARIANTS[variant].label: {
            "Token F1": decoding["metrics"]["token_f1"]["value"],
            "minus the release": signed(decoding["difference"]["token_f1"]),
            **variety(decoding["metrics"]),
        }
        for variant, decoding in decoded.items()
    }
    return pd.DataFrame(rows).T.rename_axis("decoding")


def learnt_from(name: str, preset: str) -> dict[str, Any]:
    """Return what a run learnt from, and its scores on the test pages."""
    run, experiment = record(name, preset), find_experiment(name)
    count = experiment.spans or experiment.pretrain
    return {
        "spans": f"{count:,} {experiment.span_kinds.replace(',', ', ')}" if count else "none",
        "pairs": 0 if experiment.spans else run.manifest["train_rows"],
        "Token F1": run.value("token_f1"),
        **variety(run.metrics),
    }


def on_fraction(name: str, fraction: float) -> str:
    """Return the name of a run on a fraction of the training pages, and of its spans."""
    if fraction == 1:
        return name
    base, *changes = name.split("+")
    part = "+".join([base, f"share={fraction:g}", *changes])
    if is_baseline(name):
        return part
    experiment = find_experiment(name)
    spans, stepped = int(experiment.pretrain * fraction), MIN_STEPS and not experiment.epochs
    steps = f"+min_steps={MIN_STEPS}" if stepped else ""
    return f"{part}+pretrain={spans}" if spans else part + steps
