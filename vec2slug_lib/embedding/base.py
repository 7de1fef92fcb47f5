"""What every embedder offers, and the helpers that they share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
        """Embed N texts: unit vectors float32 ``[N, dimensions]``, in their order.

        Raises:
            TextsRefused: some texts have no vector, by their own fault; it holds all others.
        """


class TextsRefused(Vec2SlugError):
    """Some texts have no vector, though the embedder works.

    Attributes:
        vectors: float32 ``[N, dimensions]``, NaN where there is none.
        reasons: why, by row.
    """

    def __init__(self, vectors: Floats, reasons: Mapping[int, str]) -> None:
        self.vectors, self.reasons = vectors, dict(reasons)
        row = min(reasons)
        more = f" ({len(reasons)} such rows)" if len(reasons) > 1 else ""
        super().__init__(f"expected a vector of row {row}, but {reasons[row]}{more}")


def text_fault(text: object) -> str:
    """Say what keeps a text from being embedded; an empty string if nothing does."""
    if not isinstance(text, str):
        return f"is no text but {text!r:.40}"
    if not text.strip():
        return f"is empty: {text!r:.40}"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "is not Unicode: it holds a lone surrogate"
    return ""


def check_texts(texts: Sequence[str]) -> None:
    """Check that there is something to embed in every row.

    Raises:
        Vec2SlugError: a text is empty, white space, not a string or not valid Unicode; the message
            names its row.
    """
    for row, text in enumerate(texts):
        if fault := text_fault(text):
            raise Vec2SlugError(f"expected a text in row {row}, but it {fault}")


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
