"""Chapter 12: the release's decoding variants, their quality, speed and defaults, from one record.

``variants`` is that record, of ``benchmarks/inference.py --variants``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from .report import listed, signed, within

Record = Mapping[str, Any]


def release_row(variants: Record) -> Record:
    """Return the variant whose speed and quality are called the release's."""
    row: Record = variants["variants"][variants["release"]]
    return row


def default_row(variants: Record, place: str) -> Record:
    """Return the variant that is the default of a place."""
    (row,) = (row for row in variants["variants"].values() if place in row["default_of"])
    found: Record = row
    return found


def variants_table(variants: Record) -> pd.DataFrame:
    """Show Token F1, milliseconds and memory of each decoding variant, and where it is default."""
    rows = [
        {
            "decoding": row["label"], "weights": row["precision"],
            "Token F1": within(row["token_f1"], 3),
            "beside the release": "–" if name == variants["release"] else signed(row["difference"]),
            "one page, ms": row["one"]["median"], "many, ms a page": row["many"]["median"],
            "peak, MiB": f"{row['peak_mib']:.0f}",
            "default of": "; ".join(row["default_of"]) or "–",
        }
        for name, row in variants["variants"].items()
    ]  # fmt: skip
    return pd.DataFrame(rows).set_index("decoding")


def row_says(row: Record) -> str:
    """Write the quality and the speed of a variant, which belong together."""
    return (
        f"Token F1 {within(row['token_f1'], 3)} at {row['one']['median']:.0f} ms for one page and "
        f"{row['many']['median']:.1f} ms a page among many"
    )


def release_says(variants: Record) -> str:
    """Write the release's quality and speed, and whether the machine was free."""
    busy = " (preliminary: the machine had other work)" * (not variants["alone"])
    return row_says(release_row(variants)) + busy


def front_page_says(variants: Record) -> str:
    """Write the README's line on quality and speed; a test wants it there."""
    rows = variants["variants"]
    ours, plain, small = (
        f"{row['token_f1']['value']:.3f} at {row['many']['median']:.0f} ms a page"
        for row in (release_row(variants), rows["mbr"], rows["mbr-int8"])
    )
    return (
        f"As the command decodes, the released weights have, on {release_row(variants)['rows']:,} "
        f"test pages, Token F1 {ours}; not re-ranked "
        f"(`--fast`, `generate`, the library without an embedder) {plain}, and with int8 besides "
        f"{small}. That is among many pages on {variants['machine']['cores']} cores; [chapter 12]"
        "(notebooks/12_release.ipynb) has every way to decode in one table."
    )


def timing_says(variants: Record) -> str:
    """Say on how many pages the table rests, and whether the machine was free."""
    scored = {row["rows"] for row in variants["variants"].values()}
    machine, rows = variants["machine"], variants["rows"]
    busy = (
        "The machine had nothing else to do."
        if variants["alone"]
        else "The machine had other work at the same time, so its milliseconds are preliminary and "
        "too high; their ratios hold better, as all variants took turns."
    )
    pages = listed([f"{count:,}" for count in sorted(scored)])
    return (
        f"Token F1 is that of {pages} test pages, with intervals over topics; the median time is "
        f"that of {rows['one']} single pages, and of {rows['many']} pages in one call, on "
        f"{machine['cores']} cores of {machine['processor']}. {busy}"
    )


def rerank_says(variants: Record) -> str:
    """Say what re-ranking by embedding similarity gains, and what it costs."""
    plain, ours = default_row(variants, "bulk"), release_row(variants)
    lost, times = plain["difference"], ours["many"]["median"] / plain["many"]["median"]
    verdict = (
        f"costs {-lost['value']:.3f} Token F1 ({signed(lost)})"
        if lost["high"] < 0
        else f"changes Token F1 by an amount that these topics do not tell from 0 ({signed(lost)})"
    )
    return (
        f"leaving the re-ranking out {verdict}; with it, a page among many takes {times:.1f} times "
        "as long"
    )


def int8_sentence(variants: Record) -> str:
    """Say in how many variants int8 keeps Token F1 within 0.003, and how many slugs."""
    changes = [row["int8"] for row in variants["variants"].values() if row["int8"]]
    within = sum(change["difference"]["value"] >= -0.003 for change in changes)
    same = [change["same_slugs"] for change in changes]
    return (
        f"In {within} of {len(changes)} variants int8 loses no more than 0.003 of Token F1; "
        f"{min(same):.0%} to {max(same):.0%} of the slugs are the same."
    )


def signed_interval(difference: Mapping[str, float]) -> str:
    """Write a difference with its interval, to four digits."""
    return "{value:+.4f} ({low:+.4f} to {high:+.4f})".format(**difference)


PROCESSES = {
    "text": "a text, re-ranked",
    "vector": "a vector, re-ranked",
    "vector, not re-ranked": "a vector, not re-ranked",
}


def processes_table(command: Record) -> pd.DataFrame:
    """Set whole processes of one slug beside the same with MiniLM in torch."""
    rows = [
        {
            "process": label,
            "seconds": command["processes"][name]["seconds"],
            "of torch's": command["processes"][name]["of_torch"],
            "memory, MiB": f"{command['processes'][name]['mebibytes']:.0f}",
            "torch's": f"{command['processes'][name.split(',')[0] + ', torch']['mebibytes']:.0f}",
        }
        for name, label in PROCESSES.items()
    ]
    return pd.DataFrame(rows).set_index("process")


def reader_says(reader: Record) -> str:
    """Say what MiniLM's graph costs beside its exact weights."""
    cosine, difference = reader["cosine"], reader["difference"]["token_f1"]
    return (
        f"On {reader['rows']:,} test pages its vectors have a cosine of {cosine['mean']:.4f} to "
        f"those of the exact weights, at least {cosine['least']:.4f}; {reader['same_slugs']:.0%} "
        f"of the slugs are the same, and Token F1 changes by {signed_interval(difference)}."
    )
