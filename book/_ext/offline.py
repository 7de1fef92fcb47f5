"""Keep the book off the network: formulas as MathML, and plotly.js from the installed package."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import plotly
from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

LOGGER = logging.getLogger(__name__)


def visit_math(translator: HTML5Translator, node: nodes.math | nodes.math_block) -> None:
    """Write a formula as MathML, which browsers set themselves: Sphinx's MathJax is on a CDN."""
    block = isinstance(node, nodes.math_block)
    try:
        markup = tex2mathml(node.astext(), as_block=block)
    except MathError as error:
        LOGGER.warning("formula not understood: %s", error, location=node)
        markup = translator.encode(node.astext())
    if block:
        markup = (
            f'<div class="v2s-math" role="group" aria-label="Formula" tabindex="0">{markup}</div>'
        )
    translator.body.append(markup)
    raise nodes.SkipNode


def copy_plotly(app: Sphinx, error: Exception | None) -> None:
    """Put the one plotly.js of the book beside the script that loads it."""
    if error is None and app.builder.format == "html":
        source = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
        shutil.copy(source, Path(app.outdir) / "_static")


def drop_thebe(app: Sphinx) -> None:
    """Unhook Thebe, which Jupyter Book loads even when it is off: its script comes from a CDN."""
    for listeners in app.events.listeners.values():
        listeners[:] = [each for each in listeners if each.handler.__module__ != "sphinx_thebe"]


def mend_citations(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Take docutils' roles off the literature list: they forbid the links inside its entries."""
    for role in (' role="list" class="citation-list"', ' role="doc-biblioentry"'):
        context["body"] = context.get("body", "").replace(role, "")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx, and tell the notebooks' kernels that a book is being made."""
    os.environ["VEC2SLUG_BOOK"] = "1"
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
    app.connect("builder-inited", drop_thebe)
    app.connect("html-page-context", mend_citations)
    app.connect("build-finished", copy_plotly)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
