"""The table of decoding variants: its record, and that each place decodes as it says."""

import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from chapters import ch12_variants

from vec2slug_lib.cli import slugs as command
from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.files import file_sha256, read_json, write_json
from vec2slug_lib.common.workspace import current
from vec2slug_lib.data.dataset import Dataset
from vec2slug_lib.evaluation.metrics import token_overlap
from vec2slug_lib.inference.bulk import SlugJob, _predictor
from vec2slug_lib.inference.index import Index
from vec2slug_lib.inference.predictor import SlugPredictor
from vec2slug_lib.inference.release_folder import DEFAULT_MODEL
from vec2slug_lib.inference.steppers import GRAPHS
from vec2slug_lib.release.browser import collect
from vec2slug_lib.release.standalone import TAIL

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import variants
from sides import beside, sides_of, single_rows

PLACES = {
    "command line, text", "command line, vectors", "command line, an index",
    "library, vectors alone", "library, an embedder", "library, an index",
    "bulk", "inference.py", "playground",
}  # fmt: skip


class Embedder:
    """Of the tiny release's vectors; any two texts are at right angles or the same."""

    key, dimensions = "minilm", 24

    def embed(self, texts):
        rows = [np.random.default_rng(sum(map(ord, text))).normal(size=24) for text in texts]
        return np.array([row / np.linalg.norm(row) for row in rows], np.float32)


@pytest.fixture(scope="module")
def record():
    return read_json(current().data / "benchmarks" / "variants.json")


def default_of(place):
    """The one variant that is the default of a place."""
    (found,) = (v for v in variants.VARIANTS.values() if place in v.default_of)
    return found


def decoding(predictor):
    """What a predictor decodes with, in the words of the table; its precision is not in it."""
    return {
        "mbr": predictor.config.mbr is not None,
        "index": predictor.index is not None,
        "rerank": predictor.embedder is not None,
    }


def wanted(place):
    return {name: getattr(default_of(place), name) for name in ("mbr", "index", "rerank")}


def test_every_place_has_one_default():
    listed = [place for v in variants.VARIANTS.values() for place in v.default_of]
    assert sorted(listed) == sorted(PLACES)
    assert "command line, vectors" in variants.VARIANTS[variants.RELEASE].default_of


def test_no_two_variants_are_the_same():
    kinds = [(v.precision, v.mbr, v.index, v.rerank) for v in variants.VARIANTS.values()]
    assert len(set(kinds)) == len(kinds)


def test_the_record_is_of_the_release_and_complete(record):
    assert record["weights"] == file_sha256(DEFAULT_MODEL / "model.safetensors")
    assert record["release"] == variants.RELEASE
    assert list(record["variants"]) == list(variants.VARIANTS)
    assert {"processor", "cores", "python", "onnxruntime"} == set(record["machine"])
    assert record["alone"] in (True, False)
    for name, row in record["variants"].items():
        variant = variants.VARIANTS[name]
        assert tuple(row["default_of"]) == variant.default_of
        for key in ("label", "precision", "mbr", "index", "rerank"):
            assert row[key] == getattr(variant, key)
        assert row["token_f1"]["low"] < row["token_f1"]["value"] < row["token_f1"]["high"]
        for kind in ("one", "many"):
            assert 0 < row[kind]["low"] <= row[kind]["median"] <= row[kind]["high"]
        assert row["peak_mib"] > 50
        assert (row["int8"] is not None) == (variant.precision == "int8")
    ours = record["variants"][variants.RELEASE]
    assert ours["difference"] == {"value": 0, "low": 0, "high": 0}
    assert ours["one"]["ratio"]["median"] == ours["many"]["ratio"]["median"] == 1


def test_the_front_page_has_quality_and_speed_of_the_same_rows(record):
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert ch12_variants.front_page_says(record) in readme


def test_int8_costs_little(record):
    for row in record["variants"].values():
        if row["int8"]:
            assert row["int8"]["difference"]["value"] >= -0.003


@pytest.mark.parametrize(
    ("place", "arguments"),
    [
        ("command line, text", ["a text"]),
        ("command line, vectors", ["--vectors", "rows.npy"]),
        ("command line, an index", ["--vectors", "rows.npy", "--index", str(current().data)]),
    ],
)
def test_the_command_line_decodes_as_the_table_says(place, arguments):
    options = command.slug_options(arguments)
    predictor, _ = command.open_models(options)
    assert decoding(predictor) == wanted(place)
    assert options.precision == default_of(place).precision


def test_fast_leaves_out_the_re_ranking_as_bulk_does():
    options = command.slug_options(["--vectors", "rows.npy", "--fast"])
    assert decoding(command.open_models(options)[0]) == wanted("bulk")


