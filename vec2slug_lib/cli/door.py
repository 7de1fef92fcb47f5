"""The door of the command line: every error leaves as one line, and none as a traceback.

What a user can mend (a full disk, no rights, a broken file, a server, an extra that is not
installed) is said and ends with exit code 2; what only we can mend ends with 1, and its traceback
lies in a file.
"""

from __future__ import annotations

import sys
import tempfile
import traceback
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from lzma import LZMAError
from pathlib import Path

from ..common.errors import Vec2SlugError
from ..common.extras import advice, missing_extra

CAUSED = (OSError, MemoryError, UnicodeError, EOFError, RecursionError, zlib.error, LZMAError)
# Of packages that only some commands load; where one is not loaded, the error is not its.
CAUSED_OF = {
    "pyarrow.lib": "ArrowException",
    "json": "JSONDecodeError",
    "yaml": "YAMLError",
    "httpx": "HTTPError",
    "openai": "OpenAIError",
    "duckdb": "Error",
    "safetensors": "SafetensorError",
    "zstandard": "ZstdError",
}
LONGEST = 500  # characters of what a package says


def leave(error: Exception) -> int:
    """Say on stderr what went wrong, in one line; return the exit code."""
    if isinstance(error, Vec2SlugError):
        code, said = 2, str(error)
    elif is_caused(error):
        code, said = 2, describe(error)
    elif isinstance(error, ModuleNotFoundError) and (extra := missing_extra(error)):
        code, said = 2, advice(extra)
    else:
        code, said = 1, f"a fault of vec2slug itself, {describe(error)}; {_log(error)}"
    print(f"vec2slug: {said}", file=sys.stderr)
    return code


@contextmanager
def naming(path: Path | None, stops: Sequence[str] = ()) -> Iterator[None]:
    """Name the file, if there is one, in what is said of a bad row, and in a warning.

    Args:
        path: of the file.
        stops: what its reader says of the row at which it stopped, which the predictor cannot know.
    """

    def say(message: Warning | str, *_: object) -> None:
        print("vec2slug:", f"{path}: {message}" if path else message, file=sys.stderr)

    try:
        with warnings.catch_warnings():
            warnings.showwarning = say  # type: ignore[assignment]
            yield
    except Vec2SlugError as error:
        row = [said for said in stops if " ".join(said.split()[:2]) + " " in str(error)]
        wanted = "an id in each row" if row and row[0].endswith("no id") else "vectors of one width"
        words = f"expected {wanted}, but {row[0]}" if row else str(error)
        raise Vec2SlugError(f"{path}: {words}" if path else words) from error


def is_caused(error: Exception) -> bool:
    """Tell whether a user can mend the cause of an error."""
    loaded = (getattr(sys.modules.get(module), name, ()) for module, name in CAUSED_OF.items())
    return isinstance(error, (*CAUSED, *(kind for kind in loaded if kind)))


def describe(error: Exception) -> str:
    """Describe an error in one line."""
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        return f"expected to read and write files, but: {error.strerror}{where}"
    if isinstance(error, MemoryError):
        return "expected more memory than this machine has free; try fewer rows or workers"
    words = " ".join(str(error).split())[:LONGEST]
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _log(error: Exception) -> str:
    """Write the traceback of an error to a file; say where."""
    name = f"vec2slug-{datetime.now():%Y%m%d-%H%M%S}.log"
    try:
        path = Path(tempfile.gettempdir()) / name
        path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    except OSError:
        return "its log could not be written"
    return f"please report it with the log in {path}"
