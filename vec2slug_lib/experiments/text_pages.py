"""Pages whose texts are at hand: those of the data set, and those of sources that are left out.

The texts stay in the corpus, which is not in the repository.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..common.errors import Vec2SlugError
from ..common.neighbours import BLOCK, product_blocks
from ..common.slugs import extract_slug
from ..common.vectors import Floats
from ..data.dataset import SEED, Dataset
from ..data.split import LEFT_OUT


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
        Vec2SlugError: a text is not there.
    """
    ids = rows.pairs["id"]
    wanted = set(ids)
    found = _rows(corpus, ["id", "text"], lambda frame: frame["id"].isin(wanted))
    texts = found.set_index("id")["text"].to_dict()
    if missing := wanted - texts.keys():
        raise Vec2SlugError(
            f"expected the texts of {len(wanted)} pages in {corpus}, {len(missing)} are missing"
        )
    sources, topics = rows.pairs["source"].tolist(), rows.pairs["cluster"].tolist()
    return TextPages(rows.vectors, [texts[each] for each in ids], rows.slugs, sources, topics)


def left_out_pages(
    corpus: Path,
    part: str,
    data: Dataset,
    embed: Callable[[Any], Floats],
    count: int | None = None,
) -> TextPages:
    """Read and embed the pages of sources that no model learns from; see `split.LEFT_OUT`.

    A page has the topic of the nearest page of the data set.

    Args:
        corpus: folder of parquet with ``url, text, source``.
        part: ``val``, to choose by, or ``test``.
        data: the data set.
        embed: unit vectors ``[N, D]`` of N texts.
        count: pages at most, drawn at random; all if None.

    Raises:
        Vec2SlugError: there is none of them.
    """
    sources: Collection[str] = LEFT_OUT[part]
    columns = ["id", "url", "text", "source"]
    found = _rows(corpus, columns, lambda frame: frame["source"].isin(sources))
    slugs = [extract_slug(url)[0] for url in found["url"]]
    found = found.assign(slug=slugs).dropna(subset="slug").sort_values("id")
    if found.empty:
        raise Vec2SlugError(f"expected pages of {', '.join(sources)} in {corpus}, found none")
    if count is not None:
        found = found.sample(min(count, len(found)), random_state=SEED)
    vectors = embed(found["text"].tolist())
    products = product_blocks(vectors, data.vectors, BLOCK, "topics")
    nearest = np.concatenate([block.argmax(axis=1) for _, block in products])
    topics = data.pairs["cluster"].to_numpy()[nearest]
    texts, slugs, named = (found[name].tolist() for name in ("text", "slug", "source"))
    return TextPages(vectors, texts, slugs, named, topics.tolist())


def _rows(
    corpus: Path, columns: list[str], wanted: Callable[[pd.DataFrame], pd.Series]
) -> pd.DataFrame:
    """Read some columns of the wanted rows of all parquet files of a folder."""
    paths = sorted(corpus.glob("*.parquet"))
    if not paths:
        raise Vec2SlugError(f"expected a corpus in {corpus}, found no parquet file")
    frames = (pd.read_parquet(path, columns=columns) for path in paths)
    return pd.concat([frame[wanted(frame)] for frame in frames], ignore_index=True)
