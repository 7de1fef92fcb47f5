import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prose import PROSE

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.data import corpus, deduplicate
from vec2slug_lib.data.filters import SCHEMA
from vec2slug_lib.data.front_matter import split_front_matter
from vec2slug_lib.data.sources import open_source
from vec2slug_lib.embedding.wordpiece import tokenizer_path

TOKENIZER = tokenizer_path()
GERMAN = (
    "Der alte Leuchtturmwärter stieg jeden Abend langsam zu seiner Lampe hinauf, bevor die "
    "Dämmerung über die felsigen Inseln fiel, und trug frisches Öl, saubere Dochte und eine kleine "
    "Uhr aus Messing bei sich, die seine Großmutter einst von reisenden Händlern gekauft hatte."
)
# Over a thousand tokens; in random order nothing long repeats.
LONG = " ".join(random.Random(0).choices(PROSE.split(), k=1200))


def row(number, slug, text=None, **other):
    text = f"{PROSE} from harbour number {number}." if text is None else text
    return {"id": f"d{number:03}", "url": f"https://e.org/{slug}", "text": text} | other


ROWS = [
    row(0, "lighthouse-keeper-of-the-north"),
    row(1, "index.html"),
    row(2, "german-lighthouse-story", GERMAN),
    row(3, "too-short-text", " ".join(PROSE.split()[:30])),
    row(4, "too-long-text", LONG),
    row(5, "same-line-again", "The keeper lit his bright lamp tonight.\n" * 30),
    row(6, "lighthouse-keeper-of-the-north#comments"),  # the address of row 0
    row(7, "same-text-elsewhere", f"{PROSE} from harbour number 0."),  # the text of row 0
    *[row(10 + i, f"{i}/common-site-page") for i in range(10)],  # one slug, ten times
    row(30, "ships-lost-in-fog", title="Ships", source="s", license="CC0"),
    row(31, "no-text-here", ""),
    {"id": "d032", "text": PROSE},
]
KEPT = ["d000", "d030"]


def build(source, out, **options):
    return corpus.build(str(source), out, TOKENIZER, **options)


def counts(funnel):
    return {step["name"]: step["kept"] for step in funnel["steps"]}


def write_jsonl(path, rows, extra=b""):
    path.write_bytes(b"".join(json.dumps(r).encode() + b"\n" for r in rows) + extra)


def test_titles_label_pages_without_a_slug_in_their_address(tmp_path):
    titles = {
        "index.html": "Keeper of the Lamp | Lighthouse Weekly",
        "12345": "Lighthouse",  # one word is no label
        "news": "A Title of Far Too Many Words to Be a Slug Itself",
        "ships-lost-in-fog": "Another Title",  # the address has a better one
        "none": None,
    }
    rows = [row(40 + i, slug, title=title) for i, (slug, title) in enumerate(titles.items())]
    write_jsonl(tmp_path / "a.jsonl", rows)
    without = build(tmp_path / "a.jsonl", tmp_path / "without")
    assert counts(without)["slug"] == 1
    build(tmp_path / "a.jsonl", tmp_path / "with", titles=True)
    kept = pd.read_parquet(tmp_path / "with" / "documents.parquet")
    assert kept["slug"].tolist() == ["keeper-of-the-lamp", "ships-lost-in-fog"]


