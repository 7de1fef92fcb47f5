"""What a slug is: the rules that corpus filters, decoding and evaluation share."""

from __future__ import annotations

import re
import unicodedata
from hashlib import sha256
from urllib.parse import urlsplit

MIN_WORDS, MAX_WORDS = 3, 8
DIGITS = 5  # of the hash that makes a slug unique, hexadecimal

# The one stopword list of the project: articles, conjunctions, prepositions, auxiliaries and
# pronouns. Particles that often close a real slug (up, out, now, again, ...) are left out.
STOPWORDS = frozenset(
    """a about above after against am an and any are as at be because been before being below
    between both but by can could did do does doing during each for from had has have having he
    her hers him his how i if in into is it its itself just me most my no nor not of on or other
    our she should so some such than that the their them then there these they this those through
    to too under until very was we were what when where which while who whom why will with would
    you your""".split()
)

INFRASTRUCTURE = re.compile(
    r"(index|page|post|article|default|category|tag|archive|feed|rss|print|embed)"
    r"\.(html?|php|aspx?|shtml|xml)"
)
EXTENSION = re.compile(r"\.(html?|php|aspx?|shtml|xml)$")
KEBAB = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
RAW_SLUG = re.compile(r"[a-z0-9]+([-_][a-z0-9]+)*")


def words(slug: str) -> list[str]:
    """Return the words of a slug: its non-empty parts between hyphens."""
    return [word for word in slug.split("-") if word]


def slugify(text: str, max_words: int = MAX_WORDS) -> str:
    """Make a slug by plain rules: ASCII, lower case, at most ``max_words`` words, maybe none."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    ascii_text = re.sub(r"['’`]", "", ascii_text.lower())
    return "-".join(re.findall(r"[a-z0-9]+", ascii_text)[:max_words])


def is_valid(slug: str) -> bool:
    """Check a slug's form as the study has it: kebab-case, 2 to 8 words, 3 to 80 characters."""
    return (
        KEBAB.fullmatch(slug) is not None
        and 2 <= len(words(slug)) <= MAX_WORDS
        and 3 <= len(slug) <= 80
    )


def candidate_segment(url: str) -> str | None:
    """Return the last path segment that is no infrastructure: lower case, without extension."""
    try:
        path = urlsplit(url).path
    except ValueError:  # such as an unclosed IPv6 bracket
        return None
    segments = [segment.lower() for segment in path.split("/") if segment]
    while segments and INFRASTRUCTURE.fullmatch(segments[-1]):
        segments.pop()
    return EXTENSION.sub("", segments[-1]) if segments else None


def extract_slug(url: str) -> tuple[str | None, str]:
    """Extract the slug that a person wrote into a URL, by the study's rules.

    Returns:
        ``(slug, "")``, or ``(None, reason)`` with the name of the rule that rejected the URL:
        ``no_path``, ``not_kebab``, ``word_count``, ``numeric``, ``short_words``, ``stopwords``.
    """
    segment = candidate_segment(url)
    if segment is None:
        return None, "no_path"
    if not RAW_SLUG.fullmatch(segment):
        return None, "not_kebab"
    slug = segment.replace("_", "-")
    reason = rejection(slug)
    return (None, reason) if reason else (slug, "")


def rejection(slug: str) -> str:
    """Name the first corpus rule that a kebab-case slug breaks; an empty string if none."""
    parts = words(slug)
    numbers = [int(part) for part in parts if part.isdigit()]
    if not MIN_WORDS <= len(parts) <= MAX_WORDS:
        return "word_count"
    if len(numbers) >= 2 or any(number > 31 for number in numbers):
        return "numeric"
    if sum(len(part) > 1 for part in parts) < 3:
        return "short_words"
    if sum(part in STOPWORDS for part in parts) > 0.4 * len(parts):
        return "stopwords"
    return ""


class UniqueSlugs:
    """Slugs with a short stable hash, as ``amelia-earhart-f86ab``; in one run none is given twice.

    The same item has the same slug each time. Where the digits of two items are alike, the later
    one gets more of its own.
    """

    def __init__(self) -> None:
        self._owners: dict[str, bytes] = {}

    def name(self, slug: str, key: bytes) -> str:
        """Give a slug its hash.

        Args:
            slug: any slug.
            key: what identifies the item, such as its text or ``vectors.vector_key``.
        """
        owner = sha256(key).digest()
        length = DIGITS
        while self._owners.setdefault(named := f"{slug}-{owner.hex()[:length]}", owner) != owner:
            length += 1
        return named
