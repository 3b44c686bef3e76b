"""What a report is made from, with the look-ups every section needs: find, sort and name; nothing is computed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from evalsuite.protocol.checks import SETTINGS
from evalsuite.protocol.comparisons import SUFFIX, asked_endpoints, is_difference
from evalsuite.protocol.metrics import METRICS
from evalsuite.protocol.schema import Endpoint, StudyProtocol
from evalsuite.report.format import format_count, format_level, format_utc
from evalsuite.report.text import clean, given, short_digest
from evalsuite.types import (
    CriterionResult,
    Curve,
    CurveKind,
    Estimate,
    Evidence,
    Exhibits,
    Finding,
    Stratum,
    TestOutcome,
    Verdict,
)

#: Analyses that have tables of their own.
_ELSEWHERE = (
    *("missing_data", "confusion", "multiplicity", "comparison"),
    *("generalisation", "group_differences", "weighting", "verification_bias", "tipping_point"),
    *("truth_panel", "variance_components", "response", "linearity", "reuse", "planning", "triage"),
    *("failures", "slices", "bias", "threshold_what_if", "flips"),
    *("uncertainty", "robustness", "interpretability"),
    "drift",
)
#: Of those, the ones whose tables name interval methods by code.
_CODED = (
    *("comparison", "generalisation", "group_differences", "weighting", "verification_bias"),
    *("truth_panel", "variance_components", "linearity", "triage", "failures", "slices", "bias"),
    "threshold_what_if",
    *("uncertainty", "robustness", "interpretability"),
    "drift",
)
Found = TypeVar("Found")
ROLE_ORDER = {"primary": 0, "secondary": 1, "exploratory": 2, "descriptive": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Protocol, evidence, verdict, run record and pictures of single cases of one report."""

    protocol: StudyProtocol
    evidence: Evidence
    verdict: Verdict
    record: Mapping[str, Any]
    exhibits: Exhibits = field(default_factory=Exhibits)
    kept: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def once(self, name: str, make: Callable[[], Found]) -> Found:
        """What `make` finds in this material, looked for on the first call only: sections ask the same hundreds of
        times. One entry for each kind of look-up; a changed copy (`replace`) begins with none. Do not change it."""
        if name not in self.kept:
            self.kept[name] = make()
        found: Found = self.kept[name]
        return found

    def recorded(self, path: str, default: Any = None) -> Any:
        """The run record's entry at a dotted path, or `default` where any step is absent or null."""
        value: Any = self.record
        for key in path.split("."):
            if not isinstance(value, Mapping) or value.get(key) is None:
                return default
            value = value[key]
        return value

    def text(self, path: str, missing: str = "not recorded") -> str:
        """The run record's entry at a dotted path, ready to print."""
        value = self.recorded(path)
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, int):
            return format_count(value)
        return given(value, missing)

    def findings(self, *, overall: bool | None = None, analysis: str | None = None) -> Iterator[tuple[int, Finding]]:
        """Findings with their position in the evidence. `analysis` None: the primary analysis of the candidate, without
        what has tables of its own (missing data, confusion, multiplicity, comparison)."""
        for index, finding in self.once("findings", self._by_analysis).get(analysis, ()):
            if overall is None or overall == (not finding.stratum):
                yield index, finding

    def _by_analysis(self) -> dict[str | None, list[tuple[int, Finding]]]:
        """Findings by analysis; under None those of the primary analysis of the candidate."""
        found: dict[str | None, list[tuple[int, Finding]]] = {}
        for index, finding in enumerate(self.evidence.findings):
            found.setdefault(finding.analysis, []).append((index, finding))
            if finding.analysis not in _ELSEWHERE and finding.rater == "device":
                found.setdefault(None, []).append((index, finding))
        return found

    def find(self, endpoint: str, stratum: Stratum | None = None) -> tuple[int, Finding] | None:
        """The primary finding of an endpoint in a stratum."""
        wanted = dict(stratum or {})
        for index, finding in itertools.chain(self.findings(), self.findings(analysis="comparison")):
            if finding.endpoint == endpoint and dict(finding.stratum) == wanted and finding.condition is None:
                return index, finding
        return None

    def judged(self, criterion: CriterionResult) -> tuple[int, Finding] | None:
        """The finding that a criterion was judged on: an endpoint's own, or the gap that an analysis found."""
        found = self.find(criterion.endpoint, criterion.stratum)
        if found is not None:
            return found
        for index, finding in enumerate(self.evidence.findings):
            same = finding.metric == criterion.metric and dict(finding.stratum) == dict(criterion.stratum)
            if same and finding.estimate == criterion.estimate:
                return index, finding
        return None

    def curves(self, kind: CurveKind, *, series: str | None = None, target: str | None = None) -> list[Curve]:
        """Curves of the whole set of one kind; of one class or label against the rest where `target` is given."""
        return [
            c
            for c in self.evidence.curves
            if c.kind == kind and not c.stratum and c.target == target and (series is None or c.series == series)
        ]

    @property
    def method_codes(self) -> dict[str, str]:
        """M1, M2, … for the interval methods in the evidence, in order of first use: short enough for a column."""
        return self.once("method codes", self._method_codes)

    def _method_codes(self) -> dict[str, str]:
        every = itertools.chain(self.findings(), *(self.findings(analysis=a) for a in _CODED))
        methods = dict.fromkeys(f.estimate.method for _, f in every if f.estimate.value is not None)
        return {method: f"M{k}" for k, method in enumerate(methods, start=1)}

    def method_note(self, estimates: Iterable[Estimate]) -> str:
        """The codes that occur among `estimates`, spelled out: printed under the table that uses them. Resamples in
        which a figure did not exist are counted there too."""
        codes = self.method_codes
        lost: dict[str, int] = {}
        for e in estimates:
            if e.value is not None:
                lost[e.method] = max(lost.get(e.method, 0), e.replicates_undefined or 0)
        spelled = sorted((codes.get(m, "M–"), clean(m, longest=120) + _without_value(k)) for m, k in lost.items())
        return f"Interval methods: {'; '.join(f'{code} {method}' for code, method in spelled)}." if spelled else ""

    @property
    def level(self) -> float:
        """The two-sided confidence level of the intervals printed."""
        primary = next((f.estimate.level for _, f in self.findings(overall=True)), None)
        return primary if primary is not None else self.protocol.confidence.level

    @property
    def interval_title(self) -> str:
        return f"{format_level(self.level)} CI"

    def endpoint(self, name: str) -> Endpoint | None:
        """The protocol's endpoint of this name, None for rows of the standard table."""
        return next((e for e in self.protocol.endpoints if e.name == name), None)

    @property
    def endpoint_order(self) -> dict[str, int]:
        """Endpoint names in reading order: primary first, then as the protocol lists them."""
        ranked = sorted(
            enumerate(asked_endpoints(self.protocol)), key=lambda item: (ROLE_ORDER.get(item[1].role, 9), item[0])
        )
        return {endpoint.name: rank for rank, (_, endpoint) in enumerate(ranked)}

    def ordered(self, stratum: Stratum) -> dict[str, str]:
        """A group's keys in the order in which the protocol crosses them; canonical JSON sorts them by name."""
        keys = next((s.cross for s in self.protocol.strata if s.cross and set(s.cross) == set(stratum)), None)
        return {key: stratum[key] for key in keys} if keys else dict(stratum)

    def asked(self, finding: Finding) -> tuple[str, ...]:
        """What a finding estimates, apart from where it is judged: two endpoints with one key have the same numbers."""
        endpoint = self.endpoint(finding.endpoint)
        own: list[str] = []
        if endpoint is not None:
            named = {name: getattr(endpoint, name) for name in ("interval", "target", "cuts", *SETTINGS)}
            own = [f"{name} {value}" for name, value in named.items() if value is not None]
        return (finding.metric, str(finding.operating_point), *own)

    @property
    def flags(self) -> tuple[str, ...]:
        """What the verdict and the run record raise for a reader's attention."""
        recorded = self.recorded("flags", ())
        more = [str(f) for f in recorded] if isinstance(recorded, list | tuple) else []
        return tuple(dict.fromkeys([*self.verdict.flags, *more]))

    @property
    def set_name(self) -> str:
        name = given(self.evidence.testset.get("set_id") or self.recorded("testset.set_id"), "test set")
        version = given(self.evidence.testset.get("version") or self.recorded("testset.version"), "")
        return f"{clean(name, longest=60)} version {clean(version, longest=24)}" if version else clean(name, longest=60)

    @property
    def set_note(self) -> str:
        """Which test set a table was made on: printed under every table of results."""
        root = self.evidence.testset.get("root") or self.recorded("testset.root")
        locked = self.recorded("testset.locked_utc")
        when = f", locked {format_utc(locked)[:10]}" if locked else ""
        return f"Test set: {self.set_name}{when}, root {short_digest(root)}"

    @property
    def n_cases(self) -> int | None:
        value = self.recorded("testset.n_cases") or self.evidence.testset.get("n_cases")
        return int(value) if isinstance(value, int) else None

    def count(self, *, status: str | None = None, reference: str | None = None) -> int:
        """Cases of the whole set with this status and this class of the reference standard."""
        return sum(
            a.n
            for a in self.evidence.accounting
            if not a.stratum
            and (status is None or a.status == status)
            and (reference is None or a.reference == reference)
        )