def test_every_filter_drops_what_it_should(tmp_path):
    pd.DataFrame(ROWS).to_parquet(tmp_path / "a.parquet")
    funnel = build(tmp_path, tmp_path / "out")
    # 21 rows; 31 and 32 unusable; 2 not English; 1 no slug; 5 repetitive; 3 and 4 wrong length;
    # 6 the address of 0; 7 the text of 0; ten times one slug.
    assert counts(funnel) == {
        "raw": 21, "readable": 19, "language": 18, "slug": 17, "repetition": 16, "tokens": 14,
        "duplicate_url": 13, "duplicate_text": 12, "slug_frequency": 2,
    }  # fmt: skip
    reasons = {reason: n for step in funnel["steps"] for reason, n in step["dropped"].items()}
    assert reasons["no_text"] == reasons["no_url"] == reasons["other_language"] == 1
    assert reasons["too_short"] == reasons["too_long"] == reasons["no_path"] == 1
    documents = pd.read_parquet(tmp_path / "out" / "documents.parquet")
    assert documents["id"].tolist() == KEPT
    assert documents["slug"].tolist() == ["lighthouse-keeper-of-the-north", "ships-lost-in-fog"]
    assert documents.loc[1, ["title", "source", "license"]].tolist() == ["Ships", "s", "CC0"]
    assert documents["token_count"].between(50, 1000).all()
    assert json.loads((tmp_path / "out" / "funnel.json").read_text()) == funnel


def test_nine_pages_may_share_a_slug(tmp_path):
    write_jsonl(tmp_path / "a.jsonl", ROWS[8:17])
    assert counts(build(tmp_path, tmp_path / "out"))["slug_frequency"] == 9


def test_two_workers_and_two_shards_give_the_same(tmp_path):
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    pd.DataFrame(ROWS).to_parquet(tmp_path / "whole" / "a.parquet")
    pd.DataFrame(ROWS[:9]).to_parquet(tmp_path / "parts" / "a.parquet")
    pd.DataFrame(ROWS[9:]).to_parquet(tmp_path / "parts" / "b.parquet")
    one = build(tmp_path / "whole", tmp_path / "one")
    two = build(tmp_path / "parts", tmp_path / "two", workers=2)
    assert one["steps"] == two["steps"]
    files = [tmp_path / name / "documents.parquet" for name in ("one", "two")]
    pd.testing.assert_frame_equal(*map(pd.read_parquet, files))


def test_broken_rows_are_counted(tmp_path):
    bad = b"\xff\xfe broken \x80 bytes" + PROSE.encode()
    strings = pa.array([PROSE.encode(), bad, None], pa.binary())
    # Parquet does not check that a string column is UTF-8.
    broken = pa.StringArray.from_buffers(3, *strings.buffers()[1:], strings.buffers()[0])
    urls = pa.array(["https://e.org/the-good-page", "https://e.org/the-bad-page", None])
    pq.write_table(pa.table({"url": urls, "text": broken}), tmp_path / "a.parquet")
    funnel = build(tmp_path, tmp_path / "out")
    assert funnel["steps"][1]["dropped"] == {"bad_encoding": 1, "no_url": 1}
    assert counts(funnel)["slug_frequency"] == 1


def test_broken_json_lines_are_counted(tmp_path):
    extra = b'{"id": "cut", "url": "https\n[1, 2]\n\n{"text": "\xff"}\n{"url": "\\ud800"}\n'
    write_jsonl(tmp_path / "a.jsonl", ROWS[:1], extra)
    funnel = build(tmp_path / "a.jsonl", tmp_path / "out")
    assert funnel["steps"][1]["dropped"] == {"bad_encoding": 2, "bad_row": 2}
    assert counts(funnel)["slug_frequency"] == 1


def test_an_address_of_any_form_costs_its_row_at_most(tmp_path):
    urls = [f"https://e.org/{'1' * 5000}-stories-of-lamps", "http://[::1/a-b-c", "https://e.org/\0"]
    rows = [row(i, "", url=url) for i, url in enumerate(urls, 1)]
    write_jsonl(tmp_path / "a.jsonl", [ROWS[0], *rows])
    (slug,) = (
        step for step in build(tmp_path, tmp_path / "out")["steps"] if step["name"] == "slug"
    )
    assert slug["dropped"] == {"no_path": 1, "not_kebab": 1, "numeric": 1}


