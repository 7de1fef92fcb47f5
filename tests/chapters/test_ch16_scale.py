"""Arithmetic of chapter 16 on rates that can be multiplied by hand."""

from __future__ import annotations

import pandas as pd
import pytest
from chapters import ch16_scale


def step(rows, seconds, a_row=0.0, streaming=True, exponent=1.0):
    return {
        "measured": [{"rows": rows, "seconds": seconds, "peak_mib": 1.4}],
        "bytes_a_row": a_row, "streaming": streaming, "exponent_memory": 0.0,
        "exponent_seconds": exponent, "exponent_seconds_last": exponent,
    }  # fmt: skip


RECORDS = {
    "scaling": {
        "machine": {"cores": 2}, "workers": 4,
        "steps": {
            "corpus": step(1000, 9), "embedding": step(1000, 1.8),
            "clustering": step(100, 3.6, 1536, False),
            "leaks": step(100, 1, 3072, False), "vocabulary": step(100, 1, 16, False),
            "split": step(100, 1, 8, False),
        },
    },
    "embedding": {"documents_a_second": {"bfloat16": 10, "float32": 5}, "threads": 2},
    "inference": {"models": {"small": {"throughput": {"int8": {"median": 36}}}}},
}  # fmt: skip


def test_hours_by_hand():
    hours = ch16_scale.step_hours(RECORDS, 20_000, 10_000, 384)
    # 20,000 documents: 180 s of 4 workers. Of 10,000 pairs: 2,000 s of 2 threads; 18 s of 2 cores;
    # 360 s of 2 cores, ten times as long a row since there are a hundred times as many; 360 s of 2.
    wanted = [720, 4000, 36, 7200, 720]
    assert [3600 * value for value in hours.values()] == pytest.approx(wanted)


def test_bought_vectors_are_not_made_here_too():
    local, hosted = (ch16_scale.step_hours(RECORDS, 10_000, 10_000, w) for w in (384, 768))
    assert set(local) - set(hosted) == {ch16_scale.LOCAL}
    assert {name: hosted[name] / local[name] for name in hosted} == pytest.approx(
        {
            "filter, local and global": 1,
            "bookkeeping of embedding": 2,
            "topics": 2,
            "slugs, int8, the search alone": 1,
        }
    )
    frame = ch16_scale.hours_table(local, hosted, 5.0)
    here, bought = frame.loc["in all"].dropna()
    assert here == pytest.approx(sum(local.values()))
    assert bought == pytest.approx(sum(hosted.values()))
    assert frame.loc["train 3i, on a GPU"].dropna().tolist() == [5]
    assert frame[["core-hours, vectors bought"]].loc[ch16_scale.LOCAL].isna().all()


def test_the_share_is_that_before_pairs_are_drawn():
    steps = [("raw", 200), ("language", 100), ("slug_frequency", 50), ("selected", 40)]
    funnel = {"steps": [{"name": name, "kept": kept} for name, kept in steps]}
    assert ch16_scale.kept_share(funnel) == 0.25


def test_dollars_by_hand():
    # A million tokens of one pair each cost 0.02 dollars, by batch half of it.
    assert ch16_scale.batch_dollars(1000, 1000, 0.02) == pytest.approx(0.01)
    dollars = ch16_scale.dollars(1000, 1000, 0.02)
    assert dollars["vectors bought, directly"] == pytest.approx(0.02)


def test_bytes_by_hand():
    pairs = pd.DataFrame({"slug": ["a-b", "a-b-c"], "token_count": [100, 300]})
    frame = ch16_scale.bytes_table(pairs, 1536, 10**9)
    assert frame["bytes a pair"].tolist() == [800, 6144, 1540, 1536, 44]
    assert frame["TB in all"].iloc[0] == pytest.approx(0.8)


def test_what_breaks_first():
    limits = ch16_scale.memory_limits(RECORDS["scaling"]["steps"], 384, 100)
    assert list(limits) == ["check for leaks", "training, all vectors in float32", "topics",
                            "vocabulary", "split"]  # fmt: skip
    assert limits["check for leaks"] == pytest.approx(100 * 2**30 / 3072)
    assert ch16_scale.first_says(limits, 100, 0.5) == (
        'What breaks first is memory, in the step "check for leaks": beyond 35 million pairs '
        "with bought vectors, 70 million documents, it no longer fits into 100 GiB."
    )


def test_growth_is_told():
    steps = RECORDS["scaling"]["steps"]
    assert ch16_scale.growth_says(steps) == "Time grows with the rows and no faster in every step."
    steep = {**steps, "topics": step(1, 1, exponent=1.25)}
    assert ch16_scale.growth_says(steep).endswith("exponents above 1.1 are topics 1.25.")
    assert ch16_scale.growth_table(steps).loc["leaks", "streams"] == "no"
    assert len(ch16_scale.time_figure(steps).data) == len(steps)


def test_times():
    assert ch16_scale.times({"timeout": 2, "429": 1}) == "2 × timeout, 1 × 429"
