"""Engines that are not there."""

import subprocess
import sys

import pytest

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.parallel import ray_tasks


def test_ray_is_an_extra_and_an_address_is_looked_up_first():
    code = (
        "import sys; sys.modules['ray'] = None\n"
        "import vec2slug_lib.inference.bulk, vec2slug_lib.experiments.sweep\n"
        "from vec2slug_lib.common.parallel import ray_tasks\n"
        "list(ray_tasks()(print, [1]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "expected the package ray, found none: install vec2slug[scale]" in done.stderr
    with pytest.raises(Vec2SlugError, match="expected a Ray cluster at localhost:1, but"):
        list(ray_tasks("localhost:1")(str, [1]))
