"""Labels that come late: which cases an earlier window had, what was counted, and what is still awaited."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

from evalsuite.analyses.drift_periods import EarlierAudit, Indicator, Period, awaited_labels
from evalsuite.analyses.population import Bools
from evalsuite.protocol.schema import StudyProtocol

_KEY = 16
_LIMITS = "warning: for more than one audit"


def case_key(case_id: str) -> str:
    """What a deployment's history keeps of a case: 16 hex digits of a digest of its id."""
    return hashlib.sha256(f"evalsuite case\n{case_id}".encode()).hexdigest()[:_KEY]


def keys_text(case_ids: Iterable[str]) -> str:
    """The keys of cases as one text, in the order of the keys."""
    return "".join(sorted(case_key(c) for c in case_ids))


def keys_in(text: str) -> frozenset[str]:
    """The keys in such a text. ValueError where it is none."""
    if len(text) % _KEY:
        raise ValueError("not a list of case keys")
    return frozenset(text[i : i + _KEY] for i in range(0, len(text), _KEY))


def late_cases(window: Period, earlier: Sequence[EarlierAudit]) -> Bools:
    """(n,) bool: cases that an earlier window had, and whose labels came since: they are of this audit's performance,
    and their inputs and outputs were that window's."""
    seen = frozenset[str]().union(*(a.cases for a in earlier))
    return np.array([case_key(c) in seen for c in window.case_id], dtype=bool)


def label_indicators(
    protocol: StudyProtocol, window: Period, late: Bools, earlier: Sequence[EarlierAudit]
) -> list[Indicator]:
    """How many labels are awaited, and whether any has been for more than one audit; nothing where none ever was."""
    awaited = frozenset[str]().union(*(a.awaited for a in earlier))
    here = int(awaited_labels(protocol, window.frame).sum())
    if not awaited and not here and not late.any():
        return []
    known = [bool(str(c).strip()) for c in window.frame[str(protocol.task.reference)]]
    came = {case_key(c) for c, k in zip(window.case_id, known, strict=True) if k}
    came |= frozenset[str]().union(*(a.counted for a in earlier))
    still = awaited - came
    old = frozenset[str]().union(*(a.awaited for a in earlier[:-1])) - came
    said = (
        f"{here} of this window and {len(still)} of earlier ones, {len(old)} of these for more than one audit; "
        f"{int(late.sum())} came late and are counted in this audit"
    )
    return [
        Indicator(
            name="Labels awaited",
            kind="integrity",
            status="warning" if old else "normal",
            value=float(here + len(still)),
            limits=_LIMITS,
            n=window.n,
            reason=said,
        )
    ]
