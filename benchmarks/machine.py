"""What the machine is and can do: the measure that a benchmark's floor is made of.

Run ``python benchmarks/machine.py [RECORD]``: prints the rates, and raises those of a record that
were taken while the machine was busy.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from vec2slug_lib.files import read_json, write_json


def seconds(work: Callable[[], Any]) -> float:
    """Wall time of a call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def product(rows: int, inner: int, columns: int, precision: str) -> onnxruntime.InferenceSession:
    """A session that multiplies ``[rows, inner]`` with a constant ``[inner, columns]``."""
    rng = np.random.default_rng(0)
    if precision == "float32":
        weight, kind = rng.normal(size=(inner, columns)).astype(np.float32), TensorProto.FLOAT
        nodes, extra = [helper.make_node("MatMul", ["x", "w"], ["y"])], {}
    else:
        weight, kind = rng.integers(-127, 128, (inner, columns)).astype(np.int8), TensorProto.UINT8
        inputs = ["x", "w", "s", "t", "z"]
        nodes = [helper.make_node("MatMulIntegerToFloat", inputs, ["y"], domain="com.microsoft")]
        scales = np.ones(columns, np.float32)
        extra = {"s": np.float32(1), "t": scales, "z": np.uint8(128)}
    arrays = {"w": weight} | extra
    constants = [numpy_helper.from_array(np.asarray(v), k) for k, v in arrays.items()]
    x = helper.make_tensor_value_info("x", kind, [rows, inner])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, columns])
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(
        helper.make_graph(nodes, "product", [x], [y], constants), opset_imports=opsets, ir_version=9
    )
    return onnxruntime.InferenceSession(model.SerializeToString())


def rates(rounds: int = 20) -> dict[str, float]:
    """Of all cores: multiply-adds a second of the layers' shapes, bytes a second from memory.

    The fastest of some rounds, a second apart: a floor is what the machine can do when it is free.
    """
    calls: dict[str, tuple[Callable[[], Any], int]] = {}
    for precision, kind in (("float32", np.float32), ("int8", np.uint8)):
        session, x = product(512, 384, 1536, precision), np.ones((512, 384), kind)
        calls[precision] = partial(session.run, None, {"x": x}), 512 * 384 * 1536
    parts = np.ones((os.cpu_count() or 1, 1 << 25), np.float32)  # 128 MiB each, beyond any cache
    with ThreadPoolExecutor(len(parts)) as pool:  # numpy lets go of the lock
        calls["bytes"] = lambda: list(pool.map(np.max, parts)), parts.nbytes
        least = dict.fromkeys(calls, np.inf)
        for _ in range(rounds):
            for name, (call, _amount) in calls.items():
                least[name] = min(least[name], *(seconds(call) for _ in range(5)))
            time.sleep(1)
    return {name: amount / least[name] for name, (_, amount) in calls.items()}


def processor() -> str:
    """Name of the processor and of its instructions for narrow products, where it tells."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.is_file() else ""
    names = [line.split(":")[1].strip() for line in text.splitlines() if "model name" in line]
    known = [flag for flag in ("avx512_vnni", "amx_int8", "avx_vnni") if flag in text.split()]
    name = names[0] if names else platform.processor()
    return f"{name} ({', '.join(known) or 'no narrow products'})"


def main() -> None:
    """Print the rates, and raise those of a record where they are higher now."""
    found = rates()
    print({name: f"{value:.3g} a second" for name, value in found.items()})
    for path in map(Path, sys.argv[1:]):
        record = read_json(path)
        highest = {name: max(value, record["rates"][name]) for name, value in found.items()}
        write_json(path, record | {"rates": highest})


if __name__ == "__main__":
    main()
