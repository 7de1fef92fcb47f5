"""Decoding with a cache over the graph of one step: numpy and onnxruntime, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from ..common.errors import Vec2SlugError
from ..common.graphs import open_graph
from ..common.vectors import Bools, Floats, Ints
from ..common.vocabulary import BOS, EOS, HYPHEN, SPECIALS
from .scores import Scores, place

PLAIN = "model.onnx"  # the study's graph: no cache
GRAPHS = {"float32": "model_cached.onnx", "int8": "model_quantized.onnx"}
MIN_ALIVE = 0.75  # share of the documents below which the others' memory is given back
ROOM = 8  # nodes by which the memory of a document grows


def open_session(
    path: Path, shape: Mapping[str, Any], threads: int = 0, lean: bool = False
) -> onnxruntime.InferenceSession:
    """Open a session over a graph that is whole, untouched and fits the description beside it.

    Args:
        path: the graph.
        shape: the part ``model`` of ``model.json``.
        threads: that share the work of one call; 0 is one a core.
        lean: see `open_graph`.

    Raises:
        Vec2SlugError: as `open_graph`; or the graph has other inputs or sizes.
    """
    session = open_graph(path, threads, lean)
    shapes = {node.name: node.shape for node in (*session.get_inputs(), *session.get_outputs())}
    heads, vocab = shape["num_heads"], shape["vocab_size"]
    sizes = {"src_embedding": (1, shape["input_dim"]), "token_ids": (0, None)}
    if path.name == PLAIN:
        sizes |= {"logits": (2, vocab)}
    else:
        last = f"keys_{shape['num_layers'] - 1}"
        sizes |= {"subword_logits": (1, vocab - len(SPECIALS)), "mask": (1, 1), last: (1, heads)}
        sizes["positions"] = (0, None)
    for name, (axis, size) in sizes.items():
        if name not in shapes or (size is not None and shapes[name][axis] not in (size, None)):
            has = shapes.get(name, "no such name")
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
        self.last_start = self.last_words = np.zeros((0, 0), np.float32)
        self.width = min(width, shape["vocab_size"] - len(SPECIALS))
        self.names = [node.name for node in session.get_outputs()]
        layers = range(shape["num_layers"])
        self.layers = [f"{kind}_{i}" for i in layers for kind in ("keys", "values")]

    def start(self, embeddings: Floats) -> Scores:
        """Begin a row an embedding ``[N, input_dim]``; return their scores after ``<bos>``."""
        count, d, heads = len(embeddings), self.shape["embed_dim"], self.shape["num_heads"]
        shape = (count, heads, ROOM, d // heads)
        self._keep([np.zeros(shape, np.float32) for _ in self.layers])
        self.head_bias = np.zeros((0, d), np.float32)
        self.no_embeddings = embeddings[:0]
        self.used, self.position = 0, 1
        self.owner = np.arange(count)  # [rows] document of a row, ascending
        sees = np.zeros((count, 1, 2, ROOM + 2), np.bool_)
        sees[:, :, :, ROOM] = sees[:, :, 1, ROOM + 1] = True  # the prefix, and <bos> itself
        scores = self._run(embeddings, np.full(count, BOS), np.array([1]), sees)
        if self.shape.get("head_dim"):
            self.last_start, self.last_words = embeddings, self.outputs["word_logits"].numpy()
        self.seen = np.zeros((count, ROOM), np.bool_)  # [rows, nodes] what a row descends from
        self.seen[:, :2] = True
        return scores

    def step(self, parents: Ints, tokens: Ints) -> Scores:
        """Continue row ``parents[i]`` with ``tokens[i]``; a document's rows stay together."""
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
        scores = self._run(self.no_embeddings, ids.ravel(), np.array([self.position]), sees)
        return scores.take(slot * count + owner)

    def word_logits(self, embeddings: Floats) -> Floats:
        """Return logits ``[N, V]`` of the bag-of-words head."""
        if not np.array_equal(self.last_start, embeddings):  # else the search has asked already
            self.start(embeddings)
        return self.last_words

    def _fit(self, slot: Ints, slots: int) -> None:
        """Make room for new nodes: forget documents without rows, and nodes that no row sees."""
        # A node is a token of a document: a letter where some row descends from it, else x. Dots
        # are room. Documents without rows go, and of the others live nodes move to the left:
        #
        #   document 0  | a x x b x . |         | a b x . . . . . . . . |  document 0
        #   document 1  | x x x x x . |   ->
        #   document 2  | a b x x c . |         | a b c . . . . . . . . |  document 2
        #                  used = 5                used = 3, then ROOM
        first = np.flatnonzero(slot == 0)  # row of each document
        alive, room = self.owner[first], self.caches[0].shape[2]
        if self.used + slots <= room and len(alive) >= MIN_ALIVE * len(self.caches[0]):
            return
        live = np.logical_or.reduceat(self.seen, first)
        self.used = int(live.sum(axis=1).max())
        nodes = np.argsort(~live, axis=1, kind="stable")[:, : self.used]  # those first
        room = self.used + max(ROOM, slots)
        self.inputs: dict[str, onnxruntime.OrtValue] = {}  # so that no layer is kept twice
        self._keep([_moved(self.caches.pop(0), alive, nodes, room) for _ in self.layers])
        if len(self.head_bias):
            self.head_bias = self.head_bias[alive]
        self.owner = np.cumsum(slot == 0) - 1
        seen = np.zeros((len(slot), room), np.bool_)
        seen[:, : self.used] = np.take_along_axis(self.seen, nodes[self.owner], axis=1)
        self.seen = seen

    def _keep(self, caches: list[Floats]) -> None:
        """Take caches, and wrap the same memory for the graph."""
        self.caches = caches
        self.inputs = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(cache)
            for name, cache in zip(self.layers, caches, strict=True)
        }

    def _run(self, embeddings: Floats, ids: Ints, positions: Ints, sees: Bools) -> Scores:
        """Call the graph once, and write its new nodes into the caches."""
        mask = np.where(sees, np.float32(0), np.float32(-np.inf))
        feeds = {
            "src_embedding": embeddings, "token_ids": ids, "mask": mask,
            "positions": positions, "width": np.array([self.width]),
        }  # fmt: skip
        if self.shape.get("head_dim"):
            feeds["topic"] = self.head_bias
        values = {k: onnxruntime.OrtValue.ortvalue_from_numpy(v) for k, v in feeds.items()}
        self.outputs = {}  # frees what the last call left
        outputs = self.session.run_with_ort_values(self.names, values | self.inputs)
        self.outputs = dict(zip(self.names, outputs, strict=True))
        slots = sees.shape[2]
        for name, cache in zip(self.layers, self.caches, strict=True):
            cache[:, :, self.used : self.used + slots] = self.outputs[f"new_{name}"].numpy()[0]
        self.used += slots
        if self.shape.get("head_dim"):
            self.head_bias = self.outputs["new_topic"].numpy()
        return self._scores()

    def _scores(self) -> Scores:
        """Read the scores off the outputs of the last call."""
        special, subwords, total, best, tokens = (
            self.outputs[name].numpy()
            for name in (
                "special_logits", "subword_logits", "log_sum", "best_logits", "best_tokens",
            )
        )  # fmt: skip
        return Scores(special[:, EOS], special[:, HYPHEN], total, best, tokens, subwords)


