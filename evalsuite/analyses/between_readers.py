"""How far readers agree with each other, with the device and without it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from evalsuite.analyses.common import Cell
from evalsuite.analyses.metrics import two_sided_level
from evalsuite.analyses.population import Bools, Floats
from evalsuite.analyses.readings import Read
from evalsuite.protocol.readers import AGREEMENT, READERS
from evalsuite.protocol.schema import Endpoint, StudyProtocol
from evalsuite.stats.reader_agreement import fleiss_kappa, krippendorff_alpha
from evalsuite.stats.repeatability import icc
from evalsuite.types import Estimate, Finding


def among_readers(
    protocol: StudyProtocol, read: Read, endpoint: Endpoint, cells: Sequence[Cell], *, level: float | None = None
) -> Iterator[Finding]:
    """Agreement with the test treatment in every cell; with the control beside it, under its name as condition.

    Missing readings do not enter: what a reader would have said is not assumed.
    """
    level = two_sided_level(protocol.confidence) if level is None else level
    for t, treatment in enumerate(read.treatments):
        for cell in cells:
            yield Finding(
                analysis=READERS,
                endpoint=endpoint.name,
                metric=endpoint.metric,
                role=endpoint.role if t == 0 else "descriptive",
                target=str(protocol.task.reference),
                operating_point=endpoint.at,
                stratum=dict(cell.stratum),
                condition=None if t == 0 else treatment,
                estimate=_agreement(protocol, read, endpoint, read.score[t], cell.mask, level),
            )


def _agreement(
    protocol: StudyProtocol, read: Read, endpoint: Endpoint, score: Floats, mask: Bools, level: float
) -> Estimate:
    score, patient = score[:, mask], read.base.patient_index[mask]
    least = protocol.small_strata.suppress_below
    n = int(mask.sum())
    if n < least:
        return Estimate.not_estimable(f"not assessable: {n} cases, fewer than {least}", n=n, level=level)
    kind = endpoint.metric.removeprefix(AGREEMENT)
    if kind == "kappa":
        assert endpoint.at is not None, "the protocol's checks require it"
        point = protocol.operating_point(endpoint.at)
        called = score > point.threshold if point.comparison == ">" else score >= point.threshold
        return fleiss_kappa(np.where(np.isnan(score), np.nan, called), cluster=patient, level=level)
    if kind == "alpha":
        return krippendorff_alpha(score, cluster=patient, level=level)
    whole: Bools = np.asarray(~np.isnan(score).any(axis=0))
    if score.shape[0] < 2 or not whole.any():
        return Estimate.not_estimable("no case was read by all of several readers", n=0, level=level)
    if np.unique(patient[whole]).size < int(whole.sum()):
        reason = "ICC takes cases as independent; several belong to a patient"
        return Estimate.not_estimable(reason, n=int(whole.sum()), level=level)
    return icc(score[:, whole].T, level=level)
