"""Whether a model can read what it is given: numbers, not codes; its embedder's; of English text.

The vectors of an embedder lie around a mean, far apart in some directions and close together in
others. Those of another have no reason to be close together in the same ones.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..common.english import looks_english
from ..common.errors import Vec2SlugError
from ..common.files import check_file, known_hash
from ..common.vectors import Array, Doubles, Floats, as_array, unit_rows
from .rows import Page

TRAINING_VECTORS = "training_vectors.npz"  # in a release: what it knows of them
INSPECTED = 1_000  # rows of a job that are looked at
LONG = 100  # rows or texts of a job whose shares are worth a word
STRANGERS = 1 / 3  # share of rows beyond the limit from which on vectors are another embedder's
CODE_VALUES = 8  # of so many different small integers, and nothing else, codes are made
CODES = (
    "codes of a quantised or binary index, which are nothing without its ranges; "
    "give the float vectors that they were made of, or a .npz with codes [N, D] and scale [N]"
)


@dataclass(frozen=True)
class TrainingVectors:
    """What a release knows of the vectors that it was trained on.

    Attributes:
        mean: of the unit vectors, ``[D]``.
        directions: ``[K, D]``, orthogonal, each divided by the deviation along it.
        limit: distance beyond which hardly any vector of the embedder is.
    """

    mean: Floats
    directions: Floats
    limit: float

    @classmethod
    def load(cls, folder: Path) -> TrainingVectors | None:
        """Read them from a release; None if it says nothing of them, as the study's do.

        Raises:
            Vec2SlugError: the file is damaged, or not that of the manifest.
        """
        path = folder / TRAINING_VECTORS
        if not path.is_file():
            return None
        check_file(path, known_hash(folder, path.name))
        try:
            with np.load(path) as file:
                directions = file["codes"].astype(np.float32) * file["scales"][:, None]
                return cls(file["mean"], directions, float(file["limit"]))
        except Exception as error:  # zipfile, OSError, KeyError and ValueError alike
            raise Vec2SlugError(f"expected training vectors in {path}, but: {error}") from error

    def distances(self, vectors: Array) -> Doubles:
        """Compute how far rows ``[N, D]`` are from the training vectors, which are at 1 on average.

        Returns:
            The mean square, over the directions, of the deviations from the mean ``[N]``; rows
            that are zero or not finite are left out.
        """
        unit, bad = unit_rows(vectors)
        unit = np.delete(unit, list(bad), axis=0)
        deviations = (unit - self.mean) @ self.directions.T
        return np.asarray(np.square(deviations, dtype=np.float64).mean(axis=1))


class Inspector:
    """Looks at what a predictor is given: refuses codes, warns once of what the model cannot know.

    That is the vectors of another embedder, and texts that are not English.

    Args:
        training: of the model; without it, nothing is said of the embedder.
        embedder: its name, for the warning.
    """

    def __init__(self, training: TrainingVectors | None, embedder: str) -> None:
        self.training, self.embedder = training, embedder or "the model's embedder"
        self._distances: deque[float] = deque(maxlen=INSPECTED)
        self._warned_of_embedder = self._warned_of_language = False  # once is enough
        self.rows = self.strange_rows = self.texts = self.foreign_texts = 0  # that were looked at

    def inspect(self, rows: Any) -> Any:
        """Return an array or iterable of rows; of an array a sample is looked at, else each row.

        Raises:
            Vec2SlugError: they are codes or booleans; in an iterable, when the row is reached.
        """
        if isinstance(rows, np.ndarray):
            refuse_codes(sample := spread(rows))
            self._look(sample)
            return rows
        return self._passing(rows) if isinstance(rows, Iterable) else rows

    def read(self, texts: Sequence[str]) -> None:
        """Look at texts that are about to be embedded."""
        foreign = [text for text in texts if not looks_english(text)]
        self.texts += len(texts)
        self.foreign_texts += len(foreign)
        if foreign and not self._warned_of_language:
            self._warned_of_language = True
            warnings.warn(
                "expected English text, got what does not look it, such as "
                f"{foreign[0].strip()[:40]!r}: model and embedder have learnt from English pages "
                "alone; for another language train both, see vec2slug paper --help",
                stacklevel=3,
            )

    def summary(self) -> list[str]:
        """Return what a long job should end with: the shares of what the model cannot know."""
        parts = []
        if self.strange_rows and self.rows >= LONG:
            share = f"{self.strange_rows / self.rows:.1%} of {self.rows:,} rows looked at are"
            parts.append(f"{share} further from the training vectors than hardly any should be")
        if self.foreign_texts and self.texts >= LONG:
            share = f"{self.foreign_texts / self.texts:.1%} of {self.texts:,} texts"
            parts.append(f"{share} do not look English")
        return parts

    def _passing(self, rows: Iterable[Any]) -> Iterator[Any]:
        """Yield rows as they come, looking at each on the way."""
        for number, row in enumerate(rows):
            sample = as_array(row.vector if isinstance(row, Page) else row)[None]
            if number < INSPECTED:
                refuse_codes(sample)
            self._look(sample)
            yield row

    def _look(self, sample: Array) -> None:
        """Compare rows ``[N, D]`` with the training vectors; others are refused elsewhere."""
        training = self.training
        if training is None or sample.ndim != 2 or sample.dtype.kind not in "fiu":
            return
        if sample.shape[1] != len(training.mean):
            return
        found = training.distances(sample)
        self.rows += len(found)
        self.strange_rows += int((found > training.limit).sum())
        if self._warned_of_embedder:  # the share of the last rows is asked for no more
            return
        self._distances.extend(found.tolist())
        distances = np.array(self._distances)
        if distances.size and (distances > training.limit).mean() > STRANGERS:
            self._warned_of_embedder = True
            warnings.warn(
                f"expected vectors of {self.embedder}, got what looks like another embedder's, "
                "whose slugs are nonsense: their distance from the training vectors is "
                f"{np.median(distances):.3g} (median of {len(distances)} rows), where "
                f"{self.embedder} has about 1 and hardly ever more than {training.limit:.2g}; "
                "another embedder needs a model of its own, see vec2slug paper --help",
                stacklevel=4,
            )


def spread(rows: Array) -> Array:
    """Return a sample of rows ``[N, …]``, spread evenly over them."""
    return rows[:: -(-len(rows) // INSPECTED) or 1] if rows.ndim else rows


def refuse_codes(sample: Array) -> None:
    """Refuse rows ``[N, …]`` that are codes.

    Raises:
        Vec2SlugError: they are.
    """
    if codes := codes_in(sample):
        raise Vec2SlugError(f"expected vectors of numbers such as float32, got {codes}")


def codes_in(vectors: Array) -> str:
    """Tell what codes a sample of rows is of, also if they are stored as other numbers; or ""."""
    kind = vectors.dtype
    if kind.kind == "b" or kind in (np.int8, np.uint8):
        return f"{kind}: {CODES}"
    if kind.kind not in "fiu" or not vectors.size:
        return ""
    low, high = vectors.min(), vectors.max()  # NaN, if there is one
    in_range = (low >= -128 and high <= 127) or (low >= 0 and high <= 255)
    if not in_range or (vectors != np.rint(vectors)).any():
        return ""
    values = np.unique(vectors).tolist()
    bits = values in ([0, 1], [-1, 1]) and 0.25 < (vectors == 1).mean() < 0.75
    if bits or len(values) >= CODE_VALUES:
        return f"nothing but integers from {low:g} to {high:g}: {CODES}"
    return ""
