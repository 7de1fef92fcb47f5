"""What a chat model answers, and the slug that is in it.

Models think aloud, say something before their answer, or quote it. Thinking is no part of an
answer; a slug in a sentence is not the answer as it was asked for, but it is the model's slug.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from ..common.slugs import MAX_WORDS, candidate_segment, is_valid, slugify, words

READ = 4_000  # characters of an answer, from its end, that are searched
THOUGHT = r"(?:think|thinking|thought|thoughts|reasoning)"
OPENS = re.compile(rf"[<\[◁]{THOUGHT}\b[^>\]▷]*[>\]▷]", re.I)
CLOSES = re.compile(rf"[<\[◁]/{THOUGHT}\s*[>\]▷]", re.I)
CHANNEL, FINAL = "<|channel|>", "final<|message|>"  # of the open models by OpenAI
MARK = re.compile(r"<\|[^|<>]*\|>|</?s>")  # of a model's template
HYPHENS = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2212", "-"))
EXTENSION = re.compile(r"\.(html?|php|aspx?)\b")
PATH = re.compile(r"[^\s`\"'*<>()\[\]]*/[^\s`\"'*<>()\[\]]*")
SLUG = r"(?<![\w@-])[a-z0-9]+(?:-[a-z0-9]+)+(?![\w@-]|\.[a-z])"
QUOTES = r"[`\"'*“”‘’«»]"
LABEL = r"(?:slug|answer|address|url|path|segment|part|result|final)"
# Where a slug stands, from the clearest place to the vaguest.
PLACES = (
    re.compile(rf"{LABEL}\b[^:=\n]*[:=]\s*{QUOTES}*({SLUG})"),
    re.compile(rf"^(?:.*[:=]|[\s>#*•-]*(?:\d+[.)])?)\s*{QUOTES}*({SLUG}){QUOTES}*[\s.!]*$", re.M),
    re.compile(rf"{QUOTES}\s*({SLUG})\s*{QUOTES}"),
    re.compile(rf"({SLUG})"),
)


def answer_text(message: Mapping[str, Any]) -> str:
    """Return the text of a chat model's message, without what it thought; empty if it refused.

    Args:
        message: with ``content``, a string or a list of parts; what it thought may stand in a
            field, in a part of its own, or between marks such as ``<think>``.
    """
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(map(_part_text, content))
    return without_thinking(content).strip() if isinstance(content, str) else ""


def _part_text(part: object) -> str:
    """Return the text of a part; empty if it is no part of the answer."""
    if isinstance(part, Mapping) and part.get("type", "text") in ("text", "output_text"):
        part = part.get("text")
    return part if isinstance(part, str) else ""


def without_thinking(text: str) -> str:
    """Cut off what a model thought before its answer; all of an answer that never came to an end.

    The opening mark may be missing, as some servers put it into the prompt.
    """
    if CHANNEL in text:
        text = text.rpartition(FINAL)[2] if FINAL in text else ""
    while (close := CLOSES.search(text)) is not None:
        opened = list(OPENS.finditer(text, 0, close.start()))
        text = (text[: opened[-1].start()] if opened else "") + text[close.end() :]
    opening = OPENS.search(text)
    return text[: opening.start()] if opening else text


def find_slug(answer: str) -> str:
    """Find the slug in an answer: the one in the clearest place; empty if there is none, or many.

    A slug of more than 8 words is cut. An answer of a few words and no more is made into a slug.
    """
    if is_valid(answer):
        return answer
    text = _plain(answer[-READ:])
    for candidates in _candidates(text):
        distinct = {slug for slug in map(slugify, candidates) if is_valid(slug)}
        if distinct:
            return distinct.pop() if len(distinct) == 1 else ""
    line = text.strip().strip("`\"'*.")
    phrase = slugify(line, MAX_WORDS + 1)
    return phrase if re.fullmatch(r"[\w -]+", line) and is_valid(phrase) else ""


def _candidates(text: str) -> Iterator[list[str]]:
    """Yield the slugs of each kind of place; of those anywhere first the ones of three words."""
    for place in PLACES:
        slugs = place.findall(text)
        yield [slug for slug in slugs if len(words(slug)) > 2] if place is PLACES[-1] else slugs
    yield slugs


def _plain(answer: str) -> str:
    """Bring an answer to lower case, plain letters and hyphens; of an address its end is left."""
    letters = unicodedata.normalize("NFKD", MARK.sub(" ", answer)).translate(HYPHENS).lower()
    text = "".join(char for char in letters if not unicodedata.combining(char))
    text = PATH.sub(_end_of_path, EXTENSION.sub("", text))
    return re.sub(r"(?<=[a-z0-9])_(?=[a-z0-9])", "-", text)


def _end_of_path(path: re.Match[str]) -> str:
    return (candidate_segment(path[0].rstrip(".,;:!?")) or "").rstrip(".,;:!?")