def test_markdown_folder(tmp_path):
    folder = tmp_path / "site" / "posts"
    folder.mkdir(parents=True)
    (folder / "the-lighthouse-keeper.md").write_text(f"---\ntitle: T\nlicense: MIT\n---\n{PROSE}.")
    front = "---\nurl: https://e.org/ships-lost-in-fog\n---\n"
    (folder / "b.md").write_text(f"{front}{PROSE} again and again.")
    (folder / "c.md").write_text("---\n{bad: [yaml\n---\ntext")
    (folder / "d.md").write_bytes(b"\xff")
    funnel = build(tmp_path / "site", tmp_path / "out")
    assert funnel["steps"][1]["dropped"] == {"bad_encoding": 1, "bad_row": 1}
    documents = pd.read_parquet(tmp_path / "out" / "documents.parquet")
    assert documents["slug"].tolist() == ["ships-lost-in-fog", "the-lighthouse-keeper"]
    assert documents["license"].tolist() == ["", "MIT"]


def test_front_matter():
    assert split_front_matter("---\na: 1\n---\nbody") == ({"a": "1"}, "body")
    assert split_front_matter("no front matter") == ({}, "no front matter")
    assert split_front_matter("---\nnever closed") == ({}, "---\nnever closed")


@pytest.mark.parametrize("make", [lambda p: None, lambda p: (p / "a.txt").write_text("x")])
def test_nothing_to_read_is_an_error(tmp_path, make):
    make(tmp_path)
    with pytest.raises(Vec2SlugError, match="expected parquet, JSON lines or Markdown"):
        open_source(str(tmp_path))


def test_truncated_parquet_is_named(tmp_path):
    pd.DataFrame(ROWS).to_parquet(tmp_path / "a.parquet")
    (tmp_path / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-30])
    with pytest.raises(Vec2SlugError, match=r"a\.parquet"):
        build(tmp_path, tmp_path / "out")


def test_a_corpus_of_which_nothing_is_left_is_an_error(tmp_path):
    write_jsonl(tmp_path / "a.jsonl", ROWS[1:2])
    with pytest.raises(Vec2SlugError, match="no document passed"):
        build(tmp_path, tmp_path / "out")


def test_another_source_in_the_same_folder_is_refused(tmp_path):
    write_jsonl(tmp_path / "a.jsonl", ROWS[:1])
    write_jsonl(tmp_path / "b.jsonl", ROWS[8:9])
    build(tmp_path / "a.jsonl", tmp_path / "out")
    with pytest.raises(Vec2SlugError, match="work of this source, got another job's: source"):
        build(tmp_path / "b.jsonl", tmp_path / "out")


def test_finished_ranks_survive_a_kill(tmp_path):
    """Two shards, killed after the first: the second run ends as an unbroken one does."""
    (tmp_path / "in").mkdir()
    names = ["".join(chr(97 + int(digit)) for digit in str(i)) for i in range(440)]
    many = [row(i, f"story-of-harbour-{name}") for i, name in enumerate(names)]
    pd.DataFrame(many[:40]).to_parquet(tmp_path / "in" / "a.parquet")
    pd.DataFrame(many[40:]).to_parquet(tmp_path / "in" / "b.parquet")
    code = textwrap.dedent(f"""
        from pathlib import Path
        from vec2slug_lib.data import corpus
        from vec2slug_lib.data import deduplicate
        corpus.build({str(tmp_path / "in")!r}, Path({str(tmp_path / "out")!r}),
                     Path({str(TOKENIZER)!r}))
    """)
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    first = tmp_path / "out" / "logs" / "completions" / "00000"
    deadline = time.monotonic() + 120
    while not first.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert first.exists()
    assert not (tmp_path / "out" / "documents.parquet").exists()
    (shard,) = (tmp_path / "out" / "ranks").glob("*_00000.parquet")
    written = shard.stat().st_mtime_ns
    funnel = build(tmp_path / "in", tmp_path / "out")
    assert shard.stat().st_mtime_ns == written
    assert funnel["steps"] == build(tmp_path / "in", tmp_path / "unbroken")["steps"]
    files = [tmp_path / name / "documents.parquet" for name in ("out", "unbroken")]
    pd.testing.assert_frame_equal(*map(pd.read_parquet, files))


