from collections import Counter

import numpy as np
import pandas as pd
import pytest
from chapters import ch05_bpe

from vec2slug_lib.model.tokenizer import encode, train_bpe

SLUGS = ["bees-make-honey", "bees-and-wasps", "honey-and-wax", "the-honey-bees"]
COUNTS = Counter(word for slug in SLUGS for word in slug.split("-"))


class FakeRun:
    """A record as far as the chapter reads it: a test row for every slug."""

    def __init__(self, f1, width=384):
        self.f1 = f1
        self.manifest = {
            "model": {"embed_dim": width}, "parameters": 7,
            "result": {"best_val_loss": 2.0},
        }  # fmt: skip

    def value(self, metric):
        return {"token_f1": self.f1}[metric]


@pytest.fixture
def gains(monkeypatch):
    """Paired differences are those of the runs' values, each one hundredth wide."""

    def difference(ours, theirs):
        value = ours.f1 - theirs.f1
        return {"token_f1": {"value": value, "low": value - 0.005, "high": value + 0.005}}

    monkeypatch.setattr(ch05_bpe, "paired", difference)


def test_subwords_spell_their_slugs():
    table = ch05_bpe.subwords(train_bpe(SLUGS, 60), SLUGS)
    assert table.index.tolist() == SLUGS
    assert [tokens.replace(" ", "") for tokens in table["subwords"]] == SLUGS


def test_a_slug_is_spelt_if_all_its_words_are_among_the_frequent():
    assert [word for word, _ in COUNTS.most_common(3)] == ["bees", "honey", "and"]
    shares = [ch05_bpe.spelt_share(["bees-and-honey", "bees"], COUNTS, n) for n in (0, 1, 3)]
    assert shares == [0, 0.5, 1]


def test_a_vocabulary_s_cost_by_its_own_tokenizer():
    cost, tokenizer = ch05_bpe.vocabulary_cost(SLUGS, 45), train_bpe(SLUGS, 45)
    ids = encode(tokenizer, SLUGS)
    assert cost["tokens"] == tokenizer.get_vocab_size() == 45
    assert cost["subwords a slug"] == np.mean([len(row) for row in ids])
    seen = Counter(i for row in ids for i in row)
    assert cost["median occurrences of a token"] == np.median([seen[i] for i in range(5, 45)])


def test_only_decoders_that_differ_in_one_thing_are_compared(gains):
    # 3d is wider than 3e, 3f deeper, 3g both.
    runs = {"3d": FakeRun(0.12), "3e": FakeRun(0.1), "3f": FakeRun(0.1), "3g": FakeRun(0.11)}
    steps = ch05_bpe.steps(runs)
    assert dict(zip(steps.index, steps["change"], strict=True)) == {
        "3e to 3f": "layers 4 to 6",
        "3e to 3d": "width 384 to 512",
        "3f to 3g": "width 384 to 512",
        "3d to 3g": "layers 4 to 6",
    }
    assert steps.loc["3d to 3g", "value"] == pytest.approx(-0.01)
    assert ch05_bpe.steps_verdict(steps).endswith("rises measurably in 2 and falls in 1.")
    assert ch05_bpe.steps({"3e": FakeRun(0.1)}).empty


def test_shapes_are_those_of_the_table_and_the_record():
    shapes = ch05_bpe.shapes_table({"3g": FakeRun(0.11, 512)})
    assert shapes.loc["3g"].tolist() == [512, 6, 7, 2.0, 0.11, 0.272]


def test_verdicts_name_both_runs(gains):
    gain = {"value": 0.1, "low": 0.05, "high": 0.15}
    verdict = ch05_bpe.subword_verdict(FakeRun(0.1), FakeRun(0.2), gain)
    assert "Token F1 rises when" in verdict
    assert "0.100 with 3b, 0.200 with 3h (+0.100, +0.050 to +0.150)" in verdict
    verdict = ch05_bpe.scale_verdict(FakeRun(0.2), FakeRun(0.1))
    assert "falls (-0.100" in verdict
    assert verdict.endswith("0.100 for 0.200.")
    assert ch05_bpe.spelling_verdict(2.0).startswith("2 right words are")
    assert ch05_bpe.spelling_verdict(1.0).startswith("1 right word is")
    assert ch05_bpe.spelling_verdict(0) == "Every right word is in some training slug."


