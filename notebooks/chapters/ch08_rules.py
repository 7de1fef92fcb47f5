"""Chapter 8, by which rules: what each rule of the search is worth, and where words repeat."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan
from typing import Any, cast

import pandas as pd
import plotly.graph_objects as go

from chapters.figures import bars
from chapters.report import group_gap, listed, moves, span
from vec2slug_lib.common.slugs import STOPWORDS, words
from vec2slug_lib.common.vectors import Doubles
from vec2slug_lib.evaluation import metrics
from vec2slug_lib.evaluation.intervals import Interval
from vec2slug_lib.experiments.decoding_variants import VARIANTS

Record = Mapping[str, Any]  # of a decoding variant, see `decoding_record`

PREVENTS = {  # a rule's decoding variant without it, to the defect that the rule prevents
    "no-minimum": "short",
    "stopword-end": "stopword_end",
    "no-trailing-penalty": "stopword_end",
    "no-stopword-rules": "stopword_end",
    "no-repeat-penalty": "repeated_word",
    "no-reward-cap": "long",
}
DEFECTS = {
    "short": "under 3 words",
    "stopword_end": "stopword last",
    "repeated_word": "word repeated",
    "long": "over 6 words",
}
Groups = Mapping[str, Mapping[str, Interval | int]]  # see `repeats_by_length`
SMALL = 0.001  # of Token F1: the last digit that this book prints


def ablation_table(without: Mapping[str, Record]) -> pd.DataFrame:
    """Tabulate the records of variants that each leave a rule out."""
    rows = [
        {
            "left out": VARIANTS[name].label,
            "Token F1": f"{record['difference']['token_f1']['value']:+.4f}",
            "95 % interval": span(record["difference"]["token_f1"], 4),
            "changed": f"{record['changed']:.1%}",
            "words": record["metrics"]["mean_words"]["value"],
            "valid": f"{record['metrics']['validity']['value']:.1%}",
        }
        for name, record in without.items()
    ]
    return pd.DataFrame(rows).set_index("left out")


def defects_table(
    without: Mapping[str, Record], usual: Record, own: Mapping[str, float]
) -> pd.DataFrame:
    """Tabulate what each rule prevents: with it, without it, and in the pages' own slugs."""
    rows = [
        {
            "left out": VARIANTS[name].label,
            "defect": DEFECTS[defect],
            "with": f"{usual['defects'][defect]:.1%}",
            "without": f"{without[name]['defects'][defect]:.1%}",
            "pages' own": f"{own[defect]:.1%}",
        }
        for name, defect in PREVENTS.items()
    ]
    return pd.DataFrame(rows).set_index("left out")


def ablation_points(without: Mapping[str, Record]) -> pd.DataFrame:
    """Return the differences in Token F1 (value, low, high), a row a variant, the last first."""
    points = {name: record["difference"]["token_f1"] for name, record in without.items()}
    return pd.DataFrame(points).T[::-1]


def ablation_figure(points: pd.DataFrame) -> go.Figure:
    """Draw what leaving out a rule changes in Token F1."""
    labels = [VARIANTS[name].label for name in points.index]
    figure = go.Figure(
        go.Scatter(
            x=points["value"], y=labels, mode="markers", marker={"size": 10},
            error_x=bars(points),
        )
    )  # fmt: skip
    figure.add_vline(x=0, line_dash="dash")
    axis = "difference, with 95 % interval"
    return figure.update_layout(title="Token F1 without a rule", xaxis_title=axis)


def ablation_alt(points: pd.DataFrame) -> str:
    """Describe `ablation_figure`."""
    low, high = points["value"].idxmin(), points["value"].idxmax()
    return (
        f"Dot plot of seven differences between {points.loc[low, 'value']:+.4f} "
        f"({VARIANTS[low].label}) and {points.loc[high, 'value']:+.4f} ({VARIANTS[high].label})."
    )


def felt_rules(without: Mapping[str, Record]) -> str:
    """Say how many rules change Token F1 measurably, and which, up to the verb."""
    changes = {name: record["difference"]["token_f1"] for name, record in without.items()}
    felt = [name for name, change in changes.items() if change["low"] > 0 or change["high"] < 0]
    names = "; ".join(f"{VARIANTS[name].label}: {span(changes[name], 4)}" for name in felt)
    change = "changes" if len(felt) == 1 else "change"
    return f"{len(felt)} of {len(without)} ({names}) {change}" if felt else "none changes"


def by_size(without: Mapping[str, Record]) -> dict[str, list[str]]:
    """Sort the rules by what the whole interval of their change in Token F1 says of its size."""
    sides: dict[str, list[str]] = {"by that much or more": [], "by less": [], "undecided": []}
    for name, record in without.items():
        low, high = (record["difference"]["token_f1"][end] for end in ("low", "high"))
        large = low >= SMALL or high <= -SMALL
        less = -SMALL < low <= high < SMALL
        side = "by that much or more" if large else "by less" if less else "undecided"
        sides[side].append(VARIANTS[name].label)
    return sides


