"""Products of bytes as any processor should have them.

Where a processor has AVX2 or AVX512 and not VNNI, onnxruntime adds products of bytes pair by pair
within 16 bits, where large ones saturate. With VNNI, with neither, and in WebAssembly they do not.
"""

from __future__ import annotations

import shutil
from functools import cache

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from vec2slug_lib.inference.steppers import GRAPHS


def copy_with_exact_products(release, folder):
    """Copy a release whose int8 graph multiplies the same bytes as float32."""
    shutil.copy(release / "model.json", folder)
    with_exact_products(release / GRAPHS["int8"], folder / GRAPHS["int8"])


def with_exact_products(graph, out):
    """Write an int8 graph again; it rounds to the same bytes, and multiplies them as float32."""
    model, nodes = onnx.load(graph), []
    for node in model.graph.node:
        nodes += _as_floats(node) if node.op_type == "MatMulIntegerToFloat" else [node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, out)


def _as_floats(node):
    x, codes, scale, scales, zero, _, bias = node.input
    (out,) = node.output
    return [
        helper.make_node("DequantizeLinear", [x, scale, zero], [f"{out}_x"]),
        helper.make_node("DequantizeLinear", [codes, scales], [f"{out}_codes"], axis=1),
        helper.make_node("MatMul", [f"{out}_x", f"{out}_codes"], [f"{out}_product"]),
        helper.make_node("Add", [f"{out}_product", bias], [out]),
    ]


@cache
def bytes_saturate():
    """Whether onnxruntime's sums of products of bytes saturate on this processor."""
    x = helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 4])
    w = helper.make_tensor_value_info("w", TensorProto.INT8, [4, 16])
    y = helper.make_tensor_value_info("y", TensorProto.INT32, [1, 16])
    node = helper.make_node("MatMulInteger", ["x", "w"], ["y"])
    opsets = [helper.make_opsetid("", 20)]
    model = helper.make_model(
        helper.make_graph([node], "product", [x, w], [y]), opset_imports=opsets, ir_version=9
    )
    session = onnxruntime.InferenceSession(model.SerializeToString())
    feeds = {"x": np.full((1, 4), 255, np.uint8), "w": np.full((4, 16), 127, np.int8)}
    return bool((session.run(None, feeds)[0] != 4 * 255 * 127).any())
