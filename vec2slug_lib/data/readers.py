"""Readers of raw documents: FineWeb-shaped parquet (local or on a hub), JSON lines, Markdown.

Each reader is a datatrove reader, so files are sharded over ranks. Every row becomes a document,
a broken one too: its ``defect`` names what is wrong, and the first filter counts and drops it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import yaml
from datatrove.data import Document
from datatrove.io import get_datafolder
from datatrove.pipeline.readers.base import BaseDiskReader

from ..common.errors import Vec2SlugError
from ..common.parquet import open_parquet

COLUMNS = ("id", "url", "text", "title", "source", "license")
FINEWEB_EDU = "hf://datasets/HuggingFaceFW/fineweb-edu/sample/10BT"


def as_document(row: dict[str, Any], fallback_id: str) -> Document:
    """Make a document of a raw row, with ``metadata["defect"]`` where the row cannot be used.

    Defects: ``bad_encoding`` (bytes that are not UTF-8, lone surrogates), ``no_url``, ``no_text``,
    ``bad_row`` (not a record at all).
    """
    values, defect = {}, row.get("defect", "")
    for name in COLUMNS:
        value = row.get(name)
        try:
            value = value.decode() if isinstance(value, bytes) else str(value or "")
            value.encode()
        except UnicodeError:
            value, defect = "", defect or "bad_encoding"
        values[name] = value.strip()
    for name in ("url", "text"):
        defect = defect or ("" if values[name] else f"no_{name}")
    document_id = values.pop("id") or fallback_id
    text = values.pop("text")
    return Document(text=text, id=document_id, metadata={**values, "defect": defect})


class RowReader(BaseDiskReader):  # type: ignore[misc]
    """Reader whose subclasses say how the rows of one file are found."""

    name = "rows"

    def rows(self, path: str) -> Iterator[dict[str, Any]]:
        """Yield the raw rows of one file."""
        raise NotImplementedError

    def read_file(self, filepath: str) -> Iterator[Document]:
        """Yield the documents of one file; a row that brings no id gets a stable one."""
        for index, row in enumerate(self.rows(filepath)):
            yield as_document(row, f"{filepath}/{index}")


class ParquetRows(RowReader):
    """Reader of parquet in FineWeb's shape; only the columns that exist are read."""

    def rows(self, path: str) -> Iterator[dict[str, Any]]:
        """Yield rows of bytes, so that one undecodable value does not lose its batch."""
        with self.data_folder.open(path, "rb") as handle:
            try:
                file = open_parquet(handle)
            except pa.ArrowInvalid as error:
                raise Vec2SlugError(f"expected a whole parquet file, {path}: {error}") from error
            columns = [name for name in COLUMNS if name in file.schema_arrow.names]
            for batch in file.iter_batches(batch_size=1000, columns=columns):
                yield from pa.table(
                    {name: _as_bytes(batch.column(name)) for name in columns}
                ).to_pylist()


def _as_bytes(column: pa.Array) -> pa.Array:
    """Turn a column into bytes, undecoded."""
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        column = column.cast(pa.string())
    return column.cast(pa.large_binary())


class JsonLines(RowReader):
    """Reader of JSON lines, plain or compressed; a line that is no object is a ``bad_row``."""

    def rows(self, path: str) -> Iterator[dict[str, Any]]:
        """Yield one row a line; empty lines are passed over."""
        with self.data_folder.open(path, "rb", compression="infer") as handle:
            for line in handle:
                if line.strip():
                    yield _json_row(line)


def _json_row(line: bytes) -> dict[str, Any]:
    """Parse a line, or name its defect."""
    try:
        row = json.loads(line)
    except UnicodeDecodeError:
        return {"defect": "bad_encoding"}
    except json.JSONDecodeError:
        return {"defect": "bad_row"}
    return row if isinstance(row, dict) else {"defect": "bad_row"}


class MarkdownFolder(RowReader):
    """Reader of Markdown with YAML front matter; without a ``url`` there, the path is it."""

    def rows(self, path: str) -> Iterator[dict[str, Any]]:
        """Yield the one row of a file."""
        with self.data_folder.open(path, "rb") as handle:
            raw: bytes = handle.read()
        try:
            meta, body = split_front_matter(raw.decode())
        except (UnicodeDecodeError, yaml.YAMLError) as error:
            undecodable = isinstance(error, UnicodeDecodeError)
            yield {"defect": "bad_encoding" if undecodable else "bad_row"}
            return
        url = meta.get("url") or meta.get("permalink") or str(PurePosixPath(path).with_suffix(""))
        yield {"id": path, **meta, "url": url, "text": body}


def split_front_matter(text: str) -> tuple[dict[str, Any], str]:
    """Split a Markdown text into front matter, an empty dict if there is none, and body."""
    if not text.startswith("---\n"):
        return {}, text
    head, mark, body = text[4:].partition("\n---")
    meta = yaml.safe_load(head) if mark else None
    return (meta, body.lstrip("-\n")) if isinstance(meta, dict) else ({}, text)


READERS: dict[str, type[RowReader]] = {
    "*.parquet": ParquetRows,
    "*.jsonl*": JsonLines,
    "*.md": MarkdownFolder,
}


def open_source(source: str) -> tuple[RowReader, int]:
    """Open a source: a reader for it, and the number of its files.

    Args:
        source: a folder or file with parquet, JSON lines or Markdown, any address that fsspec
            opens (``hf://datasets/...``), or ``fineweb-edu`` for the study's own sample.

    Raises:
        Vec2SlugError: nothing readable is there.
    """
    address = FINEWEB_EDU if source == "fineweb-edu" else source
    if Path(address).is_file():
        file = Path(address)
        for pattern, reader in READERS.items():
            if file.match(pattern):
                return reader(str(file.parent), glob_pattern=f"[{file.name[0]}]{file.name[1:]}"), 1
    else:
        folder = get_datafolder(address)
        for pattern, reader in READERS.items():
            count = len(folder.list_files(glob_pattern=f"**/{pattern}"))
            if count:
                return reader(address, glob_pattern=f"**/{pattern}"), count
    raise Vec2SlugError(
        f"expected parquet, JSON lines or Markdown files at {source!r}, found none of them"
    )
