"""Decoding with a cache over the graph of one step: numpy and onnxruntime, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from .errors import Vec2SlugError
from .files import check_file, known_hash
from .ranking import Ints, Logits, Scores, place
from .tokens import BOS, EOS, HYPHEN, SPECIALS

PLAIN = "model.onnx"  # the study's graph: no cache
GRAPHS = {"float32": "model_cached.onnx", "int8": "model_quantized.onnx"}
KEPT = 0.75  # share of the documents below which the others' memory is given back
ROOM = 8  # nodes by which the memory of a document grows
Bools = NDArray[np.bool_]


def open_session(
    path: Path, shape: Mapping[str, Any], threads: int = 0
) -> onnxruntime.InferenceSession:
    """Session over a graph that is whole, untouched and fits the description beside it.

    Args:
        path: the graph.
        shape: the part ``model`` of ``model.json``.
        threads: that share the work of one call; 0 is one a core.

    Raises:
        Vec2SlugError: the file is not the one of the manifest, does not load (truncated, or of an
            opset that this onnxruntime does not know), or has other inputs or sizes.
    """
    check_file(path, known_hash(path.parent, path.name))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.disable_quant_qdq", "1")  # see step_graph
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises classes of its own that it does not export
        raise Vec2SlugError(f"expected a whole ONNX graph in {path}, but: {error}") from error
    found = {node.name: node.shape for node in (*session.get_inputs(), *session.get_outputs())}
    heads, vocab = shape["num_heads"], shape["vocab_size"]
    sizes = {"src_embedding": (1, shape["input_dim"]), "token_ids": (0, None)}
    if path.name == PLAIN:
        sizes |= {"logits": (2, vocab)}
    else:
        last = f"keys_{shape['num_layers'] - 1}"
        sizes |= {"subword_logits": (1, vocab - len(SPECIALS)), "mask": (1, 1), last: (1, heads)}
        sizes["positions"] = (0, None)
    for name, (axis, size) in sizes.items():
        if name not in found or (size is not None and found[name][axis] not in (size, None)):
            has = found.get(name, "no such name")
            raise Vec2SlugError(f"expected {name} with size {size} in {path}, got {has}")
    return session


class CachedStepper:
    """Stepper over a step graph; keys and values are stored once a document, for all its rows.

    Args:
        session: over a graph of `step_graph`.
        shape: the part ``model`` of ``model.json``.
        width: best subwords of each row that a search will ask for.
    """

    def __init__(
        self, session: onnxruntime.InferenceSession, shape: Mapping[str, Any], width: int
    ) -> None:
        self.session, self.shape = session, shape
        self.begun = self.words = np.zeros((0, 0), np.float32)
        self.width = min(width, shape["vocab_size"] - len(SPECIALS))
        self.names = [node.name for node in session.get_outputs()]
        layers = range(shape["num_layers"])
        self.layers = [f"{kind}_{i}" for i in layers for kind in ("keys", "values")]

    def start(self, embeddings: Logits) -> Scores:
        """Begin a row an embedding ``[N, input_dim]``; its scores after ``<bos>``."""
        count, d, heads = len(embeddings), self.shape["embed_dim"], self.shape["num_heads"]
        shape = (count, heads, ROOM, d // heads)
        self._keep([np.zeros(shape, np.float32) for _ in self.layers])
        self.topic = np.zeros((0, d), np.float32)
        self.nothing = embeddings[:0]
        self.used, self.position = 0, 1
        self.owner = np.arange(count)  # [rows] document of a row, ascending
        sees = np.zeros((count, 1, 2, ROOM + 2), np.bool_)
        sees[:, :, :, ROOM] = sees[:, :, 1, ROOM + 1] = True  # the prefix, and <bos> itself
        scores = self._run(embeddings, np.full(count, BOS), np.array([1]), sees)
        if self.shape.get("head_dim"):
            self.begun, self.words = embeddings, self.found["word_logits"].numpy()
        self.seen = np.zeros((count, ROOM), np.bool_)  # [rows, nodes] what a row descends from
        self.seen[:, :2] = True
        return scores

    def step(self, parents: Ints, tokens: Ints) -> Scores:
        """Continue row ``parents[i]`` with ``tokens[i]``; rows of a document stay together."""
        self.owner, self.seen = self.owner[parents], self.seen[parents]
        slot = place(self.owner)
        slots = int(slot.max()) + 1
        self._fit(slot, slots)
        owner, (count, _, room, _) = self.owner, self.caches[0].shape
        ids = np.full((slots, count), EOS)  # of slots without a row, which nobody reads
        ids[slot, owner] = tokens
        sees = np.zeros((count, 1, slots, room + slots), np.bool_)
        sees[owner, 0, slot, :room] = self.seen
        sees[:, 0, np.arange(slots), room + np.arange(slots)] = True
        self.seen[np.arange(len(slot)), self.used + slot] = True
        self.position += 1
        scores = self._run(self.nothing, ids.ravel(), np.array([self.position]), sees)
        return scores.take(slot * count + owner)

    def word_logits(self, embeddings: Logits) -> Logits:
        """Logits ``[N, V]`` of the word head."""
        if not np.array_equal(self.begun, embeddings):  # else the search has asked already
            self.start(embeddings)
        return self.words

    def _fit(self, slot: Ints, slots: int) -> None:
        """Make room for new nodes: forget documents without rows, and nodes that no row sees."""
        first = np.flatnonzero(slot == 0)  # row of each document
        alive, room = self.owner[first], self.caches[0].shape[2]
        if self.used + slots <= room and len(alive) >= KEPT * len(self.caches[0]):
            return
        live = np.logical_or.reduceat(self.seen, first)
        self.used = int(live.sum(axis=1).max())
        nodes = np.argsort(~live, axis=1, kind="stable")[:, : self.used]  # those first
        room = self.used + max(ROOM, slots)
        self.inputs: dict[str, onnxruntime.OrtValue] = {}  # so that no layer is kept twice
        self._keep([_moved(self.caches.pop(0), alive, nodes, room) for _ in self.layers])
        self.topic = self.topic[alive] if len(self.topic) else self.topic
        self.owner = np.cumsum(slot == 0) - 1
        seen = np.zeros((len(slot), room), np.bool_)
        seen[:, : self.used] = np.take_along_axis(self.seen, nodes[self.owner], axis=1)
        self.seen = seen

    def _keep(self, caches: list[Logits]) -> None:
        """The caches, and the same memory as the graph reads it."""
        self.caches = caches
        self.inputs = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(cache)
            for name, cache in zip(self.layers, caches, strict=True)
        }

    def _run(self, embeddings: Logits, ids: Ints, positions: Ints, sees: Bools) -> Scores:
        """One call of the graph; its new nodes enter the caches."""
        mask = np.where(sees, np.float32(0), np.float32(-np.inf))
        feeds = {
            "src_embedding": embeddings, "token_ids": ids, "mask": mask,
            "positions": positions, "width": np.array([self.width]),
        }  # fmt: skip
        if self.shape.get("head_dim"):
            feeds["topic"] = self.topic
        values = {k: onnxruntime.OrtValue.ortvalue_from_numpy(v) for k, v in feeds.items()}
        self.found = {}  # frees what the last call left
        found = self.session.run_with_ort_values(self.names, values | self.inputs)
        self.found = dict(zip(self.names, found, strict=True))
        slots = sees.shape[2]
        for name, cache in zip(self.layers, self.caches, strict=True):
            cache[:, :, self.used : self.used + slots] = self.found[f"new_{name}"].numpy()[0]
        self.used += slots
        if self.shape.get("head_dim"):
            self.topic = self.found["new_topic"].numpy()
        return self._scores()

    def _scores(self) -> Scores:
        special, subwords, total, best, tokens = (
            self.found[name].numpy()
            for name in (
                "special_logits", "subword_logits", "log_sum", "best_logits", "best_tokens",
            )
        )  # fmt: skip
        return Scores(special[:, EOS], special[:, HYPHEN], total, best, tokens, subwords)


def _moved(cache: Logits, documents: Ints, nodes: Ints, room: int) -> Logits:
    """Some nodes ``[D, n]`` of some documents ``[D]``, in a cache with more room.

    The room has copies of a node: finite, as a weight of 0 would not hide a NaN.
    """
    _, heads, old, width = cache.shape
    padded = np.pad(nodes, ((0, 0), (0, room - nodes.shape[1])))
    lines = (documents[:, None, None] * heads + np.arange(heads)[:, None]) * old + padded[:, None]
    moved: Logits = cache.reshape(-1, width).take(lines, axis=0)
    return moved
