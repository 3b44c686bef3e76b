"""Readers who mark lesions: what each of them found, and the areas under their localisation curves."""

from __future__ import annotations

from typing import cast

from evalsuite.analyses.lesion_population import LesionPopulation
from evalsuite.analyses.population import Bools, OutputPolicy
from evalsuite.analyses.readings import Read
from evalsuite.protocol.readers import LOCATION, figure_of
from evalsuite.protocol.schema import Endpoint, StudyProtocol
from evalsuite.stats.detection import Area, Detections
from evalsuite.stats.reader_figures import ReaderFigures, Readings
from evalsuite.stats.reader_location import LocationCovariance, location_figures


def is_of_marks(endpoint: Endpoint) -> bool:
    """Whether the endpoint's figure is of where readers marked."""
    return figure_of(endpoint.metric) in LOCATION


def marks_of(read: Read, endpoint: Endpoint, policy: OutputPolicy, mask: Bools) -> tuple[list[list[Detections]], Bools]:
    """What every reader found with each treatment in the cases of `mask`, and which cases `(n,)` these are.

    A missing reading counts at its worst: with the test treatment nothing is found and a normal case is marked, with
    the control the reverse; of the device against readers it is the device's that counts against it. Where missing
    readings are excluded, a case goes for all readers: areas of different cases are no pair.
    """
    assert read.marks is not None, "the protocol's checks require it"
    alone = endpoint.metric.startswith("standalone_")
    rows = read.marks[-1:] if alone else read.marks
    kept = mask.copy()
    if policy == "exclude":
        for one in (x for row in rows for x in row):
            kept &= one.has_output
        if alone and read.device_marks is not None:
            kept &= read.device_marks.has_output
    every_case = figure_of(endpoint.metric).endswith("1")
    found = [
        [_seen(one, policy, against=not alone and t == 0, every_case=every_case).of_cases(kept) for one in row]
        for t, row in enumerate(rows)
    ]
    if alone:
        assert read.device_marks is not None, "asked only where the device was run"
        found[0].append(_seen(read.device_marks, policy, against=True, every_case=every_case).of_cases(kept))
    return found, kept


def _seen(marked: LesionPopulation, policy: OutputPolicy, *, against: bool, every_case: bool) -> Detections:
    """One reader's findings; `against`: a missing reading speaks against them under `worst_case`."""
    turned: dict[OutputPolicy, OutputPolicy] = {"worst_case": "best_case", "best_case": "worst_case"}
    return marked.seen(policy if against else turned.get(policy, policy), 1.0 if every_case else None)


def figures_of_marks(
    protocol: StudyProtocol, read: Read, endpoint: Endpoint, policy: OutputPolicy, mask: Bools
) -> tuple[ReaderFigures, Readings]:
    """The endpoint's area of every reader with each treatment, as the analyses of reader studies take it.

    Raises ValueError where there is none: no lesion, no normal case, or one patient only.
    """
    assert protocol.readers is not None, "the protocol's checks require it"
    found, kept = marks_of(read, endpoint, policy, mask)
    if not kept.any():
        raise ValueError("no case was read by every reader")
    return location_figures(
        found,
        cast(Area, figure_of(endpoint.metric)),
        cluster=read.base.patient_index[kept],
        covariance=cast(LocationCovariance, protocol.readers.covariance),
        replicates=protocol.confidence.bootstrap.replicates,
        seed=protocol.seed,
    )
