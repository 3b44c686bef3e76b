"""What a ledger says of the use of its test set: the cases each run used, how often each was, how far each run is."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from evalsuite.record.ledger import Entry

#: States of a run, in their order; the last two end it.
STATES = ("draft", "frozen", "executed", "unblinded", "analysed", "reported", "signed")
ENDED = ("superseded", "void")
#: The state a ledger entry brings a run to.
REACHED = {
    "predictions_sealed": "executed",
    "unblinded": "unblinded",
    "analysed": "analysed",
    "reported": "reported",
    "signed": "signed",
}
#: Objects of `run_started`: the run, its cases (positions in the lock's rows, from 1), the freeze it rests on.
RUN, CASES, FREEZE = "run", "cases", "freeze"
#: Object of `locked`: uses that cases of a new version bring along from the version it supersedes, `2:1-60;1:61-80`.
USED = "used"

_SPANS = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Cases `first` to `last` (positions in the lock's rows, counted from 1) that were all used `uses` times."""

    first: int
    last: int
    uses: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """One run as the ledger knows it. `cases` are spans of positions, "" for all cases; `seq` is its first entry."""

    run: str
    state: str
    seq: int
    utc: str
    actor: str
    protocol: str
    protocol_id: str
    model: str
    cases: str


def spans(positions: Iterable[int]) -> str:
    """Positions as text: `1-60,75`. They are sorted, and counted once each."""
    ordered = sorted(set(positions))
    parts = []
    for _, group in itertools.groupby(enumerate(ordered), key=lambda pair: pair[1] - pair[0]):
        members = [p for _, p in group]
        parts.append(str(members[0]) if len(members) == 1 else f"{members[0]}-{members[-1]}")
    return ",".join(parts)


def intervals(text: str, n_cases: int) -> list[tuple[int, int]]:
    """First and last position of each span; all cases for "". A span beyond `n_cases` ends there.

    A text that is no list of spans means all cases: a use is rather counted too often than not at all.
    """
    if not _SPANS.fullmatch(text):
        return [(1, n_cases)] if n_cases else []
    found = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        low, high = max(1, int(first)), min(n_cases, int(last or first))
        if low <= high:
            found.append((low, high))
    return found


def is_use(entry: Entry) -> bool:
    """Whether an entry uses cases: a run's first, and an evaluation outside any run, from Python."""
    return entry.action == "run_started" or (entry.action == "unblinded" and RUN not in entry.objects)


def use_segments(entries: Sequence[Entry], n_cases: int) -> tuple[Segment, ...]:
    """How often each case was used, as segments that cover all `n_cases` cases in order.

    Every run that was started counts, whether or not it was finished, limited or exploratory; a resumed run is one use.
    So does every opening of the reference standard outside a run.
    Cases of a new version of a set bring along the uses they had in the old one.
    """
    change: dict[int, int] = {1: 0}
    counted = [(1, e.objects.get(CASES, "")) for e in entries if is_use(e)]
    inherited = next((e.objects[USED] for e in entries if e.action == "locked" and USED in e.objects), "")
    counted += [(int(n), cases) for n, _, cases in (part.partition(":") for part in inherited.split(";") if part)]
    for n, cases in counted:
        for first, last in intervals(cases, n_cases):
            change[first] = change.get(first, 0) + n
            change[last + 1] = change.get(last + 1, 0) - n
    segments: list[Segment] = []
    uses = 0
    for first, after in itertools.pairwise([*sorted(p for p in change if p <= n_cases), n_cases + 1]):
        uses += change[first]
        if segments and segments[-1].uses == uses:
            segments[-1] = replace(segments[-1], last=after - 1)
        else:
            segments.append(Segment(first=first, last=after - 1, uses=uses))
    return tuple(segments)


def inherited_uses(uses_of: Mapping[str, int], case_ids: Sequence[str]) -> str:
    """The object USED for a set whose rows are `case_ids`, where the version before used its cases `uses_of` times."""
    positions: dict[int, list[int]] = {}
    for position, case_id in enumerate(case_ids, start=1):
        if n := uses_of.get(case_id, 0):
            positions.setdefault(n, []).append(position)
    return ";".join(f"{n}:{spans(found)}" for n, found in sorted(positions.items(), reverse=True))


def within(segments: Sequence[Segment], cases: str, n_cases: int) -> tuple[Segment, ...]:
    """The parts of `segments` that lie in the spans `cases`."""
    found = []
    for low, high in intervals(cases, n_cases):
        for s in segments:
            if s.first <= high and low <= s.last:
                found.append(Segment(first=max(s.first, low), last=min(s.last, high), uses=s.uses))
    return tuple(found)


def case_count(segments: Iterable[Segment]) -> int:
    """How many cases the segments cover."""
    return sum(s.last - s.first + 1 for s in segments)


def summary(segments: Sequence[Segment]) -> dict[str, float]:
    """Least, median and greatest number of uses of a case; zeros where there is no case."""
    ordered = sorted(segments, key=lambda s: s.uses)
    total = case_count(ordered)
    if not total:
        return {"min": 0, "median": 0, "max": 0}

    def at(rank: int) -> int:
        for s in ordered:
            rank -= s.last - s.first + 1
            if rank < 0:
                return s.uses
        return ordered[-1].uses

    median = (at((total - 1) // 2) + at(total // 2)) / 2
    return {"min": ordered[0].uses, "median": median, "max": ordered[-1].uses}


def run_states(entries: Iterable[Entry]) -> dict[str, RunState]:
    """The runs in the order they were started, each in the state its last entry brought it to.

    A run begins as `draft`, or as `frozen` where its first entry names the freeze it rests on. Scoring it again does
    not take it back; `superseded` and `void` are for good.
    """
    found: dict[str, RunState] = {}
    for entry in entries:
        objects = entry.objects
        name = objects.get(RUN)
        if name is None:
            continue
        if entry.action == "run_started":
            found.setdefault(name, _started(entry, name))
        elif name in found:
            run = found[name]
            if run.state not in ENDED:
                found[name] = replace(run, state=_after(run.state, entry.action))
    return found


def _started(entry: Entry, name: str) -> RunState:
    objects: Mapping[str, str] = entry.objects
    return RunState(
        run=name,
        state="frozen" if FREEZE in objects else "draft",
        seq=entry.seq,
        utc=entry.utc,
        actor=entry.actor,
        protocol=objects.get("protocol", ""),
        protocol_id=objects.get("protocol_id", ""),
        model=objects.get("model", ""),
        cases=objects.get(CASES, ""),
    )


def _after(state: str, action: str) -> str:
    if action in ENDED:
        return action
    reached = REACHED.get(action, state)
    return max(state, reached, key=STATES.index)
