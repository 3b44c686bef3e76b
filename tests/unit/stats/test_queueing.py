"""Waits of a triage device: worked by hand, at the ends of its sensitivity and specificity, and what is refused."""

from __future__ import annotations

from dataclasses import fields
from fractions import Fraction as F

import numpy as np
import pytest
from scipy.stats import binom

from evalsuite.stats import queueing
from evalsuite.stats.proportions import proportion_interval
from evalsuite.stats.queueing import ReadingRoom, triage_benefit, triage_waits
from evalsuite.stats.queueing_simulation import simulated_saving
from evalsuite.types import Estimate

ROOM = ReadingRoom(arrivals_per_hour=4, prevalence=0.2, minutes_with=12, minutes_without=12)


def share(x: int, n: int, level: float = 0.975) -> Estimate:
    low, high = proportion_interval(x, n, level=level)
    return Estimate(value=x / n, low=low, high=high, level=level, method="x", n=n)


@pytest.mark.parametrize(
    ("discipline", "first", "second"),
    [
        # λ = 1/15, 1/μ = 12, ρ = 4/5; flagged 0.2·0.9 + 0.8·0.2 = 0.34 of the images, ρ1 = 0.272.
        # Finished first: λE[S²]/2 = (1/15)(2·144)/2 = 9.6; 9.6/0.728 and 9.6/(0.728·0.2).
        ("nonpreemptive", F(96, 10) / F(728, 1000), F(96, 10) / (F(728, 1000) * F(1, 5))),
        # Interrupted: the flagged wait as M/M/1 of their own, 12·0.272/0.728; the others 12/(0.728·0.2) - 12 in all.
        ("preemptive", 12 * F(272, 728), 12 / (F(728, 1000) * F(1, 5)) - 12),
    ],
)
def test_one_reader_by_hand(discipline, first, second) -> None:
    w = triage_waits(ROOM, 0.9, 0.8, discipline=discipline)
    assert float(w.before_with_condition) == pytest.approx(12 * 4, abs=1e-12)  # M/M/1: ρ/(μ-λ)
    assert float(w.found) == pytest.approx(float(first), rel=1e-12)
    assert float(w.missed) == pytest.approx(float(second), rel=1e-12)
    assert float(w.with_condition) == pytest.approx(float(F(9, 10) * first + F(1, 10) * second), rel=1e-12)
    assert float(w.without_condition) == pytest.approx(float(F(1, 5) * first + F(4, 5) * second), rel=1e-12)
    assert float(w.flagged) == pytest.approx(0.34)


def test_two_readers_by_hand() -> None:
    """Erlang C of 2 servers: 2ρ²/(1+ρ). λ = 2/h, 1/μ = 20 min, ρ = 1/3: C = 1/6, wait 10/6/(2/3)."""
    room = ReadingRoom(arrivals_per_hour=2, prevalence=0.3, minutes_with=20, minutes_without=20, readers=2)
    w = triage_waits(room, 1.0, 1.0, discipline="nonpreemptive")
    busy, rho, rho1 = F(1, 6), F(1, 3), F(1, 10)
    assert float(w.before_with_condition) == pytest.approx(float(busy * 10 / (1 - rho)), rel=1e-12)
    assert float(w.found) == pytest.approx(float(busy * 10 / (1 - rho1)), rel=1e-12)
    w = triage_waits(room, 1.0, 1.0, discipline="preemptive")
    own = 2 * rho1**2 / (1 + rho1)
    first = own * 10 / (1 - rho1)
    assert float(w.found) == pytest.approx(float(first), rel=1e-9)
    fifo = busy * 10 / (1 - rho)
    assert float(w.without_condition) == pytest.approx(float((fifo - F(3, 10) * first) / F(7, 10)), rel=1e-9)


