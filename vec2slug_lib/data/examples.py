"""The twelve short articles that the book runs through every phase, and their vectors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..common.errors import Vec2SlugError
from ..common.slugs import is_valid, rejection
from ..common.vectors import Floats, check_vectors
from ..common.workspace import current
from ..embedding.base import Embedder
from ..embedding.registry import find_embedder

FRONT_MATTER = re.compile(r"---\n(.*?)\n---\n(.*)", re.DOTALL)


@dataclass(frozen=True)
class Example:
    """One article and the slug that a careful editor would give it."""

    name: str  # of its file, without the ending
    title: str
    slug: str
    text: str


def load_examples(folder: Path | None = None) -> list[Example]:
    """Read all examples of a folder, sorted by name; its ``README.md`` is none.

    Args:
        folder: default ``examples`` in the data folder of the workspace.

    Raises:
        Vec2SlugError: no example there, or one that is not UTF-8, or lacks front matter, a title,
            a text or a slug that the corpus rules accept.
    """
    folder = folder or current().data / "examples"
    paths = sorted(path for path in folder.glob("*.md") if path.name != "README.md")
    if not paths:
        raise Vec2SlugError(f"expected examples ending in .md in {folder}, found none")
    return [_read(path) for path in paths]


def example_vectors(embedder: Embedder) -> Floats:
    """Embed the examples: unit vectors float32 ``[12, dimensions]``, as `load_examples` has them.

    Only the text is embedded, without the title, as it is for the pages of the data set.
    """
    texts = [example.text for example in load_examples()]
    return check_vectors(embedder.embed(texts), embedder.dimensions)


def vectors_by(embedder: str) -> Floats:
    """Read the vectors of the examples by the data folder's embedder, or make local ones.

    Those of a remote embedder lie in the folder, in ``examples.<embedder>.npy``.

    Returns:
        As `example_vectors`.

    Raises:
        Vec2SlugError: they do not, and the embedder is not the local one.
    """
    path = current().data / f"examples.{embedder}.npy"
    if path.is_file():
        return check_vectors(np.load(path))
    info = find_embedder(embedder)
    if info is None or not info.local:
        raise Vec2SlugError(f"expected vectors of the examples at {path}, found none")
    return example_vectors(info.open())


def _read(path: Path) -> Example:
    """Read one example."""
    try:
        match = FRONT_MATTER.fullmatch(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise Vec2SlugError(f"expected UTF-8 in {path}, but: {error}") from error
    if match is None:
        raise Vec2SlugError(f"expected {path} to begin with fields between lines of ---")
    pairs = [line.partition(":") for line in match[1].splitlines()]
    fields = {key.strip(): value.strip() for key, _, value in pairs}
    fields["text"] = match[2].strip()
    for name in ("title", "slug", "text"):
        if not fields.get(name):
            raise Vec2SlugError(f"expected a {name} in {path}, got none")
    title, slug = fields["title"], fields["slug"]
    if not is_valid(slug) or rejection(slug):
        raise Vec2SlugError(f"expected a slug of 3 to 8 words in {path}, got {slug!r}")
    return Example(path.stem, title, slug, fields["text"])
