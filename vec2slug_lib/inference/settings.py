"""What a search may do, and what people ask of slugs: lengths, stopwords, no name given twice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Literal

import numpy as np

from ..common.errors import Vec2SlugError
from ..common.slugs import MAX_CHARS, MAX_WORDS, MIN_WORDS, STOPWORDS


@dataclass(frozen=True)
class DecodingConfig:
    """Settings of a search; the defaults are the study's values.

    Attributes:
        beam_width: hypotheses kept per document.
        length_reward: reward r per word, added to the log probability.
        reward_cap: words B above which no further reward is paid.
        min_tokens: content tokens below which <eos> is suppressed.
        min_words: words below which <eos> is suppressed.
        max_words: words after which no further hyphen is allowed.
        max_chars: characters of a slug, at most.
        max_tokens: sequence length of the model; a slug has at most ``max_tokens - 1`` tokens.
        trailing_stopword_penalty: subtracted if the last word is a stopword.
        repeat_penalty: subtracted once if a word that is no stopword repeats.
        suppress_eos_after_stopword: whether a slug may end in a stopword only at the cap.
        distinct_words: whether a word that is no stopword may stand but once, with or without an
            s at its end, or joined to another; only where nothing else fits does it stand again.
        sound_words: whether words that are glued from themselves, and identifiers, may not be
            completed; a document for which nothing else fits gets `slugs.sound_word` of them.
        dropped: words that are left out of a finished slug, and do not count for its words.
        stopping: "optimal" stops when no active hypothesis can enter the best ``top_k`` any more
            (Huang et al. 2017); "exhaustive" runs to the cap; "first_k" stops when ``beam_width``
            distinct slugs are finished.

    Raises:
        Vec2SlugError: a setting is out of its range.
    """

    beam_width: int = 4
    length_reward: float = 1.5
    reward_cap: int = 6
    min_tokens: int = 3
    min_words: int = MIN_WORDS
    max_words: int = MAX_WORDS
    max_chars: int = MAX_CHARS
    max_tokens: int = 24
    trailing_stopword_penalty: float = 1.0
    repeat_penalty: float = 2.0
    suppress_eos_after_stopword: bool = True
    distinct_words: bool = False
    sound_words: bool = False
    stopping: Literal["optimal", "exhaustive", "first_k"] = "optimal"
    stopwords: frozenset[str] = STOPWORDS
    dropped: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Refuse settings under which no slug exists or the stopping bound does not hold."""
        shortest = max(2 * self.min_words - 1, self.min_tokens)
        rewards = (self.length_reward, self.trailing_stopword_penalty, self.repeat_penalty)
        if self.beam_width < 1 or self.reward_cap < 0 or not all(0 <= x < np.inf for x in rewards):
            raise Vec2SlugError(f"expected beam_width >= 1 and finite rewards >= 0, got {self}")
        if not 1 <= self.min_words <= self.max_words or self.max_chars < 1:
            raise Vec2SlugError(
                f"expected 1 <= min_words <= max_words and max_chars >= 1, got {self}"
            )
        if self.max_tokens - 1 < shortest:
            raise Vec2SlugError(f"expected max_tokens > {shortest} for a slug to fit, got {self}")
        if self.stopping not in ("optimal", "exhaustive", "first_k"):
            raise Vec2SlugError(f"expected stopping optimal, exhaustive or first_k, got {self}")


@dataclass(frozen=True)
class SlugSettings:
    """What a user asks of slugs; the model's own limits where nothing is asked.

    Attributes:
        max_chars: characters of a slug, at most.
        max_words: words, at most.
        min_words: words, at least.
        stopwords: ``"keep"``; ``"drop"``, to leave out those of the model; or words to leave out.
        unique: no two rows of a job get the same slug: a row whose slug another has gets its next
            candidate, and only where all are gone its best one with a short hash.
        taken: slugs that are given already, which no row gets.

    Raises:
        Vec2SlugError: a setting is out of its range.
    """

    max_chars: int | None = None
    max_words: int | None = None
    min_words: int | None = None
    stopwords: Literal["keep", "drop"] | Iterable[str] = "keep"
    unique: bool = False
    taken: frozenset[str] = field(default=frozenset(), repr=False)

    def __post_init__(self) -> None:
        """Refuse what is no limit, and words that are none."""
        for name in ("max_chars", "max_words", "min_words"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise Vec2SlugError(f"expected {name} of 1 or more, got {value}")
        if (self.min_words or 1) > (self.max_words or np.inf):
            limits = f"{self.min_words} and {self.max_words}"
            raise Vec2SlugError(f"expected min_words of at most max_words, got {limits}")
        if isinstance(self.stopwords, str) and self.stopwords not in ("keep", "drop"):
            expected = "expected stopwords to be 'keep', 'drop' or words"
            raise Vec2SlugError(f"{expected}, got {self.stopwords!r}")

    @property
    def distinct(self) -> bool:
        """Tell whether what a row gets depends on what others have."""
        return self.unique or bool(self.taken)

    def applied(self, config: DecodingConfig) -> DecodingConfig:
        """Return the settings of a search with what is asked here.

        Raises:
            Vec2SlugError: so many words do not fit into what the model can write.
        """
        max_words = self.max_words or max(config.max_words, self.min_words or 0)
        min_words = self.min_words or min(config.min_words, max_words)
        return replace(
            config,
            max_chars=self.max_chars or config.max_chars,
            max_words=max_words,
            min_words=min_words,
            # A model's least number of tokens goes with its least number of words.
            min_tokens=min(config.min_tokens, 2 * min_words - 1),
            dropped=self._dropped(config),
        )

    def description(self) -> dict[str, Any]:
        """Return what slugs depend on of this, as JSON."""
        words = self.stopwords if isinstance(self.stopwords, str) else sorted(set(self.stopwords))
        limits = {name: getattr(self, name) for name in ("max_chars", "max_words", "min_words")}
        taken = sha256("\n".join(sorted(self.taken)).encode()).hexdigest() if self.taken else ""
        return {**limits, "stopwords": words, "unique": self.unique, "taken": taken}

    def _dropped(self, config: DecodingConfig) -> frozenset[str]:
        if not isinstance(self.stopwords, str):
            return frozenset(self.stopwords)
        return config.stopwords if self.stopwords == "drop" else frozenset()
