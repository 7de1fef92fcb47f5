"""An index of pages with known slugs: what their words say about the slug of a new page.

A decoder works without it. Whoever has slugs already, the training set's or a site's own, lets the
nearest of them have a say in which words are likely.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..common.neighbours import neighbours, say
from ..common.vectors import Floats
from .mbr import slug_chances

# Chosen on validation rows; a neighbour's say falls with distance as the cosine to this power.
NEIGHBOURS, SHARPNESS = 100, 8


@dataclass(frozen=True)
class Index:
    """Unit vectors ``[T, D]`` of pages, and their T slugs."""

    vectors: Floats
    slugs: Sequence[str]

    def chances(self, queries: Floats) -> list[dict[str, float]]:
        """For each query ``[N, D]`` the words of the slugs nearby, each with its share of the say.

        Raises:
            Vec2SlugError: queries of another width, or an empty index.
        """
        return [
            slug_chances(slugs, say(cosines, SHARPNESS))
            for slugs, cosines in neighbours(self.vectors, self.slugs, queries, NEIGHBOURS)
        ]
