"""What the machine is and can do: the measure that a benchmark's floor is made of.

Run ``python benchmarks/machine.py [RECORD]``: prints the rates, and mends what a record has of a
busy moment.
"""

from __future__ import annotations

# First, as onnxruntime reads at its own import that it is to report nothing.
from vec2slug_lib.common.files import read_json, write_json  # isort: skip

import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from vec2slug_lib.inference.predictor import LOGITS, ROWS

BEAM = 4
FREE = 0.5  # load of a machine that has nothing else to do


def seconds(work: Callable[[], Any]) -> float:
    """Wall time of a call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def products(
    shapes: Sequence[tuple[int, int]], precision: str, threads: int = 0
) -> onnxruntime.InferenceSession:
    """A session: ``x_I [rows, I]`` times a constant of the shape ``(I, columns)``, for each."""
    rng, real = np.random.default_rng(0), precision == "float32"
    arrays: dict[str, Any] = {} if real else {"s": np.float32(1), "z": np.uint8(128)}
    nodes, outputs = [], []
    for i, (inner, columns) in enumerate(shapes):
        weight, y = rng.integers(-127, 128, (inner, columns)), f"y{i}"
        arrays[f"w{i}"] = weight.astype(np.float32 if real else np.int8)
        if real:
            nodes.append(helper.make_node("MatMul", [f"x_{inner}", f"w{i}"], [y]))
        else:
            arrays[f"t{i}"] = np.ones(columns, np.float32)
            ends = [f"x_{inner}", f"w{i}", "s", f"t{i}", "z"]
            kind = "MatMulIntegerToFloat"
            nodes.append(helper.make_node(kind, ends, [y], domain="com.microsoft"))
        outputs.append(helper.make_tensor_value_info(y, TensorProto.FLOAT, ["rows", columns]))
    kind = TensorProto.FLOAT if real else TensorProto.UINT8
    widths = sorted({inner for inner, _ in shapes})
    inputs = [helper.make_tensor_value_info(f"x_{n}", kind, ["rows", n]) for n in widths]
    constants = [numpy_helper.from_array(np.asarray(v), k) for k, v in arrays.items()]
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    graph = helper.make_graph(nodes, "products", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


def ones(rows: int, widths: Sequence[int], precision: str) -> dict[str, Any]:
    """Inputs of `products`."""
    kind = np.float32 if precision == "float32" else np.uint8
    return {f"x_{width}": np.ones((rows, width), kind) for width in widths}


def alone(shape: Mapping[str, Any], precision: str, rows: int, threads: int) -> float:
    """Seconds of the products of one step of a decoder with nothing between, the fastest of 40."""
    d, layers = shape["embed_dim"], shape["num_layers"]
    shapes = [(d, 3 * d), (d, d), (d, 4 * d), (4 * d, d)] * layers + [(d, shape["vocab_size"])]
    session, x = products(shapes, precision, threads), ones(rows, (d, 4 * d), precision)
    return min(seconds(lambda: session.run(None, x)) for _ in range(40))


def least_products(shape: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """By precision: seconds a row among many, a thread a core, and a call with one page's rows."""
    cores, rows = os.cpu_count() or 1, min(ROWS, LOGITS // (4 * shape["vocab_size"]))
    return {
        precision: {
            "many": alone(shape, precision, rows, 1) / rows / cores,
            "one": alone(shape, precision, BEAM, cores),
        }
        for precision in ("float32", "int8")
    }


def rates(rounds: int = 20) -> dict[str, float]:
    """Of all cores: multiply-adds a second of the layers' shapes, bytes a second from memory.

    The fastest of some rounds, a second apart: a floor is what the machine can do when it is free.
    """
    calls: dict[str, tuple[Callable[[], Any], int]] = {}
    for precision in ("float32", "int8"):
        session, x = products([(384, 1536)], precision), ones(512, [384], precision)
        calls[precision] = partial(session.run, None, x), 512 * 384 * 1536
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


def is_free() -> bool:
    """Whether the machine has nothing else to do; to be asked before a benchmark begins."""
    return os.getloadavg()[0] < FREE


def machine() -> dict[str, Any]:
    """What a record says of where it was made."""
    return {
        "processor": processor(), "cores": os.cpu_count(), "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
    }  # fmt: skip


def main() -> None:
    """Print the rates; in a record, keep the better of what it has and what is measured now."""
    found = rates()
    print({name: f"{value:.3g} a second" for name, value in found.items()})
    for path in map(Path, sys.argv[1:]):
        record = read_json(path)
        record["rates"] = {k: max(v, record["rates"][k]) for k, v in found.items()}
        for model in record["models"].values():
            now = least_products(model["model"])
            known = model.get("products", now)
            model["products"] = {
                p: {k: min(v, known[p][k]) for k, v in times.items()} for p, times in now.items()
            }
        write_json(path, record)


if __name__ == "__main__":
    main()
