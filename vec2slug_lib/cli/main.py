"""The ``vec2slug`` command: slugs from text or vectors, and every step of the book.

Heavy packages are imported by the command that needs them, so that a slug comes quickly.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from .door import leave

# Module of each command, which has a function of its name.
COMMANDS = {
    "corpus": "data", "embed": "data", "data": "data",
    "train": "runs", "export": "runs", "baseline": "runs", "sweep": "runs",
    "generate": "runs", "paper": "paper", "feasibility": "paper",
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code, see `door` for those of errors."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if arguments and arguments[0] in COMMANDS:
            module = import_module(f".{COMMANDS[arguments[0]]}", __package__)
            return int(getattr(module, arguments[0])(arguments[1:]))
        return int(import_module(".slugs", __package__).slugs(arguments))
    except KeyboardInterrupt:
        print("vec2slug: interrupted; what is done is kept, run it again to go on", file=sys.stderr)
        return 130
    except BrokenPipeError:  # such as `vec2slug ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return leave(error)
