"""What the tests of decoding share: made-up models, and beam search written out plainly."""

from __future__ import annotations

import math
from itertools import groupby, pairwise

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from vec2slug_lib.common.slugs import DOUBLED_WORDS, STOPWORDS
from vec2slug_lib.common.vocabulary import EOS, HYPHEN, SPECIALS
from vec2slug_lib.inference.settings import DecodingConfig

SUBWORDS = ["a", "the", "of", "b", "ab", "c", "cat", "dog7", "9", "s", "x" * 20, "y" * 45]
SUBWORDS += ["ma", "cats", "1f3", "b7k2"]  # what makes words glued from themselves, identifiers


class HistoryStepper:
    """A model given as a function of document and token history to logits."""

    def __init__(self, model):
        self.model = model

    def start(self, embeddings):
        self.rows = [(int(row[0]), ()) for row in embeddings]
        return self.logits()

    def step(self, parents, tokens):
        self.rows = [
            (self.rows[parent][0], (*self.rows[parent][1], token))
            for parent, token in zip(parents.tolist(), tokens.tolist(), strict=True)
        ]
        return self.logits()

    def logits(self):
        return np.array([self.model(*row) for row in self.rows], dtype=np.float32)


def documents(count):
    return np.arange(count, dtype=np.float32)[:, None]


def random_model(seed, size, scale, eos, hyphen):
    """Logits drawn afresh for every history."""

    def model(document, tokens):
        logits = scale * np.random.default_rng([seed, document, *tokens]).standard_normal(size)
        logits[[EOS, HYPHEN]] += (eos, hyphen)
        return logits.astype(np.float32)

    return model


# --- the plain version: one document, Python floats, no code shared with the library ---


def word_list(text):
    return [part for part in text.split("-") if part]


def can_be_completed(text, used, shortest, config):
    """Append the cheapest missing words one by one and look whether limits are kept."""
    while len(word_list(text)) < config.min_words or text.endswith("-"):
        text, used = text + (shortest if text.endswith("-") or not text else "-"), used + 1
    return used <= config.max_tokens - 1 and len(text) <= config.max_chars


def usable(string):
    return bool(string) and all(c in "abcdefghijklmnopqrstuvwxyz0123456789" for c in string)


def shortest_subword(strings):
    return min(filter(usable, strings), key=len)


def grammar(text, used, strings, config):
    in_word = bool(text) and not text.endswith("-")
    count = len(word_list(text))
    for token, string in enumerate(strings):
        if string == "<eos>":
            trailing = in_word and word_list(text)[-1] in STOPWORDS
            fine = in_word and used >= config.min_tokens and count >= config.min_words
            if fine and not (trailing and config.suppress_eos_after_stopword):
                yield token
        elif string == "-":
            if in_word and count < config.max_words:
                yield token
        elif usable(string):
            yield token


def alike(word, other):
    return word == other or word + "s" == other or word == other + "s"


def said_before(text):
    *before, last = text.split("-")
    if not last or last in STOPWORDS:
        return False
    if any(alike(last, word) for word in before):
        return True
    for a, b in ((last[:cut], last[cut:]) for cut in range(3, len(last) - 2)):
        if a in before and any(alike(b, word) for word in before):
            return True
    for whole in before:
        if len(last) >= 3 and len(whole) - len(last) >= 3:
            if whole.startswith(last) and whole.removeprefix(last) in before:
                return True
            if whole.endswith(last) and whole.removesuffix(last) in before:
                return True
    return False


def hard_to_say(letters):
    in_a_row = 0
    for letter in letters:
        in_a_row = 0 if letter in "aeiouyh" else in_a_row + 1
        if in_a_row == 4:
            return True
    return False


def looks_like_an_identifier(word):
    runs = ["".join(run) for _, run in groupby(word, str.isdigit)]
    letter_runs = [run for run in runs if not run[0].isdigit()]
    digits = sum(len(run) for run in runs) - sum(map(len, letter_runs))
    if len(word) < 8 or len(runs) == 1:
        return False
    if runs[0][0].isdigit() and len(runs) == 3 and letter_runs[0] in ("feb", "dec"):
        return False
    sides = word.rstrip("abcdefghijklmnopqrstuvwxyz").split("x")  # of 20x30, 20x30cm
    if len(sides) > 1 and all(side.isdigit() for side in sides):
        return False
    if digits >= 10:
        return True
    if set(word) <= set("0123456789abcdef") and digits >= 3 and len(runs) >= 3:
        return True
    if any(
        len(run) >= 4 and set(run) & set("aeiouy") and not hard_to_say(run) for run in letter_runs
    ):
        return False
    if len(word) >= 12 and len(runs) >= 3 and digits >= 2 and any(map(hard_to_say, letter_runs)):
        return True
    return len(word) >= 10 and len(runs) >= 6


