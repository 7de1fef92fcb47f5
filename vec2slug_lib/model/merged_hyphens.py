"""A decoder whose tokens carry the hyphen before their word, under the search that writes it apart.

The control of chapter 9: a vocabulary as SentencePiece makes it (Kudo and Richardson 2018,
aclanthology.org/D18-2012), where a mark before the word is part of its first token.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..common.vectors import Floats, Ints
from ..common.vocabulary import BOS, EOS, HYPHEN, SPECIALS, UNK
from .decoder import CachedDecoder, Decoder

NO = np.float32(-1e4)  # logit of a token that cannot stand here


def is_merged(strings: Sequence[str]) -> bool:
    """Tell whether tokens of a vocabulary begin with a hyphen and go on."""
    return any(len(s) > 1 and s[0] == "-" for s in strings)


def stepper_for(
    model: Decoder, strings: Sequence[str], bf16: bool = False
) -> tuple[CachedDecoder | MergedStepper, list[str]]:
    """Return a decoder's ``Stepper`` and the vocabulary that the search is to see."""
    if is_merged(strings):
        stepper = MergedStepper(model, strings, bf16)
        return stepper, stepper.strings
    return CachedDecoder(model, bf16), list(strings)


class MergedStepper:
    """A ``Stepper`` that writes a word's first token in two steps: the hyphen, then the rest.

    A hyphen is as probable as all tokens that begin a word together, and the rest has its
    conditional probability, so that a slug's probability is the decoder's own. The decoder sees
    whole sequences, since hyphens leave the rows of a batch unequally long.

    Attributes:
        strings: the vocabulary seen by the search, special tokens first.
    """

    def __init__(self, model: Decoder, strings: Sequence[str], bf16: bool = False) -> None:
        self.model, self.bf16 = model.eval(), bf16
        self.device = next(model.parameters()).device
        own = {token: i for i, token in enumerate(strings)}
        seen = sorted({token.removeprefix("-") for token in strings[len(SPECIALS) :]})
        self.strings = [*SPECIALS, *seen]
        # Ids of the decoder by ids of the search, in the middle of a word and where one opens.
        self.inner = np.array([own.get(token, UNK) for token in self.strings])
        self.opens = np.array([own.get("-" + token, UNK) for token in self.strings])
        self.begin = np.array([i for token, i in own.items() if len(token) > 1 and token[0] == "-"])

    def start(self, embeddings: Floats) -> Floats:
        """Begin one row per embedding ``[N, input_dim]``; return first logits."""
        n = len(embeddings)
        self.vectors = torch.as_tensor(embeddings, dtype=torch.float32, device=self.device)
        self.ids = torch.full((n, 1), BOS, device=self.device)
        self.last, self.opening = np.zeros(n, np.int64), np.ones(n, np.bool_)
        self.own = self._logits(np.arange(n))
        return self._seen()

    def step(self, parents: Ints, tokens: Ints) -> Floats:
        """Continue row ``parents[i]`` of the last batch with ``tokens[i]``; return logits."""
        rows = torch.as_tensor(parents, device=self.device)
        self.vectors, self.ids, self.own = self.vectors[rows], self.ids[rows], self.own[parents]
        opens, self.opening = self.opening[parents], tokens == HYPHEN
        self.last = self.last[parents] + ~self.opening
        grown = np.flatnonzero(~self.opening)
        if self.last.max() == self.ids.shape[1]:
            self.ids = torch.nn.functional.pad(self.ids, (0, 1))
        written = np.where(opens, self.opens[tokens], self.inner[tokens])[grown]
        self.ids[grown, self.last[grown]] = torch.as_tensor(written, device=self.device)
        if len(grown):
            self.own[grown] = self._logits(grown)
        return self._seen()

    def _logits(self, rows: Ints) -> Floats:
        """Compute the decoder's own logits ``[rows, V]`` after the last token of some rows."""
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, self.bf16):
            states = self.model.hidden(self.vectors[rows], self.ids[rows])
            last = self.model.unembed(states[np.arange(len(rows)), self.last[rows]])
        logits: Floats = last.float().cpu().numpy()
        return logits

    def _seen(self) -> Floats:
        """Compute logits of the search's vocabulary from those of the decoder's."""
        ids = np.where(self.opening[:, None], self.opens, self.inner)
        logits = np.where(ids == UNK, NO, np.take_along_axis(self.own, ids, axis=1))
        logits[:, EOS] = self.own[:, EOS]
        best = self.own[:, self.begin].max(1)
        logits[:, HYPHEN] = best + np.log(np.exp(self.own[:, self.begin] - best[:, None]).sum(1))
        return logits
