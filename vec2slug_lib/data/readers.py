"""Readers of raw documents: parquet in FineWeb's shape, JSON lines, Markdown, packed or plain.

What a file is, its content says. Every row becomes a document, a broken one too: its ``defect``
names what is wrong, and the first filter counts and drops it.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import IO, Any

import pyarrow as pa
from datatrove.data import Document
from datatrove.io import DataFolder
from datatrove.pipeline.readers.base import BaseDiskReader
from loguru import logger

from ..common.errors import Vec2SlugError
from ..common.parquet import open_parquet, undecoded
from .compression import Content, open_content
from .front_matter import FENCED, decode, page_address, split_front_matter

# Here and not in a function: each process imports this module before datatrove starts to log.
logger.disable("datatrove")

COLUMNS = ("id", "url", "text", "title", "source", "license")
BROKEN = "broken_file"  # the defect of the row at which a file breaks off

Row = dict[str, Any] | str  # a raw row, or the defect of one that is no record

JSON_START = re.compile(r'\s*(\{\s*["}]|\[\s*[\[{\]])')
JSON_LINE = re.compile(r'^\s*\{\s*"', re.MULTILINE)
MAGIC = {
    b"PAR1": "parquet", b"PK\x03\x04": "ZIP archive", b"7z\xbc\xaf": "7z archive",
    b"Rar!": "RAR archive", b"\x04\x22\x4d\x18": "LZ4", b"\xff\x06\x00\x00sNaPpY": "Snappy",
    b"ARROW1": "Arrow file", b"Obj\x01": "Avro", b"ORC": "ORC", b"PARE": "encrypted parquet",
    b"SQLite format 3": "SQLite database", b"\x89HDF": "HDF5", b"\x93NUMPY": "NumPy array",
    b"version https://git-lfs": "Git LFS pointer",
}  # fmt: skip
READABLE = ("parquet", "JSON", "Markdown")
# Of these a folder may not hold one beside its documents: there may be documents in it.
ROWS_ELSEWHERE = {*MAGIC.values(), "tar archive", "table of separated values"} - {*READABLE}
PACKED_ENDINGS = (".gz", ".zst", ".zstd", ".bz2", ".xz", ".zip")
JSON_ENDINGS = (".jsonl", ".ndjson", ".json")
PARQUET_ENDINGS = (".parquet", ".pq")
MARKDOWN_ENDINGS = (".md", ".markdown", ".mdown", ".mkd", ".mdx", ".qmd", ".rmd")
TABLE_ENDINGS = (".csv", ".tsv")


def ending(path: str) -> str:
    """Return the ending of a file's name in lower case, without that of its compression."""
    name = PurePosixPath(path.lower())
    while name.suffix in PACKED_ENDINGS:
        name = name.with_suffix("")
    return name.suffix


def kind_of(head: bytes, path: str) -> str:
    """Tell what a file is: one of ``READABLE``, or a description of something else.

    Args:
        head: its first bytes, without compression.
        path: its name, which decides only between texts that could be both, and where the content
            says nothing.
    """
    known = next((kind for magic, kind in MAGIC.items() if head.startswith(magic)), "")
    known = known or ("tar archive" if head[257:262] == b"ustar" else "")
    if known or not head:
        return known or "empty file"
    text, end = _shown(head), ending(path)
    if end in MARKDOWN_ENDINGS:
        return "Markdown"
    if JSON_START.match(text) or (end in JSON_ENDINGS and JSON_LINE.search(text)):
        return "JSON"
    if "\0" in text:
        return "parquet" if end in PARQUET_ENDINGS else "binary data"
    if re.match(r"\s*<(!doctype|html|\?xml)", text, re.IGNORECASE):
        return "HTML page"
    if FENCED.match(text) and end in ("", ".txt", ".text"):
        return "Markdown"
    if end in JSON_ENDINGS:
        return "JSON"
    return "table of separated values" if end in TABLE_ENDINGS else "text"


def holds_rows(kind: str, path: str) -> bool:
    """Tell whether a file that is not readable may hold documents all the same."""
    named_so = ending(path) in (*JSON_ENDINGS, *PARQUET_ENDINGS) or path.endswith(PACKED_ENDINGS)
    return kind in ROWS_ELSEWHERE or (kind != "empty file" and named_so)


