"""A corpus for documents without a telling address: several sources, slugs by a chat model.

The study's first trial had 10,000 documents, half of FineWeb-Edu and a quarter each of arXiv and of
GitHub issues, with slugs that a chat model wrote at temperature 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
from datatrove.data import Document
from datatrove.pipeline.filters.base_filter import BaseFilter
from tqdm import tqdm

from ..common.errors import Vec2SlugError
from ..common.files import atomic, write_json
from ..common.jobs import digest, open_job
from ..data.filters import MAX_TOKENS, MIN_TOKENS, LanguageFilter, ReadableFilter, TokenCountFilter
from ..data.sources import Source, open_source
from ..evaluation.llm_baseline import Answer, dollars, summary

COLUMNS = ["id", "url", "text", "title", "source", "license", "token_count"]


def shares(options: Sequence[str]) -> dict[str, int]:
    """Parse sources and how many documents to take of each, from ``SOURCE=NUMBER`` options.

    Raises:
        Vec2SlugError: an option of another form, or a source named twice.
    """
    counts: dict[str, int] = {}
    for option in options:
        source, equals, number = option.rpartition("=")
        if not (equals and source and number.isdecimal() and int(number)) or source in counts:
            raise Vec2SlugError(f"expected each source once, as SOURCE=NUMBER, got {option}")
        counts[source] = int(number)
    if not counts:
        raise Vec2SlugError("expected at least one source, such as --take fineweb-edu=5000")
    return counts


def draw(wanted: Mapping[str, int], tokenizer: Path, out: Path) -> pd.DataFrame:
    """Draw the first documents of each source that are English and of the right length.

    Args:
        wanted: how many of each source, see `shares`.
        tokenizer: a ``tokenizer.json`` on disk, used to count tokens.
        out: parquet file; one that is there is read, if it is of the same sources, by content.

    Returns:
        The columns ``COLUMNS``; ``source`` is what the documents say, else where they were read.

    Raises:
        Vec2SlugError: a source has fewer such documents, or ``out`` is of other sources.
    """
    note = out.with_suffix(".json")
    if not out.is_file():
        note.unlink(missing_ok=True)  # of documents that were never drawn
    opened = {name: open_source(name) for name in wanted}
    job = {name: [count, digest(opened[name].hashes())] for name, count in wanted.items()}
    open_job(note, job, f"{out} to be of these sources")
    if not out.is_file():
        rows = [
            row for name in wanted for row in _take(name, opened[name], wanted[name], tokenizer)
        ]
        frame = pd.DataFrame(rows, columns=COLUMNS)
        with atomic(out) as temporary:
            frame.to_parquet(temporary, index=False, compression="zstd")
    return pd.read_parquet(out)


def _take(name: str, source: Source, count: int, tokenizer: Path) -> list[dict[str, Any]]:
    with tqdm(total=count, desc=Path(name).name, unit="document") as bar:
        rows = []
        for document in islice(_usable(source, tokenizer), count):
            named = {"id": document.id, "text": document.text, **document.metadata}
            rows.append({**named, "source": named["source"] or Path(name).name})
            bar.update()
    if len(rows) < count:
        raise Vec2SlugError(f"expected {count} documents of {name}, found {len(rows)}")
    return rows


def _usable(source: Source, tokenizer: Path) -> Iterator[Document]:
    """Yield documents that pass the filters which have nothing to do with an address's slug."""
    lengths = TokenCountFilter(tokenizer, MIN_TOKENS, MAX_TOKENS)
    filters: list[BaseFilter] = [ReadableFilter(), LanguageFilter(), lengths]
    for document in source.reader().run():
        if all(each.filter(document) is True for each in filters):
            yield document


def finish(
    documents: pd.DataFrame, answers: Sequence[Answer], prices: tuple[float, float], out: Path
) -> dict[str, Any]:
    """Write the corpus of the answers that were slugs as they stood, and ``feasibility.json``.

    Args:
        documents: what `draw` returns.
        answers: one a document, in its order.
        prices: dollars a million tokens, of input and of output.
        out: folder; gets ``documents.parquet`` with a column ``slug``, as the other corpus has it.

    Returns:
        What `llm_baseline.summary` says of all answers, ``dollars``, and of each source its
        number of documents and share of valid answers.
    """
    asked = documents.assign(slug=[a.slug for a in answers], valid=[a.valid for a in answers])
    by_source = asked.groupby("source")["valid"].agg(["size", "mean"])
    report = {
        **summary(answers, *prices),
        "dollars": dollars(answers, *prices),
        "sources": {
            str(name): {"documents": int(row["size"]), "valid": float(row["mean"])}
            for name, row in by_source.iterrows()
        },
    }
    with atomic(out / "documents.parquet") as temporary:
        valid = asked[asked["valid"]].drop(columns="valid")
        valid.sort_values("id").to_parquet(temporary, index=False, compression="zstd")
    write_json(out / "feasibility.json", report)
    return report
