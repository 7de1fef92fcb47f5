import pytest
import torch

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.experiments.table import (
    EXPERIMENTS,
    PRESETS,
    decoder_config,
    find_experiment,
    mlp_config,
    multiplies_bfloat16,
    pretraining,
    training_config,
)
from vec2slug_lib.model import mlp
from vec2slug_lib.model.decoder import Decoder


def parameters(name):
    """Count the parameters of an experiment at the study's input width."""
    experiment, preset = EXPERIMENTS[name], PRESETS["book"]
    if experiment.model == "mlp":
        model = mlp.MLP(mlp_config(experiment, preset, 1536))
    else:
        model = Decoder(decoder_config(experiment, preset, 1536))
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "count"),
    # The study gives exact counts for 3h/3i and 3j, and one decimal for the rest.
    [("3i", 11_543_432), ("3h", 11_543_432), ("3j", 24_840_072)],
)
def test_parameter_counts_are_the_studys(name, count):
    assert parameters(name) == count


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_rounded_parameter_counts_are_the_studys(name):
    # 1c has 9.854 million; the study writes 9.8.
    assert parameters(name) / 1e6 == pytest.approx(EXPERIMENTS[name].reported_parameters, abs=0.06)


def test_the_budget_is_one_rule_for_all():
    configs = [training_config(x, PRESETS["book"], 64_218) for x in EXPERIMENTS.values()]
    assert len({(c.epochs, c.patience, c.plateau_patience, c.evaluate_every) for c in configs}) == 1


def test_a_fraction_of_the_pages_has_the_same_steps_between_evaluations():
    whole, part = (
        training_config(find_experiment(name), PRESETS["book"], rows)
        for name, rows in (("3i", 64_000), ("3i+train_fraction=0.25+min_steps=1500", 16_000))
    )
    assert (whole.evaluate_every, whole.epochs, whole.min_steps) == (63, 100, 0)
    assert (part.evaluate_every, part.epochs, part.min_steps) == (63, 400, 1500)


def test_a_variant_changes_the_fields_it_names():
    variant = find_experiment("3h+max_slug_tokens=16+learning_rate=1e-3+scaled_input=False")
    assert (variant.max_slug_tokens, variant.learning_rate) == (16, 1e-3)
    assert variant.scaled_input is False
    assert variant.embed_dim == EXPERIMENTS["3h"].embed_dim


def test_pretraining_has_the_shape_of_what_it_starts():
    name = "4b+head_dim=512+pretrain=1000"
    first = find_experiment(pretraining(name))
    assert (first.spans, first.epochs, first.pretrain) == (1000, 1, 0)
    preset = PRESETS["book"]
    shapes = [decoder_config(x, preset, 384) for x in (first, find_experiment(name))]
    assert shapes[0] == shapes[1]
    assert pretraining(pretraining(name)) == pretraining("4a") == ""


def test_the_rate_of_a_fixed_number_of_passes_falls_to_zero():
    config = training_config(find_experiment("4a"), PRESETS["book"], 51_200)
    assert (config.schedule, config.epochs, config.batch_size) == ("linear", 5, 512)
    assert config.warmup_steps == 25  # a twentieth of five passes of 100 steps
    smoke = training_config(find_experiment("4a"), PRESETS["smoke"], 600)
    assert smoke.batch_size == PRESETS["smoke"].batch_size


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("9z", r"one of 1a, 1b, .*got '9z'"),
        ("3h+cap=16", r"field of experiment 3h to be one of model, .*got 'cap'"),
        ("3h+max_slug_tokens=ten", r"expected max_slug_tokens=<int>, got 'max_slug_tokens=ten'"),
        ("3h+scaled_input=no", r"expected scaled_input=<bool>, got 'scaled_input=no'"),
    ],
)
def test_unknown_names_list_the_known(name, message):
    with pytest.raises(Vec2SlugError, match=message):
        find_experiment(name)


@pytest.mark.parametrize(
    ("capabilities", "native"),
    [
        ({"amx_bf16": True}, True),
        ({"amx_bf16": False, "avx512_bf16": True}, True),
        ({"avx512_f": True}, False),
        ({}, False),
    ],
)
def test_training_is_in_bfloat16_where_the_processor_has_it(monkeypatch, capabilities, native):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert multiplies_bfloat16("cpu") == native
