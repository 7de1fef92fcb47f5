"""What a file is, its content says; a broken row costs itself, and a broken file its rest."""

import bz2
import gzip
import io
import json
import lzma
import os
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.data.compression import open_content
from vec2slug_lib.data.readers import kind_of
from vec2slug_lib.data.sources import open_source

ROWS = [{"id": f"d{i}", "url": f"https://e.org/{i}", "text": f"Text {i} é."} for i in range(9)]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
PLAIN = LINES.encode()
IDS = [row["id"] for row in ROWS]
HALF = PLAIN.index(b"\n", len(PLAIN) // 2) + 1


def xz(data):
    return lzma.compress(data)


PACKERS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": xz, "zst": zstandard.compress}


def parquet(table):
    target = io.BytesIO()
    pq.write_table(pa.table(table), target)
    return target.getvalue()


def zipped(count):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(count):
            archive.writestr(f"{number}.jsonl", PLAIN)
    return target.getvalue()


COLUMNS = {name: [row[name] for row in ROWS] for name in ROWS[0]}
WHOLE = parquet(COLUMNS)


def documents(path, skip_bad=False, **options):
    return list(open_source(str(path), skip_bad=skip_bad, **options).reader(skip_bad).run())


def ids(path, **options):
    return [document.id for document in documents(path, **options)]


def defects(path, **options):
    return [document.metadata["defect"] for document in documents(path, **options)]


def write(path, content):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.ndjson", "a.txt", "a", "a.parquet"])
@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        LINES.encode("utf-8-sig"),
        LINES.encode("utf-16"),
        PLAIN.replace(b"\n", b"\r\n"),
        b"\n\n" + PLAIN.rstrip(),
        json.dumps(ROWS).encode(),
        json.dumps(ROWS, indent=2).encode("utf-8-sig"),
        "\n".join(json.dumps(row, indent=1) for row in ROWS).encode(),
        gzip.compress(PLAIN),
        zipped(1),
        WHOLE,
        zstandard.compress(WHOLE),
    ],
)
def test_documents_are_found_under_any_name(tmp_path, name, content):
    assert ids(write(tmp_path / name, content)) == IDS
    assert ids(tmp_path) == IDS


@pytest.mark.parametrize("kind", PACKERS)
def test_packed_files_of_several_members(tmp_path, kind):
    pack = PACKERS[kind]
    path = write(tmp_path / "a.jsonl", pack(PLAIN[:HALF]) + pack(b"") + pack(PLAIN[HALF:]))
    assert ids(path) == IDS
    assert ids(write(path, zstandard.compress(pack(PLAIN)))) == IDS


@pytest.mark.parametrize("kind", PACKERS)
def test_of_a_packed_file_that_breaks_off_the_rows_before_are_kept(tmp_path, kind):
    pack = PACKERS[kind]
    path = write(tmp_path / f"a.jsonl.{kind}", pack(PLAIN[:HALF]) + pack(PLAIN[HALF:])[:-9])
    with pytest.raises(Vec2SlugError, match=rf"whole JSON file, a\.jsonl\.{kind}, but after \d"):
        documents(path)
    *rows, last = documents(path, skip_bad=True)
    assert len(rows) >= PLAIN[:HALF].count(b"\n")
    assert [row.id for row in rows] == IDS[: len(rows)]
    assert (last.metadata["defect"], last.metadata["row"]) == ("broken_file", len(rows))
    assert "break off" in last.metadata["detail"]


@pytest.mark.parametrize("kind", PACKERS)
def test_a_packed_file_of_which_nothing_can_be_read_is_broken_and_not_empty(tmp_path, kind):
    write(tmp_path / "b.jsonl", PLAIN)
    packed = bytearray(PACKERS[kind](PLAIN))
    for content in (packed[:12], packed[:10] + b"\xff" * 90 + packed[100:]):
        write(tmp_path / "a", content)
        with pytest.raises(Vec2SlugError, match="whole readable file, a, but after 0 rows"):
            documents(tmp_path)
        assert defects(tmp_path, skip_bad=True) == ["broken_file", *[""] * 9]
        with pytest.raises(Vec2SlugError, match="whole readable file, a, but after 0 rows"):
            documents(tmp_path / "a")
    write(tmp_path / "a", PACKERS[kind](b""))
    assert open_source(str(tmp_path)).left_out == {"a": "empty file"}


@pytest.mark.parametrize("kind", PACKERS)
def test_packed_files_of_any_size_are_read_whole_or_break(kind):
    @given(st.lists(st.binary(max_size=300), max_size=4), st.integers(0, 40))
    def check(parts, cut):
        packed = b"".join(map(PACKERS[kind], parts))
        if not cut:
            assert open_content(io.BytesIO(packed)).read() == (b"".join(parts))
            return
        whole, content = b"".join(parts), b""
        try:
            for block in open_content(io.BytesIO(packed[:-cut])).blocks:
                content += block
        except EOFError:
            assert whole.startswith(content)
        else:  # the cut took members whole, or left what is no longer known as packed
            assert whole.startswith(content) or packed.startswith(content)

    check()


