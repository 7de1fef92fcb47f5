"""What servers that speak OpenAI's protocol answer, well or badly: vectors and refusals."""

from __future__ import annotations

import base64
import json
import re
from typing import Any, NamedTuple

import numpy as np

from ..common.errors import Vec2SlugError
from ..common.vectors import Array, Floats, unit_rows
from .openai_client import said

LARGEST = 1e15  # number of a vector; the smallest but 0 is as small
SHOWN = 120  # characters of an answer that a message shows
REFUSALS = (400, 413, 422)  # statuses: of this request, and not of any
MARGIN = 0.95  # of what a server reads by its own word, as tokens are not spread evenly
NUMBER = r"(?<![\w.])\d[\d,]*(?!\w)"
OVER = r"max\w*|at most|limit\w*|up to|exceed\w*|(?:more|larger|greater|longer|less|fewer) than"
MOST = re.compile(rf"(?:{OVER})\D{{0,40}}?({NUMBER})", re.I)
SIZE = r"token|length|character|sequence|input"
LARGE = re.compile(
    r"too (?:long|large|many tokens)|context (?:length|size|window|limit)|"
    rf"(?:{OVER}).*(?:{SIZE})|(?:{SIZE}).*(?:{OVER})",
    re.I,
)


class Unreadable(Exception):
    """An answer without one vector for each text; the message says what came."""


class Failed(Exception):
    """A request without vectors, in whose place another, with other texts, may bring some.

    Attributes:
        said: the server's words alone.
        refused: whether the server said no; else it failed, or sent something else.
        too_large: whether the refusal is about the size of what was sent.
        unreachable: whether there was no answer at all.
    """

    def __init__(
        self,
        reason: str,
        said: str = "",
        *,
        refused: bool = False,
        too_large: bool = False,
        unreachable: bool = False,
    ) -> None:
        super().__init__(reason)
        self.said, self.refused = said, refused
        self.too_large, self.unreachable = too_large, unreachable


class Row(NamedTuple):
    """What came of one text: a unit vector float32 ``[width]``, or the reason why there is none."""

    vector: Floats | None
    reason: str = ""
    truncated: bool = False


def read_rows(answer: object, count: int, width: int | None) -> list[Row]:
    """Read the vectors of an answer, in the order of the texts.

    Args:
        answer: JSON.
        count: how many texts were sent.
        width: numbers of a vector; any, but the same for all, if None.

    Raises:
        Unreadable: it has another form, or another number of vectors.
        Vec2SlugError: vectors of another width.
    """
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        shown = said(answer) if answer else "it is empty"
        raise Unreadable(f"the answer is not one of OpenAI's protocol: {shown[:SHOWN]}")
    if len(data) != count:
        raise Unreadable(f"expected one vector for each of {count} texts, got {len(data)}")
    rows = [_row(item.get("embedding"), width) for item in in_order(data)]
    widths = sorted({len(row.vector) for row in rows if row.vector is not None})
    if len(widths) > 1 or (width is not None and widths not in ([], [width])):
        wanted = "as many" if width is None else width
        raise Vec2SlugError(f"expected {wanted} values a text, got {widths}")
    return rows


def in_order(data: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Order items by their indices; where these say nothing, they stand as they came.

    Raises:
        Unreadable: some indices say something, but not each text's own.
    """
    given = [item.get("index") for item in data]
    if len({str(index) for index in given}) == 1:
        return data
    try:
        numbers = [int(index) for index in given]  # type: ignore[arg-type]
    except (TypeError, ValueError):
        numbers = []
    if sorted(numbers) != list(range(min(numbers, default=0), min(numbers, default=0) + len(data))):
        raise Unreadable(f"expected the indices 0 to {len(data) - 1}, got {str(given)[:SHOWN]}")
    return [data[place] for place in np.argsort(numbers)]


def _row(value: Any, width: int | None) -> Row:
    """Read one vector, of numbers or of base64."""
    if value is None:
        return Row(None, "the server sent no vector")
    try:
        with np.errstate(over="ignore"):  # what becomes infinite is not finite
            vector = np.asarray(_decoded(value, width)).astype(np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise Unreadable(f"expected a vector of numbers, got {str(value)[:SHOWN]}") from error
    if vector.ndim == 2 and len(vector) == 1:
        vector = vector[0]
    if vector.ndim != 1:
        raise Unreadable(f"expected one vector a text, got an array {list(vector.shape)}")
    if not len(vector):
        return Row(None, "the server sent an empty vector")
    unit, bad = unit_rows(vector[None])
    return Row(None, f"its vector {bad[0]}") if bad else Row(unit[0])


def _decoded(value: Any, width: int | None) -> Any:
    """Decode base64, or JSON in a string; leave numbers as they are."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return floats(base64.b64decode(value, validate=True), width)


def floats(data: bytes, width: int | None) -> Array:
    """Read bytes as the numbers that they are: float32 by the protocol, else float64 or float16.

    Double precision shows: read as float32, half of the numbers have absurd sizes. Half precision
    shows by the width, if that is known.

    Raises:
        ValueError: as many bytes make no whole numbers.
    """
    if width and len(data) == 2 * width and plausible(np.frombuffer(data, "<f2"), 1e2):
        return np.frombuffer(data, "<f2")
    single = np.frombuffer(data, "<f4")
    if len(data) == 8 * width if width else len(data) % 8 == 0:
        double = np.frombuffer(data, "<f8")
        if plausible(double) and not plausible(single):
            return double
    return single


def plausible(values: Array, largest: float = LARGEST) -> bool:
    """Tell whether numbers may be those of a vector, by their sizes."""
    sizes = np.abs(values.astype(np.float64))
    return bool(((sizes == 0) | (sizes >= 1 / LARGEST) & (sizes <= largest)).all())


def too_large(words: str) -> bool:
    """Tell whether a refusal is about the size of what was sent."""
    return LARGE.search(words) is not None


def batch_limit(words: str, texts: int) -> int | None:
    """Read off a refusal how many texts a request may have; None if it does not say."""
    named = MOST.search(words)
    if named is None or re.search("token|character|context", words, re.I):
        return None
    number = _number(named[1])
    return number if 1 <= number < texts else None


def read_share(words: str) -> float:
    """Read off a refusal which share of a text the server reads: a half, if it does not say.

    Such as 512 of 700: "maximum context length is 512 tokens, however you requested 700 tokens".
    """
    numbers = sorted(_number(number) for number in re.findall(NUMBER, words))
    named = MOST.search(words)
    most = _number(named[1]) if named else min(numbers, default=0)
    # Less than 512 of 512 is also one too many.
    given = next((number for number in numbers[numbers.index(most) + 1 :]), 0) if numbers else 0
    return MARGIN * most / given if most and given else 0.5


def _number(digits: str) -> int:
    return int(digits.replace(",", ""))
