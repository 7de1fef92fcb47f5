"""Samples per second of our training loop beside a plain one, in one run.

The plain loop: float32, every batch padded to the cap, ``nn.MultiheadAttention``, loss over all
positions with ``ignore_index``. Both train the same decoder (d=384, L=4) on the same batches;
repetitions alternate, so that a busy machine slows both. Run: ``python benchmarks/training.py``.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vec2slug_lib.common.vocabulary import EOS, PAD
from vec2slug_lib.model.decoder import Decoder, DecoderConfig
from vec2slug_lib.model.tokenizer import encode, train_bpe
from vec2slug_lib.training.decoder_objective import DecoderObjective, Examples
from vec2slug_lib.training.trainer import Trainer, TrainingConfig

PAIRS = Path(__file__).parents[1] / "data" / "pairs.parquet"
MODEL = DecoderConfig(scaled_input=True)
OURS = TrainingConfig(label_smoothing=0.1, eos_calibration=True)


class PlainBlock(nn.Module):
    """A pre-norm block around ``nn.MultiheadAttention``."""

    def __init__(self, d: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.attn = nn.MultiheadAttention(d, heads, dropout, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.ffn = nn.Sequential(
            nn.Linear(d, 4 * d), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * d, d)
        )

    def forward(self, x: Tensor, past: None = None) -> tuple[Tensor, None]:
        """The block on ``x [N, T, d]``; nothing is cached."""
        future = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        y = self.ln1(x)
        x = x + self.dropout(self.attn(y, y, y, attn_mask=future, need_weights=False)[0])
        return x + self.dropout(self.ffn(self.ln2(x))), None


def plain_step(objective: DecoderObjective, trainer: Trainer) -> Callable[[], None]:
    """A training step as one would first write it, on the same batches."""
    model = Decoder(MODEL)
    model.blocks = nn.ModuleList(
        PlainBlock(MODEL.embed_dim, MODEL.num_heads, MODEL.dropout) for _ in range(MODEL.num_layers)
    )
    optimizer = torch.optim.AdamW(model.parameters(), OURS.learning_rate)
    data, step = objective.data, iter(range(1 << 30))

    def run() -> None:
        rows = trainer.batch_rows(next(step))
        targets = data.targets[rows]
        inputs = F.pad(targets, (1, -1), value=1)
        logits = model(data.vectors[rows], inputs)
        losses = F.cross_entropy(
            logits.flatten(0, 1),
            targets.flatten(),
            ignore_index=PAD,
            reduction="none",
            label_smoothing=OURS.label_smoothing,
        ).view_as(targets)
        assert objective.eos_weights is not None
        losses = torch.where(targets == EOS, objective.eos_weights * losses, losses)
        optimizer.zero_grad()
        (losses.sum() / (targets != PAD).sum()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), OURS.grad_clip)
        optimizer.step()

    return run


def examples(n: int) -> Examples:
    """Real slugs if the data set is there, else tokens at random with lengths like theirs."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(n, MODEL.input_dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    if PAIRS.is_file():
        slugs = pd.read_parquet(PAIRS, columns=["slug"])["slug"].tolist()
        ids = encode(train_bpe(slugs, MODEL.vocab_size), slugs)
        ids = [row for row in ids if len(row) < MODEL.max_slug_tokens]
        return Examples(vectors, [ids[i] for i in rng.choice(len(ids), n)])
    # Gamma with mean 10.7: about 45 % above 10 and 1 % above 23, as measured on real slugs.
    lengths = np.clip(np.round(rng.gamma(8.0, 10.7 / 8.0, n)), 3, 23).astype(int)
    return Examples(vectors, [rng.integers(5, MODEL.vocab_size, m).tolist() for m in lengths])


def main() -> None:
    """Time every variant in turn and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data = examples(8 * OURS.batch_size)
    out_dir = Path(tempfile.mkdtemp())

    def make(config: TrainingConfig) -> tuple[DecoderObjective, Trainer]:
        objective = DecoderObjective(MODEL, config, data, data, torch.device("cpu"))
        return objective, Trainer(objective, config, out_dir)

    def ours(**changes: float | str) -> Callable[[], None]:
        return make(OURS.override(**changes))[1].train_step

    variants = {
        "plain loop": plain_step(*make(OURS)),
        "ours, float32": ours(bf16=False),
        "ours, batch in one piece": ours(micro_batch=OURS.batch_size),
        "ours": ours(),
    }
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for repetition in range(arguments.repetitions + 1):
        for name, step in variants.items():
            began = time.perf_counter()
            step()
            if repetition:  # the first warms up
                seconds[name].append(time.perf_counter() - began)
    plain = statistics.median(seconds["plain loop"])
    print(f"threads {arguments.threads}, medians of {arguments.repetitions} alternating steps")
    print(f"{'':26}{'samples/s':>10}{'ratio':>8}")
    for name, times in seconds.items():
        median = statistics.median(times)
        print(f"{name:26}{OURS.batch_size / median:10.0f}{plain / median:8.2f}")


if __name__ == "__main__":
    main()
