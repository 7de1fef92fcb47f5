"""The prefix decoder: one embedding, projected to a prefix token, then a small causal transformer.

The whole model is in this file. Parameter names are the study's, so its weights load as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..common.errors import Vec2SlugError
from ..common.vectors import Floats, Ints
from ..common.vocabulary import BOS
from .cpu_ops import Dropout

KeyValue = tuple[Tensor, Tensor]  # each [N, positions, heads, head width]


@dataclass(frozen=True)
class DecoderConfig:
    """Shape of a decoder; two decoders of one config have the same parameters."""

    input_dim: int = 384  # width of the text embedding
    embed_dim: int = 384  # width of the residual stream
    num_heads: int = 8
    num_layers: int = 4
    max_slug_tokens: int = 24  # targets at most, <eos> included; one more position is the prefix
    vocab_size: int = 5000
    dropout: float = 0.1
    # Multiply the unit vector by sqrt(input_dim) and initialise with std 0.02. By default PyTorch
    # initialises the positions some thirty times larger than the projected unit vector, and a
    # small corpus does not suffice to find the vector again. False is the study.
    scaled_input: bool = False
    tied: bool = False  # one table for the tokens read and the tokens written (Press and Wolf 2017)
    head_dim: int = 0  # width of the bag-of-words head; 0, as in the study: none

    def __post_init__(self) -> None:
        if self.embed_dim % self.num_heads:
            raise Vec2SlugError(
                f"expected embed_dim to be a multiple of num_heads={self.num_heads}, "
                f"got {self.embed_dim}"
            )


class Attention(nn.Module):
    """Causal self-attention with the parameter names of ``nn.MultiheadAttention``."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.num_heads, self.dropout = config.num_heads, config.dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * config.embed_dim, config.embed_dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * config.embed_dim))
        self.out_proj = nn.Linear(config.embed_dim, config.embed_dim)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Project ``x [N, T, d]`` to queries, keys, values, each ``[N, T, heads, d / heads]``."""
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = qkv.view(*x.shape[:2], 3, self.num_heads, -1).unbind(2)
        return q, k, v

    def forward(self, x: Tensor, past: KeyValue | None = None) -> tuple[Tensor, KeyValue]:
        """Attend over ``x [N, T, d]``; with ``past``, T is 1 and the new position sees it all."""
        q, k, v = self.heads(x)
        if past is not None:
            # cat copies contiguous parts several times faster
            k = torch.cat([past[0], k.contiguous()], dim=1)
            v = torch.cat([past[1], v.contiguous()], dim=1)
        mixed = F.scaled_dot_product_attention(
            q.transpose(1, 2),
            k.transpose(1, 2),
            v.transpose(1, 2),
            is_causal=past is None,
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.out_proj(mixed.transpose(1, 2).flatten(2)), (k, v)


class Block(nn.Module):
    """Pre-norm transformer block: attention, then a GELU network of four times the width."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        d = config.embed_dim
        self.ln1, self.ln2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.attn = Attention(config)
        self.dropout = Dropout(config.dropout)
        self.ffn = nn.Sequential(
            nn.Linear(d, 4 * d), nn.GELU(), Dropout(config.dropout), nn.Linear(4 * d, d)
        )

    def forward(self, x: Tensor, past: KeyValue | None = None) -> tuple[Tensor, KeyValue]:
        """Return the residual stream ``[N, T, d]`` after the block, and its keys and values."""
        mixed, present = self.attn(self.ln1(x), past)
        x = x + self.dropout(mixed)
        return x + self.dropout(self.ffn(self.ln2(x))), present


class BagOfWordsHead(nn.Module):
    """Bag-of-words head: from the embedding to a state that the output layer reads as words.

    Which words, in no order. A straight path beside a small network: where the output layer is made
    of the embedder's own vectors of the tokens, the path alone names the tokens nearest to the
    embedding.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        width, inner, d = config.input_dim, config.head_dim, config.embed_dim
        self.straight = nn.Linear(width, d)
        self.network = nn.Sequential(
            nn.Linear(width, inner), nn.GELU(), Dropout(config.dropout),
            nn.Linear(inner, inner), nn.GELU(), Dropout(config.dropout),
            nn.Linear(inner, d),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Compute states ``[N, d]`` of scaled embeddings ``[N, input_dim]``."""
        state: Tensor = self.straight(x) + self.network(x)
        return state


