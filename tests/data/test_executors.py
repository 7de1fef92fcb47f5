"""Local, Ray on a cluster of two nodes, and datatrove's Slurm executor with stand-ins for Slurm."""

import itertools
import json
import os
import signal
import string
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
from ray_cluster import two_nodes
from test_corpus import ROWS, TOKENIZER, row

from vec2slug_lib.cli.main import main
from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.data import corpus, executors
from vec2slug_lib.data.executors import ExecutorConfig

LETTERS = itertools.product(string.ascii_lowercase, repeat=2)
MANY = [row(100 + i, f"story-of-harbour-{a}{b}") for i, (a, b) in enumerate(LETTERS)][:200]
SHARDS = {"a.parquet": ROWS[:9], "b.parquet": ROWS[9:] + MANY}
SLURM = ExecutorConfig("slurm", partition="cpu")


def write(folder):
    folder.mkdir()
    for name, rows in SHARDS.items():
        pd.DataFrame(rows).to_parquet(folder / name)
    return folder


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What the local executor makes of the shards."""
    folder = tmp_path_factory.mktemp("local")
    return build(write(folder / "in"), folder / "out"), documents(folder / "out")


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / "in")


@pytest.fixture(scope="module")
def cluster():
    with two_nodes() as found:
        yield ExecutorConfig("ray", address=found.address)


def build(source, out, place=executors.LOCAL, workers=1):
    return corpus.build(str(source), out, TOKENIZER, workers, place)


def documents(out):
    return pd.read_parquet(out / "documents.parquet")


def check(out, funnel, expected):
    assert funnel == expected[0] == json.loads((out / "funnel.json").read_text())
    pd.testing.assert_frame_equal(documents(out), expected[1])


def completed(out):
    return {path.name for path in (out / "logs" / "completions").iterdir()}


def damage(path):
    """Cut a file off; returns what makes it whole."""
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    return lambda: path.write_bytes(whole)


def times(out):
    return {path: path.stat().st_mtime_ns for path in (out / "ranks").iterdir()}


def test_ray_names_a_failed_rank_keeps_the_others_and_makes_the_same(
    source, tmp_path, cluster, expected, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # the nodes have other working folders
    out, repair = Path("out"), damage(source / "a.parquet")
    with pytest.raises(Vec2SlugError, match=r"1 did not.*whole parquet file, a\.parquet"):
        build("in", out, cluster)
    assert completed(out) == {"00001"}
    assert not (out / "documents.parquet").exists()
    repair()
    before = times(out)
    check(out, build("in", out, cluster), expected)
    assert before.items() < times(out).items()
    check(out, build("in", out, cluster), expected)  # nothing is left to do


def test_here_too_a_failed_rank_is_named_and_the_others_are_kept(source, tmp_path, expected):
    out, repair = tmp_path / "out", damage(source / "a.parquet")
    with pytest.raises(Vec2SlugError, match=r"1 did not.*whole parquet file, a\.parquet"):
        build(source, out)
    assert completed(out) == {"00001"}
    repair()
    check(out, build(source, out), expected)


def kill_writer(path, killed):
    """Kill the process that has a file open."""
    while not killed:
        while not path.exists():
            time.sleep(0.1)
        for link in Path("/proc").glob("[0-9]*/fd/*"):
            try:
                if link.readlink() == path:
                    os.kill(int(link.parts[2]), signal.SIGKILL)
                    killed.append(link)
                    return
            except OSError:
                continue


def test_a_worker_killed_half_way_on_ray_is_made_up_for(source, tmp_path, cluster, expected):
    out, killed = tmp_path / "out", []
    shard = out / "ranks" / "000_00001.parquet"  # of the many
    killer = threading.Thread(target=kill_writer, args=(shard, killed), daemon=True)
    killer.start()
    funnel = build(source, out, cluster)
    assert killed
    check(out, funnel, expected)


def test_a_worker_killed_half_way_here_ends_the_run_and_the_next_one_goes_on(
    source, tmp_path, expected
):
    out, killed = tmp_path / "out", []
    shard = out / "ranks" / "000_00001.parquet"
    killer = threading.Thread(target=kill_writer, args=(shard, killed), daemon=True)
    killer.start()
    with pytest.raises(Vec2SlugError, match="one was killed; run this again"):
        build(source, out, workers=2)
    assert killed
    check(out, build(source, out, workers=2), expected)


def test_a_cluster_that_is_not_there(source, tmp_path):
    with pytest.raises(Vec2SlugError, match=r"expected a Ray cluster at 127\.0\.0\.1:9"):
        build(source, tmp_path / "out", ExecutorConfig("ray", address="127.0.0.1:9"))


# Runs the tasks of the array one after the other; a task is in the queue until it is over.
SBATCH = """#!{python}
import os, re, subprocess, sys, time
from pathlib import Path