def _moved(cache: Floats, documents: Ints, nodes: Ints, room: int) -> Floats:
    """Copy some nodes ``[D, n]`` of some documents ``[D]`` to a cache with more room.

    The room has copies of a node: finite, as a weight of 0 would not hide a NaN.
    """
    _, heads, old, width = cache.shape
    padded = np.pad(nodes, ((0, 0), (0, room - nodes.shape[1])))
    lines = (documents[:, None, None] * heads + np.arange(heads)[:, None]) * old + padded[:, None]
    moved: Floats = cache.reshape(-1, width).take(lines, axis=0)
    return moved


class AheadStepper(CachedStepper):
    """Stepper of one document, which asks for a hyphen after each row ahead of time."""

    def start(self, embeddings: Floats) -> Scores:
        """Begin a row ``[1, input_dim]``; return its scores after ``<bos>``."""
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
        """Score the tokens of some rows, and a hyphen after each."""
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
        scores = self._run(self.no_embeddings, ids, positions, sees)
        places = np.arange(count)
        places[rows] = count + token
        self.pool = self.pool.joined(scores).take(np.concatenate([places, count + hyphen]))
        self.seen = seen
        self.hyphens[rows] = count + token


class OnnxStepper:
    """Stepper over the study's ``model.onnx``: no cache, each step runs the whole sequence."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self.session = session

    def start(self, embeddings: Floats) -> Floats:
        """Begin a row an embedding ``[N, d]``; return logits ``[N, V]`` after ``<bos>``."""
        self.embeddings = embeddings
        self.tokens = np.full((len(embeddings), 1), BOS, np.int64)
        return self._logits()

    def step(self, parents: Ints, tokens: Ints) -> Floats:
        """Continue row ``parents[i]`` with ``tokens[i]``; return logits ``[M, V]``."""
        self.embeddings = self.embeddings[parents]
        self.tokens = np.concatenate([self.tokens[parents], tokens[:, None]], axis=1)
        return self._logits()

    def word_logits(self, embeddings: Floats) -> Floats:
        """Return logits ``[N, V]`` of the bag-of-words head."""
        inputs = {"src_embedding": embeddings, "token_ids": np.full((len(embeddings), 1), BOS)}
        logits: Floats = self.session.run(["word_logits"], inputs)[0]
        return logits

    def _logits(self) -> Floats:
        """Run the whole sequences; return the logits of their last tokens."""
        inputs = {"src_embedding": self.embeddings, "token_ids": self.tokens}
        logits: Floats = self.session.run(["logits"], inputs)[0]
        return logits[:, -1]
