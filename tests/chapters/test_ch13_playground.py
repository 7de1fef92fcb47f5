"""Sentences of the playground's chapter follow the benchmark, whichever way it came out."""

import pandas as pd
import pytest
from chapters import ch13_playground

from vec2slug_lib.common.files import read_json
from vec2slug_lib.common.workspace import current


def test_a_cause_is_the_first_step_that_changes_a_slug():
    articles = {
        "same": {"vector": "a-b-c", "text": "a-b-c"},
        "read": {"vector": "d-e-f", "text": "d-e"},
        "reranked": {"vector": "g-h", "text": "g-h"},
    }
    frame = ch13_playground.articles_table(["a-b-c", "d-e-f", "g-h-i"], articles)
    causes = [ch13_playground.CAUSES[kind] for kind in ("text", "vector")]
    assert frame["cause"].tolist() == ["–", *causes]
    says = ch13_playground.articles_says(frame)
    assert "on 2 of the 3 articles" in says
    assert "on 1 where" in says
    assert "On all 1" in ch13_playground.articles_says(frame.loc[["same"]])


def test_a_busy_machine_is_named():
    times = pd.Series([1.0, 2.0])
    assert "preliminary" in ch13_playground.speed_says(times, 2, False)
    assert "preliminary" not in ch13_playground.speed_says(times, 2, True)


def test_agreement_says_how_close_the_others_are():
    agreement = {"rows": 500, "same": 498, "largest_gap": 0.00041}
    assert ch13_playground.agreement_says(agreement) == (
        "The best slug is the same for 498 of them. For the 2 others, the command line's scores of "
        "the two slugs are no more than 0.0005 apart."
    )
    assert "others" not in ch13_playground.agreement_says({**agreement, "same": 500})


@pytest.mark.parametrize(
    ("steps", "median", "end"),
    [
        (20, 300.0, "a slug would still take 200 ms, so the 150 that we had aimed at are out of"),
        (10, 140.0, "The 150 ms that we had aimed at hold."),
        (10, 160.0, "The 150 ms that we had aimed at do not hold."),
    ],
)
def test_the_aim_is_out_of_reach_met_or_missed(steps, median, end):
    text = ch13_playground.call_says(10.0, 40.0, steps, median)
    assert text.startswith("so 25% of it would be spent on a single one, too.")
    assert end in text


def test_every_file_is_explained_and_every_number_there():
    record = read_json(current().data / "benchmarks" / "playground.json")
    frame = ch13_playground.download_table(record["bytes"])
    assert frame["MB"].sum() == pytest.approx(sum(record["bytes"].values()) / 1e6)
    numbers = ch13_playground.numbers(record)
    assert numbers["agreement_same"] <= numbers["agreement_rows"]
    times = {name: pd.Series(values) for name, values in record["milliseconds"].items()}
    assert [trace.name for trace in ch13_playground.time_figure(times).data] == list(times)
