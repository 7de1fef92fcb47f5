"""What every embedder offers, and the two helpers that they share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from ..common.errors import Vec2SlugError
from ..common.vectors import Floats


class Embedder(Protocol):
    """What turns texts into unit vectors."""

    @property
    def name(self) -> str:
        """Name the model and, where it can be chosen, the width: what vectors depend on."""

    @property
    def key(self) -> str:
        """Return its name in files and manifests, see ``registry``."""

    @property
    def dimensions(self) -> int:
        """Return the width of a vector."""

    def batches(self, texts: Sequence[str]) -> Iterator[slice]:
        """Cut ``texts`` into consecutive pieces: for a remote embedder, one request each."""

    def embed(self, texts: Sequence[str]) -> Floats:
        """Embed N texts: unit vectors float32 ``[N, dimensions]``, in their order."""


def check_texts(texts: Sequence[str]) -> None:
    """Check that there is something to embed in every row.

    Raises:
        Vec2SlugError: a text is empty, white space, not a string or not valid Unicode; the message
            names its row.
    """
    for row, text in enumerate(texts):
        if not isinstance(text, str) or not text.strip():
            raise Vec2SlugError(f"expected a text in row {row}, got {text!r}")
        if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
            raise Vec2SlugError(f"expected Unicode text in row {row}, got a lone surrogate in it")


def slices(sizes: Iterable[int], count: int, budget: int) -> Iterator[slice]:
    """Cut rows into consecutive pieces of at most ``count`` rows and at most ``budget`` in size.

    Args:
        sizes: size of each row; a row above the budget makes a piece of its own.
        count: most rows of a piece.
        budget: most that the sizes of a piece add up to.
    """
    start = stop = filled = 0
    for size in sizes:
        if stop > start and (stop - start == count or filled + size > budget):
            yield slice(start, stop)
            start, filled = stop, 0
        stop, filled = stop + 1, filled + size
    if stop > start:
        yield slice(start, stop)
