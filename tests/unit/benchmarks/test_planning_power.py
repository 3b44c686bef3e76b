"""The table of planned and simulated power: made as a whole, each row near its plan."""

from __future__ import annotations

from benchmarks.planning_power import table


def test_power_found_is_near_the_power_planned() -> None:
    """400 studies a row: within 2 points and 4 standard errors (2 points each)."""
    rows = [line.split("|")[1:-1] for line in table(400).splitlines() if line.count("|") == 6]
    points = [float(row[-1]) for row in rows[2:]]
    assert len(points) == 11
    assert max(map(abs, points)) < 2 + 4 * 2
