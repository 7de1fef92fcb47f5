import json
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from given_vectors import Fake, vectors
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors.torch import load_file, save_file

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.files import file_sha256, read_json, write_json
from vec2slug_lib.common.slugs import is_valid
from vec2slug_lib.evaluation.metrics import token_overlap
from vec2slug_lib.experiments.score import mbr_slugs
from vec2slug_lib.inference.beam_search import search
from vec2slug_lib.inference.familiarity import codes_in
from vec2slug_lib.inference.index import Index
from vec2slug_lib.inference.predictor import SlugPredictor
from vec2slug_lib.inference.release_folder import DEFAULT_MODEL, WEIGHTS, ReleaseConfig
from vec2slug_lib.model.decoder import CachedDecoder
from vec2slug_lib.model.weights import read_weights
from vec2slug_lib.release.release import ensure_graphs, load_release

ROUNDING = 2e-5  # of scores, where float32 is added up in another order


def test_onnx_and_torch_give_the_same_slugs(release):
    predictor = SlugPredictor.from_dir(release)
    rows = vectors(40, 24)
    ours = predictor.predict_topk(rows, 4)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    config = ReleaseConfig.load(release / "model.json")
    stepper = CachedDecoder(load_release(release))
    if config.mbr is None:
        theirs = search(stepper, unit, config.token_strings, config.decoding, 4).candidates
    else:
        strings, mbr = config.token_strings, config.mbr
        theirs = [row[:4] for row in mbr_slugs(stepper.model, unit, strings, mbr).candidates]
    clear = 0
    for one, other in zip(ours, theirs, strict=True):
        scores = [candidate.score for candidate in one]
        np.testing.assert_allclose(scores, [c.score for c in other], atol=ROUNDING)
        # Of an untrained model many candidates are as good as equal, and rounding swaps them.
        for i, gap in enumerate(-np.diff(scores)):
            if gap < 2 * ROUNDING:
                break
            assert one[i].slug == other[i].slug
            clear += 1
    assert clear > len(rows)


