"""A tiny decoder with random weights, whose slugs are short, decoded in other ways."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
import torch
from tqdm import tqdm

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.files import read_json, write_json
from vec2slug_lib.common.slugs import words
from vec2slug_lib.common.vocabulary import EOS, HYPHEN, SPECIALS
from vec2slug_lib.common.workspace import current
from vec2slug_lib.data import dataset
from vec2slug_lib.evaluation import records
from vec2slug_lib.experiments import decoding_variants, score, task
from vec2slug_lib.experiments.decoding_variants import (
    EXAMPLES,
    VARIANTS,
    Variant,
    compare_slugs,
    decode_rows,
    decoding_record,
    defects,
    stopping_trace,
)
from vec2slug_lib.inference.beam_search import greedy, search
from vec2slug_lib.inference.settings import DecodingConfig
from vec2slug_lib.model.decoder import CachedDecoder, Decoder, DecoderConfig
from vec2slug_lib.model.tokenizer import save_tokenizer, train_bpe
from vec2slug_lib.model.weights import save_decoder


def lively_decoder(**shape):
    """Random weights that tell documents apart and like to end words and slugs."""
    torch.manual_seed(1)
    model = Decoder(DecoderConfig(embed_dim=16, num_heads=2, num_layers=1, **shape))
    with torch.no_grad():
        model.embedding_projection.weight.mul_(30)
        model.position_embedding.weight.mul_(0.3)
        model.output_projection.weight.mul_(3)
        model.output_projection.bias[[EOS, HYPHEN]] += 3
    return model.eval()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A complete record of experiment 3h in preset smoke, without the training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VEC2SLUG_RUNS", str(tmp_path_factory.mktemp("runs")))
        run = records.Run(current().runs / "3h" / "smoke")
        data = dataset.load(limit=600)
        tokenizer = train_bpe(["the-bee-of-the-hive", "ants-in-the-hill"] * 9, 60)
        save_tokenizer(tokenizer, run.folder / "tokenizer.json")
        model = lively_decoder(
            input_dim=data.vectors.shape[1], vocab_size=tokenizer.get_vocab_size()
        )
        save_decoder(model, run.folder / "model.safetensors")
        (run.folder / "history.jsonl").write_text("{}\n")
        shape, digest = asdict(model.config), dataset.ids_digest(data.pairs["id"])
        write_json(
            run.folder / "manifest.json",
            {"experiment": "3h", "preset": "smoke", "model": shape, "data": digest},
        )
        rows = data.test_rows()
        model, strings = score.load_model(run)
        found = score.predict(model, rows.vectors, strings)
        predictions = rows.pairs[["id", "slug"]].assign(
            prediction=[slug for slug, _ in found],
            score=np.array([score for _, score in found], np.float32),
        )
        records.save_results(run, predictions, {}, {})
        yield run


@pytest.fixture(scope="module")
def parts(run):
    """Model, token strings, test rows and the run's own slugs."""
    rows = task.run_data(run).test_rows()
    return *score.load_model(run), rows, run.predictions["prediction"].tolist()


def decode(parts, way):
    model, strings, rows, own = parts
    return decode_rows(model, rows, strings, way, own, tqdm(disable=True))


def lengths(slugs):
    return np.array([len(words(slug)) for slug in slugs])


def test_the_tiny_run_is_worth_testing_on(parts):
    own = lengths(parts[3])
    assert len(set(parts[3])) > 15
    assert {3, 4, 5} <= set(own.tolist())


def test_the_projects_way_reproduces_the_runs_own_slugs(run):
    found = decoding_record("3h", "project", "smoke")
    zero = {"value": 0.0, "low": 0.0, "high": 0.0}
    assert all(interval == zero for interval in found["difference"].values())
    assert (found["changed"], found["examples"], found["lower_scores"]) == (0, [], 0)
    own = run.predictions["prediction"]
    assert found["words"] == np.bincount(lengths(own), minlength=9).tolist()
    assert found["defects"] == defects(own.tolist())
    assert found["rows"] == len(own) == sum(found["step_counts"])
    assert np.average(
        range(len(found["step_counts"])), weights=found["step_counts"]
    ) == pytest.approx(found["steps"])