def rule_sizes(without: Mapping[str, Record]) -> str:
    """Say which rules `by_size` puts on which side."""
    parts = [f"{side}: {listed(labels) or 'none'}" for side, labels in by_size(without).items()]
    return f"Held against a change of {SMALL}, rules left out change it {'; '.join(parts)}."


def rule_findings(
    without: Mapping[str, Record], usual: Record, own: Mapping[str, float]
) -> dict[str, object]:
    """Return what the page says of the rules; ``own``: defects of the pages' own slugs."""
    return {
        "rules_that_matter": felt_rules(without),
        "rule_sizes": rule_sizes(without),
        "large_rules": f"{len(next(iter(by_size(without).values()))) or 'none'} by {SMALL} or more",
        "repeat_with": usual["defects"]["repeated_word"],
        "repeat_without": without["no-repeat-penalty"]["defects"]["repeated_word"],
        "repeat_own": own["repeated_word"],
        "stopword_ends": without["no-stopword-rules"]["defects"]["stopword_end"],
        "stopword_own": own["stopword_end"],
        "trailing_changed": without["no-trailing-penalty"]["changed"],
    }


def repeats(slug: str) -> int:
    """Count the words of a slug that were there before and are no stopwords."""
    content = [word for word in words(slug) if word not in STOPWORDS]
    return len(content) - len(set(content))


def stammers_table(predictions: pd.DataFrame, count: int = 6) -> pd.DataFrame:
    """Return the slugs that repeat the most, surest first, with their scores."""
    counted = predictions.assign(repeats=predictions["prediction"].map(repeats))
    worst = counted.sort_values(["repeats", "score"], ascending=False).head(count)
    return worst.set_index("slug")[["prediction", "score"]].rename_axis("the page's own")


def repeats_by_length(predictions: pd.DataFrame, pairs: pd.DataFrame) -> Groups:
    """Compute the share of slugs that repeat a word, by the length of the page's text.

    Args:
        predictions: of the run, a row a page, with its topic.
        pairs: of the same rows.

    Returns:
        Class of length to ``count`` and ``repeated``, an interval.
    """
    groups = [metrics.length_group(count) for count in pairs["token_count"]]
    return metrics.breakdown({"repeated": repeated(predictions)}, groups, predictions["topic"])


def repeated(predictions: pd.DataFrame) -> Doubles:
    """Mark the slugs that repeat a word with 1, the others with 0."""
    flags: Doubles = (predictions["prediction"].map(repeats) > 0).to_numpy(float)
    return flags


def length_gap(predictions: pd.DataFrame, pairs: pd.DataFrame) -> Interval:
    """Compute by how much more often slugs of short texts repeat a word than those of long ones.

    Arguments are those of `repeats_by_length`.
    """
    groups = pairs["token_count"].map(metrics.length_group).to_numpy()
    short, long = groups == "short", groups == "long"
    return group_gap(repeated(predictions), short, long, predictions["topic"])


def repeats_table(by_length: Groups) -> pd.DataFrame:
    """Tabulate the shares of `repeats_by_length`."""
    rows = [
        {
            "text": label,
            "pages": by_length[label]["count"],
            "repeat a word": f"{share['value']:.1%}",
            "95 % interval": _ends(share),
        }
        for label in ("short", "medium", "long")
        if label in by_length
        for share in [cast(Interval, by_length[label]["repeated"])]
    ]
    return pd.DataFrame(rows).set_index("text")


def _ends(share: Interval) -> str:
    """Write both ends of the interval of a share; a dash for those that one topic cannot tell."""
    return "–" if isnan(share["low"]) else f"{share['low']:.1%} to {share['high']:.1%}"


def length_verdict(gap: Interval) -> str:
    """Say whether short or long texts lead to repeated words more often, by `length_gap`."""
    if isnan(gap["low"]):
        return "These pages cannot tell"
    outcome = moves(
        gap,
        "Short ones do lead to it more often than long ones",
        "Long ones lead to it more often than short ones",
        "Short and long ones cannot be told apart",
    )
    return f"{outcome} ({gap['value']:+.1%}, {gap['low']:+.1%} to {gap['high']:+.1%})"


def changed_table(record: Record) -> pd.DataFrame:
    """Tabulate slugs that a variant changes, beside those of the usual search."""
    changed = pd.DataFrame(record["examples"], columns=["slug", "project", "prediction"])
    named = changed.set_axis(["the page's own", "with the penalty", "without"], axis=1)
    return named.set_index("the page's own")
