"""A search that hears of a text: its words come easier where a word begins, and as wholes.

The decoder's probabilities are multiplied with what the text adds, at each step. No word is
forbidden, and how words go together stays the decoder's business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..common.slugs import STOPWORDS
from ..common.vectors import Doubles, Floats, Ints
from ..common.vocabulary import EOS, FIRST, HYPHEN
from .beam_search import Stepper
from .mbr import longest_match_tokens
from .scores import Scores, scores_of

USUAL = 0.03  # share of a text's words that are in its slug, about
MOST_GAIN = 6.0  # of a bonus, in nats
Node = tuple[int, ...]  # tokens of a word so far
Bonuses = dict[Node, tuple[Ints, Doubles]]  # what may come next, and what it gains


def bonuses(probabilities: Mapping[str, float], ids: Mapping[str, int], strength: float) -> Bonuses:
    """Work out what each token gains that goes on with a probable word of the text.

    Args:
        probabilities: of the text's words to be in the slug.
        ids: of the tokens.
        strength: multiplies the logarithm of the odds, beyond those of any word.
    """
    gains: dict[Node, dict[int, float]] = {}
    for word, probability in probabilities.items():
        if word in STOPWORDS or probability <= USUAL:
            continue
        odds = probability / (1 - min(probability, 0.999)) * (1 - USUAL) / USUAL
        gain = min(strength * float(np.log(odds)), MOST_GAIN)
        tokens = longest_match_tokens(word, ids)
        for end, token in enumerate(tokens):
            node = gains.setdefault(tuple(tokens[:end]), {})
            node[token] = max(node.get(token, 0.0), gain)
    return {
        node: (np.array(list(gain)), np.array(list(gain.values()))) for node, gain in gains.items()
    }


class GroundedStepper:
    """Stepper over another one, where tokens of the texts' words gain.

    Args:
        stepper: the decoder.
        documents: bonuses of the documents, in the order in which searches begin with them.
        width: best subwords of each row that a search will ask for.
    """

    def __init__(self, stepper: Stepper, documents: Sequence[Bonuses], width: int) -> None:
        self.stepper, self.documents, self.width = stepper, documents, width
        self.begun = 0

    def start(self, embeddings: Floats) -> Scores:
        """Begin a row an embedding."""
        self.owner = self.begun + np.arange(len(embeddings))
        self.begun += len(embeddings)
        self.nodes: list[Node | None] = [()] * len(embeddings)  # None: a word that no text has
        return self._raised(self.stepper.start(embeddings))

    def step(self, parents: Ints, tokens: Ints) -> Scores:
        """Continue row ``parents[i]`` with ``tokens[i]``."""
        scores = self.stepper.step(parents, tokens)
        self.owner = self.owner[parents]
        pairs = zip(parents.tolist(), tokens.tolist(), self.owner.tolist(), strict=True)
        self.nodes = [self._next(self.nodes[row], token, owner) for row, token, owner in pairs]
        return self._raised(scores)

    def _next(self, node: Node | None, token: int, owner: int) -> Node | None:
        """Return what a row has of a word after one more token."""
        if token == HYPHEN:
            return ()
        longer = None if node is None else (*node, token)
        return longer if longer in self.documents[owner] else None

    def _raised(self, scores: Scores | Floats) -> Scores:
        """Add what tokens gain."""
        if not isinstance(scores, Scores):
            special, subwords = scores[:, :FIRST], scores[:, FIRST:]
            scores = scores_of(special[:, EOS], special[:, HYPHEN], subwords, self.width)
        pairs = zip(self.owner.tolist(), self.nodes, strict=True)
        gains = {
            row: self.documents[owner][node]
            for row, (owner, node) in enumerate(pairs)
            if node is not None and node in self.documents[owner]
        }
        return raised(scores, gains) if gains else scores


def raised(scores: Scores, gains: Mapping[int, tuple[Ints, Doubles]]) -> Scores:
    """Add gains of 0 or more to the logits of some subwords.

    Args:
        scores: of M rows.
        gains: tokens, and what each gains, by the number of the row.
    """
    subwords = scores.all_subwords(np.arange(len(scores.eos)))  # a copy
    total, best, tokens = scores.total.copy(), scores.best.copy(), scores.tokens.copy()
    for row, (token, gain) in gains.items():
        before = subwords[row, token - FIRST]
        after = (before + gain).astype(np.float32)
        subwords[row, token - FIRST] = after
        added = np.exp(after - total[row]) - np.exp(before - total[row])
        total[row] += np.log1p(added.sum())
        # What gains nothing keeps its order, so the best are among the best so far and these.
        few = np.union1d(tokens[row], token)
        order = np.lexsort((few, -subwords[row, few - FIRST]))[: best.shape[1]]
        tokens[row], best[row] = few[order], subwords[row, few[order] - FIRST]
    return Scores(scores.eos, scores.hyphen, total, best, tokens, subwords)
