"""Slugs of folders of parquet files, and sweeps, here and on a cluster that loses a worker."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from ray_cluster import NODE, two_nodes
from tiny_notebook import BODY, PARAMETERS, traces, written

from vec2slug_lib.cli.main import main
from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.jobs import one_writer
from vec2slug_lib.common.parallel import connected, processes, ray_data, ray_tasks
from vec2slug_lib.experiments.sweep import sweep
from vec2slug_lib.inference.bulk import SlugJob, write_slug_tables
from vec2slug_lib.inference.predictor import SlugPredictor

pytestmark = pytest.mark.parametrize("run", ["plain"], indirect=True)
ROWS = {"a.parquet": 9, "deep/b.parquet": 5, "deep/c.parquet": 7, "empty.parquet": 0}


def vectors(rows, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, 24)).astype(np.float32)


def write(path, rows, ids=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = pa.list_(pa.float32(), 24)
    columns = {"embedding": pa.array(list(rows), kind), **({"id": ids} if ids else {})}
    pq.write_table(pa.table(columns), path)


def write_lists(path, rows):
    """Write lists of any length, or None."""
    pq.write_table(pa.table({"embedding": pa.array(rows, pa.list_(pa.float32()))}), path)


@pytest.fixture
def source(tmp_path):
    """A folder of vectors; one file has ids, one is empty."""
    for seed, (name, rows) in enumerate(ROWS.items()):
        ids = [f"page {i}" for i in range(rows)] if name == "deep/c.parquet" else None
        write(tmp_path / "vectors" / name, vectors(rows, seed), ids)
    return tmp_path / "vectors"


@pytest.fixture(scope="module")
def cluster():
    with two_nodes() as found:
        yield found


def made(source, out, release, engine=None, **options):
    job = SlugJob.claim(source, out, release, **options)
    done = []
    write_slug_tables(job, job.files(), engine, done.append)
    assert sum(done) == sum(job.files().values())
    return out


def contents(folder):
    return {
        str(path.relative_to(folder)): pd.read_parquet(path) for path in folder.rglob("*.parquet")
    }


def check_equal(folder, other):
    ours, theirs = contents(folder), contents(other)
    assert ours.keys() == theirs.keys()
    for name, frame in ours.items():
        pd.testing.assert_frame_equal(frame, theirs[name])
    assert {path.name for path in folder.rglob(".*")} <= {".slugs.json.lock"}, "something was left"


def test_each_file_of_vectors_gets_its_slugs_with_ids_or_numbers(source, release, tmp_path):
    found = contents(made(source, tmp_path / "out", release))
    assert {name: len(frame) for name, frame in found.items()} == ROWS
    predictor = SlugPredictor.from_dir(release)
    for seed, (name, rows) in enumerate(ROWS.items()):
        expected = predictor.predict_topk(vectors(rows, seed), 1) if rows else []
        assert found[name]["slug"].tolist() == [row[0].slug for row in expected]
        scores = [row[0].score for row in expected]
        np.testing.assert_allclose(found[name]["score"], scores, rtol=1e-5)
    assert found["deep/c.parquet"]["id"].tolist() == [f"page {i}" for i in range(7)]
    assert found["a.parquet"]["row"].tolist() == list(range(9))
    alone = contents(made(source / "a.parquet", tmp_path / "alone", release))
    pd.testing.assert_frame_equal(alone["a.parquet"], found["a.parquet"])


def test_batches_kinds_of_lists_and_processes_make_no_difference(
    source, release, tmp_path, monkeypatch
):
    whole = made(source, tmp_path / "whole", release)
    check_equal(made(source, tmp_path / "two", release, processes(2), workers=1), whole)
    for path in source.rglob("*.parquet"):
        table = pq.read_table(path)
        lists = table["embedding"].cast(pa.large_list(pa.float64()))
        pq.write_table(table.set_column(0, "vector", lists), path)
    monkeypatch.setattr("vec2slug_lib.inference.bulk.ROWS", 2)
    check_equal(made(source, tmp_path / "small", release, column="vector"), whole)


def test_what_is_done_is_kept_and_what_is_not_whole_is_made_again(source, release, tmp_path):
    out = made(source, tmp_path / "out", release)
    before = contents(out)
    kept = (out / "a.parquet").stat().st_mtime_ns
    (out / "deep/b.parquet").unlink()
    (out / "deep/.b-1234.parquet").write_text("left by a kill")
    (out / "deep/c.parquet").write_bytes((out / "deep/c.parquet").read_bytes()[:50])
    made(source, out, release)
    assert (out / "a.parquet").stat().st_mtime_ns == kept
    after = contents(out)
    assert after.keys() == before.keys()
    for name, frame in before.items():
        pd.testing.assert_frame_equal(frame, after[name])


def test_a_folder_of_another_job_or_of_the_vectors_is_refused(source, release, tmp_path):
    out = made(source, tmp_path / "out", release)
    with pytest.raises(Vec2SlugError, match="precision is int8 here and float32 there"):
        SlugJob.claim(source, out, release, "int8")
    with pytest.raises(Vec2SlugError, match=r"source is .*deep here"):
        SlugJob.claim(source / "deep", out, release)
    with pytest.raises(Vec2SlugError, match="files of something else"):
        SlugJob.claim(source / "a.parquet", source / "deep", release)
    for inside in (source, source / "slugs"):
        with pytest.raises(Vec2SlugError, match="apart from the vectors"):
            SlugJob.claim(source, inside, release)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.nan, "b.parquet: .* row 3 is not finite"),
        (0.0, "b.parquet: .* row 3 is zero"),
    ],
)
def test_a_bad_vector_is_named_and_the_other_files_are_done(
    source, release, tmp_path, bad, message
):
    rows = vectors(5)
    rows[3] = bad
    write(source / "deep/b.parquet", rows)
    out = tmp_path / "out"
    with pytest.raises(Vec2SlugError, match=f"1 are missing, such as deep/{message}"):
        made(source, out, release)
    assert contents(out).keys() == ROWS.keys() - {"deep/b.parquet"}
    write(source / "deep/b.parquet", vectors(5))
    assert contents(made(source, out, release)).keys() == ROWS.keys()


def test_rows_without_a_vector_or_of_another_width_are_named(source, release, tmp_path):
    for rows, message in (
        ([[1.0] * 24, None], "row 1 has none"),
        ([[1.0] * 24, [1.0] * 24, [1.0]], "row 2 has 1 numbers"),
        ([[1.0] * 23 + [None]], "row 0 is not finite"),
    ):
        pq.write_table(pa.table({"embedding": rows}), source / "deep/b.parquet")
        with pytest.raises(Vec2SlugError, match=f"deep/b.parquet: .*{message}"):
            made(source, tmp_path / "out", release)


def test_what_is_no_table_of_vectors_costs_itself(source, release, tmp_path):
    path, out = source / "deep/b.parquet", tmp_path / "out"
    content = path.read_bytes()

    def refused(message):
        with pytest.raises(
            Vec2SlugError, match=f"1 are missing, such as deep/b.parquet: .*{message}"
        ):
            made(source, out, release)
        assert contents(out).keys() == ROWS.keys() - {"deep/b.parquet"}

    path.write_bytes(content[:-20])
    refused("whole parquet file at .*b.parquet")
    pq.write_table(pa.table({"vector": [[1.0]]}), path)
    refused("column embedding in .*b.parquet, got vector")
    pq.write_table(pa.table({"embedding": ["text"]}), path)
    refused("lists of numbers in embedding of .*b.parquet, got string")
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    with pytest.raises(Vec2SlugError, match="expected parquet files in"):
        made(nothing, tmp_path / "other", release)


def test_bad_rows_and_files_are_skipped_and_listed_if_asked(source, release, tmp_path):
    good = made(source, tmp_path / "good", release)
    rows = [*vectors(7, 2).tolist()]
    rows[2], rows[4], rows[5] = None, [1.0], [0.0] * 24
    write_lists(source / "deep/c.parquet", rows)
    (source / "a.parquet").write_bytes(b"PAR1 no table")
    job = SlugJob.claim(source, tmp_path / "out", release, skip_bad=True)
    skipped = write_slug_tables(job, job.files())
    reasons = {2: "has none", 4: "has 1 numbers", 5: "is zero"}
    assert skipped[1:] == [
        {"file": "deep/c.parquet", "row": row, "reason": reason} for row, reason in reasons.items()
    ]
    assert (skipped[0]["file"], skipped[0]["row"]) == ("a.parquet", None)
    assert "whole parquet file" in skipped[0]["reason"]
    listed = (tmp_path / "out" / "skipped.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in listed] == skipped
    frame = pd.read_parquet(tmp_path / "out" / "deep/c.parquet")
    expected = pd.read_parquet(good / "deep/c.parquet")
    assert frame["reason"].dropna().to_dict() == reasons
    assert frame["slug"].isna().tolist() == [row in reasons for row in range(7)]
    right = ~frame["slug"].isna()
    assert frame["slug"][right].tolist() == expected["slug"][right].tolist()


def test_a_file_that_has_changed_is_done_anew_and_no_other(source, release, tmp_path):
    out = made(source, tmp_path / "out", release)
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    moved = source.rename(tmp_path / "moved")  # where it lies does not matter
    made(moved, out, release)
    write(moved / "deep/b.parquet", vectors(5, 77))  # as many rows
    made(moved, out, release)
    changed = [path.name for path, time in times.items() if path.stat().st_mtime_ns != time]
    assert changed == ["b.parquet"]
    check_equal(out, made(moved, tmp_path / "other", release))


def test_one_writer_a_folder(source, release, tmp_path):
    with (
        one_writer(tmp_path / "out" / "slugs.json"),
        pytest.raises(Vec2SlugError, match="alone in writing"),
    ):
        made(source, tmp_path / "out", release)


def test_the_command(source, release, tmp_path, capsys):
    arguments = ["generate", str(source), "--model", str(release), "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    assert "21 slugs of 4 files" in capsys.readouterr().out
    check_equal(tmp_path / "out", made(source, tmp_path / "other", release))
    assert main([*arguments, "--column", "vector"]) == 2
    assert "column is vector here and embedding there" in capsys.readouterr().err


def test_a_folder_that_was_moved_may_not_change_its_settings(source, release, tmp_path):
    out = made(source, tmp_path / "out", release)
    moved = source.rename(tmp_path / "moved")
    with pytest.raises(Vec2SlugError, match="precision is int8 here and float32 there"):
        SlugJob.claim(moved, out, release, "int8")
    made(moved, out, release)


def pids_with_files_in(folder):
    """Processes that have a file open in a folder: of our workers, those that write slugs."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if str(link.readlink()).startswith(f"{folder}/"):
                found.add(int(link.parts[2]))
        except OSError:  # it has ended meanwhile
            continue
    return found - {os.getpid()}


