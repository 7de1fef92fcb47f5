import json
from pathlib import Path

import pandas as pd
import pytest
from openai_server import OpenAIServer
from prose import PROSE

from vec2slug_lib.cli.main import main
from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.files import read_json
from vec2slug_lib.embedding.wordpiece import tokenizer_path
from vec2slug_lib.experiments import feasibility

TOKENIZER = tokenizer_path()


@pytest.fixture
def sources(tmp_path):
    """Three sources in three shapes; the second has rows that cannot be used."""
    pages = [
        {"id": f"w{n}", "url": f"https://e.org/{n}", "text": f"Old keeper {n} north {PROSE}."}
        for n in range(6)
    ]
    pd.DataFrame(pages).to_parquet(tmp_path / "web.parquet")
    papers = [{"id": f"p{n}", "url": f"https://a.org/{n}", "text": f"New paper {n} shows {PROSE}",
               "source": "arxiv"} for n in range(3)]  # fmt: skip
    short = {"id": "p9", "url": "https://a.org/9", "text": "Too short."}
    lines = [json.dumps(row) for row in [short, papers[0], {"id": "p8"}, *papers[1:]]]
    (tmp_path / "papers.jsonl").write_text("\n".join(lines))
    (tmp_path / "issues").mkdir()
    for n in range(3):
        (tmp_path / "issues" / f"{n}.md").write_text(f"Bug number {n} here {PROSE}.")
    return {"web.parquet": 6, "papers.jsonl": 3, "issues": 3}


def command(tmp_path, server, sources, *more):
    takes = [f"--take={tmp_path / name}={count}" for name, count in sources.items()]
    options = ["--chat", "m", "--base-url", server.url, "--out", str(tmp_path / "out")]
    return ["feasibility", *takes, *options, *more]


def test_three_sources_with_faults_and_a_bad_answer(sources, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    with OpenAIServer() as server:
        server.faults = ["none", "500", "said:Of course! Here is a slug", "drop", "none", "401"]
        assert main(command(tmp_path, server, sources)) == 2  # nobody to ask
        assert not server.bodies
        assert main(command(tmp_path, server, sources, "--yes")) == 2  # the key is refused
        assert "refuses the key" in capsys.readouterr().err
        assert main(command(tmp_path, server, sources, "--yes")) == 0
        asked = [body["messages"][0]["content"] for body in server.bodies]
        assert {(body["temperature"], body["max_tokens"]) for body in server.bodies} == {(0, 64)}
    # Every page once, and once more after each of the three faults.
    assert (len(asked), len(set(asked))) == (15, 12)
    report = read_json(tmp_path / "out" / "feasibility.json")
    assert report["valid"] == pytest.approx(11 / 12)
    assert report["dollars"] == pytest.approx(12 * (100 * 0.8 + 10 * 4) / 1e6)
    assert report["sources"] == {
        "arxiv": {"documents": 3, "valid": 1.0},
        "issues": {"documents": 3, "valid": 1.0},
        "web.parquet": {"documents": 6, "valid": pytest.approx(5 / 6)},
    }
    found = pd.read_parquet(tmp_path / "out" / "documents.parquet")
    assert len(found) == 11
    assert found.set_index("id").loc["p0", "slug"] == "new-paper-0-shows"
    assert {"url", "text", "source", "license", "token_count"} <= set(found.columns)


def test_a_source_with_too_little_is_refused(sources, tmp_path):
    with pytest.raises(Vec2SlugError, match=r"expected 4 documents of .*papers.jsonl, found 3"):
        feasibility.draw({str(tmp_path / "papers.jsonl"): 4}, TOKENIZER, tmp_path / "d.parquet")
    drawn = feasibility.draw({str(tmp_path / "issues"): 2}, TOKENIZER, tmp_path / "d.parquet")
    assert drawn["id"].tolist() == ["0.md", "1.md"]
    with pytest.raises(Vec2SlugError, match=r"expected .* to be of"):
        feasibility.draw({str(tmp_path / "issues"): 3}, TOKENIZER, tmp_path / "d.parquet")
    (tmp_path / "issues" / "2.md").write_text(f"Another bug {PROSE}.")
    with pytest.raises(Vec2SlugError, match=r"expected .* to be of"):
        feasibility.draw({str(tmp_path / "issues"): 2}, TOKENIZER, tmp_path / "d.parquet")


@pytest.mark.parametrize("options", [[], ["web"], ["web=0"], ["=5"], ["web=1", "web=2"]])
def test_shares_of_another_form(options):
    with pytest.raises(Vec2SlugError, match="expected"):
        feasibility.shares(options)


def test_shares_keep_what_stands_before_the_last_sign():
    assert feasibility.shares([f"{Path('a=b')}=7", "c=1"]) == {"a=b": 7, "c": 1}
