"""Put the playground beside its page, and forbid that page every address but its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.util import logging

from vec2slug_lib.embedding.minilm_graph import reader_folder
from vec2slug_lib.inference.release_folder import DEFAULT_MODEL
from vec2slug_lib.release.browser import collect

LOGGER = logging.getLogger(__name__)
PAGE = "notebooks/13_playground"
# The theme has scripts and styles of its own inside its pages; WebAssembly has to be compiled.
POLICY = {
    "default-src": "'self'",
    "script-src": "'self' 'unsafe-inline' 'wasm-unsafe-eval'",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data:",
    "base-uri": "'self'",
    "form-action": "'self'",
    "object-src": "'none'",
}


def restrict(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object
) -> None:
    """Give the page its policy, its script and its style."""
    if page != PAGE:
        return
    policy = "; ".join(f"{name} {value}" for name, value in POLICY.items())
    tag = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    context["metatags"] = tag + context.get("metatags", "")
    app.add_js_file("playground/page.js", type="module")
    app.add_css_file("playground/playground.css")


def place(app: Sphinx, error: Exception | None) -> None:
    """Collect the files of the playground."""
    if error or app.builder.format != "html":
        return
    root = Path(app.srcdir)
    parts = root / "book/playground", DEFAULT_MODEL, reader_folder()
    runtime = root / "_build/npm/node_modules/onnxruntime-web/dist"
    for what in collect(*parts, runtime, Path(app.outdir) / "_static/playground"):
        LOGGER.info("The playground will say that it lacks %s.", what)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("html-page-context", restrict)
    app.connect("build-finished", place)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
