"""Gaps between groups in plain words, made from the figures: which group, which way, how sure, and what it is not."""

from __future__ import annotations

from collections.abc import Sequence

from evalsuite.protocol.bias_block import REST
from evalsuite.protocol.bias_outcomes import leaves_out_zero
from evalsuite.report.format import format_level, format_level_name, format_number
from evalsuite.report.text import clean, given
from evalsuite.types import Estimate, Finding

TITLES = {
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "accuracy": "Accuracy",
    "fpr": "False-positive rate",
    "fnr": "False-negative rate",
    "selection_rate": "Selection rate",
    "underdiagnosis_rate": "Underdiagnosis rate",
    "auroc": "AUROC",
    "calibration_intercept": "Calibration intercept",
    "calibration_slope": "Calibration slope",
    "brier": "Brier score",
    "equal_opportunity_difference": "Equal opportunity (sensitivity)",
    "equal_opportunity_ratio": "Equal opportunity, ratio (sensitivity)",
    "equalised_odds_difference": "Equalised odds (sensitivity and specificity)",
    "demographic_parity_difference": "Demographic parity (selection rate)",
    "demographic_parity_ratio": "Demographic parity, ratio (selection rate)",
    "predictive_parity_difference": "Predictive parity (PPV)",
    "calibration_within_groups_difference": "Calibration within groups (intercept)",
}
#: Figures of an attribute as a whole: each sums up all its groups.
TITLES_OF_FAIRNESS = tuple(name for name in TITLES if name.endswith(("_difference", "_ratio")))
#: Which way is better for patients; of the others neither way is.
BETTER_HIGHER = ("sensitivity", "specificity", "ppv", "npv", "accuracy", "auroc")
BETTER_LOWER = ("fpr", "fnr", "underdiagnosis_rate", "brier")
OUTCOMES = {
    "equivalent": "equivalent",
    "disparity": "disparity",
    "inconclusive": "inconclusive",
    "not_assessable": "not assessable",
}
_IN_POINTS = (
    *("sensitivity", "specificity", "ppv", "npv", "accuracy", "fpr", "fnr", "selection_rate"),
    "underdiagnosis_rate",
)
_SUFFIX = "_difference"


def base_metric(metric: str) -> str:
    """The metric a gap is of."""
    return metric.removesuffix(_SUFFIX)


def title_of(metric: str) -> str:
    """A metric as printed."""
    return TITLES.get(metric) or metric.replace("_", " ").capitalize()


def other_name(finding: Finding) -> str:
    """What the group is compared with, as printed."""
    return "the rest" if finding.reference_group == REST else format_names(str(finding.reference_group))


def group_name(finding: Finding) -> str:
    """The group of a finding, as printed."""
    return " × ".join(format_level_name(v) for v in finding.stratum.values())


def format_names(joined: str) -> str:
    """The parts of a group's name, as printed."""
    return " × ".join(format_level_name(part) for part in joined.split(" × "))


def size(metric: str, value: float) -> str:
    """A size without sign: percentage points of shares, units of anything else."""
    if metric in _IN_POINTS:
        return f"{format_number(100.0 * abs(value), 1)} points"
    return format_number(abs(value), 3)


def signed(metric: str, value: float) -> str:
    """A gap's number with its sign, in percentage points of shares."""
    digits, factor = (1, 100.0) if metric in _IN_POINTS else (3, 1.0)
    if abs(value) < 1e-9:
        value = 0.0  # what rounding leaves of two equal sums
    text = format_number(factor * value, digits)
    return text if text.startswith("−") or not text.strip("0.") else f"+{text}"


def interval(metric: str, e: Estimate) -> str:
    """ "−20.5 to +3.1"."""
    if e.low is None or e.high is None:
        return "no interval"
    return f"{signed(metric, e.low)} to {signed(metric, e.high)}"


def served(metric: str, gap: float) -> str:
    """What the sign of a gap means for the group: "worse", "better", or nothing where neither way is better."""
    if gap == 0.0 or metric not in (*BETTER_HIGHER, *BETTER_LOWER):
        return ""
    return "better" if (gap > 0.0) == (metric in BETTER_HIGHER) else "worse"


def gap_sentence(finding: Finding, *, margin: float | None, narrow: Estimate | None, of_patients: bool = True) -> str:
    """One gap in one or two sentences; the direction comes from the sign of the figure and nothing else.

    `of_patients` is false for groups that say how the reference was established: nobody is served worse by that.
    """
    metric, e = base_metric(finding.metric), finding.estimate
    group, other = group_name(finding), other_name(finding)
    title = title_of(metric)
    if e.value is None or finding.outcome == "not_assessable":
        why = given(e.undefined or e.interval_undefined, "no reason recorded")
        return f"{title} in {group} cannot be compared with {other}: {clean(why, longest=160)}."
    unit = " points" if metric in _IN_POINTS else ""
    found = f"{format_level(e.level)} CI {interval(metric, e)}{unit}"
    way = "higher" if e.value > 0.0 else "lower"
    if e.value == 0.0:
        first = f"{title} is the same in {group} and {other} ({found})"
    else:
        first = f"{title} is {size(metric, e.value)} {way} in {group} than in {other} ({found})"
    if finding.outcome == "equivalent" and narrow is not None and margin is not None:
        more = "; the difference is more than chance, and too small to matter" if leaves_out_zero(e) else ""
        return (
            f"{first}. This is equivalent within ±{size(metric, margin)}: the {format_level(narrow.level)} interval, "
            f"{interval(metric, narrow)}, lies inside the margin{more}."
        )
    if finding.outcome == "disparity":
        word = served(metric, e.value) if of_patients else ""
        meaning = f": {group} is served {word}" if word else ""
        return f"{first}. This is a disparity{meaning}; it is more than chance explains."
    far = max(abs(e.low or 0.0), abs(e.high or 0.0))
    return (
        f"{first}. This is inconclusive: gaps of up to {size(metric, far)} are compatible with the data, and nothing "
        "is shown about equality."
    )


def summary(findings: Sequence[Finding]) -> str:
    """How many gaps of an attribute ended how."""
    counts = {word: sum(f.outcome == word for f in findings) for word in OUTCOMES}
    told = [f"{n} {OUTCOMES[word]}" for word, n in counts.items() if n]
    n = len(findings)
    return f"Of {n} gap{'s' if n != 1 else ''}: {', '.join(told)}."


def case_mix_sentence(finding: Finding, standardised: Estimate, *, mix: str) -> str:
    """Whether a disparity remains at the same case mix; an interval that holds 0 alone explains nothing."""
    metric, crude = base_metric(finding.metric), finding.estimate.value
    what = f"{title_of(metric)}, {group_name(finding)} against {other_name(finding)}"
    if standardised.value is None or crude is None:
        why = clean(given(standardised.undefined, "no reason recorded"), longest=120)
        return f"{what}: whether case mix explains the gap cannot be told ({why})."
    unit = " points" if metric in _IN_POINTS else ""
    told = f"{signed(metric, standardised.value)} ({interval(metric, standardised)}{unit})"
    first = f"{what}: {signed(metric, crude)} as it is, {told} at the same case mix ({mix})."
    same_way = standardised.value * crude > 0.0
    if leaves_out_zero(standardised):
        if same_way:
            return f"{first} The recorded case mix does not explain the gap."
        return f"{first} At the same case mix the gap is the other way round: the case mix hides it."
    if abs(standardised.value) <= 0.5 * abs(crude) or not same_way:
        return f"{first} Most of the gap goes with the recorded case mix; what remains is compatible with none."
    return f"{first} Whether the recorded case mix explains the gap stays open."
