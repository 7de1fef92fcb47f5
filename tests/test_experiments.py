import shutil

import pytest

from vec2slug_lib import experiments
from vec2slug_lib.errors import Vec2SlugError
from vec2slug_lib.experiments import EXPERIMENTS, PRESETS, decoder_config, record
from vec2slug_lib.models import Decoder
from vec2slug_lib.runs import open_run


@pytest.mark.parametrize(
    ("name", "parameters"),
    # The study gives exact counts for 3h/3i and 3j, and one decimal for the rest, at width 1536.
    [("3i", 11_543_432), ("3h", 11_543_432), ("3j", 24_840_072)],
)
def test_parameter_counts_are_the_studys(name, parameters):
    config = decoder_config(EXPERIMENTS[name], PRESETS["book"], 1536)
    assert sum(p.numel() for p in Decoder(config).parameters()) == parameters


@pytest.mark.parametrize(
    ("name", "millions"), [("3d", 18.5), ("3e", 11.5), ("3f", 15.1), ("3g", 24.8)]
)
def test_rounded_parameter_counts_are_the_studys(name, millions):
    config = decoder_config(EXPERIMENTS[name], PRESETS["book"], 1536)
    count = sum(p.numel() for p in Decoder(config).parameters())
    assert round(count / 1e6, 1) == millions


def test_unknown_names_list_the_known():
    with pytest.raises(Vec2SlugError, match=r"one of 3d, 3e, .*got '9z'"):
        record("9z", "smoke")
    with pytest.raises(Vec2SlugError, match="one of smoke, book, got 'huge'"):
        record("3i", "huge")


def test_smoke_run_from_nothing_is_repeatable(tmp_path, monkeypatch):
    monkeypatch.setenv("VEC2SLUG_RUNS", str(tmp_path))
    first = record("3i", "smoke")
    metrics, predictions = first.metrics, first.predictions
    assert metrics["validity"]["value"] == 1
    assert predictions["prediction"].str.count("-").between(2, 7).all()
    assert first.manifest["model"]["embed_dim"] == 48
    written = (first.folder / "metrics.json").stat().st_mtime_ns
    assert record("3i", "smoke").metrics == metrics
    assert (first.folder / "metrics.json").stat().st_mtime_ns == written
    shutil.rmtree(first.folder)
    assert record("3i", "smoke").metrics == metrics


def test_a_run_killed_while_decoding_is_not_trained_again(tmp_path, monkeypatch):
    monkeypatch.setenv("VEC2SLUG_RUNS", str(tmp_path))
    run = record("3h", "smoke")
    metrics = run.metrics
    (run.folder / "metrics.json").unlink()
    monkeypatch.setattr(experiments, "train_run", None)
    assert record("3h", "smoke").metrics == metrics


def test_the_committed_record_is_of_the_committed_data():
    run = open_run("3i", "book")
    data = experiments.dataset.load()
    assert run.manifest["data"] == experiments.dataset.ids_digest(data.pairs["id"])
    predictions = run.predictions
    assert predictions["id"].tolist() == data.test_rows().pairs["id"].tolist()
    f1 = experiments.evaluation.token_overlap(
        predictions["prediction"].tolist(), predictions["slug"].tolist()
    )[2]
    assert f1.mean() == pytest.approx(run.value("token_f1"))