def _shown(head: bytes) -> str:
    """Decode the first bytes of a file as far as that goes."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head[: len(head) // 2 * 2].decode("utf-16", "replace")
    return head.decode("utf-8-sig", "replace").replace("\r\n", "\n")


def as_document(row: Row, path: str, number: int) -> Document:
    """Make a document of a raw row, with ``metadata["defect"]`` where the row cannot be used.

    Defects: ``bad_encoding`` (bytes that are not UTF-8, lone surrogates), ``no_url``, ``no_text``,
    ``bad_row`` (not a record at all, or a text or address that is none).

    Args:
        row: the row, or its defect.
        path: of its file; with ``number`` it is the id of a row that brings none.
        number: of the row in its file, from 0.
    """
    record, defect = (row, "") if isinstance(row, dict) else ({}, row)
    values = {}
    for name in COLUMNS:
        value, fault = _as_text(name, record.get(name))
        values[name], defect = value.strip(), defect or fault
    for name in ("url", "text"):
        defect = defect or ("" if values[name] else f"no_{name}")
    document_id = values.pop("id") or f"{path}/{number}"
    text = values.pop("text")
    place = {"defect": defect, "file": path, "row": number}
    return Document(text=text, id=document_id, metadata={**values, **place})


def _as_text(name: str, value: Any) -> tuple[str, str]:
    """Turn a value of a row into text; also return its defect, or ""."""
    if isinstance(value, (list, tuple, dict)) and name in ("url", "text"):
        return "", "bad_row"
    if isinstance(value, bytes):
        try:
            return value.decode(), ""
        except UnicodeDecodeError:  # an id may be a hash
            return (value.hex(), "") if name == "id" else ("", "bad_encoding")
    if isinstance(value, (list, tuple)):  # such as several licences
        value = ", ".join(item for item in value if isinstance(item, str))
    if value is None or isinstance(value, (dict, bool)) or value != value:
        return "", ""
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        return "", "bad_encoding"
    return text, ""


def parquet_rows(source: IO[bytes]) -> Iterator[Row]:
    """Yield the rows of a parquet file; only the columns that we know are read.

    Raises:
        Exception: the file is damaged; all rows before that are yielded. Arrow's kinds of errors
            have no more in common.
    """
    file = open_parquet(source)
    columns = [name for name in COLUMNS if name in file.schema_arrow.names]
    for group in range(file.num_row_groups):  # one by one: a broken one costs none before it
        for batch in file.iter_batches(1000, [group], columns):
            values = [_values(batch.column(name)) for name in columns]
            for number in range(len(batch)):
                yield {name: each[number] for name, each in zip(columns, values, strict=True)}


def _values(column: pa.Array) -> list[Any]:
    """List the values of a column; strings stay bytes, so that a bad one does not lose the rest."""
    column = undecoded(column)
    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError):  # bad UTF-8 in a list, a date beyond all calendars
        return [_value(scalar) for scalar in column]


def _value(scalar: pa.Scalar) -> Any:
    """Return a scalar's value, or bytes that are no text where it has none."""
    try:
        return scalar.as_py()
    except (ValueError, OverflowError):
        return b"\xff"


def json_rows(content: Content) -> Iterator[Row]:
    """Yield the rows of JSON lines, or of JSON whose objects span lines, in an array or not."""
    stream: IO[bytes] = content.stream()
    if content.head.startswith((b"\xff\xfe", b"\xfe\xff")):
        recoded = io.TextIOWrapper(stream, "utf-16", "surrogatepass", "\n")
        lines: Iterator[bytes] = (line.encode(errors="surrogatepass") for line in recoded)
    else:
        lines = iter(stream)
    if _spans_lines(_shown(content.head)):
        text = b"".join(lines).decode("utf-8-sig", "surrogateescape")
        yield from (row if isinstance(row, dict) else "bad_row" for row in _json_values(text))
    else:
        yield from (_json_row(line) for line in lines if line.strip())