def anchor(index: int) -> str:
    """The identifier of a finding in the report: its place in evidence.json."""
    return f"f-{index:04d}"


def places(material: Material, findings: Iterable[Finding | None]) -> tuple[str, ...]:
    """The identifiers of these findings, each once; those that are None are left out."""
    wanted = {id(f) for f in findings if f is not None}
    return tuple(anchor(i) for i, f in enumerate(material.evidence.findings) if id(f) in wanted)


def tested(material: Material, test: TestOutcome | None) -> tuple[str, ...]:
    """The identifier of a test in the report, its place in evidence.json; nothing where there is no test."""
    return tuple(f"t-{k:04d}" for k, t in enumerate(material.evidence.tests) if t is test)


def drawn_from(material: Material, curve: Curve) -> str:
    """The place of a curve in the attached evidence."""
    at = next((k for k, c in enumerate(material.evidence.curves) if c is curve), None)
    return "evidence.json#/curves" + ("" if at is None else f"/{at}")


def _without_value(resamples: int) -> str:
    if not resamples:
        return ""
    return f" (up to {format_count(resamples)} resamples of a figure in this table had no value and were left out)"


def metric_title(metric: str) -> str:
    """ "AUROC", "Sensitivity": the catalogue's title, or the name itself."""
    info = METRICS.get(metric.removesuffix(SUFFIX))
    if info is None:
        return clean(metric, longest=80).replace("_", " ")
    return f"Difference in {info.title}" if is_difference(metric) else info.title


