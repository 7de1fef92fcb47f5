"""The study's claims, checked against this project's run records by one rule.

What the study reports stands here and in the table of experiments, and nowhere else. A claim holds
in a region of values, such as all above zero; the `verdict` compares that region and the reported
value with a measured 95 % interval.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import inf, nan
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from vec2slug_lib.common.slugs import words
from vec2slug_lib.data import dataset
from vec2slug_lib.evaluation import intervals
from vec2slug_lib.evaluation.intervals import Interval, apart, bootstrap, ratio
from vec2slug_lib.evaluation.metrics import length_group, text_metrics, token_overlap
from vec2slug_lib.experiments.decoding_variants import decoding_record
from vec2slug_lib.experiments.run import record
from vec2slug_lib.experiments.score import paired
from vec2slug_lib.experiments.table import EXPERIMENTS, PRESETS, find
from vec2slug_lib.experiments.word_clusters import map_slug, word_clusters
from vec2slug_lib.model.tokenizer import coverage, encode, train_bpe

VERDICTS = {
    "reproduced": "the interval lies in the claim's region, and the reported size fits it",
    "smaller": "the interval lies in the region, nearer to zero than the reported size",
    "larger": "the interval lies in the region, further from zero than the reported size",
    "undecided": "the interval reaches across the region's edge",
    "contradicted": "the interval lies outside the region",
}

# All reported by the study, on 5,000 test pairs. A value given for a family stands at its members.
REPORTED: dict[str, dict[str, float]] = {
    "token_f1": {name: row.reported_token_f1 for name, row in EXPERIMENTS.items()},
    "token_precision": {"3h": 0.349, "3i": 0.335, "3j": 0.335},
    "token_recall": {"3h": 0.260, "3i": 0.286, "3j": 0.299},
    "rouge_1": {"3j": 0.304},
    "rouge_l": {"3i": 0.277, "3j": 0.284},
    "exact_match": {"3i": 0.019, "3j": 0.021},
    "validity": {"3j": 1.0},
    "mean_words": {"3h": 3.6, "3i": 4.9},
    "bertscore_f1": {"3i": 0.869, "3j": 0.872},  # of roberta-large: its floor is near 0.81
    "diversity": {"1c": 0.016, "3a": 0.95, "3b": 0.95, "3i": 0.973, "3j": 0.978},
    "distinctiveness": {
        **dict.fromkeys(("3a", "3b"), 0.84),
        **dict.fromkeys(("3d", "3e", "3f", "3g", "3h"), 0.89),
        **{"3i": 0.877, "3j": 0.885},
    },
    "ghost_f1": {"3a": 0.326, "3b": 0.345},  # the ends of a range; which is whose is our guess
}

REPORTED_BY_LENGTH = {"short": 0.327, "medium": 0.300, "long": 0.306}  # Token F1 of 3j

SCORE = 0.008  # the study's own 95 % interval on Token F1: plus or minus
SHARE = 0.1  # other reported values fit within a tenth
ABOVE, BELOW, LEVEL = (0.0, inf), (-inf, 0.0), (-inf, inf)


class Records:
    """Read what claims are checked against; each run is read, or made, once."""

    def __init__(self, preset: str) -> None:
        self.preset = preset
        self.run = cache(lambda name: record(name, preset))
        self.paired = cache(lambda ours, theirs: paired(self.run(ours), self.run(theirs)))
        self.decoded = cache(lambda name, variant: decoding_record(name, variant, preset))
        self.mapping = cache(lambda: word_clusters(preset).mapping)
        self.pairs = cache(lambda: dataset.load(limit=find(PRESETS, "preset", preset).limit).pairs)


Names = tuple[str, ...]
Measure = Callable[[Records, Names], Interval]


@dataclass(frozen=True)
class Claim:
    """One statement of the study."""

    says: str
    chapter: int  # of this book
    section: str  # of the study: vocabulary, decoding or results
    experiments: Names  # those that the measure needs; of two, the first minus the second
    reported: float
    measure: Measure
    holds: tuple[float, float] = ABOVE  # open interval of values for which the statement is true
    tolerance: float | None = SCORE  # around the reported value; None: a tenth of it
    form: str = "{:+.3f}"

    @property
    def reach(self) -> float:
        """Return how far from our interval the reported value may lie and still fit."""
        return SHARE * abs(self.reported) if self.tolerance is None else self.tolerance


def verdict(claim: Claim, measured: Interval) -> str:
    """Apply the rule, first the region, then the size; return one of `VERDICTS`.

    Contradicted if the interval lies wholly outside the region, undecided if it does not lie wholly
    inside. Inside, reproduced if the interval comes within the claim's reach of the reported value,
    otherwise smaller or larger by magnitude.
    """
    low, high = measured["low"], measured["high"]
    first, last = claim.holds
    if high < first or low > last:
        return "contradicted"
    if not first < low <= high < last:
        return "undecided"
    if low - claim.reach <= claim.reported <= high + claim.reach:
        return "reproduced"
    return "smaller" if abs(measured["value"]) < abs(claim.reported) else "larger"


def check_claims(preset: str = "book") -> pd.DataFrame:
    """Check every claim of `CLAIMS`; runs that are missing are made.

    Returns:
        A row a claim, by its key: ``claim, chapter, section``; ``reported`` and ``measured`` as
        texts; ``verdict``; ``reason``, what may explain that verdict, or an empty string;
        ``expected, value, low, high``, the same figures as numbers.
    """
    records, rows = Records(preset), {}
    for key, claim in tqdm(CLAIMS.items(), "claims", delay=2):
        measured = claim.measure(records, claim.experiments)
        outcome = verdict(claim, measured)
        rows[key] = {
            "claim": claim.says,
            "chapter": claim.chapter,
            "section": claim.section,
            "reported": claim.form.format(claim.reported),
            "measured": _text(claim.form, measured),
            "verdict": outcome,
            "reason": REASONS.get(key, {}).get(outcome, ""),
            "expected": claim.reported,
            **measured,
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def exactly(value: float) -> Interval:
    """Return a count of everything there is, which has no interval."""
    return {"value": value, "low": value, "high": value}


def _text(form: str, measured: Interval) -> str:
    value, low, high = (form.format(measured[key]) for key in ("value", "low", "high"))
    if np.isnan(measured["value"]):
        return "–"
    return value if measured["low"] == measured["high"] else f"{value} ({low} to {high})"


def _paired(metric: str) -> Measure:
    return lambda records, names: records.paired(*names)[metric]


def _level(metric: str) -> Measure:
    return lambda records, names: records.run(names[0]).metrics[metric]


def _apart(metric: str) -> Measure:
    return lambda records, names: apart(*(records.run(name).metrics[metric] for name in names))


def _decoded(variant: str, metric: str) -> Measure:
    return lambda records, names: records.decoded(names[0], variant)["difference"][metric]


def _second_word(records: Records, names: Names) -> Interval:
    sides = [records.decoded(names[0], variant) for variant in ("words+2", "words+1")]
    return apart(*(side["difference"]["token_f1"] for side in sides))


def _steps(variant: str) -> Measure:
    return lambda records, names: ratio(
        *(records.decoded(names[0], each)["step_counts"] for each in (variant, "first-k"))
    )


def _order_gap(records: Records, names: Names) -> Interval:
    predictions = records.run(names[0]).predictions
    rows = text_metrics(predictions["prediction"].tolist(), predictions["slug"].tolist())
    return intervals.compare({"gap": rows["rouge_l"]}, {"gap": rows["token_f1"]})["gap"]


def _short_over_long(records: Records, names: Names) -> Interval:
    lengths = records.pairs()[["id", "token_count"]]
    rows = records.run(names[0]).predictions.merge(lengths, on="id")
    f1 = token_overlap(rows["prediction"].tolist(), rows["slug"].tolist())[2]
    groups = np.array([length_group(count) for count in rows["token_count"]])
    sides = [f1[groups == group] for group in ("short", "long")]
    if not all(len(side) for side in sides):
        return {"value": nan, "low": -inf, "high": inf}
    return apart(*(intervals.summarise({"f1": side})["f1"] for side in sides))


def _ghost_gap(records: Records, names: Names) -> Interval:
    rows, mapping = records.run(names[0]).predictions, records.mapping()
    guesses, references = rows["prediction"].tolist(), rows["slug"].tolist()
    targets = [map_slug(slug, mapping) for slug in references]
    sets = [(set(words(p)), set(words(t))) for p, t in zip(guesses, targets, strict=True)]
    counts = np.array([(2 * len(p & t), len(p) + len(t)) for p, t in sets], float)
    f1 = token_overlap(guesses, references)[2]
    return bootstrap(np.column_stack([counts, f1]), lambda mean: mean[0] / mean[1] - mean[2])


def _changed_words(records: Records, names: Names) -> Interval:
    mapping, slugs = records.mapping(), records.run(names[0]).predictions["slug"]
    parts = [words(slug) for slug in slugs]
    counts = [(sum(mapping[word] != word for word in part), len(part)) for part in parts]
    return bootstrap(np.array(counts, float), lambda mean: mean[0] / mean[1])


def _ceiling(records: Records, names: Names) -> Interval:
    mapping, slugs = records.mapping(), records.run(names[0]).predictions["slug"].tolist()
    perfect = [map_slug(slug, mapping) for slug in slugs]
    return intervals.summarise({"f1": token_overlap(perfect, slugs)[2]})["f1"]


def _hapaxes(records: Records, names: Names) -> Interval:
    counts = records.pairs()["slug"].str.split("-").explode().value_counts()
    return exactly(float((counts == 1).mean()))


def _cut(records: Records, names: Names) -> Interval:
    cap, pairs = EXPERIMENTS[names[0]].max_slug_tokens, records.pairs()
    size = find(PRESETS, "preset", records.preset).vocab_size
    tokenizer = train_bpe(pairs.loc[pairs["split"] == "train", "slug"], size)
    lengths = [len(ids) for ids in encode(tokenizer, pairs["slug"])]
    return exactly(1 - coverage(lengths, cap))


def _gain(says: str, chapter: int, ours: str, theirs: str, **other: Any) -> Claim:
    """Claim a difference of two runs, in Token F1 if no metric is named."""
    metric = other.pop("metric", "token_f1")
    reported = REPORTED[metric][ours] - REPORTED[metric][theirs]
    other.setdefault("measure", _paired(metric))
    return Claim(says, chapter, "results", (ours, theirs), reported, **other)


def _share(
    says: str, chapter: int, section: str, names: Names, reported: float, measure: Measure
) -> Claim:
    """Claim a level, as a share."""
    return Claim(says, chapter, section, names, reported, measure, LEVEL, None, "{:.1%}")


def _metric(says: str, chapter: int, name: str, metric: str) -> Claim:
    """Claim a run's metric, as a share."""
    return _share(says, chapter, "results", (name,), REPORTED[metric][name], _level(metric))


