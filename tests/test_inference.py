import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vec2slug_lib import inference
from vec2slug_lib.decoding import search
from vec2slug_lib.errors import Vec2SlugError
from vec2slug_lib.evaluation import token_overlap
from vec2slug_lib.export import load_release
from vec2slug_lib.inference import Sidecar, SlugPredictor, with_hash
from vec2slug_lib.models import CachedDecoder
from vec2slug_lib.pipeline import least_risk_slugs
from vec2slug_lib.retrieval import Index
from vec2slug_lib.slugs import is_valid


def vectors(n, width, seed=0):
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


def test_onnx_and_torch_give_the_same_slugs(release):
    predictor = SlugPredictor.from_dir(release)
    rows = vectors(20, 24)
    ours = predictor.predict_topk(rows, 3)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    sidecar = Sidecar.load(release / "model.json")
    stepper = CachedDecoder(load_release(release))
    if sidecar.risk is None:
        theirs = search(stepper, unit, sidecar.token_strings, sidecar.decoding, 3).candidates
    else:
        strings, risk = sidecar.token_strings, sidecar.risk
        theirs = [
            row[:3] for row in least_risk_slugs(stepper.model, unit, strings, risk).candidates
        ]
    for one, other in zip(ours, theirs, strict=True):
        assert [c.slug for c in one] == [c.slug for c in other]
        np.testing.assert_allclose([c.score for c in one], [c.score for c in other], atol=1e-3)


def test_the_graph_is_made_on_first_use_and_only_then(release, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(release, folder)
    (folder / "model.onnx").unlink()
    slugs = SlugPredictor.from_dir(folder).predict(vectors(3, 24))
    written = (folder / "model.onnx").stat().st_mtime_ns
    assert SlugPredictor.from_dir(folder).predict(vectors(3, 24)) == slugs
    assert (folder / "model.onnx").stat().st_mtime_ns == written
    manifest = json.loads((folder / "manifest.onnx.json").read_text())
    assert manifest["max_difference"] < manifest["tolerance"]


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
        ("model.onnx", b"not a graph", "expected a whole ONNX graph"),
    ],
)
def test_damaged_release(release, tmp_path, name, content, message):
    folder = tmp_path / "copy"
    shutil.copytree(release, folder)
    (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
    with pytest.raises(Vec2SlugError, match=message):
        SlugPredictor.from_dir(folder)


def test_tampered_weights_are_refused(release, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(release, folder)
    (folder / "model.onnx").unlink()
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(Vec2SlugError, match="SHA-256"):
        SlugPredictor.from_dir(folder)


def test_neither_graph_nor_weights(release, tmp_path):
    shutil.copy(release / "model.json", tmp_path / "model.json")
    with pytest.raises(Vec2SlugError, match=r"model\.onnx or model\.safetensors"):
        SlugPredictor.from_dir(tmp_path)


def test_hash_by_hand():
    # SHA-256 of "abc" begins ba7816bf.
    assert with_hash("amelia-earhart", b"abc") == "amelia-earhart-ba781"
    assert with_hash("amelia-earhart", b"abd") != "amelia-earhart-ba781"


def test_the_released_model_loads_without_torch():
    code = (
        "import sys, numpy as np\n"
        "from vec2slug_lib.inference import SlugPredictor\n"
        "print(SlugPredictor.from_dir().predict(np.eye(384)[:2]))\n"
        "sys.exit('torch' in sys.modules)"
    )
    inference.onnx_session(inference.DEFAULT_MODEL)  # the first use needs torch
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(is_valid(slug) for slug in json.loads(done.stdout.replace("'", '"')))


@pytest.mark.parametrize("run", ["plain"], indirect=True)
def test_witnesses_need_a_word_head(release):
    index = Index(np.eye(24, dtype=np.float32)[:1], ["bee-of-hive-life"])
    for witness in ({"index": index}, {"read": lambda texts: np.eye(24)[:1]}):
        with pytest.raises(Vec2SlugError, match="with a word head beside an index"):
            SlugPredictor.from_dir(release, **witness)


@pytest.mark.parametrize("run", ["headed"], indirect=True)
def test_an_index_of_known_slugs_has_a_say(release):
    rows, known = vectors(4, 24), "bee-of-hive-life"
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    index = Index(rows, [known] * 4)
    without, asked = (SlugPredictor.from_dir(release, given) for given in (None, index))

    def shared(predictor):
        return token_overlap(predictor.predict(rows), [known] * 4)[2].mean()

    assert shared(asked) >= shared(without)
    scores = [[c[0].score for c in p.predict_topk(rows, 1)] for p in (asked, without)]
    assert scores[0] != scores[1]


@pytest.mark.parametrize("run", ["headed"], indirect=True)
def test_slugs_can_be_proofread(release):
    rows = vectors(4, 24)
    liked = SlugPredictor.from_dir(release).predict_topk(rows, 3)[0][-1].slug

    def read(texts):
        """Nearer to the page of the first row the more a text is like the third candidate."""
        alike = [text.replace(" ", "-") == liked for text in texts]
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return np.where(np.array(alike)[:, None], unit[0], -unit[0])

    assert SlugPredictor.from_dir(release, read=read).predict(rows)[0] == liked