@pytest.mark.parametrize("discipline", ["nonpreemptive", "preemptive"])
def test_the_approximation_ends_in_both_exact_cases(discipline) -> None:
    """One reader with unequal readings, and several with readings alike, by the approximate formulas and the exact."""
    rooms = (
        ReadingRoom(
            arrivals_per_hour=3, prevalence=0.4, minutes_with=14, minutes_without=8, cv=0.3, urgent_share=0.2,
            urgent_minutes=6,
        ),
        ReadingRoom(
            arrivals_per_hour=9, prevalence=0.3, minutes_with=11, minutes_without=11, readers=3, urgent_share=0.1,
            urgent_minutes=11,
        ),
    )  # fmt: skip
    for room in rooms:
        rate = room.arrivals_per_hour / 60.0
        ill, well = (rate * (1 - room.urgent_share) * share for share in (room.prevalence, 1 - room.prevalence))
        urgent = np.array(rate * room.urgent_share)
        classes = [(np.array(ill * 0.9), np.array(well * 0.2)), (np.array(ill * 0.1), np.array(well * 0.8))]
        exact = queueing._delays(room, urgent, classes, discipline)
        near = queueing._approximated(room, urgent, classes, discipline)
        for one, other in zip(exact, near, strict=True):
            for minutes in {room.minutes_with, room.minutes_without}:
                assert float(other.of(minutes)) == pytest.approx(float(one.of(minutes)), rel=1e-6)


def test_several_readers_and_unequal_readings_are_near_a_simulated_room() -> None:
    room = ReadingRoom(
        arrivals_per_hour=11, prevalence=0.3, minutes_with=16, minutes_without=9, readers=3, cv=0.5, urgent_share=0.1,
        urgent_minutes=6,
    )  # fmt: skip
    assert not room.exact
    for discipline in ("nonpreemptive", "preemptive"):
        seen = simulated_saving(room, 0.9, 0.85, discipline=discipline, level=0.99, seed=1, images=100_000)
        near = float(triage_waits(room, 0.9, 0.85, discipline=discipline).saved)
        assert near == pytest.approx(seen.value, rel=0.15)
        assert seen.low < seen.value < seen.high
        assert "approximated" in queueing.method_of(room, discipline)
        again = simulated_saving(room, 0.9, 0.85, discipline=discipline, level=0.99, seed=1, images=100_000)
        assert again == seen
    few = simulated_saving(room, 0.9, 0.85, discipline="preemptive", level=0.99, seed=1, images=60)
    assert few.undefined is not None


def test_urgent_images_go_before_the_flagged_ones() -> None:
    """Three classes, σ = 0.1, 0.1+ρ1, 0.8; Cobham with W0 = 9.6 as above."""
    room = ReadingRoom(
        arrivals_per_hour=4, prevalence=0.5, minutes_with=12, minutes_without=12, urgent_share=0.125, urgent_minutes=12
    )
    w = triage_waits(room, 1.0, 1.0, discipline="nonpreemptive")
    assert room.load == pytest.approx(0.8)
    assert float(w.found) == pytest.approx(9.6 / (0.9 * 0.55), rel=1e-12)
    assert float(w.without_condition) == pytest.approx(9.6 / (0.55 * 0.2), rel=1e-12)
    assert float(w.before_with_condition) == pytest.approx(9.6 / (0.9 * 0.2), rel=1e-12)


def test_regular_readings_halve_the_wait() -> None:
    """Pollaczek-Khinchine: readings that all take equally long wait half of what exponential ones do."""
    waits = [
        triage_waits(
            ReadingRoom(arrivals_per_hour=4, prevalence=0.2, minutes_with=12, minutes_without=12, cv=cv),
            0.9,
            0.8,
            discipline="nonpreemptive",
        ).with_condition
        for cv in (0.0, 1.0)
    ]
    assert float(waits[0]) == pytest.approx(float(waits[1]) / 2, rel=1e-12)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"arrivals_per_hour": 5.0}, "cannot keep up"),
        ({"readers": 0}, "above 0"),
        ({"arrivals_per_hour": 0.0}, "above 0"),
        ({"prevalence": 1.0}, "between 0 and 1"),
        ({"urgent_share": 0.1}, "take time"),
    ],
)
def test_a_room_that_cannot_be_worked_out_is_refused(change, why) -> None:
    kept = {f.name: getattr(ROOM, f.name) for f in fields(ROOM)}
    with pytest.raises(ValueError, match=why):
        ReadingRoom(**{**kept, **change})


