"""What a slug is: the rules that corpus filters, decoding and evaluation share."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import urlsplit

MIN_WORDS, MAX_WORDS, MAX_CHARS = 3, 8, 80

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

# Words glued from themselves, as what stands before, the unit and the rest: `moonmoon`; of three
# letters or more also with a rest, `redreds`; of four or more also behind something, `newmoonmoon`.
GLUED = (
    re.compile(r"()(.{2,}?)\2+()"),
    re.compile(r"()(.{3,}?)\2+(.+)"),
    re.compile(r"(.+?)(.{4,}?)\2+()"),
)
# Words that have this form and are none: first all that the slugs of the book's training pages
# hold, then what a dictionary and the texts of the pages add. From six letters on, each stands for
# all words that begin with it. A decoder's tokens would not do: of the 26 of the released model
# that are glued in form, twelve are no words but `erer` or `assass`.
DOUBLED_WORDS = frozenset(
    """assassin baba barbara barbari barbaro barbary chechen cincinnati coco couscous dada didi
    dramarama drmdrm duckduckgo dudu gaga gigi gogogo haha horahora isis jojo juju kisirusiru lala
    lulu mama meme momo moumouni moyamoya murmur nana nene networktypetype niconico papa pawpaw pepe
    purpura purpuric radradiobuttonlist salsalate shhhhhhhhhhhhhhhhh sisi strstr tabataba tartar
    tata tsetse tumtum waackaack yoyo zeze

    alfalfa atlatl barbarella benben berber beriberi bobo bonbon borborygm bulbul cancan caracara
    chacha chichi chowchow corcoran cplusplus cuscus dikdik dodo dumdum entente froufrou furfural
    hotshots iquique kamehameha karkare khoikhoi kiki kinking lavalava mahimahi marmara marmaris
    mimi motmot muumuu piripiri pompom purpure sensenbrenner shashank shoshone tamtam testes tintin
    tinting tomtom tuktuk tutu ulonglong varvara wikiwiki yumyum""".split()
)

HEX = re.compile(r"[0-9a-f]{8,}")
UUID = re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
RUN = re.compile(r"[a-z]+|[0-9]+")
JUMBLE = re.compile(r"[b-df-gj-np-tv-xz]{4}")  # four consonants side by side, as in `iduskbn`
READABLE = re.compile(r"(?=.*[aeiouy])[a-z]{4,}")
# Not identifiers, though they look it: `2009dec21`, `1200x800x600mm`.
DATE_OR_SIZE = re.compile(r"[0-9]+(feb|dec)[0-9]+|[0-9]+(x[0-9]+)+[a-z]*")


def words(slug: str) -> list[str]:
    """Return the words of a slug: its non-empty parts between hyphens."""
    return [word for word in slug.split("-") if word]


def slugify(text: str, max_words: int = MAX_WORDS) -> str:
    """Make a slug by plain rules: ASCII, lower case, at most ``max_words`` words, maybe none."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    ascii_text = re.sub(r"['’`]", "", ascii_text.lower())
    return "-".join(re.findall(r"[a-z0-9]+", ascii_text)[:max_words])


def title_slug(title: object, max_words: int = MAX_WORDS) -> str:
    """Make a slug of a title's first words, without a site's name after "|"; "" if none."""
    return slugify(title.split(" | ")[0], max_words) if isinstance(title, str) else ""


def is_valid(slug: str) -> bool:
    """Check a slug's form as the study has it: kebab-case, 2 to 8 words, 3 to 80 characters."""
    return (
        KEBAB.fullmatch(slug) is not None
        and 2 <= len(words(slug)) <= MAX_WORDS
        and 3 <= len(slug) <= MAX_CHARS
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
        ``no_path``, ``not_kebab``, ``word_count``, ``numeric``, ``short_words``, ``stopwords``,
        ``identifier``.
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
    numbers = [part.lstrip("0") for part in parts if part.isdigit()]
    if not MIN_WORDS <= len(parts) <= MAX_WORDS:
        return "word_count"
    if len(numbers) >= 2 or any(len(each) > 2 or int(each or 0) > 31 for each in numbers):
        return "numeric"
    if sum(len(part) > 1 for part in parts) < 3:
        return "short_words"
    if sum(part in STOPWORDS for part in parts) > 0.4 * len(parts):
        return "stopwords"
    if UUID.search(slug) or any(map(is_identifier, parts)):
        return "identifier"
    return ""


def is_identifier(word: str) -> bool:
    """Tell whether a word is an identifier: a hex digest or a long mix of letters and digits.

    What can be read is none: `covid19`, `face2face`, `texture2dmsarray`.
    """
    runs, digits = RUN.findall(word), sum(map(str.isdigit, word))
    if len(word) < 8 or len(runs) < 2 or DATE_OR_SIZE.fullmatch(word):
        return False
    if digits >= 10 or (HEX.fullmatch(word) and digits >= 3 and len(runs) >= 3):
        return True
    if any(READABLE.fullmatch(run) and not JUMBLE.search(run) for run in runs):
        return False
    jumbled = len(word) >= 12 and len(runs) >= 3 and digits >= 2 and bool(JUMBLE.search(word))
    return jumbled or (len(word) >= 10 and len(runs) >= 6)


@lru_cache(1 << 14)
def sound_word(word: str) -> str:
    """Return what a slug may hold of a word: the word itself, unless it is glued or an identifier.

    Of a word glued from itself one copy is left, of an identifier the letters.
    """
    if is_identifier(word):
        return sound_word(re.sub("[0-9]", "", word))
    for glued in filter(None, (form.fullmatch(word) for form in GLUED)):
        head, unit, rest = glued.groups()
        if not _is_known(word, unit, rest) and not unit.isdigit():  # `2020` is a year
            return sound_word(head + unit + rest)
    return word


def _is_known(word: str, unit: str, rest: str) -> bool:
    """Tell whether a word of the form of glued ones is a known word, or begins with one."""
    twice = word == 2 * unit + rest
    known = (word[:end] in DOUBLED_WORDS for end in range(2 * len(unit), len(word)))
    return word in DOUBLED_WORDS or (twice and any(known))


def repeats(word: str, before: Sequence[str], stopwords: frozenset[str] = STOPWORDS) -> bool:
    """Tell whether a word that is no stopword stood before, be it joined to another, or is two."""
    if word in stopwords:
        return False
    parts = [part for part in before if len(part) >= 3]
    rests = [word[len(part) :] for part in parts if word.startswith(part)]
    joins = any(len(rest) >= 3 and _stands(rest, before) for rest in rests)
    joined = len(word) >= 3 and any(word + p in before or p + word in before for p in parts)
    return joins or joined or _stands(word, before)


def _stands(word: str, before: Sequence[str]) -> bool:
    """Tell whether a word is among others, with or without an s at its end."""
    return word in before or word + "s" in before or (word[-1] == "s" and word[:-1] in before)
