"""A release: one folder a model, in the study's layout, with safetensors instead of pickle."""

from __future__ import annotations

import logging
import warnings
from dataclasses import asdict
from pathlib import Path
from shutil import copyfile
from typing import Any

import numpy as np
import onnxruntime
import torch
from tokenizers import Tokenizer
from torch import Tensor

from .decoding import DecodingConfig
from .errors import Vec2SlugError
from .experiments import find_experiment
from .files import atomic, file_sha256, read_json, write_json
from .merged import is_merged
from .models import Decoder, DecoderConfig
from .risk import RiskConfig
from .runs import Run
from .tokens import SPECIALS
from .vocab import token_strings
from .weights import load_decoder, save_decoder

TOLERANCE = 1e-3

# It reports packages that it could use and our graph does not need.
logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)


def model_json(
    config: DecoderConfig, tokenizer: Tokenizer, decoding: DecodingConfig
) -> dict[str, Any]:
    """The sidecar: shape, tokens, vocabulary and decoding constants under the study's keys.

    A decoder with a word head has two keys more in its shape, and the settings of its last step.
    """
    names = ("pad", "bos", "eos", "unk", "hyphen")
    content: dict[str, Any] = {
        "model": {
            "input_dim": config.input_dim,
            "embed_dim": config.embed_dim,
            "num_heads": config.num_heads,
            "num_layers": config.num_layers,
            "max_slug_tokens": config.max_slug_tokens,
            "vocab_size": config.vocab_size,
        },
        "tokens": {name: tokenizer.token_to_id(t) for name, t in zip(names, SPECIALS, strict=True)},
        "vocab": {str(i): token for i, token in enumerate(token_strings(tokenizer))},
        "beam_search": {
            "beam_width": decoding.beam_width,
            "length_reward": decoding.length_reward,
            "reward_cap": decoding.reward_cap,
            "min_decode_tokens": decoding.min_tokens,
            "min_slug_words": decoding.min_words,
        },
        "stopwords": sorted(decoding.stopwords),
    }
    if config.head_dim:
        content["model"] |= {"tied": config.tied, "head_dim": config.head_dim}
        content["risk"] = asdict(RiskConfig())
    return content


def release(run: Run, folder: Path) -> None:
    """Write the release folder of a trained run.

    Raises:
        Vec2SlugError: the run's weights are not on this machine, or its vocabulary merges hyphens
            into words, which the predictor does not read.
    """
    weights = run.folder / "model.safetensors"
    if not weights.is_file():
        raise Vec2SlugError(f"expected weights at {weights}, found none: train the run first")
    tokenizer = Tokenizer.from_file(str(run.folder / "tokenizer.json"))
    if is_merged(token_strings(tokenizer)):
        raise Vec2SlugError(f"expected hyphens to be tokens of their own in {run.folder}")
    manifest = run.manifest
    config = DecoderConfig(**manifest["model"])
    folder.mkdir(parents=True, exist_ok=True)
    save_decoder(load_decoder(config, weights), folder / "model.safetensors", int8=True)
    copyfile(run.folder / "tokenizer.json", folder / "tokenizer.json")
    copyfile(run.folder / "history.jsonl", folder / "history.train.jsonl")
    decoding = DecodingConfig(max_tokens=config.max_slug_tokens)
    write_json(folder / "model.json", model_json(config, tokenizer, decoding))
    hashes = {"model.safetensors": file_sha256(folder / "model.safetensors")}
    write_json(folder / "manifest.train.json", {**manifest, "sha256": hashes})
    with atomic(folder / "README.md") as temporary:
        temporary.write_text(model_card(folder.name, run), encoding="utf-8")


def load_release(folder: Path) -> Decoder:
    """Decoder of a release folder, in float32; the input scale is part of its weights.

    Raises:
        Vec2SlugError: files are missing, or the weights are not those of the manifest.
    """
    weights = folder / "model.safetensors"
    shape = read_json(folder / "model.json")["model"]
    expected = read_json(folder / "manifest.train.json")["sha256"]["model.safetensors"]
    if not weights.is_file() or file_sha256(weights) != expected:
        raise Vec2SlugError(f"expected {weights} with SHA-256 {expected}: missing or changed")
    return load_decoder(DecoderConfig(**shape), weights)


def outputs(config: DecoderConfig) -> list[str]:
    """Names of the graph's outputs."""
    return ["logits", "word_logits"] if config.head_dim else ["logits"]


class Graph(torch.nn.Module):
    """A decoder whose word head, if it has one, is an output of its own."""

    def __init__(self, model: Decoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, src_embedding: Tensor, token_ids: Tensor) -> tuple[Tensor, ...]:
        """The outputs, in the order of `outputs`."""
        logits = self.model(src_embedding, token_ids)
        if not self.model.config.head_dim:
            return (logits,)
        return logits, self.model.word_logits(src_embedding)


