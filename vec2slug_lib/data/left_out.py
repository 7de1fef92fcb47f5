"""Pages of sources that no model learns from: half to choose by, half to be judged by.

They lie in ``data/left_out`` in the form of the data set, where a page's topic is that of the
data set which is nearest to it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ..common.errors import Vec2SlugError
from ..common.workspace import current
from ..embedding.base import Embedder
from .build import write_pairs
from .dataset import Dataset, load
from .split import LEFT_OUT, part_left_out
from .wide import labelled_by_title, nearest_topics

MOST = 3_000  # pages of either half


def left_out_folder() -> Path:
    """Return the folder of the pages of sources that are left out."""
    return current().data / "left_out"


def load_left_out(part: str) -> Dataset:
    """Load the pages to choose by, ``val``, or to be judged by, ``test``.

    Raises:
        Vec2SlugError: a file is missing, truncated or does not belong to the other.
    """
    return load(left_out_folder()).part(part)


def build_left_out(documents: Path, data: Dataset, embedder: Embedder) -> Dataset:
    """Write the folder of pages of sources that are left out; return them.

    Args:
        documents: those of a corpus which has them, as the filters left them.
        data: the data set, for its topics.
        embedder: that of the data set.

    Raises:
        Vec2SlugError: there are no such pages.
    """
    frame = pd.read_parquet(documents)
    frame = frame.assign(split=part_left_out(frame["source"])).dropna(subset="split")
    frame = frame[~labelled_by_title(frame["url"])]
    frame = frame.groupby("split", group_keys=False).head(MOST).reset_index(drop=True)
    if set(frame["split"]) != set(LEFT_OUT):
        raise Vec2SlugError(
            f"expected pages of {', '.join(sum(LEFT_OUT.values(), ()))} in {documents}, "
            "some are missing"
        )
    vectors = embedder.embed(frame["text"].tolist())
    frame["cluster"] = nearest_topics(data, vectors, np.arange(len(frame)))
    folder = left_out_folder()
    folder.mkdir(parents=True, exist_ok=True)
    write_pairs(frame, vectors, folder, data.embedder)
    return load(folder)
