"""Texts on the command line: their words count if the release knows of them."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_text_model import tiny_text_model

from vec2slug_lib.cli import slugs
from vec2slug_lib.cli.main import main
from vec2slug_lib.common.files import read_json, write_json
from vec2slug_lib.inference.predictor import SlugPredictor
from vec2slug_lib.inference.text_model import TEXT_MODEL

pytestmark = pytest.mark.parametrize("run", ["headed"], indirect=True)
TEXTS = ["The hive of the Honey Bee", "Amelia Earhart over the Atlantic", "1, 2, 3 and 4"]


class Fake:
    """An embedder whose vectors hang on the letters of a text."""

    key, dimensions = "minilm", 24

    def embed(self, texts):
        rows = [[text.count(chr(97 + i)) + 0.1 for i in range(24)] for text in texts]
        return (np.array(rows) / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def knowing(release, tmp_path, monkeypatch):
    """A release with a model of words in texts, whose embedder runs here."""
    info = SimpleNamespace(key="minilm", width=24, local=True)
    monkeypatch.setattr(slugs, "find_embedder", lambda key: info)
    monkeypatch.setattr(slugs, "open_embedder", lambda key, lean: Fake())
    folder = shutil.copytree(release, tmp_path / "knowing")
    write_words(folder)
    return folder


def write_words(folder, **changed):
    size = len(SlugPredictor.from_dir(folder).vocabulary.strings)
    write_json(folder / TEXT_MODEL, tiny_text_model(size, **changed).to_json())


def lines_of(capsys, *arguments):
    assert main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out.splitlines()


def test_texts_are_named_by_their_words_unless_the_vector_is_to_count_alone(
    release, knowing, capsys
):
    found = lines_of(capsys, *TEXTS, "--model", knowing)
    assert {"honey", "bee"} <= set(found[0].split("-"))
    assert {"amelia", "earhart"} <= set(found[1].split("-"))
    assert found == SlugPredictor.from_dir(knowing, embedder=Fake()).predict_texts(TEXTS)
    assert [lines_of(capsys, text, "--model", knowing)[0] for text in TEXTS] == found
    alone = lines_of(capsys, *TEXTS, "--model", knowing, "--vector-only")
    assert alone == lines_of(capsys, *TEXTS, "--model", release)
    assert not set(alone) & set(found)


def test_a_file_is_of_texts_or_of_vectors(knowing, capsys, tmp_path):
    out, asked = tmp_path / "slugs.jsonl", ("--model", knowing, "--out", tmp_path / "slugs.jsonl")
    assert main([*TEXTS, " ", *map(str, asked)]) == 2
    assert "is empty" in capsys.readouterr().err
    known = read_json(tmp_path / "slugs.jsonl.part.json")
    assert "text_sha256" in known
    for other in (["--vector-only"], []):
        if not other:
            write_words(knowing, bonus=1.0)
        assert main([*TEXTS, *map(str, asked), *other]) == 2
        assert "text_sha256 is" in capsys.readouterr().err
    write_words(knowing)
    assert lines_of(capsys, *TEXTS, *asked) == []
    found = [json.loads(line)["slug"] for line in out.read_text().splitlines()]
    assert found == lines_of(capsys, *TEXTS, "--model", knowing)