def test_zstd_of_a_wide_window_and_with_frames_to_skip(tmp_path):
    settings = zstandard.ZstdCompressionParameters.from_level(3, window_log=30)
    wide = zstandard.ZstdCompressor(compression_params=settings).compressobj()
    skipped = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"
    packed = skipped + wide.compress(PLAIN) + wide.flush() + skipped
    assert ids(write(tmp_path / "a.zst", packed)) == IDS


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"id": ' + b"9" * 5000 + b"}",
        b'{"id": "cut", "url": "https',
        b"[1, 2]",
        b"null",
        b"\0\0\0\0",
        b"# no JSON",
        b'{"url": ["a"], "text": "b"}',
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_bad_line_costs_itself(tmp_path, line, first):
    lines = line + b"\n" + PLAIN if first else PLAIN + line
    found = defects(write(tmp_path / "a.jsonl", lines))
    assert found == (["bad_row", *[""] * 9] if first else [*[""] * 9, "bad_row"])


def test_an_array_that_does_not_end_is_a_broken_file(tmp_path):
    for end in (-1, -30):
        path = write(tmp_path / "a.json", json.dumps(ROWS).encode()[:end])
        with pytest.raises(Vec2SlugError, match=r"whole JSON file, a\.json, but after [89] rows"):
            documents(path)
        assert defects(path, skip_bad=True)[-1] == "broken_file"


def test_columns_of_other_types(tmp_path):
    odd = {
        "id": pa.array([bytes([200 + i]) * 16 for i in range(9)], pa.binary(16)),
        "url": pa.array(COLUMNS["url"]).dictionary_encode(),
        "text": pa.array([text.encode() for text in COLUMNS["text"][:-1]] + [b"\xff"]),
        "license": pa.array([["MIT", "CC0"]] * 9),
        "title": pa.array([10**18 + 1] * 9, pa.timestamp("ns")),
        "source": pa.array([float("nan")] * 9),
        "defect": pa.array(["mine"] * 9),
    }
    *rows, last = documents(write(tmp_path / "a", parquet(odd)))
    assert [row.metadata["defect"] for row in rows] == [""] * 8
    assert last.metadata["defect"] == "bad_encoding"
    assert [row.id for row in rows][:2] == ["c8" * 16, "c9" * 16]
    assert {(row.metadata["license"], row.metadata["source"]) for row in rows} == {("MIT, CC0", "")}
    assert defects(write(tmp_path / "a", parquet({"text": [["a"]], "url": ["b"]}))) == ["bad_row"]
    assert defects(write(tmp_path / "a", parquet({"x": [1, 2]}))) == ["no_url"] * 2


def test_values_that_are_no_strings(tmp_path):
    rows = [{"id": 0, "title": False}, {"id": None, "title": 7}, {"title": {"a": 1}, "defect": "x"}]
    lines = b"".join(json.dumps({**row, "url": "u", "text": "t"}).encode() + b"\n" for row in rows)
    found = documents(write(tmp_path / "a", lines))
    assert [document.id for document in found] == ["0", "a/1", "a/2"]
    assert [document.metadata["title"] for document in found] == ["", "7", ""]
    assert not any(document.metadata["defect"] for document in found)


def test_flipped_bytes_in_parquet(tmp_path):
    rows = [{**row, "text": row["text"] * 50} for row in ROWS]
    table, target = pa.Table.from_pylist(rows), io.BytesIO()
    pq.write_table(table, target, row_group_size=3, use_dictionary=False, compression="none")
    data = bytearray(target.getvalue())
    data[data.index(b"Text 3") - 4 : data.index(b"Text 3")] = b"\xff\xff\xff\x7f"
    path = write(tmp_path / "a.parquet", bytes(data))
    with pytest.raises(Vec2SlugError, match=r"whole parquet file, a\.parquet, but after 3 rows"):
        documents(path)
    assert defects(path, skip_bad=True) == ["", "", "", "broken_file"]


