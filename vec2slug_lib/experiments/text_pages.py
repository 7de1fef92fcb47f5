"""Pages whose texts are at hand: those of the data set, and those of sources that are left out.

The texts stay in the corpus, which is not in the repository.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from ..common.errors import Vec2SlugError
from ..common.vectors import Floats
from ..data.dataset import Dataset


class TextPages(NamedTuple):
    """N pages with their texts; slugs are those that people gave them."""

    vectors: Floats  # [N, D], unit rows
    texts: Sequence[str]
    slugs: Sequence[str]
    sources: Sequence[str]
    topics: Sequence[int]  # of the data set


def pages_of(rows: Dataset, corpus: Path) -> TextPages:
    """Find the texts of rows of the data set in a folder of parquet files, by their ids.

    Raises:
        Vec2SlugError: there is no such file, or a text is not there.
    """
    paths = sorted(corpus.glob("*.parquet"))
    if not paths:
        raise Vec2SlugError(f"expected a corpus in {corpus}, found no parquet file")
    ids = rows.pairs["id"]
    texts: dict[str, str] = {}
    for path in paths:
        frame = pd.read_parquet(path, columns=["id", "text"]).set_index("id")
        texts |= frame.loc[frame.index.isin(ids), "text"].to_dict()
    if missing := set(ids) - texts.keys():
        raise Vec2SlugError(
            f"expected the texts of {len(ids)} pages in {corpus}, {len(missing)} are missing"
        )
    sources, topics = rows.pairs["source"].tolist(), rows.pairs["cluster"].tolist()
    return TextPages(rows.vectors, [texts[each] for each in ids], rows.slugs, sources, topics)
