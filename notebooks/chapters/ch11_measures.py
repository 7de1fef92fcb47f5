"""What the study's claims are checked against: each measure, with its interval.

Topics are drawn, or for comparison pages. Measures that read the record of a decoding variant or of
attention have the one kind of interval that the record keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import cache
from math import inf, nan
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from chapters.ch08_rules import repeats
from chapters.ch09_ablation import attention_analysis
from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.files import read_json
from vec2slug_lib.common.slugs import words
from vec2slug_lib.common.vectors import Doubles
from vec2slug_lib.common.workspace import current
from vec2slug_lib.data import dataset
from vec2slug_lib.evaluation import intervals, metrics
from vec2slug_lib.evaluation.intervals import Interval
from vec2slug_lib.experiments.decoding_variants import decoding_record
from vec2slug_lib.experiments.run import record
from vec2slug_lib.experiments.table import EXPERIMENTS, PRESETS, find
from vec2slug_lib.experiments.word_clusters import map_slug, word_clusters
from vec2slug_lib.model.tokenizer import coverage, encode, train_bpe

Names = tuple[str, ...]  # of experiments
Slugs = Sequence[str]

# Runs and variants that claims on decodings read, and the run of those on attention.
DECODED = (
    *(("3h", variant) for variant in ("words+1", "words+2", "beam-16")),
    *(("3i", variant) for variant in ("project", "first-k", "exhaustive")),
)
ATTENDED = "3j"

# The study's prices and times, as chapter 12 has them.
CHAT_SECONDS = 1.683
CHAT_DOLLARS = (1223 * 0.80 + 13 * 4.00) / 1e6  # tokens read and written, at dollars a million
EMBEDDING_DOLLARS = 566 * 0.02 / 1e6  # tokens of a page, at dollars a million
SERVER_DOLLARS = 0.02 / 3600  # a second of two cores


class Records:
    """Read what claims are checked against; each run is read, or made, once."""

    def __init__(self, preset: str) -> None:
        self.preset = preset
        self.over_pages = False
        limit = find(PRESETS, "preset", preset).limit
        self.run = cache(lambda name: record(name, preset))
        self.decoded = cache(lambda name, variant: decoding_record(name, variant, preset))
        self.analysis = cache(lambda name: attention_analysis(name, preset))
        self.mapping = cache(lambda: word_clusters(preset).mapping)
        self.pairs = cache(lambda: dataset.load(limit=limit).pairs)
        self.token_counts = cache(self._token_counts)
        self.pages = cache(lambda: dataset.load(limit=limit).test_rows())
        self.predictions = cache(self._predictions)
        self.rows = cache(self._rows)
        self.distinctiveness = cache(self._distinctiveness)

    def by_page(self) -> Records:
        """Return the same records with pages drawn instead of topics."""
        other = copy(self)
        other.over_pages = True
        return other

    def topics(self) -> ArrayLike:
        """Return what is drawn together: the topic of each test page [N], or a number a page."""
        pairs = self.pages().pairs
        return np.arange(len(pairs)) if self.over_pages else pairs["cluster"].to_numpy()

    def _predictions(self, name: str) -> list[str]:
        predictions = self.run(name).predictions
        if predictions["id"].tolist() != self.pages().pairs["id"].tolist():
            raise Vec2SlugError(f"expected {name} to be scored on the data set's test pages")
        return [str(slug) for slug in predictions["prediction"]]

    def _rows(self, name: str) -> dict[str, Doubles]:
        return metrics.text_metrics(self.predictions(name), self.pages().slugs)

    def _distinctiveness(self, name: str) -> Doubles:
        return metrics.distinctiveness(self.predictions(name), self.pages().vectors)

    def _token_counts(self) -> list[int]:
        """Count the subwords of every slug."""
        pairs, size = self.pairs(), find(PRESETS, "preset", self.preset).vocab_size
        tokenizer = train_bpe(pairs.loc[pairs["split"] == "train", "slug"], size)
        return [len(ids) for ids in encode(tokenizer, pairs["slug"])]


Measure = Callable[[Records, Names], Interval]


def exactly(value: float) -> Interval:
    """Return a count of everything there is, which has no interval."""
    return {"value": value, "low": value, "high": value}


def mean(rows: Doubles, records: Records) -> Interval:
    """Compute the mean of test pages [N]."""
    return intervals.summarise({"mean": rows}, records.topics())["mean"]


def statistic(
    columns: Sequence[Doubles], records: Records, of_means: Callable[[Doubles], Doubles]
) -> Interval:
    """Compute a function of the means of columns of test pages, each [N].

    Where it is undefined, as with no page of some kind, nothing is known.
    """
    stacked = np.column_stack(columns)
    with np.errstate(invalid="ignore", divide="ignore"):  # also of a draw without such pages
        if np.isnan(of_means(stacked.mean(axis=0))):
            return {"value": nan, "low": -inf, "high": inf}
        return intervals.bootstrap(stacked, records.topics(), of_means)


def level(metric: str) -> Measure:
    """Measure a run's metric."""
    return lambda records, names: mean(records.rows(names[0])[metric], records)


