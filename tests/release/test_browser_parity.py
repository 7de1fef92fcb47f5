"""The playground's scripts give what Python gives: golden cases, read by node's own test runner.

`parity.test.mjs` beside this file has the other half. Pages and controls are looked at in Chromium,
by `test_browser_model.py`; what texts add is in `test_browser_text.py`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from golden import ALPHABET, ROUNDING, drawn, pairs, run_in_node
from hypothesis import assume
from hypothesis import strategies as st
from plain_beam_search import HistoryStepper, configs, documents, models, plain_search, vocabularies
from tokenizers import Tokenizer

from vec2slug_lib.common.files import read_json
from vec2slug_lib.common.slugs import (
    DOUBLED_WORDS,
    STOPWORDS,
    is_identifier,
    repeats,
    sound_word,
)
from vec2slug_lib.embedding.wordpiece import MAX_TOKENS, tokenizer_path
from vec2slug_lib.inference.beam_search import Candidate, search
from vec2slug_lib.inference.mbr import MBRConfig, expected_scores, rerank
from vec2slug_lib.inference.predictor import SlugPredictor
from vec2slug_lib.inference.release_folder import ReleaseConfig
from vec2slug_lib.inference.steppers import GRAPHS
from vec2slug_lib.release.browser import settings as browser_settings

ROOT = Path(__file__).parents[2]
RUNTIME = ROOT / "_build/npm/node_modules/onnxruntime-web/dist"
letters = st.characters(exclude_categories=["Cs", "Co"], max_codepoint=0x2FFFF)
texts = st.text(letters | st.sampled_from(" \t\nabcdeéßÅ中國'’-.!#_"), max_size=60)


def test_tokens_are_those_of_the_tokenizers_library(tmp_path):
    path = tokenizer_path()
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    many = ["[SEP] and [MASK]", "a" * 101, "word " * 300, "naïve café İstanbul ǅ ΑΣ"]
    many += [
        "Ο ΟΔΥΣΣΕΥΣ [MASK]ΑΣ",
        "𠮷野家の牛丼 a𪚥b",
        "👍🏽 👩‍👩‍👧 🇩🇪 ☃️",
        "a\0b\x07c\u200bd\ufeffe\u00adf\x7f",
    ]
    many += ["a\x0bb\x0cc\x85d\u2028e\u3000f", "한국어 हिन्दी ﬁne e\u0301", "a\u0378b \u05ff", ""]
    many += drawn(texts, 600)
    cases = [{"text": text, "ids": tokenizer.encode(text).ids} for text in many]
    run_in_node(tmp_path, "tokens", cases, tokenizer=path, limit=MAX_TOKENS)


@st.composite
def searches(draw):
    """A search of a model that is known on all histories that Python asks for."""
    strings, top_k = draw(vocabularies()), draw(st.integers(1, 6))
    model, config = draw(models(len(strings))), replace(draw(configs()), stopping="optimal")
    *_, margin = plain_search(lambda tokens: model(0, tokens), strings, config, top_k)
    assume(margin > 10 * ROUNDING)
    logits, beams = {}, []

    def recorded(document, tokens):
        return logits.setdefault(tokens, model(document, tokens))

    def watch(rows, log_p, pools):
        beams.append([list(row) for row in zip(rows, log_p.tolist(), strict=True)])

    stepper = HistoryStepper(recorded)
    found = search(stepper, documents(1), strings, config, top_k, watch=watch)
    assert found.steps.tolist() == [len(beams)]
    release = ReleaseConfig({}, strings, config, None)
    return {
        "strings": strings, "topK": top_k, "candidates": pairs(found.candidates[0]), "beams": beams,
        "decoding": browser_settings(release)["decoding"],
        "logits": [[history, values.tolist()] for history, values in logits.items()],
    }  # fmt: skip


def test_every_step_of_a_search_is_that_of_python(tmp_path):
    run_in_node(tmp_path, "search", drawn(searches(), 150), tolerance=ROUNDING)


PARTS = [
    "a",
    "b",
    "ab",
    "cat",
    "s",
    "x",
    "tar",
    "iduskbn",
    "face",
    "the",
    "1",
    "20",
    "2010",
    "e4b0",
]
some_words = st.lists(st.sampled_from([*PARTS, "feb", "ma", "murmur"]), min_size=1, max_size=6)
some_words = st.builds(lambda parts, times: "".join(parts) * times, some_words, st.integers(1, 3))


def test_words_that_no_slug_may_hold_are_those_of_python(tmp_path):
    drawn_words = drawn(st.lists(some_words, min_size=1, max_size=4), 600)
    cases = [
        {
            "word": word, "before": before, "identifier": is_identifier(word),
            "sound": sound_word(word), "repeated": repeats(word, before),
        }
        for *before, word in drawn_words
    ]  # fmt: skip
    counts = Counter(key for case in cases for key in ("identifier", "repeated") if case[key])
    assert min(counts["identifier"], counts["repeated"]) > 10
    assert sum(case["sound"] != case["word"] for case in cases) > 50
    lists = {"doubled": sorted(DOUBLED_WORDS), "stopwords": sorted(STOPWORDS)}
    run_in_node(tmp_path, "words", cases, **lists)


words = st.sampled_from(["cat", "dog7", "of", "a", "the", "catalogue", "b2b", "zoo"])
slugs = st.lists(words, min_size=1, max_size=6).map("-".join)


@st.composite
def rerankings(draw):
    """Candidates of a page, what the bag-of-words head says, and Python's choice."""
    some = draw(st.lists(slugs, min_size=1, max_size=8, unique=True))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    scores = np.sort(rng.normal(scale=3, size=len(some)))[::-1].tolist()
    candidates = [Candidate(*pair) for pair in zip(some, scores, strict=True)]
    logits = rng.normal(scale=draw(st.sampled_from([0.1, 2.0, 8.0])), size=(1, len(ALPHABET)))
    mbr = MBRConfig(
        candidate_weight=draw(st.sampled_from([0.0, 0.2, 1.0])),
        temperature=draw(st.sampled_from([0.5, 2.0])),
        mean_words=draw(st.sampled_from([1.0, 4.6])),
        score_fit=(0.88, draw(st.sampled_from([-0.3, -0.085]))),
        rerank_fit=(0.69, draw(st.sampled_from([0.0, 0.33])), -0.19),
    )
    ids, logits = {token: i for i, token in enumerate(ALPHABET)}, logits.astype(np.float32)
    (expected,) = expected_scores([candidates], ids, mbr, logits)
    cosines = draw(st.none() | st.just(rng.uniform(-0.2, 0.9, len(some)).tolist()))
    # Scores that differ are far enough apart; cosines as far as they are random.
    gaps = [a - b for a, b in pairwise(sorted(expected, reverse=True))]
    assume(all(gap == 0 or gap > 10 * ROUNDING for gap in gaps))
    chosen = rerank(candidates, expected, cosines, mbr)
    scores = [candidate.score for candidate in chosen if candidate.score]
    assume(cosines is None or all(a == b or a - b > 10 * ROUNDING for a, b in pairwise(scores)))
    reranked = pairs(chosen)
    return {
        "strings": ALPHABET, "candidates": pairs(candidates), "logits": logits[0].tolist(),
        "mbr": mbr.to_json(), "cosines": cosines, "reranked": reranked,
    }  # fmt: skip


def test_the_choice_among_candidates_is_that_of_python(tmp_path):
    run_in_node(tmp_path, "rerank", drawn(rerankings(), 150), tolerance=ROUNDING)


def test_all_candidates_of_tiny_models_are_those_of_python(release, tmp_path):
    # In float32, so that nothing is rounded to bytes.
    rows = np.random.default_rng(0).normal(size=(40, 24)).astype(np.float32)
    predictor = SlugPredictor.from_dir(release)
    cases = [
        {"row": row.tolist(), "topK": top_k, "candidates": pairs(candidates)}
        for top_k in (1, 8)
        for row, candidates in zip(rows, predictor.predict_topk(rows, top_k), strict=True)
    ]
    run_in_node(
        tmp_path, "model", cases,
        runtime=RUNTIME, graph=release / GRAPHS["float32"], sidecar=release / "model.json",
        settings=browser_settings(ReleaseConfig.load(release / "model.json")),
        tolerance=read_json(release / "manifest.onnx.json")["tolerance"],
    )  # fmt: skip
