"""Attention, logit lens and knockouts of a decoder.

All of it goes through hooks on the ordinary model, which is the same again afterwards. Positions
count from the prefix: position 0 is the vector, position 1 is ``<bos>``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ..common.vectors import Ints
from ..common.vocabulary import BOS, EOS, PAD
from .decoder import Attention, Block, Decoder

# Of layer number and ids [N, T]: which heads of which tokens cannot attend to the prefix,
# [N, heads, T].
Blocked = Callable[[int, Tensor], Tensor]

SOURCES = ("bos", "hyphen", "subword", "eos")  # kinds of token that attend
TARGETS = ("first subword", "later subword", "hyphen", "eos")  # kinds of token that are written


class AttentionTrace(NamedTuple):
    """What hooks record of one forward pass of L layers over N rows of P = 1 + T positions."""

    hidden: Tensor  # [N, T, d], what the output layer gets
    attention: Tensor  # [L, N, heads, P, P]: from (a row of which sums to 1), to
    states: Tensor  # residual stream [L + 1, N, P, d], before the first block and after each


class Lens(NamedTuple):
    """The logit lens: values ``[L + 1, N, T - 1]`` of the token that is written next, by layer."""

    rank: Tensor  # tokens with a higher logit; 0: it leads
    probability: Tensor
    leader: Tensor  # the token that leads


def hyphen_marks(strings: Sequence[str]) -> Tensor:
    """Mark the tokens of a vocabulary that hold a hyphen, bool ``[V]``: one, or all word starts."""
    return torch.tensor([token[0] == "-" for token in strings])


def hyphens_merged(marks: Tensor) -> bool:
    """Tell whether several tokens hold a hyphen: those that begin words."""
    return int(marks.sum()) > 1


def source_kinds(ids: Tensor, marks: Tensor) -> Tensor:
    """Return the index into `SOURCES` of each token ``[N, T]``; -1 for padding."""
    kinds = torch.where(marks[ids], SOURCES.index("hyphen"), SOURCES.index("subword"))
    for token, kind in ((PAD, -1), (BOS, SOURCES.index("bos")), (EOS, SOURCES.index("eos"))):
        kinds[ids == token] = kind
    return kinds


def target_kinds(ids: Tensor, marks: Tensor) -> Tensor:
    """Return the index into `TARGETS` of each token ``[N, T]``; -1 for ``<bos>`` and padding.

    Where hyphens are merged, a token with one is the first subword of its word.
    """
    merged = hyphens_merged(marks)
    after = F.pad(marks[ids[:, :-1]] | (ids[:, :-1] == BOS), (1, 0))
    first = marks[ids] if merged else after & ~marks[ids]
    kinds = torch.where(first, TARGETS.index("first subword"), TARGETS.index("later subword"))
    if not merged:
        kinds[marks[ids]] = TARGETS.index("hyphen")
    for token, kind in ((PAD, -1), (BOS, -1), (EOS, TARGETS.index("eos"))):
        kinds[ids == token] = kind
    return kinds


def attention_weights(attention: Attention, x: Tensor, blocked: Tensor | None = None) -> Tensor:
    """Compute the weights ``[N, heads, P, P]`` of causal attention over ``x [N, P, d]``.

    Args:
        attention: the layer.
        x: its input.
        blocked: positions ``[N, heads, P]`` that cannot attend to the prefix; the weight that they
            would have given it goes to the others. Never the prefix itself: it has no others.
    """
    q, k, _ = attention.heads(x)
    scores = torch.einsum("nqhd,nkhd->nhqk", q, k) / q.shape[-1] ** 0.5
    ahead = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
    scores = scores.masked_fill(ahead, -torch.inf)
    if blocked is not None:
        scores[..., 0] = scores[..., 0].masked_fill(blocked, -torch.inf)
    weights: Tensor = scores.softmax(-1)
    return weights


def trace_attention(model: Decoder, vectors: Tensor, ids: Tensor) -> AttentionTrace:
    """Run the model once and record its attention weights and residual stream.

    Args:
        model: in evaluation mode.
        vectors: unit rows ``[N, input_dim]``.
        ids: see `encode_slugs`.
    """
    weights: list[Tensor] = []
    states: list[Tensor] = []

    def record_input(_: Any, args: tuple[Tensor, ...]) -> None:
        states.append(args[0])

    def record_output(_: Any, __: Any, output: tuple[Tensor, Any]) -> None:
        states.append(output[0])

    def record_attention(layer: Attention, args: tuple[Tensor, ...], _: Any) -> None:
        weights.append(attention_weights(layer, args[0]))

    with ExitStack() as hooks, torch.inference_mode():
        hooks.callback(model.blocks[0].register_forward_pre_hook(record_input).remove)
        for block in model.blocks:
            assert isinstance(block, Block)
            hooks.callback(block.attn.register_forward_hook(record_attention).remove)
            hooks.callback(block.register_forward_hook(record_output).remove)
        hidden = model.hidden(vectors, ids)
    return AttentionTrace(hidden, torch.stack(weights), torch.stack(states))


@contextmanager
def knockout(model: Decoder, blocked: Blocked) -> Iterator[None]:
    """Knock out attention to the prefix, for some heads of some tokens, within the context.

    Args:
        model: a decoder that is called with whole sequences, not by `CachedDecoder`.
        blocked: which heads of which tokens.
    """
    batches: list[Tensor] = []

    def record_ids(_: Any, args: tuple[Tensor, ...]) -> None:
        batches.append(args[0])

    def knocked_out(layer: int) -> Callable[..., Any]:
        def hook(attention: Attention, args: tuple[Tensor, ...], output: Any) -> Any:
            positions = F.pad(blocked(layer, batches[-1]), (1, 0))
            weights = attention_weights(attention, args[0], positions)
            values = attention.heads(args[0])[2]
            mixed = torch.einsum("nhqk,nkhd->nqhd", weights, values)
            return attention.out_proj(mixed.flatten(2)), output[1]

        return hook

    with ExitStack() as hooks:
        hooks.callback(model.token_embedding.register_forward_pre_hook(record_ids).remove)
        for layer, block in enumerate(model.blocks):
            assert isinstance(block, Block)
            hooks.callback(block.attn.register_forward_hook(knocked_out(layer)).remove)
        yield


def knock_out_kinds(heads: int, kinds: Sequence[str], marks: Tensor) -> Blocked:
    """Select all tokens of some of the `SOURCES` for a knockout, in every head and layer."""
    chosen = torch.tensor([SOURCES.index(kind) for kind in kinds])

    def blocked(_: int, ids: Tensor) -> Tensor:
        return torch.isin(source_kinds(ids, marks), chosen)[:, None].expand(-1, heads, -1)

    return blocked


def knock_out_heads(heads: int, chosen: Sequence[tuple[int, int]]) -> Blocked:
    """Select some heads, given as (layer, head), for a knockout, for all tokens."""

    def blocked(layer: int, ids: Tensor) -> Tensor:
        of_layer = torch.zeros(heads, dtype=torch.bool)
        of_layer[[head for i, head in chosen if i == layer]] = True
        return of_layer[None, :, None].expand(len(ids), -1, ids.shape[1])

    return blocked


class FullStepper:
    """A ``Stepper`` without a cache: each step is a whole forward pass, so that hooks apply."""

    def __init__(self, model: Decoder) -> None:
        self.model = model.eval()

    def start(self, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Begin one row per embedding ``[N, input_dim]``; logits ``[N, vocab]``."""
        self.vectors = torch.from_numpy(embeddings)
        self.ids = torch.full((len(embeddings), 1), BOS)
        return self._last()

    def step(self, parents: Ints, tokens: Ints) -> npt.NDArray[np.float32]:
        """Continue row ``parents[i]`` of the last batch with ``tokens[i]``."""
        rows = torch.from_numpy(parents)
        self.vectors = self.vectors[rows]
        self.ids = torch.cat([self.ids[rows], torch.from_numpy(tokens)[:, None]], dim=1)
        return self._last()

    def _last(self) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            last = self.model.hidden(self.vectors, self.ids)[:, -1]
            logits: npt.NDArray[np.float32] = self.model.unembed(last).numpy()
        return logits


