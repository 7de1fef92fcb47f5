"""The release's decoding variants: Token F1 and milliseconds of each, same weights, one run.

`inference.py --variants` measures them. Which variant is the default where stands here, too, and
tests hold it against the code; chapter 12 has the table, from the record.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from machine import is_free
from sides import Side, beside, sides_of, single_rows
from tqdm import tqdm

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.files import file_sha256, read_json
from vec2slug_lib.inference import mbr
from vec2slug_lib.inference.predictor import SlugPredictor
from vec2slug_lib.inference.release_folder import Precision

ROUNDS = 5
WEIGHTS = "model.safetensors"
CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import numpy as np
from variants import VARIANTS, open_variant
predictor = open_variant(Path(sys.argv[2]), VARIANTS[sys.argv[3]])
for _ in predictor.stream(np.load(sys.argv[4], mmap_mode="r")):
    pass
status = open("/proc/self/status").read()
print(int(status.split("VmHWM:")[1].split()[0]) / 1024)
"""


@dataclass(frozen=True)
class Variant:
    """A way to decode with the release.

    Attributes:
        label: of the table.
        precision: of the graph.
        mbr: minimum Bayes risk decoding, else the slug that the search scores highest.
        index: whether the training slugs of the nearest pages are evidence.
        rerank: whether candidates are re-ranked by embedding similarity.
        default_of: the places that decode so unless told otherwise.
    """

    label: str
    precision: Precision = "float32"
    mbr: bool = True
    index: bool = False
    rerank: bool = False
    default_of: tuple[str, ...] = ()


VARIANTS = {
    "search": Variant("search alone", mbr=False),
    "search-int8": Variant("search alone", "int8", mbr=False),
    "mbr": Variant("MBR", default_of=("library, vectors alone", "bulk", "inference.py")),
    "mbr-int8": Variant("MBR", "int8"),
    "mbr-index": Variant("MBR with an index", index=True, default_of=("library, an index",)),
    "mbr-reranked": Variant(
        "MBR, re-ranked",
        rerank=True,
        default_of=(
            "command line, text",
            "command line, vectors",
            "library, an embedder",
            "playground",
        ),
    ),
    "mbr-reranked-int8": Variant("MBR, re-ranked", "int8", rerank=True),
    "mbr-reranked-index": Variant(
        "MBR with an index, re-ranked",
        index=True,
        rerank=True,
        default_of=("command line, an index",),
    ),
}
RELEASE = "mbr-reranked"  # whose numbers are called the release's


def open_variant(folder: Path, variant: Variant, threads: int = 1) -> SlugPredictor:
    """Open the release so that it decodes as a variant says."""
    index = embedder = None
    if variant.index:
        from vec2slug_lib.data.dataset import load
        from vec2slug_lib.inference.index import Index

        pages = load().part("train")
        index = Index(pages.vectors, pages.slugs, pages.embedder)
    if variant.rerank:
        from vec2slug_lib.embedding.registry import open_embedder

        embedder = open_embedder(exact=True)
    predictor = SlugPredictor.from_dir(folder, variant.precision, index, embedder, threads)
    if not variant.mbr:
        decoding = replace(predictor.config.decoding, sound_words=True)
        predictor.config = replace(predictor.config, mbr=None, decoding=decoding)
    return predictor


def variant_side(folder: Path, name: str, threads: int) -> Side:
    """Open a variant as a side of a comparison."""
    predictor = open_variant(folder, VARIANTS[name], threads)
    return lambda rows: [tuple(found[0]) for found in predictor.predict_topk(rows, 1)]