def test_the_graphs_are_made_on_first_use_and_only_then(release, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(release, folder)
    (folder / "model_cached.onnx").unlink()
    (folder / "model.onnx").unlink()
    with pytest.raises(Vec2SlugError, match="make it once with: vec2slug export"):
        SlugPredictor.from_dir(folder)
    ensure_graphs(folder)
    slugs = SlugPredictor.from_dir(folder).predict(vectors(3, 24))
    written = (folder / "model_cached.onnx").stat().st_mtime_ns
    ensure_graphs(folder)
    assert SlugPredictor.from_dir(folder).predict(vectors(3, 24)) == slugs
    assert (folder / "model_cached.onnx").stat().st_mtime_ns == written


def test_graphs_of_other_weights_are_made_anew(release, tmp_path, monkeypatch):
    """A model that is trained again and released into the same folder."""
    folder = shutil.copytree(release, tmp_path / "model")
    manifest = read_json(folder / "manifest.train.json")
    state = load_file(folder / "model.safetensors")
    save_file({k: v.flip(0).contiguous() for k, v in state.items()}, folder / "model.safetensors")
    manifest["sha256"]["model.safetensors"] = file_sha256(folder / "model.safetensors")
    write_json(folder / "manifest.train.json", manifest)
    with pytest.raises(Vec2SlugError, match=f"those of others: make them anew with .*{folder}"):
        SlugPredictor.from_dir(folder)
    before = file_sha256(folder / "model_cached.onnx")
    ensure_graphs(folder, "float32")
    SlugPredictor.from_dir(folder)
    assert file_sha256(folder / "model_cached.onnx") != before


def studys_layout(release, folder):
    """A copy of a release as the study would have written it: without our files and hashes."""
    shutil.copytree(release, folder)
    state = read_weights(load_release(release), release / WEIGHTS[0])
    torch.save(state, folder / "model.pt")
    for name in ("model.safetensors", "model_cached.onnx", "model_quantized.onnx"):
        (folder / name).unlink()
    for name in ("manifest.train.json", "manifest.onnx.json"):
        (folder / name).write_text('{"tolerance": 0.001, "sha256": "of something else"}')
    return folder


@pytest.mark.parametrize("run", ["plain"], indirect=True)
def test_a_folder_of_the_study_gets_a_cache_from_its_weights(release, tmp_path):
    folder = studys_layout(release, tmp_path / "study")
    expected = SlugPredictor.from_dir(release).predict_topk(vectors(5, 24), 2)
    ensure_graphs(folder)
    predictor = SlugPredictor.from_dir(folder)
    assert predictor.cached
    found = predictor.predict_topk(vectors(5, 24), 2)
    assert [[c.slug for c in row] for row in found] == [[c.slug for c in row] for row in expected]


def test_a_folder_without_weights_is_read_without_a_cache(release, tmp_path):
    folder = studys_layout(release, tmp_path / "study")
    (folder / "model.pt").unlink()
    predictor, rows = SlugPredictor.from_dir(folder), vectors(5, 24)
    assert not predictor.cached
    assert predictor.predict(rows) == SlugPredictor.from_dir(release).predict(rows)
    with pytest.raises(Vec2SlugError, match=r"expected model_quantized\.onnx in"):
        SlugPredictor.from_dir(folder, "int8")


def test_a_pickle_that_would_run_code_is_refused(release, tmp_path):
    folder = studys_layout(release, tmp_path / "study")

    class Evil:
        def __reduce__(self):
            return (Path(tmp_path / "ran").touch, ())

    with (folder / "model.pt").open("wb") as file:
        pickle.dump({"embedding_projection.weight": Evil()}, file, protocol=2)
    with pytest.raises(Vec2SlugError, match="expected weights in"):
        ensure_graphs(folder)
    assert not (tmp_path / "ran").exists()


def test_int8_is_valid_and_independent_of_neighbours(release):
    predictor, rows = SlugPredictor.from_dir(release, "int8"), vectors(9, 24)
    together = predictor.predict(rows)
    assert all(is_valid(slug) for slug in together)
    assert [predictor.predict(rows[i : i + 1])[0] for i in range(9)] == together
    with pytest.raises(Vec2SlugError, match="precision to be one of"):
        SlugPredictor.from_dir(release, "int4")


KINDS = st.sampled_from([np.float16, np.float32, np.float64, np.int8, np.int64, np.bool_])


@settings(max_examples=60)
@given(st.data(), KINDS)
def test_any_input_of_the_right_width_gives_slugs_or_a_clear_error(release, data, kind):
    rows = data.draw(arrays(kind, st.tuples(st.integers(0, 3), st.just(24))))
    with np.errstate(all="ignore"):
        bad = len(rows) == 0 or not np.isfinite(rows).all() or (np.abs(rows) == 0).all(axis=1).any()
    bad |= bool(codes_in(rows))
    predictor = SlugPredictor.from_dir(release)
    if bad:
        with pytest.raises(Vec2SlugError, match=r"expected (finite|vectors)"):
            predictor.predict_topk(rows, 2)
        return
    for candidates in predictor.predict_topk(rows, 2):
        for slug, score in candidates:
            assert re.fullmatch("[a-z0-9]+(-[a-z0-9]+){2,7}", slug)
            assert 3 <= len(slug) <= 80
            assert np.isfinite(score)


@settings(max_examples=60)
@given(
    st.one_of(
        arrays(st.sampled_from(["f4", "f8", "c8", "U3", "M8[s]"]), array_shapes(max_side=5)),
        st.none(), st.text(max_size=5), st.integers(), st.dictionaries(st.text(), st.floats()),
        st.recursive(st.floats() | st.text(max_size=2), lambda part: st.lists(part, max_size=4)),
    )
)  # fmt: skip
def test_any_other_input_is_a_clear_error(release, rows):
    predictor = SlugPredictor.from_dir(release)
    with pytest.raises(Vec2SlugError, match="expected vectors of shape"):
        predictor.predict(rows)
    if isinstance(rows, Iterable) and not len(rows):  # nothing to stream is no mistake
        return
    with pytest.raises(Vec2SlugError, match=r"expected (finite non-zero )?(vectors|an array)"):
        list(predictor.stream(rows))


@given(st.integers(0, 2**32 - 1), st.floats(1e-20, 1e20))
@settings(max_examples=15)
def test_any_direction_and_length_gives_valid_slugs(release, seed, scale):
    found = SlugPredictor.from_dir(release).predict_topk(vectors(2, 24, seed) * scale, 5)
    for candidates in found:
        assert 1 <= len(candidates) <= 5
        assert all(is_valid(slug) for slug, _ in candidates)
        assert [c.score for c in candidates] == sorted((c.score for c in candidates), reverse=True)


def test_a_row_does_not_depend_on_its_neighbours(release):
    predictor, rows = SlugPredictor.from_dir(release), vectors(9, 24)
    together = predictor.predict(rows)
    assert [predictor.predict(rows[i : i + 1])[0] for i in range(9)] == together


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.ones((2, 7)), r"\[N, 24\], got an array of shape \[2, 7\]"),
        (np.full((1, 24), np.nan), "row 0 is not finite"),
        (np.zeros((1, 24)), "row 0 is zero"),
        (np.ones((0, 24)), "got none"),
    ],
)
def test_bad_vectors(release, rows, message):
    with pytest.raises(Vec2SlugError, match=message):
        SlugPredictor.from_dir(release).predict(rows)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.json", None, "expected a file at"),
        ("model.json", b"{}", "expected a model description"),
        ("model.json", b'{"model": {"inp', "expected JSON"),
        ("model_cached.onnx", b"not a graph", "expected a whole ONNX graph"),
        ("manifest.onnx.json", b'{"sha', "expected JSON"),
    ],
)
def test_damaged_release(release, tmp_path, name, content, message):
    folder = tmp_path / "copy"
    shutil.copytree(release, folder)
    (folder / "manifest.train.json").unlink()  # no hashes: each check for itself
    (folder / "manifest.onnx.json").unlink()
    (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
    with pytest.raises(Vec2SlugError, match=message):
        SlugPredictor.from_dir(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "model.json", "model_cached.onnx"])