folder, script = Path({folder!r}), Path(sys.argv[-1]).read_text()
if "--partition=cpu" not in script:
    sys.exit("sbatch: error: invalid partition specified")
name, last = re.search("--job-name=(.*)", script)[1], re.search("--array=0-([0-9]+)", script)[1]
with (folder / "submitted").open("a") as file:
    file.write(name + " " + last + "\\n")
queue = folder / "queue" / name
queue.parent.mkdir(exist_ok=True)
queue.write_text("7_[0-" + last + "] cpu PD")
(folder / "script").write_text(script)
if os.fork() == 0:
    os.setsid()
    for stream in (0, 1, 2):
        os.dup2(os.open(os.devnull, os.O_RDWR), stream)
    for task in range(int(last) + 1):
        while (folder / "hold").exists():
            time.sleep(0.1)
        task = {{"SLURM_ARRAY_TASK_ID": str(task), "SLURM_NODELIST": "node1", "RUN_OFFSET": "0"}}
        subprocess.run(["bash", folder / "script"], env=os.environ | task)
    queue.unlink()
else:
    print("Submitted batch job 7")
"""
SQUEUE = """#!{python}
import sys
from pathlib import Path

(name,) = (argument[7:] for argument in sys.argv if argument.startswith("--name="))
queue = Path({folder!r}) / "queue" / name
print(queue.read_text() if queue.exists() else "", end="")
"""
SCONTROL = "#!/bin/sh\necho $3\n"  # show hostnames LIST


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Folder of the stand-ins, with a list of what was submitted."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    programs = {"sbatch": SBATCH, "squeue": SQUEUE, "scontrol": SCONTROL}
    for name, text in programs.items():
        (folder / name).write_text(text.format(python=sys.executable, folder=str(folder)))
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.setattr(executors, "PAUSE", 0.2)
    monkeypatch.setattr(executors, "LOOKS", 2)
    return folder


def submitted(slurm):
    return [int(line.split()[1]) + 1 for line in (slurm / "submitted").read_text().splitlines()]


def test_slurm_takes_over_its_jobs_keeps_what_is_done_and_makes_the_same(
    source, tmp_path, slurm, expected, monkeypatch
):
    out, repair = tmp_path / "out", damage(source / "a.parquet")
    (slurm / "hold").touch()
    with monkeypatch.context() as patch:
        patch.setattr(executors, "PAUSE", "no number")  # the command ends, the jobs do not
        with pytest.raises(TypeError):
            build(source, out, SLURM)
    whole = (source / "b.parquet").read_bytes()
    pd.DataFrame(ROWS[:1]).to_parquet(source / "b.parquet")
    with pytest.raises(Vec2SlugError, match="while jobs of an earlier start write to"):
        build(source, out, SLURM)
    (source / "b.parquet").write_bytes(whole)
    (slurm / "hold").unlink()
    with pytest.raises(Vec2SlugError, match="expected 2 finished shards, but 1 are missing"):
        build(source, out, SLURM)
    assert completed(out) == {"00001"}
    repair()
    before = times(out)
    check(out, build(source, out, SLURM), expected)
    assert before.items() < times(out).items()
    assert submitted(slurm) == [2, 1]  # ranks of each array


def test_a_slurm_that_is_missing_or_refuses(source, tmp_path, slurm, monkeypatch):
    with pytest.raises(Vec2SlugError, match="expected Slurm to take the job"):
        build(source, tmp_path / "out", ExecutorConfig("slurm", partition="other"))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Vec2SlugError, match=r"expected Slurm to take the job, but: .*squeue"):
        build(source, tmp_path / "out", SLURM)


def test_the_command(source, tmp_path, slurm, capsys):
    arguments = ["corpus", "build", str(source), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--executor", "slurm"]) == 2
    assert "expected the name of a partition" in capsys.readouterr().err
    with pytest.raises(Vec2SlugError, match="expected executor to be one of local, ray, slurm"):
        build(source, tmp_path / "out", ExecutorConfig("cloud"))
