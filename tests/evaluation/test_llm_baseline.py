import json

import pandas as pd
import pytest
from openai_server import OpenAIServer

from vec2slug_lib.cli.main import main
from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.jobs import one_writer
from vec2slug_lib.evaluation import llm_baseline
from vec2slug_lib.evaluation.llm_baseline import (
    Answer,
    ChatSlugs,
    PageRefused,
    ask_all,
    dollars,
    read_answers,
    summary,
    unanswered,
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


@pytest.mark.parametrize("fault", ["null", "empty"])
def test_no_answer_is_not_valid(fault):
    with OpenAIServer(faults=[fault]) as server:
        assert asked(server).ask("a", PAGES[0])[:3] == ("a", "", False)


def chat(content="queen-bee-life", **more):
    return 200, {"choices": [{"message": {"role": "assistant", "content": content}}], **more}


USED = {"prompt_tokens": 100, "completion_tokens": 10}


@pytest.mark.parametrize(
    ("usage", "spent"),
    [(USED, (100, 10)), ({"prompt_tokens": None, "completion_tokens": None}, (0, 0)),
     ({"prompt_tokens": 7}, (7, 0)), ({}, (0, 0)), (None, (0, 0)), ("many", (0, 0)),
     ({"prompt_tokens": "12", "completion_tokens": 1.5}, (0, 0))],
)  # fmt: skip
def test_a_bill_of_another_form(tmp_path, usage, spent):
    out = tmp_path / "a.jsonl"
    with OpenAIServer() as server:
        server.rule = lambda body: chat(usage=usage)
        answers = ask_all(asked(server), ["a"], PAGES[:1], out)
        assert answers[0][3:5] == spent
        assert ask_all(asked(server), ["a"], PAGES[:1], out) == answers  # the file can be read
    summary(answers, 1, 1)


UNSUPPORTED = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."


def without(*names, status=400, words=lambda name: {"error": {"message": f"no '{name}' here"}}):
    """A server that refuses some options, one at a time."""

    def rule(body):
        refused = [name for name in names if name in body]
        return (status, words(refused[0])) if refused else chat()

    return rule


@pytest.mark.parametrize(
    ("rule", "options"),
    [
        (without("max_tokens", words=lambda name: {"error": {"message": UNSUPPORTED}}),
         {"temperature": 0, "max_completion_tokens": 64}),
        (without("temperature"), {"max_tokens": 64}),
        (without("temperature", "max_tokens"), {"max_completion_tokens": 64}),
        (without("max_tokens", "max_completion_tokens"), {"temperature": 0}),
        (without("max_tokens", "max_completion_tokens", "temperature"), {}),
        (without("temperature", status=422,
                 words=lambda name: {"detail": [{"loc": ["body", name], "msg": "extra field"}]}),
         {"max_tokens": 64}),
        (without("temperature", words=lambda name: {"error": {"message": "no", "param": name}}),
         {"max_tokens": 64}),
    ],
)  # fmt: skip
def test_options_that_are_refused_are_not_sent_again(rule, options):
    with OpenAIServer() as server:
        server.rule = rule
        client = asked(server)
        assert client.ask("a", PAGES[0]).slug == "queen-bee-life"
        first = len(server.bodies)
        client.ask("b", PAGES[1])
        (body,) = server.bodies[first:]
    assert {k: v for k, v in body.items() if k not in ("model", "messages")} == options


def test_a_page_over_the_context_is_cut_by_the_servers_word():
    def rule(body):
        tokens = len(body["messages"][0]["content"].split())
        words = f"maximum context length is 500 tokens, but your request has {tokens} input tokens"
        return (400, {"error": {"message": f"'max_tokens' is too large: {words}"}}) if (
            tokens > 500) else chat()  # fmt: skip

    with OpenAIServer() as server:
        server.rule = rule
        client = asked(server)
        assert client.ask("a", "word " * 2000).valid
        assert 3 <= len(server.bodies[-1]["messages"][0]["content"].split()) <= 500
        assert server.bodies[-1]["max_tokens"] == 64
        assert len(server.bodies) <= 4
        server.rule = lambda body: (400, {"error": {"message": "over the context length"}})
        with pytest.raises(PageRefused, match="400 over the context length"):
            client.ask("a", "word " * 2000)


def unsafe(body):
    words = {"error": {"message": "the content filter says no", "code": "content_filter"}}
    return (400, words) if "BAD" in body["messages"][0]["content"] else None


@pytest.mark.parametrize("status", [400, 500])
def test_pages_that_are_refused_are_skipped_when_asked_for(tmp_path, status):
    out, pages = tmp_path / "a.jsonl", [PAGES[0], "BAD", "", PAGES[1]]
    with OpenAIServer() as server:
        server.rule = lambda body: unsafe(body) and (status, unsafe(body)[1])
        with pytest.raises(PageRefused, match=f"by chat-1 for b .* says: {status} the content"):
            ask_all(asked(server), list("abcd"), pages, out)
        answers = ask_all(asked(server), list("abcd"), pages, out, skip_bad=True)
    assert [answer.slug for answer in answers] == [
        "the-queen-of-a", "", "", "bread-needs-flour-and",
    ]  # fmt: skip
    assert [answer.valid for answer in answers] == [True, False, False, True]
    assert [answer.id for answer in read_answers(out)] == ["a", "d"]
    listed = [json.loads(line) for line in (tmp_path / "a.jsonl.bad").read_text().splitlines()]
    assert [(line["row"], line["id"]) for line in listed] == [(1, "b"), (2, "c")]
    assert "content filter" in listed[0]["reason"]


@pytest.mark.parametrize("answer", [(400, {"error": "no such model"}), (500, "oh"), "drop"])
def test_a_server_that_answers_nothing_is_not_taken_for_bad_pages(tmp_path, answer):
    with OpenAIServer() as server:
        server.rule = lambda body: answer
        with pytest.raises(Vec2SlugError, match="expected an answer by chat-1"):
            ask_all(asked(server), list("abc"), PAGES, tmp_path / "a.jsonl", skip_bad=True)
        assert len(server.bodies) <= 8


def test_answers_may_be_longer_for_models_that_think(tmp_path):
    out = tmp_path / "a.jsonl"
    with OpenAIServer() as server:
        ask_all(asked(server), ["a"], PAGES[:1], out)
        ask_all(asked(server, answer_tokens=2000), ["a"], PAGES[:1], out)
        assert [body["max_tokens"] for body in server.bodies] == [64, 2000]
        with pytest.raises(Vec2SlugError, match="1 token or more, got 0"):
            asked(server, answer_tokens=0)


def test_answers_that_were_cut_off_are_counted():
    with OpenAIServer() as server:
        thought = {"message": {"content": "<think> well"}, "finish_reason": "length"}
        server.rule = lambda body: (200, {"choices": [thought]})
        client = asked(server)
        client.ask("a", PAGES[0])
        server.rule = lambda body: None
        client.ask("b", PAGES[1])
    assert client.truncated == 1


def test_an_answer_without_a_bill():
    with OpenAIServer(faults=["unpaid"]) as server:
        assert asked(server).ask("a", PAGES[0])[3:5] == (0, 0)


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        (["401"], "refuses the key: check OPENAI_API_KEY"),
        (["429"] * 4, "but the server says: 429 refused"),
        (["400"], "but the server says: 400 refused"),
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
        with pytest.raises(Vec2SlugError, match="expected a text for a, but it is empty"):
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


def test_an_answer_belongs_to_model_prompt_and_text(tmp_path):
    out = tmp_path / "answers.jsonl"
    with OpenAIServer() as server:
        first = ask_all(asked(server), list("abc"), PAGES, out)
        changed = [*PAGES[:2], "Rivers flow to the north"]
        second = ask_all(asked(server), list("abc"), changed, out)
        assert len(server.requests) == 4
        assert [answer.slug for answer in second[:2]] == [answer.slug for answer in first[:2]]
        assert second[2].slug == "rivers-flow-to-the"
        assert unanswered(asked(server), list("abc"), changed, out) == []
        other = ChatSlugs("chat-2", server.url)
        assert unanswered(other, list("abc"), PAGES, out) == [0, 1, 2]
        ask_all(other, ["a"], PAGES[:1], out)
        assert len(server.requests) == 5
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(llm_baseline, "PROMPT", "Name it:\n\n")
            ask_all(other, ["a"], PAGES[:1], out)
        assert len(server.requests) == 6
        assert ask_all(asked(server), list("abc"), PAGES, out) == first  # the old ones stay
        assert len(server.requests) == 6


def test_the_same_id_twice_is_two_pages(tmp_path):
    with OpenAIServer() as server:
        answers = ask_all(asked(server), ["a", "a"], PAGES[:2], tmp_path / "answers.jsonl")
    assert [answer.slug for answer in answers] == ["the-queen-of-a", "bread-needs-flour-and"]


LINE = json.dumps(Answer("a", "x-y-z", True, 1, 2, 3.0, "d" * 64)._asdict())


@pytest.mark.parametrize(
    "content",
    [
        '{"row": 1}\n', f"{LINE}\nnotes\n", f"{LINE}\n\n{LINE}\n", "my notes", f"{LINE}\nmy notes",
        LINE.replace("1, ", "null, ") + "\n", LINE.replace("d" * 64, "") + "\n", "[1]\n", "\xff\n",
        "[" * 100_000 + "\n", LINE.replace('"slug": "x-y-z"', '"slug": null') + "\n",
    ],
)  # fmt: skip
def test_a_file_of_something_else_is_refused_and_stays(tmp_path, content):
    out = tmp_path / "answers.jsonl"
    out.write_text(content, encoding="latin-1")
    with OpenAIServer() as server:
        with pytest.raises(Vec2SlugError, match=r"expected answers of a chat model in .*\.jsonl"):
            ask_all(asked(server), ["a"], PAGES[:1], out)
        assert server.requests == []
    assert out.read_text(encoding="latin-1") == content


@pytest.mark.parametrize("end", range(1, len(LINE) + 1, 7))
def test_half_a_line_is_cut_off(tmp_path, end):
    out = tmp_path / "answers.jsonl"
    out.write_text(f"{LINE}\n{LINE[:end]}")
    assert len(read_answers(out)) == 1
    assert out.read_text() == f"{LINE}\n"


def test_one_process_asks_at_a_time(tmp_path):
    out = tmp_path / "answers.jsonl"
    with OpenAIServer() as server, one_writer(out):
        with pytest.raises(Vec2SlugError, match="to be alone in writing"):
            ask_all(asked(server), list("abc"), PAGES, out)
        assert server.requests == []


@pytest.mark.parametrize("text", ["", None, 3, "\ud800"])
def test_a_page_without_a_text_is_named_and_what_came_before_is_kept(tmp_path, text):
    out = tmp_path / "answers.jsonl"
    with OpenAIServer() as server, pytest.raises(Vec2SlugError, match="expected a text for b, but"):
        ask_all(asked(server), list("abc"), [PAGES[0], text, PAGES[2]], out)
    assert [answer.id for answer in read_answers(out)] == ["a"]


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
