"""What the commands of ``vec2slug`` read and show alike."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..common.errors import Vec2SlugError

if TYPE_CHECKING:
    from ..embedding.base import Embedder
    from ..inference.predictor import Precision


def progress_bar(total: int) -> Any:
    """Bar on stderr for work of more than a moment; silent for a few rows or in a pipe."""
    from tqdm import tqdm

    return tqdm(total=total, unit="slug", disable=None if total > 100 else True)


def make_graphs(folder: Path, precision: Precision) -> None:
    """Make the graph of a release on first use, of its weights.

    Raises:
        Vec2SlugError: the graph is not there, and torch, which makes it, is not installed.
    """
    from ..inference.predictor import lacks_graph
    from ..inference.steppers import PLAIN

    if not lacks_graph(folder, precision):
        return
    try:
        from ..release.release import export_graphs
    except ImportError as error:
        if precision == "float32" and (folder / PLAIN).is_file():
            return
        how = "to make it from the weights, install vec2slug[export]"
        raise Vec2SlugError(f"expected a graph in {folder}, found none: {how}") from error
    export_graphs(folder)


def read_vectors(path: Path) -> npt.NDArray[np.float32]:
    """Vectors of a ``.npy`` file, left on the disk; the predictor checks them.

    Raises:
        Vec2SlugError: the file is missing, empty, truncated or not a plain numeric array.
    """
    try:
        return np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except FileNotFoundError as error:
        raise Vec2SlugError(f"expected vectors at {path}, found no file") from error
    except (ValueError, EOFError, OSError) as error:
        raise Vec2SlugError(f"expected a .npy array of numbers in {path}, but: {error}") from error


def read_documents(path: Path, *others: str) -> Any:
    """Table of documents with the columns id and text, and those of the others that are there.

    Raises:
        Vec2SlugError: no parquet file with these columns.
    """
    import pandas as pd
    from pyarrow.parquet import read_schema

    try:
        wanted = ["id", "text", *(name for name in others if name in read_schema(path).names)]
        return pd.read_parquet(path, columns=wanted)
    except (OSError, ValueError) as error:
        raise Vec2SlugError(f"expected id and text in {path}, but: {error}") from error


def counting_tokenizer(path: Path | None) -> Path:
    """The tokenizer that counts a document's tokens: MiniLM's, if the user names none."""
    from ..embedding.minilm import model_folder

    return path or model_folder() / "tokenizer.json"


def make_embedder(
    name: str, model: str | None = None, base_url: str | None = None, timeout: float = 60.0
) -> Embedder:
    """Embedder by name: ``minilm`` (local) or ``openai`` (any compatible server)."""
    if name == "minilm":
        from ..embedding.minilm import MiniLMEmbedder

        return MiniLMEmbedder()
    from ..embedding.openai_embedder import OpenAIEmbedder

    return OpenAIEmbedder(
        model=model or "text-embedding-3-small", base_url=base_url, timeout=timeout
    )


def consent(cost: str, yes: bool) -> bool:
    """Say what something will cost, and whether the user agrees to it.

    Raises:
        Vec2SlugError: there is nobody to ask.
    """
    print(cost, file=sys.stderr)
    if yes:
        return True
    if not sys.stdin.isatty():
        raise Vec2SlugError("expected --yes, as there is nobody to ask")
    return input("Go on? [y/N] ").strip().lower() in ("y", "yes")
