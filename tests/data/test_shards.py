"""Runs into the same folder: by content, what has changed is made anew, and nothing else."""

import gzip
import json
import subprocess
import sys
import textwrap

import pandas as pd
import pyarrow.parquet as pq
import pytest
from test_corpus import PROSE, TOKENIZER, row, write_jsonl

from vec2slug_lib.cli.main import main
from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.data import corpus, filters


def story(number, word="old"):
    return row(number, f"{word}-story-of-harbour-{chr(97 + number)}x")


@pytest.fixture
def source(tmp_path):
    """Three shards of two rows each."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number, name in enumerate("bdf"):
        write_jsonl(folder / f"{name}.jsonl", [story(2 * number), story(2 * number + 1)])
    return folder


def build(source, out, **options):
    return corpus.build(str(source), out, TOKENIZER, **options)


def slugs(out):
    return pd.read_parquet(out / "documents.parquet")["slug"].tolist()


def times(out):
    """When the documents of each shard were written, by their ids."""
    files = sorted((out / "ranks").glob("*.parquet"))
    return {tuple(pq.read_table(file)["id"].to_pylist()): file.stat().st_mtime_ns for file in files}


def check_as_anew(source, out, tmp_path, **options):
    """The folder is what a run into an empty one makes."""
    funnel = build(source, out, **options)
    anew = tmp_path / f"anew{len(list(tmp_path.iterdir()))}"
    assert funnel == build(source, anew, **options) == json.loads((out / "funnel.json").read_text())
    documents = [(folder / "documents.parquet").read_bytes() for folder in (out, anew)]
    assert documents[0] == documents[1]
    lists = [folder / "skipped.jsonl" for folder in (out, anew)]
    ours, theirs = (path.exists() and path.read_text() for path in lists)
    assert ours == theirs


def test_nothing_is_done_again_where_nothing_changed(source, tmp_path, capsys):
    out = tmp_path / "out"
    funnel = build(source, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    (source / "b.jsonl").touch()
    capsys.readouterr()
    assert build(source, out) == funnel
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")} == before
    assert "filtered again" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "again", "kept"),
    [
        (lambda folder: write_jsonl(folder / "d.jsonl", [story(9, "new")]), 1, 2),
        (lambda folder: write_jsonl(folder / "a.jsonl", [story(9, "new")]), 1, 3),
        (lambda folder: write_jsonl(folder / "z.jsonl", [story(9, "new")]), 1, 3),
        (lambda folder: (folder / "b.jsonl").unlink(), 0, 2),
        (lambda folder: (folder / "b.jsonl").rename(folder / "e.jsonl"), 1, 2),
        (lambda folder: (folder / "b.jsonl").write_text("nothing"), 1, 2),
    ],
)
def test_what_changed_is_filtered_again(source, tmp_path, capsys, change, again, kept):
    out = tmp_path / "out"
    build(source, out)
    before = times(out)
    change(source)
    capsys.readouterr()
    check_as_anew(source, out, tmp_path)
    same = [ids for ids, when in times(out).items() if before.get(ids) == when]
    assert len(same) == kept
    told = capsys.readouterr().err
    assert ("filtered again" in told) == bool(again)
    assert not again or f"vec2slug: {again} of " in told


def test_other_settings_filter_all_again(source, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    build(source, out)
    monkeypatch.setattr(filters, "MIN_TOKENS", 40)
    capsys.readouterr()
    check_as_anew(source, out, tmp_path)
    assert "3 of 3 shards are filtered again" in capsys.readouterr().err


def test_another_place_with_the_same_content_is_the_same_source(source, tmp_path):
    out = tmp_path / "out"
    build(source, out)
    before = times(out)
    moved = source.rename(tmp_path / "moved")
    build(moved, out)
    assert times(out) == before
    write_jsonl(moved / "d.jsonl", [story(9)])
    build(moved, out)
    (moved / "d.jsonl").unlink()
    moved.rename(source)
    with pytest.raises(
        Vec2SlugError, match=r"another job's: source is .*in here and .*moved there"
    ):
        build(source, out)


def test_a_broken_shard_fails_alone_and_is_taken_up_when_mended(source, tmp_path, capsys):
    out, whole = tmp_path / "out", gzip.compress((source / "b.jsonl").read_bytes())
    (source / "b.jsonl").unlink()
    (source / "b.jsonl.gz").write_bytes(whole[:-20])
    for _ in range(2):
        with pytest.raises(
            Vec2SlugError, match=r"1 did not, .*b\.jsonl\.gz, but after 1 rows: EOF"
        ):
            build(source, out)
        assert len(list((out / "logs" / "completions").iterdir())) == 2
        assert not (out / "documents.parquet").exists()
    (source / "b.jsonl.gz").write_bytes(whole)
    check_as_anew(source, out, tmp_path)
    assert len(slugs(out)) == 6
    (source / "b.jsonl.gz").write_bytes(whole[:-20])  # and broken again
    with pytest.raises(Vec2SlugError, match=r"b\.jsonl\.gz"):
        build(source, out)
    assert not (out / "documents.parquet").exists()


def test_skip_bad_keeps_what_can_be_read_and_lists_the_rest(source, tmp_path, capsys):
    out, whole = tmp_path / "out", gzip.compress((source / "b.jsonl").read_bytes())
    (source / "b.jsonl").unlink()
    (source / "b.jsonl.gz").write_bytes(whole[:-20])
    with (source / "d.jsonl").open("ab") as file:
        file.write(b"no JSON\n")
    (source / "more.zip").write_bytes(b"PK\x03\x04")
    command = ["corpus", "build", str(source), "--out", str(out), "--workers", "1"]
    assert main(command) == 2
    assert "more.zip (ZIP archive)" in capsys.readouterr().err
    assert main([*command, "--skip-bad"]) == 0
    told = capsys.readouterr().err
    assert "vec2slug: 2 rows could not be read: bad_row 1, broken_file 1; see " in told
    assert "vec2slug: 1 files left out: ZIP archive (.zip) 1; see " in told
    assert len(slugs(out)) == 5
    listed = [json.loads(line) for line in (out / "skipped.jsonl").read_text().splitlines()]
    assert listed == [
        {"file": "b.jsonl.gz", "row": 1, "reason": "broken_file: EOFError: the compressed data "
         "break off"},
        {"file": "d.jsonl", "row": 2, "reason": "bad_row"},
        {"file": "more.zip", "row": None, "reason": "ZIP archive"},
    ]  # fmt: skip
    before = times(out)
    check_as_anew(source, out, tmp_path, skip_bad=True)
    assert times(out) == before
    (source / "more.zip").unlink()
    with pytest.raises(Vec2SlugError, match=r"b\.jsonl\.gz"):  # not good without --skip-bad
        build(source, out)
    assert {ids: when for ids, when in times(out).items() if ids != ("d000",)}.items() <= (
        before.items()
    )


def test_many_skipped_rows_are_counted_and_some_listed(tmp_path, monkeypatch):
    monkeypatch.setattr(filters, "LISTED", 2)
    write_jsonl(tmp_path / "a.jsonl", [story(1)], b"no JSON\n" * 7)
    funnel = build(tmp_path / "a.jsonl", tmp_path / "out")
    assert funnel["steps"][1]["dropped"] == {"bad_row": 7}
    assert len((tmp_path / "out" / "skipped.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    "harm",
    [
        lambda out: next((out / "ranks").glob("*_00001.parquet")).unlink(),
        lambda out: next((out / "ranks").glob("*_00001.parquet")).write_bytes(b"PAR1"),
        lambda out: (out / "logs" / "stats" / "00001.json").unlink(),
        lambda out: (out / "logs" / "stats" / "00001.json").write_text("[]"),
        lambda out: (out / "documents.parquet").write_bytes(b""),
        lambda out: (out / "funnel.json").unlink(),
        lambda out: (out / "job.json").unlink(),
    ],
)
def test_what_is_lost_or_damaged_is_made_again(source, tmp_path, harm):
    build(source, tmp_path / "out")
    harm(tmp_path / "out")
    check_as_anew(source, tmp_path / "out", tmp_path)


def test_documents_that_a_killed_or_changed_shard_left_are_not_taken(source, tmp_path):
    out = tmp_path / "out"
    build(source, out)
    (out / "logs" / "completions" / "00001").unlink()
    pq.write_table(
        pq.read_table(out / "ranks" / "000_00000.parquet"), out / "ranks/001_00001.parquet"
    )
    (source / "b.jsonl").write_text('{"url": 1}\n')  # and of the first nothing is left
    check_as_anew(source, out, tmp_path)
    assert len(slugs(out)) == 4


def test_damaged_documents_of_a_shard_are_one_line(source, tmp_path):
    build(source, tmp_path / "out")
    (tmp_path / "out" / "funnel.json").unlink()
    path = tmp_path / "out" / "ranks" / "000_00001.parquet"
    data = bytearray(path.read_bytes())
    data[4:200] = bytes(byte ^ 0x5A for byte in data[4:200])
    path.write_bytes(data)
    with pytest.raises(Vec2SlugError, match="expected to join the documents in"):
        build(source, tmp_path / "out")


def test_a_fault_of_a_filter_is_one_shard_s(source, tmp_path, monkeypatch):
    def fail(_, document):
        if "number 0" in document.text:
            raise KeyError("a fault of ours")
        return True

    monkeypatch.setattr(filters.LanguageFilter, "filter", fail)
    with pytest.raises(Vec2SlugError, match=r"1 did not, .*KeyError: 'a fault of ours' \(more in"):
        build(source, tmp_path / "out")
    log = tmp_path / "out" / "logs" / "logs" / "task_00000.log"
    assert "Traceback" in log.read_text()
    assert len(list((tmp_path / "out" / "logs" / "completions").iterdir())) == 2


def test_out_may_lie_in_the_source_and_have_an_odd_name(source, tmp_path):
    out = source / "work [a]*"
    funnel = build(source, out)
    (out / "funnel.json").unlink()
    assert build(source, out) == funnel
    assert len(slugs(out)) == 6


def test_one_writer(source, tmp_path):
    code = f"""
        from pathlib import Path
        from vec2slug_lib.common.jobs import one_writer
        with one_writer(Path({str(tmp_path / "out")!r})):
            print("held", flush=True)
            input()
    """
    arguments = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        with pytest.raises(Vec2SlugError, match=f"to be alone in writing .*{process.pid}"):
            build(source, tmp_path / "out")
        process.communicate(b"\n")
    build(source, tmp_path / "out")


def test_sites(tmp_path):
    """What the field's inputs stand for: the slugs that a site has."""
    body = f"{PROSE} again"
    pages = {
        "_posts/2024-01-02-lamps-along-rocky-shores.md": "---\r\nlayout: post\r\n---\r\n",
        "bake-sourdough-bread-home/index.md": "---\ntitle: x\n---\n",
        "p1.md": "---\nslug: ships-lost-in-fog\n---\n",
        "wrong-name-from-file.md": "\ufeff---\nurl: https://e.org/blog/keeper-of-lights/\n---\n",
        "wrong-name-of-two.md": '+++\nslug = "storms-over-northern-isles"\n+++\n',
        "long-bad-date-story.md": "---\ndate: 0000-00-00 00:00:00\n---\n",
        "broken-front-matter-story.md": "---\ntitle: Foo: bar\n---\n",
        "posts/_index.md": "---\ntitle: All posts\n---\n",
    }
    for number, (name, front) in enumerate(pages.items()):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"{front}{body} and {number}.".encode())
    funnel = build(tmp_path / "in", tmp_path / "out")
    assert funnel["steps"][1]["dropped"] == {"bad_row": 1, "no_url": 1}
    assert sorted(slugs(tmp_path / "out")) == [
        "bake-sourdough-bread-home", "keeper-of-lights", "lamps-along-rocky-shores",
        "long-bad-date-story", "ships-lost-in-fog", "storms-over-northern-isles",
    ]  # fmt: skip
    texts = pd.read_parquet(tmp_path / "out" / "documents.parquet")["text"]
    assert texts.str.startswith(PROSE[:20]).all()
