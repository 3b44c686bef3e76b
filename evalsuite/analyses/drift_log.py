"""The change log of a deployment: what changed, and in which audit it was first seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evalsuite.analyses.drift_periods import EarlierAudit, Indicator, plain
from evalsuite.types import Estimate, Finding

CHANGE = "change_log"
#: Condition of what was not seen before this audit.
NOW = "this audit"
_UNSEEN = "Unseen groups of "


def noted(lines: Iterable[tuple[str, str, str]]) -> tuple[str, ...]:
    """What an audit's table of limits (name, kind, status) adds to the log: alarms, and groups nobody had seen."""
    return tuple(
        name for name, _, status in lines if status == "action" or (status == "warning" and name.startswith(_UNSEEN))
    )


def change_log(lines: Sequence[Indicator], earlier: Sequence[EarlierAudit]) -> list[Finding]:
    """A finding for each change in the order in which they were first seen; its value is the audit's number in the
    calendar, its condition the day of that audit."""
    audits = [(a.utc[:10] or f"audit {i}", a.noted) for i, a in enumerate(earlier, start=1)]
    audits.append((NOW, noted((line.name, line.kind, line.status) for line in lines)))
    seen: set[str] = set()
    out = []
    for number, (when, names) in enumerate(audits, start=1):
        for name in names:
            if name in seen:
                continue
            seen.add(name)
            why = "the number of the audit in which it was first seen"
            made = Estimate(value=float(number), n=len(audits), method="first seen", interval_undefined=why)
            out.append(plain(name, CHANGE, made, condition=when))
    return out
