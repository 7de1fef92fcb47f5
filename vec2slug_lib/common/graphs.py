"""ONNX graphs, opened one way: whole, untouched, on the CPU, or with one line that says why not."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import onnxruntime

from .errors import Vec2SlugError
from .files import check_file, known_hash


def open_graph(
    path: Path, threads: int = 0, lean: bool = False, keep_bytes: bool = False
) -> onnxruntime.InferenceSession:
    """Open a session over a graph whose matrices may be stored as int8.

    Products are computed in float32, to the same numbers but for rounding in every way to open it.

    Args:
        path: the graph; manifests beside it say what its SHA-256 must be.
        threads: that share the work of one call; 0 is one a core.
        lean: do not lay matrices out anew for the processor. That opens sooner and takes less
            memory; each call is slower. For a process that asks for a slug or two.
        keep_bytes: multiply a matrix out at each call, not once, which takes a quarter of the
            memory and some times as long; for graphs that are called twice.

    Raises:
        Vec2SlugError: the file is missing, is not the one of the manifest, or does not load
            (truncated, or of an opset that this onnxruntime does not know).
    """
    check_file(path, known_hash(path.parent, path.name))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Without either, onnxruntime would make products of bytes, which are rougher.
    if keep_bytes:
        options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    else:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    if lean or keep_bytes:
        # Waiting threads would take time from the graph that is opened beside this one.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.enable_cpu_mem_arena = False  # it takes more than is asked for
    if lean:
        options.add_session_config_entry("session.disable_prepacking", "1")
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises classes of its own that it does not export
        raise Vec2SlugError(f"expected a whole ONNX graph in {path}, but: {error}") from error
    if lean or keep_bytes:
        _trim()
    return session


def _trim() -> None:
    """Give memory that opening a graph needed for a moment back to the system, where it can be."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)
