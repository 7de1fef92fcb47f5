import json
from pathlib import Path

import pytest

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.files import atomic, file_sha256, read_json, write_json, write_json_lines


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(TypeError), atomic(path) as temporary:
        temporary.write_bytes("half of the n")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_json_round_trip_in_a_new_folder(tmp_path):
    value = {"é": [1, 2.5, None]}
    write_json(tmp_path / "new" / "a.json", value)
    assert read_json(tmp_path / "new" / "a.json") == value


def test_nan_is_no_json(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", float("nan"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [None, '{"a": [1, 2', "", "\x00\xff"])
def test_unreadable_json_names_the_file(tmp_path, content):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(Vec2SlugError, match=r"a\.json"):
        read_json(path)


def test_sha256_of_known_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    # The test vector of FIPS 180-2.
    assert file_sha256(tmp_path / "a").startswith("ba7816bf8f01cfea414140de5dae2223")


def test_lines_of_json_are_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "lines.jsonl"
    write_json_lines(path, [{"a": 1}, "é", Path("x")], default=str)
    assert [json.loads(line) for line in path.read_text().splitlines()] == [{"a": 1}, "é", "x"]
    with pytest.raises(TypeError):
        write_json_lines(path, [1, Path("x")])
    assert len(path.read_text().splitlines()) == 3
