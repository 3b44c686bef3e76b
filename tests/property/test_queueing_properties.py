"""What must hold of any reading room: no information changes nothing, and waiting is moved, not removed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalsuite.stats.queueing import ReadingRoom, triage_waits

DISCIPLINES = st.sampled_from(["nonpreemptive", "preemptive"])
SHARE = st.floats(0.01, 0.99)
MINUTES = st.floats(0.5, 60.0)


@st.composite
def rooms(draw, *, several: bool | None = None, alike: bool = False):
    readers = draw(st.integers(2, 6)) if several or (several is None and draw(st.booleans())) else 1
    one_mean = alike or readers > 1
    ill = draw(MINUTES)
    well = ill if one_mean else draw(MINUTES)
    urgent = draw(st.sampled_from([0.0, 0.15]))
    prevalence, load = draw(SHARE), draw(st.floats(0.02, 0.97))
    mean = urgent * ill + (1 - urgent) * (prevalence * ill + (1 - prevalence) * well)
    return ReadingRoom(
        arrivals_per_hour=60 * load * readers / mean,
        prevalence=prevalence,
        minutes_with=ill,
        minutes_without=well,
        readers=readers,
        cv=1.0 if one_mean else draw(st.floats(0.0, 2.0)),
        urgent_share=urgent,
        urgent_minutes=ill if urgent else 0.0,
    )


@settings(max_examples=60, deadline=None)
@given(rooms(), DISCIPLINES, st.sampled_from([(0.0, 1.0), (1.0, 0.0)]))
def test_flagging_none_or_all_is_no_device(room, discipline, point):
    w = triage_waits(room, *point, discipline=discipline)
    assert float(w.with_condition) == pytest.approx(float(w.before_with_condition), rel=1e-5, abs=1e-9)
    assert float(w.without_condition) == pytest.approx(float(w.before_without_condition), rel=1e-5, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(rooms(several=False), SHARE, SHARE)
def test_work_is_conserved_where_nothing_is_interrupted(room, se, sp):
    """Kleinrock's conservation law: waits weighted by work sum to the same in every order."""
    w = triage_waits(room, se, sp, discipline="nonpreemptive")
    ill, well = room.prevalence * room.minutes_with, (1 - room.prevalence) * room.minutes_without
    before = ill * w.before_with_condition + well * w.before_without_condition
    after = ill * w.with_condition + well * w.without_condition
    assert float(after) == pytest.approx(float(before), rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(rooms(alike=True), SHARE, SHARE, DISCIPLINES)
def test_with_equal_exponential_readings_the_mean_wait_of_all_stays(room, se, sp, discipline):
    w = triage_waits(room, se, sp, discipline=discipline)
    if room.cv != 1.0:
        return
    p = room.prevalence
    after = p * w.with_condition + (1 - p) * w.without_condition
    assert float(after) == pytest.approx(float(w.before_with_condition), rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(rooms(several=True), SHARE, SHARE, DISCIPLINES)
def test_one_more_reader_never_makes_anybody_wait_longer(room, se, sp, discipline):
    kept = {n: getattr(room, n) for n in room.__slots__}
    more = ReadingRoom(**{**kept, "readers": room.readers + 1})
    a, b = (triage_waits(r, se, sp, discipline=discipline) for r in (room, more))
    for name in ("before_with_condition", "with_condition", "without_condition", "found", "missed"):
        assert float(getattr(b, name)) <= float(getattr(a, name)) * (1 + 1e-9) + 1e-12


@settings(max_examples=60, deadline=None)
@given(rooms(), DISCIPLINES)
def test_found_wait_least_missed_most_and_specificity_never_costs_time(room, discipline):
    sp = np.linspace(0.05, 0.95, 10)
    w = triage_waits(room, 0.8, sp, discipline=discipline)
    slack = 1 + 1e-6
    assert np.all(w.found <= w.missed * slack + 1e-9)
    assert np.all(np.diff(w.saved) >= -1e-6 * np.abs(w.before_with_condition[0]) - 1e-9)
    assert np.all(w.missed * slack + 1e-9 >= w.before_with_condition)
