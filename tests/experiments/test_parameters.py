import json
import subprocess
import sys
from pathlib import Path

import pytest

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.experiments.parameters import check, declare

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
CELL = {"In": [], "Out": {}, "_": "", "preset": "book", "cap": 24, "rate": 0.5, "retrain": False}


def test_plain_public_values_are_parameters():
    assert list(declare({**CELL, "json": json, "check": check})) == [
        "preset",
        "cap",
        "rate",
        "retrain",
    ]


def test_known_parameters_of_the_right_type_pass():
    check(declare(CELL), {**CELL, "cap": 16, "rate": 1, "json": json})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"capp": 16}, "expected parameters among preset, cap, rate, retrain; got capp"),
        ({"cap": "16"}, "expected cap to be of type int, as 24; got '16'"),
        ({"cap": True}, "expected cap to be of type int, as 24; got True"),
        ({"retrain": 1}, "expected retrain to be of type bool, as False; got 1"),
    ],
)
def test_other_parameters_are_refused(changes, message):
    with pytest.raises(Vec2SlugError) as caught:
        check(declare(CELL), {**CELL, **changes})
    assert str(caught.value) == message


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_declares_and_checks(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert sources[0].endswith("\ndeclared = declare(globals())")
    assert sources[1] == "check(declared, globals())"


def test_papermill_with_a_mistyped_name_fails_with_the_known_ones(tmp_path):
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", str(NOTEBOOKS[0])]
    run = subprocess.run(
        [*command, str(tmp_path / "out.ipynb"), "-p", "presett", "smoke"],
        cwd=NOTEBOOKS[0].parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode != 0
    assert "expected parameters among preset, map_points; got presett" in run.stderr
