"""The study from its first document to its releases, on its own corpus and embedder.

Stage by stage in one folder; what a stage leaves there is whole, so a run that was cut off goes on
with the stage that it was in, and that stage where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..common.files import atomic, file_sha256, read_json, write_json
from ..common.workspace import current, use
from ..data import build
from ..data.corpus import build as build_corpus
from ..data.examples import example_vectors
from ..embedding.base import Embedder
from ..embedding.job import manifest_of, read_bad
from ..embedding.registry import embedder_key
from ..evaluation.records import Run, open_run
from ..release.release import export_graphs, export_release
from .run import record
from .table import EXPERIMENTS, PRESETS, find

SMALL, LARGE = "3i", "3j"  # the study's two releases
METRICS = ("token_f1", "exact_match", "rouge_l", "validity", "diversity")


@dataclass(frozen=True)
class Paper:
    """What is made, and where."""

    source: str  # what `readers.open_source` reads
    out: Path
    preset: str = "paper"
    experiments: Sequence[str] = (SMALL, LARGE)

    @property
    def documents(self) -> Path:
        """Documents that pass the filters."""
        return self.out / "corpus" / "documents.parquet"

    @property
    def vectors(self) -> Path:
        """Their vectors, row by row."""
        return self.out / "vectors.npy"

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.out / "data"

    def model(self, experiment: str) -> Path:
        """Return the release folder of an experiment."""
        return self.out / "models" / f"vec2slug-{experiment}"

    @contextmanager
    def folders(self) -> Iterator[None]:
        """Read and write this run's data and records, and not those of the book, for a while."""
        with use(replace(current(), data=self.data, runs=self.out / "runs")):
            yield


def check(paper: Paper) -> None:
    """Refuse what would fail only after hours.

    Raises:
        Vec2SlugError: an unknown preset, or an experiment that is not in the study's table.
    """
    find(PRESETS, "preset", paper.preset)
    for name in paper.experiments:
        find({k: v for k, v in EXPERIMENTS.items() if v.model == "decoder"}, "experiment", name)


def make_corpus(paper: Paper, tokenizer: Path, workers: int = 1) -> list[dict[str, Any]]:
    """Filter the documents; return the steps of the funnel."""
    return list(build_corpus(paper.source, paper.out / "corpus", tokenizer, workers)["steps"])


def make_data(paper: Paper, embedder: Embedder, pairs: int | None = None) -> dict[str, Any]:
    """Make the data folder, with our twelve articles in the embedder's vectors; return its card."""
    name = embedder_key(embedder.name)
    if not (paper.data / "examples").is_dir():
        copytree(current().data / "examples", paper.data / "examples")
    examples = paper.data / f"examples.{name}.npy"
    if not examples.is_file():
        vectors = example_vectors(embedder)
        with atomic(examples) as temporary:
            np.save(temporary, vectors)
    card, note = paper.data / "card.json", paper.data / "made_of.json"
    made_of = {
        "documents_sha256": file_sha256(paper.documents),
        "vectors_sha256": file_sha256(paper.vectors),
        "pairs": pairs,
    }
    if not (card.is_file() and note.is_file() and read_json(note) == made_of):
        note.unlink(missing_ok=True)
        funnel, vectors = paper.documents.with_name("funnel.json"), np.load(paper.vectors, "r")
        of = read_json(manifest_of(paper.vectors))["documents_sha256"]
        skipped = read_bad(paper.vectors)
        build.build(paper.documents, vectors, funnel, paper.data, pairs, name, of, skipped)
        write_json(note, made_of)
    return dict(read_json(card))


def make_model(paper: Paper, experiment: str) -> dict[str, Any]:
    """Train, evaluate and release one experiment; return its figures beside the reported ones."""
    with paper.folders():
        run = record(experiment, paper.preset)
        folder = paper.model(experiment)
        if not _is_released(run, folder):
            (folder / "manifest.onnx.json").unlink(missing_ok=True)
            export_release(open_run(experiment, paper.preset), folder)
            export_graphs(folder)
        manifest, metrics = run.manifest, run.metrics
    row = EXPERIMENTS[experiment]
    return {
        "experiment": experiment,
        "parameters": manifest["parameters"],
        "seconds": manifest["seconds"],
        "reported_token_f1": row.reported_token_f1,
        "metrics": {name: metrics[name] for name in METRICS},
        "release": folder.relative_to(paper.out).as_posix(),
    }


def _is_released(run: Run, folder: Path) -> bool:
    """Tell whether a folder holds the whole release of just this run."""
    manifests = [folder / f"manifest.{part}.json" for part in ("train", "onnx")]
    if not all(path.is_file() for path in manifests):
        return False
    released = read_json(manifests[0])
    return all(released.get(key) == value for key, value in run.manifest.items())


def write_report(
    paper: Paper, steps: list[dict[str, Any]], card: dict[str, Any], models: list[dict[str, Any]]
) -> Path:
    """Write ``paper.json``: what was filtered, embedded and made."""
    path = paper.out / "paper.json"
    tokens = pq.read_table(paper.documents, columns=["token_count"])["token_count"]
    report = {
        "source": paper.source,
        "preset": paper.preset,
        "funnel": steps,
        "embedded": {"documents": len(tokens), "tokens": pc.sum(tokens).as_py()},
        "data": {name: card[name] for name in ("embedder", "pairs", "splits", "clusters")},
        "models": models,
    }
    write_json(path, report)
    return path
