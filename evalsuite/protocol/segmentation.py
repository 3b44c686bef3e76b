"""What a protocol of a segmentation task must say: one reference, one output, and the structures in them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from evalsuite.errors import Problem
from evalsuite.protocol.schema import Endpoint, StudyProtocol


def structures(protocol: StudyProtocol) -> dict[str, int | None]:
    """Each structure and its value in the mask files; None where a single structure is whatever is not 0."""
    task = protocol.task
    names = task.classes or []
    if task.labels is not None:
        return dict(zip(names, task.labels, strict=False))
    return {names[0]: None} if len(names) == 1 else {name: i for i, name in enumerate(names, start=1)}


def structure_of(protocol: StudyProtocol, endpoint: Endpoint) -> str:
    """The structure an endpoint is of: its target, or the only one there is."""
    return endpoint.target if endpoint.target is not None else next(iter(structures(protocol)))


def segmentation_problems(protocol: StudyProtocol) -> Iterator[Problem]:
    """Contradictions in a protocol of a segmentation task; in another task, keys that only mean something here."""
    task = protocol.task
    if task.kind != "segmentation":
        if task.labels is not None:
            yield Problem(f"a {task.kind} task has no labels in mask files", "task.labels", "remove it")
        if task.empty is not None:
            yield Problem(f"a {task.kind} task has no masks", "task.empty", "remove it")
        if task.second_reader is not None:
            yield Problem(f"a {task.kind} task has no masks", "task.second_reader", "remove it")
        if task.other_labels != "fail":
            yield Problem(f"a {task.kind} task has no labels in mask files", "task.other_labels", "remove it")
        return
    if not isinstance(task.reference, str):
        yield Problem("a segmentation task has one reference column", "task.reference", "the one that names mask files")
    if not isinstance(task.score, str) or not task.score.isidentifier():
        yield Problem("masks are one output", "task.score", "e.g. score: mask")
    if task.negative is not None:
        yield Problem("a segmentation task has no negative", "task.negative", "remove it")
    names = task.classes or []
    if not names:
        yield Problem("required field missing", "task.classes", "the structures, e.g. [liver, spleen]")
    for i, name in enumerate(names):
        if not name.strip() or name in names[:i]:
            yield Problem("structures have names of their own", f"task.classes[{i}]")
    if task.labels is not None:
        if len(task.labels) != len(names):
            yield Problem(f"{len(task.labels)} labels for {len(names)} structures", "task.labels", "one each, in order")
        for i, label in enumerate(task.labels):
            if label in task.labels[:i]:
                yield Problem(f"label {label} given twice", f"task.labels[{i}]")
    if protocol.missing_outputs.primary in ("as_negative", "as_positive"):
        yield Problem(
            f"'{protocol.missing_outputs.primary}' means nothing for masks",
            "missing_outputs.primary",
            "use worst_case or exclude",
        )
    if protocol.missing_reference.primary == "tipping_point":
        yield Problem("no tipping point is searched for", "missing_reference.primary", "use worst_case or exclude")
    for i, endpoint in enumerate(protocol.endpoints):
        if endpoint.maximum is not None and not endpoint.maximum > 0.0:
            yield Problem("the largest distance or error is a size, above 0", f"endpoints[{i}].maximum")


def target_of_structure(protocol: StudyProtocol, endpoint: Endpoint, path: str) -> list[Problem]:
    """Why an endpoint's structure, or its absence, does not fit; empty if it does."""
    names = protocol.task.classes or []
    if endpoint.target is None:
        if len(names) == 1:
            return []
        return [Problem(f"'{endpoint.metric}' is of one structure", f"{path}.target", f"one of {', '.join(names[:8])}")]
    if endpoint.target not in names:
        close = difflib.get_close_matches(endpoint.target, names, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"declared: {', '.join(names[:12])}"
        return [Problem(f"unknown structure '{endpoint.target}'", f"{path}.target", hint)]
    return []