@pytest.mark.parametrize("extra", [1, 2])
def test_forced_words_come_row_by_row(parts, extra):
    model, strings, rows, own = parts
    found = decode(parts, Variant("forced", extra_words=extra))
    slugs = [candidates[0].slug for candidates in found.candidates]
    least = np.minimum(lengths(own) + extra, 8)
    assert (lengths(slugs) >= least).all()
    for i in range(5):  # as if each document were searched alone, with its own minimum
        config = DecodingConfig(min_words=int(least[i]))
        alone = search(CachedDecoder(model), rows.vectors[i : i + 1], strings, config)
        assert alone.candidates[0][0].slug == slugs[i]
        assert alone.steps[0] == found.steps[i]


def test_forced_words_stop_at_what_the_cap_can_hold():
    # Cap 10: nine content tokens, so five words at most.
    model = lively_decoder(input_dim=8, vocab_size=7, max_slug_tokens=10)
    rows = dataset.Dataset(pd.DataFrame({"id": ["1"]}), np.eye(8, dtype=np.float32)[:1])
    strings = [*SPECIALS, "x", "y"]
    found = decode_rows(
        model, rows, strings, VARIANTS["words+2"], ["a-b-c-d"], tqdm(disable=True)
    ).candidates
    assert lengths([found[0][0].slug]).tolist() == [5]


def test_stopping_rules_differ_in_steps_and_the_optimal_one_in_nothing_else(parts):
    project, full, first, narrow = (
        decoding_record("3h", way, "smoke")
        for way in ("project", "exhaustive", "first-k", "beam-1")
    )
    assert (full["changed"], full["lower_scores"]) == (0, 0)
    assert project["steps"] < full["steps"] == DecodingConfig().max_tokens
    assert first["steps"] < full["steps"]
    # A narrow beam loses score on some rows, and only on rows whose slug it changes.
    best = [
        np.array([candidates[0].score for candidates in decode(parts, VARIANTS[way]).candidates])
        for way in ("project", "beam-1")
    ]
    assert narrow["lower_scores"] == np.mean(best[0] - best[1] > 1e-3) > 0
    assert narrow["changed"] >= narrow["lower_scores"]


def test_the_greedy_way_is_the_librarys_greedy_decoding(parts):
    model, strings, rows, _ = parts
    found = decode(parts, VARIANTS["greedy"]).candidates
    assert [c[0].slug for c in found] == greedy(CachedDecoder(model), rows.vectors, strings)


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "project"])
def test_every_way_is_another_possible_decoding(name):
    way = VARIANTS[name]
    changed = replace(DecodingConfig(), **way.changes) != DecodingConfig()
    assert changed or way.extra_words > 0 or way.mbr
    assert way.mbr or not way.index


def test_least_risk_takes_a_slug_that_its_rivals_resemble(run, parts):
    found = decode(parts, VARIANTS["mbr"])
    for candidates in found.candidates[:20]:
        slugs = [candidate.slug for candidate in candidates]
        assert len(set(slugs)) == len(slugs) <= VARIANTS["mbr"].mbr.beam_width
        assert [c.score for c in candidates] == sorted((c.score for c in candidates), reverse=True)
    asked = decoding_record("3h", "mbr-index", "smoke")
    assert asked["changed"] > 0
    assert asked["metrics"]["validity"]["value"] == 1


