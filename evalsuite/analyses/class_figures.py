"""Figures of a whole classification or grading in every stratum, by closed interval or by resampling patients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from evalsuite.analyses.binary_questions import Threshold, chosen_interval
from evalsuite.analyses.classes import ClassPopulation, ClassScenario, class_scenario
from evalsuite.analyses.common import Cell
from evalsuite.analyses.metrics import two_sided_level
from evalsuite.analyses.population import Bools, OutputPolicy, ReferencePolicy
from evalsuite.analyses.resampling import Resampling
from evalsuite.analyses.several import confusion_findings
from evalsuite.protocol.schema import Endpoint, StudyProtocol
from evalsuite.stats.bootstrap import Replicated, read
from evalsuite.types import Estimate, Finding

#: A class is called where it is predicted: its own indicator is the score, cut in the middle.
CALLED = Threshold(value=0.5, strict=False)


class Figures(Protocol):
    """What a task of classes or grades knows of its own figures."""

    def absent(
        self, protocol: StudyProtocol, endpoint: Endpoint, view: ClassScenario, mask: Bools, *, whole: bool
    ) -> Estimate | None:
        """Why there is no estimate of the cases of `mask`, or None."""
        ...

    def closed(self, protocol: StudyProtocol, endpoint: Endpoint, view: ClassScenario, mask: Bools) -> Estimate | None:
        """The estimate with a closed interval, or None where patients are resampled."""
        ...

    def replicates(
        self,
        resampling: Resampling,
        endpoints: Sequence[Endpoint],
        view: ClassScenario,
        masks: Bools,
        *,
        with_jackknife: bool,
    ) -> Replicated:
        """Replicates of endpoints that share their settings, `[stratum][endpoint]`."""
        ...


def figures_in_cells(
    figures: Figures,
    protocol: StudyProtocol,
    population: ClassPopulation,
    resampling: Resampling,
    endpoints: Sequence[Endpoint],
    cells: Sequence[Cell],
    outputs: OutputPolicy,
    references: ReferencePolicy,
) -> dict[tuple[str, int], Estimate]:
    """Every endpoint in every cell, by endpoint name and position of the cell; endpoints with the same settings share
    one resampling."""
    view = class_scenario(population, outputs=outputs, references=references)
    found: dict[tuple[str, int], Estimate] = {}
    groups: dict[tuple[object, ...], list[Endpoint]] = {}
    for endpoint in endpoints:
        for i, cell in enumerate(cells):
            mask = cell.mask & view.include
            made = figures.absent(protocol, endpoint, view, mask, whole=cell.whole)
            made = made or figures.closed(protocol, endpoint, view, mask)
            if made is not None:
                found[endpoint.name, i] = made
        if any((endpoint.name, i) not in found for i in range(len(cells))):
            # The volume under the surface is no formula of sums: it has a resampling of its own.
            alone = endpoint.name if endpoint.metric == "vus" else None
            settings = (chosen_interval(protocol, endpoint), endpoint.bins, endpoint.top, alone)
            groups.setdefault(settings, []).append(endpoint)
    for group in groups.values():
        todo = [i for i in range(len(cells)) if any((e.name, i) not in found for e in group)]
        method = chosen_interval(protocol, group[0])
        masks = np.array([cells[i].mask & view.include for i in todo])
        table = resampling.table(
            (tuple(e.name for e in group), outputs, references, tuple(id(cells[i]) for i in todo)),
            lambda group=group, masks=masks, method=method: figures.replicates(  # type: ignore[misc]
                resampling, group, view, masks, with_jackknife=method == "bca"
            ),
        )
        rows = read(table, level=two_sided_level(protocol.confidence), method=method)
        for i, row in zip(todo, rows, strict=True):
            for endpoint, estimate in zip(group, row, strict=True):
                found.setdefault((endpoint.name, i), estimate)
    return found


def confusion_of(p: ClassPopulation, level: float, cells: Sequence[Cell]) -> Iterator[Finding]:
    """The confusion matrix of a population as findings."""
    return confusion_findings(
        p.reference, p.predicted, p.has_reference, p.has_output, p.patient_index, p.names, level=level, cells=cells
    )