def difference(metric: str) -> Measure:
    """Measure a metric of the first run minus that of the second, page by page."""
    return lambda records, names: mean(
        records.rows(names[0])[metric] - records.rows(names[1])[metric], records
    )


def distinct_difference(records: Records, names: Names) -> Interval:
    """Measure how much more distinctive the slugs of the first run are."""
    ours, theirs = (records.distinctiveness(name) for name in names)
    return mean(ours - theirs, records)


def diversity(records: Records, names: Names) -> Interval:
    """Measure a run's share of distinct slugs."""
    return intervals.diversity(records.predictions(names[0]), records.topics())


def order_gap(records: Records, names: Names) -> Interval:
    """Measure ROUGE-L minus Token F1 of a run."""
    rows = records.rows(names[0])
    return mean(rows["rouge_l"] - rows["token_f1"], records)


def share_of(records: Records, names: Names) -> Interval:
    """Measure which share of the second run's Token F1 the first one reaches."""
    columns = [records.rows(name)["token_f1"] for name in names]
    return statistic(columns, records, lambda means: means[0] / means[1])


def order_kept(records: Records, names: Names) -> Interval:
    """Measure ROUGE-L as a share of Token F1: that of the first run minus that of the second."""
    sides = [records.rows(name) for name in names]
    columns = [side[metric] for side in sides for metric in ("rouge_l", "token_f1")]
    return statistic(columns, records, lambda m: m[0] / m[1] - m[2] / m[3])


def repeated(records: Records, names: Names) -> Interval:
    """Measure the share of a run's slugs in which a word returns that is no stopword."""
    flags = [repeats(slug) > 0 for slug in records.predictions(names[0])]
    return mean(np.array(flags, float), records)


def short_over_long(records: Records, names: Names) -> Interval:
    """Measure how much higher Token F1 is on short documents than on long ones."""
    f1 = records.rows(names[0])["token_f1"]
    groups = np.array([metrics.length_group(n) for n in records.pages().pairs["token_count"]])
    short, long = (groups == group for group in ("short", "long"))
    columns = [f1 * short, short, f1 * long, long]
    return statistic(columns, records, lambda m: m[0] / m[1] - m[2] / m[3])


def ghost_gap(records: Records, names: Names) -> Interval:
    """Measure micro F1 on clusters, as training showed it, minus macro F1 on the pages' words."""
    guesses, mapping = records.predictions(names[0]), records.mapping()
    targets = [map_slug(slug, mapping) for slug in records.pages().slugs]
    sets = [(set(words(p)), set(words(t))) for p, t in zip(guesses, targets, strict=True)]
    hits, sizes = np.array([(2 * len(p & t), len(p) + len(t)) for p, t in sets], float).T
    f1 = records.rows(names[0])["token_f1"]
    return statistic([hits, sizes, f1], records, lambda m: m[0] / m[1] - m[2])


def changed_words(records: Records, names: Names) -> Interval:
    """Measure the share of the pages' words that clusters replace."""
    mapping, parts = records.mapping(), [words(slug) for slug in records.pages().slugs]
    changed = np.array([sum(mapping[word] != word for word in part) for part in parts], float)
    sizes = np.array([len(part) for part in parts], float)
    return statistic([changed, sizes], records, lambda m: m[0] / m[1])


def ceiling(records: Records, names: Names) -> Interval:
    """Measure the Token F1 of the pages' own slugs, written in clusters."""
    mapping, slugs = records.mapping(), records.pages().slugs
    perfect = [map_slug(slug, mapping) for slug in slugs]
    return mean(metrics.token_overlap(perfect, slugs)[2], records)


