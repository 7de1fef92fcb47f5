"""A clone by any git has the bytes that were committed."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def git(*arguments, cwd=ROOT):
    done = subprocess.run(["git", *arguments], cwd=cwd, capture_output=True, check=True)
    return done.stdout


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
def test_a_clone_with_line_ends_of_windows_has_the_same_bytes(tmp_path):
    options = ("-c", "core.autocrlf=true", "-c", "core.eol=crlf")
    git(*options, "clone", "--quiet", "--shared", str(ROOT), str(tmp_path / "clone"))
    committed = {}
    for line in git("ls-tree", "-r", "-z", "HEAD").decode().rstrip("\0").split("\0"):
        entry, name = line.split("\t")
        committed[name] = entry.split()[2]
    assert committed
    paths = "\n".join(str(tmp_path / "clone" / name) for name in committed)
    hashed = subprocess.run(
        ["git", "hash-object", "--no-filters", "--stdin-paths"],
        input=paths, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    changed = [
        name for (name, blob), found in zip(committed.items(), hashed, strict=True) if blob != found
    ]
    assert not changed
