"""The bytes of a file without its compression, which its first bytes tell, and not its name."""

from __future__ import annotations

import bz2
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import IO, Any

import zstandard

BLOCK = 1 << 14  # bytes read at a time; what stands before a break is lost within one at most
HEAD = 1 << 16  # bytes that tell what a file is
WINDOW = 1 << 31  # bytes that zstd may look back: large archives are made with --long=31


def _zstd() -> Any:
    """Make a decompressor of one zstd frame."""
    return zstandard.ZstdDecompressor(max_window_size=WINDOW).decompressobj()


# First bytes, and what undoes one member of such a file.
CODECS: dict[re.Pattern[bytes], Callable[[], Any]] = {
    re.compile(rb"\x1f\x8b\x08"): lambda: zlib.decompressobj(zlib.MAX_WBITS | 16),
    re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"): bz2.BZ2Decompressor,
    re.compile(rb"\xfd7zXZ\x00"): lzma.LZMADecompressor,
    re.compile(rb"(\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18)"): _zstd,
}
ZIP = b"PK\x03\x04"


@dataclass(frozen=True)
class Content:
    """What is inside a file.

    Attributes:
        head: the first bytes, up to about ``HEAD``.
        blocks: all bytes, in pieces, the first ones too; to be read once.
        packed: whether the file is compressed.
    """

    head: bytes
    blocks: Iterator[bytes]
    packed: bool = False

    def stream(self) -> IO[bytes]:
        """Open the bytes as a file that is read forwards."""
        return io.BufferedReader(_Stream(self.blocks), HEAD)

    def read(self) -> bytes:
        """Read all bytes."""
        return b"".join(self.blocks)


def open_content(handle: IO[bytes]) -> Content:
    """Look into an open file: gzip, bz2, xz and zstd of any number of members, or a ZIP of one.

    A file that breaks off or is damaged raises where it is read, after all bytes before that.

    Args:
        handle: a seekable file at its start.

    Raises:
        Exception: not one byte can be read; of each compression its own.
    """
    content = _peek(iter(partial(handle.read, BLOCK), b""))
    if content.head.startswith(ZIP) and (member := _only_member(handle)):
        content = _peek(iter(partial(member.read, BLOCK), b""), True)
    while codec := next((new for magic, new in CODECS.items() if magic.match(content.head)), None):
        content = _peek(_decompressed(content.blocks, codec), True)
    return content


def _only_member(handle: IO[bytes]) -> IO[bytes] | None:
    """Open the file in a ZIP archive, if there is just one."""
    try:
        archive = zipfile.ZipFile(handle)
    except zipfile.BadZipFile:
        return None
    names = [member.filename for member in archive.infolist() if not member.is_dir()]
    return archive.open(names[0]) if len(names) == 1 else None


def _peek(blocks: Iterator[bytes], packed: bool = False) -> Content:
    """Look at the first bytes; an error after some of them is kept for whoever reads on."""
    head, end = b"", None
    while len(head) < HEAD and end is None:
        try:
            head += next(blocks)
        except Exception as error:  # the end, too
            end = error
    if end is not None and not head and not isinstance(end, StopIteration):
        raise end

    def again() -> Iterator[bytes]:
        yield head
        if end is None:
            yield from blocks
        elif not isinstance(end, StopIteration):
            raise end

    return Content(head, again(), packed)


def _decompressed(blocks: Iterator[bytes], new: Callable[[], Any]) -> Iterator[bytes]:
    """Yield what compressed blocks hold, member by member; zeros may stand between members.

    Raises:
        EOFError: the last member is not whole.
    """
    member, begun = new(), False
    for block in blocks:
        data = block
        while data := data if begun else data.lstrip(b"\0"):
            begun = True
            yield member.decompress(data)
            data = member.unused_data if member.eof else b""
            if member.eof:
                member, begun = new(), False
    if begun:
        raise EOFError("the compressed data break off")


class _Stream(io.RawIOBase):
    """A file made of blocks of bytes."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks, self._rest = blocks, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._rest = memoryview(block)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