def hapaxes(records: Records, names: Names) -> Interval:
    """Count the share of slug words that occur once."""
    counts = records.pairs()["slug"].str.split("-").explode().value_counts()
    return exactly(float((counts == 1).mean()))


def cut(records: Records, names: Names) -> Interval:
    """Count the share of slugs that the cap of an experiment cuts."""
    return exactly(1 - coverage(records.token_counts(), EXPERIMENTS[names[0]].max_slug_tokens))


def decoded(variant: str, metric: str) -> Measure:
    """Measure what a decoding variant changes in a metric."""
    return lambda records, names: records.decoded(names[0], variant)["difference"][metric]


def second_word(records: Records, names: Names) -> Interval:
    """Measure what a second forced word does to Token F1 after a first."""
    sides = [records.decoded(names[0], variant) for variant in ("words+2", "words+1")]
    if not all("by_topic" in side for side in sides):  # records from before there were topics
        return intervals.apart(*(side["difference"]["token_f1"] for side in sides))
    columns = [*(topic_sums(side, "token_f1") for side in sides), topic_sums(sides[0], "rows")]
    return of_topic_sums(columns, lambda m: (m[0] - m[1]) / m[2])


def steps(variant: str) -> Measure:
    """Measure how many times the decoder steps of stopping at k a variant takes."""

    def measure(records: Records, names: Names) -> Interval:
        sides = [records.decoded(names[0], each) for each in (variant, "first-k")]
        if not all("by_topic" in side for side in sides):  # records from before topics
            return intervals.ratio(*(side["step_counts"] for side in sides))
        return of_topic_sums([topic_sums(side, "steps") for side in sides], lambda m: m[0] / m[1])

    return measure


def topic_sums(decoding: Mapping[str, Any], name: str) -> Doubles:
    """Return a sum of a decoding record by topic [G]."""
    return np.array(decoding["by_topic"][name], float)


def of_topic_sums(columns: Sequence[Doubles], of_means: Callable[[Doubles], Doubles]) -> Interval:
    """Compute a function of sums over topics, each [G]."""
    return intervals.bootstrap(np.column_stack(columns), range(len(columns[0])), of_means)


def plain_seconds(records: Records, names: Names) -> Interval:
    """Read the seconds that the study's algorithm takes at the study's size: with quartiles."""
    benchmark = read_json(current().data / "benchmarks" / "inference.json")
    milliseconds = benchmark["models"]["small"]["latency"]["plain"]
    value, low, high = (milliseconds[key] / 1000 for key in ("median", "low", "high"))
    return {"value": value, "low": low, "high": high}


def times_less(total: float, fixed: float = 0.0, a_second: float = 1.0) -> Measure:
    """Measure how many times less our time costs than a chat model's answer.

    Args:
        total: of the answer, in seconds or dollars.
        fixed: of ours, whatever its time.
        a_second: what a second of ours is.
    """

    def measure(records: Records, names: Names) -> Interval:
        ours = plain_seconds(records, names)
        value, low, high = (
            total / (fixed + ours[key] * a_second) for key in ("value", "high", "low")
        )
        return {"value": value, "low": low, "high": high}

    return measure


def kept_over(records: Records) -> str:
    """Say over what the intervals of other decodings and of attention are drawn, in their records.

    Records from before there were topics are older than the intervals over them.
    """
    ours = {f"{name}, {variant}": records.decoded(name, variant) for name, variant in DECODED}
    old = [label for label, decoding in ours.items() if "by_topic" not in decoding]
    if records.analysis(ATTENDED).get("drawn_over") != "topics":
        old.append(f"{ATTENDED}, attention")
    if not old:
        return "they are over topics"
    return f"they are over topics but for these, which are still over pages: {'; '.join(old)}"


def inside(read: Callable[[Mapping[str, Any]], Interval]) -> Measure:
    """Read a measure off the attention analysis of a run."""
    return lambda records, names: read(records.analysis(names[0]))


def texts(interval: Interval, form: str) -> str:
    """Write a value with its interval, if it has one; a dash if nothing was measured."""
    value, low, high = (form.format(interval[key]) for key in ("value", "low", "high"))
    if pd.isna(interval["value"]):
        return "–"
    return value if interval["low"] == interval["high"] else f"{value} ({low} to {high})"
