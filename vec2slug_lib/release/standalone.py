"""``inference.py`` of a release: the library's own inference in one file, not a second one."""

from __future__ import annotations

import ast
from importlib.metadata import version
from importlib.resources import files

# In this order each needs only what stands before it.
MODULES = {
    "common": (
        "errors",
        "files",
        "slugs",
        "english",
        "vectors",
        "vocabulary",
        "graphs",
        "workspace",
    ),
    "inference": (
        "settings",
        "scores",
        "beam_search",
        "unique",
        "mbr",
        "steppers",
        "release_folder",
        "text_words",
        "text_model",
        "grounding",
        "text_search",
        "rows",
        "familiarity",
        "predictor",
    ),
}

HEAD = '''# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy>=2", "onnxruntime>=1.20"]
# ///
"""Slugs from embeddings with the model in this folder: numpy and onnxruntime, no torch.

    python inference.py --input embeddings.npy [--topk 5] [--precision int8]

Made from vec2slug {version}; edit the library, not this file.
"""

from __future__ import annotations

import argparse
import os
import sys

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # or onnxruntime, from here on, reports to its maker
'''

TAIL = '''
def main() -> int:
    """Print one slug a row, or with --topk its candidates with their scores."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).resolve().parent)
    parser.add_argument("--input", type=Path, required=True, help=".npy file [N, width]")
    parser.add_argument("--topk", type=int, default=1)
    parser.add_argument("--precision", choices=list(GRAPHS), default="float32")
    options = parser.parse_args()
    try:
        predictor = SlugPredictor.from_dir(options.folder, options.precision)
        vectors = np.load(options.input, mmap_mode="r", allow_pickle=False)
        for candidates in predictor.stream(vectors, options.topk):
            if options.topk == 1:
                print(candidates[0].slug)
            else:
                print(*(f"{slug}\\t{score:.3f}" for slug, score in candidates), "", sep="\\n")
    except (Vec2SlugError, OSError, ValueError, EOFError) as error:
        print(f"inference.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
'''


def standalone() -> str:
    """Return the source of the script: every module's imports once, then their bodies in turn."""
    imports: dict[str, None] = {}  # a dict keeps the order
    bodies = []
    for room, module in ((room, module) for room, names in MODULES.items() for module in names):
        text = (files("vec2slug_lib") / room / f"{module}.py").read_text(encoding="utf-8")
        lines, tree = text.splitlines(), ast.parse(text)
        for node in tree.body:
            span = slice(node.lineno - 1, node.end_lineno)
            if isinstance(node, ast.Import) or (
                isinstance(node, ast.ImportFrom) and not node.level
            ):
                imports["\n".join(lines[span])] = None
            if _left_out(node):
                lines[span] = [""] * len(lines[span])
        bodies.append(f"# --- {module} ---\n\n" + "\n".join(lines).strip())
    wanted = "\n".join(line for line in imports if "__future__" not in line)
    return (
        HEAD.format(version=version("vec2slug"))
        + wanted
        + "\n\nonnxruntime.disable_telemetry_events()  # where it was imported before\n\n"
        + "\n\n\n".join(bodies)
        + "\n\n"
        + TAIL
    )


def _left_out(node: ast.stmt) -> bool:
    """Tell whether a statement is an import, a docstring, or what only a type checker reads."""
    docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    return isinstance(node, ast.Import | ast.ImportFrom) or docstring or types
