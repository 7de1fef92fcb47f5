"""Sources of documents: which files of a folder are read, and which are left out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from datatrove.io import DataFolder
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from ..common.errors import Vec2SlugError
from ..common.files import file_sha256
from .compression import open_content
from .readers import READABLE, DocumentReader, ending, holds_rows, kind_of

FINEWEB_EDU = "hf://datasets/HuggingFaceFW/fineweb-edu/sample/10BT"
SURE = (".parquet", ".jsonl", ".ndjson", ".md")  # not looked into from afar, before they are read
HASHES = ("blob_id", "ETag", "etag", "md5Hash")  # of a file's content, as file systems name them


@dataclass(frozen=True)
class Source:
    """Files of documents.

    Attributes:
        address: where they are, in full.
        folder: the folder that they are in.
        files: their paths in it, in order.
        left_out: what the other files there are, by path.
        infos: what a remote file system says of each file.
    """

    address: str
    folder: DataFolder
    files: list[str]
    left_out: dict[str, str]
    infos: Mapping[str, Any]

    def reader(self, skip_bad: bool = False) -> DocumentReader:
        """Make the reader of all files; see there for ``skip_bad``."""
        return DocumentReader(self.folder, self.files, skip_bad)

    def hashes(self) -> list[str]:
        """Return a hash of each file's content: SHA-256 here, what its file system knows afar."""
        return [self._hash(path) for path in self.files]

    def _hash(self, path: str) -> str:
        if self.folder.is_local():
            try:
                return file_sha256(self.folder.resolve_paths(path))
            except OSError as error:  # reading it will fail, too
                return f"unreadable: {error.strerror}"
        info = self.infos[path]
        known = next((info[name] for name in HASHES if info.get(name)), None)
        return str(known or self.folder.ukey(path))

    def count_left_out(self) -> dict[str, int]:
        """Count the files that are left out, by what they are and by ending."""
        names = [
            kind if kind == "hidden" else f"{kind} ({PurePosixPath(path).suffix or 'no ending'})"
            for path, kind in self.left_out.items()
        ]
        return dict(Counter(names).most_common())


def open_source(source: str, ignore: Path | None = None, skip_bad: bool = False) -> Source:
    """Open a source: look at what each of its files is.

    Of a folder all files are read that are parquet, JSON or Markdown, whatever their names, packed
    or not, in subfolders too. Others are left out: hidden ones, pictures, pages of HTML, texts.
    But one that may hold documents in another form is refused.

    Args:
        source: a file or folder, any address that fsspec opens (``hf://datasets/...``), or
            ``fineweb-edu`` for the study's own sample.
        ignore: a folder of our own in it, which is no part of the source.
        skip_bad: leave out what would be refused.

    Raises:
        Vec2SlugError: nothing readable is there; or something beside it is refused.
    """
    folder, infos, named = _list_files(FINEWEB_EDU if source == "fineweb-edu" else source)
    address = str(folder.fs.unstrip_protocol(folder._join(next(iter(infos)) if named else "")))
    own = _own(folder, ignore) if ignore and not named else ()
    kinds: dict[str, str] = {}
    for path in sorted(infos):
        if path.startswith(own):
            continue
        hidden = not named and any(part.startswith(".") for part in PurePosixPath(path).parts)
        kinds[path] = "hidden" if hidden else _look(folder, path)
    files = [path for path, kind in kinds.items() if kind in READABLE]
    left_out = {path: kind for path, kind in kinds.items() if kind not in READABLE}
    opened = Source(address, folder, files, left_out, infos)
    refused = [p for p, kind in left_out.items() if kind != "hidden" and holds_rows(kind, p)]
    if not files:
        there = _listed(opened.count_left_out()) or "nothing"
        raise Vec2SlugError(
            f"expected parquet, JSON lines or Markdown at {source!r}, found {there}"
        )
    if refused and not skip_bad:
        names = ", ".join(f"{path} ({left_out[path]})" for path in refused[:5])
        more = f" and {len(refused) - 5} more" if len(refused) > 5 else ""
        raise Vec2SlugError(
            f"expected parquet, JSON lines or Markdown alone at {source!r}, found beside "
            f"{len(files)} such files {names}{more}; unpack or remove them, or leave them out with "
            "--skip-bad"
        )
    return opened


def _listed(counts: Mapping[str, int]) -> str:
    """Say how many files there are of each kind."""
    return ", ".join(f"{count:,} {kind}" for kind, count in counts.items())


def _look(folder: DataFolder, path: str) -> str:
    """Tell what a file is; one that cannot be opened is taken for readable, and fails as such."""
    if not folder.is_local() and ending(path) in SURE:
        return READABLE[0]
    try:
        with folder.open(path, "rb") as handle:
            return kind_of(open_content(handle).head, path)
    except Exception:
        return READABLE[0]


def _own(folder: DataFolder, inner: Path) -> tuple[str, ...]:
    """Return how the paths begin of what is ours in a local folder: of a folder, and of its lock.

    Raises:
        Vec2SlugError: it is the same.
    """
    top = Path(folder.path)
    if not folder.is_local() or not inner.is_relative_to(top):
        return ()
    if inner == top:
        raise Vec2SlugError(f"expected results elsewhere than in the folder that is read, {top}")
    beside = inner.with_name(f".{inner.name}.lock")
    return f"{inner.relative_to(top).as_posix()}/", beside.relative_to(top).as_posix()


def _list_files(address: str) -> tuple[DataFolder, dict[str, Any], bool]:
    """List what is at an address: its folder, the files in it, and whether it names just one.

    Raises:
        Vec2SlugError: the file system says so.
    """
    path = Path(address)
    try:
        if path.is_file():
            path = path.resolve().parent / path.name
            return DataFolder(str(path.parent), LocalFileSystem()), {path.name: {}}, True
        if path.is_dir():
            path = path.resolve()
            return DataFolder(str(path), LocalFileSystem()), _walk(path), False
        system, inner = url_to_fs(address)
        if named := bool(system.isfile(inner)):
            inner, _, name = inner.rpartition("/")
        folder = DataFolder(inner, system)
        infos = {name: system.info(f"{inner}/{name}")} if named else folder.find("", detail=True)
        return folder, infos, named
    except Exception as error:  # each file system raises its own kinds
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
        raise Vec2SlugError(f"expected a folder or file at {address!r}, but: {reason}") from error


def _walk(top: Path) -> dict[str, Any]:
    """List the files below a folder, also through links; what may not be listed raises.

    Raises:
        OSError: of a folder within.
    """

    def stop(error: OSError) -> None:
        raise error

    paths, seen = [], {top, *top.parents}
    for base, folders, names in os.walk(top, onerror=stop, followlinks=True):
        places = {name: (Path(base) / name).resolve() for name in folders}
        folders[:] = [name for name, place in places.items() if place not in seen]
        seen.update(places.values())
        files = [Path(base) / name for name in names]
        paths += [file for file in files if file.is_file() or not file.exists()]  # or a dead link
    return {path.relative_to(top).as_posix(): {} for path in paths}
