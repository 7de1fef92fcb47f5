"""Diagnostics of an MLP are of the clusters that it has learnt."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from chapters import ch03_diagnose

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.files import write_json
from vec2slug_lib.common.vocabulary import SPECIALS
from vec2slug_lib.evaluation.records import Run
from vec2slug_lib.model.mlp import MLP, MLPConfig
from vec2slug_lib.model.tokenizer import word_level


def test_a_run_that_has_learnt_other_clusters_is_refused(tmp_path, monkeypatch):
    model = MLP(MLPConfig(input_dim=2, vocab_size=8, hidden_dim=2, num_layers=1))
    task = SimpleNamespace(name="1a", tokenizer=word_level(["ant", "cow"]))
    monkeypatch.setattr(ch03_diagnose, "load_model", lambda run: (model, [*SPECIALS, "ant", "bee"]))
    monkeypatch.setattr(ch03_diagnose, "make_task", lambda *names: task)
    write_json(tmp_path / "manifest.json", {"experiment": "1a", "preset": "smoke"})
    with pytest.raises(Vec2SlugError, match="got others: train 1a again"):
        ch03_diagnose.diagnostics(Run(tmp_path))
