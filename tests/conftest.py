"""Settings of all tests (no deadlines, the same examples in every run) and shared folders."""

from dataclasses import asdict

import pandas as pd
import pytest
import torch
from browser import BOOK, chromium, served
from hypothesis import settings

from vec2slug_lib.common.files import write_json
from vec2slug_lib.common.workspace import current
from vec2slug_lib.evaluation.records import Run, save_results
from vec2slug_lib.model.decoder import Decoder, DecoderConfig
from vec2slug_lib.model.tokenizer import save_tokenizer, train_bpe
from vec2slug_lib.model.weights import save_decoder
from vec2slug_lib.release.release import export_graphs, export_release

settings.register_profile("project", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("project")


@pytest.fixture(scope="session", params=["plain", "headed"])
def run(request, tmp_path_factory):
    """A complete record of a tiny, untrained decoder of input width 24, with and without a head."""
    torch.manual_seed(0)
    headed = {"head_dim": 8, "tied": True} if request.param == "headed" else {}
    run = Run(tmp_path_factory.mktemp("runs") / "tiny" / "smoke")
    slugs = [
        f"{a}-of-{b}-{c}" for a in ("bee", "ant") for b in ("hive", "hill") for c in ("life", "b")
    ]
    tokenizer = train_bpe(slugs, 60)
    config = DecoderConfig(
        input_dim=24, embed_dim=16, num_heads=2, num_layers=2, scaled_input=True,
        vocab_size=tokenizer.get_vocab_size(), **headed,
    )  # fmt: skip
    save_tokenizer(tokenizer, run.folder / "tokenizer.json")
    save_decoder(Decoder(config), run.folder / "model.safetensors")
    (run.folder / "history.jsonl").write_text('{"step": 1, "val_loss": 4.0}\n')
    manifest = {
        "experiment": {"plain": "3i", "headed": "4c"}[request.param],
        "model": asdict(config), "training": {"seed": 42}, "train_rows": 1234,
        "result": {"best_val_loss": 4.0, "best_step": 1},
    }  # fmt: skip
    write_json(run.folder / "manifest.json", manifest)
    row = pd.read_parquet(current().data / "pairs.parquet", columns=["id", "slug"]).head(1)
    predictions = row.assign(prediction="c", score=0.0)
    save_results(run, predictions, {"token_f1": {"value": 0.123, "low": 0.1, "high": 0.2}}, {})
    return run


@pytest.fixture(scope="session")
def release(run, tmp_path_factory):
    """The release folder of ``run``, ONNX graph included."""
    folder = tmp_path_factory.mktemp("release") / "tiny"
    export_release(run, folder, pretrained=run.manifest["experiment"] == "4c")
    export_graphs(folder)
    return folder


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    """Address of the built book, in a folder of the server: no address may be of its root."""
    home = tmp_path_factory.mktemp("server")
    (home / "vec2slug").symlink_to(BOOK)
    with served(home) as address:
        yield f"{address}vec2slug/"


@pytest.fixture(scope="session")
def browser():
    """Chromium."""
    with chromium() as found:
        yield found