def _order(says: str, name: str, reported: float) -> Claim:
    """Claim ROUGE-L minus Token F1 of one run."""
    return Claim(says, 11, "results", (name,), reported, _order_gap, BELOW, None)


CLAIMS: dict[str, Claim] = {
    "hapax": _share("Slug words that occur once", 1, "vocabulary", (), 0.62, _hapaxes),
    "changed": _share(
        "Words that clustering changes", 2, "vocabulary", ("3b",), 0.472, _changed_words),
    "ceiling": _share(
        "Token F1 that clusters allow at most", 2, "vocabulary", ("3b",), 0.502, _ceiling),
    "collapse": Claim(
        "The large MLP (1c) collapses: under 10 % distinct slugs", 3, "results", ("1c",),
        REPORTED["diversity"]["1c"], _level("diversity"), (-inf, 0.1), inf, "{:.1%}"),
    "focal": _gain("Focal loss beats BCE (1b − 1a)", 3, "1b", "1a"),
    "big_mlp": _gain("A larger MLP gains less than 0.008 (1c − 1a)", 3, "1c", "1a",
        holds=(-inf, SCORE), tolerance=inf),
    "decoder": _gain("A decoder beats an MLP (3b − 1b)", 4, "3b", "1b"),
    "wide": _gain("A wider decoder is better (3b − 3a)", 4, "3b", "3a"),
    "varied": _metric("Distinct slugs of a decoder over clusters (3b)", 4, "3b", "diversity"),
    "ghost": Claim(
        "The score that training showed is above the true one (3b)", 4, "results", ("3b",),
        REPORTED["ghost_f1"]["3b"] - REPORTED["token_f1"]["3b"], _ghost_gap),
    "bpe": _gain("Byte pairs beat clusters (3e − 3b)", 5, "3e", "3b"),
    "names": _gain("Byte pairs tell neighbours apart (3e − 3b)", 5, "3e", "3b",
        metric="distinctiveness", measure=_apart("distinctiveness"), tolerance=None),
    "cut": _share("Slugs that a cap of 10 cuts", 6, "vocabulary", ("3e",), 0.561, _cut),
    "cap": _gain("A cap of 24 for 10 helps (3h − 3e)", 6, "3h", "3e"),
    "eos": _gain("EOS calibration helps (3i − 3h)", 7, "3i", "3h"),
    "eos_recall": _gain("EOS calibration raises recall", 7, "3i", "3h", metric="token_recall"),
    "eos_precision": _gain("EOS calibration lowers precision", 7, "3i", "3h",
        metric="token_precision", holds=BELOW),
    "eos_words": _gain("EOS calibration adds words to a slug", 7, "3i", "3h",
        metric="mean_words", tolerance=None, form="{:+.2f}"),
    "larger": _gain("A larger model helps (3j − 3i)", 7, "3j", "3i"),
    "one_word": Claim("One word more, forced, helps (3h)", 7, "decoding", ("3h",), 0.012,
        _decoded("words+1", "token_f1")),
    "two_words": Claim("A second forced word costs that again (3h)", 7, "decoding", ("3h",), -0.012,
        _second_word, BELOW),
    "beam": Claim(
        "A beam of 16 for 4 changes length by less than 0.1 words (3h)", 7, "decoding", ("3h",),
        0.0, _decoded("beam-16", "mean_words"), (-0.1, 0.1), inf, "{:+.2f}"),
    "optimal": Claim(
        "Optimal stopping takes more steps than stopping at k (3i)", 8, "decoding", ("3i",), 1.6,
        _steps("project"), (1.0, inf), None, "{:.2f}×"),
    "exhaustive": Claim(
        "Searching on to the cap takes more steps than that (3i)", 8, "decoding", ("3i",), 3.0,
        _steps("exhaustive"), (1.0, inf), None, "{:.2f}×"),
    "valid": Claim("Valid slugs (3j)", 11, "results", ("3j",), REPORTED["validity"]["3j"],
        _level("validity"), LEVEL, 0.0005, "{:.1%}"),
    "level": Claim("Token F1 of the large release (3j)", 11, "results", ("3j",),
        REPORTED["token_f1"]["3j"], _level("token_f1"), LEVEL, SCORE, "{:.3f}"),
    "exact": _metric("Slugs exactly right (3j)", 11, "3j", "exact_match"),
    "order_mlp": _order("ROUGE-L is below Token F1: MLP (1b)", "1b", -0.006),
    "order_clusters": _order("ROUGE-L is below Token F1: clusters (3b)", "3b", -0.011),
    "order_bpe": _order("ROUGE-L is below Token F1: byte pairs (3i)", "3i", -0.02),
    "short": Claim("Short documents are easier than long ones (3j)", 11, "results", ("3j",),
        REPORTED_BY_LENGTH["short"] - REPORTED_BY_LENGTH["long"], _short_over_long),
}  # fmt: skip

