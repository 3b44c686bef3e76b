"""What a drift audit compares: the baseline, the window, what earlier audits left, and how a figure stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from evalsuite.analyses.binary_questions import Threshold
from evalsuite.analyses.population import Bools, Population, build_population
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.stats.sequential import DetectorState
from evalsuite.types import Estimate, Finding

ANALYSIS = "drift"
#: Reference group of every difference, and condition of the baseline's own figures.
BASELINE = "baseline"
#: Before the kind of indicator, in the name of its metric.
INDICATOR = "indicator_"
Status = Literal["normal", "warning", "action", "not assessed"]
#: What an indicator is about; the report sorts by it.
Kind = Literal["integrity", "input", "output", "performance", "chart"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Period:
    """Cases of the baseline or of a window: n of them, with `frame` (texts: reference, strata, covariates) and
    `predictions` (the device's rows) in the same order."""

    case_id: tuple[str, ...]
    patient_id: tuple[str, ...]
    frame: pd.DataFrame
    predictions: pd.DataFrame

    @property
    def n(self) -> int:
        return len(self.case_id)

    def population(self, protocol: StudyProtocol) -> Population:
        """The period joined with its reference standard. InputError where that is ambiguous."""
        return build_population(
            protocol,
            case_id=self.case_id,
            patient_id=self.patient_id,
            frame=self.frame,
            predictions=self.predictions,
        )

    def only(self, mask: Bools) -> Period:
        """The cases of the mask."""
        at = np.flatnonzero(mask)
        return Period(
            case_id=tuple(self.case_id[i] for i in at),
            patient_id=tuple(self.patient_id[i] for i in at),
            frame=self.frame.iloc[at].reset_index(drop=True),
            predictions=self.predictions.iloc[at].reset_index(drop=True),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A share as one audit found it: its value, and the cases or patients it is of."""

    value: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierAudit:
    """What an audit left to those after it: figures for control charts, states of detectors, those that alarmed; keys
    of the cases it saw first, of those whose labels it counted, and of those whose labels are to come; its time, and
    what it noted for the change log."""

    figures: Mapping[str, Figure] = field(default_factory=dict)
    detectors: Mapping[str, DetectorState] = field(default_factory=dict)
    alarmed: tuple[str, ...] = ()
    cases: frozenset[str] = frozenset()
    counted: frozenset[str] = frozenset()
    awaited: frozenset[str] = frozenset()
    utc: str = ""
    noted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AuditInputs:
    """What an audit is held against: the baseline's cases, what earlier audits left, and the digest of everything.

    `images` has the numbers of the window's images, a row per case by `case_id`; `former` the outputs of the version
    that was replaced, on the baseline's cases and on the window's.
    """

    baseline: Period
    earlier: tuple[EarlierAudit, ...]
    digest: str
    images: pd.DataFrame | None = None
    former: Former | None = None

    def with_images(self, frame: pd.DataFrame, case_id: tuple[str, ...]) -> pd.DataFrame:
        """The window's columns with those of its images beside them."""
        if self.images is None:
            return frame
        own = self.images.set_index("case_id").loc[list(case_id)].reset_index(drop=True)
        return pd.concat([frame.reset_index(drop=True), own], axis=1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Former:
    """Outputs of the version that was replaced: a row per case with `case_id`, `status` and outputs, of the baseline's
    cases and of the window's."""

    baseline: pd.DataFrame
    window: pd.DataFrame


def chosen_for_labels(protocol: StudyProtocol, frame: pd.DataFrame) -> Bools:
    """(n,) bool: the cases that were chosen to be labelled and are not awaited; all where no column says so.

    Raises
    ------
    InputError
        If a cell says neither yes nor no.
    """
    from evalsuite.errors import InputError

    asked = protocol.analyses.drift
    if asked is None or asked.labelled is None:
        return np.ones(len(frame), dtype=bool)
    texts = [str(c).strip().lower() for c in frame[asked.labelled]]
    wrong = sum(t not in (*_YES, *_NO, AWAITED) for t in texts)
    if wrong:
        raise InputError(
            f"{wrong} cells of '{asked.labelled}' say neither yes nor no.",
            hint="1, true or yes: the case was chosen to be labelled; 0, false, no or empty: it was not; awaited: it "
            "was, and its label comes with a later window.",
        )
    return np.array([t in _YES for t in texts], dtype=bool)


def awaited_labels(protocol: StudyProtocol, frame: pd.DataFrame) -> Bools:
    """(n,) bool: cases that were chosen to be labelled, and whose labels come with a later window."""
    asked = protocol.analyses.drift
    if asked is None or asked.labelled is None:
        return np.zeros(len(frame), dtype=bool)
    return np.array([str(c).strip().lower() == AWAITED for c in frame[asked.labelled]], dtype=bool)


#: What the column of chosen cases says of a label that is not yet due.
AWAITED = "awaited"

_YES, _NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no", "")


def call_threshold(protocol: StudyProtocol, at: str | None = None) -> Threshold | None:
    """Where a score becomes a call: at the operating point named, the drift block's, or the first; None without one."""
    asked = protocol.analyses.drift
    name = at or (None if asked is None else asked.at)
    points = [p for p in protocol.operating_points if name in (None, p.name)]
    return Threshold(value=points[0].threshold, strict=points[0].comparison == ">") if points else None


def calls(population: Population, threshold: Threshold) -> Bools:
    """(n,) bool: called positive; False where there is no output."""
    score = np.where(population.has_output, population.score, -np.inf)
    made: Bools = score > threshold.value if threshold.strict else score >= threshold.value
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Indicator:
    """One line of the table of limits: what was looked at, what was found, how it stands, and why."""

    name: str
    kind: Kind
    status: Status
    value: float | None
    limits: str
    n: int
    reason: str = ""

    def finding(self) -> Finding:
        """The line as evidence: the status is the finding's condition, the limits are its method, and the kind is in
        the metric."""
        if self.value is None:
            estimate = Estimate.not_estimable(self.reason or "nothing to look at", n=self.n, method=self.limits)
        else:
            why = self.reason or "an indicator has no interval of its own"
            estimate = Estimate(value=self.value, n=self.n, method=self.limits, interval_undefined=why)
        return Finding(
            analysis=ANALYSIS,
            endpoint=self.name,
            metric=f"{INDICATOR}{self.kind}",
            role="descriptive",
            target=None,
            operating_point=None,
            condition=self.status,
            estimate=estimate,
        )


def disclosed(protocol: StudyProtocol) -> set[str]:
    """Columns whose cells may be named: those of strata, and those the protocol discloses."""
    return {s.column or s.name for s in protocol.strata if s.cross is None} | set(protocol.disclose)


def plain(
    endpoint: str,
    metric: str,
    estimate: Estimate,
    *,
    condition: str | None = None,
    stratum: Mapping[str, str] | None = None,
    operating_point: str | None = None,
    reference_group: str | None = None,
) -> Finding:
    """A descriptive finding of this analysis."""
    return Finding(
        analysis=ANALYSIS,
        endpoint=endpoint,
        metric=metric,
        role="descriptive",
        target=None,
        operating_point=operating_point,
        stratum=dict(stratum or {}),
        condition=condition,
        reference_group=reference_group,
        estimate=estimate,
    )


def cells_of_column(period: Period, column: str) -> Iterator[str]:
    """The column's cells, empty ones as "missing"."""
    cells = period.frame[column].tolist()  # one cell after another of a column of texts is slow
    shown = {cell: str(cell).strip() or "missing" for cell in set(cells)}
    return map(shown.__getitem__, cells)
