"""Primary endpoints on cases that were never used before and on cases that were, side by side."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

import pandas as pd

from evalsuite.analyses.common import Results
from evalsuite.protocol.schema import Analyses, Endpoint, Multiplicity, StratumSpec, StudyProtocol
from evalsuite.types import Finding

ANALYSIS = "reuse"
STRATUM = "use"
NEVER, BEFORE = "never used", "used before"
_COLUMN = "use of the case before this run"


def by_use(
    protocol: StudyProtocol,
    *,
    case_id: tuple[str, ...],
    patient_id: tuple[str, ...],
    frame: pd.DataFrame,
    predictions: pd.DataFrame,
    used_before: Collection[str],
    evaluate: Callable[..., Results],
) -> tuple[Finding, ...]:
    """The primary endpoints in two groups of cases; nothing where all cases, or none, were used before.

    `used_before` are case ids. `evaluate` is `tasks.evaluate_task`: the figures are made as every other group's are,
    in an evaluation of their own, so that nothing else in the evidence depends on earlier uses.
    """
    used = set(used_before)
    groups = [BEFORE if case in used else NEVER for case in case_id]
    if len(set(groups)) < 2:
        return ()
    endpoints: dict[str, Endpoint] = {}
    for e in protocol.endpoints:
        if e.role == "primary":
            bare = e.model_copy(update={"stratum": {}, "each": None})
            asked = bare.model_dump_json(exclude={"name", "criterion", "rationale"})
            endpoints.setdefault(asked, bare)  # one judged in several groups is one question here
    study = protocol.model_copy(
        update={
            "endpoints": list(endpoints.values()),
            "comparisons": [],
            "strata": [StratumSpec(name=STRATUM, column=_COLUMN)],
            "analyses": Analyses(),
            "multiplicity": Multiplicity(),
            "decision_rule": "all_primary",
        }
    )
    results = evaluate(
        study,
        case_id=case_id,
        patient_id=patient_id,
        frame=frame.assign(**{_COLUMN: groups}),
        predictions=predictions,
    )
    names = {e.name for e in endpoints.values()}
    return tuple(
        replace(f, analysis=ANALYSIS)
        for f in results.findings
        if set(f.stratum) == {STRATUM}
        and f.endpoint in names
        and f.condition is None
        and f.reference_group is None
        and f.analysis in ("performance", "calibration")
    )
