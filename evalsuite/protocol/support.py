"""What this version cannot carry out of a valid protocol: said before the run, so that nothing is silently left out."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from evalsuite.errors import Problem
from evalsuite.protocol.failures import OF_TASKS
from evalsuite.protocol.schema import StudyProtocol

_KINDS = ("standalone", "comparison", "reader_study", "drift_audit", "site_acceptance")
_TASKS = ("binary", "multiclass", "multilabel", "ordinal", "regression", "detection", "segmentation")
_ANALYSES = (
    *("calibration", "utility", "generalisation", "group_differences", "weighting", "verification"),
    *("truth_panel", "variance_components", "change", "linearity", "triage", "failures", "slices"),
    "bias",
    "drift",
    "threshold_what_if",
    *("uncertainty", "robustness", "interpretability"),
)
#: What a figure is of, in tasks without weighted figures.
_FIGURES_OF = {
    "ordinal": "agreement of grades and the like",
    "regression": "agreement of measurements and the like",
    "detection": "figures of lesions and marks",
    "segmentation": "figures of masks",
}
#: Analyses of scores with one number per case.
_OF_ONE_NUMBER = ("truth_panel", "variance_components")


def unsupported(protocol: StudyProtocol, computable: Collection[str]) -> list[Problem]:
    """Every part of the protocol that a run of this version would have to leave out; empty if it can do all of it.

    Parameters
    ----------
    computable
        Names of the metrics that the analyses of this version compute.
    """
    return list(_problems(protocol, computable))


def _problems(protocol: StudyProtocol, computable: Collection[str]) -> Iterator[Problem]:
    not_yet = "not carried out by this version"
    if protocol.kind not in _KINDS:
        yield Problem(f"kind '{protocol.kind}' is {not_yet}", "kind", f"available: {', '.join(_KINDS)}")
    if protocol.task.kind not in _TASKS:
        yield Problem(f"task '{protocol.task.kind}' is {not_yet}", "task.kind", f"available: {', '.join(_TASKS)}")
    else:
        for i, endpoint in enumerate(protocol.endpoints):
            if endpoint.metric not in computable:
                yield Problem(f"metric '{endpoint.metric}' is {not_yet}", f"endpoints[{i}].metric")
    for name in type(protocol.analyses).model_fields:
        if name not in _ANALYSES and getattr(protocol.analyses, name) is not None:
            yield Problem(f"analysis '{name}' is {not_yet}", f"analyses.{name}", "remove the block")
    for key in protocol.analyses.calibration or {}:
        # Calibration metrics are endpoints; no setting of this block is read, so none may seem to be.
        hint = "set bins on the endpoint" if key == "bins" else "declare calibration metrics as endpoints"
        yield Problem(f"setting '{key}' of the calibration block is {not_yet}", f"analyses.calibration.{key}", hint)
    yield from _without_a_definition(protocol)
    yield from _of_lesions(protocol)
    yield from _of_wrong_cases(protocol)
    yield from _of_one_answer(protocol)
    yield from _of_explanations(protocol)
    for name in _OF_ONE_NUMBER:
        if getattr(protocol.analyses, name) is not None and protocol.task.kind not in ("binary", "regression"):
            what = f"analysis '{name}' in a {protocol.task.kind} task is {not_yet}"
            yield Problem(what, f"analyses.{name}", "remove the block")


def _of_wrong_cases(protocol: StudyProtocol) -> Iterator[Problem]:
    """Analyses of wrong cases, where a case is not simply right or wrong or nobody's answer is the device's."""
    kind = protocol.task.kind
    if protocol.analyses.threshold_what_if is not None and (kind != "binary" or protocol.kind == "reader_study"):
        what = "thresholds of groups are of a device that calls cases positive or negative at one threshold"
        yield Problem(what, "analyses.threshold_what_if", "remove the block")
    for name in ("failures", "slices"):
        if getattr(protocol.analyses, name) is None:
            continue
        if protocol.kind == "reader_study":
            what = f"analysis '{name}' is of a device alone, and a reader study has readers"
            yield Problem(what, f"analyses.{name}", "evaluate the device as a standalone study")
        elif kind in ("detection", "segmentation"):
            hint = "remove the block: lesions, marks and outlines are listed and shown in every such report"
            yield Problem(f"a case of a {kind} task is not simply right or wrong", f"analyses.{name}", hint)
        elif kind not in OF_TASKS:
            what = f"analysis '{name}' in a {kind} task is not carried out by this version"
            yield Problem(what, f"analyses.{name}", "remove the block")


def _of_one_answer(protocol: StudyProtocol) -> Iterator[Problem]:
    """Analyses of one answer per case by the device alone."""
    for name in ("uncertainty", "robustness"):
        if getattr(protocol.analyses, name) is None:
            continue
        where = f"analyses.{name}"
        if protocol.kind == "reader_study":
            what = f"analysis '{name}' is of a device alone, and a reader study has readers"
            yield Problem(what, where, "evaluate the device as a standalone study")
        elif name == "uncertainty" and protocol.task.kind not in OF_TASKS:
            what = f"analysis '{name}' in a {protocol.task.kind} task is not carried out by this version"
            yield Problem(what, where, f"remove the block; available for: {', '.join(OF_TASKS)}")


def _of_explanations(protocol: StudyProtocol) -> Iterator[Problem]:
    """What is asked of explanations and cannot be given: nothing, or of readers, or of tasks without calls."""
    asked = protocol.analyses.interpretability
    where = "analyses.interpretability"
    if asked is None:
        return
    if protocol.kind == "reader_study":
        what = "what answers depend on is asked of a device alone, and a reader study has readers"
        yield Problem(what, where, "evaluate the device as a standalone study")
    elif asked == type(asked)():
        yield Problem("the block asks for nothing", where, "name methods or shortcuts, or remove the block")
    elif asked.shortcuts and protocol.task.kind not in OF_TASKS:
        what = f"shortcut tests in a {protocol.task.kind} task are not carried out by this version"
        yield Problem(what, f"{where}.shortcuts", f"remove them; available for: {', '.join(OF_TASKS)}")


def _of_lesions(protocol: StudyProtocol) -> Iterator[Problem]:
    """What is not carried out yet where a case has several lesions or structures."""
    kind = protocol.task.kind
    if kind not in ("detection", "segmentation"):
        return
    not_yet = f"in a {kind} task not carried out by this version"
    for name in ("change", "linearity"):
        if getattr(protocol.analyses, name) is not None:
            yield Problem(f"analysis '{name}' is {not_yet}", f"analyses.{name}", "remove the block")


def _without_a_definition(protocol: StudyProtocol) -> Iterator[Problem]:
    """Analyses that have no sound definition in this kind of task, and why."""
    kind, analyses = protocol.task.kind, protocol.analyses
    if analyses.bias is not None and protocol.task.reference_is == "comparator":
        yield Problem(
            "gaps in sensitivity and the like need a reference standard, and this comparator is none",
            "analyses.bias",
            "declare strata and group_differences",
        )
    if kind == "binary":
        return
    if analyses.bias is not None:
        yield Problem(
            f"the figures that gaps are made of are those of one yes/no question; in a {kind} task there are several",
            "analyses.bias",
            "declare group_differences, or evaluate one question as a binary task",
        )
    if analyses.utility is not None:
        yield Problem(
            f"a decision curve weighs one action against none at one threshold, and a {kind} task has no such action",
            "analyses.utility",
            "declare net_benefit endpoints on the labels that lead to an action"
            if kind == "multilabel"
            else "remove the block",
        )
    if analyses.triage is not None:
        yield Problem(
            f"a triage device flags an image or does not; a {kind} task has no such call per case",
            "analyses.triage",
            "evaluate the flag as a binary task",
        )
    if analyses.verification is not None:
        yield Problem(
            "the correction for partial verification rests on verification depending on one yes/no call; in a "
            f"{kind} task it may depend on any of several answers",
            "analyses.verification",
            "evaluate the question that decided who was verified as a binary task",
        )
    if analyses.weighting is not None and kind not in ("multiclass", "multilabel"):
        yield Problem(
            "weighted figures are shares of cases and areas of one class against the rest; "
            f"{_FIGURES_OF[kind]} have no weighted interval that was shown to hold",
            "analyses.weighting",
            "remove the block",
        )
