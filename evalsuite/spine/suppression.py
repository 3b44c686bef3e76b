"""Which groups a public copy may show: none that is small, and none by which a small one could be worked out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from evalsuite.protocol.schema import StudyProtocol
from evalsuite.types import Evidence

#: Names of strata (several for a cross) and, in the same order, the group's values in them.
Names = tuple[str, ...]
Values = tuple[str, ...]
#: Cases of a group by class of the reference standard (and by target, where there are several).
Counts = Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Groups that may be shown, by the strata they belong to, and how many of each stratum's groups are withheld."""

    shown: Mapping[Names, frozenset[Values]]
    withheld: Mapping[Names, int]

    def shows(self, stratum: Mapping[str, str]) -> bool:
        """Whether figures of this group may be printed; always for the whole set."""
        names = tuple(sorted(stratum))
        return not stratum or tuple(stratum[n] for n in names) in self.shown.get(names, frozenset())


def publishable(protocol: StudyProtocol, evidence: Evidence, below: int) -> Published:
    """Which groups can be shown so that no group with fewer than `below` cases of a class is shown, or follows.

    Primary: a group is withheld where any class of the reference standard has fewer than `below` cases in it (none at
    all included: that everybody in a group is healthy is also a fact about each of them). Complementary: within each
    stratum the withheld groups together have at least `below` cases of every class and are at least two, so that the
    whole set less the groups shown gives nothing away; where that cannot be reached, the stratum is withheld. A cross
    is shown as a whole or not at all, and not where one of its strata has a withheld group: its cells would add up to
    it. The same holds for other strata of the same column.

    References
    ----------
    Hundepool et al., Statistical Disclosure Control (2012), chapter 4: primary and secondary cell suppression.
    """
    counts = _counts(evidence)
    shown: dict[Names, frozenset[Values]] = {}
    for names, groups in counts.items():
        shown[names] = _shown(groups, below, whole=len(names) > 1)
    incomplete = {names for names, groups in counts.items() if len(shown[names]) < len(groups)}
    touched = {name for names in incomplete if len(names) == 1 for name in names}
    columns = _columns(protocol)
    spoilt = {columns.get(name, name) for name in touched}
    for names in counts:
        others = {n for n in names if columns.get(n, n) in spoilt}
        if (len(names) > 1 and others) or (len(names) == 1 and others - touched):
            shown[names] = frozenset()
    # Two strata of one column that both show some of their groups could be laid over each other: neither is shown.
    partly = [name for name in touched if shown[name,]]
    for name in partly:
        if any(columns.get(other) == columns.get(name) for other in partly if other != name):
            shown[name,] = frozenset()
    withheld = {names: len(groups) - len(shown[names]) for names, groups in counts.items()}
    return Published(shown=shown, withheld={names: n for names, n in withheld.items() if n})


def _columns(protocol: StudyProtocol) -> dict[str, str]:
    return {s.name: s.column or s.name for s in protocol.strata if s.cross is None}


def _counts(evidence: Evidence) -> dict[Names, dict[Values, dict[str, int]]]:
    """Cases of every group by class; where accounting and findings differ, the larger number."""
    found: dict[Names, dict[Values, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))

    def group(stratum: Mapping[str, str]) -> dict[str, int]:
        names = tuple(sorted(stratum))
        return found[names][tuple(stratum[n] for n in names)]

    for account in evidence.accounting:
        if account.stratum and account.reference in ("positive", "negative", "known"):
            mine = group(account.stratum)
            mine[account.reference] = mine.get(account.reference, 0) + account.n
    several = len({f.target for f in evidence.findings}) > 1
    for finding in evidence.findings:
        if not finding.stratum:
            continue
        mine = group(finding.stratum)
        of = f" of {finding.target}" if several else ""
        e = finding.estimate
        for name, n in ((f"positive{of}", e.n_positive), (f"negative{of}", e.n_negative)):
            if n is not None:
                mine[name] = max(mine.get(name, 0), n)
        if e.n_positive is None and e.n_negative is None and e.value is not None and "known" not in mine:
            mine["n"] = max(mine.get("n", 0), e.n)
    return {names: {values: dict(c) for values, c in groups.items()} for names, groups in found.items()}


def _shown(groups: Mapping[Values, Counts], below: int, *, whole: bool) -> frozenset[Values]:
    """The groups of one stratum that can be shown beside the whole set."""
    kinds = {kind for counts in groups.values() for kind in counts}

    def least(values: Values) -> tuple[int, Values]:
        return min((groups[values].get(kind, 0) for kind in kinds), default=0), values

    hidden = {values for values in groups if least(values)[0] < below}
    if not hidden:
        return frozenset(groups)
    if whole:
        return frozenset()
    rest = sorted(set(groups) - hidden, key=least)
    while rest and not _safe(groups, hidden, kinds, below):
        hidden.add(rest.pop(0))
    return frozenset(rest)


def _safe(
    groups: Mapping[Values, Counts], hidden: Collection[Values], kinds: Iterable[str], below: int
) -> bool:  # fmt: skip
    return len(hidden) > 1 and all(sum(groups[v].get(kind, 0) for v in hidden) >= below for kind in kinds)


__all__ = ["Published", "publishable"]
