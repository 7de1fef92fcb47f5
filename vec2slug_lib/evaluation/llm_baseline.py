"""Slugs by a chat model: what an embedding's slug costs and scores beside one made from the text.

Any server that speaks OpenAI's chat protocol will do. As in the study, temperature 0 and at most 64
tokens of answer, where the model takes both.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import openai

from ..common.errors import Vec2SlugError
from ..common.jobs import digest, one_writer
from ..common.slugs import MAX_WORDS, MIN_WORDS, is_valid
from ..embedding.base import text_fault
from ..embedding.job import write_bad
from ..embedding.openai_answers import REFUSALS, read_share
from ..embedding.openai_client import ERRORS, explain, open_client, post, said
from .chat_answers import answer_text, find_slug

PROMPT = (
    f"Write the last part of a web address for the page below: {MIN_WORDS} to {MAX_WORDS} words in "
    "lower case, joined by hyphens, that name its topic. Answer with that part alone.\n\n"
)
ANSWER_TOKENS = 64
MAX_TEXT_CHARS = 24_000  # about 6,000 tokens; a page of the corpus has 1,000 at most
# Options that a server may refuse, and what is said in their place.
INSTEAD = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "", "temperature": ""}
CONTEXT = re.compile(
    r"context (?:length|size|window|limit)|(?:input|prompt|text).*too (?:long|large)"
)
CUTS = 8  # of a page that is over the server's context
PROBE = "Bread needs flour and water."  # what any server can answer


class PageRefused(Vec2SlugError):
    """One page has no answer; whether others have is not known."""


class Answer(NamedTuple):
    """What the model made of one page; ``slug`` is empty where it made nothing of use."""

    id: str
    slug: str
    valid: bool  # whether the answer was a slug as it stood, what the model thought apart
    input_tokens: int
    output_tokens: int
    seconds: float
    digest: str = ""  # of model, prompt, text and the most tokens: whose answer it is


class ChatSlugs:
    """Client of a chat endpoint, with the key in ``OPENAI_API_KEY``.

    The ``openai`` package waits and tries again after rate limits, server errors, timeouts and lost
    connections. An option that the server refuses is not sent again.

    Attributes:
        model: model name, as the server knows it.
        answer_tokens: tokens of an answer at most, what the model thinks included.
        truncated: how many answers were cut off there so far.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        timeout: float = 60.0,
        retries: int = 10,
        answer_tokens: int | None = None,
    ) -> None:
        """Set up the client; nothing is sent.

        Raises:
            Vec2SlugError: ``OPENAI_API_KEY`` is not set, or an answer may have no token.
        """
        if answer_tokens is not None and answer_tokens < 1:
            raise Vec2SlugError(f"expected answers of 1 token or more, got {answer_tokens}")
        self.model, self.answer_tokens = model, answer_tokens or ANSWER_TOKENS
        self.truncated = 0
        self._client = open_client(base_url, timeout, retries)
        self._options: dict[str, Any] = {"temperature": 0, "max_tokens": self.answer_tokens}

    def ask(self, name: str, text: str) -> Answer:
        """Ask for one page's slug. An answer that is no slug is not valid; the slug in it counts.

        Raises:
            PageRefused: an empty text, or one that the server refused or failed at.
            Vec2SlugError: the server could not be reached, or does not speak the protocol.
        """
        if fault := text_fault(text):
            raise PageRefused(f"expected a text for {name}, but it {fault}")
        began = time.perf_counter()
        try:
            message, usage, ending = _read(self._complete(text[:MAX_TEXT_CHARS]))
        except ERRORS as error:
            # Without its cause: a traceback would show the server's words, which may hold the key.
            words = explain(error, f"an answer by {self.model} for {name}", self._client)
            status = getattr(error, "status_code", 0)
            if status in REFUSALS or status >= 500:
                raise PageRefused(words) from None
            raise Vec2SlugError(words) from None
        self.truncated += ending == "length"
        written, spent = answer_text(message), (usage["prompt_tokens"], usage["completion_tokens"])
        seconds = time.perf_counter() - began
        return Answer(
            name, find_slug(written), is_valid(written), *spent, seconds, self.digest(text)
        )

    def digest(self, text: str) -> str:
        """Hash what an answer belongs to."""
        return digest([self.model, PROMPT, str(self.answer_tokens), text[:MAX_TEXT_CHARS]])

    def _complete(self, text: str) -> Any:
        """Return the server's answer; options that it refuses are left out from then on.

        A text over the server's context is cut by its own word.
        """
        for tries in count():
            messages = [{"role": "user", "content": PROMPT + text}]
            body = {"model": self.model, "messages": messages, **self._options}
            try:
                return post(self._client, "/chat/completions", body)
            except openai.APIStatusError as error:
                words = f"{said(error.body)} {error.param}"
                if error.status_code not in REFUSALS:
                    raise
                if CONTEXT.search(words) and tries < CUTS:
                    text = text[: int(len(text) * read_share(said(error.body)))]
                elif not self._adapt(words):
                    raise

    def _adapt(self, words: str) -> bool:
        """Give up the first option that a refusal names, or rename it; False if it names none."""
        for name, other in INSTEAD.items():
            if name in self._options and name in words:
                value = self._options.pop(name)
                if other:
                    self._options[other] = value
                return True
        return False


