"""Parameters of a notebook: papermill only warns of a name it does not know, so notebooks refuse.

The cell tagged ``parameters`` ends with ``declared = declare(globals())``; papermill puts its own
cell after it, and the next one, ``check(declared, globals())``, runs before anything is imported.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..common.errors import Vec2SlugError

KINDS = (bool, int, float, str, list, tuple, type(None))
SHELL = {"In", "Out"}  # IPython's own lists

Declared = dict[str, object]


def declare(names: Mapping[str, object]) -> Declared:
    """Return the notebook's parameters and their defaults: plain values with a public name.

    Args:
        names: ``globals()`` of the notebook at the end of its cell of parameters.
    """
    return {
        name: value
        for name, value in names.items()
        if isinstance(value, KINDS) and not name.startswith("_") and name not in SHELL
    }


def check(declared: Declared, names: Mapping[str, object]) -> None:
    """Refuse what was set and is no parameter, or has another type than the default.

    Args:
        declared: what `declare` returned.
        names: ``globals()`` of the notebook after papermill's cell.

    Raises:
        Vec2SlugError: an unknown name, with the list of the known ones; or a value of another type.
    """
    given = declare(names)
    if unknown := sorted(given.keys() - declared.keys()):
        raise Vec2SlugError(
            f"expected parameters among {', '.join(declared)}; got {', '.join(unknown)}"
        )
    for name, default in declared.items():
        value = names[name]
        wanted = (int, float) if type(default) is float else type(default)
        flag_for_number = isinstance(value, bool) and type(default) is not bool
        if default is not None and (not isinstance(value, wanted) or flag_for_number):
            kind = type(default).__name__
            raise Vec2SlugError(
                f"expected {name} to be of type {kind}, as {default!r}; got {value!r}"
            )
