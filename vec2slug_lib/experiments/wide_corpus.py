"""Make the wide corpus: documents with a slug or a title, and their vectors."""

from __future__ import annotations

import torch

from ..common.parquet import open_documents
from ..data.corpus import build
from ..data.wide import wide_folder
from ..embedding.job import embed_documents
from ..embedding.minilm import MiniLMEmbedder
from ..embedding.wordpiece import tokenizer_path
from .table import default_device, multiplies_bfloat16


def make_wide_corpus(source: str, workers: int | None = 1) -> None:
    """Filter a source and embed what is left; what is done already is not done again.

    Products are in bfloat16 where the processor has it: such vectors are learnt from, and no
    result is measured on them.

    Args:
        source: what `readers.open_source` reads.
        workers: shards that are filtered side by side.

    Raises:
        Vec2SlugError: as the corpus pipeline and the embedding job.
    """
    folder, device = wide_folder(), default_device()
    build(source, folder, tokenizer_path(), workers, titles=True)
    ids, texts = open_documents(folder / "documents.parquet")
    narrow = multiplies_bfloat16(device)
    embedder = MiniLMEmbedder(device, torch.bfloat16 if narrow else torch.float32)
    embed_documents(ids, texts, embedder, folder / "vectors.npy")
