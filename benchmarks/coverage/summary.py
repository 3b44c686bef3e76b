"""What the tables come to, in words: where an interval is not to be used, and what to declare there instead."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from benchmarks.coverage.study import Cell, Tally, Verdict

PROPORTIONS = {
    "Clopper-Pearson": "interval: clopper-pearson",
    "Wilson": "interval: wilson",
    "Agresti-Coull": "interval: agresti-coull",
    "Jeffreys": "interval: jeffreys",
}
SETTINGS = {
    **PROPORTIONS,
    **{f"{method}, effective n": setting for method, setting in PROPORTIONS.items()},
    "bootstrap, percentile": "interval: percentile",
    "bootstrap, basic": "interval: basic",
    "bootstrap, BCa": "interval: bca",
    "Tango": "interval: tango",
    "Newcombe, paired": "interval: newcombe",
}
"""What a protocol writes for a method; methods that are not here are chosen in Python, or are the only ones."""
AUROC = {
    "DeLong": "interval: delong",
    "logit-DeLong": "interval: logit-delong",
    "Obuchowski, logit": "interval: delong",
    "Newcombe": "interval: newcombe",
    "Newcombe, effective n": "interval: newcombe",
}
CLOSED = {
    "Youden index": {"Newcombe hybrid": "interval: newcombe", "rectangle of exact limits": "interval: rectangle"},
    "balanced accuracy": {"Newcombe hybrid": "interval: newcombe", "rectangle of exact limits": "interval: rectangle"},
    "MCC": {"Fisher z, delta method": "interval: fisher-z"},
    "kappa": {"Fleiss-Cohen-Everitt": "interval: fleiss"},
    "F1": {"Wilson, indirect": "interval: wilson", "Clopper-Pearson, indirect": "interval: clopper-pearson"},
}
"""Closed forms that are named otherwise for these figures alone."""


def setting(quantity: str, method: str) -> str | None:
    """How a protocol declares the method for the quantity, or None."""
    if quantity.startswith("AUROC"):
        return AUROC.get(method) or SETTINGS.get(method)
    return CLOSED.get(quantity, {}).get(method) or SETTINGS.get(method)


_BCA = ("bootstrap, BCa",)
_CLOSED_WITH_ONE_CASE = (
    "likelihood ratio", "CCC", "ICC(2,1), device", "TDI", "weighted kappa", "AC2", "tau-b", "VUS", "Youden",
    "balanced accuracy", "MCC",
)  # fmt: skip
_PROPORTIONS = (
    "proportion", "sensitivity", "specificity", "PPV in", "NPV in", "accuracy", "agreement within", "share within",
    "top-2", "subset", "agreement on response",
)  # fmt: skip
_UNASKED: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("sensitivity against", "specificity against"), ("readers and patients resampled",)),
    (("ratio, paired",), ("Tang, paired score",)),
    (("kappa of response",), ("Fleiss-Cohen-Everitt",)),
    (("recalibration intercept",), ("Wald", "Wald, sandwich")),
    (("MCC, several", "kappa, several"), _BCA),
    (("Youden", "balanced accuracy"), ("Newcombe hybrid",)),
    (("MCC",), ("Fisher z, delta method",)),
    (("sensitivity at", "specificity at", "partial AUROC", "net benefit", "standardised net", "difference of net"),
     ("bootstrap, percentile",)),
    (_PROPORTIONS, ("Clopper-Pearson", "Clopper-Pearson, effective n")),
    (("AUROC",), ("DeLong", "Obuchowski, logit")),
    (("difference of AUROCs",), ("DeLong", "Obuchowski")),
    (("difference, paired cases, several",), ("Tango, effective n",)),
    (("difference, paired",), ("Tango",)),
    (("difference of average precision",), ("bootstrap, percentile",)),
    (("difference of",), ("bootstrap, basic",)),
    (("likelihood ratio",), ("log (Simel)",)),
    (("calibration intercept", "calibration slope"), ("Wald", "Wald, sandwich")),
    (("lower limit of agreement, several", "upper limit of agreement, several"), ("MOVER",)),
    (("lower limit", "upper limit"), ("exact",)),
    (("PPV at", "NPV at"), ("logit (Mercaldo)",)),
    (("bias", "mean absolute", "root mean", "RPS"),
     ("Student t", "Student t, patients as clusters", "log delta method")),
    (("Deming",), ("jackknife, t",)),
    (("CCC",), ("Lin, Fisher z",)),
    (("ICC(2,1), device",), ("F, Satterthwaite",)),
    (("TDI",), ("log delta method",)),
    (("weighted kappa",), ("Fleiss-Cohen-Everitt",)),
    (("AC2",), ("Gwet, t",)),
    (("tau-b",), ("Fisher z, delta method",)),
    (("VUS",), ("structural components, logit",)),
    (("average over sites",), ("Hartung-Knapp, modified",)),
    (("O/E",), _BCA),
)  # fmt: skip
_BOOTSTRAPPED = (
    "F1", "kappa", "average precision", "Brier score", "log loss", "macro",
    "micro", "weighted F1", "weighted AUROC", "Hand-Till", "Hamming",
)  # fmt: skip


def unasked(quantity: str) -> tuple[str, ...]:
    """Methods that a protocol uses for the quantity where it asks for none; empty where there is no choice."""
    if quantity.startswith(_CLOSED_WITH_ONE_CASE) and quantity.endswith("several cases per patient"):
        return _BCA
    for starts, methods in _UNASKED:
        if quantity.startswith(starts):
            return methods
    return _BCA if quantity.startswith(_BOOTSTRAPPED) else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the tables."""

    page: str
    cell: Cell
    quantity: str
    method: str
    tally: Tally

    @property
    def verdict(self) -> Verdict:
        return self.tally.verdict

    @property
    def spot(self) -> tuple[int, float | None, int]:
        return self.cell.n, self.cell.prevalence, self.cell.cases


