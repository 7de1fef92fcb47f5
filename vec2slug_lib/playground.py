"""The files of the playground: the released model as a browser loads it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .cached import GRAPHS
from .decoding import MAX_CHARS
from .examples import example_vectors, load_examples
from .files import write_json
from .inference import Sidecar
from .minilm import MAX_TOKENS, MiniLMEmbedder, model_folder

RUNTIME = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")  # of onnxruntime-web
READER = "reader.onnx"


def settings(sidecar: Sidecar) -> dict[str, Any]:
    """The decoding configuration of a release, as the playground's search takes it."""
    decoding = asdict(sidecar.decoding) | {"max_chars": MAX_CHARS}
    decoding["stopwords"] = sorted(sidecar.decoding.stopwords)
    return {"decoding": decoding, "risk": asdict(sidecar.risk) if sidecar.risk else None}


def collect(scripts: Path, release: Path, reader: Path, runtime: Path, out: Path) -> list[str]:
    """Put everything that the playground loads into one folder; ``files.json`` says what is there.

    Args:
        scripts: folder of the page's scripts and style.
        release: folder with the int8 graph.
        reader: graph of `minilm_graph`.
        runtime: ``dist`` folder of the npm package onnxruntime-web.
        out: target folder.

    Returns:
        What is missing, in words for the page; without it the playground says so and stays shut.
    """
    out.mkdir(parents=True, exist_ok=True)
    sources = [*scripts.glob("*.js"), *scripts.glob("*.css"), *(runtime / name for name in RUNTIME)]
    sources += [release / GRAPHS["int8"], release / "model.json", reader]
    sources.append(model_folder() / "tokenizer.json")
    for source in sources:
        if source.is_file():
            shutil.copy(source, out / source.name)
    missing = []
    if not all((out / name).is_file() for name in RUNTIME):
        missing.append("onnxruntime-web (from npm)")
    sidecar = Sidecar.load(release / "model.json")
    content = {
        "missing": missing,
        "writer": _sizes(out, (RUNTIME[1], GRAPHS["int8"], "model.json")),
        "reader": _sizes(out, (reader.name, "tokenizer.json")),
        "width": sidecar.input_dim,
        "limit": MAX_TOKENS,
        "settings": settings(sidecar),
    }
    write_json(out / "files.json", content)
    write_examples(out / "examples.json")
    return missing


def _sizes(folder: Path, names: Iterable[str]) -> list[dict[str, Any]]:
    paths = [folder / name for name in names]
    return [{"name": p.name, "bytes": p.stat().st_size} for p in paths if p.is_file()]


def write_examples(path: Path) -> None:
    """The book's examples with the vectors of their texts, to six digits."""
    vectors = example_vectors(MiniLMEmbedder("cpu", torch.float32)).astype(np.float64)
    rows = [
        {"title": example.title, "slug": example.slug, "text": example.text, "vector": vector}
        for example, vector in zip(load_examples(), vectors.round(6).tolist(), strict=True)
    ]
    path.write_text(json.dumps(rows), encoding="utf-8")
