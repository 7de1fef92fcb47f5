"""The front page makes no claim that the records do not bear out."""

import re
from pathlib import Path

import pytest

from vec2slug_lib.evaluation.records import open_run
from vec2slug_lib.experiments.decoding_variants import decoding_record
from vec2slug_lib.experiments.run import example_slugs

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def table():
    """Token F1 and diversity by system, as the table in the README has them."""
    rows = re.findall(r"^\| ([\w ,-]+?) \| ([\d.]+) \| ([\d.]+) % \|$", README, re.MULTILINE)
    return {name: (float(f1), float(diversity)) for name, f1, diversity in rows}


def test_results_are_the_records():
    runs = {
        "vec2slug, 4c": "4c",
        "recipe of the study, 3i": "3i",
        "random training slug": "random",
        "slug of the nearest page": "nearest",
        "word vote of 40 neighbours": "vote",
        "keywords of the text": "keywords",
        "title of the page": "title",
    }
    variants = {"4c, not re-ranked": "mbr-plain", "4c, with an index": "mbr-index"}
    metrics = {label: open_run(name, "book").metrics for label, name in runs.items()}
    metrics |= {label: decoding_record("4c", name)["metrics"] for label, name in variants.items()}
    claims = table()
    assert set(claims) == set(metrics)
    for label, row in metrics.items():
        f1, diversity = row["token_f1"]["value"], row["diversity"]["value"]
        assert claims[label] == (
            pytest.approx(f1, abs=6e-4),
            pytest.approx(100 * diversity, abs=0.06),
        )


def test_the_twelve_articles_are_the_records():
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| `([a-z0-9-]+)` \|$", README, re.MULTILINE)
    slugs = example_slugs(["4c"])["4c"]
    assert rows == list(slugs.items())


def test_the_example_is_what_the_command_prints(capsys):
    from vec2slug_lib.cli.main import main

    (text, slug) = re.search(r'\$ vec2slug "(.+)"\n(\S+)\n', README).groups()
    assert main([text]) == 0
    assert capsys.readouterr().out.strip() == slug
