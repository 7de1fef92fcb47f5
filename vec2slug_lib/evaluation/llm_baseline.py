"""Slugs by a chat model: what an embedding's slug costs and scores beside one made from the text.

Any server that speaks OpenAI's chat protocol will do. As in the study, temperature 0 and at most 64
tokens of answer.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import openai

from ..common.errors import Vec2SlugError
from ..common.files import whole_lines
from ..common.slugs import MAX_WORDS, MIN_WORDS, is_valid, slugify
from ..embedding.openai_client import explain, open_client

PROMPT = (
    f"Write the last part of a web address for the page below: {MIN_WORDS} to {MAX_WORDS} words in "
    "lower case, joined by hyphens, that name its topic. Answer with that part alone.\n\n"
)
ANSWER_TOKENS = 64
MAX_TEXT_CHARS = 24_000  # about 6,000 tokens; a page of the corpus has 1,000 at most


class Answer(NamedTuple):
    """What the model made of one page; ``slug`` is empty where it made nothing of use."""

    id: str
    slug: str
    valid: bool  # whether the answer was a slug as it stood
    input_tokens: int
    output_tokens: int
    seconds: float


class ChatSlugs:
    """Client of a chat endpoint, with the key in ``OPENAI_API_KEY``.

    The ``openai`` package waits and tries again after rate limits, server errors, timeouts and lost
    connections.
    """

    def __init__(
        self, model: str, base_url: str | None = None, timeout: float = 60.0, retries: int = 10
    ) -> None:
        """Set up the client; nothing is sent.

        Raises:
            Vec2SlugError: ``OPENAI_API_KEY`` is not set.
        """
        self.model, self._client = model, open_client(base_url, timeout, retries)

    def ask(self, name: str, text: str) -> Answer:
        """Ask for one page's slug. An answer that is no slug counts as not valid, and is made one.

        Raises:
            Vec2SlugError: an empty text; or the server refused, could not be reached, or does not
                speak the protocol.
        """
        if not text.strip():
            raise Vec2SlugError(f"expected a text for {name}, got none")
        began = time.perf_counter()
        try:
            answer = self._client.chat.completions.create(
                model=self.model,
                messages=[{"role": "user", "content": PROMPT + text[:MAX_TEXT_CHARS]}],
                temperature=0,
                max_tokens=ANSWER_TOKENS,
            )
            content = answer.choices[0].message.content if answer.choices else None
            used = answer.usage
            spent = (used.prompt_tokens, used.completion_tokens) if used else (0, 0)
        except (openai.OpenAIError, ValueError, TypeError, AttributeError) as error:
            # Without its cause: a traceback would show the server's words, which may hold the key.
            wanted = f"an answer by {self.model}"
            raise Vec2SlugError(explain(error, wanted, self._client)) from None
        written = (content or "").strip()
        slug = written if is_valid(written) else slugify(written)
        usable = slug if is_valid(slug) else ""
        return Answer(name, usable, is_valid(written), *spent, time.perf_counter() - began)


def ask_all(
    chat: ChatSlugs,
    names: Sequence[str],
    texts: Sequence[str],
    out: Path,
    progress: Callable[[int], object] | None = None,
) -> list[Answer]:
    """Ask for all pages; each answer is appended to ``out`` at once, and not asked for again.

    Args:
        chat: whom to ask.
        names: ids of N pages.
        texts: of the pages.
        out: JSON lines, of an earlier run too.
        progress: called with the number of pages just done.

    Raises:
        Vec2SlugError: as `ChatSlugs.ask`; what is done is kept. Or ``out`` is something else.
    """
    known = {answer.id: answer for answer in read_answers(out)}
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a", encoding="utf-8") as file:
        for name, text in zip(names, texts, strict=True):
            if name not in known:
                known[name] = chat.ask(name, text)
                file.write(json.dumps(known[name]._asdict()) + "\n")
                file.flush()
            if progress:
                progress(1)
    return [known[name] for name in names]


def read_answers(path: Path) -> list[Answer]:
    """Read the answers of a file; half a line at its end, left by a kill, is cut off.

    Raises:
        Vec2SlugError: a line is something else.
    """
    if not whole_lines(path):
        return []
    try:
        with path.open(encoding="utf-8") as file:
            return [Answer(**json.loads(line)) for line in file]
    except (ValueError, TypeError) as error:
        raise Vec2SlugError(f"expected answers of a chat model in {path}, but: {error}") from error


def dollars(answers: Sequence[Answer], input_price: float, output_price: float) -> float:
    """Compute the cost of the answers; prices in dollars a million tokens."""
    inputs = sum(answer.input_tokens for answer in answers)
    outputs = sum(answer.output_tokens for answer in answers)
    return _price(inputs, outputs, input_price, output_price)


def highest_price(tokens: Sequence[int], input_price: float, output_price: float) -> float:
    """Compute what asking for pages of so many tokens costs at most; prices as in `dollars`."""
    prompt = len(PROMPT) // 4
    inputs, outputs = sum(tokens) + prompt * len(tokens), ANSWER_TOKENS * len(tokens)
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
