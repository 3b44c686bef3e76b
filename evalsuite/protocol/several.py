"""What a protocol of a task with several classes, labels or grades must say beyond a binary one."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from evalsuite.errors import Problem
from evalsuite.protocol.metrics import METRICS, MetricInfo
from evalsuite.protocol.schema import Endpoint, StudyProtocol
from evalsuite.protocol.segmentation import target_of_structure

_KINDS = ("multiclass", "multilabel", "ordinal")


def targets(protocol: StudyProtocol) -> tuple[str, ...]:
    """The classes, labels or grades of a task, as its reference standard names them."""
    task = protocol.task
    if task.kind == "multilabel":
        return tuple(task.reference) if isinstance(task.reference, list) else (task.reference,)
    return tuple(task.classes or ())


def outputs(protocol: StudyProtocol) -> tuple[str, ...]:
    """The outputs of the model that a task with several classes, labels or grades reads, in their order."""
    score = protocol.task.score
    return tuple(score) if isinstance(score, list) else (score,)


def several_answers(protocol: StudyProtocol) -> Iterator[Problem]:
    """Contradictions between classes, references and outputs; nothing for other tasks."""
    kind = protocol.task.kind
    if kind == "multiclass":
        yield from _classes(protocol, "multiclass")
        yield from _one_each(protocol, targets(protocol), "class", "task.classes")
    elif kind == "ordinal":
        yield from _classes(protocol, "ordinal")
        if isinstance(protocol.task.score, list) and len(protocol.task.score) != 1:
            yield from _one_each(protocol, targets(protocol), "grade", "task.classes")
    elif kind == "multilabel":
        yield from _labels(protocol)
    if kind in _KINDS:
        yield from _no_binary_policy(protocol)


def _classes(protocol: StudyProtocol, kind: str) -> Iterator[Problem]:
    task = protocol.task
    if not isinstance(task.reference, str):
        yield Problem(f"a task of kind {kind} has one reference column", "task.reference", "name one column")
    if task.classes is None:
        yield Problem("required field missing", "task.classes", "the values of the reference, in the order of score")
        return
    if len(task.classes) < 2:
        yield Problem("a task has at least two classes", "task.classes", "or use kind: binary")
    yield from _distinct(task.classes, "task.classes", "class")
    if task.negative is not None:
        yield Problem(f"a {kind} task has no negative values", "task.negative", "remove it; classes names all values")


def _labels(protocol: StudyProtocol) -> Iterator[Problem]:
    task = protocol.task
    labels = targets(protocol)
    if not isinstance(task.reference, list) or len(labels) < 2:
        yield Problem(
            "a multilabel task has a list of reference columns, one per label",
            "task.reference",
            "e.g. [effusion, nodule]; with one label use kind: binary",
        )
    yield from _distinct(labels, "task.reference", "label")
    if task.classes is not None:
        yield Problem("labels are named by their columns", "task.classes", "remove it")
    yield from _one_each(protocol, labels, "label", "task.reference")


def _one_each(protocol: StudyProtocol, names: Sequence[str], what: str, where: str) -> Iterator[Problem]:
    score = protocol.task.score
    if not isinstance(score, list):
        yield Problem(f"score is a list with one output per {what}", "task.score", f"in the order of {where}")
        return
    plural = "classes" if what == "class" else f"{what}s"
    if names and len(score) != len(names):
        yield Problem(
            f"{len(score)} outputs for {len(names)} {plural}", "task.score", f"one per {what}, in the order of {where}"
        )
    yield from _distinct(score, "task.score", "output")


def _distinct(names: Sequence[str], where: str, what: str) -> Iterator[Problem]:
    for i, name in enumerate(names):
        if not name.strip():
            yield Problem(f"an empty {what} name", f"{where}[{i}]")
        elif name in names[:i]:
            yield Problem(f"{what} '{name}' given twice", f"{where}[{i}]")


def _no_binary_policy(protocol: StudyProtocol) -> Iterator[Problem]:
    policy = protocol.missing_outputs.primary
    if protocol.task.kind != "multilabel" and policy in ("as_negative", "as_positive"):
        yield Problem(
            f"'{policy}' means nothing where a case has one of several classes",
            "missing_outputs.primary",
            "use worst_case or exclude",
        )


def target_problems(protocol: StudyProtocol, endpoint: Endpoint, info: MetricInfo, path: str) -> list[Problem]:
    """Why an endpoint's target, or its absence, does not fit; empty if it does."""
    kind, target = protocol.task.kind, endpoint.target
    if kind == "segmentation" and kind in info.tasks:
        return target_of_structure(protocol, endpoint, path)
    if kind not in ("multiclass", "multilabel"):
        if target is None:
            return _of_grades(protocol, info, path) if kind == "ordinal" and kind in info.tasks else []
        return [Problem(f"a {kind} task has no target classes or labels", f"{path}.target", "remove it")]
    what = "class" if kind == "multiclass" else "label"
    names = targets(protocol)
    if target is None:
        if kind in info.tasks or not info.per_target:
            return _of_whole(protocol, endpoint, info, path)
        average = f"macro_{info.name}"
        hint = f"target: one of {', '.join(names[:8])}" + (f"; or metric: {average}" if average in METRICS else "")
        return [Problem(f"metric '{info.name}' is of one {what} against the others", f"{path}.target", hint)]
    if not info.per_target:
        return [Problem(f"metric '{info.name}' is of all of them", f"{path}.target", "remove it")]
    if target not in names:
        close = difflib.get_close_matches(target, names, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"declared: {', '.join(names[:12])}"
        return [Problem(f"unknown {what} '{target}'", f"{path}.target", hint)]
    if kind == "multiclass" and info.needs_operating_point and info.needs_probability:
        return [
            Problem("net benefit needs a threshold, and a class is called without one", f"{path}.metric", "remove it")
        ]
    return []


def _of_grades(protocol: StudyProtocol, info: MetricInfo, path: str) -> list[Problem]:
    if info.needs_probability and len(outputs(protocol)) == 1:
        return [Problem(f"metric '{info.name}' needs the probability of every grade", f"{path}.metric", "list them")]
    return []


def _of_whole(protocol: StudyProtocol, endpoint: Endpoint, info: MetricInfo, path: str) -> list[Problem]:
    if info.name == "top_k_accuracy" and endpoint.top is not None and endpoint.top >= max(2, len(targets(protocol))):
        return [
            Problem(
                f"with {len(targets(protocol))} classes the first {endpoint.top} hold every one",
                f"{path}.top",
                "a smaller number",
            )
        ]
    return []
