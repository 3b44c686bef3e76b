"""What is measured of maps, case by case, as means with intervals: overall, by stratum, and against trivial maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from evalsuite.analyses.common import Cell, Results, cells_of
from evalsuite.analyses.cuts import two_sided_level
from evalsuite.analyses.population import Bools, Floats, Ints
from evalsuite.analyses.resampling import Resampling
from evalsuite.protocol.interpretability import TRIVIAL, TRIVIAL_PREFIX, Interpretability
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.stats._resampled import resampled
from evalsuite.stats.case_means import mean_of
from evalsuite.testset.strata import StratumLabels, assign_strata
from evalsuite.types import Estimate, Finding

ANALYSIS = "interpretability"
#: What the likeness to the map of a shuffled network is compared with: maps of two patients have as much in common.
ANOTHER_PATIENT = "another patient's map"
RANDOM_ORDER = "random"
_MEASURED = {
    "randomisation": ("ssim", "spearman"),
    "reproducibility": ("ssim", "spearman"),
    "random_pair": ("ssim", "spearman"),
    "infidelity": ("unexplained",),
    "sensitivity": ("max",),
    "insertion": ("auc",),
    "deletion": ("auc",),
    "road": ("mean",),
}
#: Within these a mean lies, whatever the cases.
_BOUNDS = {"ssim": (-1.0, 1.0), "spearman": (-1.0, 1.0), "unexplained": (0.0, np.inf), "max": (0.0, np.inf)}
_AGAINST_PAIRS = ("randomisation", "reproducibility")


def interpretability_figures(
    protocol: StudyProtocol,
    *,
    case_id: tuple[str, ...],
    patient_id: tuple[str, ...],
    frame: pd.DataFrame,
    values: pd.DataFrame | None,
) -> Results:
    """A finding per map, measure and stratum, and its difference from every trivial map, with a patient bootstrap.

    `values` are the run's (`attribution_store.read_values`). `endpoint` of a finding is the map's name, `metric` its
    measure and variant ("deletion_auc"), `reference_group` what it is compared with: a trivial map, the random order,
    or another patient's map. Nothing without methods; a note where they are asked for and there are no values.
    """
    asked = protocol.analyses.interpretability
    if asked is None or not asked.methods:
        return Results(findings=(), curves=(), accounting=(), tests=(), notes=())
    if values is None:
        note = "The protocol asks for maps of what moves the answer, and this evaluation was given none."
        return Results(findings=(), curves=(), accounting=(), tests=(), notes=(note,))
    whole = _Values.of(protocol, asked, case_id, patient_id, frame, values)
    return Results(findings=tuple(whole.findings()), curves=(), accounting=(), tests=(), notes=())


class _Values:
    """The sample's cases in lock order, each column of values beside them, and the cells they fall into."""

    def __init__(
        self,
        protocol: StudyProtocol,
        patient: Ints,
        cells: Sequence[Cell],
        columns: Mapping[tuple[str, str, str], Floats],
    ) -> None:
        self.protocol, self.patient, self.cells, self.columns = protocol, patient, cells, columns
        self.level, self.least = two_sided_level(protocol.confidence), protocol.small_strata.suppress_below
        self.draw = Resampling.of(protocol, patient).draw

    @classmethod
    def of(
        cls,
        protocol: StudyProtocol,
        asked: Interpretability,
        case_id: tuple[str, ...],
        patient_id: tuple[str, ...],
        frame: pd.DataFrame,
        values: pd.DataFrame,
    ) -> _Values:
        at = {case: i for i, case in enumerate(case_id)}
        rows = sorted({at[c] for c in values["case_id"] if c in at})
        place = {case_id[i]: k for k, i in enumerate(rows)}
        columns: dict[tuple[str, str, str], Floats] = {}
        for c, method, measure, variant, value in values.itertuples(index=False):
            if c in place:
                column = columns.setdefault((method, measure, variant), np.full(len(rows), np.nan))
                column[place[c]] = value
        names = {p: k for k, p in enumerate(dict.fromkeys(patient_id[i] for i in rows))}
        patient = np.array([names[patient_id[i]] for i in rows], dtype=np.int64)
        labels = assign_strata(
            frame, [s for s in protocol.strata if s.cross is None and (asked.groups is None or s.name in asked.groups)]
        )
        return cls(protocol, patient, _cells(labels, rows), columns)

    def findings(self) -> Iterator[Finding]:
        for (method, measure, variant), column in sorted(self.columns.items()):
            base, _, part = variant.partition(" ")
            if base not in _MEASURED.get(measure, ()):
                continue  # points of a curve, and the answers themselves
            metric = f"{measure}_{variant.replace(' ', '_')}"
            bounds = _BOUNDS.get(base, (-np.inf, np.inf))
            yield from self._means(method, metric, column, bounds)
            for name, other in self._others(method, measure, base, variant if part == "" else base):
                width = 2.0 if bounds[0] == -1.0 else np.inf
                yield from self._means(method, metric, column - other, (-width, width), against=name)

    def _others(self, method: str, measure: str, base: str, variant: str) -> Iterator[tuple[str, Floats]]:
        """What a map's values are compared with, pair by pair."""
        if measure in _AGAINST_PAIRS:
            if (method, "random_pair", base) in self.columns:
                yield ANOTHER_PATIENT, self.columns[method, "random_pair", base]
            return
        if method.startswith(TRIVIAL_PREFIX) or method == RANDOM_ORDER:
            return
        for name in (*(TRIVIAL_PREFIX + t for t in TRIVIAL), RANDOM_ORDER):
            if (name, measure, variant) in self.columns:
                yield name, self.columns[name, measure, variant]

    def _means(
        self, method: str, metric: str, column: Floats, bounds: tuple[float, float], against: str | None = None
    ) -> Iterator[Finding]:
        there: Bools = np.isfinite(column)
        material, statistic = mean_of(np.where(there, column, 0.0), bounds)
        masks = np.array([cell.mask & there for cell in self.cells])
        found = resampled(self.draw, material, [statistic], masks=masks, level=self.level, method="percentile")
        finding = Finding(
            analysis=ANALYSIS, endpoint=method, metric=metric, role="secondary", target=None, operating_point=None,
            reference_group=against, estimate=found[0][0],
        )  # fmt: skip
        for cell, mask, row in zip(self.cells, masks, found, strict=True):
            n = int(mask.sum())
            estimate = row[0]
            if n == 0:
                why = "in no case is there a map with a value: the same everywhere, or not finite"
                estimate = Estimate.not_estimable(why, n=0, level=self.level)
            elif not cell.whole and n < self.least:
                why = f"not assessable: {n} cases, fewer than {self.least}"
                estimate = Estimate.not_estimable(why, n=n, level=self.level)
            yield replace(finding, stratum=dict(cell.stratum), estimate=estimate)


def _cells(labels: Mapping[str, StratumLabels], rows: Sequence[int]) -> tuple[Cell, ...]:
    n = next((len(s.index) for s in labels.values()), 0)
    whole = Cell(stratum={}, mask=np.ones(len(rows), dtype=bool))
    return (whole, *(Cell(stratum=c.stratum, mask=c.mask[rows]) for c in cells_of(labels, n) if not c.whole))
