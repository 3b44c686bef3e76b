"""The values every part of the suite speaks in: estimates, findings, evidence, verdicts; frozen, and JSON both ways."""

from __future__ import annotations

import math
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

Unit = Literal["patient", "study", "case", "lesion", "eye", "reader", "pixel"]
Role = Literal["primary", "secondary", "exploratory", "descriptive"]
Outcome = Literal["met", "not_met", "inconclusive"]
CaseStatus = Literal["ok", "rejected", "failed", "indeterminate", "reference_equivocal", "reference_missing"]
ReferenceClass = Literal["positive", "negative", "known", "equivocal", "missing"]
CurveKind = Literal[
    "roc",
    "pr",
    "reliability",
    "froc",
    "net_benefit",
    "histogram",
    "bland_altman",
    "scatter",
    "wait_saved",
    "overlap",
    "reader_roc",
    "risk_coverage",
    "detector",
    "detector_state",
    "sequence",
    "audit_series",
    "control_chart",
]

CASE_STATUSES: tuple[CaseStatus, ...] = get_args(CaseStatus)
OUTPUT_STATUSES: tuple[CaseStatus, ...] = ("ok", "rejected", "failed", "indeterminate")

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
Stratum = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number that may appear in a report: never without its n, its interval and its method.

    Exactly one of `value` and `undefined` is given. `low` and `high` are both given or both absent; where a value has
    no interval, `interval_undefined` says why. `level` is the two-sided confidence level (0.95), so a one-sided 97.5 %
    bound is one end of a 95 % interval. Counts that do not apply are None.

    Raises
    ------
    ValueError
        If value and reason are both given or both absent, a number is not finite, or the interval is incomplete.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    level: float = 0.95
    method: str
    n: int
    unit: Unit = "case"
    numerator: float | None = None
    denominator: float | None = None
    n_positive: int | None = None
    n_negative: int | None = None
    n_patients: int | None = None
    design_effect: float | None = None
    replicates: int | None = None
    replicates_undefined: int | None = None
    undefined: str | None = None
    interval_undefined: str | None = None

    def __post_init__(self) -> None:
        if (self.value is None) == (self.undefined is None):
            raise ValueError("an estimate has a value or a reason why there is none, not both and not neither")
        for name in ("value", "low", "high", "numerator", "denominator", "design_effect"):
            number = getattr(self, name)
            if number is not None and not math.isfinite(number):
                raise ValueError(f"an estimate's {name} is finite or None, got {number!r}")
        if (self.low is None) != (self.high is None):
            raise ValueError("an interval has both ends or none")
        if self.undefined is not None and self.low is not None:
            raise ValueError("an undefined estimate has no interval")
        if not 0.0 < self.level < 1.0:
            raise ValueError(f"level lies strictly between 0 and 1, got {self.level!r}")

    @classmethod
    def not_estimable(
        cls,
        reason: str,
        *,
        n: int,
        unit: Unit = "case",
        level: float = 0.95,
        method: str = "none",
        **counts: Any,
    ) -> Estimate:
        """An estimate that does not exist, and why."""
        return cls(undefined=reason, n=n, unit=unit, level=level, method=method, **counts)

    def to_json(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Estimate:
        return cls(**data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One estimate and the question it answers.

    `outcome` is what a gap between two groups shows (protocol/bias_outcomes.py); absent for anything else.
    """

    analysis: str
    endpoint: str
    metric: str
    role: Role
    target: str | None
    operating_point: str | None
    stratum: Stratum = field(default_factory=dict)
    rater: str = "device"
    condition: str | None = None
    reference_group: str | None = None
    prespecified: bool = True
    estimate: Estimate
    outcome: str | None = None

    def to_json(self) -> dict[str, Any]:
        data = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "outcome" or self.outcome is not None}
        data["stratum"] = dict(self.stratum)
        data["estimate"] = self.estimate.to_json()
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Finding:
        return cls(**{**data, "estimate": Estimate.from_json(data["estimate"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A line or band the report draws. `x`, `y`, `low`, `high` are equally long; `low`/`high`/`n` may be absent.

    `series` tells several lines of one kind apart (a histogram's "positive" and "negative" cases); `target` is the
    class or label against the rest that a line is of, absent in tasks of one question.
    """

    analysis: str
    metric: str
    kind: CurveKind
    stratum: Stratum = field(default_factory=dict)
    operating_point: str | None = None
    series: str | None = None
    target: str | None = None
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    n: int | tuple[int, ...] | None = None
    method: str | None = None

    def to_json(self) -> dict[str, Any]:
        data = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "target" or self.target is not None}
        data["stratum"] = dict(self.stratum)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in data.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Curve:
        fields_: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return cls(**fields_)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """How many cases ended with this status, in this class of the reference standard, in this stratum.

    `known` is an established reference in a task without a positive and a negative class (several classes, labels,
    grades).
    """

    status: CaseStatus
    reference: ReferenceClass
    stratum: Stratum = field(default_factory=dict)
    n: int
    n_patients: int

    def to_json(self) -> dict[str, Any]:
        return {**{f.name: getattr(self, f.name) for f in fields(self)}, "stratum": dict(self.stratum)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Account:
        return cls(**data)


@dataclass(frozen=True, slots=True, kw_only=True)
class TestOutcome:
    """A hypothesis test: statistic and p-value, adjusted where the protocol adjusts.

    `analysis` names the analysis it belongs to where that is neither an endpoint's nor a comparison's own: groups,
    wrong cases, slices, stated uncertainty, drift.
    """

    __test__ = False  # not a test case, whatever its name looks like to pytest

    name: str
    statistic: float | None
    p_value: float | None
    p_adjusted: float | None = None
    method: str
    endpoint: str | None = None
    stratum: Stratum = field(default_factory=dict)
    undefined: str | None = None
    analysis: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {**{f.name: getattr(self, f.name) for f in fields(self)}, "stratum": dict(self.stratum)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TestOutcome:
        return cls(**data)


#: Whether a modification may be implemented: any unresolved criterion, or a change outside its plan, means no.
Decision = Literal["implement", "do_not_implement"]

EVIDENCE_SCHEMA = "evalsuite/evidence/1"
VERDICT_SCHEMA = "evalsuite/verdict/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that was found, and from what: a pure function of protocol, locked test set and predictions.

    `protocol`, `testset`, `model`, `predictions` identify the inputs (id, version, digest, counts); `software` names
    the versions of what computed the numbers. No times, paths, hosts or run ids: the same inputs give the same bytes.
    `notes` are facts a reader must know (cases without patient_id, a stratum column that is constant).
    """

    protocol: Mapping[str, Any]
    testset: Mapping[str, Any]
    model: Mapping[str, Any]
    predictions: Mapping[str, Any]
    software: Mapping[str, str]
    findings: tuple[Finding, ...]
    curves: tuple[Curve, ...] = ()
    accounting: tuple[Account, ...] = ()
    tests: tuple[TestOutcome, ...] = ()
    notes: tuple[str, ...] = ()
    schema: str = EVIDENCE_SCHEMA

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": self.schema,
            "protocol": dict(self.protocol),
            "testset": dict(self.testset),
            "model": dict(self.model),
            "predictions": dict(self.predictions),
            "software": dict(self.software),
            "findings": [f.to_json() for f in self.findings],
            "curves": [c.to_json() for c in self.curves],
            "accounting": [a.to_json() for a in self.accounting],
            "tests": [t.to_json() for t in self.tests],
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Evidence:
        return cls(
            schema=data["schema"],
            protocol=data["protocol"],
            testset=data["testset"],
            model=data["model"],
            predictions=data["predictions"],
            software=data["software"],
            findings=tuple(Finding.from_json(f) for f in data["findings"]),
            curves=tuple(Curve.from_json(c) for c in data["curves"]),
            accounting=tuple(Account.from_json(a) for a in data["accounting"]),
            tests=tuple(TestOutcome.from_json(t) for t in data["tests"]),
            notes=tuple(data["notes"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CriterionResult:
    """One acceptance criterion, the estimate it was judged on, and the outcome with its reason.

    `criterion` is the criterion as the protocol states it: {"bound", "op", "value", …}. `stratum` is `{}` for the
    whole set.
    """

    endpoint: str
    metric: str
    role: Role
    operating_point: str | None = None
    stratum: Stratum = field(default_factory=dict)
    criterion: Mapping[str, Any]
    estimate: Estimate
    outcome: Outcome
    reason: str

    def to_json(self) -> dict[str, Any]:
        data = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            **data,
            "stratum": dict(self.stratum),
            "criterion": dict(self.criterion),
            "estimate": self.estimate.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CriterionResult:
        return cls(**{**data, "estimate": Estimate.from_json(data["estimate"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The judgement: a pure function of protocol and evidence (and of whether the run counts as evidence).

    `evidence` is False for runs of an unfrozen protocol, with `--limit`, or changed after unblinding;
    `not_evidence_because` then lists the reasons, and `overall` is at most inconclusive. `decision` is what follows for
    a new version of an authorised device; None (and not in the file) where the study is of no modification.
    """

    overall: Outcome
    decision_rule: str
    criteria: tuple[CriterionResult, ...]
    reason: str
    evidence: bool
    not_evidence_because: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    evidence_digest: str
    decision: Decision | None = None
    schema: str = VERDICT_SCHEMA

    def to_json(self) -> dict[str, Any]:
        data = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "decision" or self.decision}
        return {
            **data,
            "criteria": [c.to_json() for c in self.criteria],
            "not_evidence_because": list(self.not_evidence_because),
            "flags": list(self.flags),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Verdict:
        return cls(
            **{
                **data,
                "criteria": tuple(CriterionResult.from_json(c) for c in data["criteria"]),
                "not_evidence_because": tuple(data["not_evidence_because"]),
                "flags": tuple(data["flags"]),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A table of single cases, lesions or marks, as texts: attached to the report, not printed in it."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Something drawn over a picture: straight pieces (x0, y0, x1, y1), in pixels from the picture's upper left corner.

    `kind` says what: the outline of the reference or of the device, a lesion found or missed, a mark that found one,
    a false one.
    """

    kind: Literal["reference", "device", "found", "missed", "mark", "false"]
    lines: tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Part of one slice of one case, with what was drawn there.

    `group` is what it is an example of (a structure, "found"), `title` which one ("worst: 0.61"), `note` where it lies.
    `aspect` is the height of a pixel over its width. `image` is a PNG of `width` × `height` pixels, None where the
    picture has outlines only.
    """

    group: str
    title: str
    note: str
    case_id: str
    width: int
    height: int
    aspect: float
    image: bytes | None
    drawn: tuple[Drawn, ...]

    def to_json(self) -> dict[str, Any]:
        data: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        data["image"] = None if self.image is None else b64encode(self.image).decode("ascii")
        data["drawn"] = [{"kind": d.kind, "lines": [list(line) for line in d.lines]} for d in self.drawn]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Picture:
        image = data["image"]
        drawn = tuple(
            Drawn(kind=d["kind"], lines=tuple((x0, y0, x1, y1) for x0, y0, x1, y1 in d["lines"])) for d in data["drawn"]
        )
        return cls(**{**data, "image": None if image is None else b64decode(image), "drawn": drawn})


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibits:
    """What a report shows of single cases: tables to attach, pictures to print. Nothing is judged by them."""

    listings: tuple[Listing, ...] = ()
    pictures: tuple[Picture, ...] = ()
