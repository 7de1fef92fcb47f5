"""Plain tools that every room shares; nothing here knows a model, torch or pandas.

What a slug is, what a vector is, how a file is written whole or not at all, where data lie, and how
many pieces of work are spread over threads, processes or a cluster.

In: texts, arrays, paths. Out: checked values, or a `Vec2SlugError` that says what was expected and
what came.
"""

from .errors import Vec2SlugError
from .slugs import is_valid, slugify, words
from .vectors import check_vectors

__all__ = ["Vec2SlugError", "check_vectors", "is_valid", "slugify", "words"]
