"""Trees against those that scikit-learn fits, the weights of the choice, and a fit of a release."""

import numpy as np
import pytest
import sklearn.ensemble
from hypothesis import given
from hypothesis import strategies as st

from vec2slug_lib.evaluation.metrics import token_overlap
from vec2slug_lib.experiments import text_model
from vec2slug_lib.experiments.text_model import (
    Described,
    describe_pages,
    fit_choice,
    fit_text_model,
    fit_trees,
    head_logits,
    judge,
    token_frequencies,
)
from vec2slug_lib.experiments.text_pages import TextPages
from vec2slug_lib.inference.beam_search import Candidate
from vec2slug_lib.inference.predictor import SlugPredictor
from vec2slug_lib.inference.text_model import FEATURES, TextModel, frequency_code
from vec2slug_lib.inference.text_search import Judged

SLUGS = ["ant-bee", "bee-cow-dog", "cow", "dog-emu-fox-gnu"]


@pytest.fixture
def boosted(monkeypatch):
    """The classifiers that are fitted; few trees."""
    fitted = []

    class Kept(sklearn.ensemble.HistGradientBoostingClassifier):
        def fit(self, *args):
            fitted.append(self)
            return super().fit(*args)

    monkeypatch.setattr(sklearn.ensemble, "HistGradientBoostingClassifier", Kept)
    monkeypatch.setattr(text_model, "TREES", 9)
    return fitted


def described(pages, seed):
    """Words of made-up pages: some features are counts, and few words are in slugs."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(20 * pages, len(FEATURES)))
    features[:, ::2] = np.round(features[:, ::2])
    held = features[:, 0] + features[:, 1] * features[:, 3] + rng.normal(size=len(features)) > 1.5
    return Described(features, held, [[]] * pages)


@pytest.mark.parametrize("seed", [0, 1])
def test_plain_trees_say_what_scikit_learn_says(boosted, seed):
    pages = described(60, seed)
    trees = fit_trees(pages)
    rows = np.concatenate([pages.features, described(30, seed + 9).features])
    np.testing.assert_allclose(trees(rows), boosted[0].predict_proba(rows)[:, 1], rtol=1e-6)
    assert trees.feature.shape == trees.threshold.shape == (9, 31)
    assert np.unique(trees(rows)).size > 50


@given(
    st.sampled_from([0.5, 0.8, 1.2]),
    st.permutations([0.0, 0.1, 0.3, -0.1]),
    st.sampled_from([-0.3, 0.2, 0.6]),
    st.sampled_from([-0.2, 0.0, 0.1]),
    st.integers(0, 99),
)
def test_known_weights_are_recovered(slope, gains, similar, offset, seed):
    rng = np.random.default_rng(seed)
    guesses = [rng.choice(SLUGS, 4).tolist() for _ in range(25)]
    true = rng.choice(SLUGS, 25).tolist()
    judged = []
    for guess, slug in zip(guesses, true, strict=True):
        f1 = token_overlap(guess, [slug] * 4)[2]
        traits, cosine = (rng.random((4, 4)) < 0.5).astype(float), rng.uniform(-1, 1, 4)
        # What a regression has to find: F1 = slope * (expected + gains) + cosine + offset.
        expected = (f1 - similar * cosine - offset) / slope - traits @ gains
        named = [Candidate(each, 0.0) for each in guess]
        judged.append(Judged(named, expected.tolist(), traits.tolist(), cosine.tolist()))
    found, plain, near = fit_choice(judged, true)
    assert near == pytest.approx((slope, similar, offset), abs=1e-3)
    assert found == pytest.approx(gains, abs=2e-3)
    without = [page._replace(cosines=None) for page in judged]
    assert len(fit_choice(without, true).score_fit) == len(plain) == 2


def test_scores_without_cosines_are_fitted_too():
    f1 = token_overlap(["ant-bee", "cow", "dog"], ["ant-cow"] * 3)[2]
    named = [Candidate(slug, 0.0) for slug in ("ant-bee", "cow", "dog")]
    judged = [Judged(named, ((f1 + 0.1) / 0.8).tolist(), [(0.0,) * 4] * 3, None)]
    gains, plain, near = fit_choice(judged, ["ant-cow"])
    assert plain == pytest.approx((0.8, -0.1), abs=1e-3)
    assert near == pytest.approx((0.8, 0.0, -0.1), abs=1e-3)
    assert gains == (0, 0, 0, 0)


def test_frequencies_count_texts_not_words():
    tokens = ["-", "bee", "ant", "be"]
    texts = ["Bee bee, bee!", "a bee's ant", "the bee", *["ant"] * 30]
    assert token_frequencies(texts, tokens) == "".join(map(frequency_code, [0, 2, 31, 0]))


def test_pages_are_described_word_by_word():
    ids = {letter: i for i, letter in enumerate("abenthof")}
    logits = np.zeros((3, 8), np.float32)
    texts = ["The bee, a Bee and an ant", "", "ant"]
    ids["d"] = 0
    pages = describe_pages(texts, ["bee-of-an-ant", "bee", "bee"], logits, ids, 4.6, "!" * 8)
    assert [len(words) for words in pages.distinct] == [6, 0, 1]
    assert pages.distinct == [["the", "bee", "a", "and", "an", "ant"], [], ["ant"]]
    assert pages.held.tolist() == [False, True, False, False, True, True, False]
    assert pages.features.shape == (7, len(FEATURES))


class Fake:
    """An embedder whose vectors hang on the letters of a text."""

    key, dimensions = "minilm", 24

    def embed(self, texts):
        rows = [[text.count(chr(97 + i)) + 0.1 for i in range(24)] for text in texts]
        return (np.array(rows) / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("run", ["headed"], indirect=True)
def test_a_release_gets_a_model_that_knows_its_words(release, boosted, monkeypatch):
    monkeypatch.setattr(text_model, "PIECE", 16)
    predictor = SlugPredictor.from_dir(release, embedder=Fake())
    names = ["Amelia Earhart", "Marie Curie", "Ada Lovelace", "Grace Hopper"]
    texts = [f"page {i} about {names[i % 4]}, and on other things" for i in range(40)]
    slugs = [f"about-{names[i % 4].lower().replace(' ', '-')}" for i in range(40)]
    pages = TextPages(Fake().embed(texts), texts, slugs, ["made up"] * 40, [0] * 40)
    np.testing.assert_allclose(
        head_logits(predictor, pages.vectors),
        np.concatenate([head_logits(predictor, pages.vectors[i : i + 1]) for i in range(40)]),
        atol=1e-5,
    )
    left_out = TextPages(*(part[::2] for part in pages))
    model = fit_text_model(predictor, pages, left_out, texts)
    assert TextModel.from_json(model.to_json()).to_json() == model.to_json()
    assert len(model.frequencies) == len(predictor.vocabulary.strings)
    assert np.isfinite([*model.score_fit, *model.rerank_fit, *model.run_gains]).all()
    judged = judge(predictor, left_out, model)
    assert len(judged) == 20
    assert all(len(page.cosines) == len(page.candidates) for page in judged)
    best = [page.candidates[int(np.argmax(page.worth(model.run_gains)))].slug for page in judged]
    assert token_overlap(best, left_out.slugs)[2].mean() > 0.5
    predictor.text_model = model
    assert token_overlap(predictor.predict_texts(texts[:8]), slugs[:8])[2].mean() > 0.5