def higher_is_better(metric: str) -> bool | None:
    info = METRICS.get(metric)
    return info.higher_is_better if info else None


def bounds(metric: str) -> tuple[float | None, float | None]:
    info = METRICS.get(metric)
    return (info.lower, info.upper) if info else (None, None)


def question(finding: Finding | CriterionResult, *, several_points: bool) -> str:
    """ "Sensitivity at screening", "Sensitivity of nodule": the metric and, where it matters, of what and where."""
    title = metric_title(finding.metric)
    target = getattr(finding, "target", None)
    if target is not None:
        title = f"{title} of {clean(target, longest=60)}"
    if finding.operating_point and several_points:
        return f"{title} at {clean(finding.operating_point, longest=60)}"
    return title


def stratum_name(stratum: Stratum) -> tuple[str, ...]:
    """Which stratum a cell belongs to: its keys, several for a cross."""
    return tuple(stratum)


def in_groups(rows: Sequence[tuple[int, Finding]]) -> dict[tuple[str, ...], list[tuple[int, Finding]]]:
    """Findings of strata by stratum, in the evidence's order."""
    groups: dict[tuple[str, ...], list[tuple[int, Finding]]] = {}
    for index, finding in rows:
        groups.setdefault(stratum_name(finding.stratum), []).append((index, finding))
    return groups


def finding_at(material: Material, metric: str, point: str) -> Finding | None:
    """The whole set's finding of a metric at an operating point."""
    return next(
        (f for _, f in material.findings(overall=True) if f.metric == metric and f.operating_point == point), None
    )
