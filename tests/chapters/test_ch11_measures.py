"""Measures of claims, by hand on a few pages, and what is drawn for their intervals."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from chapters import ch11_measures as measures
from chapters.ch11_claims import CLAIMS, verdict
from chapters.ch11_measures import Records

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.workspace import Workspace, use
from vec2slug_lib.data.dataset import Dataset
from vec2slug_lib.evaluation import intervals


@pytest.fixture
def fake(monkeypatch):
    """Records of runs on the same pages: rows of topic, slug, and a prediction a run."""

    def make(rows, names=("one",), **more):
        columns = ["cluster", "slug", *names]
        frame = pd.DataFrame([row[: len(columns)] for row in rows], columns=columns)
        pairs = frame[["cluster", "slug"]].assign(id=range(len(frame)), **more)
        vectors = np.random.default_rng(0).standard_normal((len(frame), 4)).astype(np.float32)
        data = SimpleNamespace(pairs=pairs, test_rows=lambda: Dataset(pairs, vectors))
        monkeypatch.setattr(measures.dataset, "load", lambda limit: data)
        runs = {
            name: SimpleNamespace(predictions=pairs.assign(prediction=frame[name]))
            for name in names
        }
        monkeypatch.setattr(measures, "record", lambda name, preset: runs[name])
        return Records("book")

    return make


ROWS = [(topic, "a-b-c", "a-b-c" if topic < 3 else "x-y-z") for topic in range(6)] * 4


def test_topics_are_drawn_or_pages(fake):
    records = fake(ROWS)
    assert records.topics().tolist() == list(range(6)) * 4
    pages = records.by_page()
    assert pages.topics().tolist() == list(range(24))
    assert not records.over_pages
    wide, narrow = (measures.level("token_f1")(each, ("one",)) for each in (records, pages))
    assert wide["value"] == narrow["value"] == 0.5
    assert wide["high"] - wide["low"] > 1.5 * (narrow["high"] - narrow["low"])
    assert records.rows("one") is pages.rows("one")


def test_runs_on_other_pages_are_refused(fake, monkeypatch):
    records = fake(ROWS)
    other = records.run("one").predictions[::-1]
    monkeypatch.setattr(records, "run", lambda name: SimpleNamespace(predictions=other))
    with pytest.raises(Vec2SlugError, match="expected one to be scored on the data set's test"):
        records.rows("one")


def test_levels_differences_and_shares(fake):
    rows = [(topic, "a-b-c", "a-b-c", "b-a-c") for topic in range(4)]
    rows += [(topic, "a-b-c", "x-y-z", "c-b-x") for topic in range(4)]
    records, names = fake(rows, ("one", "two")), ("one", "two")
    assert measures.level("token_f1")(records, names)["value"] == pytest.approx(1 / 2)
    gained = measures.difference("token_f1")(records, names)["value"]
    assert gained == pytest.approx(1 / 2 - (1 + 2 / 3) / 2)
    assert measures.share_of(records, names)["value"] == pytest.approx(0.5 / (5 / 6))
    assert measures.order_gap(records, ("one",))["value"] == 0
    # Of the second run's words two of three are in order, then one of two.
    kept = measures.order_kept(records, names)["value"]
    assert kept == pytest.approx(1 - (2 / 3 + 1 / 3) / (1 + 2 / 3))
    assert measures.diversity(records, ("one",))["value"] == pytest.approx(2 / 8)
    assert measures.distinct_difference(records, ("one", "one"))["value"] == 0


def test_repeats_are_of_words_that_mean_something(fake):
    slugs = ["turtle-of-turtle", "the-a-the", "a-b-c", "bee-hive-bee"]
    records = fake([(i, "a-b-c", slug) for i, slug in enumerate(slugs)])
    assert measures.repeated(records, ("one",))["value"] == pytest.approx(1 / 2)


def test_what_clusters_change_and_allow(fake):
    mapping = {"a": "a", "b": "a", "c": "c", "d": "c", "e": "e"}
    rows = [(0, "a-b-c", "a-c"), (1, "d-e", "a-e-c")] * 50
    records = fake(rows)
    records.mapping = lambda: mapping
    # Two of five words change. Perfect slugs: a-a-c shares a and c of 2 + 3, c-e shares e of 2 + 2.
    assert measures.changed_words(records, ("one",))["value"] == pytest.approx(2 / 5)
    assert measures.ceiling(records, ("one",))["value"] == pytest.approx((4 / 5 + 2 / 4) / 2)
    # Micro against {a, c} and {c, e}: 2 * (2 + 2) of (2 + 2) + (3 + 2). Macro against the slugs:
    # a and c of 2 + 3, e of 3 + 2.
    ghost = 8 / 9 - (4 / 5 + 2 / 5) / 2
    assert measures.ghost_gap(records, ("one",))["value"] == pytest.approx(ghost)


def test_short_documents_are_set_against_long_ones(fake):
    rows = [(i % 4, "a-b-c", "a-b-c" if i < 30 else "x-y-z") for i in range(40)]
    counts = [100] * 20 + [600] * 20  # of the long ones half are right
    short = measures.short_over_long(fake(rows, token_count=counts), ("one",))
    assert short["value"] == pytest.approx(0.5)
    nothing = measures.short_over_long(fake(rows, token_count=100), ("one",))
    assert verdict(CLAIMS["short"], nothing) == "not checked"
    assert measures.texts(nothing, "{:+.3f}") == "–"


def decodings(**records):
    return SimpleNamespace(decoded=lambda name, variant: records[variant])


def test_steps_and_forced_words_come_from_sums_by_topic():
    first = {"rows": [2, 3], "steps": [10.0, 12.0], "token_f1": [1.0, 1.5]}
    later = {"rows": [2, 3], "steps": [15.0, 18.0], "token_f1": [0.5, 1.0]}
    records = decodings(**{"first-k": {"by_topic": first}, "project": {"by_topic": later}})
    ratio = measures.steps("project")(records, ("one",))
    assert ratio == pytest.approx({"value": 1.5, "low": 1.5, "high": 1.5})
    records = decodings(**{"words+1": {"by_topic": first}, "words+2": {"by_topic": later}})
    lost = measures.second_word(records, ("one",))
    assert lost["value"] == pytest.approx(-1 / 5)
    assert lost["low"] == pytest.approx(-0.25)  # of the first topic alone
    assert lost["high"] == pytest.approx(-0.5 / 3)


def test_older_decoding_records_have_no_topics():
    counts = {"step_counts": [0, 0, 7]}
    records = decodings(
        **{"first-k": {"step_counts": [0, 7]}, "project": counts | {"by_topic": {}}}
    )
    assert measures.steps("project")(records, ("one",))["value"] == 2
    sides = [{"value": x, "low": x - 0.1, "high": x + 0.1} for x in (0.1, 0.3)]
    more, less = ({"difference": {"token_f1": side}} for side in sides)
    records = decodings(**{"words+2": more, "words+1": less})
    assert measures.second_word(records, ("one",)) == intervals.apart(*sides)


def test_time_and_money(tmp_path):
    plain = {"median": 100.0, "low": 80.0, "high": 125.0}
    benchmark = {"models": {"small": {"latency": {"plain": plain}}}}
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "inference.json").write_text(json.dumps(benchmark))
    with use(Workspace(data=tmp_path)):
        faster = measures.times_less(1.0)(None, ())
        cheaper = measures.times_less(1.0, fixed=0.3, a_second=2)(None, ())
    assert faster == pytest.approx({"value": 10, "low": 8, "high": 12.5})
    assert cheaper["value"] == pytest.approx(1 / 0.5)


def test_the_study_s_prices():
    assert pytest.approx(0.00103, rel=1e-3) == measures.CHAT_DOLLARS
    fresh = measures.EMBEDDING_DOLLARS + 0.089 * measures.SERVER_DOLLARS
    assert pytest.approx(0.000012, rel=0.02) == fresh
    assert pytest.approx(0.0000005, rel=0.02) == 0.089 * measures.SERVER_DOLLARS


def test_attention_is_read_by_the_measures_of_its_chapter():
    analysis = {"attention": {"ratio": [{"value": 2.0, "low": 1.0, "high": 3.0}]}}
    records = SimpleNamespace(analysis=lambda name: analysis)
    assert CLAIMS["hyphens"].measure(records, ("3j",))["value"] == 2
    assert verdict(CLAIMS["places"], CLAIMS["places"].measure(records, ("3j",))) == "not checked"


def test_records_say_over_what_their_intervals_are():
    new = {"by_topic": {}}
    decoded = dict.fromkeys(measures.DECODED, new)
    records = SimpleNamespace(
        decoded=lambda *key: decoded[key], analysis=lambda name: {"drawn_over": "topics"}
    )
    assert measures.kept_over(records) == "they are over topics"
    decoded[("3h", "beam-16")] = {}
    records.analysis = lambda name: {}
    assert measures.kept_over(records).endswith("pages: 3h, beam-16; 3j, attention")


def test_the_records_named_are_those_that_claims_read():
    read = set()

    def decoded(name, variant):
        read.add((name, variant))
        sums = {"rows": [1, 1], "steps": [1.0, 2.0], "token_f1": [0.5, 1.0]}
        known = dict.fromkeys(("token_f1", "mean_words"), measures.exactly(0.0))
        return {"by_topic": sums, "difference": known}

    records = SimpleNamespace(decoded=decoded)
    for key in ("one_word", "two_words", "beam", "optimal", "exhaustive"):
        CLAIMS[key].measure(records, CLAIMS[key].experiments)
    assert read == set(measures.DECODED)
