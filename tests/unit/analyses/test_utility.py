"""Decision curves in the evidence: the grid asked for, the formula, and intervals only where there are some."""

from __future__ import annotations

import numpy as np
import pytest

from evalsuite.stats.decision_curve import net_benefit_difference, net_benefit_value
from evalsuite.types import Curve
from tests.unit.analyses.test_comparison import evaluated, protocol, simulated, table


def curves(study, truth, first, second) -> dict[str, Curve]:
    found = [c for c in evaluated(study, truth, first, second).curves if c.kind == "net_benefit"]
    return {str(c.series): c for c in found}


def test_the_curve_follows_the_declared_thresholds_and_the_formula() -> None:
    truth, first, second = simulated()
    study = protocol({"name": "x", "metric": "brier"}, analyses={"utility": {"thresholds": [0.1, 0.5, 5]}})
    found = curves(study, truth, first, second)
    assert set(found) == {"model", "baseline", "treat all", "treat none", "difference"}
    assert found["model"].x == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    share = truth.mean()
    for i, t in enumerate(found["model"].x):
        assert found["model"].y[i] == pytest.approx(net_benefit_value(truth, first, t), abs=1e-12)
        assert found["baseline"].y[i] == pytest.approx(net_benefit_value(truth, second, t), abs=1e-12)
        assert found["treat all"].y[i] == pytest.approx(share - (1 - share) * t / (1 - t), abs=1e-12)
        assert found["difference"].y[i] == pytest.approx(found["model"].y[i] - found["baseline"].y[i], abs=1e-12)
    assert set(found["treat none"].y) == {0.0}
    model = found["model"]
    assert model.low is not None
    assert model.high is not None
    assert all(a <= y <= b for a, y, b in zip(model.low, model.y, model.high, strict=True))


def test_thresholds_nobody_reaches_have_no_interval() -> None:
    truth, first, _ = simulated()
    found = curves(protocol({"name": "x", "metric": "brier"}), truth, 0.6 * first, first)
    assert len(found["model"].x) == 99
    assert found["model"].low is None
    band = found["model band"]
    assert band.low is not None
    assert max(band.x) < 0.61 < max(found["model"].x)


def test_a_declared_prevalence_moves_every_line() -> None:
    truth, first, second = simulated()
    study = protocol(
        {"name": "x", "metric": "brier"}, analyses={"utility": {"thresholds": [0.05, 0.2, 4], "prevalence": 0.1}}
    )
    found = curves(study, truth, first, second)
    for i, t in enumerate(found["model"].x):
        assert found["model"].y[i] == pytest.approx(net_benefit_value(truth, first, t, prevalence=0.1), abs=1e-12)
        assert found["treat all"].y[i] == pytest.approx(0.1 - 0.9 * t / (1 - t), abs=1e-12)
    assert "declared" in str(found["treat all"].method)


def test_missing_outputs_are_acted_upon_wrongly() -> None:
    truth, first, second = simulated()
    lost = first.copy()
    lost[:20] = np.nan
    assert table(lost)["status"].eq("failed").sum() == 20
    study = protocol({"name": "x", "metric": "brier"}, analyses={"utility": {"thresholds": [0.1, 0.5, 5]}})
    filled = np.where(np.isnan(lost), 1.0 - truth, lost)
    found = curves(study, truth, lost, second)
    for i, t in enumerate(found["model"].x):
        assert found["model"].y[i] == pytest.approx(net_benefit_value(truth, filled, t), abs=1e-12)


def test_there_is_no_curve_without_a_probability() -> None:
    truth, first, second = simulated()
    assert curves(protocol({"name": "x", "metric": "auroc"}), truth, 5 * first, second) == {}


def test_the_difference_of_two_curves_is_paired() -> None:
    """Each threshold's band is that of `net_benefit_difference` there; two models that agree everywhere have none."""
    truth, first, second = simulated()
    study = protocol({"name": "x", "metric": "brier"}, analyses={"utility": {"thresholds": [0.2, 0.6, 3]}})
    found = curves(study, truth, first, second)["difference"]
    assert found.low is not None
    assert found.high is not None
    for i, t in enumerate(found.x):
        e = net_benefit_difference(truth, first, second, t, replicates=200, seed=7)
        assert (found.low[i], found.high[i]) == (e.low, e.high)
    same = curves(study, truth, first, first)["difference"]
    assert (set(same.y), same.low) == ({0.0}, None)
