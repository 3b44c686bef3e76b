"""Which cases of a window are new, and whose labels are counted or awaited, so that none is counted twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evalsuite.errors import InputError, Problem
from evalsuite.protocol.schema import StudyProtocol

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 20


def window_labels(protocol: StudyProtocol, table: pd.DataFrame, left: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What this audit leaves of its labels to those after it: keys of new cases, of those counted, of those awaited.

    `table` is the window's case table, `left` what the calendar's earlier audits left. A case of an earlier window may
    come again once, with the label it lacked.

    Raises
    ------
    InputError
        If a case's label was counted before, a case comes again without one, or no case is new.
    """
    from evalsuite.analyses.drift_labels import case_key, keys_in, keys_text
    from evalsuite.analyses.drift_periods import awaited_labels, chosen_for_labels

    before = [{k: keys_in(str(v)) for k, v in one.get("labels", {}).items()} for one in left]
    seen = frozenset[str]().union(*(b.get("cases", frozenset()) for b in before))
    counted = frozenset[str]().union(*(b.get("counted", frozenset()) for b in before))
    ids = [str(c).strip() for c in table[protocol.unit.case]]
    chosen, awaited = chosen_for_labels(protocol, table), awaited_labels(protocol, table)
    known = [bool(str(c).strip()) for c in table[str(protocol.task.reference)]]
    problems = []
    new, now = [], []
    for case, has, is_chosen in zip(ids, known, chosen, strict=True):
        key = case_key(case)
        if key in counted:
            problems.append(Problem("its label was counted in an earlier audit", f"case {case}"))
        elif key in seen and not (has and is_chosen):
            problems.append(Problem("it was in an earlier window, and no label has come since", f"case {case}"))
        elif key not in seen:
            new.append(case)
        if has and is_chosen:
            now.append(case)
    if problems:
        raise InputError(
            f"{len(problems)} cases of the window were in an earlier audit of this deployment.",
            problems=problems[:_SHOWN],
            hint="A window has new cases, and cases of earlier windows only where their labels have come since.",
        )
    if not new:
        raise InputError(
            "No case of the window is new: there are no inputs and outputs to compare.",
            hint="Late labels are counted with the next window of new cases: add their rows to it.",
        )
    waiting = [case for case, waits in zip(ids, awaited, strict=True) if waits]
    return {"cases": keys_text(new), "counted": keys_text(now), "awaited": keys_text(waiting)}
