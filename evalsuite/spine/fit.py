"""Does a protocol find its columns in a test set? Answered from the lock alone, before anything is run or opened."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from evalsuite.errors import CaseTableError, Problem
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.protocol.source_checks import analysis_columns

if TYPE_CHECKING:
    from evalsuite.testset import LockedTestSet


def column_problems(protocol: StudyProtocol, testset: LockedTestSet) -> list[Problem]:
    """Every column the protocol names and the set does not have, with the nearest name it has."""
    roles = testset.lock["columns"]
    known = {str(c) for role in roles.values() for c in (role if isinstance(role, list) else [role]) if c}
    reference = protocol.task.reference
    references = reference if isinstance(reference, list) else [reference]
    needed = [(c, "task.reference") for c in references]
    needed += [(s.column, f"strata ({s.name})") for s in protocol.strata if s.column is not None]
    needed += [(e.repeats, f"endpoints ({e.name})") for e in protocol.endpoints if e.repeats is not None]
    needed += list(analysis_columns(protocol).items())
    default_cluster = type(protocol.unit).model_fields["cluster"].default
    if not (roles["patient"] is None and protocol.unit.cluster == default_cluster):
        needed.append((protocol.unit.cluster, "unit.cluster"))
    problems = []
    for column, where in needed:
        if column not in known:
            close = difflib.get_close_matches(column, known, n=1)
            problems.append(Problem(f"no column '{column}'", where, f"did you mean '{close[0]}'?" if close else ""))
    return problems


def require_columns(protocol: StudyProtocol, testset: LockedTestSet) -> None:
    """CaseTableError listing every column that is not there: said before the first case, not after the last."""
    problems = column_problems(protocol, testset)
    if problems:
        raise CaseTableError(
            f"Test set {testset.set_id} does not have what protocol {protocol.id} names.",
            problems=problems,
            hint="Correct the protocol, or lock a case table that has these columns.",
        )