def plainly_filtered(rows):
    """The global filters row by row: what is kept, and how many after each."""

    def first_of_each(rows, key):
        kept = {}
        for row in sorted(rows, key=lambda row: row["id"]):  # stable: then in the order of reading
            kept.setdefault(key(row), row)
        return list(kept.values())

    def address(row):
        url = re.sub(r"^https?://(www\.)?|#.*$", "", row["url"])
        return url.rstrip("/")

    counts = []
    rows = first_of_each(rows, address)
    counts.append(len(rows))
    rows = first_of_each(rows, lambda row: row["text"])
    counts.append(len(rows))
    slugs = Counter(row["slug"] for row in rows)
    rows = [row for row in rows if slugs[row["slug"]] <= deduplicate.MAX_SLUG_COUNT]
    counts.append(len(rows))
    return sorted(rows, key=lambda row: row["id"]), counts


URLS = [
    f"{scheme}e.org/{page}{end}"
    for scheme in ("http://", "https://www.", "")
    for page in ("a", "b", "c#d/")
    for end in ("", "/", "//", "#x", "/#x#y")
]
PAGES = st.fixed_dictionaries(
    {
        "id": st.sampled_from("abcdefgh"),  # few: an id often comes twice
        "url": st.sampled_from(URLS) | st.integers().map(str),
        "slug": st.sampled_from(["s", "t", "u"]),
        "text": st.sampled_from(["same", "other", ""]) | st.text("xyzé", min_size=3),
    }
)


@settings(max_examples=30)
@given(st.lists(st.lists(PAGES, max_size=25), min_size=1, max_size=3))
def test_global_filters_are_those_of_a_plain_loop(ranks):
    with TemporaryDirectory() as name:
        folder, rows = Path(name), []
        for rank, pages in enumerate(ranks):
            rest = {"title": "", "source": f"{rank}", "license": ""}
            made = [{**page, **rest, "token_count": i} for i, page in enumerate(pages)]
            table = pa.Table.from_pylist(made, schema=SCHEMA)
            pq.write_table(table, folder / f"000_{rank:05}.parquet", row_group_size=4)
            rows += made
        steps = deduplicate.global_filters(folder, folder / "out" / "documents.parquet")
        found = pq.read_table(folder / "out" / "documents.parquet")
        assert [path.name for path in (folder / "out").iterdir()] == ["documents.parquet"]
    kept, counts = plainly_filtered(rows)
    assert found.schema.names == SCHEMA.names
    assert found.to_pylist() == [{name: row[name] for name in found.schema.names} for row in kept]
    assert [step["kept"] for step in steps] == counts
    dropped = [sum(step["dropped"].values()) for step in steps]
    assert dropped == [a - b for a, b in itertools.pairwise([len(rows), *counts])]


def test_more_than_fits_in_memory_is_filtered_on_the_disk(tmp_path, monkeypatch):
    """150 MB of texts with 60 MB of memory, and fewer pieces than row groups."""
    monkeypatch.setattr(deduplicate, "MEMORY", "60MB")
    monkeypatch.setattr(deduplicate, "THREADS", 1)
    monkeypatch.setattr(deduplicate, "ROW_GROUP", 1000)
    monkeypatch.setattr(deduplicate, "PIECES", 4)
    numbers = random.Random(0).sample(range(10**6), 10_000)
    noise = random.Random(1).randbytes(7500).hex()
    names = ("id", "url", "slug", "text")
    rows = [(f"{n:06}", f"e.org/{n}", f"s-{n}", f"{noise}{n}") for n in numbers]
    table = pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
    (tmp_path / "ranks").mkdir()
    pq.write_table(table, tmp_path / "ranks" / "000_00000.parquet", row_group_size=500)
    out = tmp_path / "documents.parquet"
    assert deduplicate.global_filters(tmp_path / "ranks", out)[-1]["kept"] == 10_000
    assert pq.read_table(out).equals(table.sort_by("id"))
    assert pq.ParquetFile(out).metadata.num_row_groups == 12
    assert sorted(path.name for path in tmp_path.iterdir()) == ["documents.parquet", "ranks"]
