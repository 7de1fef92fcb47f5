"""Run records: what an experiment was, how it went and what it predicted, as small plain files.

A record is ``<runs>/<experiment>/<preset>/`` with ``manifest.json``, ``history.jsonl``,
``metrics.json``, ``predictions.parquet`` and ``examples.json``. Weights and tokenizer lie beside
them, not in git. A baseline, which is not trained, has neither these nor a history.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from pyarrow.parquet import read_schema

from ..common.errors import Vec2SlugError
from ..common.files import atomic, read_json, write_json
from ..common.workspace import current
from ..data.dataset import ids_digest
from ..embedding.registry import DEFAULT
from .intervals import Interval

Metrics = dict[str, Interval]

FILES = (
    "manifest.json",
    "history.jsonl",
    "examples.json",
    "predictions.parquet",
    "metrics.json",
)
ENCODINGS = {  # of the columns of predictions
    "prediction": "DELTA_LENGTH_BYTE_ARRAY",
    "score": "BYTE_STREAM_SPLIT",
    "row": "DELTA_BINARY_PACKED",
}


@dataclass(frozen=True)
class Run:
    """One record on disk."""

    folder: Path

    @property
    def manifest(self) -> dict[str, Any]:
        """Return config, data digest, seed, versions, device and seconds."""
        return dict(read_json(self.folder / "manifest.json"))

    @property
    def embedder(self) -> str:
        """Return whose vectors it was trained on; records older than the choice do not say."""
        return str(self.manifest.get("embedder", DEFAULT))

    @property
    def metrics(self) -> Metrics:
        """Return every metric with its interval."""
        return dict(read_json(self.folder / "metrics.json"))

    @property
    def history(self) -> pd.DataFrame:
        """Return a row an evaluation: step, epoch, losses, learning rate, validation scores."""
        return pd.read_json(self.folder / "history.jsonl", lines=True)

    @property
    def predictions(self) -> pd.DataFrame:
        """Return a row a test pair: id, slug (the reference), topic, prediction, score.

        A baseline gives no score: NaN.

        Raises:
            Vec2SlugError: the data set is not the one that the record was made on.
        """
        self.check_data()
        rows, (pairs, _) = pd.read_parquet(self.folder / "predictions.parquet"), _pairs()
        known = pairs.iloc[rows["row"]].reset_index(drop=True)
        return known.join(rows[["prediction", "score"]])

    @property
    def examples(self) -> dict[str, str]:
        """Return slugs of the book's own articles by name."""
        return dict(read_json(self.folder / "examples.json"))

    @property
    def missing(self) -> list[str]:
        """List the files that the record lacks; a baseline, by its manifest, needs no history."""
        absent = [name for name in FILES if not (self.folder / name).is_file()]
        untrained = "manifest.json" not in absent and "baseline" in self.manifest
        return [name for name in absent if not (untrained and name == "history.jsonl")]

    @property
    def complete(self) -> bool:
        """Say whether every file of the record is there."""
        return not self.missing

    def check_data(self) -> None:
        """Refuse a record that was scored on other pairs than those of the data set.

        Raises:
            Vec2SlugError: they are others.
        """
        notes = read_schema(self.folder / "predictions.parquet").metadata[b"PANDAS_ATTRS"]
        theirs, (_, ours) = json.loads(notes)["data"], _pairs()
        if theirs != ours:
            raise Vec2SlugError(
                f"expected {self.folder} to be scored on the pairs {ours[:12]} of the data set, "
                f"got a record of the pairs {theirs[:12]}: make it anew with --retrain"
            )

    def value(self, metric: str) -> float:
        """Return a metric's value without its interval."""
        return self.metrics[metric]["value"]


def open_run(experiment: str, preset: str) -> Run:
    """Return the record of an experiment or a baseline, which must be complete.

    Raises:
        Vec2SlugError: no record, or files of it are missing, or it was scored on other data.
    """
    run = Run(current().runs / experiment / preset)
    if missing := run.missing:
        raise Vec2SlugError(
            f"expected a run record of {experiment} in preset {preset}; missing: "
            f"{', '.join(missing)}. Make it with: vec2slug train {experiment} --preset {preset}"
        )
    run.check_data()
    return run


def save_results(
    run: Run, predictions: pd.DataFrame, metrics: Metrics, examples: dict[str, str]
) -> None:
    """Write predictions, metrics and slugs of the book's articles of a run.

    Raises:
        Vec2SlugError: a prediction for a row that the data set does not have.
    """
    # The data set has ids and references: without them a record is half the size. These encodings
    # lose nothing and take a fifteenth off it.
    pairs, digest = _pairs()
    rows = pd.Index(pairs["id"]).get_indexer(predictions["id"]).astype("int32")
    if (rows < 0).any():
        raise Vec2SlugError(f"expected rows of the data set, got {(rows < 0).sum()} other")
    stored = predictions[["prediction", "score"]].assign(row=rows)
    stored.attrs["data"] = digest
    with atomic(run.folder / "predictions.parquet") as temporary:
        stored.to_parquet(
            temporary,
            index=False,
            compression="zstd",
            compression_level=19,
            use_dictionary=False,
            column_encoding=ENCODINGS,
        )
    write_json(run.folder / "examples.json", examples)
    write_json(run.folder / "metrics.json", metrics, allow_nan=True)  # ends that nothing tells of


def read_or_make(
    run: Run, name: str, make: Callable[[], dict[str, Any]], remake: bool = False
) -> dict[str, Any]:
    """Read ``<name>.json`` of a record; make it if it is missing or of other predictions.

    Args:
        run: the record.
        name: may begin with a folder.
        make: what is in it.
        remake: whether to make it again in any case.
    """
    path, digest = run.folder / f"{name}.json", ids_digest(run.predictions["prediction"])
    if remake or not path.is_file() or read_json(path)["predictions"] != digest:
        write_json(path, {"predictions": digest, **make()}, indent=None, allow_nan=True)
    return dict(read_json(path))


def _pairs() -> tuple[pd.DataFrame, str]:
    """Return id, slug and topic of the whole data set, in its order, and the digest of the ids."""
    path = current().data / "pairs.parquet"
    return _read_pairs(path, path.stat().st_mtime_ns, path.stat().st_size)


@lru_cache(maxsize=1)  # a chapter reads dozens of records
def _read_pairs(path: Path, changed: int, size: int) -> tuple[pd.DataFrame, str]:
    pairs = pd.read_parquet(path, columns=["id", "slug", "cluster"])
    return pairs.rename(columns={"cluster": "topic"}), ids_digest(pairs["id"])


def environment(device: str) -> dict[str, Any]:
    """Say what a result depends on beside its config: versions of packages, machine, device."""
    packages = ("torch", "tokenizers", "numpy", "pandas", "scikit-learn")
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "device": device,
        "packages": {name: version(name) for name in packages},
    }
