"""A small notebook with parameters, which leaves a trace of each run."""

import nbformat

PARAMETERS = """
from vec2slug_lib.experiments.parameters import check, declare

cap = 24
rate = 0.5
name = "plain"
folder = ""  # where to leave a trace
declared = declare(globals())
"""
BODY = """
check(declared, globals())
from myst_nb import glue

glue("twice", 2 * cap * rate, display=False)
glue("said", name, display=False)
if folder:
    open(f"{folder}/ran", "a").write(f"{cap}\\n")
if cap == 13:
    raise ValueError("thirteen")
"""


def written(path, *sources):
    """A notebook of code cells, the first with the parameters."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in sources])
    notebook.cells[0].metadata["tags"] = ["parameters"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata["kernelspec"] = kernel
    nbformat.write(notebook, path)
    return path


def traces(folder):
    """Which caps have been run, in order."""
    return [int(line) for line in (folder / "ran").read_text().split()]
