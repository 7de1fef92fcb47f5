"""Reports over many rows, against values worked by hand."""

import numpy as np
import pytest
import torch
from chapters import ch09_attention
from chapters.ch09_attention import LEADERS, ROUTES

from vec2slug_lib.common.vocabulary import BOS, EOS, HYPHEN, PAD, SPECIALS
from vec2slug_lib.model.decoder import Decoder, DecoderConfig
from vec2slug_lib.model.interpret import SOURCES, TARGETS, lens, trace_attention
from vec2slug_lib.model.tokenizer import encode_slugs, word_level

PLAIN = torch.arange(20) == HYPHEN
STRINGS = [*SPECIALS, *"abcdefghijklmno"]
TOPICS = np.arange(20) // 2


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = DecoderConfig(
        input_dim=12, embed_dim=16, num_heads=2, num_layers=3, max_slug_tokens=10, vocab_size=20
    )
    return Decoder(config).eval()


@pytest.fixture(scope="module")
def rows():
    """Vectors and ids of twenty slugs of two to four words."""
    random = np.random.default_rng(0)
    tokenizer = word_level(STRINGS[5:])
    slugs = ["-".join(random.choice(STRINGS[5:], 2 + i % 3)) for i in range(20)]
    vectors = torch.from_numpy(random.normal(size=(20, 12)).astype(np.float32))
    return torch.nn.functional.normalize(vectors), encode_slugs(tokenizer, slugs, 10)


def test_routes_by_hand():
    ids = torch.tensor([[BOS, 7, 8, HYPHEN, 9, EOS]])
    found = [[ROUTES[i] for i in row] for row in ch09_attention.routes(ids, PLAIN)[0]]
    assert found[0][:2] == ["prefix", "bos"] or found[0][1] == "itself"
    assert found[2][:4] == ["prefix", "bos", "same word", "itself"]
    assert found[3][:5] == ["prefix", "bos", "same word", "same word", "itself"]
    assert found[4][:6] == ["prefix", "bos", "earlier words", "earlier words", "hyphen", "itself"]


def test_routes_where_hyphens_are_merged_by_hand():
    marks = torch.tensor([token[0] == "-" for token in [*SPECIALS, "-a", "b", "-ab"]])
    ids = torch.tensor([[BOS, 5, 6, 7, 6]])
    found = [[ROUTES[i] for i in row] for row in ch09_attention.routes(ids, marks)[0]]
    assert found[2][:4] == ["prefix", "bos", "hyphen", "itself"]
    assert found[4] == ["prefix", "bos", "hyphen", "earlier words", "hyphen", "itself"]


def test_attention_report_adds_up(model, rows):
    vectors, ids = rows
    found = ch09_attention.attention_report(model, vectors, ids, PLAIN, TOPICS)
    for kind, shares in found["routing"].items():
        np.testing.assert_allclose(np.sum(list(shares.values()), axis=0), 1, atol=1e-5)
        means = [interval["value"] for interval in found["prefix"][kind]]
        np.testing.assert_allclose(shares["prefix"], means, atol=1e-6)
        np.testing.assert_allclose(np.mean(found["heads"][kind], axis=1), means, atol=1e-6)
    assert found["counts"]["bos"] == found["counts"]["eos"] == 20
    assert found["counts"]["hyphen"] == int((ids == HYPHEN).sum())
    assert found["even"]["bos"] == 0.5
    assert sum(found["spread"]["hyphen"]["counts"][0]) == found["counts"]["hyphen"]
    # <bos> alone writes a first word without a hyphen before it.
    bos = found["prefix"]["bos"][0]["value"] * 20
    hyphens = found["prefix"]["hyphen"][0]["value"] * found["counts"]["hyphen"]
    opened = found["writes"]["first subword"][0]["value"]
    assert opened == pytest.approx((bos + hyphens) / (20 + found["counts"]["hyphen"]), abs=1e-6)
    high, low = (found["prefix"][kind][1]["value"] for kind in ("hyphen", "subword"))
    assert found["ratio"][1]["value"] == pytest.approx(high / low)


def test_attention_report_against_a_slow_plain_version(model, rows):
    vectors, ids = rows
    found = ch09_attention.attention_report(model, vectors, ids, PLAIN, TOPICS)
    seen, shares, entropies = trace_attention(model, vectors, ids).attention[2].mean(1), [], []
    heads = trace_attention(model, vectors, ids).attention[2]
    for row in range(20):
        for place in range(ids.shape[1]):
            if ids[row, place] == HYPHEN:
                shares.append(float(seen[row, place + 1, 0]))
                bits = [
                    -sum(p * np.log2(p) for p in head[place + 1].tolist() if p > 0)
                    for head in heads[row]
                ]
                entropies.append(np.mean(bits))
    assert found["prefix"]["hyphen"][2]["value"] == pytest.approx(np.mean(shares), abs=1e-6)
    assert found["entropy"]["hyphen"][2]["value"] == pytest.approx(np.mean(entropies), abs=1e-5)


