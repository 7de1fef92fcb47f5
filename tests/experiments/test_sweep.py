"""Sweeps: nothing starts that cannot end, nothing is run twice, nothing done is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace

import nbformat
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_notebook import BODY, PARAMETERS, traces, written

from vec2slug_lib.cli.main import main
from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.workspace import current, use
from vec2slug_lib.experiments.sweep import NO_PORT, PAPERMILL, cell_name, grid, sweep


@pytest.fixture
def notebook(tmp_path):
    return written(tmp_path / "some.ipynb", PARAMETERS, BODY)


def test_a_grid_is_every_combination_the_last_fastest():
    assert grid(["cap=10,16", "name=a,0.5"]) == [
        {"cap": 10, "name": "a"},
        {"cap": 10, "name": 0.5},
        {"cap": 16, "name": "a"},
        {"cap": 16, "name": 0.5},
    ]


@pytest.mark.parametrize("bad", [[], ["cap"], ["cap="], ["=1"], ["a b=1"], ["cap=1", "cap=2"]])
def test_a_grid_of_another_form_is_refused(bad):
    with pytest.raises(Vec2SlugError, match="expected"):
        grid(bad)


@given(st.lists(st.text(min_size=1, max_size=200), min_size=2, max_size=2, unique=True))
def test_different_cells_have_different_names_that_are_file_names(values):
    one, other = (cell_name({"name": value}) for value in values)
    assert one != other
    assert "/" not in one
    assert len(one) < 200 or len(values[0]) > 100


@pytest.mark.parametrize(
    ("listed", "values"),
    [
        ("1e-5,0.00001", [1e-5, 1e-5]),
        ("[1,2]", [[1, 2]]),
        ("[1,2],[3]", [[1, 2], [3]]),
        ("[1,2],plain", [[1, 2], "plain"]),
        ("'a,b',c", ["a,b", "c"]),
        ('"a,b",c', ["a,b", "c"]),
        ("[a,b],c", ["[a,b]", "c"]),
        ("it's,bob's", ["it's", "bob's"]),
        ("007,7", ["007", 7]),
        ("True,None,nan", [True, None, "nan"]),
        ("😀,naïve", ["😀", "naïve"]),
    ],
)
def test_values_are_read_as_they_were_typed(listed, values):
    assert [cell["x"] for cell in grid([f"x={listed}"])] == values


def test_values_arrive_as_they_were_typed(tmp_path):
    source = PARAMETERS.replace('name = "plain"', 'name = "plain"\nseeds = [0]\nnothing = None')
    body = BODY + 'open(f"{folder}/seen", "a").write(repr((rate, name, seeds, nothing)))'
    notebook = written(tmp_path / "n.ipynb", source, body)
    options = ["rate=0.00001", "name='😀, é'", "seeds=[1,2]", "nothing=a", f"folder={tmp_path}"]
    outcome = sweep(notebook, grid(options), tmp_path / "out")
    assert not outcome.failed
    assert (tmp_path / "seen").read_text() == "(1e-05, '😀, é', [1, 2], 'a')"
    assert outcome.table["rate"].tolist() == [1e-5]


def test_a_parameter_without_a_kind_may_have_several(notebook, tmp_path):
    source = PARAMETERS.replace('folder = ""', 'folder = ""\nnothing = None')
    notebook = written(tmp_path / "n.ipynb", source, BODY)
    outcome = sweep(notebook, grid(["nothing=a,1"]), tmp_path / "out")
    assert outcome.table["nothing"].tolist() == ["a", "1"]


def test_a_sweep_of_other_data_is_refused(notebook, tmp_path):
    sweep(notebook, grid(["cap=1"]), tmp_path / "out")
    other = replace(current(), data=tmp_path)
    with use(other), pytest.raises(Vec2SlugError, match="data_sha256 is  here"):
        sweep(notebook, grid(["cap=2"]), tmp_path / "out")


def test_what_cannot_run_is_refused_before_anything_starts(notebook, tmp_path):
    out = tmp_path / "out"
    refused = {
        "typo": [{"cap": 10}, {"kap": 10}],
        "type": [{"cap": 10}, {"cap": "many"}],
    }
    for cells in refused.values():
        with pytest.raises(Vec2SlugError, match="expected"):
            sweep(notebook, cells, out)
        assert not out.exists()
    with pytest.raises(Vec2SlugError, match="expected a notebook"):
        sweep(tmp_path / "none.ipynb", [{"cap": 10}], out)
    with pytest.raises(Vec2SlugError, match="cell of parameters"):
        sweep(written(tmp_path / "bare.ipynb", "x = 1"), [{"x": 10}], out)
    with pytest.raises(Vec2SlugError, match="jobs"):
        sweep(notebook, [{"cap": 10}], out, jobs=0)


def test_a_table_of_parameters_metrics_and_times(notebook, tmp_path):
    cells = grid(["cap=10,16", "rate=0.25,1"])
    ended = []
    found = sweep(notebook, cells, tmp_path / "out", 2, ended.append)
    assert not found.failed
    assert sum(ended) == 4
    table = pd.read_parquet(tmp_path / "out/sweep.parquet")
    pd.testing.assert_frame_equal(table, found.table)
    assert table[["cap", "rate"]].to_dict("records") == cells
    assert (table["twice"] == 2 * table["cap"] * table["rate"]).all()
    assert (table["seconds"] > 0).all()
    assert "said" not in table  # not a number
    for name, cap in zip(table["notebook"], table["cap"], strict=True):
        executed = nbformat.read(tmp_path / "out" / name, as_version=4)
        assert any(f"cap = {cap}" in cell.source for cell in executed.cells)


def test_cells_that_are_done_are_not_run_again_and_a_failure_stops_nobody(notebook, tmp_path):
    folder, out = tmp_path / "traces", tmp_path / "out"
    folder.mkdir()
    cells = [{"cap": cap, "folder": str(folder)} for cap in (10, 13, 16)]
    found = sweep(notebook, cells, out)
    assert traces(folder) == [10, 13, 16]
    assert found.table["cap"].tolist() == [10, 16]
    (failed, message), *others = found.failed.items()
    assert (failed, others) == (cell_name(cells[1]), [])
    assert "thirteen" in message
    assert "thirteen" in (out / f"{failed}.failed.ipynb").read_text(encoding="utf-8")
    ended = []
    assert sweep(notebook, cells, out, 1, ended.append).table["cap"].tolist() == [10, 16]
    assert traces(folder) == [10, 13, 16, 13]
    assert ended == [2, 1]


def test_two_jobs_run_at_the_same_time(tmp_path):
    meet = """
