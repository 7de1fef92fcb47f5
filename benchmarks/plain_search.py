"""The specified beam search as one would first write it: the other side of the comparison.

One document at a time; every step runs the whole sequences of its beams again; scores and rules are
worked out beam by beam. No code of the library's search is used here, only its settings, and what
it takes for a repeated or a sound word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from vec2slug_lib.common.slugs import repeats, sound_word
from vec2slug_lib.inference.settings import DecodingConfig

PAD, BOS, EOS, UNK, HYPHEN = range(5)
Beam = tuple[list[int], str, float]  # tokens with <bos>, text, log probability
Forward = Callable[[NDArray[np.int64]], NDArray[np.float32]]  # sequences [n, T] to logits [n, T, V]


class PlainSearch:
    """Search with the vocabulary ``strings`` under ``config``."""

    def __init__(self, strings: Sequence[str], config: DecodingConfig) -> None:
        self.strings, self.config = strings, config
        self.lengths = np.array([len(string) for string in strings])
        self.lengths[[EOS, HYPHEN]] = 0
        self.shortest = int(self.lengths[HYPHEN + 1 :].min())

    def slugs(self, forward: Forward, top_k: int = 1) -> list[tuple[str, float]]:
        """Best finished slugs of one document with their scores."""
        pool: dict[str, float] = {}
        mended: dict[str, float] = {}  # for a document for which nothing else fits
        beams: list[Beam] = [([BOS], "", 0.0)]
        while beams:
            logits = forward(np.array([tokens for tokens, _, _ in beams]))[:, -1]
            extensions = []
            for beam, row in zip(beams, logits, strict=True):
                extensions += self.extend(beam, row.astype(np.float64))
            extensions.sort(key=lambda extension: -extension[0])
            for place, (_, beam, token, log_p, forced) in enumerate(extensions):
                if token == EOS and (place < self.config.beam_width or forced):
                    slug = self.sound(beam[1])
                    into = pool if slug == beam[1] else mended
                    into[slug] = max(into.get(slug, -np.inf), self.score(slug, log_p))
            others = [e for e in extensions if e[2] != EOS][: self.config.beam_width]
            beams = [
                ([*tokens, token], text + self.strings[token], log_p)
                for _, (tokens, text, _), token, log_p, _ in others
            ]
            best = sorted(pool.values(), reverse=True)
            bound = max((log_p for _, _, log_p in beams), default=0.0)
            bound += self.config.length_reward * self.config.reward_cap
            if len(best) >= top_k and best[top_k - 1] >= bound:
                break
        return sorted((pool or mended).items(), key=lambda item: -item[1])[:top_k]

    def sound(self, slug: str) -> str:
        """The slug with sound words, if the settings ask for them."""
        return "-".join(map(sound_word, slug.split("-"))) if self.config.sound_words else slug

    def extend(self, beam: Beam, logits: NDArray[np.float64]) -> list[tuple]:
        """The best extensions of a beam: rank, beam, token, log probability, whether forced."""
        tokens, text, log_p = beam
        allowed, forced = self.allowed(text, len(tokens) - 1)
        logits[~allowed] = -np.inf
        logits -= logits.max()
        logits -= np.log(np.exp(logits).sum())
        *before, last = text.split("-")
        again = last and self.config.distinct_words and repeats(last, before, self.config.stopwords)
        grows = allowed[HYPHEN + 1 :].any() and not forced
        if last and grows and (again or self.sound(last) != last):
            logits[[EOS, HYPHEN]] = -np.inf
        if forced:
            best = [EOS]
        else:
            best = list(np.argpartition(-logits, self.config.beam_width)[: self.config.beam_width])
            best = [EOS, *(int(token) for token in best if token != EOS)]
            if len(best) == self.config.beam_width:  # <eos> was among them: one more
                others = logits.copy()
                others[best] = -np.inf
                best.append(int(others.argmax()))
        found = []
        for token in best:
            if logits[token] > -np.inf:
                longer = text if token == EOS else text + self.strings[token]
                count = len([word for word in longer.split("-") if word])
                reward = self.config.length_reward * min(count, self.config.reward_cap)
                total = log_p + logits[token]
                found.append((total + reward, beam, token, total, forced))
        return found

    def allowed(self, text: str, used: int) -> tuple[NDArray[np.bool_], bool]:
        """Tokens [V] that may follow, and whether it is ``<eos>`` because nothing else may."""
        config, pair = self.config, 1 + self.shortest
        opening, count = text == "" or text.endswith("-"), len([w for w in text.split("-") if w])
        tokens_left, chars_left = config.max_tokens - 1 - used, config.max_chars - len(text)
        lawful = np.ones(len(self.strings), bool)
        lawful[[PAD, BOS, UNK]] = False
        lawful[HYPHEN] = not opening and count < config.max_words
        stop = not opening and used >= config.min_tokens and count >= config.min_words
        if config.suppress_eos_after_stopword and text.rpartition("-")[2] in config.stopwords:
            stop = False
        lawful[EOS] = stop
        allowed = lawful.copy()
        missing = max(config.min_words - count - opening, 0)
        room = chars_left - pair * missing if tokens_left - 1 >= 2 * missing else 0
        allowed[HYPHEN + 1 :] &= self.lengths[HYPHEN + 1 :] <= room
        missing = max(config.min_words - count, 1)
        if tokens_left < 2 * missing or chars_left < pair * missing:
            allowed[HYPHEN] = False
        if allowed[HYPHEN] or allowed[HYPHEN + 1 :].any():
            return allowed, False
        lawful[EOS] = True
        return lawful, True

    def score(self, slug: str, log_p: float) -> float:
        """Score of a finished slug."""
        words, config = slug.split("-"), self.config
        score = log_p + config.length_reward * min(len(words), config.reward_cap)
        if words[-1] in config.stopwords:
            score -= config.trailing_stopword_penalty
        content = [word for word in words if word not in config.stopwords]
        return score - config.repeat_penalty * (len(set(content)) < len(content))
