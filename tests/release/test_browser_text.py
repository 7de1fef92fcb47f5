"""What a text adds in the playground is what it adds in Python: golden cases, see `golden.py`.

Once, at the end, in Chromium too.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from browser import served, until, visit
from golden import ALPHABET, ROUNDING, drawn, pairs, run_in_node
from hypothesis import assume
from hypothesis import strategies as st
from plain_beam_search import HistoryStepper, configs, models, plain_search

from vec2slug_lib.common.files import read_json, write_json
from vec2slug_lib.common.slugs import STOPWORDS
from vec2slug_lib.common.vocabulary import FIRST, HYPHEN
from vec2slug_lib.embedding.minilm_graph import reader_folder
from vec2slug_lib.embedding.registry import open_embedder
from vec2slug_lib.inference.grounding import bonuses, raised
from vec2slug_lib.inference.mbr import Evidence, MBRConfig, search_settings
from vec2slug_lib.inference.predictor import SlugPredictor
from vec2slug_lib.inference.release_folder import DEFAULT_MODEL, ReleaseConfig
from vec2slug_lib.inference.rows import Page
from vec2slug_lib.inference.scores import scores_of
from vec2slug_lib.inference.settings import DecodingConfig
from vec2slug_lib.inference.steppers import GRAPHS
from vec2slug_lib.inference.text_model import FEATURES, TextModel, Trees, describe
from vec2slug_lib.inference.text_search import text_search
from vec2slug_lib.inference.text_words import (
    MOST_WORDS,
    SPOKEN,
    has_words,
    run_traits,
    runs,
    text_words,
)
from vec2slug_lib.release import browser as playground

ROOT = Path(__file__).parents[2]
RUNTIME = ROOT / "_build/npm/node_modules/onnxruntime-web/dist"
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Playground</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="playground.css">
<div id="v2s-playground"></div><script type="module" src="page.js"></script>"""
IDS = {token: i for i, token in enumerate(ALPHABET)}

# Words, and what may stand between them.
PIECES = (
    "Cat cat cats dog7 The of their will zoo Zoo B2B 2020 Don’t o'clock ZooZoo a1b2c3d4e5 naïve "
    "ÉCLAIR İstanbul ΟΔΟΣ ﬁne 中国 ½ x² Ⅳ ǅ ª e\u0301a a\u0308"
).split()
BETWEEN = [*" " * 16, *"-_“’'`👍\n\0\u0301", "  ", ", ", ". ", "” ", " ("]
assigned = st.characters(exclude_categories=["Cs", "Co", "Cn"], max_codepoint=0x2FFFF)
passages = st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from(BETWEEN)), max_size=20).map(
    lambda parts: "".join(word + space for word, space in parts)
)
GAINS = (0.05, -0.03, 0.02, 0.01)  # of runs
LARGEST = np.array([-9, 3, 93, 8, 1, 1, 6, 1, 1])  # of thresholds that tell words apart


def text_model(rng, depth, size):
    """A model of two trees that are drawn, and as it is when read from its file."""
    inner = 2**depth - 1
    feature = rng.integers(0, len(FEATURES), (2, inner))
    threshold = rng.uniform(0, 1, feature.shape) * LARGEST[feature]
    trees = Trees(feature, threshold, rng.normal(scale=2, size=(2, inner + 1)), -1.0)
    frequencies = "".join(map(chr, rng.integers(33, 127, size)))
    fits = (0.88, 0.1), (0.69, 0.33, 0.1)
    model = TextModel(trees, frequencies, 0.3, float(rng.uniform(0.2, 2)), 4, GAINS, *fits)
    return TextModel.from_json(model.to_json())


def test_the_words_of_a_text_are_those_of_python(tmp_path):
    many = ["", "a\n" * (MOST_WORDS + 5), *drawn(passages, 300), *drawn(st.text(assigned), 300)]
    cases = [{"text": text, "words": text_words(text)} for text in many]
    counts = Counter(key for case in cases for word in case["words"] for key in word[1:])
    assert min(counts[True], counts[False]) > 100
    run_in_node(tmp_path, "text words", cases)


