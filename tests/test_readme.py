"""The front page makes no claim that the records do not bear out."""

import re
from pathlib import Path

import pytest

from vec2slug_lib.evaluation.records import open_run
from vec2slug_lib.experiments.run import example_slugs

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def table():
    """Token F1 with its interval, and diversity, by system, as the table in the README has them."""
    number = r"([\d.]+)"
    row = rf"^\| ([\w ,'-]+?) \| {number} \| {number} to {number} \| {number} % \|$"
    rows = re.findall(row, README, re.MULTILINE)
    return {name: tuple(map(float, numbers)) for name, *numbers in rows}


def test_results_are_the_records():
    runs = {
        "vec2slug, 4c": "4c",
        "word vote with words' own vectors, re-ranked": "word-vote+reranked=True",
        "word vote with words' own vectors": "word-vote",
        "word vote": "vote",
        "the study's smaller model, 3i, trained here": "3i",
        "nearest words, re-ranked": "nearest-words+reranked=True",
        "four nearest words": "nearest-words",
        "random training slug": "random",
        "slug of the nearest page": "nearest",
        "keywords of the text": "keywords",
        "title of the page": "title",
    }
    metrics = {label: open_run(name, "book").metrics for label, name in runs.items()}
    claims = table()
    assert set(claims) == set(metrics)
    for label, row in metrics.items():
        f1, diversity = row["token_f1"], row["diversity"]["value"]
        expected = [f1["value"], f1["low"], f1["high"], diversity * 100]
        for claim, value, error in zip(claims[label], expected, (6e-4,) * 3 + (0.06,), strict=True):
            assert claim == pytest.approx(value, abs=error), label


def test_the_twelve_articles_are_the_records():
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| `([a-z0-9-]+)` \|$", README, re.MULTILINE)
    slugs = example_slugs(["4c"])["4c"]
    assert rows == list(slugs.items())


def test_the_example_is_what_the_command_prints(capsys):
    from vec2slug_lib.cli.main import main

    (text, slug) = re.search(r'\$ vec2slug "(.+)"\n(\S+)\n', README).groups()
    assert main([text]) == 0
    assert capsys.readouterr().out.strip() == slug
