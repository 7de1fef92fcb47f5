"""Beam search over a slug decoder: every constraint, length rewards and optimal stopping.

numpy only: PyTorch, ONNX and test models stand behind the `Stepper` protocol. The search runs a
chunk of documents side by side, their hypotheses one batch of the stepper; a document that is done
leaves the batch. What a document gets depends on neither its neighbours nor the chunk size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..common.errors import Vec2SlugError
from ..common.slugs import MAX_WORDS, repeats, sound_word, words
from ..common.vectors import Bools, Doubles, Floats, Ints
from ..common.vocabulary import EOS, FIRST, HYPHEN, Vocabulary
from .scores import Scores, best_subwords, blocks, log_sum_exp, place, scores_of
from .settings import DecodingConfig

# Sees what a step leaves: unfinished slugs with log probabilities, finished slugs a document.
Watch = Callable[[Sequence[str], Doubles, Sequence[Mapping[str, float]]], object]


class Stepper(Protocol):
    """A decoder that goes on by one token at a time and remembers its last batch of rows."""

    def start(self, embeddings: Floats) -> Floats | Scores:
        """Begin a batch: float32 [N, D] vectors to logits [N, V] after the prefix and <bos>."""

    def step(self, parents: Ints, tokens: Ints) -> Floats | Scores:
        """Append a token to each row and return the logits [M, V] that follow, or their scores.

        Row i of the new batch continues row ``parents[i]`` of the previous batch with
        ``tokens[i]``; rows may be dropped, duplicated and reordered.
        """


class Candidate(NamedTuple):
    """A finished slug and its score: log probability plus length reward minus penalties."""

    slug: str
    score: float


class Beams(NamedTuple):
    """What a search of N documents comes to."""

    candidates: list[list[Candidate]]  # of each document, best first
    steps: Ints  # [N] of the decoder


def greedy(
    stepper: Stepper,
    embeddings: Floats,
    token_strings: Sequence[str],
    config: DecodingConfig | None = None,
) -> list[str]:
    """Take the most probable allowed token at each step, with no reward: a slug a document."""
    config = replace(config or DecodingConfig(), beam_width=1, length_reward=0, stopping="first_k")
    beams = search(stepper, embeddings, token_strings, config)
    return [candidates[0].slug for candidates in beams.candidates]


def search(
    stepper: Stepper,
    embeddings: Floats,
    token_strings: Sequence[str] | Vocabulary,
    config: DecodingConfig | None = None,
    top_k: int = 1,
    chunk_size: int = 128,
    progress: Callable[[int], object] | None = None,
    watch: Watch | None = None,
) -> Beams:
    """Search slugs with a beam and optimal stopping (Huang et al. 2017, 10.18653/v1/D17-1227).

    Every document gets a candidate, and every candidate is kebab-case, has ``min_words`` to
    ``max_words`` words and at most ``max_chars`` characters: where the token or character budget
    just suffices for the words still missing, whatever would overspend it is banned. Where words
    are dropped and budgets end, fewer may remain.

    Args:
        stepper: the decoder.
        embeddings: document vectors, float32 [N, D].
        token_strings: the vocabulary, V strings, the five special tokens first; or what
            `Vocabulary.of` has made of them, for many searches.
        config: decoding settings; the project's defaults if None.
        top_k: candidates returned per document (fewer if fewer distinct ones finish).
        chunk_size: documents searched side by side; bounds the memory, not the result.
        progress: called with the number of documents just done, e.g. ``tqdm(...).update``.
        watch: called after each step of a chunk.

    Returns:
        Candidates per document, distinct and best first, and decoder steps per document.

    Raises:
        Vec2SlugError: malformed vectors or vocabulary, ``top_k`` or ``chunk_size`` below 1, or a
            stepper whose logits are not finite or not [rows, V].
    """
    config = config or DecodingConfig()
    embeddings = np.asarray(embeddings, dtype=np.float32)
    if embeddings.ndim != 2:
        raise Vec2SlugError(f"expected vectors of shape [N, D], got {embeddings.shape}")
    if top_k < 1 or chunk_size < 1:
        raise Vec2SlugError(f"expected top_k, chunk_size >= 1, got {top_k} and {chunk_size}")
    vocabulary = Vocabulary.of(token_strings)
    if config.min_words * (vocabulary.shortest + 1) - 1 > config.max_chars:
        wanted = f"{config.min_words} words that fit in {config.max_chars} characters"
        raise Vec2SlugError(f"expected tokens for {wanted}, the shortest has {vocabulary.shortest}")
    candidates: list[list[Candidate]] = []
    steps = []
    for begin in range(0, len(embeddings), chunk_size):
        chunk = _Search(vocabulary, config, top_k, len(embeddings[begin : begin + chunk_size]))
        chunk.run(stepper, embeddings[begin : begin + chunk_size], watch)
        pools = zip(chunk.pools, chunk.spares, strict=True)
        candidates += [_best(pool or spare, top_k) for pool, spare in pools]
        steps.append(chunk.steps)
        if progress:
            progress(len(chunk.pools))
    return Beams(candidates, np.concatenate(steps) if steps else np.zeros(0, np.int64))


class _Allowed(NamedTuple):
    """What may follow each of M rows."""

    hyphen: Bools
    eos: Bools
    char_budget: Ints  # characters that a subword may have; 0 where none may follow
    forced: Bools  # where nothing but <eos> is left


class _Extensions(NamedTuple):
    """E one-token extensions of the rows of a step."""

    row: Ints
    token: Ints
    log_p: Doubles
    rank: Doubles

    def take(self, index: Ints | Bools) -> _Extensions:
        """Return some of them, in the order of the index."""
        row, token, log_p, rank = self
        return _Extensions(row[index], token[index], log_p[index], rank[index])


class _Search:
    """The state of one chunk: rows (hypotheses) grouped by document, and finished slugs."""

    def __init__(self, vocabulary: Vocabulary, config: DecodingConfig, top_k: int, n: int) -> None:
        self.vocabulary, self.config, self.top_k = vocabulary, config, top_k
        self.texts = [""] * n  # one a row
        self.log_p = np.zeros(n)  # [rows]
        self.owner = np.arange(n)  # [rows], ascending
        self.words_begun = np.zeros(n, np.int64)  # [rows] words begun
        self.at_word_start = np.ones(n, np.bool_)  # [rows] whether a word begins next
        self.chars = np.zeros(n, np.int64)  # [rows]
        self.pools: list[dict[str, float]] = [{} for _ in range(n)]
        self.spares: list[dict[str, float]] = [{} for _ in range(n)]  # slugs that had to be mended
        self.steps = np.zeros(n, np.int64)

    def run(self, stepper: Stepper, embeddings: Floats, watch: Watch | None = None) -> None:
        """Search until no row is left; fills ``pools`` and ``steps``."""
        # Taken out before the next come, so that two steps' logits are never in memory together.
        last = [stepper.start(embeddings)]
        for length in range(self.config.max_tokens):
            self.steps[self.owner] = length + 1
            survivors = self._select(*self._extend(self._scores(last.pop()), length))
            if watch:
                watch(self.texts, self.log_p, self.pools)
            if not len(survivors.row):
                break
            last.append(stepper.step(survivors.row, survivors.token))

    def _scores(self, logits: Floats | Scores) -> Scores:
        """Check a step's logits, and return their scores, one row a hypothesis."""
        banned = self.vocabulary.banned
        if isinstance(logits, Scores):
            parts: Sequence[Any] = (logits.eos, logits.hyphen, logits.total)
            if all(np.isfinite(part).all() for part in parts):
                if not banned.any():
                    return logits
                subwords = logits.all_subwords(np.arange(len(self.texts))) + banned
                return scores_of(logits.eos, logits.hyphen, subwords, self.config.beam_width)
        else:
            expected = (len(self.texts), len(self.vocabulary.strings))
            logits = np.asarray(logits, dtype=np.float32)
            if logits.shape != expected:
                raise Vec2SlugError(f"expected logits of shape {expected}, got {logits.shape}")
            if all(np.isfinite(block).all() for block in blocks(logits)):
                eos, hyphen, subwords = logits[:, EOS], logits[:, HYPHEN], logits[:, FIRST:]
                return scores_of(eos, hyphen, subwords + banned, self.config.beam_width)
        raise Vec2SlugError("expected finite logits, got NaN or infinity from the decoder")

    def _extend(self, scores: Scores, length: int) -> tuple[_Extensions, Bools]:
        """List all allowed <eos> and hyphens and the best subwords; tell which <eos> are forced."""
        allowed, config = self._allowed(length), self.config
        subwords, best, tokens = self._subwords(scores, allowed)
        never = np.float32(-np.inf)
        eos = np.where(allowed.eos, scores.eos, never)
        hyphen = np.where(allowed.hyphen, scores.hyphen, never)
        normaliser = np.logaddexp(np.logaddexp(eos, hyphen, dtype=np.float64), subwords)
        if config.distinct_words or config.sound_words:
            closed = self._closed(allowed)
            eos[closed] = hyphen[closed] = never  # and no other token gains by it
        hyphen[allowed.forced], best[allowed.forced] = never, never
        logits = np.column_stack([eos, hyphen, best])
        row, column = np.nonzero(logits > never)
        log_p = logits[row, column] - normaliser[row] + self.log_p[row]
        token = np.column_stack([np.full((len(eos), 2), (EOS, HYPHEN)), tokens])[row, column]
        # Within a word nothing changes the number of words; where one opens, every token does.
        counted = np.minimum(self.words_begun + self.at_word_start, config.reward_cap)[row]
        rank = log_p + config.length_reward * counted
        return _Extensions(row, token, log_p, rank), allowed.forced

    def _subwords(self, scores: Scores, allowed: _Allowed) -> tuple[Doubles, Floats, Ints]:
        """Return log-sum-exp [M] of the subwords that fit, the best of them, and their tokens."""
        total, best, tokens = scores.total.astype(np.float64), scores.best.copy(), scores.tokens
        tight = np.flatnonzero(allowed.char_budget < self.vocabulary.longest)
        if len(tight):
            lengths = self.vocabulary.lengths[FIRST:]
            fits = lengths <= allowed.char_budget[tight, None]
            logits = np.where(fits, scores.all_subwords(tight), np.float32(-np.inf))
            best[tight], few = best_subwords(logits, best.shape[1])
            tokens = tokens.copy()
            total[tight], tokens[tight] = log_sum_exp(logits), few
        return total, best, tokens

    def _allowed(self, length: int) -> _Allowed:
        """Decide by grammar and budget what may follow M rows of ``length`` tokens each."""
        hyphen, eos = self._by_grammar(length)
        hyphen_fits, char_budget = self._by_budget(length)
        forced = ~(hyphen & hyphen_fits) & (char_budget < self.vocabulary.shortest)
        # A forced <eos> is charged its probability as if there were no limits.
        char_budget[forced] = self.vocabulary.longest
        return _Allowed(hyphen & (hyphen_fits | forced), eos | forced, char_budget, forced)

    def _by_grammar(self, length: int) -> tuple[Bools, Bools]:
        """Tell where the words so far let a hyphen follow [M], and where <eos> [M]."""
        config, in_word, counted = self.config, ~self.at_word_start, self._counted()
        hyphen = in_word & (counted < config.max_words)
        hyphen &= self.words_begun < max(config.max_words, MAX_WORDS)
        eos = in_word & (counted >= config.min_words) & (length >= config.min_tokens)
        ends = np.array([text.rpartition("-")[2] in config.stopwords for text in self.texts])
        return hyphen, eos & ~(ends & config.suppress_eos_after_stopword)

    def _by_budget(self, length: int) -> tuple[Bools, Ints]:
        """Tell where a hyphen leaves enough for the missing words [M], and a subword's budget [M].

        Each missing word takes two tokens, a hyphen and a subword, and their characters.
        """
        config, pair = self.config, 1 + self.vocabulary.shortest
        tokens_left, chars_left = config.max_tokens - 1 - length, config.max_chars - self.chars
        counted = self._counted()
        # Words that still have to be opened after a subword here, or after a hyphen here.
        missing = np.maximum(config.min_words - counted - self.at_word_start, 0)
        char_budget = np.where(tokens_left - 1 >= 2 * missing, chars_left - pair * missing, 0)
        missing = np.maximum(config.min_words - counted, 1)
        return (tokens_left >= 2 * missing) & (chars_left >= pair * missing), char_budget

    def _counted(self) -> Ints:
        """Count the words begun that are not dropped [M]."""
        dropped = self.config.dropped
        if not dropped:
            return self.words_begun
        counts = [sum(word in dropped for word in text.split("-")) for text in self.texts]
        return self.words_begun - np.array(counts, np.int64)

    def _closed(self, allowed: _Allowed) -> Bools:
        """Tell where the last word may not end, as it can still go on [M]."""
        config, closed = self.config, np.zeros(len(self.texts), np.bool_)
        grows = ~allowed.forced & (allowed.char_budget >= self.vocabulary.shortest)
        for row in np.flatnonzero(grows & (allowed.eos | allowed.hyphen)).tolist():
            *before, last = self.texts[row].split("-")
            again = config.distinct_words and repeats(last, before, config.stopwords)
            closed[row] = again or (config.sound_words and sound_word(last) != last)
        return closed

    def _select(self, extensions: _Extensions, forced: Bools) -> _Extensions:
        """Finish slugs, keep the best ``beam_width`` others of each unfinished document."""
        width, owner = self.config.beam_width, self.owner
        keys = (extensions.token, extensions.row, -extensions.rank, owner[extensions.row])
        extensions = extensions.take(np.lexsort(keys))
        ends = extensions.token == EOS
        competitive = place(owner[extensions.row]) < width
        finished = extensions.take(ends & (competitive | forced[extensions.row]))
        for row, log_p in zip(finished.row.tolist(), finished.log_p.tolist(), strict=True):
            slug, whole = self._slug(row)
            pool = (self.pools if whole else self.spares)[owner[row]]
            pool[slug] = max(pool.get(slug, -np.inf), _score(slug, log_p, self.config))
        others = extensions.take(~ends)
        others = others.take(place(owner[others.row]) < width)
        others = others.take(~self._done(owner[others.row], others.log_p)[owner[others.row]])
        self._grow(others)
        return others

    def _slug(self, row: int) -> tuple[str, bool]:
        """Return the slug that a row has come to, with sound words; and whether it is as asked."""
        config, parts = self.config, self.texts[row].split("-")
        sound = list(map(sound_word, parts)) if config.sound_words else parts
        left = [word for word in sound if word not in config.dropped]
        enough = len(left) >= config.min_words
        return "-".join(left or sound[: config.max_words]), enough and sound == parts

    def _grow(self, others: _Extensions) -> None:
        """Replace rows by their extensions."""
        row, token, strings = others.row, others.token, self.vocabulary.strings
        self.texts = [
            self.texts[i] + strings[t] for i, t in zip(row.tolist(), token.tolist(), strict=True)
        ]
        hyphen = token == HYPHEN
        self.words_begun = self.words_begun[row] + (self.at_word_start[row] & ~hyphen)
        self.chars = self.chars[row] + np.where(hyphen, 1, self.vocabulary.lengths[token])
        self.at_word_start, self.log_p, self.owner = hyphen, others.log_p, self.owner[row]

    def _done(self, owner: Ints, log_p: Doubles) -> Bools:
        """Tell which documents may stop, given the owner and log p of each active hypothesis."""
        config, count = self.config, len(self.pools)
        if config.stopping == "exhaustive":
            return np.zeros(count, np.bool_)
        if config.stopping == "first_k":
            return np.array([len(pool) >= config.beam_width for pool in self.pools])
        bound = np.full(count, -np.inf)
        np.maximum.at(bound, owner, log_p)
        bound += config.length_reward * config.reward_cap
        pairs, k = zip(self.pools, bound.tolist(), strict=True), self.top_k
        return np.array([len(pool) >= k and sorted(pool.values())[-k] >= b for pool, b in pairs])


def _score(slug: str, log_p: float, config: DecodingConfig) -> float:
    """Score a finished slug: log p + r * min(words, B), less the penalties."""
    parts = words(slug)
    content = [word for word in parts if word not in config.stopwords]
    score = log_p + config.length_reward * min(len(parts), config.reward_cap)
    if parts[-1] in config.stopwords:
        score -= config.trailing_stopword_penalty
    if len(set(content)) < len(content):
        score -= config.repeat_penalty
    return score


def _best(pool: dict[str, float], top_k: int) -> list[Candidate]:
    """Sort finished slugs, best first; ties go to the one finished earlier."""
    ranked = sorted(pool.items(), key=lambda item: -item[1])
    return [Candidate(slug, score) for slug, score in ranked[:top_k]]
