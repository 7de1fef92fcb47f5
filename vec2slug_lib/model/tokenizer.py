"""Byte-pair vocabulary over slugs: subwords never cross a hyphen, and every slug survives it.

Pairs are merged as in Sennrich et al. 2016 (doi 10.18653/v1/P16-1162), by the ``tokenizers``
package. The alphabet holds every letter and digit, so that no slug needs ``<unk>``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from string import ascii_lowercase, digits

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor

from ..common.errors import Vec2SlugError
from ..common.files import atomic
from ..common.vocabulary import BOS, EOS, HYPHEN, PAD, SPECIALS, UNK

ALPHABET = tuple(ascii_lowercase + digits)


def train_bpe(slugs: Iterable[str], vocab_size: int = 5000, merged: bool = False) -> Tokenizer:
    """Learn a byte-pair vocabulary from slugs; the same slugs give the same vocabulary.

    Args:
        slugs: Kebab-case slugs, of the training split only.
        vocab_size: Tokens wanted, specials included. A small corpus yields fewer: it runs out of
            pairs to merge. ``Tokenizer.get_vocab_size()`` tells.
        merged: Whether a hyphen is part of the token that begins the word after it, the first
            word's own hyphen included, instead of a token.

    Raises:
        Vec2SlugError: ``vocab_size`` cannot hold the specials and the alphabet.
    """
    if vocab_size < len(SPECIALS) + len(ALPHABET):
        raise Vec2SlugError(
            f"expected a vocabulary of {len(SPECIALS) + len(ALPHABET)} tokens or more "
            f"(specials, letters, digits), got {vocab_size}"
        )
    tokenizer = Tokenizer(models.BPE(unk_token=SPECIALS[UNK]))
    if merged:
        tokenizer.normalizer = normalizers.Prepend("-")
    behaviour = "merged_with_next" if merged else "isolated"
    tokenizer.pre_tokenizer = pre_tokenizers.Split("-", behaviour)
    # A special token is never merged; as first of the alphabet the hyphen keeps its id.
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIALS[:HYPHEN] if merged else SPECIALS),
        initial_alphabet=["-", *ALPHABET] if merged else list(ALPHABET),
        limit_alphabet=len(ALPHABET) + merged,
        show_progress=False,
    )
    tokenizer.train_from_iterator(slugs, trainer)
    return tokenizer


def word_level(vocabulary: Sequence[str]) -> Tokenizer:
    """Make a vocabulary of whole words, in the order given, after the special tokens.

    Hyphens stay tokens of their own, so that one search decodes both kinds of vocabulary.

    Raises:
        Vec2SlugError: a word occurs twice.
    """
    if len(set(vocabulary)) != len(vocabulary):
        raise Vec2SlugError("expected distinct words in the vocabulary, got one twice")
    ids = {token: i for i, token in enumerate([*SPECIALS, *vocabulary])}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=SPECIALS[UNK]))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("-", "isolated")
    return tokenizer


def encode(tokenizer: Tokenizer, slugs: Sequence[str]) -> list[list[int]]:
    """Encode each slug as token ids, without ``<bos>`` and ``<eos>``.

    Raises:
        Vec2SlugError: a slug has a character outside ``a-z``, ``0-9`` and ``-``, or a word that a
            vocabulary of whole words lacks.
    """
    rows = [encoding.ids for encoding in tokenizer.encode_batch(list(slugs))]
    for slug, ids in zip(slugs, rows, strict=True):
        if UNK in ids:
            raise Vec2SlugError(f"expected a slug that the vocabulary can spell, got {slug!r}")
    return rows


def decode(tokenizer: Tokenizer, ids: Iterable[int]) -> str:
    """Decode ids to the slug that they spell, without ``<pad>``, ``<bos>`` and ``<eos>``.

    Raises:
        Vec2SlugError: an id is not in the vocabulary.
    """
    slug = ""
    for i in ids:
        if (token := tokenizer.id_to_token(int(i))) is None:
            raise Vec2SlugError(f"expected token ids below {tokenizer.get_vocab_size()}, got {i}")
        slug += "" if i in (PAD, BOS, EOS) else token
    return slug.removeprefix("-")


def token_strings(tokenizer: Tokenizer) -> list[str]:
    """List all tokens as strings, in the order of their ids."""
    vocab: dict[str, int] = tokenizer.get_vocab()
    return sorted(vocab, key=vocab.__getitem__)


def coverage(lengths: npt.ArrayLike, max_length: int) -> float:
    """Compute the share of slugs that fit a maximum length whole, the closing ``<eos>`` included.

    Args:
        lengths: Content tokens of each slug, ``[N]``.
        max_length: Largest number of targets, ``max_slug_tokens``.
    """
    return float(np.mean(np.asarray(lengths) + 1 <= max_length))


def save_tokenizer(tokenizer: Tokenizer, path: Path | str) -> None:
    """Write the vocabulary in the ``tokenizers`` JSON format, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(tokenizer.to_str(pretty=False), encoding="utf-8")


def load_tokenizer(path: Path | str) -> Tokenizer:
    """Read a vocabulary that `save_tokenizer` (or the study's release) wrote.

    Raises:
        Vec2SlugError: the file is missing, truncated, or its special tokens are not ours.
    """
    path = Path(path)
    if not path.is_file():
        raise Vec2SlugError(f"expected a vocabulary at {path}, found none")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises bare Exception
        raise Vec2SlugError(f"expected tokenizers JSON in {path}, but: {error}") from error
    first = tuple(token_strings(tokenizer)[: len(SPECIALS)])
    if first != SPECIALS:
        raise Vec2SlugError(f"expected {SPECIALS} as the first tokens of {path}, got {first}")
    return tokenizer


def encode_slugs(tokenizer: Tokenizer, slugs: Sequence[str], max_length: int) -> Tensor:
    """Encode slugs as ``<bos>``, their tokens and ``<eos>``, padded and cut: int64 ``[N, T]``."""
    rows = [[BOS, *ids, EOS][:max_length] for ids in encode(tokenizer, slugs)]
    padded = torch.full((len(rows), max(map(len, rows))), PAD)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = torch.tensor(row)
    return padded