@pytest.fixture(scope="module")
def many(release, tmp_path_factory):
    """Vectors enough to meet a worker in the middle of a file, and the folder of their slugs."""
    folder = tmp_path_factory.mktemp("many")
    for seed in range(4):
        write(folder / "vectors" / f"{seed}.parquet", vectors(300, seed))
    return folder / "vectors", made(folder / "vectors", folder / "slugs", release)


def after(seen, act):
    """Do something in a thread once something is seen; the list of what it was, for the test."""
    happened = []

    def watch():
        end = time.monotonic() + 120
        while time.monotonic() < end and not happened:
            if found := seen():
                act(found)
                happened.append(found)
            time.sleep(0.01)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread, happened


def kill(pids):
    os.kill(min(pids), signal.SIGKILL)


def test_a_killed_process_is_told_of_and_the_next_run_goes_on(many, release, tmp_path):
    (source, expected), out = many, tmp_path / "out"
    thread, happened = after(lambda: pids_with_files_in(out), kill)
    with pytest.raises(Vec2SlugError, match="run this again to go on"):
        made(source, out, release, processes(2), workers=1)
    thread.join()
    assert happened
    check_equal(made(source, out, release), expected)


def test_ray_gives_the_same_slugs_though_a_worker_is_killed(cluster, many, release, tmp_path):
    (source, expected), out = many, tmp_path / "out"
    thread, happened = after(lambda: pids_with_files_in(out), kill)
    made(source, out, release, ray_data(cluster.address), workers=1)
    thread.join()
    assert happened
    check_equal(out, expected)