@pytest.mark.parametrize("run", ["headed"], indirect=True)  # others search alone
def test_the_library_and_bulk_decode_as_the_table_says(release, tmp_path):
    rows = np.eye(24, dtype=np.float32)
    index = Index(rows, ["a-known-slug"] * 24)
    places = {
        "library, vectors alone": SlugPredictor.from_dir(release),
        "library, an embedder": SlugPredictor.from_dir(release, embedder=Embedder()),
        "library, an index": SlugPredictor.from_dir(release, index=index),
    }
    (tmp_path / "in").mkdir()
    job = SlugJob.claim(tmp_path / "in", tmp_path / "out", release)
    places["bulk"] = _predictor(job)
    for place, predictor in places.items():
        assert decoding(predictor) == wanted(place), place
        assert default_of(place).precision == "float32"  # as `from_dir` has it
    assert job.precision == default_of("bulk").precision


def test_the_script_of_a_release_has_the_librarys_defaults():
    assert "SlugPredictor.from_dir(options.folder, options.precision)" in TAIL
    assert 'default="float32"' in TAIL
    assert wanted("inference.py") == wanted("library, vectors alone")


def test_the_playground_decodes_as_the_table_says(tmp_path):
    (tmp_path / "reader.onnx").write_bytes(b"graph")
    collect(tmp_path, DEFAULT_MODEL, tmp_path, tmp_path, tmp_path / "out")
    files, variant = read_json(tmp_path / "out/files.json"), default_of("playground")
    assert GRAPHS[variant.precision] in [file["name"] for file in files["writer"]]
    assert (files["settings"]["risk"] is not None) == variant.mbr
    assert ("reader.onnx" in [file["name"] for file in files["reader"]]) == variant.rerank
    assert not variant.index
    measured = read_json(current().data / "benchmarks" / "playground.json")
    name = next(name for name, v in variants.VARIANTS.items() if v is variant)
    assert measured["variant"] == name  # as the page itself said
    assert measured["weights"] == file_sha256(DEFAULT_MODEL / "model.safetensors")


@pytest.fixture
def tiny(release, monkeypatch):
    """The tiny release, its variants without what the real data alone has, and rows for it."""
    chosen = {n: v for n, v in variants.VARIANTS.items() if not v.index}
    monkeypatch.setattr(variants, "VARIANTS", chosen)
    monkeypatch.setattr("vec2slug_lib.embedding.registry.open_embedder", lambda **_: Embedder())
    monkeypatch.setattr(variants, "peak", lambda *_: 100.0)
    rng = np.random.default_rng(0)
    slugs = ["bee-of-hive", "ant-of-hill-life", "bee-hill-b"] * 4
    pairs = pd.DataFrame({"id": map(str, range(12)), "slug": slugs, "cluster": [0, 1, 2, 3] * 3})
    return release, Dataset(pairs, rng.normal(size=(12, 24)).astype(np.float32))


def timed(folder, rows, single):
    """What no test measures."""
    spread = {"median": 1.0, "low": 1.0, "high": 1.0, "ratio": {"median": 1.0}}
    return {name: {"one": spread, "many": spread} for name in variants.VARIANTS}


def test_a_record_of_a_tiny_release(tiny, monkeypatch, tmp_path):
    release, test = tiny
    monkeypatch.setattr(variants, "times", timed)
    record = variants.measure_variants(release, test, 2, 4)
    assert list(record["variants"]) == list(variants.VARIANTS)
    for name, variant in variants.VARIANTS.items():
        predictor = variants.open_variant(release, variant)
        assert decoding(predictor)["rerank"] == variant.rerank
        f1 = token_overlap(predictor.predict(test.vectors), test.slugs)[2].mean()
        assert record["variants"][name]["token_f1"]["value"] == pytest.approx(f1)
    write_json(tmp_path / "record.json", record, allow_nan=True)
    known = variants.known_qualities(tmp_path / "record.json", release)
    again = variants.measure_variants(release, test, 2, 4, known)
    assert {name: again["variants"][name]["token_f1"] for name in known} == {
        name: row["token_f1"] for name, row in known.items()
    }
    with pytest.raises(Vec2SlugError, match="record of these weights"):
        variants.known_qualities(None, release)


def test_sides_answer_in_processes_of_their_own():
    with sides_of({name: partial(echo, name) for name in ("a", "b")}) as sides:
        assert sides["b"](np.zeros((2, 3)))[1] == [("b", 0.0)] * 2
        found = beside(single_rows(sides, np.zeros((2, 3))), "a")
    assert found["a"]["ratio"]["median"] == 1
    assert set(found["b"]) == {"median", "low", "high", "ratio"}


def echo(name):
    """A side that names itself."""
    return lambda rows: [(name, 0.0)] * len(rows)
