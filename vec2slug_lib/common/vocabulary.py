"""The vocabulary of a slug decoder: special tokens in the study's order, then subwords."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .errors import Vec2SlugError
from .vectors import Floats, Ints

SPECIALS = ("<pad>", "<bos>", "<eos>", "<unk>", "-")
PAD, BOS, EOS, UNK, HYPHEN = range(len(SPECIALS))
FIRST = len(SPECIALS)  # the first subword
NEVER = 1 << 20  # the "length" of a token that no slug may hold


def is_subword(token: str) -> bool:
    """Tell whether a slug may hold a token: letters a to z and digits, at least one."""
    return token.isascii() and token.isalnum() and token == token.lower()


@dataclass(frozen=True)
class Vocabulary:
    """The V tokens of a decoder, and what a search needs to know of them."""

    strings: Sequence[str]
    ids: Mapping[str, int]
    lengths: Ints  # [V] characters that each adds to a slug
    banned: Floats  # [V - 5] minus infinity at subwords that no slug may hold, else 0
    shortest: int  # characters of a subword
    longest: int

    @classmethod
    def of(cls, strings: Sequence[str] | Vocabulary) -> Vocabulary:
        """Work out what a search needs of V strings; a vocabulary is returned as it is.

        Raises:
            Vec2SlugError: the special tokens do not come first, or no token is a subword.
        """
        if isinstance(strings, Vocabulary):
            return strings
        if tuple(strings[:5]) != SPECIALS:
            raise Vec2SlugError(f"expected a vocabulary beginning {SPECIALS}, got {strings[:5]}")
        lengths = np.array([len(s) if is_subword(s) else NEVER for s in strings], np.int64)
        subwords = lengths[lengths < NEVER]
        if not len(subwords):
            raise Vec2SlugError("expected subwords of a-z and 0-9 in the vocabulary, got none")
        shortest, longest = int(subwords.min()), int(subwords.max())
        banned = np.where(lengths[FIRST:] == NEVER, -np.inf, 0).astype(np.float32)
        ids = {token: i for i, token in enumerate(strings)}
        return cls(strings, ids, lengths, banned, shortest, longest)
