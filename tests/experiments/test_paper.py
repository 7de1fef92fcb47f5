"""The study end to end, on FineWeb-shaped files and a server that behaves badly."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import openai_server
import pandas as pd
import pytest
from prose import PROSE

from vec2slug_lib.cli.main import main
from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.files import read_json
from vec2slug_lib.data import dataset
from vec2slug_lib.data.examples import load_examples
from vec2slug_lib.experiments import paper
from vec2slug_lib.experiments.task import make_task
from vec2slug_lib.inference.predictor import SlugPredictor

NOUNS = "harbour keeper lantern island vessel captain letter storm current anchor".split()
ROWS = 120


@pytest.fixture
def fineweb(tmp_path):
    """Two shards in FineWeb's shape: its columns, more of them than are read."""
    folder = tmp_path / "fineweb"
    folder.mkdir()
    for shard in range(2):
        numbers = range(shard, ROWS, 2)
        slugs = [f"{NOUNS[n % 10]}-{NOUNS[n // 10 % 10]}-of-{n:03}x" for n in numbers]
        frame = pd.DataFrame(
            {
                "text": [f"{PROSE} from harbour number {n}." for n in numbers],
                "id": [f"<urn:uuid:{n:04}>" for n in numbers],
                "dump": "CC-MAIN-2024-10",
                "url": [f"https://example.org/{slug}" for slug in slugs],
                "language_score": 0.98,
                "token_count": 70,
            }
        )
        frame.to_parquet(folder / f"{shard:03}_00000.parquet")
    return folder


def command(server, source, out, *more):
    """The command line, and an environment in which it finds the server."""
    arguments = [
        "paper", "--source", str(source), "--out", str(out), "--base-url", server.url,
        "--preset", "smoke", "--experiments", "3i", "--workers", "1", "--wait", "0.05",
        "--timeout", "0.5", *more,
    ]  # fmt: skip
    return [str(argument) for argument in arguments]


def killed_when(condition, arguments, log):
    """Run in a process of its own, and kill it as soon as something is true."""
    code = "import sys; from vec2slug_lib.cli.main import main; sys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=log.open("wb"),
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    end = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, log.read_text()[-1000:]
        assert time.monotonic() < end
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_end_to_end_with_kills_and_faults(fineweb, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    out, log = tmp_path / "paper", tmp_path / "log"
    with openai_server.OpenAIServer(width=1536) as server:
        server.looks, server.endings = 3, ["expire"]
        server.faults = ["429", "500", "slow", "none", "lost", "none", "drop"]
        arguments = command(server, fineweb, out, "--yes")
        killed_when(lambda: (out / "corpus" / "ranks").exists(), arguments, log)
        killed_when(lambda: server.batches, arguments, log)
        killed_when(lambda: (out / "runs/3i/smoke/history.jsonl").exists(), arguments, log)
        assert not (out / "paper.json").exists()
        assert main(arguments) == 0
        counts = server.paid()
    # Our twelve articles go directly.
    pages = {text: count for text, count in counts.items() if PROSE in text}
    assert len(pages) == ROWS
    assert set(pages.values()) == {1}
    assert len(counts) == ROWS + len(load_examples())
    assert "Token F1" in capsys.readouterr().out

    report = read_json(out / "paper.json")
    assert report["funnel"][-1]["kept"] == report["embedded"]["documents"] == ROWS
    assert report["data"]["embedder"] == "text-embedding-3-small"
    assert sum(report["data"]["splits"].values()) == ROWS
    data = dataset.load(out / "data")
    documents = pd.read_parquet(out / "corpus" / "documents.parquet").set_index("id")
    for row in (0, 50, ROWS - 1):
        wanted = openai_server.vector(documents.loc[data.pairs["id"][row], "text"], 1536)
        assert data.vectors[row] @ wanted > 0.999  # as int8 keeps it
    (model,) = report["models"]
    predictor = SlugPredictor.from_dir(out / model["release"])
    assert all(predictor.predict(data.vectors[:3]))
    card = (out / model["release"] / "README.md").read_text()
    assert "text-embedding-3-small" in card
    assert "MiniLM" not in card


def test_nothing_is_spent_without_consent(fineweb, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    with openai_server.OpenAIServer(width=1536) as server:
        assert main(command(server, fineweb, tmp_path / "paper")) == 2
        assert not server.files
        assert not server.requests
    assert "expected --yes" in capsys.readouterr().err


def test_bad_input_is_refused_before_the_first_stage(tmp_path, capsys):
    arguments = ["paper", "--source", "nowhere", "--out", str(tmp_path / "paper")]
    for more, words in (
        (["--experiments", "1a"], "expected experiment to be one of 3a"),
        (["--preset", "papper"], "expected preset to be one of"),
        ([], "found nothing"),
    ):
        assert main([*arguments, *more]) == 2
        assert words in capsys.readouterr().err
        assert not (tmp_path / "paper").exists()


def test_experiments_that_embed_by_themselves_need_their_embedder(fineweb, tmp_path, monkeypatch):
    job = paper.Paper(str(fineweb), tmp_path / "paper", "smoke")
    vectors = np.eye(60, 1536, dtype=np.float32)
    pairs = dataset.load(limit=60).pairs
    job.data.mkdir(parents=True)
    pairs.to_parquet(job.data / "pairs.parquet")
    dataset.save_vectors(job.data / "embeddings.text-embedding-3-small.npz", vectors, pairs["id"])
    with job.folders(), pytest.raises(Vec2SlugError, match="expected vectors of minilm for 4a"):
        make_task("4a", "smoke")