def test_a_bad_vector_on_the_cluster_is_named(cluster, source, release, tmp_path, capsys):
    write(source / "deep/b.parquet", np.full((5, 24), np.nan))
    arguments = ["generate", str(source), "--model", str(release), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--engine", "ray", "--address", cluster.address]) == 2
    assert "deep/b.parquet: expected finite" in capsys.readouterr().err
    assert contents(tmp_path / "out").keys() == ROWS.keys() - {"deep/b.parquet"}


def stat(pid):
    """State of a process, and the process that started it."""
    state, parent, *_ = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return state, int(parent)


def alive(pid):
    try:
        return stat(pid)[0] != "Z"  # dead, but its exit is not asked for
    except OSError:
        return False


def test_a_sweep_goes_on_though_a_worker_is_killed(cluster, run, tmp_path):
    folder, out = tmp_path / "traces", tmp_path / "out"
    folder.mkdir()
    slow = (
        BODY
        + """
import os, pathlib, time
mark = pathlib.Path(folder) / "first"
if cap == 10 and not mark.exists():
    mark.with_name("pids").write_text(f"{os.getpid()} {os.getppid()}")
    mark.with_name("pids").rename(mark)
    time.sleep(600)
"""
    )
    notebook = written(tmp_path / "slow.ipynb", PARAMETERS, slow)
    started = []

    def worker():
        if (folder / "first").exists():
            started.extend(map(int, (folder / "first").read_text().split()))
            return [stat(started[1])[1]]
        return []

    thread, happened = after(worker, kill)
    cells = [{"cap": cap, "folder": str(folder)} for cap in (10, 13, 16)]
    found = sweep(notebook, cells, out, engine=ray_tasks(cluster.address))
    thread.join()
    assert happened
    assert found.table["cap"].tolist() == [10, 16]
    assert "thirteen" in next(iter(found.failed.values()))
    assert sorted(traces(folder)) == [10, 10, 13, 16]
    assert not list(out.glob(".running*"))
    end = time.monotonic() + 60
    while any(alive(pid) for pid in started):  # kernel and papermill
        assert time.monotonic() < end, "the notebook of the killed worker still runs"
        time.sleep(0.1)


def test_the_job_ends_complete_though_the_node_that_works_is_lost(cluster, many, release, tmp_path):
    (source, expected), out, lost = many, tmp_path / "out", tmp_path / "lost"
    (node,) = cluster.worker_nodes
    head = NodeAffinitySchedulingStrategy(cluster.head_node.node_id, soft=False)

    def busy():
        while not lost.exists():
            time.sleep(0.1)

    def lose(_):
        cluster.remove_node(node, allow_graceful=False)
        lost.touch()

    with connected(cluster.address) as ray:
        kept = ray.remote(num_cpus=1, scheduling_strategy=head)(busy).remote()
        thread, happened = after(lambda: pids_with_files_in(out), lose)
        made(source, out, release, ray_data(), workers=1)
        ray.get(kept)
    thread.join()
    assert happened
    check_equal(out, expected)
    cluster.add_node(**NODE)
