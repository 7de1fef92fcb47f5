"""An index of pages with known slugs, whose words are evidence for the slug of a new page.

A decoder works without it. Whoever has slugs already, the training set's or a site's own, makes the
words of the nearest of them more probable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..common.neighbours import neighbours, similarity_weights
from ..common.vectors import Floats
from .mbr import slug_word_probabilities

# Chosen on validation rows; a neighbour's weight is its cosine to this power.
NEIGHBOURS, SHARPNESS = 100, 8


@dataclass(frozen=True)
class Index:
    """Pages with known slugs."""

    vectors: Floats  # [T, D], unit rows
    slugs: Sequence[str]  # T
    embedder: str = ""  # key of the vectors' embedder, if it is known

    def word_probabilities(self, queries: Floats) -> list[dict[str, float]]:
        """Weigh the words of the nearest slugs, for each query ``[N, D]``.

        Raises:
            Vec2SlugError: queries of another width, or an empty index.
        """
        return [
            slug_word_probabilities(slugs, similarity_weights(cosines, SHARPNESS))
            for slugs, cosines in neighbours(self.vectors, self.slugs, queries, NEIGHBOURS)
        ]
