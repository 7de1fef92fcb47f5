"""Files that are either whole or absent: write beside the target, then rename over it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from .errors import Vec2SlugError


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path in the target's folder; rename it over ``path`` on success.

    If the block raises, the temporary file is removed and ``path`` stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays at the end: numpy and pandas choose or append a format by it.
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(fd)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(
    path: Path | str, value: Any, indent: int | None = 2, allow_nan: bool = False
) -> None:
    """Write ``value`` as JSON, atomically, on one line if ``indent`` is None.

    Args:
        path: of the file.
        value: what is written.
        indent: spaces a level.
        allow_nan: write NaN and infinities, which JSON does not know but `read_json` does.

    Raises:
        ValueError: there is one, and they are not allowed.
    """
    with atomic(path) as temporary:
        marks = None if indent else (",", ":")
        text = json.dumps(
            value, indent=indent, separators=marks, ensure_ascii=False, allow_nan=allow_nan
        )
        temporary.write_text(text + "\n", encoding="utf-8")


def write_json_lines(
    path: Path | str, values: Iterable[Any], default: Callable[[Any], Any] | None = None
) -> None:
    """Write each value as a line of JSON, atomically; ``default`` turns what JSON does not know."""
    with atomic(path) as temporary:
        text = "".join(json.dumps(value, default=default) + "\n" for value in values)
        temporary.write_text(text, encoding="utf-8")


def read_json(path: Path | str) -> Any:
    """Read one JSON file.

    Raises:
        Vec2SlugError: the file is missing, truncated or not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise Vec2SlugError(f"expected a file at {path}, found none") from error
    except ValueError as error:
        raise Vec2SlugError(f"expected JSON in {path}, but: {error}") from error


def file_sha256(path: Path | str) -> str:
    """Hash a file's bytes: SHA-256, hexadecimal."""
    digest = sha256()
    with Path(path).open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def whole_lines(path: Path) -> int:
    """Count the lines of a file that grows by lines; cut off half a line, left by a kill."""
    if not path.is_file():
        return 0
    count = end = 0
    with path.open("rb+") as file:
        for line in file:
            if line.endswith(b"\n"):
                count, end = count + 1, end + len(line)
        file.truncate(end)
    return count


def check_file(path: Path, sha256: str | None) -> None:
    """Refuse a file that is missing or, where its hash is known, not the one that was written.

    Raises:
        Vec2SlugError: there is no such file, or its SHA-256 is another.
    """
    if not path.is_file():
        raise Vec2SlugError(f"expected a file at {path}, found none")
    if sha256 is not None and file_sha256(path) != sha256:
        raise Vec2SlugError(f"expected {path} with SHA-256 {sha256}: truncated or changed")


def note_hash(folder: Path, name: str) -> None:
    """Write the SHA-256 of a release's file into the manifest of its training."""
    note = folder / "manifest.train.json"
    manifest = read_json(note)
    manifest["sha256"][name] = file_sha256(folder / name)
    write_json(note, manifest)


def known_hash(folder: Path, name: str) -> str | None:
    """Look up the SHA-256 of a release's file in its manifests; None if none names the file."""
    known = None
    for manifest in ("manifest.train.json", "manifest.onnx.json"):
        if (folder / manifest).is_file():
            hashes = read_json(folder / manifest).get("sha256")
            known = hashes.get(name, known) if isinstance(hashes, dict) else known
    return known
