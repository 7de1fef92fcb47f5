"""What an experiment learns from, where there is a wide corpus."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vec2slug_lib.common.files import write_json
from vec2slug_lib.common.jobs import digest
from vec2slug_lib.common.workspace import Workspace, current, use
from vec2slug_lib.data import dataset
from vec2slug_lib.data.filters import SCHEMA
from vec2slug_lib.data.wide import wide_folder
from vec2slug_lib.experiments.table import PRESETS
from vec2slug_lib.experiments.task import make_task

ROW = "4a+wide=True+pretrain=20+titles=True"


@pytest.fixture
def preset(tmp_path, monkeypatch):
    """The smallest preset, with a wide corpus of thirty training pages under other names."""
    monkeypatch.setitem(PRESETS, "wide", replace(PRESETS["smoke"], wide=True))
    few = dataset.load(limit=600).part("train").sample(30)
    names = [slug.split("-")[0] for slug in few.slugs]
    slugs = [f"{name}-once-again" if i % 3 else "a-new-title" for i, name in enumerate(names)]
    frame = few.pairs.assign(
        id="w" + few.pairs["id"], slug=slugs, text="A text of its own.", title="A title"
    ).assign(license="")
    frame["url"] = ["https://e.org/" + (slug if i % 3 else "") for i, slug in enumerate(slugs)]
    with use(Workspace(work=tmp_path)):
        wide_folder().mkdir()
        frame[SCHEMA.names].to_parquet(wide_folder() / "documents.parquet")
        vectors = wide_folder() / "vectors.npy"
        np.save(vectors, few.vectors)
        texts = digest(part for row in zip(frame["id"], frame["text"], strict=True) for part in row)
        write_json(vectors.with_name("vectors.npy.json"), {"documents_sha256": texts})
        yield "wide"


def test_a_wide_experiment_has_more_pages_to_learn_from(preset):
    plain, wide = (make_task(name, preset).training_set.part("train") for name in ("4a", ROW))
    added = wide.pairs[~wide.pairs["id"].isin(plain.pairs["id"])]
    assert 10 < len(added) <= 20
    assert added["slug"].str.endswith("-again").all()
    assert len(wide.pairs) == len(plain.pairs) + len(added) == len(wide.vectors)


def test_it_is_judged_by_the_pages_of_the_data_set_alone(preset):
    task = make_task(ROW, preset)
    assert set(task.training_set.part("val").pairs["id"]) == set(task.data.part("val").pairs["id"])
    assert task.data.pairs["id"].tolist() == dataset.load(limit=600).pairs["id"].tolist()


def test_pages_with_a_title_alone_are_read_with_the_spans(preset):
    stage = "4a+wide=True+pretrain=0+spans=20+epochs=1"
    without = make_task(stage, preset).training_set
    taught = make_task(f"{stage}+titles=True", preset).training_set
    assert len(without.pairs) == 20
    assert taught.pairs["slug"].iloc[20:].unique().tolist() == ["a-new-title"]
    assert set(taught.pairs["split"].iloc[20:]) == {"train"}


def test_where_there_is_no_wide_corpus_nothing_is_widened():
    assert current().work != wide_folder()
    assert len(make_task("4a+wide=True", "smoke").training_set.pairs) == 600