def token_losses(model: Decoder, vectors: Tensor, ids: Tensor, chunk: int = 50) -> Tensor:
    """Compute the cross-entropy in nats of each token ``[N, T - 1]`` after ``<bos>``; 0 at padding.

    Rows go through ``chunk`` at a time: logits are large.
    """
    parts = []
    for rows in torch.arange(len(ids)).split(chunk):
        with torch.inference_mode():
            logits = model(vectors[rows], ids[rows, :-1]).transpose(1, 2)
            loss = F.cross_entropy(logits, ids[rows, 1:], ignore_index=PAD, reduction="none")
            parts.append(loss)
    return torch.cat(parts)


def layer_logits(model: Decoder, vectors: Tensor, states: Tensor) -> Tensor:
    """Compute the logits ``[L + 1, N, T, V]`` of each layer's residual stream.

    As at the end of the model, the bias of the bag-of-words head is added, then come the final norm
    and the output layer (the logit lens, nostalgebraist 2020).

    Args:
        model: the decoder.
        vectors: unit rows ``[N, input_dim]``.
        states: of token positions ``[L + 1, N, T, d]``.
    """
    with torch.inference_mode():
        return model.unembed(states + model.word_bias(vectors))


def lens(model: Decoder, vectors: Tensor, ids: Tensor, chunk: int = 25) -> Lens:
    """Apply the logit lens to the tokens of slugs, see `layer_logits`.

    Args:
        model: in evaluation mode.
        vectors: unit rows ``[N, input_dim]``.
        ids: see `encode_slugs`.
        chunk: rows at a time; logits of all layers are large.
    """
    parts = []
    for rows in torch.arange(len(ids)).split(chunk):
        states = trace_attention(model, vectors[rows], ids[rows, :-1]).states[:, :, 1:]
        logits = layer_logits(model, vectors[rows], states)
        written = logits.gather(-1, ids[None, rows, 1:, None].expand(len(logits), -1, -1, 1))
        rank = (logits > written).sum(-1)
        probability = (written - logits.logsumexp(-1, keepdim=True)).exp().squeeze(-1)
        parts.append((rank, probability, logits.argmax(-1)))
    return Lens(*(torch.cat(values, dim=1) for values in zip(*parts, strict=True)))
