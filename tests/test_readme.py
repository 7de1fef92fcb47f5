"""The front page makes no claim that the records do not bear out."""

import re
from pathlib import Path

import pandas as pd
import pytest

from vec2slug_lib.common.workspace import current
from vec2slug_lib.data import dataset
from vec2slug_lib.evaluation import baselines, intervals, metrics
from vec2slug_lib.evaluation.records import open_run
from vec2slug_lib.experiments.decoding_variants import decoding_record
from vec2slug_lib.experiments.run import example_slugs

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def table():
    """Token F1 and diversity by system, as the table in the README has them."""
    rows = re.findall(r"^\| ([\w ,]+?) \| ([\d.]+) \| ([\d.]+) % \|$", README, re.MULTILINE)
    return {name: (float(f1), float(diversity)) for name, f1, diversity in rows}


def test_results_are_the_records():
    data = dataset.load()
    train, rows = data.part("train"), data.test_rows()
    slugs = train.pairs["slug"].tolist()
    texts = pd.read_parquet(current().data / "text_baselines.parquet").set_index("id")
    systems = {
        "vec2slug, 4c": open_run("4c", "book").predictions["prediction"].tolist(),
        "recipe of the study, 3i": open_run("3i", "book").predictions["prediction"].tolist(),
        "random training slug": baselines.random_slug(slugs, len(rows.pairs)),
        "slug of the nearest page": baselines.nearest_slug(train.vectors, slugs, rows.vectors),
        "word vote of 40 neighbours": baselines.knn_vote(train.vectors, slugs, rows.vectors),
        "keywords of the text": texts.loc[rows.pairs["id"], "keywords"].tolist(),
        "title of the page": texts.loc[rows.pairs["id"], "title"].tolist(),
    }
    references = rows.pairs["slug"].tolist()
    found = {
        name: (
            metrics.token_overlap(predictions, references)[2].mean(),
            intervals.diversity(predictions)["value"],
        )
        for name, predictions in systems.items()
    }
    for name, way in {"4c, not re-ranked": "mbr-plain", "4c, with an index": "mbr-index"}.items():
        values = decoding_record("4c", way)["metrics"]
        found[name] = (values["token_f1"]["value"], values["diversity"]["value"])
    claims = table()
    assert set(claims) == set(found)
    for name, (f1, diversity) in found.items():
        wanted = (pytest.approx(f1, abs=6e-4), pytest.approx(100 * diversity, abs=0.06))
        assert claims[name] == wanted


def test_the_twelve_articles_are_the_records():
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| `([a-z0-9-]+)` \|$", README, re.MULTILINE)
    found = example_slugs(["4c"])["4c"]
    assert rows == list(found.items())


def test_the_example_is_what_the_command_prints(capsys):
    from vec2slug_lib.cli.main import main

    (text, slug) = re.search(r'\$ vec2slug "(.+)"\n(\S+)\n', README).groups()
    assert main([text]) == 0
    assert capsys.readouterr().out.strip() == slug