def test_a_share_outside_0_to_1_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        triage_waits(ROOM, 1.1, 0.5, discipline="preemptive")


@pytest.mark.parametrize("discipline", ["nonpreemptive", "preemptive"])
def test_the_interval_is_that_of_the_worst_and_best_corner(discipline) -> None:
    """More sensitive and more specific never saves less here, so that the extremes lie at two corners of the box."""
    se, sp = share(45, 50), share(160, 200)
    found = triage_benefit(ROOM, se, sp, discipline=discipline, level=0.95)["wait_saved"]
    corners = [
        float(triage_waits(ROOM, a, b, discipline=discipline).saved)
        for a, b in ((se.low, sp.low), (se.value, sp.value), (se.high, sp.high))
    ]
    assert (found.low, found.value, found.high) == pytest.approx(tuple(corners), rel=1e-12)
    assert (found.n, found.n_positive, found.n_negative, found.level) == (250, 50, 200, 0.95)


def test_at_100_percent_the_interval_is_open_and_nobody_was_missed() -> None:
    found = triage_benefit(ROOM, share(29, 29), share(100, 100), discipline="nonpreemptive", level=0.95)
    saved, missed = found["wait_saved"], found["wait_added_missed"]
    assert saved.low is not None
    assert saved.value is not None
    assert saved.low < saved.value == saved.high
    assert missed.value is None
    assert "no such patients" in str(missed.undefined)


def test_what_follows_from_assumptions_alone_has_no_interval() -> None:
    found = triage_benefit(ROOM, share(45, 50), share(160, 200), discipline="preemptive", level=0.95)
    for name, value in (("wait_without_device", 48.0), ("reader_load", 0.8)):
        assert found[name].value == pytest.approx(value)
        assert found[name].low is None
        assert "assumptions alone" in str(found[name].interval_undefined)


def test_an_unknown_sensitivity_leaves_a_reason_everywhere() -> None:
    unknown = Estimate.not_estimable("no reference-positive cases", n=0)
    found = triage_benefit(ROOM, unknown, share(160, 200), discipline="preemptive", level=0.95)
    assert {e.value for e in found.values()} == {None}
    assert all("sensitivity: no reference-positive cases" in str(e.undefined) for e in found.values())


@pytest.mark.parametrize("discipline", ["nonpreemptive", "preemptive"])
def test_a_long_reading_of_those_with_the_condition_can_cost_them_time(discipline) -> None:
    """Not monotone everywhere: the box is searched, not only its corners, and a negative saving is not hidden."""
    room = ReadingRoom(arrivals_per_hour=1, prevalence=0.5, minutes_with=60, minutes_without=1, cv=3.0)
    grid = np.linspace(0, 1, 21)
    saved = triage_waits(room, *np.meshgrid(grid, grid), discipline=discipline).saved
    found = triage_benefit(room, share(5, 10), share(5, 10), discipline=discipline, level=0.95)["wait_saved"]
    assert found.low is not None
    assert found.high is not None
    assert found.low >= saved.min() - 1e-9
    assert found.high <= saved.max() + 1e-9


@pytest.mark.parametrize(("se", "sp"), [(0.9, 0.8), (0.99, 0.6)])
def test_the_interval_holds_at_least_as_often_as_it_says(se: float, sp: float) -> None:
    """Exact: every outcome of 15 positives and 20 negatives, weighed by its chance."""
    true = float(triage_waits(ROOM, se, sp, discipline="nonpreemptive").saved)
    held = 0.0
    for x in range(16):
        for y in range(21):
            e = triage_benefit(ROOM, share(x, 15), share(y, 20), discipline="nonpreemptive", level=0.95)["wait_saved"]
            assert e.low is not None
            assert e.high is not None
            held += binom.pmf(x, 15, se) * binom.pmf(y, 20, sp) * (e.low <= true <= e.high)
    assert held >= 0.95
