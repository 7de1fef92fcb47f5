"""Claims on hyphens and the prefix, of values worked by hand and of records old and new."""

from math import isnan

import numpy as np
import pytest
from chapters import ch09_claims

HYPHENS = np.array([[False, True, True], [False, True, True]])


def over(*values, half=0.0):
    return [{"value": v, "low": v - half, "high": v + half} for v in values]


def test_places_by_hand():
    hyphens = np.isin(np.arange(10), [2, 4, 5, 9])[None]
    assert ch09_claims.hyphen_places(hyphens)[0].tolist() == [-1, -1, 0, -1, 1, 1, -1, -1, -1, 2]
    # A single hyphen is neither first nor last.
    assert (ch09_claims.hyphen_places(np.arange(10)[None] == 3) == -1).all()


def test_heads_that_give_the_prefix_more_than_half_are_counted():
    heads = np.array([[[0, 0.9, 0.7]] * 2, [[0, 0.9, 0.0]] * 2, [[0.9, 0.4, 0.4], [0.9, 0.2, 0.9]]])
    found = ch09_claims.majority(heads, HYPHENS, range(2))
    # Means of 0.8, 0.45 and 0.475; of the second page alone, the last is 0.55.
    assert found == {"value": 1, "low": 1, "high": 2}


def test_a_dip_is_of_the_lower_end_over_the_lowest_layer_between():
    shares = [0.5, 0.3, 0.2, 0.4]
    prefix = np.array([np.full((2, 3), share) for share in shares])
    assert ch09_claims.dip(prefix, HYPHENS, range(2))["value"] == pytest.approx(0.2)
    assert ch09_claims.dip(prefix[[2, 0, 3]], HYPHENS, range(2))["low"] == pytest.approx(-0.3)


def test_an_even_share_at_every_place_is_no_effect_of_place():
    rows = np.arange(24)
    hyphens = np.isin(rows, [3, 7, 11])[None].repeat(2, 0)
    sight = (rows + 2.0)[None].repeat(2, 0)
    places = ch09_claims.hyphen_places(hyphens)
    even = ch09_claims.last_over_first(1 / sight, sight, places, range(2))
    assert [even[key] for key in ("value", "low", "high")] == pytest.approx([1, 1, 1])
    # As a share of 0.5 stays, the prefix outweighs 11 others after 3: four positions to a hyphen.
    half = ch09_claims.last_over_first(np.full((2, 24), 0.5), sight, places, range(2))
    assert half["value"] == pytest.approx(12 / 4)


def test_a_report_leaves_out_what_there_is_not():
    prefix = np.full((2, 2, 3), 0.25)
    found = ch09_claims.claim_report(prefix, prefix[:, None], HYPHENS, range(2))
    assert set(found) == {"majority", "last_over_first", "sight"}
    assert found["sight"] == {"first": 3, "last": 4}
    single = HYPHENS & (np.arange(3) == 1)
    found = ch09_claims.claim_report(prefix[[0, 0, 0]], prefix[[0, 0, 0], None], single, range(2))
    assert set(found) == {"majority", "dip"}


def test_claims_are_read_from_a_record():
    attention = {
        "ratio": over(5.7), "majority": over(4), "dip": over(0.2)[0], "last_over_first": over(2, 3),
        "sight": {"first": 4, "last": 13},
    }  # fmt: skip
    analysis = {"attention": attention}
    assert ch09_claims.hyphens_over_subwords(analysis)["value"] == 5.7
    assert ch09_claims.heads_at_layer_one(analysis)["value"] == 4
    assert ch09_claims.depth_of_u(analysis)["value"] == 0.2
    assert ch09_claims.place_effect(analysis)["value"] == 2
    assert ch09_claims.place_effect(analysis, 2)["value"] == 3
    odds = (0.525 / 0.475) / (0.535 / 0.465)
    assert ch09_claims.reported_place_effect(analysis) == pytest.approx(4 * odds)


def test_a_record_without_them_gives_what_it_holds():
    shares = over(0.5, 0.2, 0.3, 0.4, half=0.03)
    attention = {"heads": {"hyphen": [[0.9, 0.1, 0.6]]}, "prefix": {"hyphen": shares}}
    analysis = {"attention": attention}
    found = ch09_claims.heads_at_layer_one(analysis)
    assert found == {"value": 2, "low": 2, "high": 2}
    found = ch09_claims.depth_of_u(analysis)
    assert found["value"] == pytest.approx(0.2)
    assert found["low"] == pytest.approx(0.2 - 0.03 * 2**0.5)
    assert isnan(ch09_claims.place_effect(analysis)["value"])
    assert isnan(ch09_claims.reported_place_effect(analysis))
    two = {"attention": {"prefix": {"hyphen": shares[:2]}}}
    assert isnan(ch09_claims.depth_of_u(two)["value"])