def test_a_record_is_read_back_and_remade(run, monkeypatch):
    path = run.folder / "decoding" / "beam-1.json"
    found = decoding_record("3h", "beam-1", "smoke")
    assert read_json(path) == found
    with monkeypatch.context() as patch:
        patch.setattr(decoding_variants, "load_model", None)  # as in a clone without weights
        assert decoding_record("3h", "beam-1", "smoke") == found
    write_json(path, {**found, "rows": -1})
    assert decoding_record("3h", "beam-1", "smoke")["rows"] == -1
    again = decoding_record("3h", "beam-1", "smoke", remake=True)
    assert {**again, "seconds": 0} == {**found, "seconds": 0}
    # A record of slugs that the run no longer has.
    write_json(path, {**found, "rows": -1, "predictions": "others"})
    assert decoding_record("3h", "beam-1", "smoke")["rows"] == found["rows"]


def test_a_trace_shows_where_each_rule_stops(run, parts):
    model, strings, rows, own = parts
    found = stopping_trace("3h", "smoke")
    steps = found["trace"]
    assert found["reference"] == rows.pairs["slug"].iloc[0]
    assert (steps[-1]["active"], steps[-1]["log_p"]) == (None, None)
    assert steps[-1]["finished"] == own[0]
    assert steps[-1]["score"] == pytest.approx(run.predictions["score"][0], abs=1e-4)
    settings = found["settings"]
    reward = settings["length_reward"] * settings["reward_cap"]
    met = [
        step["active"] is None or (step["score"] or -np.inf) >= step["log_p"] + reward
        for step in steps
    ]
    full = [step["count"] >= settings["beam_width"] for step in steps]
    for stopping, reached in (("optimal", met), ("first_k", full)):
        config = DecodingConfig(stopping=stopping)
        alone = search(CachedDecoder(model), rows.vectors[:1], strings, config)
        assert alone.steps[0] == reached.index(True) + 1
    assert stopping_trace("3h", "smoke") == found


def test_defects_by_hand():
    slugs = ["a-bee-of", "bee-ant-bee-hive", "the-bee-the-ant", "one-two", "a-b-c-d-e-f-g"]
    # The second repeats a word; the third only a stopword. The fourth is short, the fifth long.
    assert defects(slugs) == {"stopword_end": 0.2, "repeated_word": 0.2, "short": 0.2, "long": 0.2}


def test_a_comparison_keeps_a_few_of_the_changed_rows():
    own = [f"bee-hive-{i}" for i in range(20)]
    topics = [7] * 5 + [3] * 15
    before = pd.DataFrame({"slug": ["bee-hive-life"] * 20, "prediction": own, "topic": topics})
    slugs = [slug if i < 5 else f"{slug}-life" for i, slug in enumerate(own)]
    found = compare_slugs(slugs, before, np.arange(20))
    assert found["changed"] == 0.75
    assert len({example["prediction"] for example in found["examples"]}) == EXAMPLES
    for example in found["examples"]:
        assert example["prediction"] == example["project"] + "-life"
    # One more word, and it is right: recall rises from 2/3 to 1, precision from 2/3 to 3/4.
    assert found["difference"]["token_recall"]["value"] == pytest.approx(0.75 / 3)
    assert found["difference"]["token_precision"]["value"] == pytest.approx(0.75 / 12)
    assert found["words"] == [0, 0, 0, 5, 15, 0, 0, 0, 0]
    sums = found["by_topic"]
    assert (sums["rows"], sums["steps"]) == ([15, 5], [180, 10])
    # Three of three words are found by four, then two of three by three.
    assert sums["token_f1"] == pytest.approx([15 * 6 / 7, 5 * 2 / 3])


def test_unknown_ways_list_the_known():
    with pytest.raises(Vec2SlugError, match=r"one of project, .*beam-16.*got 'beam-3'"):
        decoding_record("3h", "beam-3", "smoke")


def test_an_mlp_has_no_other_decodings(run, monkeypatch):
    monkeypatch.setattr(decoding_variants, "load_model", lambda run: (object(), []))
    with pytest.raises(Vec2SlugError, match="expected a decoder"):
        decoding_variants.decode_run(run, VARIANTS["greedy"])
