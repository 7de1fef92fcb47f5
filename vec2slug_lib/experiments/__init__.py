"""The table of experiments, and what makes a record of each: data, training, decoding, metrics.

`record` reads a record, or makes it; variants of decoding, sweeps over a notebook's parameters and
the study from end to end are built on it.

In: the name of an experiment and a preset. Out: a run record.
What is handed on is loaded on first use, since most of it needs torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .run import record as record
    from .table import EXPERIMENTS as EXPERIMENTS
    from .table import PRESETS as PRESETS
    from .table import find_experiment as find_experiment

_MODULES = {"record": "run", "EXPERIMENTS": "table", "PRESETS": "table", "find_experiment": "table"}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    """Load a public name from its module on first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
