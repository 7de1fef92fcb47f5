"""A release: one folder a model, in the study's layout, with safetensors instead of pickle."""

from __future__ import annotations

import logging
import warnings
from dataclasses import asdict
from pathlib import Path
from shutil import copyfile
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from . import dataset
from .cached import GRAPHS, PLAIN, CachedStepper, open_session
from .calibration import activation_ranges
from .card import model_card
from .decoding import DecodingConfig
from .errors import Vec2SlugError
from .files import atomic, check_file, file_sha256, known_hash, read_json, write_json
from .merged import is_merged
from .models import Decoder, DecoderConfig
from .risk import RiskConfig
from .runs import Run
from .standalone import standalone
from .step_graph import OPSET, write_step_graph
from .tokens import BOS, EOS, HYPHEN, SPECIALS
from .vocab import encode, token_strings
from .weights import load_decoder, quantised, read_state, save_decoder

TOLERANCE = 1e-3
SAMPLE = 600  # rows that activations are measured on
COMPARED = 64  # rows whose logits are compared with torch's

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
    """Write the release folder of a trained run, all but its graphs.

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
    names = ("model.safetensors", "model.json", "tokenizer.json")
    hashes = {name: file_sha256(folder / name) for name in names}
    write_json(folder / "manifest.train.json", {**manifest, "sha256": hashes})
    with atomic(folder / "README.md") as temporary:
        temporary.write_text(model_card(folder.name, run), encoding="utf-8")


def load_release(folder: Path) -> Decoder:
    """Decoder of a release folder, in float32; the input scale is part of its weights.

    Raises:
        Vec2SlugError: files are missing, or the weights are not those of the manifest.
    """
    return load_decoder(_config(folder), _weights(folder))


def _config(folder: Path) -> DecoderConfig:
    return DecoderConfig(**read_json(folder / "model.json")["model"])


def _weights(folder: Path) -> Path:
    """The weights: ours, or a state dict as the study released it."""
    path = folder / "model.safetensors"
    if not path.is_file() and (folder / "model.pt").is_file():
        path = folder / "model.pt"
    check_file(path, known_hash(folder, path.name))
    return path


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


def export_graphs(folder: Path) -> dict[str, Any]:
    """Write the graphs of a release, ``inference.py`` and ``manifest.onnx.json``.

    ``model.onnx`` has the study's inputs ``src_embedding`` float32 ``[batch, input_dim]`` and
    ``token_ids`` int64 ``[batch, seq]``, and its output ``logits`` float32 ``[batch, seq, vocab]``;
    of a decoder with a word head also ``word_logits`` ``[batch, vocab]``. The other two hold one
    step with a cache, in float32 and in int8: see `step_graph`.

    Returns:
        The manifest: of each graph its size, its hash, and how its logits differ from torch's.

    Raises:
        Vec2SlugError: logits in float32 differ from torch's by more than ``TOLERANCE``.
    """
    (folder / "manifest.onnx.json").unlink(missing_ok=True)  # of graphs that go now
    model, state = load_release(folder), read_state(_weights(folder))
    arrays = {name: value.numpy() for name, value in state.items()}
    shape, sample = read_json(folder / "model.json")["model"], _sample(model, folder)
    ranges = activation_ranges(model, *sample)
    small = arrays if any(v.dtype == np.int8 for v in arrays.values()) else _codes(state)
    with atomic(folder / PLAIN) as path:
        write_plain_graph(model, path)
    with atomic(folder / GRAPHS["float32"]) as path:
        write_step_graph(path, arrays, shape)
    with atomic(folder / GRAPHS["int8"]) as path:
        write_step_graph(path, small, shape, ranges)
    (folder / "inference.py").write_text(standalone(), encoding="utf-8")
    names = (PLAIN, *GRAPHS.values())
    manifest: dict[str, Any] = {
        "opset": {PLAIN: 18, **dict.fromkeys(GRAPHS.values(), OPSET)},
        "tolerance": TOLERANCE,
        "graphs": {name: compare(model, folder / name, *sample) for name in names},
        "sha256": {name: file_sha256(folder / name) for name in (*names, "inference.py")},
    }
    worst = max(manifest["graphs"][name]["max_difference"] for name in (PLAIN, GRAPHS["float32"]))
    if worst > TOLERANCE:
        raise Vec2SlugError(f"expected logits within {TOLERANCE} of torch, got {worst}")
    write_json(folder / "manifest.onnx.json", manifest)
    return manifest


def _codes(state: dict[str, Tensor]) -> dict[str, Any]:
    return {name: value.numpy() for name, value in quantised(state).items()}


def _sample(model: Decoder, folder: Path) -> tuple[Tensor, Tensor]:
    """Vectors and slugs to measure on: training pages where their width fits, else at random."""
    config, rows = model.config, dataset.load(limit=SAMPLE).part("train")
    if rows.vectors.shape[1] == config.input_dim and (folder / "tokenizer.json").is_file():
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        ids = encode(tokenizer, rows.pairs["slug"].tolist())
        cut = [[BOS, *row, EOS][: config.max_slug_tokens] for row in ids]
        longest = max(map(len, cut))
        # Ends are filled with what may stand at an end; its activations count little.
        tokens = torch.tensor([row + [EOS] * (longest - len(row)) for row in cut])
        return torch.from_numpy(rows.vectors), tokens
    random = torch.Generator().manual_seed(0)
    vectors = torch.randn(SAMPLE, config.input_dim, generator=random)
    shape = (SAMPLE, config.max_slug_tokens)
    tokens = torch.randint(len(SPECIALS), config.vocab_size, shape, generator=random)
    tokens[:, 0] = BOS
    return torch.nn.functional.normalize(vectors, dim=1), tokens


def write_plain_graph(model: Decoder, path: Path) -> None:
    """The study's graph: whole sequences in, all logits out."""
    config = model.config
    example = (torch.randn(2, config.input_dim), torch.randint(0, config.vocab_size, (2, 7)))
    batch, seq = torch.export.Dim("batch"), torch.export.Dim("seq", max=config.max_slug_tokens)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own making, none about the model
        torch.onnx.export(
            Graph(model),
            example,
            path,
            input_names=["src_embedding", "token_ids"],
            output_names=outputs(config),
            dynamic_shapes={"src_embedding": {0: batch}, "token_ids": {0: batch, 1: seq}},
            external_data=False,
            dynamo=True,
            verbose=False,
        )


