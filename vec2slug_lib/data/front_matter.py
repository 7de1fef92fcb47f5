"""Markdown as sites keep it: front matter in YAML, TOML or JSON, and the address of its page.

Front matter and names of files are read as Jekyll and Hugo read them.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import PurePosixPath
from typing import Any

import yaml

FENCED = re.compile(r"(---|\+\+\+)[ \t]*\n(.*?)^(?:\1|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL | re.M)
JSON = re.compile(r'\{\s*["}]')  # and not `{{< figure >}}`, nor `{% include %}`
DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}-(?=.)")  # before the name of a post
LANGUAGE = re.compile(r"\.[a-z]{2}(-[a-z]{2})?$")  # after a name, as in `index.en.md`
PLACEHOLDER = re.compile(r":\w+")  # in a permalink that is a pattern, and not an address
PATTERNS = ("date", "pretty", "ordinal", "weekdate", "none")  # Jekyll's names for such patterns


def decode(raw: bytes) -> str:
    """Decode a text of UTF-8, or of UTF-16 if it says so, with line ends of any system.

    Raises:
        UnicodeDecodeError: it is neither.
    """
    utf16 = raw.startswith((b"\xff\xfe", b"\xfe\xff")) and len(raw) % 2 == 0
    text = raw.decode("utf-16" if utf16 else "utf-8-sig")
    return text.replace("\r\n", "\n")


def split_front_matter(text: str) -> tuple[dict[str, Any], str]:
    """Split a Markdown text into front matter, an empty dict if there is none, and body.

    Keys are in lower case. Values of YAML come as they were typed, so that a date that is none, or
    a title `No`, is just a string.

    Raises:
        ValueError: the front matter is broken.
    """
    match = FENCED.match(text)
    try:
        if JSON.match(text):
            meta, end = json.JSONDecoder().raw_decode(text)
        elif match:
            load = tomllib.loads if match[1] == "+++" else _load_yaml
            meta, end = load(match[2]), match.end()
        else:
            return {}, text
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"expected front matter, but: {error}") from error
    if not isinstance(meta, dict):  # a text between two lines
        return {}, text
    return _lowered(meta), text[end:].lstrip("\n")


def _load_yaml(text: str) -> Any:
    """Read YAML with all its values as strings."""
    return yaml.load(text, yaml.BaseLoader) or {}  # it makes nothing but strings


def _lowered(meta: dict[Any, Any]) -> dict[str, Any]:
    """Give front matter keys in lower case, and no value where YAML says that there is none."""
    values = {str(key).lower(): value for key, value in meta.items()}
    return {k: v for k, v in values.items() if not (isinstance(v, str) and v in ("null", "~"))}


def page_address(path: str, meta: dict[str, Any], home: str = "") -> str:
    """Return the address of a Markdown file's page, or "" if it has none of its own.

    It is ``url`` or ``permalink``, else the path of the file, whose last part ``slug`` replaces. A
    date before a name goes, as does the ``index`` of a page that is a folder. Hugo's ``_index.md``
    is a section and no page, unless it says where it stands.

    Args:
        path: of the file, within its folder.
        meta: its front matter.
        home: name of the folder, where ``path`` is but ``index.md``.
    """
    for key in ("url", "permalink"):
        given = _string(meta.get(key))
        if given and given not in PATTERNS and not PLACEHOLDER.search(_without_host(given)):
            return given
    file = PurePosixPath(path)
    place = file.with_name(LANGUAGE.sub("", file.stem) or file.stem)
    slug = _string(meta.get("slug"))
    if place.name == "_index" and not slug:
        return ""
    if place.name in ("index", "_index"):
        place = place.parent if place.parent.name else PurePosixPath(home)
    if slug:
        return str(place.parent / slug)
    return str(place.parent / DATE.sub("", place.name)) if place.name else ""


def _string(value: Any) -> str:
    """Return a value that can be part of an address, else ""."""
    usable = isinstance(value, (str, int)) and not isinstance(value, bool)
    return str(value).strip() if usable else ""


def _without_host(address: str) -> str:
    """Cut scheme and host off an address: a port is no placeholder."""
    return re.sub(r"^[a-z]+://[^/]*", "", address)
