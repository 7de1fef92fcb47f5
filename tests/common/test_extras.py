"""Extras: what pyproject.toml installs is what modules import, and a missing one is named."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.extras import EXTRAS, missing_extra, needs_extra

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
# Come with one that is named: with datatrove, openai.
COME_ALONG = {"fsspec", "loguru", "httpx"}


def installed_by(requirements):
    """Names of packages, as pip writes them."""
    return {re.match(r"[\w-]+", each).group().lower() for each in requirements}


def imported(path):
    """Name the packages that a module imports, those inside of functions too."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_installs_its_modules(extra):
    distributions = packages_distributions()
    installs = installed_by(PROJECT["optional-dependencies"][extra])
    for module in set(EXTRAS[extra]) - COME_ALONG:
        names = {name.lower().replace("_", "-") for name in distributions[module]}
        assert names & installs, module


def test_every_extra_is_known():
    assert set(PROJECT["optional-dependencies"]) == set(EXTRAS)


def test_every_import_is_of_an_extra_or_of_all():
    known = {module for modules in EXTRAS.values() for module in modules}
    core = installed_by(PROJECT["dependencies"])
    found = {name for path in ROOT.glob("vec2slug_lib/**/*.py") for name in imported(path)}
    assert found - known - core - set(sys.stdlib_module_names) - {"vec2slug_lib"} == set()


def error_of(source, module):
    """The error of a module of that name whose source imports what is not there."""
    with pytest.raises(ModuleNotFoundError) as caught:
        exec(compile(source, module, "exec"), {"__name__": module})
    return caught.value


@pytest.mark.parametrize(
    ("package", "module", "extra"),
    [
        ("tokenizers", "vec2slug_lib.embedding.wordpiece", "text"),
        ("tokenizers", "vec2slug_lib.model.tokenizer", "train"),
        ("pandas", "vec2slug_lib.data.build", "corpus"),
        ("pandas", "vec2slug_lib.experiments.run", "train"),
        ("pyarrow", "vec2slug_lib.inference.bulk", "files"),
        ("ray", "vec2slug_lib.common.parallel", "scale"),
        ("openai", "vec2slug_lib.embedding.openai_client", "openai"),
        ("somebody_elses", "vec2slug_lib.data.build", None),
    ],
)
def test_the_extra_of_a_missing_package(monkeypatch, package, module, extra):
    monkeypatch.setitem(sys.modules, package, None)
    assert missing_extra(error_of(f"import {package}.part", module)) == extra


def test_a_missing_package_becomes_a_line():
    line = r'expected the extra text: pip install "vec2slug\[text\]"'
    with pytest.raises(Vec2SlugError, match=line), needs_extra("text"):
        raise ModuleNotFoundError(name="tokenizers")