# What may explain a verdict: true wherever that verdict occurs, and shown with no other.
_NAMES = "Encyclopaedia titles hold more names than the open web: a cluster keeps one of many."
_SHORT = "Slugs have fewer words here, so less is lost where they are cut or end early."
_SCALE = "Tens of thousands of pairs stand here for the study's millions, and a smaller embedder."
_CAPACITY = "A larger model needs more pairs; here are tens of thousands for the study's millions."
_SPELLING = "Spelling is learnt from slugs alone, and there are far fewer of them here."
_SHARED = "The fewer words two slugs share, the fewer can be out of order."
_STEPS = "Counted are decoder steps; the study does not say what it counts."
_WINDOW = "The embedder reads the first 256 tokens only, so a long page is known in part."
_SOURCE = "Long and short pages come from other sources here, whose slugs are not alike."
_FLAT = "Where an MLP hardly follows the vector, its loss has little to decide."

_SIZE, _WEAK = ("smaller", "larger"), ("smaller", "undecided", "contradicted")
REASONS: dict[str, dict[str, str]] = {
    "hapax": dict.fromkeys(_SIZE, "The share depends on the size of the corpus."),
    "changed": {"larger": _NAMES},
    "ceiling": {"smaller": _NAMES},
    "focal": dict.fromkeys(_WEAK, _FLAT),
    "decoder": dict.fromkeys(_WEAK, _SCALE),
    "bpe": dict.fromkeys(_WEAK, _SPELLING),
    **{key: dict.fromkeys(_WEAK, _CAPACITY) for key in ("wide", "larger")},
    **{
        key: dict.fromkeys(_WEAK, _SHORT)
        for key in ("cut", "cap", "eos", "eos_recall", "eos_words", "one_word")
    },
    **{key: dict.fromkeys(_SIZE, _STEPS) for key in ("optimal", "exhaustive")},
    **{key: {"smaller": _SCALE} for key in ("level", "exact")},
    **{f"order_{family}": {"smaller": _SHARED} for family in ("mlp", "clusters", "bpe")},
    "short": {**dict.fromkeys(_WEAK, _SOURCE), "larger": _WINDOW},
}