def _spans_lines(text: str) -> bool:
    """Tell JSON lines from an array of objects and from objects of several lines each.

    A broken first line does not make it one of the latter.
    """
    first, second = [*(line.strip() for line in text.split("\n") if line.strip()), "", ""][:2]
    if first.startswith("["):
        return re.fullmatch(r"\[\s*(\{.*)?", first) is not None
    return not first.endswith("}") and second != "" and not second.startswith("{")


def _json_values(text: str) -> Iterator[Any]:
    """Yield the values of an array, or values that follow one another.

    Raises:
        ValueError, RecursionError: at the first that is broken, or an array that does not end.
    """
    gap, decoder = re.compile(r"[\s,]*"), json.JSONDecoder()
    at = gap.match(text).end()  # type: ignore[union-attr]
    if array := text.startswith("[", at):
        at = gap.match(text, at + 1).end()  # type: ignore[union-attr]
    while at < len(text) and not (array and text[at] == "]"):
        value, at = decoder.raw_decode(text, at)
        yield value
        at = gap.match(text, at).end()  # type: ignore[union-attr]
    if array and text[at:].strip() != "]":
        raise ValueError("the array does not end where the file does")


def _json_row(line: bytes) -> Row:
    """Parse a line, or name its defect."""
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return "bad_encoding"
    except (ValueError, RecursionError):  # ValueError also for a number of too many digits
        return "bad_row"
    return row if isinstance(row, dict) else "bad_row"


def markdown_row(raw: bytes, path: str, home: str) -> Row:
    """Make the one row of a Markdown file.

    Args:
        raw: its bytes.
        path: of the file, within its folder.
        home: name of the folder.
    """
    try:
        meta, body = split_front_matter(decode(raw))
    except UnicodeDecodeError:
        return "bad_encoding"
    except ValueError:
        return "bad_row"
    return {"id": path, **meta, "url": page_address(path, meta, home), "text": body}


class DocumentReader(BaseDiskReader):  # type: ignore[misc]
    """Reader of files of any of our kinds; a rank reads every n-th of them.

    Args:
        folder: where the files are.
        files: their paths in it.
        skip_bad: make a broken file one more row with the defect ``BROKEN``, after all its rows
            that can be read, instead of raising.
    """

    name = "documents"

    def __init__(self, folder: DataFolder, files: Sequence[str], skip_bad: bool = False) -> None:
        super().__init__(folder)
        self.files, self.skip_bad = list(files), skip_bad

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """Yield the documents of a rank's files."""
        for document in self.read_files_shard(self.files[rank::world_size]):
            self.update_doc_stats(document)
            yield document

    def read_file(self, filepath: str) -> Iterator[Document]:
        """Yield the documents of one file.

        Raises:
            Vec2SlugError: the file is broken, or not ours to read; it and the row are named.
        """
        number = 0
        try:
            for row in self.rows(filepath):
                yield as_document(row, filepath, number)
                number += 1
        except Exception as error:  # what damaged bytes raise, each package decides for itself
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
            if not self.skip_bad:
                raise Vec2SlugError(
                    f"expected a whole {self.kind(filepath)} file, {filepath}, but after {number} "
                    f"rows: {reason}"
                ) from error
            document = as_document(BROKEN, filepath, number)
            document.metadata["detail"] = reason
            yield document

    def rows(self, path: str) -> Iterator[Row]:
        """Yield the raw rows of one file."""
        with self.data_folder.open(path, "rb") as handle:
            content = open_content(handle)
            kind = kind_of(content.head, path)
            if kind == "parquet":
                yield from parquet_rows(io.BytesIO(content.read()) if content.packed else handle)
            elif kind == "JSON":
                yield from json_rows(content)
            elif kind == "Markdown":
                home = PurePosixPath(self.data_folder.path).name
                yield markdown_row(content.read(), path, home)
            else:
                raise ValueError(f"it looks like: {kind}")

    def kind(self, path: str) -> str:
        """Tell what a file is, as `kind_of`; "readable" if it cannot be opened."""
        try:
            with self.data_folder.open(path, "rb") as handle:
                return kind_of(open_content(handle).head, path)
        except Exception:  # whatever the file system raises
            return "readable"
