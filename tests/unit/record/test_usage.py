"""Uses per case and states of runs, read from a ledger."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalsuite.record.ledger import Draft, Entry, LedgerHead, next_entry
from evalsuite.record.usage import (
    Segment,
    case_count,
    inherited_uses,
    intervals,
    run_states,
    spans,
    summary,
    use_segments,
    within,
)


def chain(*said: tuple[str, dict[str, str]]) -> list[Entry]:
    head, found = LedgerHead(count=0, digest="0" * 64), []
    for action, objects in said:
        draft = Draft(action=action, actor="ada", role="operator", utc="t", reason="", objects=objects)
        found.append(next_entry(head, draft))
        head = LedgerHead(count=found[-1].seq, digest=found[-1].digest)
    return found


@given(st.sets(st.integers(min_value=1, max_value=60), min_size=1))
def test_spans_read_back_as_the_positions_they_were_made_of(positions):
    found = intervals(spans(positions), 60)
    assert {p for low, high in found for p in range(low, high + 1)} == positions


@given(st.lists(st.sets(st.integers(min_value=1, max_value=25), min_size=1), max_size=6))
def test_uses_are_counted_case_by_case(runs):
    entries = chain(*[("run_started", {"run": str(i), "cases": spans(r)}) for i, r in enumerate(runs)])
    segments = use_segments(entries, 25)
    counted = [s.uses for s in segments for _ in range(s.first, s.last + 1)]
    assert counted == [sum(p in r for r in runs) for p in range(1, 26)]
    assert case_count(segments) == 25
    assert all(a.uses != b.uses and a.last + 1 == b.first for a, b in itertools.pairwise(segments))
    ordered = sorted(counted)
    assert summary(segments) == {"min": ordered[0], "median": ordered[12], "max": ordered[-1]}
    assert [s.uses for s in within(segments, "3-5", 25) for _ in range(s.first, s.last + 1)] == counted[2:5]


def test_an_entry_that_names_no_cases_used_all_of_them():
    assert use_segments(chain(("run_started", {"run": "r"})), 4) == (Segment(first=1, last=4, uses=1),)
    assert use_segments(chain(("run_started", {"run": "r", "cases": "all of it"})), 4)[0].uses == 1
    assert use_segments(chain(("run_started", {"run": "r", "cases": "3-9"})), 4)[-1] == Segment(first=3, last=4, uses=1)


def test_a_resumed_run_is_one_use_and_an_aborted_one_counts():
    entries = chain(
        ("run_started", {"run": "a", "cases": "1-4"}),
        ("run_resumed", {"run": "a"}),
        ("run_started", {"run": "b", "cases": "1-4"}),
    )
    assert use_segments(entries, 4) == (Segment(first=1, last=4, uses=2),)


STEPS = ["predictions_sealed", "unblinded", "analysed", "reported", "signed"]


@pytest.mark.parametrize("n", range(len(STEPS) + 1))
def test_a_run_is_in_the_state_of_its_last_step(n):
    said = [("run_started", {"run": "r", "freeze": "f"}), *[(s, {"run": "r"}) for s in STEPS[:n]]]
    states = ["frozen", "executed", "unblinded", "analysed", "reported", "signed"]
    assert run_states(chain(*said))["r"].state == states[n]


def test_scoring_again_takes_no_run_back_and_void_is_for_good():
    said = [("run_started", {"run": "r"}), *[(s, {"run": "r"}) for s in STEPS[:4]]]
    assert run_states(chain(*said, ("unblinded", {"run": "r"})))["r"].state == "reported"
    assert run_states(chain(*said, ("void", {"run": "r"}), ("reported", {"run": "r"})))["r"].state == "void"
    assert run_states(chain(("run_started", {"run": "r"})))["r"].state == "draft"


def test_superseding_a_set_ends_no_run():
    said = [("run_started", {"run": "r"}), ("superseded", {"superseded_by_root": "x"})]
    assert run_states(chain(*said))["r"].state == "draft"


def test_a_new_version_brings_the_uses_of_its_cases_along():
    text = inherited_uses({"a": 2, "b": 2, "c": 1, "gone": 7, "d": 0}, ["new", "a", "b", "c", "d"])
    assert text == "2:2-3;1:4"
    found = use_segments(chain(("locked", {"used": text}), ("run_started", {"run": "r", "cases": "1-2"})), 5)
    assert [s.uses for s in found for _ in range(s.first, s.last + 1)] == [1, 3, 2, 1, 0]
