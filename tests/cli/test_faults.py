"""Faults over all commands: one line, no traceback, an exit code that says whose it is."""

from __future__ import annotations

import errno
import gzip
import json
import resource
import shutil
import signal
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_notebook import BODY, PARAMETERS, written

from vec2slug_lib.cli import door
from vec2slug_lib.cli.main import main

plain = pytest.mark.parametrize("run", ["plain"], indirect=True)
FULL = 300  # bytes that a file may have on the disk that is full


@contextmanager
def full_disk():
    """No file of this process can grow beyond FULL bytes: a real error of the system."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FULL, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


@pytest.fixture
def place(tmp_path, monkeypatch, release):
    """A folder with inputs of every command; the workspace lies in it too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VEC2SLUG_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("VEC2SLUG_WORK", str(tmp_path / "work"))
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    pause = "openai._base_client.SyncAPIClient._sleep_for_retry"  # before each of its tries
    monkeypatch.setattr(pause, lambda *_, **__: None)
    rows = np.random.default_rng(0).normal(size=(300, 24)).astype(np.float32)
    np.save("v.npy", rows)
    pd.DataFrame({"embedding": list(rows)}).to_parquet("v.parquet")
    texts = [f"text number {i} about rivers" for i in range(60)]
    documents = pd.DataFrame({"id": [str(i) for i in range(60)], "text": texts})
    documents.to_parquet("d.parquet")
    lines = [{"url": f"https://e.org/a-b-{i}", "text": text * 40} for i, text in enumerate(texts)]
    Path("raw.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    written(tmp_path / "n.ipynb", PARAMETERS, BODY)
    shutil.copytree(release, "model")
    return tmp_path


CHAT = ["--base-url", "http://127.0.0.1:9/v1"]  # nothing listens there
COMMANDS = {
    "slugs": ["--vectors", "v.npy", "--model", "model", "--out", "OUT/s.jsonl"],
    "generate": ["generate", "v.parquet", "--model", "model", "--out", "OUT"],
    "corpus": ["corpus", "build", "raw.jsonl", "--out", "OUT", "--workers", "1"],
    "embed": ["embed", "d.parquet", "--out", "OUT/v.npy"],
    "data": ["data", "build", "--corpus", "OUT", "--vectors", "v.npy", "--out", "OUT"],
    "train": ["train", "1a", "--preset", "smoke"],
    "export": ["export", "model"],
    "baseline": ["baseline", "llm", "d.parquet", "--model", "m", "--out", "OUT/a.jsonl", *CHAT],
    "sweep": ["sweep", "n.ipynb", "-p", "cap=1", "--out", "OUT"],
    "paper": ["paper", "--source", "raw.jsonl", "--out", "OUT", "--preset", "smoke",
              "--embedder", "minilm", "--experiments", "3i", "--workers", "1"],
    "feasibility": ["feasibility", "--take", "raw.jsonl=5", "--chat", "m", "--out", "OUT", "--yes",
                    *CHAT],
}  # fmt: skip
READ = {  # what each command reads first
    "slugs": "v.npy", "generate": "v.parquet", "corpus": "raw.jsonl", "embed": "d.parquet",
    "data": "v.npy", "export": "model/model.json", "baseline": "d.parquet", "sweep": "n.ipynb",
    "paper": "raw.jsonl", "feasibility": "raw.jsonl",
}  # fmt: skip


def told(capsys, arguments, out="out"):
    """The exit code, and what stands on stderr beside bars."""
    code = main([argument.replace("OUT", out) for argument in arguments])
    error = capsys.readouterr().err.replace("\r", "\n")
    return code, [line for line in error.splitlines() if "vec2slug" in line or "Trace" in line]


def check_told(code, lines, expected=2):
    """One line for a person, and the exit code of what is theirs to mend."""
    assert code == expected, lines
    assert len(lines) == 1, lines
    assert lines[0].startswith("vec2slug: ")
    assert len(lines[0]) < 1500


@plain
@pytest.mark.parametrize("command", COMMANDS)
def test_no_rights_to_write(capsys, place, monkeypatch, command):
    monkeypatch.setenv("VEC2SLUG_RUNS", "/proc/none")  # not even for root
    if command == "export":
        shutil.rmtree("model")
        Path("model").symlink_to("/proc/1")
    check_told(*told(capsys, COMMANDS[command], "/proc/none"))


@plain
@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk(capsys, place, command):
    with full_disk():
        code, lines = told(capsys, COMMANDS[command])
    check_told(code, lines)
    hidden = [path.name for path in place.rglob(".*") if path.suffix != ".lock"]
    assert not hidden, "a temporary file was left"


NUMBERS = ("slugs", "generate")
BAD = {
    "broken pages": lambda data: data[:200] + bytes(b ^ 0x5A for b in data[200:900]) + data[900:],
    "cut off": lambda data: data[: len(data) // 2],
    "deep JSON": lambda _: b'{"a": ' * 100_000,
    "bad UTF-8": lambda _: b'{"id": "\xff\xfe", "text": "\xc3("}\n' * 5,
    "gzip of nothing": lambda _: gzip.compress(b"")[:-3],
    "empty": lambda _: b"",
}


@plain
@pytest.mark.parametrize("fault", BAD)
@pytest.mark.parametrize("command", READ)
def test_a_bad_file(capsys, place, command, fault):
    path = Path(READ[command])
    path.write_bytes(BAD[fault](path.read_bytes()))
    code, lines = told(capsys, COMMANDS[command])
    if code == 0 and fault == "broken pages" and command in NUMBERS:
        return  # a vector of other numbers is a vector
    check_told(code, lines)


@plain
@pytest.mark.parametrize("command", READ)
def test_a_folder_where_a_file_should_be(capsys, place, command):
    path = Path(READ[command])
    path.unlink()
    path.mkdir()
    check_told(*told(capsys, COMMANDS[command]))


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.EIO, "Input/output error", "x"), 2),
        (MemoryError(), 2),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), 2),
        (RecursionError("maximum recursion depth exceeded"), 2),
        (KeyError("of ours"), 1),
        (AssertionError(), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_is_raised_is_one_line(capsys, tmp_path, monkeypatch, command, error, code):
    def fail(*_, **__):
        raise error

    module = f"{door.__package__}.{'slugs' if command == 'slugs' else _module(command)}"
    monkeypatch.setattr(f"{module}.{command}", fail)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found, lines = told(capsys, COMMANDS[command])
    check_told(found, lines, code)
    if code == 1:
        (log,) = tmp_path.glob("vec2slug-*.log")
        assert str(log) in lines[0]
        assert "Traceback" in log.read_text()


def _module(command):
    from vec2slug_lib.cli.main import COMMANDS as modules

    return modules[command]