def interval(low, high):
    return {"value": (low + high) / 2, "low": low, "high": high}


@pytest.mark.parametrize(
    ("mixed", "cap", "costs", "verdict"),
    [
        (interval(0.01, 0.03), interval(0.01, 0.03), "10 costs Token F1: 3h", "the same"),
        (interval(-0.01, 0.01), interval(0.03, 0.05), "10 costs Token F1: 3h", "another"),
        (interval(0.03, 0.05), interval(-0.01, 0.01), "by no clear amount: 3h", "the same"),
        (interval(0.05, 0.07), interval(-0.03, -0.01), "10 adds to Token F1: 3h", "the same"),
    ],
)
def test_a_pair_that_mixes_two_things_is_held_against_the_clean_one(mixed, cap, costs, verdict):
    said = ch05_bpe.mixed_verdict(interval(0.03, 0.05), mixed, cap)
    assert costs in said
    assert f": {verdict} verdict as the clean pair's" in said


def test_units_are_compared_in_every_metric(monkeypatch):
    monkeypatch.setattr(FakeRun, "value", lambda run, metric: run.f1)
    gain = dict.fromkeys(ch05_bpe.METRICS, interval(0.0, 0.2))
    table = ch05_bpe.units_table({"3b": FakeRun(0.1), "3h": FakeRun(0.2)}, {"3h − 3b": gain})
    assert table.index.tolist() == list(ch05_bpe.METRICS.values())
    assert table.loc["Token F1"].tolist() == [0.1, 0.2, "+0.100 (+0.000 to +0.200)"]


@pytest.fixture
def written():
    rows = pd.DataFrame(
        {"prediction": ["bees-and-hunny", "bees-wax"], "slug": ["bees-hunny", "the-wasps"]}
    )
    return ch05_bpe.written_words(rows, {"bees"}, {"bees", "and", "wax"})


def test_every_written_word_is_of_one_kind(written):
    assert written["word"].tolist() == ["bees", "and", "hunny", "bees", "wax"]
    assert written["right"].tolist() == [True, False, True, False, False]
    counts = ch05_bpe.count_kinds(written)
    assert counts["size"].tolist() == [2, 2, 1]
    assert counts["sum"].tolist() == [1, 0, 1]
    shares = ch05_bpe.kinds_table(counts)
    assert shares["of all words"].tolist() == [0.4, 0.4, 0.2]
    assert shares["of the right words"].tolist() == [0.5, 0, 0.5]
    assert shares["of them right"].tolist() == [0.5, 0, 1]


def test_a_kind_that_no_word_has_counts_nothing(written):
    counts = ch05_bpe.count_kinds(written[written["word"] == "bees"])
    assert counts["size"].tolist() == [2, 0, 0]
    assert counts["sum"].tolist() == [1, 0, 0]


def test_words_outside_the_clusters_by_verdict_and_kind(written):
    table = ch05_bpe.outside_table(pd.concat([written, written]))
    assert table["different words"].to_dict() == {
        "right, in no training slug": 1,
        "wrong, another training word": 2,
    }
    words = table.loc["wrong, another training word", "eight at random"].split(", ")
    assert sorted(words) == ["and", "wax"]


def test_figures_have_the_numbers_that_their_texts_name():
    spelt = pd.Series({500: 0.25, 1000: 0.5})
    assert ch05_bpe.spelt_figure(spelt).data[0].y.tolist() == [0.25, 0.5]
    assert "25% of test slugs with 500 words, 50% with 1,000" in ch05_bpe.spelt_alt(spelt)
    lengths = pd.Series([9, 9, 23, 30])
    (bars,) = ch05_bpe.lengths_figure(lengths).data
    assert (bars.x.tolist(), bars.y.tolist()) == ([9, 23, 30], [0.5, 0.25, 0.25])
    text = ch05_bpe.lengths_alt(lengths)
    assert "mean of 17.8 subwords. 50% of the slugs fit a cap of 10, and 75.0% a cap of 24" in text
