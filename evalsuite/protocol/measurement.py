"""What a protocol of a measurement (task kind regression) must say: one reference, one output, errors with a size."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from evalsuite.errors import Problem
from evalsuite.protocol.schema import StudyProtocol


def measurement_problems(protocol: StudyProtocol) -> Iterator[Problem]:
    """Contradictions in a protocol of a measurement; nothing for other tasks."""
    task = protocol.task
    if task.kind != "regression":
        if task.reference_file is not None:
            yield Problem(f"a {task.kind} task reads no measurements", "task.reference_file", "remove it")
        return
    asked = task.reference_file
    if asked is not None and asked.kind == "report":
        for name in ("concept", "unit"):
            if getattr(asked, name) is None:
                yield Problem("required field missing", f"task.reference_file.{name}", "e.g. concept: Volume, unit: ml")
    elif asked is not None and (asked.concept or asked.unit or asked.tracking):
        yield Problem("a mask has no concept, unit or tracking identifier", "task.reference_file", "remove them")
    if not isinstance(task.reference, str):
        yield Problem("a measurement has one reference column", "task.reference", "name one column")
    if isinstance(task.score, list) and len(task.score) != 1:
        yield Problem("a measurement is one output or expression", "task.score", "e.g. score: volume_ml")
    for name in ("classes", "negative"):
        if getattr(task, name) is not None:
            yield Problem(f"a measurement has no {name}", f"task.{name}", "remove it")
    if protocol.missing_outputs.primary in ("as_negative", "as_positive"):
        yield Problem(
            f"'{protocol.missing_outputs.primary}' means nothing for a measurement",
            "missing_outputs.primary",
            "use worst_case or exclude",
        )
    for i, endpoint in enumerate(protocol.endpoints):
        if endpoint.maximum is not None and not 0.0 < endpoint.maximum < math.inf:
            yield Problem(
                "the largest possible error is a size, above 0", f"endpoints[{i}].maximum", "in the reference's unit"
            )
        if endpoint.cuts is not None and any(b <= a for a, b in itertools.pairwise(endpoint.cuts)):
            yield Problem("cut points must increase", f"endpoints[{i}].cuts", f"e.g. {sorted(set(endpoint.cuts))}")
        if endpoint.repeats is not None and not endpoint.repeats.strip():
            yield Problem("no column named", f"endpoints[{i}].repeats", "e.g. repeats: lesion_id")