Fits = dict[tuple[int, float | None, int], set[Verdict]]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """All designs in which one method was tried for one quantity."""

    quantity: str
    method: str
    rows: tuple[Row, ...]

    def having(self, verdict: Verdict) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.verdict == verdict)

    @cached_property
    def unsuitable(self) -> tuple[Row, ...]:
        return self.having("unsuitable")

    @cached_property
    def at(self) -> Fits:
        """Verdicts by size, prevalence and cases per patient, whatever else the designs set."""
        found: Fits = defaultdict(set)
        for row in self.rows:
            found[row.spot].add(row.verdict)
        return found

    @property
    def worst(self) -> Tally:
        """Counts of the design with the lowest coverage."""
        return min((row.tally for row in self.unsuitable), key=lambda tally: tally.coverage)

    @property
    def highest(self) -> float:
        """Coverage in the most conservative design."""
        return max(row.tally.coverage for row in self.having("conservative"))

    @property
    def unasked(self) -> bool:
        """Whether a protocol uses it where it asks for nothing else."""
        return self.method in unasked(self.quantity)

    @property
    def title(self) -> str:
        """The method, with a star where a protocol uses it unasked."""
        return self.method + (" \\*" if self.unasked else "")


def judged(rows: Iterable[Row]) -> list[Judged]:
    """Rows gathered by quantity and method, in the order of their first appearance."""
    gathered: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        gathered[row.quantity, row.method].append(row)
    return [Judged(quantity=q, method=m, rows=tuple(r)) for (q, m), r in gathered.items()]


def number(value: float | str | None) -> str:
    """A setting as it is printed."""
    if value is None:
        return "–"
    return value if isinstance(value, str) else f"{value:g}"


def of_setting(cell: Cell) -> str:
    """The further settings of a design; what only the simulation needs is left out."""
    if cell.family == "change" and not cell.setting:
        return "change relative"
    return ", ".join(f"{k} {number(v)}" for k, v in cell.setting if k not in ("truth", "resamples", "correlation"))


def where(chosen: Sequence[Row], tried: Sequence[Row]) -> str:
    """The designs of `chosen`, among all that were `tried`, as few words as say it exactly."""
    if len(chosen) == len(tried):
        return "everywhere studied"
    sizes: dict[tuple[float | None, int, str], list[int]] = defaultdict(list)
    all_sizes: dict[tuple[float | None, int, str], list[int]] = defaultdict(list)
    for target, rows in ((sizes, chosen), (all_sizes, tried)):
        for row in rows:
            target[row.cell.prevalence, row.cell.cases, of_setting(row.cell)].append(row.cell.n)
    parts: dict[tuple[float | None, int, str], list[str]] = defaultdict(list)
    for key, found in sizes.items():
        parts[key[0], key[1], _sizes(sorted(found), sorted(all_sizes[key]))].append(key[2])
    merged: dict[tuple[int, str, tuple[str, ...]], list[float | None]] = defaultdict(list)
    for (prevalence, cases, size), settings in parts.items():
        tried_here = {k[2] for k in all_sizes if k[0] == prevalence and k[1] == cases}
        named = () if set(settings) == tried_here else tuple(settings)
        merged[cases, size, named].append(prevalence)
    again: dict[tuple[str, tuple[float | None, ...], tuple[str, ...]], list[int]] = defaultdict(list)
    for (cases, size, named), prevalences in merged.items():
        again[size, tuple(prevalences), named].append(cases)
    texts = []
    for (size, prevalences, named), cases_ in again.items():
        words = [size]
        if prevalences != (None,):
            words.append("prevalence " + _or([number(p) for p in prevalences]))
        if max(cases_) > 1:
            words.append(f"1 to {_or([str(k) for k in cases_])} cases each")
        if named:
            words.append(_or(named))
        texts.append(", ".join(words))
    return "; ".join(texts)


def _or(words: Sequence[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


def _sizes(found: list[int], tried: list[int]) -> str:
    if found == tried[: len(found)] and len(found) < len(tried):
        return f"n ≤ {found[-1]:,}" if len(found) > 1 else f"n = {found[0]:,}"
    if found == tried:
        return f"n ≤ {found[-1]:,}, the largest studied" if len(found) > 1 else f"n = {found[0]:,}"
    return "n = " + ", ".join(f"{n:,}" for n in found)


def positives(rows: Sequence[Row]) -> str:
    """The largest number of the rarer class that is expected in these designs."""
    expected = [r.cell.n * min(r.cell.prevalence, 1.0 - r.cell.prevalence) for r in rows if r.cell.prevalence]
    return f"≤ {max(expected):g}" if expected else "–"


def instead(of: Judged, others: Sequence[Judged]) -> str:
    """The method of the same quantity that is suitable in most of the designs where this one is not."""
    spots = {row.spot for row in of.unsuitable}
    best: tuple[tuple[bool, int, bool], Judged] | None = None
    for other in others:
        if other.quantity != of.quantity or other.method == of.method:
            continue
        good = sum(bool(other.at.get(s)) and other.at[s] <= {"ok", "conservative"} for s in spots)
        can_be_declared = setting(other.quantity, other.method) is not None
        rank = (can_be_declared and good == len(spots), good, can_be_declared)
        if good and (best is None or rank > best[0]):
            best = (rank, other)
    if best is None:
        return "nothing: more patients"
    (_, good, _), other = best
    declared = setting(other.quantity, other.method)
    how = f"`{declared}`" if declared else f"{other.method} (in Python)"
    return how if good == len(spots) else f"{how} (suitable in {good} of {len(spots)} such designs)"