@st.composite
def described_texts(draw):
    """A text, a model, and what the model makes of the text's words."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    text, model = draw(passages), text_model(rng, draw(st.integers(1, 2)), len(ALPHABET))
    logits = rng.normal(scale=2, size=len(ALPHABET)).astype(np.float32)
    asked = (text_words(text), logits, IDS, mean_words := draw(st.sampled_from([1.0, 4.6])))
    probabilities = model.probabilities(*asked)
    _, features = describe(*asked, model.frequencies)
    gains = [
        [",".join(map(str, node)), list(zip(tokens.tolist(), gain.tolist(), strict=True))]
        for node, (tokens, gain) in bonuses(probabilities, IDS, model.bonus).items()
    ]
    return {
        "text": text, "logits": logits.tolist(), "meanWords": mean_words, "model": model.to_json(),
        "features": features.tolist(), "probabilities": list(probabilities.items()), "gains": gains,
    }  # fmt: skip


def test_what_is_made_of_the_words_of_a_text_is_that_of_python(tmp_path):
    cases = drawn(described_texts(), 150)
    assert sum(len(case["gains"]) > 1 for case in cases) > 50
    lists = {"strings": ALPHABET, "stopwords": sorted(STOPWORDS)}
    run_in_node(tmp_path, "text model", cases, **lists, tolerance=ROUNDING)


@st.composite
def texts_with_runs(draw):
    """A text with probabilities of its words, and the runs that are chosen."""
    text, count = draw(passages), draw(st.integers(0, 6))
    limits = {
        "min_words": draw(st.integers(1, 3)), "max_words": draw(st.integers(3, 8)),
        "max_chars": draw(st.sampled_from([12, 80])), "sound_words": draw(st.booleans()),
    }  # fmt: skip
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    found = text_words(text)
    probabilities = {word.word: float(rng.uniform()) for word in found}
    best = runs(found, probabilities, DecodingConfig(**limits), 4.6, count)
    return {
        "text": text, "probabilities": list(probabilities.items()), "meanWords": 4.6,
        "count": count, "limits": limits, "best": best,
        "traits": [run_traits(run, found) for run in best],
    }  # fmt: skip


def test_auxiliaries_and_pronouns_are_those_of_python():
    script = (ROOT / "book/playground/text_words.js").read_text("utf-8")
    listed = re.search(r"const SPOKEN = new Set\((.*?)split", script, re.DOTALL)[1]
    assert {*re.findall("[a-z]+", listed)} == SPOKEN


def test_runs_of_words_are_those_of_python(tmp_path):
    cases = drawn(texts_with_runs(), 300)
    assert sum(len(case["best"]) > 1 for case in cases) > 30
    each = zip(*(traits for case in cases for traits in case["traits"]), strict=True)
    assert all({*trait} == {0, 1} for trait in list(each)[1:])
    decoding = playground.settings(ReleaseConfig({}, ALPHABET, DecodingConfig(), None))["decoding"]
    run_in_node(tmp_path, "runs", cases, decoding=decoding)


@st.composite
def raised_rows(draw):
    """Logits of a row, gains of a few subwords, and the row's scores with them."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    size, width = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    logits = rng.normal(scale=2, size=FIRST + size).astype(np.float32)
    tokens = FIRST + rng.permutation(size)[: draw(st.integers(1, size))]
    gains = rng.uniform(0, 6, len(tokens))
    scores = scores_of(logits[:1], logits[:1], logits[None, FIRST:], width)
    found = raised(scores, {0: (tokens, gains)})
    return {
        "logits": logits.tolist(), "width": width, "total": found.total[0],
        "gains": list(zip(tokens.tolist(), gains.tolist(), strict=True)),
        "best": found.best[0].tolist(), "tokens": found.tokens[0].tolist(),
        "subwords": found.subwords[0].tolist(),
    }  # fmt: skip


def test_logits_are_raised_as_in_python(tmp_path):
    run_in_node(tmp_path, "raised", drawn(raised_rows(), 200), tolerance=ROUNDING)


def heard(model, gains):
    """A model of histories that has heard of a text, written out plainly."""

    def logits(tokens):
        values = model(1, tokens).copy()
        begin = max((place + 1 for place, token in enumerate(tokens) if token == HYPHEN), default=0)
        for token, gain in zip(*gains.get(tokens[begin:], ((), ())), strict=True):
            values[token] += gain
        return values

    return logits


