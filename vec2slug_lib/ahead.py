"""Cached decoding of one document, a step ahead where the next token is easy to guess.

With few rows a call costs what reading the weights costs, and most subwords end their word. So each
is fed with the hyphen that may follow it: where a search then asks for hyphens, the answer is there
and no call is made. This is the draft of speculative decoding (Leviathan et al. 2023, arXiv
2211.17192), but nothing is sampled: a search sees the scores that it would have seen.
"""

from __future__ import annotations

import numpy as np

from .cached import CachedStepper
from .ranking import Ints, Logits, Scores
from .tokens import HYPHEN


class AheadStepper(CachedStepper):
    """Stepper of one document; `CachedStepper` is for many."""

    def start(self, embeddings: Logits) -> Scores:
        """Begin a row ``[1, input_dim]``; its scores after ``<bos>``."""
        self.pool = super().start(embeddings)  # scores of the rows, then of hyphens after them
        self.hyphens = np.array([-1])  # [rows] of each row the place in the pool, or -1
        return self.pool

    def step(self, parents: Ints, tokens: Ints) -> Scores:
        """Continue row ``parents[i]`` with ``tokens[i]``."""
        self.position += 1
        hyphens = self.hyphens[parents]
        here = (tokens == HYPHEN) & (hyphens >= 0)
        places = np.where(here, hyphens, parents)
        self.seen, self.pool = self.seen[places], self.pool.take(places)
        self.hyphens = np.full(len(places), -1)
        if not here.all():
            self._feed(np.flatnonzero(~here), tokens)
        return self.pool.take(np.arange(len(places)))

    def _feed(self, rows: Ints, tokens: Ints) -> None:
        """Scores of the tokens of some rows, and of a hyphen after each."""
        count, fed = len(self.seen), len(rows)
        self.owner = np.zeros(count, np.int64)
        self._fit(np.arange(count), 2 * fed)
        token, hyphen = np.arange(fed), fed + np.arange(fed)  # slots of the call
        seen = np.concatenate([self.seen, self.seen[rows]])
        room = seen.shape[1]
        sees = np.zeros((1, 1, 2 * fed, room + 2 * fed), np.bool_)
        sees[0, 0, :, :room] = np.tile(self.seen[rows], (2, 1))
        for slot in (token, hyphen):
            sees[0, 0, slot, room + slot] = sees[0, 0, hyphen, room + token] = True
            seen[count + token, self.used + slot] = True
        seen[rows, self.used + token] = True
        ids = np.concatenate([tokens[rows], np.full(fed, HYPHEN)])
        last = self.shape["max_slug_tokens"]  # after which no hyphen comes
        positions = np.repeat([self.position, min(self.position + 1, last)], fed)
        found = self._run(self.nothing, ids, positions, sees)
        places = np.arange(count)
        places[rows] = count + token
        self.pool = self.pool.joined(found).take(np.concatenate([places, count + hyphen]))
        self.seen = seen
        self.hyphens[rows] = count + token
