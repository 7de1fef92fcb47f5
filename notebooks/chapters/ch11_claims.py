"""The study's claims, checked against this project's run records by one rule.

What the study reports stands here and in the table of experiments, and nowhere else. A claim holds
in a region of values, such as all above zero; the `verdict` compares that region and the reported
value with a measured 95 % interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isnan
from typing import Any

import pandas as pd
from tqdm import tqdm

from chapters import ch09_claims
from chapters import ch11_measures as measures
from chapters.ch09_figures import REPORTED as ATTENTION
from chapters.ch11_measures import Measure, Names, Records
from vec2slug_lib.evaluation.intervals import Interval
from vec2slug_lib.experiments.table import EXPERIMENTS, FAIR_MLP

VERDICTS = {
    "reproduced": "the interval lies in the claim's region, and the reported size fits it",
    "smaller": "the interval lies in the region, nearer to zero than the reported size",
    "larger": "the interval lies in the region, further from zero than the reported size",
    "undecided": "the interval reaches across the region's edge",
    "contradicted": "the interval lies outside the region",
    "not checked": "nothing that was measured here is a test of it",
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

ORDER_GAPS = {"1b": -0.006, "3b": -0.011, "3i": -0.02}  # ROUGE-L minus Token F1 of their families

HYPHENS, SUBWORDS = (ATTENTION[kind].tolist() for kind in ("hyphen", "subword"))  # of 3j, by layer
# Odds of the prefix at last over first hyphens, 0.525 and 0.535 of their attention, times what they
# share it among: 1.5 subwords a word, 3.5 hyphens a slug, from the study's own means.
LAST_HYPHEN = (0.525 / 0.475 * (1 + 3.5 * 2.5)) / (0.535 / 0.465 * (1 + 2.5))

REPORTED_BY_LENGTH = {"short": 0.327, "medium": 0.300, "long": 0.306}  # Token F1 of 3j

SCORE = 0.008  # the study's own 95 % interval on Token F1: plus or minus
SHARE = 0.1  # other reported values fit within a tenth
ABOVE, BELOW, LEVEL = (0.0, inf), (-inf, 0.0), (-inf, inf)


@dataclass(frozen=True)
class Claim:
    """One statement of the study."""

    says: str
    chapter: int  # of this book
    experiments: Names  # those that the measure needs; of two, the first minus the second
    reported: float
    measure: Measure
    holds: tuple[float, float] = ABOVE  # open interval of values for which the statement is true
    tolerance: float | None = SCORE  # around the reported value; None: a tenth of it
    form: str = "{:+.3f}"
    untested: str = ""  # why what is measured is no test of it

    @property
    def reach(self) -> float:
        """Return how far from our interval the reported value may lie and still fit."""
        return SHARE * abs(self.reported) if self.tolerance is None else self.tolerance


def verdict(claim: Claim, measured: Interval) -> str:
    """Apply the rule, first the region, then the size; return one of `VERDICTS`.

    A claim that is untested, or of which nothing was measured, is not checked. Else it is
    contradicted if the interval lies wholly outside the region, undecided if it does not lie wholly
    inside or nothing is known of its ends. Inside, it is reproduced if the interval comes within
    the claim's reach of the reported value, otherwise smaller or larger by magnitude.
    """
    if claim.untested or isnan(measured["value"]):
        return "not checked"
    low, high = measured["low"], measured["high"]
    first, last = claim.holds
    if high < first or low > last:
        return "contradicted"
    if not first < low <= high < last:
        return "undecided"
    if low - claim.reach <= claim.reported <= high + claim.reach:
        return "reproduced"
    return "smaller" if abs(measured["value"]) < abs(claim.reported) else "larger"


def check_claims(records: Records) -> pd.DataFrame:
    """Check every claim of `CLAIMS`; runs that are missing are made.

    Returns:
        A row a claim, by its key: ``claim, chapter``; ``reported`` and ``measured`` as
        texts; ``verdict``; ``reason``, what may explain that verdict, or an empty string;
        ``expected, value, low, high``, the same figures as numbers.
    """
    rows = {}
    for key, claim in tqdm(CLAIMS.items(), "claims", delay=2):
        measured = claim.measure(records, claim.experiments)
        outcome = verdict(claim, measured)
        rows[key] = {
            "claim": claim.says,
            "chapter": claim.chapter,
            "reported": claim.form.format(claim.reported),
            "measured": measures.texts(measured, claim.form),
            "verdict": outcome,
            "reason": claim.untested or REASONS.get(key, {}).get(outcome, ""),
            "expected": claim.reported,
            **measured,
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _gain(says: str, chapter: int, ours: str, theirs: str, **other: Any) -> Claim:
    """Claim a difference of two runs, in Token F1 if no metric is named.

    With ``experiments`` in ``other``, these are measured instead of the runs of the study.
    """
    metric = other.pop("metric", "token_f1")
    reported = REPORTED[metric][ours] - REPORTED[metric][theirs]
    other.setdefault("measure", measures.difference(metric))
    return Claim(says, chapter, other.pop("experiments", (ours, theirs)), reported, **other)


def _share(says: str, chapter: int, names: Names, reported: float, measure: Measure) -> Claim:
    """Claim a level, as a share."""
    return Claim(says, chapter, names, reported, measure, LEVEL, None, "{:.1%}")


def _order(says: str, name: str) -> Claim:
    """Claim ROUGE-L minus Token F1 of one run."""
    return Claim(says, 11, (name,), ORDER_GAPS[name], measures.order_gap, BELOW, None)


def _order_kept(name: str) -> float:
    """Return what the study reports of ROUGE-L as a share of Token F1."""
    return 1 + ORDER_GAPS[name] / REPORTED["token_f1"][name]


CLAIMS: dict[str, Claim] = {
    "hapax": _share("Slug words that occur once", 1, (), 0.62, measures.hapaxes),
    "changed": _share("Words that clustering changes", 2, ("3b",), 0.472, measures.changed_words),
    "ceiling": _share(
        "Token F1 that clusters allow at most", 2, ("3b",), 0.502, measures.ceiling),
    "collapse": Claim(
        "The large MLP (1c) collapses: under 10 % distinct slugs", 3, ("1c",),
        REPORTED["diversity"]["1c"], measures.diversity, (-inf, 0.1), inf, "{:.1%}"),
    "focal": _gain("Focal loss beats BCE (1b − 1a)", 3, "1b", "1a"),
    "big_mlp": _gain("A larger MLP gains less than 0.008 (1c − 1a)", 3, "1c", "1a",
        holds=(-inf, SCORE), tolerance=inf),
    "bag": Claim(
        "A bag of words cannot find a page's words: less than half of 3b's Token F1", 3,
        (FAIR_MLP, "3b"), REPORTED["token_f1"]["1b"] / REPORTED["token_f1"]["3b"],
        measures.share_of, (-inf, 0.5), inf, "{:.0%}"),
    "bag_order": Claim(
        "A bag of words loses their order: ROUGE-L ÷ Token F1 is below 3b's", 3, (FAIR_MLP, "3b"),
        _order_kept("1b") - _order_kept("3b"), measures.order_kept, BELOW, None),
    "decoder": _gain("A decoder beats an MLP (3b − fair MLP)", 4, "3b", "1b",
        experiments=("3b", FAIR_MLP)),
    "wide": _gain("A wider decoder is better (3b − 3a)", 4, "3b", "3a"),
    "varied": _share("Distinct slugs of a decoder over clusters (3b)", 4, ("3b",),
        REPORTED["diversity"]["3b"], measures.diversity),
    "ghost": Claim(
        "The score that training showed is above the true one (3b)", 4, ("3b",),
        REPORTED["ghost_f1"]["3b"] - REPORTED["token_f1"]["3b"], measures.ghost_gap),
    "bpe": _gain("Byte pairs beat clusters (3e − 3b)", 5, "3e", "3b"),
    "bpe_whole": _gain("Byte pairs beat clusters, no slug cut (3h − 3b)", 5, "3h", "3b"),
    "names": _gain("Byte pairs tell neighbours apart (3e − 3b)", 5, "3e", "3b",
        metric="distinctiveness", measure=measures.distinct_difference, tolerance=None),
    "cut": _share("Slugs that a cap of 10 cuts", 6, ("3e",), 0.561, measures.cut),
    "cap": _gain("A cap of 24 for 10 helps (3h − 3e)", 6, "3h", "3e"),
    "eos": _gain("EOS calibration helps (3i − 3h)", 7, "3i", "3h"),
    "eos_recall": _gain("EOS calibration raises recall", 7, "3i", "3h", metric="token_recall"),
    "eos_precision": _gain("EOS calibration lowers precision", 7, "3i", "3h",
        metric="token_precision", holds=BELOW),
    "eos_words": _gain("EOS calibration adds words to a slug", 7, "3i", "3h",
        metric="mean_words", tolerance=None, form="{:+.2f}"),
    "larger": _gain("A larger model helps (3j − 3i)", 7, "3j", "3i"),
    "one_word": Claim("One word more, forced, helps (3h)", 7, ("3h",), 0.012,
        measures.decoded("words+1", "token_f1")),
    "two_words": Claim("A second forced word costs that again (3h)", 7, ("3h",), -0.012,
        measures.second_word, BELOW),
    "beam": Claim(
        "A beam of 16 for 4 changes length by less than 0.1 words (3h)", 7, ("3h",), 0.0,
        measures.decoded("beam-16", "mean_words"), (-0.1, 0.1), inf, "{:+.2f}"),
    "optimal": Claim(
        "Optimal stopping takes more steps than stopping at k (3i)", 8, ("3i",), 1.6,
        measures.steps("project"), (1.0, inf), None, "{:.2f}×"),
    "exhaustive": Claim(
        "Searching on to the cap takes more steps than stopping at k (3i)", 8, ("3i",), 3.0,
        measures.steps("exhaustive"), (1.0, inf), None, "{:.2f}×"),
    "repetition": Claim(
        "The search eliminates repeated words: under 1 % of slugs (3i)", 8, ("3i",), 0.0,
        measures.repeated, (-inf, 0.01), inf, "{:.1%}"),
    "hyphens": Claim(
        "Hyphens read the vector at layer 1, subwords do not (3j)", 9, ("3j",),
        HYPHENS[0] / SUBWORDS[0], measures.inside(ch09_claims.hyphens_over_subwords), (1.0, inf),
        None, "{:.2f}×"),
    "heads": Claim(
        "Some of eight heads at layer 1 do little else at a hyphen (3j)", 9, ("3j",), 4,
        measures.inside(ch09_claims.heads_at_layer_one), (0.5, inf), None, "{:.0f}"),
    "u_shape": Claim(
        "Over the layers hyphens read much, less, then more again (3j)", 9, ("3j",),
        min(HYPHENS[0], HYPHENS[-1]) - min(HYPHENS[1:-1]), measures.inside(ch09_claims.depth_of_u),
        ABOVE, None),
    "places": Claim(
        "A later hyphen reads no less, positions in sight taken out (3j)", 9, ("3j",), LAST_HYPHEN,
        measures.inside(ch09_claims.place_effect), (1.0, inf), None, "{:.1f}×"),
    "valid": Claim("Valid slugs (3j)", 11, ("3j",), REPORTED["validity"]["3j"],
        measures.level("validity"), LEVEL, 0.0005, "{:.1%}"),
    "level": Claim("Token F1 of the large release (3j)", 11, ("3j",),
        REPORTED["token_f1"]["3j"], measures.level("token_f1"), LEVEL, SCORE, "{:.3f}"),
    "exact": _share("Slugs exactly right (3j)", 11, ("3j",), REPORTED["exact_match"]["3j"],
        measures.level("exact_match")),
    "order_mlp": _order("ROUGE-L is below Token F1: MLP (1b)", "1b"),
    "order_clusters": _order("ROUGE-L is below Token F1: clusters (3b)", "3b"),
    "order_bpe": _order("ROUGE-L is below Token F1: byte pairs (3i)", "3i"),
    "short": Claim("Short documents are easier than long ones (3j)", 11, ("3j",),
        REPORTED_BY_LENGTH["short"] - REPORTED_BY_LENGTH["long"], measures.short_over_long),
    "latency": Claim("A slug is 19 times faster than a chat model's answer", 12, (),
        1683 / 89, measures.times_less(measures.CHAT_SECONDS), (1.0, inf), None, "{:.1f}×",
        "No chat model was asked here: the study's answer stands against our machine's seconds."),
    "cost": Claim("With a fresh embedding it costs 85 times less, at the study's prices", 12, (),
        85, measures.times_less(
            measures.CHAT_DOLLARS, measures.EMBEDDING_DOLLARS, measures.SERVER_DOLLARS),
        (1.0, inf), None, "{:.0f}×"),
    "cost_stored": Claim("With the vector at hand it costs 2,000 times less", 12, (), 2000,
        measures.times_less(measures.CHAT_DOLLARS, 0, measures.SERVER_DOLLARS), (1.0, inf), None,
        "{:,.0f}×",
        "All of it is time on our machine, at a price of an hour that follows from the study's."),
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
_CHARGED = (
    "The penalty is charged once: a slug that has repeated a word repeats the next for nothing."
)
_BROKEN = "The study compares with an MLP that has collapsed; the rival here has not."
_LAYER = (
    "The decoder's vector is scaled up, which may move the reading to another layer (chapter 9)."
)
_FLAT = "Where an MLP hardly follows the vector, its loss has little to decide."

_SIZE, _WEAK = ("smaller", "larger"), ("smaller", "undecided", "contradicted")
REASONS: dict[str, dict[str, str]] = {
    "hapax": dict.fromkeys(_SIZE, "The share depends on the size of the corpus."),
    "changed": {"larger": _NAMES},
    "ceiling": {"smaller": _NAMES},
    "focal": dict.fromkeys(_WEAK, _FLAT),
    "bag": dict.fromkeys(("undecided", "contradicted"), _BROKEN),
    "decoder": dict.fromkeys(_WEAK, _BROKEN),
    "repetition": dict.fromkeys(_WEAK, _CHARGED),
    **{key: dict.fromkeys(_WEAK, _SPELLING) for key in ("bpe", "bpe_whole")},
    **{key: dict.fromkeys(_WEAK, _CAPACITY) for key in ("wide", "larger")},
    **{
        key: dict.fromkeys(_WEAK, _SHORT)
        for key in ("cut", "cap", "eos", "eos_recall", "eos_words", "one_word")
    },
    **{key: dict.fromkeys(_SIZE, _STEPS) for key in ("optimal", "exhaustive")},
    **{key: {"smaller": _SCALE} for key in ("level", "exact")},
    **{f"order_{family}": {"smaller": _SHARED} for family in ("mlp", "clusters", "bpe")},
    **{key: dict.fromkeys(_WEAK, _LAYER) for key in ("hyphens", "heads", "u_shape")},
    "places": {"not checked": "The record of the run does not hold it."},
    "short": {**dict.fromkeys(_WEAK, _SOURCE), "larger": _WINDOW},
}