class Decoder(nn.Module):
    """Autoregressive slug decoder conditioned on one embedding by a single prefix token."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        d = config.embed_dim
        self.input_scale = config.input_dim**0.5 if config.scaled_input else 1.0
        self.embedding_projection = nn.Linear(config.input_dim, d)
        self.token_embedding = nn.Embedding(config.vocab_size, d)
        self.position_embedding = nn.Embedding(config.max_slug_tokens + 1, d)
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.ln_final = nn.LayerNorm(d)
        self.output_projection = nn.Linear(d, config.vocab_size)
        if config.tied:
            self.output_projection.weight = self.token_embedding.weight
        self.word_head = BagOfWordsHead(config) if config.head_dim else None
        if config.scaled_input:
            for name, parameter in self.named_parameters():
                if parameter.ndim == 2:
                    nn.init.normal_(parameter, std=0.02)
                elif name.endswith("bias"):
                    nn.init.zeros_(parameter)

    def embed(self, src_embedding: Tensor, token_ids: Tensor) -> Tensor:
        """Build the residual stream before the first block: the prefix, then the tokens.

        Returns:
            ``[N, 1 + T, d]``; under autocast in its narrow type.

        Raises:
            Vec2SlugError: the embeddings have another width, or there are too many tokens.
        """
        width, max_length = self.config.input_dim, self.config.max_slug_tokens
        if src_embedding.shape[-1] != width or token_ids.shape[1] > max_length:
            raise Vec2SlugError(
                f"expected embeddings of width {width} and at most {max_length} tokens, "
                f"got width {src_embedding.shape[-1]} and {token_ids.shape[1]} tokens"
            )
        prefix = self.embedding_projection(src_embedding * self.input_scale)
        x = torch.cat([prefix.unsqueeze(1), self.token_embedding(token_ids)], dim=1)
        x = x + self.position_embedding.weight[: x.shape[1]]
        dropped: Tensor = self.dropout(x)
        # Under autocast the whole residual stream is narrow: casting back and forth at every layer
        # took nearly a fifth of a training step.
        device = x.device.type
        narrow = torch.is_autocast_enabled(device)
        return dropped.to(torch.get_autocast_dtype(device)) if narrow else dropped

    def hidden(self, src_embedding: Tensor, token_ids: Tensor) -> Tensor:
        """Compute the residual stream ``[N, T, d]`` of the tokens after the last block."""
        x = self.embed(src_embedding, token_ids)
        for block in self.blocks:
            x, _ = block(x)
        return x[:, 1:] + self.word_bias(src_embedding).to(x.dtype)

    def word_bias(self, src_embedding: Tensor) -> Tensor:
        """Compute the bag-of-words bias ``[N, 1, d]``, which is added to every last state."""
        if self.word_head is None:
            return src_embedding.new_zeros(src_embedding.shape[0], 1, 1)
        bias: Tensor = self.word_head(src_embedding * self.input_scale)
        return bias.unsqueeze(1)

    def word_logits(self, src_embedding: Tensor) -> Tensor:
        """Compute logits ``[N, vocab]`` of the tokens that the slug may hold, in no order.

        Raises:
            Vec2SlugError: a decoder without a bag-of-words head.
        """
        if self.word_head is None:
            raise Vec2SlugError("expected a decoder with a bag-of-words head, got head_dim 0")
        return self.unembed(self.word_bias(src_embedding)).squeeze(1)

    def unembed(self, hidden: Tensor) -> Tensor:
        """Compute logits ``[..., vocab]`` of residual states ``[..., d]``."""
        logits: Tensor = self.output_projection(self.ln_final(hidden))
        return logits

    def forward(self, src_embedding: Tensor, token_ids: Tensor) -> Tensor:
        """Compute next-token logits.

        Args:
            src_embedding: Unit-norm text embeddings, float ``[N, input_dim]``.
            token_ids: ``<bos>`` and the slug so far, int64 ``[N, T]``, T up to max_slug_tokens.

        Returns:
            Logits ``[N, T, vocab]``; the prefix position is dropped.
        """
        return self.unembed(self.hidden(src_embedding, token_ids))


class CachedDecoder:
    """One-token-at-a-time decoding that keeps keys and values: the model's ``Stepper``.

    Args:
        model: Left in evaluation mode.
        bf16: Compute in bfloat16. Logits are float32 either way.
    """

    def __init__(self, model: Decoder, bf16: bool = False) -> None:
        self.model = model.eval()
        self.device = next(model.parameters()).device
        self.bf16 = bf16
        self.cache: list[KeyValue] = []

    def start(self, embeddings: Floats) -> Floats:
        """Begin one row per embedding ``[N, input_dim]``; return logits ``[N, vocab]``."""
        src = torch.as_tensor(embeddings, dtype=torch.float32, device=self.device)
        bos = torch.full((len(src), 1), BOS, device=self.device)
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, self.bf16):
            self.word_bias = self.model.word_bias(src)
            return self._advance(self.model.embed(src, bos), [None] * len(self.model.blocks))

    def step(self, parents: Ints, tokens: Ints) -> Floats:
        """Continue row ``parents[i]`` of the last batch with ``tokens[i]``; return logits.

        Rows may be dropped, repeated and reordered.

        Returns:
            ``[M, vocab]`` of M continued rows.
        """
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, self.bf16):
            rows = torch.as_tensor(parents, device=self.device)
            ids = torch.as_tensor(tokens, device=self.device)
            past: list[Any] = [
                (k.index_select(0, rows), v.index_select(0, rows)) for k, v in self.cache
            ]
            self.word_bias = self.word_bias.index_select(0, rows)
            position = self.model.position_embedding.weight[past[0][0].shape[1]]
            return self._advance((self.model.token_embedding(ids) + position).unsqueeze(1), past)

    def word_logits(self, embeddings: Floats) -> Floats:
        """Compute logits ``[N, vocab]`` of the bag-of-words head, which not every decoder has."""
        src = torch.as_tensor(embeddings, dtype=torch.float32, device=self.device)
        with torch.inference_mode():
            logits: Floats = self.model.word_logits(src).cpu().numpy()
        return logits

    def _advance(self, x: Tensor, past: list[Any]) -> Floats:
        self.cache = []
        for block, before in zip(self.model.blocks, past, strict=True):
            x, present = block(x, before)
            self.cache.append(present)
        last = self.model.unembed((x[:, -1:] + self.word_bias).squeeze(1))
        logits: Floats = last.float().cpu().numpy()
        return logits