class CachedEmbedder:
    """An embedder that embeds no text twice: variants have most of their candidates in common."""

    def __init__(self, embedder: Any) -> None:
        self.embedder, self.key, self.dimensions = embedder, embedder.key, embedder.dimensions
        self.known: dict[str, np.ndarray] = {}

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Embed N texts: unit vectors ``[N, dimensions]``."""
        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        if new:
            self.known.update(zip(new, self.embedder.embed(new), strict=True))
        return np.stack([self.known[text] for text in texts])


@contextmanager
def shared_search() -> Iterator[None]:
    """Search no rows twice with one graph: MBR decoding has the same candidates by any evidence."""
    known: dict[bytes, Any] = {}
    search = mbr.search

    def once(stepper: Any, rows: np.ndarray, *arguments: Any) -> Any:
        key = rows.tobytes()
        if key not in known:
            known[key] = search(stepper, rows, *arguments)
        return known[key]

    mbr.search = once
    try:
        yield
    finally:
        mbr.search = search


def slugs_of(folder: Path, rows: np.ndarray) -> dict[str, list[str]]:
    """Slugs of each variant; what several have in common is computed once."""
    from vec2slug_lib.embedding.registry import open_embedder

    embedder, slugs = CachedEmbedder(open_embedder(exact=True)), {}
    for precision in ("float32", "int8"):
        chosen = {name: v for name, v in VARIANTS.items() if v.precision == precision}
        with shared_search():
            for name, variant in chosen.items():
                predictor = open_variant(folder, variant)
                if variant.rerank:
                    predictor.embedder = embedder
                with tqdm(total=len(rows), desc=name, unit="slug", mininterval=10) as bar:
                    slugs[name] = predictor.predict(rows, bar.update)
    return {name: slugs[name] for name in VARIANTS}


def qualities(folder: Path, rows: np.ndarray, references: Any) -> dict[str, dict[str, Any]]:
    """Token F1 of each variant over topics, and paired differences.

    They are to the release's variant, and of a variant in int8 to the same one in float32.

    Args:
        folder: of the release.
        rows: vectors of the pages.
        references: their columns slug and topic.
    """
    from vec2slug_lib.evaluation.intervals import summarise
    from vec2slug_lib.evaluation.metrics import token_overlap

    slugs, topics = slugs_of(folder, rows), references["topic"]
    known = references["slug"].tolist()
    scores = {name: token_overlap(written, known)[2] for name, written in slugs.items()}
    found = summarise(scores, topics)
    apart = summarise({name: f1 - scores[RELEASE] for name, f1 in scores.items()}, topics)
    exact = {name: name.removesuffix("-int8") for name in slugs if name.endswith("-int8")}
    rounded = summarise({name: scores[name] - scores[exact[name]] for name in exact}, topics)
    same = {
        name: float(np.mean(np.array(slugs[name]) == np.array(slugs[other])))
        for name, other in exact.items()
    }
    return {
        name: {
            "rows": len(rows), "token_f1": found[name], "difference": apart[name],
            "int8": {"difference": rounded[name], "same_slugs": same[name]}
            if name in exact
            else None,
        }
        for name in slugs
    }  # fmt: skip


def times(folder: Path, rows: np.ndarray, single: int) -> dict[str, dict[str, Any]]:
    """Milliseconds of one row and of one among many, and the ratio to the release's of the round.

    One row has all cores for each product; of many rows each core has a piece, as the command has.
    """
    cores, one, many = os.cpu_count() or 1, {}, {}
    openers = {name: partial(variant_side, folder, name, cores) for name in VARIANTS}
    with sides_of(openers) as sides:
        one = beside(single_rows(sides, rows[:single]), RELEASE)
    openers = {name: partial(variant_side, folder, name, 1) for name in VARIANTS}
    with sides_of(openers) as sides:
        spent: dict[str, list[float]] = {name: [] for name in sides}
        for side in sides.values():
            side(rows[:16])
        for part in tqdm(np.array_split(rows, ROUNDS), desc="rounds", unit="round"):
            for name, side in sides.items():
                spent[name].append(1000 * side(part)[0] / len(part))
        many = beside(spent, RELEASE)
    return {name: {"one": one[name], "many": many[name]} for name in VARIANTS}


def peak(folder: Path, name: str, rows: np.ndarray) -> float:
    """Peak MiB of a process that makes all slugs of ``rows``."""
    with tempfile.TemporaryDirectory() as scratch:
        np.save(f"{scratch}/rows.npy", rows)
        here = str(Path(__file__).parent)
        command = [sys.executable, "-c", CHILD, here, str(folder), name, f"{scratch}/rows.npy"]
        return float(subprocess.check_output(command, text=True))


def known_qualities(path: Path | None, folder: Path) -> dict[str, dict[str, Any]]:
    """Read the qualities from a record of the release's weights.

    Raises:
        Vec2SlugError: there is none, or it is of others.
    """
    record = read_json(path) if path else {}
    if record.get("weights") != file_sha256(folder / WEIGHTS):
        raise Vec2SlugError(f"expected --out to be a record of these weights, got {path}")
    names = ("rows", "token_f1", "difference", "int8")
    return {key: {name: row[name] for name in names} for key, row in record["variants"].items()}


def measure_variants(
    folder: Path,
    test: Any,
    single: int,
    many: int,
    known: dict[str, dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Everything about all variants; what other work the machine had meanwhile is said.

    Args:
        folder: of the release.
        test: data set of the scored pages.
        single: rows that are timed alone.
        many: rows that are timed together.
        known: qualities that were measured before, if they are to be kept.
    """
    free, rows = is_free(), test.vectors
    quality = known or qualities(folder, rows, test.references)
    spent = times(folder, rows[:many], single)
    peaks = {name: peak(folder, name, rows[:100]) for name in VARIANTS}
    return {
        "alone": free,
        "weights": file_sha256(folder / WEIGHTS), "release": RELEASE,
        "rows": {"one": single, "many": many},
        "variants": {
            name: asdict(variant) | quality[name] | spent[name] | {"peak_mib": peaks[name]}
            for name, variant in VARIANTS.items()
        },
    }  # fmt: skip