@st.composite
def text_searches(draw):
    """A search by a text and a vector: all candidates, and the model on all histories asked for."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    text, model = (
        draw(passages.filter(has_words)),
        text_model(rng, draw(st.integers(1, 2)), len(ALPHABET)),
    )
    decoder, decoding = draw(models(len(ALPHABET))), replace(draw(configs()), stopping="optimal")
    mbr = MBRConfig(beam_width=draw(st.integers(1, 5)), length_reward=draw(st.sampled_from([0, 2])))
    word_logits, logits = rng.normal(scale=2, size=(1, len(ALPHABET))).astype(np.float32), {}
    near = draw(st.booleans())

    def recorded(document, tokens):
        return logits.setdefault(tokens, decoder(document, tokens))

    def embed(slugs):
        return np.array([[len(slug) / 40] for slug in slugs])

    gains = bonuses(
        model.probabilities(text_words(text), word_logits[0], IDS, mbr.mean_words), IDS, model.bonus
    )
    config = search_settings(decoding, mbr)
    plain, _, margin = plain_search(heard(decoder, gains), ALPHABET, config, mbr.beam_width)
    assume(margin > 10 * ROUNDING)
    evidence = Evidence(lambda rows: word_logits, embed=embed if near else None)
    asked = (ALPHABET, decoding, mbr, evidence, model)
    found = text_search(
        HistoryStepper(recorded), np.ones((1, 1), np.float32), [text], *asked
    ).candidates[0]
    assert {slug for slug, _ in plain} <= {candidate.slug for candidate in found}
    apart = (a.score - b.score > 10 * ROUNDING for a, b in pairwise(found) if a.score > 0)
    assume(all(apart))
    return {
        "text": text, "candidates": pairs(found), "mbr": mbr.to_json(), "model": model.to_json(),
        "decoding": playground.settings(ReleaseConfig({}, ALPHABET, config, None))["decoding"],
        "near": near, "wordLogits": word_logits[0].tolist(), "searched": len(plain),
        "logits": [[history, values.tolist()] for history, values in logits.items()],
    }  # fmt: skip


def test_all_candidates_of_a_text_are_those_of_python(tmp_path):
    cases = drawn(text_searches(), 100)
    assert sum(len(case["candidates"]) > case["searched"] for case in cases) > 20  # runs too
    run_in_node(tmp_path, "text search", cases, strings=ALPHABET, tolerance=ROUNDING)


def test_all_candidates_of_tiny_models_are_those_of_python(release, tmp_path):
    rng = np.random.default_rng(0)
    predictor = SlugPredictor.from_dir(release)
    predictor.text_model = text_model(rng, 2, len(predictor.vocabulary.strings))
    texts = [*drawn(passages, 30), *["ΟΔΟΣ"] * 2]  # the last have no word that a slug could have
    pages = [Page(rng.normal(size=24).astype(np.float32), text) for text in texts]
    cases = [
        {"row": row.tolist(), "text": text, "topK": top_k, "candidates": pairs(candidates)}
        for top_k in (1, 8)
        for (row, text), candidates in zip(pages, predictor.stream(pages, top_k), strict=True)
    ]
    run_in_node(
        tmp_path, "model", cases,
        runtime=RUNTIME, graph=release / GRAPHS["float32"], sidecar=release / "model.json",
        settings=playground.settings(predictor.config), textModel=predictor.text_model.to_json(),
        tolerance=read_json(release / "manifest.onnx.json")["tolerance"],
    )  # fmt: skip


@pytest.mark.parametrize("run", ["headed"], indirect=True)  # others have no use for a text
def test_a_release_with_a_text_model_gives_it_to_the_page(release, tmp_path, monkeypatch):
    monkeypatch.setattr(playground, "write_examples", lambda path: None)
    files = {"model.json": (release / "model.json").read_bytes(), "text.json": b"{}"}
    for name in ("reader.onnx", "tokenizer.json"):
        (tmp_path / name).write_bytes(b"1")
    for names in (["model.json", "text.json"], ["model.json"]):  # into one folder, one by one
        folder = tmp_path / "-".join(names)
        folder.mkdir()
        for name in names:
            (folder / name).write_bytes(files[name])
        playground.collect(folder, folder, tmp_path, folder, tmp_path / "out")
        reader = read_json(tmp_path / "out/files.json")["reader"]
        sizes = {"reader.onnx": 1, "tokenizer.json": 1, "text.json": 2}
        expected = ["reader.onnx", "tokenizer.json", *names[1:]]
        assert reader == [{"name": name, "bytes": sizes[name]} for name in expected]


def test_the_words_of_a_text_count_unless_its_vector_alone_is_asked_for(browser, tmp_path):
    """The released decoder, with a model to which capitals within a phrase are all."""
    (release := tmp_path / "release").mkdir()
    for name in (GRAPHS[playground.PRECISION], "model.json"):
        (release / name).symlink_to(DEFAULT_MODEL / name)
    predictor = SlugPredictor.from_dir(release, embedder=open_embedder())
    feature, codes = FEATURES.index("capitals_inside"), "!" * len(predictor.vocabulary.strings)
    trees = Trees(np.array([[feature]]), np.array([[0.5]]), np.array([[-4.0, 4.0]]), 0.0)
    fits = (1.0, 0.0), (1.0, 0.0, 0.0)
    predictor.text_model = TextModel(trees, codes, 0.3, 2.0, 4, GAINS, *fits)
    write_json(release / "text.json", predictor.text_model.to_json())
    scripts, home = ROOT / "book/playground", tmp_path / "home"
    playground.collect(scripts, release, reader_folder(), RUNTIME, home)
    (home / "index.html").write_text(PAGE, "utf-8")
    text = "On Fridays, near the harbour, old Ottoline Quimby fries fish for the whole village."
    heard = predictor.predict_texts([text])
    assert "ottoline-quimby" in heard[0]
    alone = predictor.predict(predictor.embedder.embed([text]))
    shown = "([slug]) => document.querySelector('.v2s-slug').textContent === slug"
    with served(home) as address, visit(browser, address, address) as (page, problems):
        page.get_by_role("button", name="Start").click()
        page.get_by_text("works offline").wait_for()
        page.get_by_label("Text", exact=True).check()
        page.get_by_label("Your text").fill(text)
        until(page, shown, heard)
        assert "own words and its vector" in page.locator(".v2s-how").inner_text()
        page.get_by_label("By its vector alone").check()
        until(page, shown, alone)
        assert "own words" not in page.locator(".v2s-how").inner_text()
        assert not problems
