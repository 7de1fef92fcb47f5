"""Stopping rules and their records, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from chapters import ch08_stopping as ch08

from vec2slug_lib.inference.beam_search import search
from vec2slug_lib.inference.settings import DecodingConfig


def interval(low, high):
    return {"value": (low + high) / 2, "low": low, "high": high}


def rule(steps, lower=0.0, changed=0.0):
    """A record of a stopping rule, as far as this chapter reads it."""
    return {
        "steps": steps,
        "seconds": 2.5,
        "lower_scores": lower,
        "changed": changed,
        "step_counts": [0, 1, 3],
        "difference": {"token_f1": interval(-0.02, -0.01)},
    }


STOPPING = {"k finished": rule(10, 0.25), "optimal": rule(15), "to the end": rule(20, 0, 0.125)}


@pytest.fixture
def traced():
    rows = [
        {"active": "a", "log_p": -1.0, "finished": None, "score": None, "count": 0},
        {"active": "a-b", "log_p": -5.5, "finished": "a-c", "score": 2.0, "count": 1},
        {"active": "a-b-c", "log_p": -7.5, "finished": "a-c", "score": 2.0, "count": 2},
        {"active": None, "log_p": None, "finished": "a-d", "score": 2.5, "count": 3},
    ]
    settings = {"length_reward": 1.5, "reward_cap": 6, "beam_width": 3}
    return {"trace": rows, "settings": settings, "reference": "a-d-e"}


def test_a_small_model_is_searched_like_any_other():
    def probabilities(text):
        return [0.9, 0.1, 0, 0] if text and text[-1] != "-" else [0, 0, 0.75, 0.25]

    model = ch08.SmallModel(["bee", "hive"], probabilities)
    rules = DecodingConfig(2, length_reward=0, min_tokens=1, min_words=2, repeat_penalty=0)
    found = search(model, np.zeros((2, 1), np.float32), model.tokens, rules).candidates
    assert [best[0].slug for best in found] == ["bee-bee"] * 2
    # Where no slug may end, the hyphen has the probability of <eos> as well.
    assert found[0][0].score == pytest.approx(np.log(0.75**2 * 0.9), abs=1e-6)


def test_a_trace_has_its_bound_and_the_steps_at_which_rules_stop(traced):
    trace = ch08.trace_table(traced)
    assert trace["bound"].dropna().tolist() == [8, 3.5, 1.5]
    stops = ch08.stopping_steps(trace, traced["settings"]["beam_width"])
    assert stops == {"optimal": 3, "k finished": 4}
    bound, best = ch08.trace_figure(trace, stops).data
    assert (list(bound.x), list(bound.y)[:3]) == ([1, 2, 3, 4], [8, 3.5, 1.5])
    assert list(best.text)[1:] == ["a-c", "a-c", "a-d"]
    assert "2.50, at step 3, where" in ch08.trace_alt(trace, stops)
    assert ch08.trace_findings(traced, trace, stops) == {
        "trace_reference": "a-d-e",
        "trace_slug": "a-d",
        "trace_optimal": 3,
        "trace_first": 4,
        "trace_end": 4,
    }


def test_a_search_to_the_end_stops_where_nothing_is_left(traced):
    rows = [row | {"score": -9.0} for row in traced["trace"]]
    trace = ch08.trace_table(traced | {"trace": rows})
    assert ch08.stopping_steps(trace, 3)["optimal"] == 4


def test_rules_are_compared_in_steps():
    found = ch08.rules_table(STOPPING)
    assert found["of k finished"].tolist() == ["1.00×", "1.50×", "2.00×"]
    assert found.loc["k finished", "lower score"] == "25.0%"
    line = ch08.running_figure(STOPPING).data[1]
    assert (line.name, list(line.y)) == ("optimal", [1, 1, 0.75])
    assert ch08.running_alt(STOPPING).endswith("k finished 10.0, optimal 15.0, to the end 20.0.")


def test_what_is_said_of_the_rules():
    found = ch08.stopping_findings(STOPPING, {"value": 1.5, "low": 1.25, "high": 1.75})
    assert found["same"] == 0.875
    assert found["saved"] == 0.25
    assert found["first_ratio"] == pytest.approx(2 / 3)
    assert (found["optimal_ratio"], found["full_ratio"]) == (1.5, 2)
    assert found["first_moves"] == "falls"
    assert found["optimal_costs"] == "costs more than stopping at k, as the study found"
    assert found["optimal_steps"] == "1.50 (1.25 to 1.75)"


def test_the_cheaper_rule_is_told_by_the_interval_of_the_ratio():
    verdict = ch08.cost_verdict(interval(0.9, 0.95))
    assert verdict == "is the cheaper of the two here, unlike in the study"
    verdict = ch08.cost_verdict(interval(0.95, 1.05))
    assert verdict == "cannot be told from stopping at k by its steps"
