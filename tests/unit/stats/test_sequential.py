"""Alarms and limits that hold at every look."""

from __future__ import annotations

import numpy as np
import pytest

from evalsuite.stats.sequential import confidence_sequence, e_detector


def _calls(rng: np.random.Generator, share: float, n: int) -> np.ndarray:
    return (rng.random(n) < share).astype(float)


def test_no_more_false_alarms_than_planned() -> None:
    """At the limit itself, looked at after every patient: at most 5 % of years, less three Monte Carlo errors."""
    rng = np.random.default_rng(1)
    ones = np.ones(600)
    alarms = [
        e_detector(_calls(rng, 0.8, 600), ones, limit=0.8, planned=600, false_alarm=0.05).alarm is not None
        for _ in range(300)
    ]
    assert np.mean(alarms) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)


def test_a_loss_is_found_as_fast_after_stable_months() -> None:
    """Median delay from .90 to .65 with a limit at .80: after 0 and after 800 stable patients, within a quarter."""
    rng = np.random.default_rng(2)
    delays = {}
    for stable in (0, 800):
        found = []
        for _ in range(60):
            x = np.concatenate([_calls(rng, 0.9, stable), _calls(rng, 0.65, 500)])
            alarm = e_detector(x, np.ones(x.size), limit=0.8, planned=1300, false_alarm=0.05).alarm
            assert alarm is not None
            found.append(alarm - stable)
        delays[stable] = float(np.median(found))
    assert delays[800] == pytest.approx(delays[0], rel=0.25)


def test_limits_hold_at_every_look() -> None:
    rng = np.random.default_rng(3)
    missed = 0
    for _ in range(200):
        found = confidence_sequence(_calls(rng, 0.85, 150), np.ones(150))
        missed += found.low is None or not found.low <= 0.85 <= (found.high or 0.0)
    # At most 5 % in truth; three Monte Carlo errors of 200 sequences are 4.6 points.
    assert missed / 200 <= 0.096


def test_all_correct_is_no_certainty() -> None:
    found = confidence_sequence(np.ones(29), np.ones(29))
    assert found.value == 1.0
    assert found.high == 1.0
    assert found.low is not None
    assert 0.6 < found.low < 0.9


def test_more_patients_more_certainty_and_a_plan_helps() -> None:
    few = confidence_sequence([1.0, 1.0, 0.0] * 20, np.ones(60))
    many = confidence_sequence([1.0, 1.0, 0.0] * 100, np.ones(300))
    planned = confidence_sequence([1.0, 1.0, 0.0] * 100, np.ones(300), planned=300)
    widths = [(e.high or 0) - (e.low or 0) for e in (few, many, planned)]
    assert widths[0] > widths[1] > widths[2]


def test_weights_of_one_change_nothing_and_patients_count_once() -> None:
    x, n = np.array([1.0, 2.0, 0.0, 1.0] * 10), np.array([1.0, 2.0, 1.0, 2.0] * 10)
    plain = confidence_sequence(x, n)
    same = confidence_sequence(x, n, weights=np.ones(40), most_weight=1.0)
    assert (plain.low, plain.high, plain.value) == (same.low, same.high, same.value)
    assert plain.value == pytest.approx((1 + 1 + 0 + 0.5) / 4)
    assert plain.n_patients == 40
    assert plain.n == 60


def test_every_case_may_count_the_same() -> None:
    x, n = np.array([1.0, 2.0, 0.0, 1.0] * 10), np.array([1.0, 2.0, 1.0, 2.0] * 10)
    found = confidence_sequence(x, n, weights=n, most_weight=2.0)
    assert found.value == pytest.approx(4 / 6)


def test_nothing_is_not_zero() -> None:
    found = confidence_sequence([], [])
    assert found.value is None
    assert found.undefined == "no labelled cases"
    assert e_detector([0.0], [0.0], limit=0.8, planned=10, false_alarm=0.05).alarm is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"limit": 1.0}, "action limit"),
        ({"planned": 1}, "were planned"),
        ({"false_alarm": 0.0}, "false alarm"),
        ({"weights": [1.0, 3.0], "most_weight": 2.0}, "above the largest"),
        ({"weights": [1.0, 1.0]}, "fixed before"),
        ({"successes": [2.0, 0.0]}, "as many as cases"),
    ],
)
def test_what_cannot_be_right_is_refused(change: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {
        "successes": [1.0, 0.0],
        "cases": [1.0, 1.0],
        "limit": 0.8,
        "planned": 10,
        "false_alarm": 0.05,
    }
    arguments |= change
    with pytest.raises(ValueError, match=message):
        e_detector(arguments.pop("successes"), arguments.pop("cases"), **arguments)  # type: ignore[arg-type]
