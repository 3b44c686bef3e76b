"""Calibration figures against R: glm, MASS, sandwich, rms val.prob, loess, lowess (generators/calibration.R)."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from evalsuite.stats import calibration as c
from evalsuite.stats.calibration_error import smooth_error_value
from evalsuite.stats.calibration_intervals import profile_slope
from evalsuite.stats.smoothing import lowess
from evalsuite.types import Estimate

DATA = Path(__file__).parent / "data"
Z = 1.959963984540054


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


ROWS = _read(DATA / "two_class.csv")
N = len(ROWS)
SETS = {"all": slice(0, N), "first60": slice(0, 60), "last150": slice(N - 150, N)}
FIGURES = [(r["set"], r["statistic"], float(r["value"])) for r in _read(DATA / "calibration.csv")]


def _se(e: Estimate) -> float:
    assert e.low is not None
    assert e.high is not None
    return (e.high - e.low) / (2 * Z)


def _computed(y: np.ndarray, p: np.ndarray, patient: np.ndarray, name: str) -> float | None:
    words = name.split("_")
    if name.startswith("intercept_profile"):
        e = c.calibration_intercept(y, p, method="profile")
        return e.low if words[-1] == "low" else e.high
    if name.startswith("slope_profile"):
        e = profile_slope(y, p)
        return e.low if words[-1] == "low" else e.high
    functions = {
        "intercept": c.calibration_intercept,
        "slope_intercept": c.recalibration_intercept,
        "slope": c.calibration_slope,
        "brier": c.brier,
        "log_loss": c.log_loss,
    }
    for start, function in functions.items():
        if name == start:
            return function(y, p).value
        if name == f"{start}_se":
            return _se(function(y, p))
        if name == f"{start}_cluster_se":
            return _se(function(y, p, cluster=patient))
    if words[0] in ("ece", "mce"):
        function_of = c.ece_value if words[0] == "ece" else c.mce_value
        return function_of(y, p, int(words[2]), f"equal_{words[1]}")
    if words[0] in ("reliability", "resolution"):
        return float(getattr(c.brier_decomposition(y, p, int(words[2]), f"equal_{words[1]}"), words[0]))
    if name.startswith("debiased_l2"):
        return c.debiased_squared_error_value(y, p, int(words[3]), f"equal_{words[2]}")
    if words[0] == "loess":
        return smooth_error_value(y, p, words[1], smoother="loess")
    if name in ("val_prob_eavg", "val_prob_e90", "val_prob_emax"):
        return smooth_error_value(y, p, {"eavg": "ici", "e90": "e90", "emax": "emax"}[words[2]], smoother="lowess")
    if words[0] == "lowess":
        smooth = np.sort(p), lowess(p, y.astype(float))[np.argsort(p, kind="stable")]
        n = len(p)
        return float({"first": smooth[1][0], "mid": smooth[1][n // 2 - 1], "last": smooth[1][-1]}.get(
            words[1], smooth[1].mean()))  # fmt: skip
    if words[0] == "spiegelhalter":
        test = c.spiegelhalter(y, p)
        return test.statistic if words[1] == "z" else test.p_value
    if name.startswith("hosmer"):
        test = c.hosmer_lemeshow(y, p, fitted_on_same_data=name.endswith("p8"))
        return test.statistic if name == "hosmer_lemeshow" else test.p_value
    return {
        "scaled_brier": lambda: c.scaled_brier(y, p).value,
        "observed_expected": lambda: c.observed_expected(y, p).value,
        "val_prob_brier": lambda: c.brier_value(y, p),
        "val_prob_slope": lambda: c.calibration_slope(y, p).value,
    }[name]()


@pytest.mark.parametrize(("subset", "name", "printed"), FIGURES)
def test_calibration_figure_matches_r(subset: str, name: str, printed: float) -> None:
    part = SETS[subset]
    y, p, patient = (np.array([float(r[k]) for r in ROWS[part]]) for k in ("reference", "probability", "patient"))
    value = _computed(y, p, patient, name)
    # confint() on a glm finds its profile ends by spline interpolation: good to about 1e-4.
    tolerance = 2e-4 if "profile" in name else 1e-9
    if name.endswith("_se") or name == "val_prob_slope":
        tolerance = 1e-8  # glm takes its covariance from the last but one iterate; lrm stops earlier
    assert value == pytest.approx(printed, abs=tolerance)


def test_observed_expected_interval_by_simulation() -> None:
    """Second derivation: the delta-method SE of log(O/E) against the spread over 4,000 simulated studies."""
    rng = np.random.default_rng(4)
    logs = []
    for _ in range(4000):
        p = rng.uniform(0.05, 0.6, 300)
        logs.append(math.log((rng.random(300) < p).sum() / p.sum()))
    p = rng.uniform(0.05, 0.6, 300_000)
    e = c.observed_expected(rng.random(300_000) < p, p)
    assert e.low is not None
    assert e.high is not None
    se = math.log(e.high / e.low) / (2 * Z) * math.sqrt(1000)
    assert se == pytest.approx(float(np.std(logs)), rel=0.04)


def test_scaled_brier_interval_by_simulation() -> None:
    """Second derivation: the delta-method SE against the spread over 4,000 simulated studies."""
    rng = np.random.default_rng(5)
    values = []
    for _ in range(4000):
        p = rng.beta(1.0, 3.0, 300)
        values.append(c.scaled_brier_value(rng.random(300) < p, p))
    p = rng.beta(1.0, 3.0, 300_000)
    e = c.scaled_brier(rng.random(300_000) < p, p)
    assert _se(e) * math.sqrt(1000) == pytest.approx(float(np.std(values)), rel=0.04)


def test_smooth_ece_by_direct_integration() -> None:
    """Second derivation: the same quantity with an explicit sum of reflected Gaussians and a fine trapezoid."""
    rng = np.random.default_rng(6)
    p = rng.beta(2, 3, 200)
    y = rng.random(200) < p**1.5
    grid = np.linspace(0, 1, 4001)

    def smoothed(width: float) -> float:
        total = np.zeros(grid.size)
        for shift in range(-4, 5):
            for centre in (p, -p):
                z = (grid[:, None] - centre[None, :] - 2 * shift) / width
                total += (np.exp(-0.5 * z * z) / (width * math.sqrt(2 * math.pi))) @ (y - p) / p.size
        return float(np.trapezoid(np.abs(total), grid))

    found = c.smooth_ece_value(y, p)
    assert smoothed(found) == pytest.approx(found, abs=2e-5)


def test_debiased_ece_by_resampling() -> None:
    """Second derivation: Kumar et al.'s Monte Carlo debiasing, whose mean the closed form is."""
    rng = np.random.default_rng(7)
    p = rng.uniform(0, 1, 400)
    y = rng.random(400) < np.clip(p + 0.1, 0, 1)
    from evalsuite.stats.bins import bin_index

    index = bin_index(p, bins=10, scheme="equal_mass")
    n = np.bincount(index)
    o, m = np.bincount(index, weights=y) / n, np.bincount(index, weights=p) / n
    noisy = o + rng.normal(size=(200_000, 10)) * np.sqrt(o * (1 - o) / n)
    inflated = float((np.abs(noisy - m) * n).sum(axis=1).mean() / 400)
    plain = float((np.abs(o - m) * n).sum() / 400)
    assert c.debiased_ece_value(y, p) == pytest.approx(2 * plain - inflated, abs=2e-4)
