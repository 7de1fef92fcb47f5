"""The words of a text as a slug would have them, and runs of them that may be slugs themselves."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from ..common.slugs import repeats, sound_word
from .settings import DecodingConfig

MOST_WORDS = 2000  # of a text that are looked at
TEXT_WORD = re.compile(r"[^\W_]+(?:['’`][^\W_]+)*")
BREAK = re.compile(r"[.!?:;,|()\[\]{}<>\"“”«»\n]")  # between two words: no phrase goes on there

# Auxiliaries and pronouns, which stand in sentences and seldom in slugs.
SPOKEN = frozenset(
    """am are be been being can could did do does had has have having is may might must shall should
    was were will would he her him his i it its me my our she that their them there these they this
    those us we you your""".split()
)
TRAITS = ("run", "spoken", "begins", "ends")  # see `run_traits`


class TextWord(NamedTuple):
    """A word of a text."""

    word: str  # in lower case, a-z and 0-9
    capital: bool  # whether it is written with one
    begins: bool  # whether no phrase goes on from the word before


def text_words(text: str) -> list[TextWord]:
    """Read the words of a text, at most ``MOST_WORDS``; such as have no letter or digit are left.

    They are those of `slugs.slugify`, where words stand apart by more than a dash of print.
    """
    return list(islice(_each_word(text), MOST_WORDS))


def has_words(text: str) -> bool:
    """Tell whether a text has a word that a slug could have; one in Greek letters has none."""
    return next(_each_word(text), None) is not None


def _each_word(text: str) -> Iterator[TextWord]:
    text = unicodedata.normalize("NFC", text)  # an accent of its own would end a word
    end = None
    for match in TEXT_WORD.finditer(text):
        raw = match.group()
        word = re.sub("[^a-z0-9]", "", unicodedata.normalize("NFKD", raw).lower())
        if word:
            begins = end is None or BREAK.search(text, end, match.start()) is not None
            yield TextWord(word, raw[0].isupper(), begins)
            end = match.end()


def runs(
    words: Sequence[TextWord],
    probabilities: Mapping[str, float],
    config: DecodingConfig,
    mean_words: float,
    count: int,
) -> list[str]:
    """Choose the runs of words of a text that are most like its slug, the best first.

    A run lies within a phrase, says nothing twice, does not end in a stopword, and is one that the
    search could have written within its limits. Its worth is the Token F1 to expect, see
    `mbr.expected_f1`.

    Args:
        words: of the text.
        probabilities: of words to be in the slug.
        config: the limits.
        mean_words: words of a true slug.
        count: runs at most; they are distinct.
    """
    worth: dict[str, float] = {}
    for first in range(len(words)):
        parts: list[str] = []
        right = 0.0
        for place in range(first, len(words)):
            word, _, begins = words[place]
            if (begins and place > first) or word in parts:
                break
            if word in config.dropped:
                continue
            parts.append(word)
            right += probabilities.get(word, 0.0)
            if len(parts) > config.max_words:
                break
            if len(parts) >= config.min_words and word not in config.stopwords:
                worth.setdefault("-".join(parts), 2 * right / (len(parts) + mean_words))
    ranked = (run for run in sorted(worth, key=lambda run: -worth[run]) if _fits(run, config))
    return list(islice(ranked, count))


def _fits(run: str, config: DecodingConfig) -> bool:
    """Tell whether a run has few enough characters, says nothing twice, and is of sound words."""
    parts = run.split("-")
    if config.sound_words and any(sound_word(word) != word for word in parts):
        return False
    twice = (repeats(word, parts[:n], config.stopwords) for n, word in enumerate(parts))
    return len(run) <= config.max_chars and not any(twice)


def run_traits(run: str, words: Sequence[TextWord]) -> tuple[float, ...]:
    """Describe a run by ``TRAITS``, each 0 or 1.

    That it is one; whether it has an auxiliary or a pronoun; and whether a phrase of the text
    begins with it, and ends with it, where it stands first.
    """
    parts, every = run.split("-"), [word.word for word in words]
    size = len(parts)
    places = (i for i in range(len(every) - size + 1) if every[i : i + size] == parts)
    first = next(places, None)
    begins = first is not None and words[first].begins
    ends = first is not None and (first + size == len(words) or words[first + size].begins)
    return (1.0, float(not SPOKEN.isdisjoint(parts)), float(begins), float(ends))