def test_lens_report_counts_each_token_once(model, rows):
    vectors, ids = rows
    found = ch09_attention.lens_report(model, vectors, ids, PLAIN, STRINGS, TOPICS)
    assert set(found["leads"]) == set(TARGETS) - {"later subword"}  # words are whole here
    for kind, leads in found["leads"].items():
        for name in ("first", "settled"):
            assert len(found[name][kind]) == 5
            assert sum(found[name][kind]) == pytest.approx(1)
        assert found["agrees"][kind][-1]["value"] == 1
        assert len(found["stopwords"][kind]) == 5
        for layer, shares in enumerate(found["leaders"][kind]):
            assert sum(shares) == pytest.approx(1)
            assert shares[0] == pytest.approx(leads[layer]["value"])
        # Settled in the last layer or before is to lead at the end.
        settled = 1 - found["settled"][kind][-1]
        assert settled == pytest.approx(leads[-1]["value"])
        assert sum(found["first"][kind][:1]) == pytest.approx(leads[0]["value"])


def test_stopwords_and_agreement_against_a_slow_plain_version(model, rows):
    vectors, ids = rows
    strings = [*STRINGS[:5], "the", "of", *(f"w{i}" for i in range(13))]
    found = ch09_attention.lens_report(model, vectors, ids, PLAIN, strings, TOPICS)
    leader = lens(model, vectors, ids).leader
    first = [
        (row, place)
        for row in range(20)
        for place in range(ids.shape[1] - 1)
        if int(ids[row, place]) in (BOS, HYPHEN)
    ]
    for layer in range(4):
        leads = [int(leader[layer, row, place]) for row, place in first]
        agree = [
            int(leader[3, row, place]) == i for (row, place), i in zip(first, leads, strict=True)
        ]
        assert found["agrees"]["first subword"][layer]["value"] == pytest.approx(np.mean(agree))
        stops = [i in (5, 6) for i in leads]
        assert found["stopwords"]["first subword"][layer]["value"] == pytest.approx(np.mean(stops))
    written = [int(ids[row, place + 1]) in (5, 6) for row, place in first]
    assert found["stopwords"]["first subword"][4]["value"] == pytest.approx(np.mean(written))


def test_leaders_by_hand():
    ids = torch.tensor([[BOS, 7, HYPHEN, 8, EOS, PAD]])
    leader = torch.tensor([[[7, 8, 7, 9, 5]], [[8, EOS, HYPHEN, EOS, PAD]]])
    found = [
        [LEADERS[i] for i in row[0]] for row in ch09_attention.leader_kinds(leader, ids, PLAIN)
    ]
    assert found[0][:4] == ["the token written", "written later", "written before", "another"]
    assert found[1][:4] == [
        "written later", "hyphen or eos", "hyphen or eos", "the token written"
    ]  # fmt: skip


def test_late_tokens_say_what_led():
    ids = torch.tensor([[BOS, 5, HYPHEN, 6, EOS]])
    leader = torch.tensor([[[9, 9, 7, 9]], [[5, HYPHEN, 6, EOS]]])
    late = np.array([[False, False, True, False]])
    assert ch09_attention.late_tokens(leader, ids, late, STRINGS) == [
        {"text": "a-", "token": "b", "leaders": ["c", "b"]}
    ]


def test_kinds_that_do_not_occur_are_left_out():
    kinds = np.array([[0, 0, -1], [0, -1, -1]])
    found = ch09_attention.by_kind(np.ones((2, 2, 3)), kinds, SOURCES, range(2))
    assert found == {"bos": [{"value": 1.0, "low": 1.0, "high": 1.0}] * 2}


def test_intervals_are_drawn_over_topics():
    values, kinds = np.array([[[0.0], [0], [1], [1]]]), np.zeros((4, 1), int)
    pages, topics = (
        ch09_attention.by_kind(values, kinds, ["bos"], labels)["bos"][0]
        for labels in (range(4), [5, 5, 7, 7])
    )
    # Two topics that are all 0 and all 1 say less than four pages do.
    assert pages["value"] == topics["value"] == 0.5
    assert (topics["low"], topics["high"]) == (0, 1)
    assert ch09_attention.by_kind(values, kinds, ["bos"], [5] * 4)["bos"][0]["low"] != 0
