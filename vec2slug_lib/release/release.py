"""A release: one folder a model, in the study's layout, with safetensors instead of pickle."""

from __future__ import annotations

import logging
import warnings
from dataclasses import asdict
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from ..common.errors import Vec2SlugError
from ..common.files import atomic, check_file, file_sha256, known_hash, read_json, write_json
from ..common.vocabulary import BOS, EOS, HYPHEN, PAD, SPECIALS
from ..data import dataset
from ..evaluation.records import Run
from ..inference.mbr import MBRConfig
from ..inference.release_folder import DECODING_KEYS, SHAPE, Precision, lacks_graph
from ..inference.settings import DecodingConfig
from ..inference.steppers import GRAPHS, PLAIN, CachedStepper, open_session
from ..inference.text_model import TEXT_MODEL
from ..model.decoder import Decoder, DecoderConfig
from ..model.merged_hyphens import is_merged
from ..model.tokenizer import encode_slugs, token_strings
from ..model.weights import load_decoder, quantised, read_state, save_decoder
from .model_card import model_card
from .quantization import activation_ranges
from .standalone import standalone
from .step_graph import OPSET, write_step_graph
from .training_vectors import write_training_vectors

TOLERANCE = 1e-3
SAMPLE = 600  # rows that quantization ranges are measured on
COMPARED = 64  # rows whose logits are compared with torch's

# It reports packages that it could use and our graph does not need.
logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)


def model_json(
    config: DecoderConfig, tokenizer: Tokenizer, decoding: DecodingConfig
) -> dict[str, Any]:
    """Describe a release: shape, tokens, vocabulary and decoding under the study's keys.

    What `ReleaseConfig` reads. A decoder with a bag-of-words head has two keys more in its shape,
    and the settings of MBR decoding.
    """
    names = ("pad", "bos", "eos", "unk", "hyphen")
    content: dict[str, Any] = {
        "model": {name: getattr(config, name) for name in SHAPE},
        "tokens": {name: tokenizer.token_to_id(t) for name, t in zip(names, SPECIALS, strict=True)},
        "vocab": {str(i): token for i, token in enumerate(token_strings(tokenizer))},
        "beam_search": {key: getattr(decoding, field) for field, key in DECODING_KEYS.items()},
        "stopwords": sorted(decoding.stopwords),
    }
    if config.head_dim:
        content["model"] |= {"tied": config.tied, "head_dim": config.head_dim}
        content["risk"] = MBRConfig().to_json()
    return content


def export_release(run: Run, folder: Path, pretrained: bool = False) -> None:
    """Write the release folder of a trained run, all but its graphs.

    Args:
        run: its record, with weights and tokenizer.
        folder: of the release.
        pretrained: whether it began with spans of text, for the model card.

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
    write_json(folder / "model.json", model_json(config, tokenizer, decoding), indent=None)
    names = ("model.safetensors", "model.json", "tokenizer.json")
    hashes = {name: file_sha256(folder / name) for name in names}
    write_json(folder / "manifest.train.json", {**manifest, "sha256": hashes})
    describe_training_vectors(folder)
    (folder / TEXT_MODEL).unlink(missing_ok=True)  # of the weights that were here before
    with atomic(folder / "README.md") as temporary:
        temporary.write_text(model_card(folder.name, run, pretrained), encoding="utf-8")


def describe_training_vectors(folder: Path) -> None:
    """Write what a release says of its training vectors, if they are those of the workspace."""
    trained_on = read_json(folder / "manifest.train.json").get("data")
    if trained_on and trained_on == dataset.ids_digest((data := dataset.load()).pairs["id"]):
        rows = data.part("train")
        write_training_vectors(folder, rows.vectors, rows.pairs["source"].tolist())


def load_release(folder: Path) -> Decoder:
    """Load the decoder of a release folder, in float32; its weights include the input scale.

    Raises:
        Vec2SlugError: files are missing, or the weights are not those of the manifest.
    """
    return load_decoder(_config(folder), _weights(folder))


def _config(folder: Path) -> DecoderConfig:
    return DecoderConfig(**read_json(folder / "model.json")["model"])


def _weights(folder: Path) -> Path:
    """Return the path of the weights: ours, or a state dict as the study released it."""
    path = folder / "model.safetensors"
    if not path.is_file() and (folder / "model.pt").is_file():
        path = folder / "model.pt"
    check_file(path, known_hash(folder, path.name))
    return path


def outputs(config: DecoderConfig) -> list[str]:
    """Return the names of the plain graph's outputs."""
    return ["logits", "word_logits"] if config.head_dim else ["logits"]


class Graph(torch.nn.Module):
    """A decoder whose bag-of-words head, if it has one, is an output of its own."""

    def __init__(self, model: Decoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, src_embedding: Tensor, token_ids: Tensor) -> tuple[Tensor, ...]:
        """Compute the outputs, in the order of `outputs`."""
        logits = self.model(src_embedding, token_ids)
        if not self.model.config.head_dim:
            return (logits,)
        return logits, self.model.word_logits(src_embedding)


def ensure_graphs(folder: Path, precision: Precision = "float32") -> None:
    """Make the graphs of a release that has its weights and not yet the graph of a precision."""
    if lacks_graph(folder, precision):
        export_graphs(folder)