KINDS = {
    "ZIP archive": zipped(2), "LZ4": b"\x04\x22\x4d\x18abc", "7z archive": b"7z\xbc\xaf\x27\x1c",
    "SQLite database": b"SQLite format 3\0", "Arrow file": b"ARROW1\0\0",
    "Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\n",
    "HTML page": b"<!DOCTYPE html>", "text": b"Some text.", "binary data": b"\x01\0\x02",
    "empty file": b"",
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_another_kind_is_refused_by_what_it_is(tmp_path, kind):
    path = write(tmp_path / "a.dat", KINDS[kind])
    with pytest.raises(Vec2SlugError, match=f"at '.*a.dat', found 1 {kind}"):
        open_source(str(path))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *((f"a.{number}", content) for number, content in enumerate(list(KINDS.values())[:6])),
        ("a.csv", b"id,url\n1,2\n"),
        ("a.parquet", b"<html>not found"),
        ("a.jsonl.gz", b"a text\n\0"),
    ],
)
def test_what_may_hold_documents_is_not_left_out_in_silence(tmp_path, name, content):
    write(tmp_path / "b.jsonl", PLAIN)
    write(tmp_path / name, content)
    with pytest.raises(Vec2SlugError, match=rf"found beside 1 such files {name} \("):
        open_source(str(tmp_path))
    source = open_source(str(tmp_path), skip_bad=True)
    assert (source.files, list(source.left_out)) == (["b.jsonl"], [name])


def test_mixed_kinds_are_read_whole_and_the_rest_is_counted(tmp_path):
    (tmp_path / "sub" / ".git").mkdir(parents=True)
    files = {
        "a.jsonl.zst": zstandard.compress(PLAIN), "b": gzip.compress(PLAIN), "c.parquet": WHOLE,
        "sub/the-old-harbour.md": b"text", "sub/.git/x": b"x", "style.css": b"p {}",
        "_SUCCESS": b"", "logo.png": b"\x89PNG\r\n\x1a\n\0", "d.jsonl": b"",
        "notes.txt": b"---\ntitle: T\n---\nbody",
    }  # fmt: skip
    for name, content in files.items():
        write(tmp_path / name, content)
    source = open_source(str(tmp_path))
    read = ["a.jsonl.zst", "b", "c.parquet", "notes.txt", "sub/the-old-harbour.md"]
    assert source.files == read
    assert sorted([*source.files, *source.left_out]) == sorted(files)
    assert source.count_left_out() == {
        "empty file (no ending)": 1, "empty file (.jsonl)": 1, "binary data (.png)": 1,
        "text (.css)": 1, "hidden": 1,
    }  # fmt: skip
    assert len(documents(tmp_path)) == 3 * 9 + 2
    ranks = [[d.id for d in source.reader().run(rank=rank, world_size=2)] for rank in range(2)]
    assert sorted(ranks[0] + ranks[1]) == sorted(ids(tmp_path))


def test_links_pipes_and_our_own_folder(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "elsewhere"
    (inside / "out" / "ranks").mkdir(parents=True)
    outside.mkdir()
    write(outside / "b.jsonl", PLAIN)
    write(inside / "out" / "ranks" / "a.jsonl", PLAIN)
    (inside / "linked").symlink_to("../elsewhere")
    (inside / "loop").symlink_to("..")
    os.mkfifo(inside / "pipe.jsonl")
    assert open_source(str(inside), inside / "out").files == ["linked/b.jsonl"]
    assert len(open_source(str(inside / "out" / "ranks"), inside / "out").files) == 1
    with pytest.raises(Vec2SlugError, match="expected results elsewhere than in the folder"):
        open_source(str(inside), inside)
    (inside / "dead.jsonl").symlink_to("nowhere")
    with pytest.raises(Vec2SlugError, match=r"dead\.jsonl, but after 0 rows: FileNotFoundError"):
        documents(inside)
    assert "broken_file" in defects(inside, skip_bad=True)


def test_a_file_without_rights_fails_as_itself(tmp_path, monkeypatch):
    write(tmp_path / "a.jsonl", PLAIN)
    source = open_source(str(tmp_path))

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", "a.jsonl")

    monkeypatch.setattr(type(source.folder), "open", refuse)
    again = open_source(str(tmp_path))
    with pytest.raises(Vec2SlugError, match=r"a\.jsonl, but after 0 rows: PermissionError"):
        list(again.reader().run())


def test_far_file_systems(tmp_path):
    from fsspec.implementations.memory import MemoryFileSystem

    system = MemoryFileSystem()
    system.pipe({"/far/a.jsonl.zst": zstandard.compress(PLAIN), "/far/b/c": WHOLE})
    source = open_source("memory://far")
    assert source.files == ["a.jsonl.zst", "b/c"]
    assert ids("memory://far") == IDS * 2
    assert ids("memory://far/b/c") == IDS
    before = source.hashes()
    assert before == open_source("memory://far").hashes()
    system.pipe("/far/b/c", PLAIN)
    assert [a == b for a, b in zip(before, open_source("memory://far").hashes(), strict=True)] == [
        True,
        False,
    ]
    for address in ("memory://nowhere", "nosuch://a", "s3://"):
        with pytest.raises(Vec2SlugError, match="expected "):
            open_source(address)


@given(st.binary(max_size=300), st.sampled_from(["a", "a.md", "a.jsonl", "a.parquet", "a.csv"]))
def test_every_content_is_told(content, name):
    found = open_content(io.BytesIO(content))
    assert kind_of(found.head, name)