def _read(answer: Any) -> tuple[Mapping[str, Any], dict[str, int], object]:
    """Read off an answer its message, how many tokens were used, and why it ended.

    Raises:
        ValueError: it is no answer of the protocol.
    """
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not isinstance(choices, list):
        raise ValueError(said(answer))
    choice = choices[0] if choices else {}
    message, ending = choice.get("message"), choice.get("finish_reason")
    usage, names = answer.get("usage"), ("prompt_tokens", "completion_tokens")
    counts = usage if isinstance(usage, dict) else {}
    tokens = {name: counts[name] if isinstance(counts.get(name), int) else 0 for name in names}
    return message if isinstance(message, dict) else {}, tokens, ending


def ask_all(
    chat: ChatSlugs,
    names: Sequence[str],
    texts: Sequence[str],
    out: Path,
    progress: Callable[[int], object] | None = None,
    skip_bad: bool = False,
) -> list[Answer]:
    """Ask for all pages; each answer is appended to ``out`` at once, and not asked for again.

    An answer belongs to the page's id and text, the model and the prompt; others that are in
    ``out`` stay there and count for nothing.

    Args:
        chat: whom to ask.
        names: ids of N pages.
        texts: of the pages.
        out: JSON lines, of an earlier run too.
        progress: called with the number of pages just done.
        skip_bad: whether to go on without pages that have no text, or that the server refuses
            though it answers others: their answer is empty, and they stand in ``<out>.bad``.

    Raises:
        Vec2SlugError: as `ChatSlugs.ask`; what is done is kept. Or ``out`` is something else, or
            another process writes it.
    """
    keys, reasons = _keys(chat, names, texts), dict[int, str]()
    with one_writer(out):
        known = {(answer.id, answer.digest): answer for answer in read_answers(out)}
        with out.open("a", encoding="utf-8") as file:
            for row, (key, text) in enumerate(zip(keys, texts, strict=True)):
                if key not in known:
                    try:
                        known[key] = chat.ask(key[0], text)
                        file.write(json.dumps(known[key]._asdict()) + "\n")
                        file.flush()
                    except PageRefused as refused:
                        if not skip_bad:
                            raise
                        chat.ask("a plain page", PROBE)  # raises if the server is at fault
                        reasons[row] = str(refused)
                if progress:
                    progress(1)
        write_bad(names, reasons, out)
    return [known.get(key, Answer(key[0], "", False, 0, 0, 0.0, key[1])) for key in keys]


