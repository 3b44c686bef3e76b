"""Endpoints that ask for a bootstrap interval keep their own definition."""

from __future__ import annotations

import pytest

from evalsuite.types import Finding
from tests.unit.analyses.test_adjusted_findings import analysed, protocol


def found(endpoint: dict[str, object]) -> Finding:
    return next(f for f in analysed(protocol(endpoint)).findings if f.endpoint == endpoint["name"])


@pytest.mark.parametrize("metric", ["ppv", "npv"])
def test_a_predictive_value_keeps_its_declared_prevalence(metric: str) -> None:
    asked = {"name": "x", "metric": metric, "at": "primary", "prevalence": 0.05}
    formula = found(asked).estimate
    resampled = found({**asked, "interval": "percentile"}).estimate
    assert resampled.value == pytest.approx(formula.value, rel=1e-9)
    assert "bootstrap" in resampled.method


def test_a_partial_area_may_name_its_bootstrap_interval() -> None:
    asked = {"name": "x", "metric": "partial_auroc", "range": [0.8, 1.0], "interval": "percentile"}
    assert found(asked).estimate.low is not None
