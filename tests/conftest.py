"""Settings of all tests (no deadlines, the same examples in every run) and shared folders."""

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest
import torch
from browser import BOOK, chromium, served
from filelock import FileLock
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from vec2slug_lib.common.files import write_json
from vec2slug_lib.common.workspace import current
from vec2slug_lib.evaluation.records import Run, save_results
from vec2slug_lib.model.decoder import Decoder, DecoderConfig
from vec2slug_lib.model.tokenizer import save_tokenizer, train_bpe
from vec2slug_lib.model.weights import save_decoder
from vec2slug_lib.release.release import export_graphs, export_release

settings.register_profile("project", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("project")

# These take longest and are started first, so that no worker is left with one at the end. Of the
# files in EACH any worker takes the next test; another file is one worker's, which makes what its
# tests share only once.
EACH = ("test_notebooks", "test_book")
FIRST = (
    "test_notebooks",
    "test_browser_model",
    "test_paper",
    "test_bulk",
    "test_train_many",
    "test_executors",
    "test_private",
    "test_wheel",
    "test_sweep",
    "test_book",
)


def pytest_collection_modifyitems(items):
    """Put the longest files first."""
    place = {name: i for i, name in enumerate(FIRST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(FIRST)))


class ByFile(LoadScopeScheduling):
    """A scheduler that gives the tests of a file to one worker, but for those in EACH.

    The plugin's own groups by mark change a test's name, which pytest 9.2 no longer lets them.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return nodeid if Path(file).stem in EACH else file


def pytest_xdist_make_scheduler(config, log):
    """Have the workers fed by `ByFile`."""
    return ByFile(config, log)


@pytest.fixture(scope="session")
def common(tmp_path_factory):
    """A folder that all workers of this run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def once(folder: Path, make: Callable[[Path], object]) -> Path:
    """Have the first worker that asks for a folder make it; the others wait and read."""
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            half = folder.with_name(f"{folder.name}.half")
            make(half)
            half.rename(folder)
    return folder


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
def release(run, common):
    """The release folder of ``run``, ONNX graph included."""
    experiment = run.manifest["experiment"]

    def make(folder):
        export_release(run, folder / "tiny", pretrained=experiment == "4c")
        export_graphs(folder / "tiny")

    return once(common / f"release-{experiment}", make) / "tiny"


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
