"""What a protocol of a detection task must say: one reference, one score, and when a mark has found a lesion."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from evalsuite.errors import Problem
from evalsuite.protocol.lesion_blocks import Matching
from evalsuite.protocol.schema import StudyProtocol

#: What lesions of a mask can be grouped by: their longest diameter, and their volume.
OF_MASKS = ("diameter_mm", "volume_ml")
#: Metrics of the overlap of a lesion with its mark.
_OF_OVERLAP = ("panoptic_quality", "segmentation_quality")


def detection_problems(protocol: StudyProtocol) -> Iterator[Problem]:
    """Contradictions in a protocol of a detection task; in another task, keys that only mean something here."""
    task = protocol.task
    if task.kind != "detection":
        if task.matching is not None:
            yield Problem(f"a {task.kind} task matches no marks", "task.matching", "remove it")
        if task.lesion_strata:
            yield Problem(f"a {task.kind} task has no lesions", "task.lesion_strata", "remove it")
        if task.coordinates is not None:
            yield Problem(f"a {task.kind} task has no marks", "task.coordinates", "remove it")
        return
    if not isinstance(task.reference, str):
        yield Problem("a detection task has one reference column", "task.reference", "the one that names lesion tables")
    if not isinstance(task.score, str) or not task.score.isidentifier():
        yield Problem("the score of a mark is one column", "task.score", "e.g. score: score")
    for name in ("classes", "negative"):
        if getattr(task, name) is not None:
            yield Problem(f"a detection task has no {name}", f"task.{name}", "remove it")
    if protocol.missing_outputs.primary in ("as_negative", "as_positive"):
        yield Problem(
            f"'{protocol.missing_outputs.primary}' means nothing for marks",
            "missing_outputs.primary",
            "use worst_case or exclude",
        )
    if protocol.missing_reference.primary == "tipping_point":
        yield Problem(
            "no tipping point is searched for where a case may have any number of lesions",
            "missing_reference.primary",
            "use worst_case or exclude",
        )
    if task.matching is None:
        yield Problem("required field missing", "task.matching", "e.g. {rule: distance, distance_mm: 5}")
    else:
        yield from _matching(protocol, task.matching)
    yield from _lesion_strata(protocol)
    for i, endpoint in enumerate(protocol.endpoints):
        if endpoint.maximum is not None and not endpoint.maximum > 0.0:
            yield Problem(
                "the false positives of a case without output are a number above 0", f"endpoints[{i}].maximum"
            )


def _matching(protocol: StudyProtocol, matching: Matching) -> Iterator[Problem]:
    if matching.rule == "in_mask" and protocol.task.coordinates is None:
        yield Problem(
            "marks are looked up in masks by where they lie",
            "task.coordinates",
            "lps, ras or image: what they count from",
        )
    if matching.lesions is not None and matching.rule != "in_mask":
        yield Problem(f"the rule {matching.rule} has no masks", "task.matching.lesions", "remove it")
    if matching.distance_mm is not None and matching.rule != "distance":
        yield Problem(f"the rule {matching.rule} has no distance", "task.matching.distance_mm", "remove it")
    if matching.rule == "overlap" and matching.overlap is None:
        yield Problem("required field missing", "task.matching.overlap", "the smallest overlap, e.g. 0.1")
    if matching.overlap is not None and matching.rule != "overlap":
        yield Problem(f"the rule {matching.rule} has no overlap", "task.matching.overlap", "remove it")
    if matching.assignment == "best_total" and matching.rule != "overlap":
        yield Problem(
            "best_total adds up overlaps", "task.matching.assignment", "use by_score or by_closeness with this rule"
        )
    if matching.rule != "overlap":
        for i, endpoint in enumerate(protocol.endpoints):
            if endpoint.metric in _OF_OVERLAP:
                yield Problem(
                    f"metric '{endpoint.metric}' needs overlaps", f"endpoints[{i}].metric", "matching: {rule: overlap}"
                )


def _lesion_strata(protocol: StudyProtocol) -> Iterator[Problem]:
    taken = [s.name for s in protocol.strata]
    for i, spec in enumerate(protocol.task.lesion_strata):
        path = f"task.lesion_strata[{i}]"
        if spec.name in taken:
            yield Problem(f"name '{spec.name}' given twice", f"{path}.name", "names identify; choose another")
        taken.append(spec.name)
        masks = protocol.task.matching is not None and protocol.task.matching.rule == "in_mask"
        if masks and (spec.column or spec.name) not in OF_MASKS:
            hint = f"column: {' or '.join(OF_MASKS)}, which are measured on the mask"
            yield Problem("masks say nothing else of their lesions than how large they are", f"{path}.column", hint)
        if spec.bins is not None and any(b <= a for a, b in itertools.pairwise(spec.bins)):
            yield Problem("bin edges must increase", f"{path}.bins", f"e.g. {sorted(set(spec.bins))}")
