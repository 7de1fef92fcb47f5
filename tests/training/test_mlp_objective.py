from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from chapters import ch03_diagnose
from hypothesis import given
from hypothesis import strategies as st

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.model.mlp import MLP, MLPConfig, hidden, load_mlp, outputs, predict, save_mlp
from vec2slug_lib.training import mlp_objective
from vec2slug_lib.training.mlp_objective import Rows, WordSets, balance_weights, focal_loss, losses
from vec2slug_lib.training.trainer import TrainingConfig, TrainingResult, train

torch.set_num_threads(1)  # tiny matrices; and the same sums in every process
CPU = torch.device("cpu")
TINY = MLPConfig(input_dim=8, hidden_dim=24, num_layers=2, vocab_size=20)
NAMES = [f"w{i}" for i in range(TINY.vocab_size)]
QUICK = TrainingConfig(epochs=3, batch_size=16, learning_rate=3e-3, evaluate_every=4, bf16=False)


def word_sets(n: int, seed: int = 0) -> WordSets:
    """Slugs that the embedding determines: its largest coordinate gives words and length."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, TINY.input_dim, n)
    vectors = np.eye(TINY.input_dim, dtype=np.float32)[kinds]
    vectors += rng.normal(0, 0.1, vectors.shape).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return WordSets(vectors, [list(range(k, k + 3 + k % 6)) for k in kinds.tolist()])


def fit(
    config: TrainingConfig, rows: WordSets, val: WordSets, out_dir, loss="bce", score=None
) -> TrainingResult:
    objective = mlp_objective.MLPObjective(TINY, config, rows, val, loss, CPU)
    return train(objective, config, out_dir, score)


@pytest.mark.parametrize(
    ("width", "layers", "count", "reported"),
    [(768, 2, 5_620_622, 5.6), (1024, 4, 9_853_838, 9.8)],
)
def test_parameter_counts_are_the_study_s(width, layers, count, reported):
    with torch.device("meta"):
        model = MLP(MLPConfig(1536, width, layers, 5000))
    assert sum(p.numel() for p in model.parameters()) == count
    assert math.floor(count / 1e5) / 10 == reported


def test_forward_is_linear_relu_and_two_heads():
    model, x = MLP(TINY).eval(), torch.randn(3, 8)
    first, second = model.layers
    wanted = torch.relu(second(torch.relu(first(x))))
    torch.testing.assert_close(model.hidden(x), wanted)
    tokens, lengths = model(x)
    torch.testing.assert_close(tokens, wanted @ model.token_head.weight.T + model.token_head.bias)
    assert lengths.shape == (3, 6)


def test_scaled_input_multiplies_the_vector_and_nothing_else():
    plain, scaled = MLP(TINY).eval(), MLP(MLPConfig(**{**vars(TINY), "scaled_input": True})).eval()
    scaled.load_state_dict(plain.state_dict())
    x = torch.randn(3, 8)
    for ours, wanted in zip(scaled(x), plain(x * 8**0.5), strict=True):
        torch.testing.assert_close(ours, wanted)


def test_targets_are_multi_hot_without_padding():
    data = WordSets(np.zeros((2, 8), np.float32), [[3, 0, 3], [19, 1, 2, 4]])
    rows = Rows(data, TINY, CPU)
    hot = rows.targets(torch.tensor([1, 0]))
    assert [row.nonzero()[:, 0].tolist() for row in hot] == [[1, 2, 4, 19], [0, 3]]
    assert rows.lengths.tolist() == [0, 1]  # a repeated word counts


logits = st.lists(st.floats(-20, 20), min_size=1, max_size=12)


@given(logits, st.randoms(use_true_random=False))
def test_focal_with_gamma_zero_is_binary_cross_entropy(values, random):
    z = torch.tensor(values)
    y = torch.tensor([float(random.random() < 0.5) for _ in values])
    wanted = F.binary_cross_entropy_with_logits(z, y)
    torch.testing.assert_close(focal_loss(z, y, gamma=0.0), wanted)
    assert focal_loss(z, y) <= wanted + 1e-6


def test_focal_loss_by_hand():
    # p = 0.9 in both; one is right, the other wrong: 0.1^2 ln(1/0.9) and 0.9^2 ln(1/0.1).
    z = torch.full((2,), math.log(9.0))
    wanted = (0.01 * -math.log(0.9) + 0.81 * -math.log(0.1)) / 2
    assert float(focal_loss(z, torch.tensor([1.0, 0.0]))) == pytest.approx(wanted, rel=1e-5)


def test_focal_gradient_survives_a_certain_and_right_answer():
    z = torch.tensor([60.0, -60.0, 0.0], requires_grad=True)
    focal_loss(z, torch.tensor([1.0, 0.0, 1.0])).backward()
    assert torch.isfinite(z.grad).all()
    assert z.grad[0] == z.grad[1] == 0


def test_losses_by_hand():
    # All logits zero: ln 2 for each of 20 clusters, ln 6 for the length.
    model, rows = MLP(TINY).eval(), Rows(word_sets(5), TINY, CPU)
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter.requires_grad_(False))
    tokens, lengths = losses(model, rows, torch.arange(5), "bce", None)
    assert float(tokens) == pytest.approx(math.log(2))
    assert float(lengths) == pytest.approx(math.log(6))
    tokens, _ = losses(model, rows, torch.arange(5), "focal", None)
    assert float(tokens) == pytest.approx(math.log(2) / 4)
    tokens, _ = losses(model, rows, torch.arange(5), "summed", None)
    assert float(tokens) == pytest.approx(20 * math.log(2))
    hot = rows.targets(torch.arange(5))
    tokens, _ = losses(model, rows, torch.arange(5), "balanced", torch.full((20,), 3.0))
    assert float(tokens) == pytest.approx(math.log(2) * float((1 + 2 * hot).mean()))


def test_balance_weights_make_one_half_the_best_constant():
    slugs = [[0, 1, 2]] * 30 + [[0, 1, 1]] * 10 + [[0, 3, 4]] * 59
    weights = balance_weights(slugs, 6)
    # Of 99 rows: all, 40, 30, 59, 59, none; half a row of 100 is added.
    np.testing.assert_allclose(
        weights, [0.5 / 99.5, 59.5 / 40.5, 69.5 / 30.5, 40.5 / 59.5, 40.5 / 59.5, 199], rtol=1e-5
    )
    assert balance_weights(slugs * 100, 6)[5] == 1000


def test_the_mlp_learns_what_the_embedding_says(tmp_path):
    config = QUICK.override(epochs=40, batch_size=32, learning_rate=1e-2, patience=99)
    result = fit(config, word_sets(256), word_sets(50, 1), tmp_path)
    model, data = load_mlp(TINY, tmp_path / "model.safetensors"), word_sets(50, 1)
    found = [set(slug.split("-")) for slug, _ in predict(model, data.vectors, NAMES)]
    right = [a == {NAMES[i] for i in b} for a, b in zip(found, data.clusters, strict=True)]
    assert np.mean(right) > 0.9  # chance is one in eight
    assert result.best_val_loss < result.history[0]["val_loss"] / 2


@pytest.mark.parametrize("loss", mlp_objective.LOSSES)
def test_history_and_best_weights_are_written(tmp_path, loss):
    seen = []

    def score(model: MLP) -> dict[str, float]:
        seen.append(model.training)
        return {"token_f1": 0.25}

    val = word_sets(16, 1)
    result = fit(QUICK, word_sets(40), val, tmp_path, loss, score)
    rows = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert rows == result.history
    assert [row["step"] for row in rows] == [4, 8, 9]
    assert [row["epoch"] for row in rows] == pytest.approx([4 / 3, 8 / 3, 3])
    assert {"train_loss", "lr", "seconds", "token_f1"} <= rows[0].keys()
    assert all(r["val_loss"] == pytest.approx(r["token_loss"] + r["length_loss"]) for r in rows)
    assert seen == [False] * 3
    assert (result.epochs, result.steps) == (3, 9)
    model = load_mlp(TINY, tmp_path / "model.safetensors")
    weights = torch.from_numpy(balance_weights(word_sets(40).clusters, 20))
    with torch.no_grad():
        parts = losses(
            model, Rows(val, TINY, CPU), torch.arange(16), loss,
            weights if loss == "balanced" else None,
        )  # fmt: skip
    assert float(sum(parts)) == pytest.approx(result.best_val_loss, rel=1e-5)
    assert result.best_val_loss == min(row["val_loss"] for row in rows)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["history.jsonl", "model.safetensors"]


def test_the_same_seed_gives_the_same_run(tmp_path):
    def run(name: str, seed: int) -> tuple[list[float], bytes]:
        config = QUICK.override(seed=seed, bf16=True)
        data = word_sets(40), word_sets(16, 1)
        result = fit(config, *data, tmp_path / name)
        weights = (tmp_path / name / "model.safetensors").read_bytes()
        return [row["val_loss"] for row in result.history], weights

    first = run("a", 1)
    assert first == run("b", 1)
    assert first != run("c", 2)


def test_predict_takes_the_likeliest_words_and_scores_them():
    model, vectors = MLP(TINY).eval(), word_sets(1100).vectors  # more than one block
    with torch.no_grad():
        tokens, lengths = (part.double() for part in model(torch.from_numpy(vectors)))
    found = predict(model.train(), vectors, NAMES)
    assert len(found) == 1100
    for i in (0, 7, 1023, 1024, 1099):
        count = 3 + int(lengths[i].argmax())
        best = tokens[i].argsort(descending=True)[:count].tolist()
        score = lengths[i].log_softmax(0).max() + F.logsigmoid(tokens[i])[best].sum()
        assert found[i][0] == "-".join(NAMES[j] for j in best)
        assert found[i][1] == pytest.approx(float(score), rel=1e-4)
    assert predict(model, vectors[:0], NAMES) == []


def test_outputs_are_the_model_s_own_in_evaluation_mode():
    model, vectors = MLP(TINY).train(), word_sets(5).vectors
    found = outputs(model, vectors)
    np.testing.assert_array_equal(found.hidden, hidden(model, vectors))
    with torch.no_grad():
        tokens, lengths = model.eval()(torch.from_numpy(vectors))
    np.testing.assert_allclose(found.tokens, tokens, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.lengths, lengths, rtol=1e-5, atol=1e-6)


def test_the_diagnosis_is_json_and_agrees_with_the_predictions():
    torch.manual_seed(0)
    model = MLP(TINY)
    sets = word_sets(60), word_sets(30, 1), word_sets(20, 2)
    test = sets[2]
    references = ["-".join(NAMES[i] for i in ids) for ids in test.clusters]
    topics = np.arange(20) % 4
    found = ch03_diagnose.diagnose(model, *sets, references, topics, NAMES)
    assert json.loads(json.dumps(found, allow_nan=False)).keys() == found.keys()
    slugs = [slug for slug, _ in predict(model, test.vectors, NAMES)]
    top = found["rules"]["top"]
    assert top["outputs"]["distinct"] == len(set(slugs))
    assert dict(top["outputs"]["most"]).items() <= {s: slugs.count(s) for s in slugs}.items()
    assert top["diversity"]["value"] == pytest.approx(len(set(slugs)) / 20)
    assert top["token_f1"] == pytest.approx(found["orders"]["score"]["token_f1"])
    assert found == ch03_diagnose.diagnose(model, *sets, references, topics, NAMES)


def test_trunk_gradients_are_those_of_the_two_losses():
    model, data = MLP(TINY).eval(), word_sets(30)
    found = ch03_diagnose.trunk_gradients(model, data)
    rows = Rows(data, TINY, CPU)
    for name, part in zip(("token", "length"), range(2), strict=True):
        model.zero_grad()
        losses(model, rows, torch.arange(30), "bce", None)[part].backward()
        grads = torch.cat([p.grad.flatten() for p in model.layers.parameters()])
        assert found[name] == pytest.approx(float(grads.norm()), rel=1e-4)


def test_bad_data_are_refused(tmp_path):
    vectors = np.zeros((1, 8), np.float32)
    for ids, words in (
        ([1, 2], "got 2 to 2"),
        ([1] * 9, "got 9 to 9"),
        ([1, 2, 20], "got 1 to 20"),
    ):
        with pytest.raises(Vec2SlugError, match=words):
            Rows(WordSets(vectors, [ids]), TINY, CPU)
    with pytest.raises(Vec2SlugError, match=r"cluster ids.*got -1"):
        Rows(WordSets(vectors, [[-1, 2, 3]]), TINY, CPU)
    with pytest.raises(Vec2SlugError, match=r"shape \(1, 8\), got \(1, 9\)"):
        Rows(WordSets(np.zeros((1, 9), np.float32), [[1, 2, 3]]), TINY, CPU)
    with pytest.raises(Vec2SlugError, match="one row or more"):
        Rows(WordSets(vectors[:0], []), TINY, CPU)
    with pytest.raises(Vec2SlugError, match=r"bce, focal, balanced, summed.*got 'hinge'"):
        fit(QUICK, word_sets(9), word_sets(9), tmp_path, "hinge")


def test_a_killed_run_ends_like_an_unbroken_one(tmp_path):
    def until(step):
        def score(model: MLP) -> dict[str, float]:
            calls.append(1)
            if len(calls) == step:
                raise KeyboardInterrupt
            return {}

        calls: list[int] = []
        return score

    config = QUICK.override(checkpoint_seconds=0.0)
    data, (broken, whole) = (word_sets(40), word_sets(16, 1)), (tmp_path / "a", tmp_path / "b")
    with pytest.raises(KeyboardInterrupt):
        fit(config, *data, broken, "focal", until(2))
    with pytest.raises(Vec2SlugError, match="another run"):
        fit(config, *data, broken, "bce")
    results = [fit(config, *data, folder, "focal", until(99)) for folder in (broken, whole)]
    losses = [[row["val_loss"] for row in result.history] for result in results]
    assert losses[0] == losses[1]
    names = [folder / "model.safetensors" for folder in (broken, whole)]
    assert names[0].read_bytes() == names[1].read_bytes()


def test_a_loss_that_is_not_finite_stops_with_its_step(tmp_path):
    data = word_sets(40)
    data.vectors[:] = np.nan
    with pytest.raises(Vec2SlugError, match="got nan at step 1"):
        fit(QUICK, data, word_sets(16, 1), tmp_path)


def test_bad_models_and_inputs_are_refused(tmp_path):
    model = MLP(TINY)
    with pytest.raises(Vec2SlugError, match="8 clusters or more, got 7"):
        MLPConfig(vocab_size=7)
    with pytest.raises(Vec2SlugError, match="20 names, got 19"):
        predict(model, word_sets(2).vectors, NAMES[:-1])
    with pytest.raises(Vec2SlugError, match="width 8, got 9"):
        predict(model, np.zeros((2, 9), np.float32), NAMES)
    path = tmp_path / "model.safetensors"
    with pytest.raises(Vec2SlugError, match="found none"):
        load_mlp(TINY, path)
    save_mlp(model, path)
    with pytest.raises(Vec2SlugError, match=r"layers.2.bias of shape \(24,\).*got None"):
        load_mlp(MLPConfig(8, 24, 3, 20), path)
    with pytest.raises(Vec2SlugError, match=r"layers.0.bias of shape \(16,\).*got \(24,\)"):
        load_mlp(MLPConfig(8, 16, 2, 20), path)
