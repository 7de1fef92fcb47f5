"""all-MiniLM-L6-v2 as a graph: texts to vectors by onnxruntime and tokenizers, no torch.

The graph is made once from the published weights, see `minilm_export`; a wheel has it inside. Its
matrices are stored as int8 and computed in float32, in a quarter of the weights' size.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ..common.errors import Vec2SlugError
from ..common.files import check_file, known_hash, read_json
from ..common.graphs import open_graph
from ..common.vectors import Floats
from ..common.workspace import model_folder
from .registry import DEFAULT
from .wordpiece import (
    MODEL,
    TOKENIZER,
    WEIGHTS,
    WEIGHTS_SHA256,
    WIDTH,
    Batch,
    encode,
    open_tokenizer,
    pieces,
)

READER = "reader.onnx"  # token_ids int64 [N, T] and real bool [N, T] to vectors float32 [N, 384]
MANIFEST = "manifest.onnx.json"
BATCH_TOKENS = 4_096


def reader_folder() -> Path:
    """Return the folder of the graph and its tokenizer; make them of the weights if need be.

    That takes 20 seconds, once.

    Raises:
        Vec2SlugError: there is no graph of the published weights, and torch, which makes it, or the
            weights are missing.
    """
    folder = model_folder(MODEL)
    if not is_made(folder):
        try:
            from .minilm_export import make_reader
        except ModuleNotFoundError as error:
            how = 'to make it from the weights: pip install "vec2slug[train]"'
            raise Vec2SlugError(f"expected {READER} in {folder}, found none; {how}") from error
        make_reader(folder)
    return folder


def is_made(folder: Path) -> bool:
    """Tell whether a folder has the graph of the published weights, by its manifest."""
    manifest = folder / MANIFEST
    made_of = read_json(manifest).get("made_of", {}) if manifest.is_file() else {}
    return made_of == {WEIGHTS: WEIGHTS_SHA256}


class MiniLMGraph:
    """Sentence embeddings of all-MiniLM-L6-v2 (mean over tokens, unit norm), by its graph.

    A vector depends on the texts embedded with it by rounding alone (1e-6), and has a cosine of
    more than 0.998 to that of the exact weights, see `MiniLMEmbedder`.
    """

    key = DEFAULT
    name = MODEL
    dimensions = WIDTH

    def __init__(self, folder: Path | None = None, lean: bool = False) -> None:
        """Open the graph.

        Args:
            folder: of the graph and its tokenizer; by default those that come with the library.
            lean: take 30 MB less memory and 50 ms more a call, for a process that makes a slug or
                two; vectors are the same but for rounding.

        Raises:
            Vec2SlugError: the package tokenizers or a file is missing, or a file is not the one
                that its manifest names.
        """
        folder = folder or reader_folder()
        check_file(folder / TOKENIZER, known_hash(folder, TOKENIZER))
        self.tokenizer = open_tokenizer(folder / TOKENIZER)
        # One batch a core beats one batch on all cores.
        self.session = open_graph(folder / READER, threads=1, keep_bytes=lean)

    def batches(self, texts: Sequence[str]) -> Iterator[slice]:
        """Cut texts into pieces of 2,000."""
        return pieces(texts)

    def embed(self, texts: Sequence[str]) -> Floats:
        """Embed texts, each cut at 256 tokens, as unit vectors.

        Args:
            texts: N non-empty texts.

        Returns:
            float32 [N, 384], in the order of ``texts``.

        Raises:
            Vec2SlugError: a text is empty or not a string; the message names its row.
        """
        vectors = np.empty((len(texts), WIDTH), dtype=np.float32)

        def run(batch: Batch) -> None:
            inputs = {"token_ids": batch.tokens, "real": batch.real}
            (vectors[batch.rows],) = self.session.run(["vectors"], inputs)

        batches = list(encode(self.tokenizer, texts, BATCH_TOKENS))
        if len(batches) == 1:  # not worth a thread
            run(batches[0])
        elif batches:
            with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
                list(pool.map(run, batches))
        return vectors
