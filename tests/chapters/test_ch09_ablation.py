"""A tiny decoder analysed: knockouts, heads and steps against what can be worked out."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from chapters import ch09_ablation, ch10_steps
from chapters.ch09_ablation import (
    DRAWS,
    AnalysedModel,
    analyse,
    greedy_slugs,
    random_heads,
    routing_heads,
    selections,
)
from chapters.ch10_steps import CANDIDATES, LEADERS, UNIT

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.slugs import is_valid
from vec2slug_lib.common.vocabulary import EOS, HYPHEN
from vec2slug_lib.data.dataset import Dataset
from vec2slug_lib.inference.beam_search import greedy
from vec2slug_lib.inference.settings import DecodingConfig
from vec2slug_lib.model import merged_hyphens
from vec2slug_lib.model.decoder import CachedDecoder, Decoder, DecoderConfig
from vec2slug_lib.model.tokenizer import train_bpe

SLUGS = ["the-bee-of-the-hive", "ants-in-the-hill", "bees-and-ants-and-hives"]
ROWS = 8


def make_analysed(merged=False, layers=2, **shape):
    """Random weights that tell pages apart and like to end words and slugs."""
    tokenizer = train_bpe(SLUGS * 9, 90, merged)
    torch.manual_seed(1)
    config = DecoderConfig(
        input_dim=12, embed_dim=16, num_heads=2, num_layers=layers,
        vocab_size=tokenizer.get_vocab_size(), **shape,
    )  # fmt: skip
    model = Decoder(config).eval()
    with torch.no_grad():
        model.embedding_projection.weight.mul_(30)
        model.position_embedding.weight.mul_(0.3)
        model.output_projection.bias[[EOS, HYPHEN]] += 3
    vectors = np.random.default_rng(0).normal(size=(ROWS, 12)).astype(np.float32)
    references = [SLUGS[i % 3] for i in range(ROWS)]
    topics = [i // 2 for i in range(ROWS)]
    written = AnalysedModel(model, tokenizer, vectors, references, references, topics)
    return replace(written, slugs=greedy_slugs(written))


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "merged"])
def analysed(request):
    return make_analysed(request.param)


@pytest.fixture(scope="module")
def found(analysed):
    return analyse(analysed)


def test_greedy_without_a_cache_is_greedy():
    analysed = make_analysed()
    config = DecodingConfig(max_tokens=24)
    expected = greedy(CachedDecoder(analysed.model), analysed.vectors, analysed.strings, config)
    assert analysed.slugs == expected


def test_a_knockout_of_nothing_costs_nothing(found):
    nothing = found["cuts"]["nothing"]
    assert nothing["added"]["all"] == {"value": 0, "low": 0, "high": 0}
    assert nothing["reference"] == {"value": 0, "low": 0, "high": 0}
    assert nothing["same"] == 1
    assert nothing["lost"]["value"] == 0


def test_without_attention_to_the_prefix_all_pages_are_one(found):
    everything = found["cuts"]["everything"]
    assert len(set(everything["slugs"])) == 1
    assert everything["diversity"] == pytest.approx(1 / ROWS, abs=1e-5)
    assert everything["added"]["all"]["value"] != 0


def test_every_knockout_leaves_slugs_valid_and_is_told_apart(found):
    cuts = found["cuts"]
    assert [name for name in cuts if "random" in name] == [
        f"random heads {draw + 1}" for draw in range(DRAWS)
    ]
    assert all(is_valid(slug) for knockout in cuts.values() for slug in knockout["slugs"])
    losses = [cuts[name]["loss"] for name in ("nothing", "hyphen", "subword", "bos", "everything")]
    assert len(set(losses)) == 5


def test_a_record_is_json_with_short_numbers(found, analysed):
    assert found["merged"] == merged_hyphens.is_merged(analysed.strings)
    assert (found["rows"], found["drawn_over"]) == (ROWS, "topics")
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert ch09_ablation.rounded({"a": [(1.23456789, 2)], "b": "c"}) == {
        "a": [[1.23457, 2]], "b": "c"
    }  # fmt: skip


def test_routing_heads_are_as_many_as_a_layer_has():
    assert routing_heads([[0.1, 0.9], [0.8, 0.2], [0.85, 0.3]]) == [(0, 1), (2, 0)]


def test_random_heads_are_others(analysed):
    routing = [(0, 1), (1, 0)]
    ids = analysed.encode(analysed.slugs)
    chosen = selections(analysed, routing) | random_heads(analysed, routing)
    for name, blocked in chosen.items():
        if "heads" not in name:
            continue
        knockout = [(i, j) for i in range(2) for j in range(2) if blocked(i, ids)[0, j].all()]
        assert len(knockout) == 2
        assert (set(knockout) == set(routing)) == (name == "routing heads")
        assert (set(knockout) & set(routing) == set()) == (name != "routing heads")


@pytest.mark.parametrize("run", ["plain"], indirect=True)  # the other is proofread by MiniLM
def test_a_release_is_taken_as_its_own_writer(release):
    vectors = np.random.default_rng(0).normal(size=(2, 24)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    frame = pd.DataFrame({"slug": ["bee-of-hive", "ant-of-hill"], "cluster": [3, 4]})
    pages = Dataset(frame, vectors)
    analysed = ch09_ablation.analysed_release(release, pages)
    assert all(is_valid(slug) for slug in analysed.slugs)
    assert analysed.references == ["bee-of-hive", "ant-of-hill"]
    assert analysed.topics == [3, 4]


def test_a_release_for_other_vectors_is_refused(release):
    pages = Dataset(pd.DataFrame({"slug": ["bee-of-hive"]}), np.eye(1, 12, dtype=np.float32))
    with pytest.raises(Vec2SlugError, match="width 24"):
        ch09_ablation.analysed_release(release, pages)


def test_steps_are_those_of_the_model(analysed):
    ranks, row = [1, 2, 5, len(analysed.strings)], 3
    found = ch10_steps.steps_of(analysed, row, ranks)
    ids = analysed.encode(analysed.slugs[row : row + 1])
    vectors = torch.from_numpy(analysed.vectors[row : row + 1])
    with torch.no_grad():
        chances = analysed.model(vectors, ids[:, :-1])[0].softmax(-1)
    assert [step["token"] for step in found] == [analysed.strings[i] for i in ids[0, 1:]]
    for t, step in enumerate(found):
        own, ordered = chances[t], chances[t].sort(descending=True).values
        assert step["p"] == pytest.approx(UNIT * float(own[ids[0, t + 1]]), abs=0.51)
        assert [p for _, p in step["top"]] == pytest.approx(
            (UNIT * ordered[:LEADERS]).tolist(), abs=0.51
        )
        # The last layer's lens is the output.
        assert step["lens"][-1] == step["top"][:CANDIDATES]
        assert len(step["lens"]) == 3
        for shares in step["attention"]:
            assert len(shares) == t + 2
            assert sum(shares) == pytest.approx(UNIT, abs=len(shares))
        logs = [-100 * float(ordered[rank - 1].log10()) for rank in ranks]
        assert step["curve"] == pytest.approx(logs, abs=0.6)


def test_the_viewer_s_data_can_end_no_element(capsys, monkeypatch):
    monkeypatch.setenv("VEC2SLUG_BOOK", "1")
    shown = []
    monkeypatch.setattr(ch10_steps, "display_html", lambda markup, raw: shown.append(markup))
    ch10_steps.show_steps({"</script>": {"examples": []}}, 'a "label"')
    (markup,) = shown
    body = markup.split('type="application/json">')[1].split("</script>")[0]
    assert json.loads(body) == {"unit": UNIT, "models": {"</script>": {"examples": []}}}
    assert 'aria-label="a &quot;label&quot;"' in markup


def test_outside_the_book_the_viewer_brings_its_script(monkeypatch):
    monkeypatch.delenv("VEC2SLUG_BOOK", raising=False)
    shown = []
    monkeypatch.setattr(ch10_steps, "display_html", lambda markup, raw: shown.append(markup))
    ch10_steps.show_steps({}, "label")
    assert "class Viewer" in shown[0]
    assert ".v2s-steps" in shown[0]
