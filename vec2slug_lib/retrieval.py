"""An index of pages with known slugs: what their words say about the slug of a new page.

A decoder works without it. Whoever has slugs already, the training set's or a site's own, lets the
nearest of them have a say in which words are likely.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .baselines import Vectors, neighbours, say
from .risk import slug_chances

if TYPE_CHECKING:
    from .dataset import Dataset

# Chosen on validation rows; a neighbour's say falls with distance as the cosine to this power.
NEIGHBOURS, SHARPNESS = 100, 8


@dataclass(frozen=True)
class Index:
    """Unit vectors ``[T, D]`` of pages, and their T slugs."""

    vectors: Vectors
    slugs: Sequence[str]

    @classmethod
    def of(cls, pages: Dataset) -> Index:
        """Index of the pages of a data set, such as its training split."""
        return cls(pages.vectors, pages.pairs["slug"].tolist())

    def chances(self, queries: Vectors) -> list[dict[str, float]]:
        """For each query ``[N, D]`` the words of the slugs nearby, each with its share of the say.

        Raises:
            Vec2SlugError: queries of another width, or an empty index.
        """
        return [
            slug_chances(slugs, say(cosines, SHARPNESS))
            for slugs, cosines in neighbours(self.vectors, self.slugs, queries, NEIGHBOURS)
        ]