def compare(model: Decoder, path: Path, vectors: Tensor, token_ids: Tensor) -> dict[str, Any]:
    """Size of a graph, largest difference of its logits from torch's, share of equal argmaxes."""
    vectors, token_ids = vectors[:COMPARED], token_ids[:COMPARED]
    with torch.inference_mode():
        expected = model(vectors, token_ids).numpy()
    session = open_session(path, asdict(model.config))
    if path.name == PLAIN:
        inputs = {"src_embedding": vectors.numpy(), "token_ids": token_ids.numpy()}
        found = session.run(["logits"], inputs)[0]
    else:
        # What a search never asks for is not in the scores of a step.
        expected = expected[:, :, [EOS, HYPHEN, *range(len(SPECIALS), expected.shape[2])]]
        found = stepwise(CachedStepper(session, asdict(model.config), 1), vectors, token_ids)
    return {
        "bytes": path.stat().st_size,
        "max_difference": float(np.abs(found - expected).max()),
        "argmax_agreement": float((found.argmax(-1) == expected.argmax(-1)).mean()),
    }


def stepwise(stepper: CachedStepper, vectors: Tensor, token_ids: Tensor) -> Any:
    """Logits ``[N, T, V - 3]`` of <eos>, hyphen and subwords, token by token."""
    rows, found = np.arange(len(vectors)), []
    for t in range(token_ids.shape[1]):
        if t == 0:
            scores = stepper.start(vectors.numpy())
        else:
            scores = stepper.step(rows, token_ids[:, t].numpy())
        found.append(np.column_stack([scores.eos, scores.hyphen, scores.all_subwords(rows)]))
    return np.stack(found, axis=1)
