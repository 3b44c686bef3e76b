"""Waits of a triage device against a simulation of the reading room, event by event.

Provenance: written here from the description of the room alone (arrivals, readers, classes, interruption). It shares no
formula and no code with evalsuite.stats.queueing: it lets images arrive, be read, and counts how long they waited.
"""

from __future__ import annotations

import heapq

import numpy as np
import pytest

from evalsuite.stats.queueing import ReadingRoom, triage_waits
from evalsuite.stats.queueing_simulation import simulated_waits

N = 30_000
ILL, WELL, URGENT = 0, 1, 2


def simulate(room: ReadingRoom, se: float, sp: float, *, interrupt: bool, seed: int) -> dict[tuple[int, bool], float]:
    """Mean wait by (kind of patient, flagged). Waits are time in the room less own reading time."""
    rng = np.random.default_rng(seed)
    gaps, spread = rng.exponential(1.0, N), rng.exponential(1.0, N)
    # Means of the numbers drawn are set to what they are drawn for: half of the noise of a wait comes from there.
    arrival = np.cumsum(gaps / gaps.mean() * 60.0 / room.arrivals_per_hour)
    kind = np.where(rng.random(N) < room.urgent_share, URGENT, np.where(rng.random(N) < room.prevalence, ILL, WELL))
    mean = np.choose(kind, [room.minutes_with, room.minutes_without, room.urgent_minutes])
    minutes = mean * (spread / spread.mean() if room.cv == 1 else 1.0)
    flagged = np.where(kind == ILL, rng.random(N) < se, rng.random(N) > sp) & (kind != URGENT)
    rank = np.where(kind == URGENT, 0, np.where(flagged, 1, 2))
    done = run(arrival, minutes, rank, readers=room.readers, interrupt=interrupt)
    wait = done - arrival - minutes
    late = np.arange(N) > N // 20  # the room was empty at first
    chosen = {(k, f): late & (kind == k) & (flagged == f) for k in (ILL, WELL) for f in (False, True)}
    return {key: float(wait[mask].mean()) for key, mask in chosen.items() if mask.any()}


def run(arrival: np.ndarray, minutes: np.ndarray, rank: np.ndarray, *, readers: int, interrupt: bool) -> np.ndarray:
    """When the reading of each image ends."""
    n = arrival.size
    left, done = minutes.copy(), np.zeros(n)
    waiting: list[tuple[int, int]] = []  # (class, number), numbers in the order of arrival
    reading: dict[int, float] = {}  # number: when it began or went on
    now, coming = 0.0, 0
    while coming < n or reading:
        ending = min(((began + left[i], i) for i, began in reading.items()), default=(np.inf, -1))
        if coming < n and arrival[coming] < ending[0]:
            now = arrival[coming]
            heapq.heappush(waiting, (int(rank[coming]), coming))
            coming += 1
            lowest = max(reading, key=lambda i: (rank[i], i), default=-1)
            if interrupt and len(reading) == readers and rank[lowest] > waiting[0][0]:
                left[lowest] -= now - reading.pop(lowest)
                heapq.heappush(waiting, (int(rank[lowest]), lowest))
        else:
            now, number = ending
            done[number] = now
            del reading[number]
        while waiting and len(reading) < readers:
            reading[heapq.heappop(waiting)[1]] = now
    return done


ROOMS = {
    "M/M/1": ReadingRoom(arrivals_per_hour=3, prevalence=0.3, minutes_with=10, minutes_without=10),
    "M/G/1, two means": ReadingRoom(arrivals_per_hour=3, prevalence=0.3, minutes_with=14, minutes_without=8),
    "M/D/1": ReadingRoom(arrivals_per_hour=3, prevalence=0.3, minutes_with=10, minutes_without=10, cv=0),
    "urgent": ReadingRoom(
        arrivals_per_hour=3, prevalence=0.4, minutes_with=11, minutes_without=9, urgent_share=0.2, urgent_minutes=7
    ),
    "M/M/3": ReadingRoom(
        arrivals_per_hour=10,
        prevalence=0.3,
        minutes_with=10,
        minutes_without=10,
        readers=3,
        urgent_share=0.1,
        urgent_minutes=10,
    ),
}


def test_simulated_rooms_agree_image_by_image() -> None:
    """The compiled room gives every image the wait that this one does: same arrivals, readings and flags."""
    room = ReadingRoom(
        arrivals_per_hour=11, prevalence=0.3, minutes_with=16, minutes_without=9, readers=3, cv=0.5, urgent_share=0.1,
        urgent_minutes=6,
    )  # fmt: skip
    n = 4_000
    for discipline in ("nonpreemptive", "preemptive"):
        before, after, ill = simulated_waits(room, 0.7, 0.8, discipline=discipline, seed=4, images=n)
        rng = np.random.default_rng(4)
        arrival = np.cumsum(rng.exponential(60.0 / room.arrivals_per_hour, n))
        urgent = rng.random(n) < room.urgent_share
        positive = ~urgent & (rng.random(n) < room.prevalence)
        assert np.array_equal(positive, ill)
        mean = np.where(urgent, 6.0, np.where(positive, 16.0, 9.0))
        minutes = mean * rng.gamma(4.0, 0.25, n)
        flagged = ~urgent & np.where(positive, rng.random(n) < 0.7, rng.random(n) >= 0.8)
        for rank, waits in (
            (np.where(urgent, 0, 1), before),
            (np.where(urgent, 0, np.where(flagged, 1, 2)), after),
        ):
            seen = run(arrival, minutes, rank, readers=3, interrupt=discipline == "preemptive") - arrival - minutes
            np.testing.assert_allclose(waits, seen, atol=1e-8)


@pytest.mark.parametrize("interrupt", [False, True])
@pytest.mark.parametrize("name", ROOMS)
def test_waits_are_those_of_a_simulated_reading_room(name: str, interrupt: bool) -> None:
    """Means of so many images stray by 2 to 4 %; 10 % and a tenth of a minute leave room."""
    room, se, sp = ROOMS[name], 0.6, 0.75
    seen = simulate(room, se, sp, interrupt=interrupt, seed=16)
    w = triage_waits(room, se, sp, discipline="preemptive" if interrupt else "nonpreemptive")
    assert float(w.found) == pytest.approx(seen[ILL, True], rel=0.10, abs=0.1)
    assert float(w.missed) == pytest.approx(seen[ILL, False], rel=0.10, abs=0.1)
    ill = se * seen[ILL, True] + (1 - se) * seen[ILL, False]
    well = (1 - sp) * seen[WELL, True] + sp * seen[WELL, False]
    assert float(w.with_condition) == pytest.approx(ill, rel=0.10, abs=0.1)
    assert float(w.without_condition) == pytest.approx(well, rel=0.10, abs=0.1)
    fifo = simulate(room, 0.0, 1.0, interrupt=interrupt, seed=26)
    assert float(w.before_with_condition) == pytest.approx(fifo[ILL, False], rel=0.10, abs=0.1)
    assert float(w.before_without_condition) == pytest.approx(fifo[WELL, False], rel=0.10, abs=0.1)