def export_onnx(folder: Path) -> dict[str, Any]:
    """Write ``model.onnx`` of a release and ``manifest.onnx.json`` with its check against torch.

    Inputs ``src_embedding`` float32 ``[batch, input_dim]`` and ``token_ids`` int64
    ``[batch, seq]``; output ``logits`` float32 ``[batch, seq, vocab]``, and of a decoder with a
    word head also ``word_logits`` ``[batch, vocab]``.

    Raises:
        Vec2SlugError: the graph's logits differ from torch's by more than ``TOLERANCE``.
    """
    model = load_release(folder)
    config = model.config
    example = (torch.randn(2, config.input_dim), torch.randint(0, config.vocab_size, (2, 7)))
    batch, seq = torch.export.Dim("batch"), torch.export.Dim("seq", max=config.max_slug_tokens)
    with atomic(folder / "model.onnx") as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own making, none about the model
        torch.onnx.export(
            Graph(model),
            example,
            temporary,
            input_names=["src_embedding", "token_ids"],
            output_names=outputs(config),
            dynamic_shapes={"src_embedding": {0: batch}, "token_ids": {0: batch, 1: seq}},
            external_data=False,
            dynamo=True,
            verbose=False,
        )
        manifest = check_onnx(model, temporary)
        if manifest["max_difference"] > TOLERANCE:
            raise Vec2SlugError(f"expected logits within {TOLERANCE} of torch, got {manifest}")
    write_json(folder / "manifest.onnx.json", manifest)
    return manifest


def check_onnx(model: Decoder, path: Path, rows: int = 64) -> dict[str, Any]:
    """Largest difference and argmax agreement of a graph against torch on random input."""
    config, random = model.config, torch.Generator().manual_seed(0)
    vectors = torch.nn.functional.normalize(
        torch.randn(rows, config.input_dim, generator=random), dim=1
    )
    shape = (rows, config.max_slug_tokens)
    tokens = torch.randint(0, config.vocab_size, shape, generator=random)
    with torch.inference_mode():
        expected = [output.numpy() for output in Graph(model)(vectors, tokens)]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs = {"src_embedding": vectors.numpy(), "token_ids": tokens.numpy()}
    found = session.run(outputs(config), inputs)
    pairs = list(zip(found, expected, strict=True))
    return {
        "opset": 18,
        "tolerance": TOLERANCE,
        "max_difference": max(float(np.abs(ours - torchs).max()) for ours, torchs in pairs),
        "argmax_agreement": float((found[0].argmax(-1) == expected[0].argmax(-1)).mean()),
    }


CARD = """---
license: mit
language: en
library_name: onnxruntime
tags: [slug-generation, embedding-to-text]
---
# {name}

URL slugs from `all-MiniLM-L6-v2` text embeddings ({input_dim} values a text). A prefix decoder,
{num_layers} layers of width {embed_dim}, trained on {train_rows:,} vector-slug pairs whose slugs
come from real URLs{spans}. Weights are int8 with one scale a row.
Part of the vec2slug book, which tells how it was made and measured.

| metric, {rows:,} held-out documents | value | 95 % interval |
|---|---|---|
{metrics}

Best validation loss {best_val_loss:.3f} at step {best_step:,}; seed {seed}.

## Use
```python
from vec2slug_lib.inference import SlugPredictor

SlugPredictor.from_dir("{name}").predict(vectors)
```
{score}

## Limits
Only for vectors of `all-MiniLM-L6-v2`. English; trained on encyclopaedia, news, documentation and
blog pages, so other kinds of text get vaguer slugs. The usual error is a slug that names the topic
and misses the particular; the book's evaluation page sets it beside simple baselines.
"""

EXPECTED = "A candidate's score is the Token F1 to expect of it, from 0 to 1."
LOG_PROBABILITY = "A candidate's score is its log probability with the search's rewards."


def model_card(name: str, run: Run) -> str:
    """Model card of a release, its numbers from the run's record."""
    manifest, metrics = run.manifest, run.metrics
    spans = find_experiment(manifest["experiment"]).pretrain
    score = EXPECTED if manifest["model"].get("head_dim") else LOG_PROBABILITY
    rows = [
        f"| {metric.replace('_', ' ')} | {m['value']:.3f} | {m['low']:.3f} to {m['high']:.3f} |"
        for metric, m in metrics.items()
    ]
    return CARD.format(
        name=name,
        rows=len(run.predictions),
        metrics="\n".join(rows),
        train_rows=manifest["train_rows"],
        best_val_loss=manifest["result"]["best_val_loss"],
        best_step=manifest["result"]["best_step"],
        seed=manifest["training"]["seed"],
        spans=", after short spans of text" if spans else "",
        score=score,
        **manifest["model"],
    )
