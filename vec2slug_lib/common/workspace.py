"""Where models, the data set, the run records and the intermediate files lie.

The environment is read here and nowhere else: ``VEC2SLUG_DATA``, ``VEC2SLUG_RUNS`` and
``VEC2SLUG_WORK`` move the folders, ``VEC2SLUG_PRESET`` chooses what notebooks run by default.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent


def _root() -> Path:
    """Return the checkout; of an installed library the current folder, never its own."""
    checkout = PACKAGE.parent
    return checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()


ROOT = _root()


def model_folder(name: str) -> Path:
    """Return the folder of a model that comes with the library: in a wheel, inside the package.

    Args:
        name: such as ``vec2slug-minilm-small``; whether the folder is there is not looked at.
    """
    packaged = PACKAGE / "models" / name
    return packaged if packaged.is_dir() else ROOT / "data" / "models" / name


@dataclass(frozen=True)
class Workspace:
    """Folders that commands and notebooks read and write, and the preset of notebooks."""

    data: Path = ROOT / "data"
    runs: Path = ROOT / "data" / "runs"
    work: Path = ROOT / "work"
    preset: str = "book"

    @classmethod
    def from_environment(cls) -> Workspace:
        """Read the workspace that the environment asks for; records lie in the data folder."""
        data = Path(os.environ.get("VEC2SLUG_DATA", cls.data))
        return cls(
            data,
            Path(os.environ.get("VEC2SLUG_RUNS", data / "runs")),
            Path(os.environ.get("VEC2SLUG_WORK", cls.work)),
            os.environ.get("VEC2SLUG_PRESET", cls.preset),
        )

    @property
    def variables(self) -> dict[str, str]:
        """Return the environment that hands this workspace to another process."""
        folders = {"DATA": self.data, "RUNS": self.runs, "WORK": self.work, "PRESET": self.preset}
        return {f"VEC2SLUG_{name}": str(value) for name, value in folders.items()}


_in_use: list[Workspace] = []  # of this process, the innermost last


def current() -> Workspace:
    """Return the workspace in use, or else the one that the environment asks for."""
    return _in_use[-1] if _in_use else Workspace.from_environment()


@contextmanager
def use(workspace: Workspace) -> Iterator[Workspace]:
    """Work in another workspace for a while, in all threads of this process."""
    _in_use.append(workspace)
    try:
        yield workspace
    finally:
        _in_use.remove(workspace)
