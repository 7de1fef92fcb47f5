"""One step of decoding as an ONNX graph, written straight from the weights of a release.

A document's keys and values are kept once for all its hypotheses, node by node as they were made,
and a mask says from which nodes a hypothesis descends (as in tree attention, Miao et al. 2024,
doi 10.1145/3620666.3651335). So beams are reordered by another mask, and no cache is ever moved.

Weights stay int8 in the file. Of a float32 graph they are multiplied out once, when a session opens
it with ``session.disable_quant_qdq``, and its logits are the model's. An int8 graph multiplies
bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..common.vectors import Array
from ..common.vocabulary import SPECIALS

OPSET = 20
MICROSOFT = "com.microsoft"  # onnxruntime's own operators
SPECIAL, SUBWORD = slice(0, len(SPECIALS)), slice(len(SPECIALS), None)  # rows of the output
Ranges = Mapping[str, tuple[float, float]]  # lowest and highest input of a linear layer


def write_step_graph(
    path: Path, state: Mapping[str, Array], shape: Mapping[str, Any], ranges: Ranges | None = None
) -> None:
    """Write the graph: ``D`` documents with ``W`` slots each, rows slot by slot, ``M = W D``.

    Inputs: ``src_embedding [P, input_dim]``, a row a document at the first call and none later;
    ``token_ids [M - P]`` and their ``positions``, as many or one for all;
    ``mask [D, 1, W, S + W]``, 0 where a slot sees a node of the past or of this call, else minus
    infinity; ``keys_i`` and ``values_i``, each ``[D, heads, S, w]``; ``width [1]``; of a
    decoder with a bag-of-words head ``topic``, its bias, ``[D, d]`` but for the first call's
    ``[0, d]``.

    Outputs for the tokens' rows: ``special_logits [., 5]``, ``subword_logits [., V - 5]`` and their
    ``log_sum``; ``best_logits`` and ``best_tokens [., width]`` of the subwords, best first; the new
    nodes ``new_keys_i`` and ``new_values_i``, each ``[1, D, heads, W, w]``; ``new_topic`` and, of
    the first call's documents, ``word_logits [P, V]``.

    Args:
        path: the file.
        state: weights in the study's layout, arrays by name; matrices may be `weights.quantised`.
        shape: the part ``model`` of a release's ``model.json``.
        ranges: of the inputs of the layers that are to multiply int8; none do if None.
    """
    graph = _Graph(state, shape, ranges)
    graph.build()
    model = helper.make_model(
        helper.make_graph(graph.nodes, "step", graph.inputs, graph.outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)],
        ir_version=9,
    )
    onnx.save(model, path)


def _value(name: str, *shape: str | int, kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


class _Graph:
    """Nodes and constants so far; a method appends what it is named after, returns its output."""

    def __init__(
        self, state: Mapping[str, Array], shape: Mapping[str, Any], ranges: Ranges | None
    ) -> None:
        self.state, self.shape, self.ranges = state, shape, ranges or {}
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.named: set[str] = set()
        self.floats: dict[str, str] = {}  # parameters that are there already
        self.inputs = [
            _value("src_embedding", "begun", shape["input_dim"]),
            _value("token_ids", "rows", kind=TensorProto.INT64),
            _value("positions", "rows or one", kind=TensorProto.INT64),
            _value("mask", "documents", 1, "slots", "nodes"),
            _value("width", 1, kind=TensorProto.INT64),
        ]
        self.outputs = [
            _value("special_logits", "rows", len(SPECIALS)),
            _value("subword_logits", "rows", shape["vocab_size"] - len(SPECIALS)),
            _value("log_sum", "rows"),
            _value("best_logits", "rows", "width"),
            _value("best_tokens", "rows", "width", kind=TensorProto.INT64),
        ]

    def op(self, kind: str, *inputs: str, out: str = "", domain: str = "", **options: Any) -> str:
        out = out or f"node_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [out], domain=domain, **options))
        return out

    def split(self, x: str, sizes: str, *outs: str, axis: int = -1) -> list[str]:
        names = [out or f"node_{len(self.nodes)}_{i}" for i, out in enumerate(outs)]
        self.nodes.append(helper.make_node("Split", [x, sizes], names, axis=axis))
        return names

    def constant(self, value: Array, name: str) -> str:
        if name not in self.named:
            self.named.add(name)
            self.constants.append(numpy_helper.from_array(value, name))
        return name

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64), "_".join(map(str, ("integers", *values))))

    def stored(self, name: str, rows: slice | None = None) -> tuple[str, str]:
        """Return some rows of a parameter as it is stored, and their scales, or "" without them."""
        value, names = self.state[name], []
        parts = {name: value}
        if value.dtype == np.int8:
            parts[f"{name}.scale"] = self.state[f"{name}.scale"].astype(np.float32)[:, None]
        for part, content in parts.items():
            whole = self.constant(content, part)
            if rows is not None:
                begin, end, _ = rows.indices(len(value))
                whole = self.op("Slice", whole, self.integers(begin), self.integers(end))
            names.append(whole)
        return names[0], names[1] if len(names) > 1 else ""

    def parameter(self, name: str, rows: slice | None = None) -> str:
        """Add a parameter in float32."""
        key = f"{name} {rows}"
        if key not in self.floats:
            value, scales = self.stored(name, rows)
            if scales:
                scales = self.op("Reshape", scales, self.integers(-1))
                value = self.op("DequantizeLinear", value, scales, axis=0)
            self.floats[key] = value
        return self.floats[key]

    def embedding(self, name: str, ids: str) -> str:
        """Add rows of a table, taken out before they are multiplied with their scales."""
        value, scales = self.stored(name)
        rows = self.op("Gather", value, ids)
        if not scales:
            return rows
        rows = self.op("Cast", rows, to=TensorProto.FLOAT)
        return self.op("Mul", rows, self.op("Gather", scales, ids))

    def linear(
        self, x: str, name: str, weight: str = "", rows: slice | None = None, out: str = ""
    ) -> str:
        """Add ``x W' + b``; ``name`` has the bias, and the weight too unless that is given."""
        weight = weight or f"{name}weight"
        bias = self.parameter(f"{name}bias", rows)
        if weight not in self.ranges:
            return self.op("Gemm", x, self.parameter(weight, rows), bias, out=out, transB=1)
        # One scale for the input of every row, so that no row depends on another.
        low, high = self.ranges[weight]
        step = np.float32((high - low) / 255)
        scale = self.constant(np.asarray(step), f"{weight}.input_scale")
        zero = self.constant(np.array(round(-low / step), np.uint8), f"{weight}.input_zero")
        codes, scales = self.stored(weight, rows)
        x = self.op("QuantizeLinear", x, scale, zero)
        codes = self.op("Transpose", codes, perm=[1, 0])
        scales = self.op("Reshape", scales, self.integers(-1))
        inputs = (x, codes, scale, scales, zero, "", bias)
        return self.op("MatMulIntegerToFloat", *inputs, out=out, domain=MICROSOFT)

    def norm(self, x: str, name: str) -> str:
        weight, bias = self.parameter(f"{name}.weight"), self.parameter(f"{name}.bias")
        return self.op("LayerNormalization", x, weight, bias, axis=-1, epsilon=1e-5)

    def mlp(self, x: str, *layers: str) -> str:
        """Add linear layers with a GELU between two."""
        for i, name in enumerate(layers):
            x = self.linear(self.op("Gelu", x) if i else x, name)
        return x

    def documents(self, *rest: int, name: str) -> str:
        """Add the shape ``[-1, D, *rest]``."""
        count = self.op("Shape", "mask", start=0, end=1)
        parts = (self.integers(-1), count, self.integers(*rest))
        return self.op("Concat", *parts, out=name, axis=0)

    def attention(self, x: str, layer: int, by_head: str, parts: str) -> str:
        """Add attention of the new nodes over those of the past and their own, ``[W D, d]``."""
        d, heads = self.shape["embed_dim"], self.shape["num_heads"]
        name, new = f"blocks.{layer}.attn.", (f"new_keys_{layer}", f"new_values_{layer}")
        qkv = self.linear(x, f"{name}in_proj_", f"{name}in_proj_weight")
        # [W, D, 3, heads, w] to [3, D, heads, W, w]
        qkv = self.op("Transpose", self.op("Reshape", qkv, by_head), perm=[2, 1, 3, 0, 4])
        q, k, v = self.split(qkv, self.integers(1, 1, 1), "", *new, axis=0)
        self.cache(layer, heads, d // heads)
        product = {"domain": MICROSOFT, "transB": 1, "alpha": (d // heads) ** -0.5}
        scores = [self.op("FusedMatMul", q, keys, **product) for keys in (f"keys_{layer}", k)]
        weights = self.op("Add", self.op("Concat", *scores, axis=-1), "mask")
        past, now = self.split(self.op("Softmax", weights, axis=-1), parts, "", "")
        mixed = self.op(
            "Add", self.op("MatMul", past, f"values_{layer}"), self.op("MatMul", now, v)
        )
        mixed = self.op("Transpose", mixed, perm=[0, 3, 1, 2, 4])
        return self.linear(self.op("Reshape", mixed, self.integers(-1, d)), f"{name}out_proj.")

    def cache(self, layer: int, heads: int, width: int) -> None:
        for name in (f"keys_{layer}", f"values_{layer}"):
            self.inputs.append(_value(name, "documents", heads, "past", width))
            self.outputs.append(_value(f"new_{name}", 1, "documents", heads, "slots", width))

    def build(self) -> None:
        """Add all of it."""
        d, heads = self.shape["embed_dim"], self.shape["num_heads"]
        positions = self.parameter("position_embedding.weight")
        prefix = self.linear("src_embedding", "embedding_projection.")
        prefix = self.op("Add", prefix, self.op("Gather", positions, self.integers(0)))
        tokens = self.embedding("token_embedding.weight", "token_ids")
        tokens = self.op("Add", tokens, self.op("Gather", positions, "positions"))
        x = self.op("Concat", prefix, tokens, axis=0)
        by_head = self.documents(3, heads, d // heads, name="by_head")
        past = self.op("Shape", "keys_0", start=2, end=3)
        parts = self.op("Concat", past, self.op("Shape", "mask", start=2, end=3), axis=0)
        for i in range(self.shape["num_layers"]):
            name = f"blocks.{i}"
            mixed = self.attention(self.norm(x, f"{name}.ln1"), i, by_head, parts)
            x = self.op("Add", x, mixed)
            inner = self.mlp(self.norm(x, f"{name}.ln2"), f"{name}.ffn.0.", f"{name}.ffn.3.")
            x = self.op("Add", x, inner)
        begun = self.op("Shape", "src_embedding", start=0, end=1)
        x = self.op("Slice", x, begun, self.integers(2**62), self.integers(0))
        if self.shape.get("head_dim"):
            x = self.add_word_bias(x)
        self.unembed(x)

    def add_word_bias(self, x: str) -> str:
        """Add the bag-of-words bias of each document to all its rows."""
        d = self.shape["embed_dim"]
        layers = [f"word_head.network.{i}." for i in (0, 3, 6)]
        bias = self.op(
            "Add",
            self.linear("src_embedding", "word_head.straight."),
            self.mlp("src_embedding", *layers),
        )
        self.inputs.append(_value("topic", "known", d))
        self.outputs.append(_value("new_topic", "documents", d))
        self.outputs.append(_value("word_logits", "begun", self.shape["vocab_size"]))
        state = self.norm(bias, "ln_final")
        parts = [self.output_layer(state, rows) for rows in (SPECIAL, SUBWORD)]
        self.op("Concat", *parts, out="word_logits", axis=-1)
        biases = self.op("Concat", bias, "topic", out="new_topic", axis=0)
        by_slot = self.documents(d, name="by_slot")
        x = self.op("Add", self.op("Reshape", x, by_slot), biases)
        return self.op("Reshape", x, self.integers(-1, d))

    def output_layer(self, x: str, rows: slice, out: str = "") -> str:
        table = "token_embedding" if self.shape.get("tied") else "output_projection"
        return self.linear(x, "output_projection.", f"{table}.weight", rows, out)

    def unembed(self, x: str) -> None:
        """Add logits, and what a search asks of those of the subwords."""
        x = self.norm(x, "ln_final")
        self.output_layer(x, SPECIAL, "special_logits")
        logits = self.output_layer(x, SUBWORD, "subword_logits")
        outs = ["best_logits", "places"]
        self.nodes.append(helper.make_node("TopK", [logits, "width"], outs, axis=-1))
        self.op("Add", "places", self.integers(len(SPECIALS)), out="best_tokens")
        # The softmax of the best token is one over the sum that is wanted: log_sum = best - log p.
        probabilities = self.op("Softmax", logits, axis=-1)
        highest = self.op("ReduceMax", probabilities, self.integers(-1), keepdims=0)
        best = self.op("Gather", "best_logits", self.constant(np.array(0), "zero"), axis=1)
        self.op("Sub", best, self.op("Log", highest), out="log_sum")
