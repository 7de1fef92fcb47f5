"""From documents to the data set: filters, topics, splits, and spans of text to pretrain on.

Readers take parquet, JSON lines or Markdown; filters keep what has a usable text and a slug that a
person wrote; pairs are dealt to train, val and test by whole topics.

In: documents with addresses, and their vectors. Out: a data folder that `load_dataset` reads, its
funnel and its card. It knows `common` and `embedding`.
"""

from .dataset import Dataset
from .dataset import load as load_dataset

__all__ = ["Dataset", "load_dataset"]
