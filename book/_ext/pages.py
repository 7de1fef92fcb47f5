"""Fail if the built book lacks a page of its table: ``pages.py _toc.yml _build/html``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml


def named(toc: Any) -> Iterator[str]:
    """Yield the pages of a table of contents, however deep they stand."""
    if isinstance(toc, dict):
        yield from (toc[key] for key in ("root", "file") if key in toc)
        toc = list(toc.values())
    if isinstance(toc, list):
        for part in toc:
            yield from named(part)


def main(toc: str, html: str) -> int:
    """Name the missing pages on stderr; returns the exit code."""
    pages = list(named(yaml.safe_load(Path(toc).read_text(encoding="utf-8"))))
    missing = [page for page in pages if not Path(html, f"{page}.html").is_file()]
    for page in missing:
        print(f"{toc} names {page}, but {html} has no such page", file=sys.stderr)
    return int(bool(missing) or not pages)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
