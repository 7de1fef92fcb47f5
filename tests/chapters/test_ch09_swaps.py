"""Another page's prefix: who sees which, and what a swap must not change."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from chapters.ch09_ablation import measure, selections, swap_report
from chapters.ch09_swaps import other_pages, positions_in_sight, swap

from tests.chapters.test_ch09_ablation import ROWS, make_analysed

KINDS = ("hyphen", "subword", "bos", "hyphen and subword", "everything", "routing heads")


@pytest.fixture(scope="module", params=[{}, {"merged": True}, {"head_dim": 8, "tied": True}])
def analysed(request):
    return make_analysed(**request.param)


def pairs(analysed, others):
    return np.concatenate([analysed.vectors, analysed.vectors[others]], axis=1)


def test_who_sees_which_prefix_by_hand():
    selected = torch.tensor([[[False, True, False]]])  # of three tokens the second
    assert positions_in_sight(selected)[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0],  # the other prefix
        [0, 1, 0, 0, 0],  # the own prefix
        [0, 1, 1, 0, 0],
        [1, 0, 1, 1, 0],
        [0, 1, 1, 1, 1],
    ]


def test_heads_are_routed_one_by_one():
    selected = torch.tensor([[[True], [False]]])
    seen = positions_in_sight(selected)
    assert seen[0, :, 2, :2].tolist() == [[True, False], [False, True]]


def test_the_own_prefix_in_place_of_another_s_changes_nothing(analysed):
    ids = analysed.encode(analysed.slugs)
    whole = measure(analysed, ids)
    same = replace(analysed, vectors=pairs(analysed, np.arange(ROWS)))
    for selected in selections(analysed, [(0, 1), (1, 0)]).values():
        with swap(analysed.model, selected):
            outcome = measure(same, ids)
        np.testing.assert_allclose(outcome.losses, whole.losses, atol=1e-5)
        np.testing.assert_allclose(outcome.own, whole.own, atol=1e-5)
        assert outcome.slugs.tolist() == whole.slugs.tolist()
    assert measure(analysed, ids).losses.tolist() == whole.losses.tolist()


@pytest.mark.parametrize("merged", [False, True])
def test_all_tokens_with_another_s_prefix_are_the_other_page_s_decoder(merged):
    analysed, others = make_analysed(merged), np.roll(np.arange(ROWS), 3)
    ids = analysed.encode(analysed.slugs)
    expected = measure(replace(analysed, vectors=analysed.vectors[others]), ids)
    with swap(analysed.model, selections(analysed, [])["everything"]):
        outcome = measure(replace(analysed, vectors=pairs(analysed, others)), ids)
    np.testing.assert_allclose(outcome.losses, expected.losses, atol=1e-5)
    assert outcome.slugs.tolist() == expected.slugs.tolist()
    assert outcome.slugs.tolist() != analysed.slugs


def test_the_bag_of_words_head_reads_the_own_page():
    analysed, others = make_analysed(head_dim=8, tied=True), np.roll(np.arange(ROWS), 3)
    with torch.no_grad():
        analysed.model.embedding_projection.weight.zero_()  # so the head alone knows the page
    ids = analysed.encode(analysed.slugs)
    with swap(analysed.model, selections(analysed, [])["everything"]):
        outcome = measure(replace(analysed, vectors=pairs(analysed, others)), ids)
    np.testing.assert_allclose(outcome.losses, measure(analysed, ids).losses, atol=1e-5)


def test_a_decoder_that_ignores_the_prefix_pays_nothing():
    analysed = make_analysed()
    with torch.no_grad():
        analysed.model.embedding_projection.weight.zero_()
    ids = analysed.encode(analysed.slugs)
    report = swap_report(analysed, ids, measure(analysed, ids), selections(analysed, [(0, 1)]))
    assert set(report) == {"nothing", *KINDS}
    for swapped in report.values():
        assert swapped["added"]["all"]["value"] == pytest.approx(0, abs=1e-6)
        assert swapped["same"] == 1
        assert swapped["lost"]["value"] == swapped["gained"]["value"] == 0


def test_tokens_without_the_other_prefix_lose_nothing():
    analysed, others = make_analysed(), np.roll(np.arange(ROWS), 3)
    ids = analysed.encode(analysed.slugs)
    whole = measure(analysed, ids).losses
    with swap(analysed.model, selections(analysed, [])["hyphen"]):
        swapped = measure(replace(analysed, vectors=pairs(analysed, others)), ids).losses
    before = torch.cumsum(analysed.marks[ids], 1)[:, :-1].numpy() == 0
    np.testing.assert_allclose(swapped[before], whole[before], atol=1e-5)
    assert abs(swapped - whole)[~before].max() > 1e-3


def test_a_swap_is_scored_against_both_pages():
    analysed = make_analysed()
    ids = analysed.encode(analysed.slugs)
    report = swap_report(analysed, ids, measure(analysed, ids), selections(analysed, [(0, 1)]))
    other = analysed.vectors[other_pages(analysed.topics)]
    moved = measure(replace(analysed, vectors=other), ids)
    assert report["everything"]["f1"]["value"] == pytest.approx(moved.f1.mean())
    assert report["everything"]["slugs"] == moved.slugs[:5].tolist()
    for swapped in report.values():
        change = swapped["other"]["value"] - report["nothing"]["other"]["value"]
        assert swapped["gained"]["value"] == pytest.approx(change)


def test_other_pages_are_of_other_topics_each_once():
    topics = np.random.default_rng(1).integers(0, 5, 60)
    others = other_pages(topics)
    assert sorted(others) == list(range(60))
    assert (topics[others] != topics).all()
    assert other_pages(topics).tolist() == others.tolist()
    assert other_pages(topics, seed=1).tolist() != others.tolist()


def test_where_a_topic_has_over_half_no_page_is_its_own_other():
    others = other_pages([1, 1, 1, 1, 2])
    assert (others != np.arange(5)).all()
    assert others[4] != 4
    assert other_pages([1]).tolist() == [0]
