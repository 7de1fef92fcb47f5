import pandas as pd
import pytest
from chapters import ch02_figures

MAPPING = {"anne": "anne", "amelia": "anne", "burma": "burma", "in": "in"}
WORDS = pd.DataFrame(
    {
        "word": ["in", "anne", "burma", "amelia"],
        "cluster": [2, 0, 1, 0],
        "representative": ["in", "anne", "burma", "anne"],
    }
)


def method(name, setting, vocabulary, perfect, **more):
    """A row of the record of methods."""
    row = {"largest": 0.01, "noise": 0.0, "changed": 0.4, "best_f1": perfect + 0.1, "value": None}
    row |= {"method": name, "setting": setting, "vocabulary": vocabulary, "perfect_f1": perfect}
    return {**row, "seconds": 1.0, "peak_mib": None, "sizes": {"1": 2, "3": 1}, **more}


@pytest.fixture
def methods():
    return pd.DataFrame(
        [
            method("KMeans", "k = 10", 10, 0.4, value=10),
            method("KMeans", "k = 30", 30, 0.8, value=30),
            method("nearest frequent word", "k = 10", 10, 0.5, value=10),
            method("components", "cosine 0.6", 20, 0.7, value=0.6),  # k-means: 0.6 at 20
            method("components", "cosine 0.65", 20, 0.5, value=0.65),
            method("Louvain", "cosine 0.7", 21, 0.1, value=0.7),
            method("HDBSCAN", "eom", 5, 0.1, largest=0.2),
        ]
    )


def test_the_verdict_on_graphs_by_hand(methods):
    # Useless at k = 10: over 20 clusters (Louvain), a fifth of the words in one (HDBSCAN). Three
    # settings lie between 10 and 30 clusters, and k-means is above two of them.
    verdict = ch02_figures.graph_verdict(methods, 10)
    assert verdict.startswith("Of 4 settings of components, Louvain and HDBSCAN, 2 put over")
    assert "over 20 clusters" in verdict
    assert "in 2 of the 3 cases" in verdict


def test_the_table_has_some_settings_and_the_rivals_of_one_size(methods):
    shown = ch02_figures.methods_table(ch02_figures.compared(methods, 10))
    assert shown.index.tolist() == [
        "KMeans, k = 10", "nearest frequent word, k = 10", "components, cosine 0.6",
        "Louvain, cosine 0.7", "HDBSCAN, eom",
    ]  # fmt: skip
    assert shown.loc["HDBSCAN, eom", ["largest", "changed"]].tolist() == ["20.0%", "40%"]


def test_words_alone_are_clusters_of_one():
    parts = pd.DataFrame({"sizes": [{"1": 2, "3": 1}, {"5": 1}]})
    assert ch02_figures.without_neighbour(parts, 5) == [0.4, 0]


def test_words_are_looked_up_and_frequent_ones_stand_in():
    found = ch02_figures.look_up(WORDS, ["amelia", "quasar"])
    assert found.index.tolist() == ["amelia", "anne"]  # "in" has too few letters
    assert found.loc["amelia"].tolist() == ["anne", 2, "anne"]
    assert ch02_figures.look_up(WORDS, ["anne", "quasar"]).index.tolist() == ["anne", "burma"]


def test_a_perfect_model_writes_representatives():
    found = ch02_figures.perfect_slugs(["amelia-in-burma"], MAPPING)
    assert found.loc["amelia-in-burma", "perfect model"] == "anne-in-burma"
    assert found.loc["amelia-in-burma", "Token F1"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(("rival", "word"), [(0.6, "lowers"), (0.5, "raises"), (0.4, "raises")])
def test_the_verdict_on_clustering_is_by_the_best_reachable(rival, word):
    assert word in ch02_figures.clustering_verdict({"best_f1": 0.5}, {"best_f1": rival})


def test_sizes_are_ranked_from_the_largest(methods):
    (line,) = ch02_figures.sizes_figure(methods.iloc[:1], 10).data
    assert line.x.tolist() == [1, 1, 2, 3]  # one cluster of three words, then two of one
    assert line.y.tolist() == [3, 3, 1, 1]


def test_texts_name_the_numbers_of_their_figures(methods):
    figure = ch02_figures.ceilings_figure(methods)
    ours, rival = methods.iloc[0], methods.iloc[2]
    assert [line.name for line in figure.data][:2] == ["k-means, best", "k-means, perfect"]
    assert figure.data[1].y[0] == 0.4
    assert "k-means allows a perfect model 0.400 and 0.500" in ch02_figures.ceilings_alt(
        10, ours, rival
    )
    parts = methods.iloc[3:5].assign(degree=[9.0, 2.0])
    alone = ch02_figures.without_neighbour(parts, 4)
    assert len(ch02_figures.threshold_figure(parts, alone).data) == 3
    text = ch02_figures.threshold_alt(parts, alone)
    assert "from 9.0 at cosine 0.6 to 2.00 at 0.65" in text
    assert "grow from 50% to 50%" in text