def test_tampered_files_are_refused(release, tmp_path, name):
    folder = tmp_path / "copy"
    shutil.copytree(release, folder)
    if name == "model.safetensors":
        (folder / "model_cached.onnx").unlink()
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)
    opened = ensure_graphs if name == "model.safetensors" else SlugPredictor.from_dir
    with pytest.raises(Vec2SlugError, match="SHA-256"):
        opened(folder)


def test_neither_graph_nor_weights(release, tmp_path):
    shutil.copy(release / "model.json", tmp_path / "model.json")
    with pytest.raises(Vec2SlugError, match=r"expected model_cached\.onnx in"):
        SlugPredictor.from_dir(tmp_path)


def test_the_released_model_loads_without_torch():
    code = (
        "import sys, numpy as np\n"
        "from vec2slug_lib.inference.predictor import SlugPredictor\n"
        "print(SlugPredictor.from_dir().predict(np.eye(384)[:2]))\n"
        "sys.exit('torch' in sys.modules)"
    )
    ensure_graphs(DEFAULT_MODEL)  # the first use needs torch
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(is_valid(slug) for slug in json.loads(done.stdout.replace("'", '"')))


@pytest.mark.parametrize("run", ["plain"], indirect=True)
def test_an_index_needs_a_word_head_and_an_embedder_does_not(release):
    index = Index(np.eye(24, dtype=np.float32)[:1], ["bee-of-hive-life"])
    with pytest.raises(Vec2SlugError, match="with a bag-of-words head beside an index"):
        SlugPredictor.from_dir(release, index=index)
    rows = vectors(2, 24)
    predictor = SlugPredictor.from_dir(release, embedder=Fake(lambda texts: rows[: len(texts)]))
    assert predictor.predict_texts(["a", "b"]) == SlugPredictor.from_dir(release).predict(rows)


def test_texts_need_an_embedder(release):
    with pytest.raises(Vec2SlugError, match="expected an embedder for texts"):
        SlugPredictor.from_dir(release).predict_texts(["a text"])


@pytest.mark.parametrize("run", ["headed"], indirect=True)
@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"embedder": Fake(None, key="another")}, "expected vectors of minilm, got another"),
        ({"embedder": Fake(None, dimensions=7)}, "expected an embedder of 24 numbers, got 7"),
        ({"index": Index(np.eye(24), ["a"] * 24, "another")}, "expected vectors of minilm"),
    ],
)
def test_what_was_made_by_another_embedder_is_refused(release, other, message):
    with pytest.raises(Vec2SlugError, match=message):
        SlugPredictor.from_dir(release, **other)


@pytest.mark.parametrize("run", ["headed"], indirect=True)
def test_an_index_of_known_slugs_is_evidence(release):
    rows, known = vectors(4, 24), "bee-of-hive-life"
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    index = Index(rows, [known] * 4)
    without, asked = (SlugPredictor.from_dir(release, index=given) for given in (None, index))

    def shared(predictor):
        return token_overlap(predictor.predict(rows), [known] * 4)[2].mean()

    assert shared(asked) >= shared(without)
    scores = [[c[0].score for c in p.predict_topk(rows, 1)] for p in (asked, without)]
    assert scores[0] != scores[1]


@pytest.mark.parametrize("run", ["headed"], indirect=True)
def test_slugs_can_be_re_ranked(release):
    rows = vectors(4, 24)
    liked = SlugPredictor.from_dir(release).predict_topk(rows, 3)[0][-1].slug

    def embed(texts):
        """Nearer to the page of the first row the more a text is like the third candidate."""
        alike = [text.replace(" ", "-") == liked for text in texts]
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return np.where(np.array(alike)[:, None], unit[0], -unit[0])

    assert SlugPredictor.from_dir(release, embedder=Fake(embed)).predict(rows)[0] == liked
