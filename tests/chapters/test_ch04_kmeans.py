import pandas as pd
import pytest
from chapters import ch04_kmeans

REFERENCES = ["amelia-in-burma", "the-history-of-nginx"]
REDUCED = ["anne-in-burma", "the-history-of-linux"]


class FakeRun:
    """A record as far as the chapter reads it."""

    def __init__(self, f1, shape):
        self.f1 = f1
        self.manifest = {"model": shape, "parameters": 7}
        self.predictions = pd.DataFrame({"slug": REFERENCES})
        self.metrics = {"diversity": interval(f1)}

    def value(self, metric):
        return {"token_f1": self.f1, "diversity": 0.5, "distinctiveness": 0.8}[metric]


@pytest.fixture
def runs():
    return {
        "1b": FakeRun(0.1, {"hidden_dim": 1024, "num_layers": 2}),
        "3b": FakeRun(0.2, {"embed_dim": 384, "num_layers": 4}),
    }


def interval(value, margin=0.01):
    return {"value": value, "low": value - margin, "high": value + margin}


def test_shapes_of_both_kinds_of_model(runs):
    shapes = ch04_kmeans.shapes_table(runs)
    assert shapes["model"].tolist() == ["mlp", "decoder"]
    assert shapes["width"].tolist() == [1024, 384]
    assert shapes.loc["3b", "reported"] == "11.5 M"


def test_variety_counts_different_slugs(runs):
    slugs = {"1b": ["a", "b", "a", "a"], "3b": ["a", "b", "c", "d"]}
    variety = ch04_kmeans.variety_table(runs, slugs)
    assert variety["distinct"].tolist() == [2, 4]
    assert variety.loc["1b", "most frequent"] == "a (3), b (1)"
    assert variety["collapse"].tolist() == ["undecided", "no"]


def test_words_are_looked_up_with_those_that_share_their_representative():
    clusters = pd.DataFrame(
        {
            "word": ["anne", "amelia", "emma", "burma"],
            "representative": ["anne", "anne", "anne", "burma"],
        }
    )
    table = ch04_kmeans.look_up(clusters, ["amelia", "anne", "burma", "quasar"])
    assert table.loc["amelia"].tolist() == ["anne", 1, "emma"]
    assert table.loc["anne"].tolist() == ["anne", 2, "amelia, emma"]
    assert table.loc["burma"].tolist() == ["burma", 0, ""]
    assert table.loc["quasar"].tolist() == ["not in the data", 0, ""]


def test_four_ways_to_count_by_hand():
    # Own words: 2 of 3 and 3 hit, then 1 of 3 and 4. Reduced: 3 of 3 and 3, then 2 of 3 and 4.
    slugs = {"3b": ["anne-in-burma", "the-linux-kernel"]}
    scores = ch04_kmeans.four_ways(slugs, REFERENCES, REDUCED).loc["3b"]
    assert scores["macro, own words"] == pytest.approx((2 / 3 + 2 / 7) / 2)
    assert scores["micro, own words"] == pytest.approx(2 * 3 / 13)
    assert scores["macro, reduced"] == pytest.approx((1 + 4 / 7) / 2)
    assert scores["micro, reduced"] == pytest.approx(2 * 5 / 13)
    rows = pd.DataFrame({"slug": REFERENCES, "prediction": slugs["3b"]})
    mapping = dict(zip("-".join(REFERENCES).split("-"), "-".join(REDUCED).split("-"), strict=True))
    assert ch04_kmeans.ghost_score(rows, mapping) == scores["micro, reduced"]


def test_true_hits_are_words_of_the_page_s_own_slug():
    guesses = ["anne-in-burma", "the-linux-kernel"]
    # Hits on reduced slugs: anne, in, burma, the, linux; of these in, burma and the are true.
    assert ch04_kmeans.true_hits(guesses, REFERENCES, REDUCED) == pytest.approx(3 / 5)
    assert ch04_kmeans.true_hits(["x-y-z"], ["a-b-c"], ["a-b-c"]) == 0


@pytest.fixture
def history():
    return pd.DataFrame(
        {"epoch": [1, 2, 3], "ghost_f1": [0.1, 0.4, 0.3], "token_f1": [0.05, 0.2, 0.1]}
    )


def test_progress_is_judged_by_the_best_epochs(history):
    verdict = ch04_kmeans.progress_verdict(history)
    assert "at the same epoch, 2 for the ghost's count and 2 for Token F1" in verdict
    assert verdict.endswith("0.200 apart.")
    late = history.assign(token_f1=[0.05, 0.1, 0.2])
    assert "at different epochs, 2 for the ghost's count and 3" in ch04_kmeans.progress_verdict(
        late
    )


def test_figures_have_the_numbers_that_their_texts_name(history):
    figure = ch04_kmeans.ghost_figure({"3a": history})
    assert [(line.name, line.y[-1]) for line in figure.data] == [
        ("3a ghost's count", 0.3),
        ("3a Token F1", 0.1),
    ]
    assert ch04_kmeans.ghost_alt({"3a": history}).endswith("3a ends at 0.300 and 0.100.")
    limits = {"3b": interval(0.2), "best possible": interval(0.5)}
    measured, reported = ch04_kmeans.reached_figure(limits, {"3b": 0.197}).data
    assert (measured.y.tolist(), measured.x.tolist()) == (["best possible", "3b"], [0.5, 0.2])
    assert reported.x == (0.197,)
    assert "3b 0.200, best possible 0.500." in ch04_kmeans.reached_alt(limits)


@pytest.mark.parametrize(
    ("margin", "verdict", "credit"),
    [
        (0.05, "3b is better", "So +0.050 of the study's step is the decoder's own."),
        (0.0, "3b cannot be told apart from it", "do not show that any of the study's step"),
        (-0.05, "3b is worse", "nothing of the study's step is the decoder's own"),
    ],
)
def test_the_fair_rival_decides_what_is_the_decoder_s_own(runs, margin, verdict, credit):
    said = ch04_kmeans.fair_verdict(runs["1b"], runs["3b"], interval(margin))
    assert f"{verdict}: Token F1 is 0.100 for that MLP and 0.200 for 3b ({margin:+.3f}, " in said
    assert credit in ch04_kmeans.credit_verdict(interval(margin))
    kept = ch04_kmeans.keep_verdict(interval(margin))
    assert ("score alone" in kept) == (margin > 0)


@pytest.mark.parametrize(
    ("gain", "repair", "verdict"),
    [
        (0.1, 0.15, "it does not hold: 1b is a broken rival, which fair training alone lifts by "
                    "+0.150 (+0.140 to +0.160)."),
        (-0.1, 0.15, "it does not hold: 1b is a broken rival"),
        (0.1, 0.0, "it holds: fair training does not lift 1b measurably, by +0.000"),
        (-0.1, 0.0, "it does not hold: fair training does not lift 1b measurably"),
        (0.0, -0.1, "it is not measurable: fair training does not lift 1b measurably"),
    ],
)  # fmt: skip
def test_a_step_from_a_broken_rival_does_not_hold(runs, gain, repair, verdict):
    said = ch04_kmeans.step_verdict(runs["1b"], runs["3b"], interval(gain), interval(repair))
    assert (
        f"is {gain:+.3f} ({gain - 0.01:+.3f} to {gain + 0.01:+.3f}) here, 0.100 to 0.200." in said
    )
    assert f"As a gain of the decoder {verdict}" in said


def test_half_the_way_is_not_most_of_it():
    assert ch04_kmeans.room_verdict(0.49).startswith("most of the way")
    assert ch04_kmeans.room_verdict(0.5).startswith("less than half of the way")
