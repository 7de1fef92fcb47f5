import json

import pandas as pd
import pytest
from openai_server import OpenAIServer

from vec2slug_lib.cli.main import main
from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.evaluation.llm_baseline import (
    Answer,
    ChatSlugs,
    ask_all,
    dollars,
    read_answers,
    summary,
)

PAGES = ["The queen of a hive lives long", "Bread needs flour and water", "Rivers run to the sea"]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
    monkeypatch.setattr("openai._base_client.BaseClient._calculate_retry_timeout", lambda *_: 0.01)


def asked(server, **options):
    return ChatSlugs("chat-1", server.url, **{"timeout": 0.5, "retries": 3} | options)


def test_a_page_gets_its_slug_its_tokens_and_its_time():
    with OpenAIServer() as server:
        answer = asked(server).ask("a", PAGES[0])
    assert answer[:5] == ("a", "the-queen-of-a", True, 100, 10)
    assert answer.seconds > 0
    body = server.bodies[0]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("chat-1", 0, 64)
    assert PAGES[0] in body["messages"][0]["content"]


@pytest.mark.parametrize("faults", [["429"], ["500", "429"], ["drop"], ["slow", "503"]])
def test_faults_that_pass_are_waited_for(faults):
    with OpenAIServer(faults=faults) as server:
        assert asked(server).ask("a", PAGES[0]).slug == "the-queen-of-a"
        assert len(server.requests) == len(faults) + 1


@pytest.mark.parametrize(
    ("fault", "slug"),
    [
        ("said:queen-bee-life", "queen-bee-life"),
        ("said: queen-bee-life\n", "queen-bee-life"),
        ("said:Here is it: `Queen-Bee`!", "here-is-it-queen-bee"),
        ("said:I am sorry, but I can not help you now", "i-am-sorry-but-i-can-not-help"),
        ("said:" + "x" * 200, ""),
        ("said:---", ""),
        ("null", ""),
        ("empty", ""),
    ],
)  # fmt: skip
def test_answers_that_are_no_slug_count_and_are_made_into_one(fault, slug):
    with OpenAIServer(faults=[fault]) as server:
        answer = asked(server).ask("a", PAGES[0])
    assert answer.slug == slug
    assert answer.valid == (slug == "queen-bee-life")


def test_an_answer_without_a_bill():
    with OpenAIServer(faults=["unpaid"]) as server:
        assert asked(server).ask("a", PAGES[0])[3:5] == (0, 0)


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        (["401"], "refuses the key: check OPENAI_API_KEY"),
        (["429"] * 4, "but: .*429"),
        (["html"], "not one of OpenAI's protocol"),
        (["drop"] * 4, "expected an answer by chat-1"),
    ],
)
def test_faults_that_stay_are_one_line_without_the_key(faults, message):
    with OpenAIServer(faults=faults) as server, pytest.raises(Vec2SlugError, match=message) as told:
        asked(server).ask("a", PAGES[0])
    assert "secret-key" not in str(told.value)
    assert "\n" not in str(told.value)


def test_no_key_and_no_text(monkeypatch):
    with OpenAIServer() as server:
        with pytest.raises(Vec2SlugError, match="expected a text for a, got none"):
            asked(server).ask("a", "  ")
        monkeypatch.delenv("OPENAI_API_KEY")
        with pytest.raises(Vec2SlugError, match="set OPENAI_API_KEY"):
            asked(server)
        assert server.requests == []


def test_nothing_is_asked_twice(tmp_path):
    out = tmp_path / "answers.jsonl"
    with OpenAIServer(faults=["none", "401"]) as server:
        with pytest.raises(Vec2SlugError):
            ask_all(asked(server), list("abc"), PAGES, out)
        with out.open("a") as file:
            file.write('{"id": "b", "sl')  # as a kill leaves it
        done = []
        answers = ask_all(asked(server), list("abc"), PAGES, out, done.append)
        assert len(server.requests) == 4  # a, b refused, then b and c
    assert [answer.slug for answer in answers] == [
        "the-queen-of-a", "bread-needs-flour-and", "rivers-run-to-the",
    ]  # fmt: skip
    assert sum(done) == 3
    assert read_answers(out) == answers
    out.write_text('{"row": 1}\n')
    with pytest.raises(Vec2SlugError, match="expected answers of a chat model"):
        read_answers(out)


def test_cost_and_summary_by_hand():
    answers = [
        Answer("a", "x-y-z", True, 1000, 10, 2.0), Answer("b", "", False, 3000, 30, 1.0),
        Answer("c", "u-v-w", True, 2000, 20, 9.0),
    ]  # fmt: skip
    # 6,000 tokens in at 0.80 and 60 out at 4.00 dollars a million: 0.0048 + 0.00024.
    assert dollars(answers, 0.8, 4.0) == pytest.approx(0.00504)
    found = summary(answers, 0.8, 4.0)
    assert found["valid"] == pytest.approx(2 / 3)
    assert (found["input_tokens"], found["output_tokens"], found["seconds"]) == (2000, 20, 2.0)
    assert found["dollars_per_thousand"] == pytest.approx(1.68)
    with pytest.raises(Vec2SlugError, match="at least one answer"):
        summary([], 1, 1)


def test_the_command(tmp_path, capsys):
    frame = pd.DataFrame({"id": [1, 2, 3], "text": PAGES, "slug": ["the-queen-of-a"] * 3})
    frame.to_parquet(tmp_path / "pages.parquet")
    with OpenAIServer(faults=["429"]) as server:
        code = main(
            ["baseline", "llm", str(tmp_path / "pages.parquet"), "--model", "chat-1", "--rows", "2",
             "--base-url", server.url, "--out", str(tmp_path / "out.jsonl")]
        )  # fmt: skip
    printed = dict(line.split()[:2] for line in capsys.readouterr().out.splitlines())
    assert code == 0
    assert printed["pages"] == "2.0000"
    assert printed["token_f1"] == "0.5000"
    assert len([json.loads(line) for line in (tmp_path / "out.jsonl").open()]) == 2
    assert main(["baseline", "llm", "nowhere", "--model", "x"]) == 2