def export_graphs(folder: Path) -> dict[str, Any]:
    """Write the graphs of a release, ``inference.py`` and ``manifest.onnx.json``.

    ``model.onnx`` has the study's inputs ``src_embedding`` float32 ``[batch, input_dim]`` and
    ``token_ids`` int64 ``[batch, seq]``, and its output ``logits`` float32 ``[batch, seq, vocab]``;
    of a decoder with a bag-of-words head also ``word_logits`` ``[batch, vocab]``. The other two
    hold one step with a cache, in float32 and in int8: see `step_graph`.

    Returns:
        The manifest: of each graph its size, its hash, and how its logits differ from torch's.

    Raises:
        Vec2SlugError: logits in float32 differ from torch's by more than ``TOLERANCE``.
    """
    check_file(folder / "model.json", known_hash(folder, "model.json"))
    (folder / "manifest.onnx.json").unlink(missing_ok=True)  # of graphs that go now
    with TemporaryDirectory(dir=folder) as scratch:  # no graph is in the folder before its check
        manifest = _write_graphs(folder, Path(scratch))
        exact = [manifest["graphs"][name] for name in (PLAIN, GRAPHS["float32"])]
        if (worst := max(graph["max_difference"] for graph in exact)) > TOLERANCE:
            raise Vec2SlugError(f"expected logits within {TOLERANCE} of torch, got {worst}")
        for name in manifest["sha256"]:
            (Path(scratch) / name).replace(folder / name)
    write_json(folder / "manifest.onnx.json", manifest)
    return manifest


def _write_graphs(folder: Path, out: Path) -> dict[str, Any]:
    """Write what `export_graphs` does into a folder of its own; return the manifest."""
    weights, names = _weights(folder), (PLAIN, *GRAPHS.values())
    model = load_decoder(_config(folder), weights)
    sample = _sample(model, folder)
    write_plain_graph(model, out / PLAIN)
    write_step_graphs(model, weights, out, sample)
    (out / "inference.py").write_text(standalone(), encoding="utf-8")
    return {
        "opset": {PLAIN: 18, **dict.fromkeys(GRAPHS.values(), OPSET)},
        "tolerance": TOLERANCE,
        "graphs": {name: compare(model, out / name, *sample) for name in names},
        "sha256": {name: file_sha256(out / name) for name in (*names, "inference.py")},
        "made_of": {path.name: file_sha256(path) for path in (weights, folder / "model.json")},
    }


def write_step_graphs(
    model: Decoder, weights: Path, folder: Path, sample: tuple[Tensor, Tensor]
) -> None:
    """Write both graphs of a step, from the weights as they are stored."""
    state = read_state(weights)
    codes = state if any(v.dtype == torch.int8 for v in state.values()) else quantised(state)
    exact, small = ({k: v.numpy() for k, v in kind.items()} for kind in (state, codes))
    shape = asdict(model.config)
    write_step_graph(folder / GRAPHS["float32"], exact, shape)
    ranges = activation_ranges(model, *sample)
    write_step_graph(folder / GRAPHS["int8"], small, shape, ranges)


def _sample(model: Decoder, folder: Path) -> tuple[Tensor, Tensor]:
    """Return vectors and slugs to measure on: training pages if their width fits, else random."""
    config, rows = model.config, dataset.load(limit=SAMPLE).part("train")
    if rows.vectors.shape[1] == config.input_dim and (folder / "tokenizer.json").is_file():
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokens = encode_slugs(tokenizer, rows.pairs["slug"].tolist(), config.max_slug_tokens)
        tokens[tokens == PAD] = EOS  # which a model meets at an end, unlike padding
        return torch.from_numpy(rows.vectors), tokens
    random = torch.Generator().manual_seed(0)
    vectors = torch.randn(SAMPLE, config.input_dim, generator=random)
    shape = (SAMPLE, config.max_slug_tokens)
    tokens = torch.randint(len(SPECIALS), config.vocab_size, shape, generator=random)
    tokens[:, 0] = BOS
    return torch.nn.functional.normalize(vectors, dim=1), tokens


def write_plain_graph(model: Decoder, path: Path) -> None:
    """Write the study's graph: whole sequences in, all logits out."""
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
    """Compare a graph's logits with torch's: bytes, largest difference, share of equal argmaxes.

    The logits of a bag-of-words head, where there is one, count in the difference.
    """
    vectors, token_ids = vectors[:COMPARED], token_ids[:COMPARED]
    with torch.inference_mode():
        expected = [output.numpy() for output in Graph(model)(vectors, token_ids)]
    session, shape = open_session(path, asdict(model.config)), asdict(model.config)
    if path.name == PLAIN:
        inputs = {"src_embedding": vectors.numpy(), "token_ids": token_ids.numpy()}
        ours = session.run(outputs(model.config), inputs)
    else:
        # What a search never asks for is not in the scores of a step.
        asked = [EOS, HYPHEN, *range(len(SPECIALS), shape["vocab_size"])]
        expected[0] = expected[0][:, :, asked]
        stepper = CachedStepper(session, shape, 1)
        ours = [stepwise(stepper, vectors, token_ids)]
        ours += [stepper.word_logits(vectors.numpy())] if model.config.head_dim else []
    pairs = zip(ours, expected, strict=True)
    return {
        "bytes": path.stat().st_size,
        "max_difference": max(float(np.abs(a - b).max()) for a, b in pairs),
        "argmax_agreement": float((ours[0].argmax(-1) == expected[0].argmax(-1)).mean()),
    }


def stepwise(stepper: CachedStepper, vectors: Tensor, token_ids: Tensor) -> Any:
    """Compute logits ``[N, T, V - 3]`` of <eos>, hyphen and subwords, token by token."""
    rows, logits = np.arange(len(vectors)), []
    for t in range(token_ids.shape[1]):
        if t == 0:
            scores = stepper.start(vectors.numpy())
        else:
            scores = stepper.step(rows, token_ids[:, t].numpy())
        logits.append(np.column_stack([scores.eos, scores.hyphen, scores.all_subwords(rows)]))
    return np.stack(logits, axis=1)