import pathlib, time
here = pathlib.Path(folder)
(here / f"here-{cap}").touch()
end = time.monotonic() + 60
while len(list(here.glob("here-*"))) < 2:
    assert time.monotonic() < end, "the other never came"
    time.sleep(0.05)
"""
    notebook = written(tmp_path / "meet.ipynb", PARAMETERS, meet)
    cells = [{"cap": cap, "folder": str(tmp_path)} for cap in (1, 2)]
    assert not sweep(notebook, cells, tmp_path / "out", 2).failed


def test_a_sweep_that_was_killed_goes_on(tmp_path):
    slow = BODY + "import time\nif cap > 10: time.sleep(3)\n"
    notebook, folder = written(tmp_path / "slow.ipynb", PARAMETERS, slow), tmp_path / "traces"
    folder.mkdir()
    arguments = ["sweep", str(notebook), "-p", "cap=10,16,20", "-p", f"folder={folder}"]
    arguments += ["--out", str(tmp_path / "out")]
    command = [sys.executable, "-m", "vec2slug_lib.cli", *arguments]
    job = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while not (folder / "ran").exists() or 16 not in traces(folder):
        assert time.monotonic() < end
        time.sleep(0.05)
    subprocess.os.killpg(job.pid, signal.SIGKILL)
    job.wait()
    assert main(arguments) == 0
    assert traces(folder) == [10, 16, 16, 20]
    assert pd.read_parquet(tmp_path / "out/sweep.parquet")["cap"].tolist() == [10, 16, 20]
    assert not list((tmp_path / "out").glob(".running*"))


def test_a_kernel_whose_port_was_taken_starts_again(notebook, tmp_path, monkeypatch):
    taken = f"""
import pathlib, sys
if not (first := pathlib.Path({str(tmp_path / "first")!r})).exists():
    first.touch()
    sys.exit("RuntimeError: {NO_PORT} to kernel_info")
"""
    monkeypatch.setattr("vec2slug_lib.experiments.sweep.PAPERMILL", taken + PAPERMILL)
    found = sweep(notebook, [{"cap": 10, "folder": str(tmp_path)}], tmp_path / "out")
    assert (tmp_path / "first").exists()
    assert len(found.table) == 1
    assert not found.failed


def test_a_folder_of_another_notebook_is_refused(notebook, tmp_path):
    sweep(notebook, [{"cap": 10}], tmp_path / "out")
    written(notebook, PARAMETERS, BODY + "\nmore = 1")
    with pytest.raises(Vec2SlugError, match="this notebook on these data, got another job's"):
        sweep(notebook, [{"cap": 16}], tmp_path / "out")


def test_the_command_names_what_failed(notebook, tmp_path, capsys):
    arguments = ["sweep", str(notebook), "-p", "cap=10,13", "--jobs", "2"]
    arguments += ["--out", str(tmp_path / "out")]
    assert main(arguments) == 1
    told = capsys.readouterr()
    assert "cap=13 failed: ValueError: thirteen" in told.err
    assert "1 of 2 cells" in told.out
    assert main([*arguments, "-p", "kap=1"]) == 2
    assert "expected parameters among cap, rate, name, folder; got kap" in capsys.readouterr().err
