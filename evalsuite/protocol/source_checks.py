"""What the blocks on panels, repeats, time and linearity must satisfy: columns that can be, metrics that fit."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from evalsuite.errors import Problem
from evalsuite.protocol.drift import drift_columns
from evalsuite.protocol.localisation import localisation_columns
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.protocol.uncertainty import uncertainty_columns

#: Metrics that can be estimated anew against another reference panel, by kind of task.
AGAINST_PANEL = {
    "binary": ("sensitivity", "specificity", "accuracy", "ppv", "npv", "auroc"),
    "regression": ("bias", "mae", "rmse"),
}
#: Metrics of the change between two visits, and those of its categories.
CHANGES = ("change_bias", "change_mae", "change_loa_lower", "change_loa_upper")
#: Levels at which a deviation from linearity is estimated.
MOST_LEVELS = 20
RESPONSES = ("response_agreement", "response_opposite", "response_kappa")


def analysis_columns(protocol: StudyProtocol) -> dict[str, str]:
    """Every case-table column that an analysis names, with the key that names it: they are sealed and must exist."""
    a = protocol.analyses
    named: list[tuple[str, str]] = []
    if protocol.task.second_reader is not None:
        named.append((protocol.task.second_reader, "task.second_reader"))
    if a.verification is not None:
        named.append((a.verification.verified, "analyses.verification.verified"))
        named += [(c, f"analyses.verification.covariates[{i}]") for i, c in enumerate(a.verification.covariates)]
    if a.weighting is not None and a.weighting.stratum is not None:
        named.append((a.weighting.stratum, "analyses.weighting.stratum"))
    if a.truth_panel is not None:
        named += [(c, f"analyses.truth_panel.readers[{i}]") for i, c in enumerate(a.truth_panel.readers)]
    if a.variance_components is not None:
        named += [
            (c, f"analyses.variance_components.factors[{i}]") for i, c in enumerate(a.variance_components.factors)
        ]
        if a.variance_components.subject is not None:
            named.append((a.variance_components.subject, "analyses.variance_components.subject"))
    if a.change is not None:
        named.append((a.change.visit, "analyses.change.visit"))
        if a.change.pair is not None:
            named.append((a.change.pair, "analyses.change.pair"))
    if a.failures is not None and a.failures.outline is not None:
        named.append((a.failures.outline, "analyses.failures.outline"))
    if a.drift is not None:
        named += drift_columns(a.drift)
    named += localisation_columns(protocol)
    named += uncertainty_columns(protocol)
    columns: dict[str, str] = {}
    for column, where in named:
        columns.setdefault(column, where)
    return columns


def source_problems(protocol: StudyProtocol, unreadable: str) -> Iterator[Problem]:
    """Every contradiction in these blocks."""
    yield from _panel(protocol, unreadable)
    yield from _components(protocol)
    yield from _change(protocol)
    yield from _linearity(protocol)
    a = protocol.analyses
    if a.weighting is not None and a.weighting.stratum is not None:
        yield from _own_columns(protocol, [a.weighting.stratum], "analyses.weighting.stratum", "sampling strata")
    if a.verification is not None and a.verification.covariates:
        path = "analyses.verification.covariates"
        yield from _own_columns(protocol, a.verification.covariates, path, "what verification depended on")
        if a.verification.verified in a.verification.covariates:
            yield Problem("verification cannot depend on itself", path, "remove the column of verified cases")


def _references(protocol: StudyProtocol) -> list[str]:
    given = protocol.task.reference
    return list(given) if isinstance(given, list) else [given]


def _own_columns(protocol: StudyProtocol, columns: Sequence[str], path: str, what: str) -> Iterator[Problem]:
    """No column twice, and none that already means the truth, the case or the patient."""
    taken = {**dict.fromkeys(_references(protocol), "the reference standard"), protocol.unit.case: "the case"}
    taken.setdefault(protocol.unit.cluster, "the patient")
    several = len(columns) > 1
    for i, column in enumerate(columns):
        where = f"{path}[{i}]" if several else path
        if column in taken:
            yield Problem(f"column '{column}' is {taken[column]}", where, f"name a column that holds {what}")
        elif column in columns[:i]:
            yield Problem(f"column '{column}' named twice", where, "remove one")


def _panel(protocol: StudyProtocol, unreadable: str) -> Iterator[Problem]:
    from evalsuite.protocol.checks import did_you_mean

    asked = protocol.analyses.truth_panel
    if asked is None:
        return
    path = "analyses.truth_panel"
    yield from _own_columns(protocol, asked.readers, f"{path}.readers", "one reader's own readings")
    fitting = AGAINST_PANEL.get(protocol.task.kind)
    if fitting is None:
        return  # not carried out for other tasks, which is said elsewhere
    by_name = {e.name: e for e in protocol.endpoints}
    for i, name in enumerate(asked.endpoints):
        where = f"{path}.endpoints[{i}]"
        endpoint = by_name.get(name)
        if endpoint is None:
            if unreadable not in by_name and name != unreadable:
                yield Problem(f"unknown endpoint '{name}'", where, did_you_mean(name, by_name))
        elif name in asked.endpoints[:i]:
            yield Problem(f"endpoint '{name}' named twice", where)
        elif endpoint.metric not in fitting and endpoint.metric != unreadable:
            yield Problem(
                f"'{endpoint.metric}' is not estimated against another panel", where, f"it is of: {', '.join(fitting)}"
            )
        elif endpoint.prevalence is not None:
            yield Problem(
                f"endpoint '{name}' is at a declared prevalence, which a panel does not change", where, "take it out"
            )
    if protocol.task.kind == "regression" and asked.ties != "exclude":
        yield Problem("measurements have no tied votes", f"{path}.ties", "remove it")


def _components(protocol: StudyProtocol) -> Iterator[Problem]:
    asked = protocol.analyses.variance_components
    if asked is None:
        for i, endpoint in enumerate(protocol.endpoints):
            if endpoint.metric == "reproducibility_coefficient":
                where, hint = f"endpoints[{i}].metric", "say which columns: analyses.variance_components.factors"
                yield Problem("reproducibility needs the conditions that change", where, hint)
        return
    path = "analyses.variance_components"
    yield from _own_columns(protocol, asked.factors, f"{path}.factors", "operators, cameras or readers")
    if asked.subject is not None and asked.subject in asked.factors:
        yield Problem(
            f"'{asked.subject}' is what is measured, not a factor", f"{path}.subject", "remove one of the two"
        )
    for i, name in enumerate(asked.factors):
        if name in ("residual", "subject"):
            yield Problem(f"the name '{name}' has a meaning of its own", f"{path}.factors[{i}]", "rename the column")


def _change(protocol: StudyProtocol) -> Iterator[Problem]:
    asked = protocol.analyses.change
    path = "analyses.change"
    for i, endpoint in enumerate(protocol.endpoints):
        where = f"endpoints[{i}].metric"
        if endpoint.metric in (*CHANGES, *RESPONSES) and asked is None:
            yield Problem(f"'{endpoint.metric}' needs two visits", where, f"say which columns: {path}.visit")
        elif endpoint.metric in RESPONSES and asked is not None and not asked.thresholds:
            yield Problem(f"'{endpoint.metric}' needs categories of change", where, f"declare {path}.thresholds")
    if asked is None:
        return
    columns = [asked.visit, *([asked.pair] if asked.pair is not None else [])]
    taken = {*_references(protocol), protocol.unit.case}
    for key, column in (("visit", asked.visit), ("pair", asked.pair)):
        if column in taken or (key == "visit" and column == protocol.unit.cluster):
            yield Problem(f"column '{column}' already means something else", f"{path}.{key}", "name another column")
    if len(set(columns)) < len(columns):
        yield Problem("the visit is not what is followed", f"{path}.pair", "name another column")
    if str(asked.before).strip() == str(asked.after).strip():
        yield Problem("both visits have the same value", f"{path}.after", "name the later one")
    if asked.thresholds is not None:
        if not asked.thresholds:
            yield Problem("no cut point given", f"{path}.thresholds", "e.g. thresholds: [-0.3, 0.2]")
        if any(b <= a for a, b in itertools.pairwise(asked.thresholds)):
            yield Problem("cut points must increase", f"{path}.thresholds", f"e.g. {sorted(set(asked.thresholds))}")
        if asked.relative and asked.thresholds and min(asked.thresholds) <= -1.0:
            yield Problem("nothing shrinks by all of itself or more", f"{path}.thresholds", "-0.3 is 30 % smaller")
    if protocol.task.kind != "regression":
        yield Problem("a change between visits is of measurements", path, "remove the block, or check task.kind")


def _linearity(protocol: StudyProtocol) -> Iterator[Problem]:
    asked = protocol.analyses.linearity
    path = "analyses.linearity"
    if asked is None:
        for i, endpoint in enumerate(protocol.endpoints):
            if endpoint.metric == "nonlinearity":
                yield Problem("'nonlinearity' needs levels", f"endpoints[{i}].metric", f"declare {path}: {{}} at least")
        return
    if asked.levels is not None and not 0 < len(set(asked.levels)) <= MOST_LEVELS:
        yield Problem(f"1 to {MOST_LEVELS} levels", f"{path}.levels", "or leave them out for every reference value")
    if protocol.task.kind != "regression":
        yield Problem("linearity is of measurements", path, "remove the block, or check task.kind")