def sound(word):
    """The word if a slug may hold it; else one copy of what it is glued from, or its letters."""
    if looks_like_an_identifier(word):
        return sound("".join(c for c in word if not c.isdigit()))
    if word in DOUBLED_WORDS:
        return word
    # From the first letter, with no rest or with one; then up to the last letter.
    forms = [(0, 2, False), (0, 3, True), *((start, 4, False) for start in range(1, len(word)))]
    for start, least, rests in forms:
        for size in range(least, (len(word) - start) // 2 + 1):
            unit, rest, copies = word[start : start + size], word[start:], 0
            while rest.startswith(unit):
                rest, copies = rest[size:], copies + 1
            if copies < 2 or bool(rest) != rests:
                continue
            known = [entry for entry in DOUBLED_WORDS if word.startswith(entry)]
            spared = copies == 2 and start == 0 and any(len(e) >= 2 * size for e in known)
            if not spared and not unit.isdigit():
                return sound(word[:start] + unit + rest)
            break  # of each form the shortest unit counts
    return word


def final_score(slug, log_p, config):
    parts = word_list(slug)
    score = log_p + config.length_reward * min(len(parts), config.reward_cap)
    if parts[-1] in STOPWORDS:
        score -= config.trailing_stopword_penalty
    if any(part not in STOPWORDS and parts.count(part) > 1 for part in parts):
        score -= config.repeat_penalty
    return score


def plain_search(model, strings, config, top_k):
    """(slug, score) list, steps, and the narrowest margin by which anything was decided."""
    shortest = shortest_subword(strings)
    width, margin, pool, mended, steps = config.beam_width, math.inf, {}, {}, 0
    beams = [((), 0.0)]
    while beams:
        steps += 1
        extensions = []
        for place, (tokens, log_p) in enumerate(beams):
            text, used = "".join(strings[t] for t in tokens), len(tokens)
            lawful = list(grammar(text, used, strings, config))
            allowed = [
                t
                for t in lawful
                if t == EOS or can_be_completed(text + strings[t], used + 1, shortest, config)
            ]
            forced = all(t == EOS for t in allowed)
            if forced:
                allowed = sorted({*lawful, EOS})
            logits = [float(x) for x in model(tokens)]
            top = max(logits[t] for t in allowed)
            norm = top + math.log(sum(math.exp(logits[t] - top) for t in allowed))
            grows = not forced and any(t not in (EOS, HYPHEN) for t in allowed)
            last = text.rpartition("-")[2]
            banned = (config.distinct_words and said_before(text)) or (
                config.sound_words and sound(last) != last
            )
            for t in [EOS] if forced else allowed:
                if banned and grows and t in (EOS, HYPHEN):
                    continue
                longer = text if t == EOS else text + strings[t]
                total = log_p + logits[t] - norm
                reward = config.length_reward * min(len(word_list(longer)), config.reward_cap)
                extensions.append((-(total + reward), place, t, (*tokens, t), total, forced))
        extensions.sort(key=lambda e: e[:3])
        others = [e for e in extensions if e[2] != EOS]
        for ranked in (extensions, others):
            if len(ranked) > width:
                margin = min(margin, ranked[width][0] - ranked[width - 1][0])
        for place, (_, _, token, tokens, total, forced) in enumerate(extensions):
            if token == EOS and (place < width or forced):
                text = slug = "".join(strings[t] for t in tokens[:-1])
                if config.sound_words:
                    slug = "-".join(sound(word) for word in text.split("-"))
                into = pool if slug == text else mended
                into[slug] = max(into.get(slug, -math.inf), final_score(slug, total, config))
        beams = [(tokens, total) for _, _, _, tokens, total, _ in others[:width]]
        ranking = sorted(pool.values(), reverse=True)
        if config.stopping == "first_k" and len(pool) >= width:
            break
        if config.stopping == "optimal" and beams and len(pool) >= top_k:
            bound = max(total for _, total in beams) + config.length_reward * config.reward_cap
            margin = min(margin, abs(ranking[top_k - 1] - bound))
            if ranking[top_k - 1] >= bound:
                break
    pool = pool or mended
    ranking = sorted(pool.values(), reverse=True)
    margin = min([margin, *(a - b for a, b in pairwise(ranking))])
    return sorted(pool.items(), key=lambda item: -item[1])[:top_k], steps, margin


# --- strategies ---


@st.composite
def configs(draw):
    least = draw(st.integers(1, 4))
    cap = draw(st.integers(2 * least - 1, 15))
    return DecodingConfig(
        beam_width=draw(st.integers(1, 5)),
        length_reward=draw(st.sampled_from([0.0, 0.5, 1.5, 4.0])),
        reward_cap=draw(st.integers(0, 7)),
        min_tokens=draw(st.integers(0, cap)),
        min_words=least,
        max_words=draw(st.integers(least, 8)),
        max_chars=draw(st.sampled_from([80, 40, 16])),
        max_tokens=cap + 1,
        trailing_stopword_penalty=draw(st.sampled_from([0.0, 1.0])),
        repeat_penalty=draw(st.sampled_from([0.0, 2.0])),
        suppress_eos_after_stopword=draw(st.booleans()),
        distinct_words=draw(st.booleans()),
        sound_words=draw(st.booleans()),
        stopping=draw(st.sampled_from(["optimal", "exhaustive", "first_k"])),
    )


@st.composite
def vocabularies(draw):
    """Specials, usable subwords (some spell the same text) and tokens no slug may hold."""
    subwords = draw(st.lists(st.sampled_from(SUBWORDS), min_size=1, max_size=9, unique=True))
    assume(min(map(len, subwords)) <= 3)
    return [*SPECIALS, *subwords, *draw(st.lists(st.sampled_from(["", "A", "é", "x-y", "a\n"])))]


@st.composite
def models(draw, size):
    return random_model(
        seed=draw(st.integers(0, 10**6)),
        size=size,
        scale=draw(st.sampled_from([0.3, 1.0, 3.0])),
        eos=draw(st.sampled_from([-3.0, 0.0, 3.0])),
        hyphen=draw(st.sampled_from([-3.0, 0.0, 3.0])),
    )