def unanswered(chat: ChatSlugs, names: Sequence[str], texts: Sequence[str], out: Path) -> list[int]:
    """List the rows that `ask_all` would ask for."""
    known = {(answer.id, answer.digest) for answer in read_answers(out)}
    return [row for row, key in enumerate(_keys(chat, names, texts)) if key not in known]


def _keys(chat: ChatSlugs, names: Sequence[str], texts: Sequence[str]) -> list[tuple[str, str]]:
    """Return what each page's answer is known by: id and digest."""
    return [(name, chat.digest(str(text))) for name, text in zip(names, texts, strict=True)]


def read_answers(path: Path) -> list[Answer]:
    """Read the answers of a file; half a line at its end, left by a kill, is cut off.

    Raises:
        Vec2SlugError: a line is something else; the file stays as it is.
    """
    if not path.is_file():
        return []
    whole, newline, rest = path.read_bytes().rpartition(b"\n")
    if rest and not rest.startswith(b'{"id": '[: len(rest)]):
        raise Vec2SlugError(f"expected answers of a chat model in {path}, got {rest[:80]!r}")
    lines = whole.split(b"\n") if newline else []
    answers = [_parse(line, f"{path}, line {number}") for number, line in enumerate(lines, 1)]
    if rest:
        with path.open("rb+") as file:
            file.truncate(len(whole) + len(newline))
    return answers


def _parse(line: bytes, where: str) -> Answer:
    """Read one answer.

    Raises:
        Vec2SlugError: it is something else.
    """
    kinds = (str, str, bool, int, int, float, str)
    try:
        answer = Answer(**json.loads(line))
        if not all(map(isinstance, answer, kinds)) or not answer.digest:
            raise ValueError("a value is of another kind, or what it answers is not said")
    except (ValueError, TypeError, RecursionError) as error:
        wanted = f"expected answers of a chat model in {where}"
        raise Vec2SlugError(f"{wanted}, but: {error}; remove the line, or the file") from error
    return answer


def dollars(answers: Sequence[Answer], input_price: float, output_price: float) -> float:
    """Compute the cost of the answers; prices in dollars a million tokens."""
    inputs = sum(answer.input_tokens for answer in answers)
    outputs = sum(answer.output_tokens for answer in answers)
    return _price(inputs, outputs, input_price, output_price)


def highest_price(
    tokens: Sequence[int],
    input_price: float,
    output_price: float,
    answer_tokens: int = ANSWER_TOKENS,
) -> float:
    """Compute what asking for pages of so many tokens costs at most; prices as in `dollars`."""
    prompt = len(PROMPT) // 4
    inputs, outputs = sum(tokens) + prompt * len(tokens), answer_tokens * len(tokens)
    return _price(inputs, outputs, input_price, output_price)


def _price(inputs: int, outputs: int, input_price: float, output_price: float) -> float:
    return (inputs * input_price + outputs * output_price) / 1e6


def summary(answers: Sequence[Answer], input_price: float, output_price: float) -> dict[str, Any]:
    """Summarise the answers: share of valid ones, tokens, seconds and dollars.

    Returns:
        ``pages``; ``valid``, their share; means a page of ``input_tokens`` and ``output_tokens``;
        the median of ``seconds``; and ``dollars_per_thousand`` pages.

    Raises:
        Vec2SlugError: there is no answer.
    """
    count = len(answers)
    if not count:
        raise Vec2SlugError("expected at least one answer, got none")
    return {
        "pages": count,
        "valid": sum(answer.valid for answer in answers) / count,
        "input_tokens": sum(answer.input_tokens for answer in answers) / count,
        "output_tokens": sum(answer.output_tokens for answer in answers) / count,
        "seconds": sorted(answer.seconds for answer in answers)[count // 2],
        "dollars_per_thousand": 1000 * dollars(answers, input_price, output_price) / count,
    }
