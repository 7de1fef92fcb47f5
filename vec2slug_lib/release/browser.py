"""The files of the playground: the released model as a browser loads it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..common.files import write_json
from ..common.slugs import DOUBLED_WORDS
from ..data.examples import example_vectors, load_examples
from ..embedding.minilm import MiniLMEmbedder
from ..embedding.minilm_graph import READER
from ..embedding.wordpiece import MAX_TOKENS, TOKENIZER
from ..inference.release_folder import Precision, ReleaseConfig
from ..inference.steppers import GRAPHS
from ..inference.text_model import TEXT_MODEL

RUNTIME = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")  # of onnxruntime-web
PRECISION: Precision = "float32"  # as the command line has it; WebAssembly gains little by int8


def settings(config: ReleaseConfig) -> dict[str, Any]:
    """Return the decoding configuration of a release, as the playground's search takes it."""
    decoding = asdict(config.decoding)
    del decoding["dropped"]  # the page asks for no words to be left out
    decoding["stopwords"] = sorted(config.decoding.stopwords)
    decoding["doubled_words"] = sorted(DOUBLED_WORDS)
    return {"decoding": decoding, "risk": config.mbr.to_json() if config.mbr else None}


def collect(scripts: Path, release: Path, reader: Path, runtime: Path, out: Path) -> list[str]:
    """Put everything that the playground loads into one folder; ``files.json`` lists it.

    Args:
        scripts: folder of the page's scripts and style.
        release: folder with the graphs.
        reader: folder of the embedder's graph and its tokenizer.
        runtime: ``dist`` folder of the npm package onnxruntime-web.
        out: target folder.

    Returns:
        What is missing, in words for the page; without it the playground says so and stays shut.
    """
    out.mkdir(parents=True, exist_ok=True)
    sources = [*scripts.glob("*.js"), *scripts.glob("*.css"), *(runtime / name for name in RUNTIME)]
    sources += [release / GRAPHS[PRECISION], release / "model.json"]
    reading = [reader / READER, reader / TOKENIZER, release / TEXT_MODEL]  # the last if it has one
    sources += reading
    for source in filter(Path.is_file, sources):
        shutil.copy(source, out / source.name)
    complete = all((out / name).is_file() for name in RUNTIME)
    missing = [] if complete else ["onnxruntime-web (from npm)"]
    config = ReleaseConfig.load(release / "model.json")
    content = {
        "missing": missing,
        "writer": _sizes(out, (RUNTIME[1], GRAPHS[PRECISION], "model.json")),
        "reader": _sizes(out, (path.name for path in reading if path.is_file())),
        "width": config.input_dim,
        "limit": MAX_TOKENS,
        "settings": settings(config),
    }
    write_json(out / "files.json", content)
    write_examples(out / "examples.json")
    return missing


def _sizes(folder: Path, names: Iterable[str]) -> list[dict[str, Any]]:
    paths = [folder / name for name in names]
    return [{"name": p.name, "bytes": p.stat().st_size} for p in paths if p.is_file()]


def write_examples(path: Path) -> None:
    """Write the book's examples with the vectors of their texts, to six digits."""
    vectors = example_vectors(MiniLMEmbedder("cpu")).astype(np.float64)
    rows = [
        {"title": example.title, "slug": example.slug, "text": example.text, "vector": vector}
        for example, vector in zip(load_examples(), vectors.round(6).tolist(), strict=True)
    ]
    path.write_text(json.dumps(rows), encoding="utf-8")
