"""Drift statistics against figures that others computed: R's spc, SciPy, published examples, a public stream."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp, wasserstein_distance
from sklearn.metrics import roc_auc_score

from evalsuite.stats.control_charts import (
    cusum,
    cusum_limit,
    cusum_run_length,
    cusum_with_estimated_baseline,
    ewma_limit,
    ewma_run_length,
)
from evalsuite.stats.distribution_shift import Covariate, shifts
from evalsuite.stats.mmd import mmd_test
from evalsuite.stats.unlabelled import calibrated, expected_performance, label_shift

TABLE = Path(__file__).parent / "data" / "control_charts.csv"


def _rows() -> list[dict[str, str]]:
    with TABLE.open(encoding="utf-8") as lines:
        return list(csv.DictReader(line for line in lines if not line.startswith("#")))


def test_run_lengths_are_those_of_spc() -> None:
    """R's spc 0.6.7 solves the equations by Gauss-Legendre with 100 and 80 nodes; both sides hold eight digits."""
    compared = 0
    for row in _rows():
        first, limit, shift, expected = (float(row[c]) for c in ("first", "limit", "shift", "run_length"))
        if row["chart"] in ("both", "upper"):
            found = cusum_run_length(first, limit, shift=shift, sides=row["chart"])  # type: ignore[arg-type]
        elif row["chart"] == "ewma":
            found = ewma_run_length(first, limit, shift=shift)
        else:
            continue
        assert found == pytest.approx(expected, rel=1e-7), row
        compared += 1
    assert compared == 90


def test_limits_are_those_of_spc() -> None:
    """The table prints six digits of a limit."""
    for row in _rows():
        if row["chart"].startswith("design"):
            arl, first = float(row["run_length"]), float(row["first"])
            found = cusum_limit(first, arl) if row["chart"] == "design both" else ewma_limit(first, arl)
            assert found == pytest.approx(float(row["limit"]), rel=1e-5)


def test_two_sided_charts_alarm_twice_as_often() -> None:
    """Published: k = .5, h = 4 has 335.37 one-sided and 167.68 two-sided; h = 5 has 465.44 two-sided (Hawkins 1993)."""
    assert cusum_run_length(0.5, 4.0, sides="upper") == pytest.approx(335.37, abs=0.01)
    assert cusum_run_length(0.5, 4.0) == pytest.approx(167.68, abs=0.01)
    assert cusum_run_length(0.5, 5.0) == pytest.approx(465.44, abs=0.01)


def test_an_estimated_baseline_shortens_the_run() -> None:
    """Half of the charts alarm within about 70 points with 30 baseline points, 116 with a known baseline."""
    estimated = cusum_with_estimated_baseline(reference=0.5, limit=4.0, baseline=30, charts=6000, seed=1)
    known = cusum_with_estimated_baseline(reference=0.5, limit=4.0, baseline=None, charts=6000, seed=1)
    # Simulated on both sides: the median of 6,000 run lengths has a standard error of 1.6 % (1.3 / √6000).
    assert estimated.median == pytest.approx(70, rel=0.06)
    assert known.median == pytest.approx(116, rel=0.06)
    # The simulated chance of an alarm within a year of days, and the run length that follows from a geometric tail.
    assert known.alarmed_within[2] == pytest.approx(1 - np.exp(-365 / 167.68), abs=0.02)


def test_effect_sizes_are_those_of_scipy() -> None:
    rng = np.random.default_rng(5)
    before, after = rng.normal(50, 10, 300).round(), rng.normal(53, 12, 170).round()
    words, later = rng.choice(list("abc"), 300), rng.choice(list("abcd"), 170)
    number, word = shifts(
        [
            Covariate(name="age", kind="numeric", baseline=before, window=after),
            Covariate(name="view", kind="categorical", baseline=words, window=later),
        ],
        [str(i) for i in range(300)],
        [str(i) for i in range(170)],
        shuffles=200,
        seed=3,
    )
    assert number.effects["ks"] == pytest.approx(ks_2samp(before, after).statistic, abs=1e-12)
    assert number.effects["wasserstein"] == pytest.approx(wasserstein_distance(before, after) / before.std(), abs=1e-12)
    counts = [[int((side == w).sum()) for w in "abcd"] for side in (words, later)]
    assert word.effects["jensen_shannon"] == pytest.approx(jensenshannon(*counts, base=2) ** 2, abs=1e-12)
    assert word.unseen == ("d",)


def test_reshuffled_p_values_agree_with_the_exact_ones() -> None:
    """Continuous values, no ties: SciPy's exact two-sample p-value within four standard errors of 2,000 reshuffles."""
    rng = np.random.default_rng(11)
    before, after = rng.normal(size=80), rng.normal(0.35, 1, size=60)
    (found,) = shifts(
        [Covariate(name="x", kind="numeric", baseline=before, window=after)],
        [str(i) for i in range(80)],
        [str(i) for i in range(60)],
        shuffles=2000,
        seed=2,
    )
    exact = ks_2samp(before, after, method="exact").pvalue
    error = np.sqrt(exact * (1 - exact) / found.shuffles)
    assert found.p_value == pytest.approx(exact, abs=4 * error + 1 / found.shuffles)


def test_discrepancy_of_two_pairs() -> None:
    """Gretton's unbiased estimate by hand: e^-½ on both sides, less (e^-2 + e^-4.5 + e^-½ + e^-2) / 2."""
    found = mmd_test([[0.0], [1.0]], [[2.0], [3.0]], bandwidth=1.0, permutations=9, seed=0)
    by_hand = 2 * np.exp(-0.5) - (2 * np.exp(-2.0) + np.exp(-4.5) + np.exp(-0.5)) / 2
    assert by_hand == pytest.approx(0.7689062, abs=1e-7)
    assert found.mmd2 == pytest.approx(by_hand, abs=1e-6)


def test_discrepancy_is_that_of_plain_double_precision() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(40, 6)), rng.normal(0.3, 1, size=(30, 6))
    found = mmd_test(x, y, bandwidth=2.0, permutations=19, seed=0)

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.exp(-((a[:, None] - b[None]) ** 2).sum(-1) / 8.0)

    within = [(kernel(v, v).sum() - len(v)) / (len(v) * (len(v) - 1)) for v in (x, y)]
    assert found.mmd2 == pytest.approx(sum(within) - 2 * kernel(x, y).mean(), abs=1e-6)


def test_prevalence_from_calls_alone() -> None:
    """Lipton's equation: what was mixed with (.7, .3) is found again."""
    confusion = np.array([[0.9, 0.2], [0.1, 0.8]])
    found = label_shift(confusion, confusion @ [0.7, 0.3])
    assert found.shares == pytest.approx((0.7, 0.3), abs=1e-12)
    assert found.plausible


def test_expected_performance_follows_a_public_stream(shared_golden: Path) -> None:
    """nannyml's synthetic car loans: estimated and realised AUROC and accuracy in ten windows of 5,000, five changed.

    The estimates must lie within sampling error of what really happened, and show the fall after the fifth window.
    """
    reference = pd.read_csv(shared_golden / "nannyml_carloan_reference.csv.gz")
    stream = pd.read_csv(shared_golden / "nannyml_carloan_analysis.csv.gz")
    p = calibrated(reference.y_pred_proba, reference.repaid, stream.y_pred_proba)
    estimated = []
    for start in range(0, len(stream), 5000):
        part = slice(start, start + 5000)
        found = expected_performance(p[part], stream.y_pred[part])
        real_auroc = roc_auc_score(stream.repaid[part], stream.y_pred_proba[part])
        real_accuracy = float((stream.repaid[part] == stream.y_pred[part]).mean())
        # Three standard errors of a realised AUROC near .97 and an accuracy near .93 at 5,000 cases.
        assert found["auroc"] == pytest.approx(real_auroc, abs=0.0075)
        assert found["accuracy"] == pytest.approx(real_accuracy, abs=0.0115)
        estimated.append(found["auroc"])
    assert min(estimated[:5]) > 0.97 > 0.963 > max(estimated[5:])


def test_a_published_series_alarms_soon_after_its_change_and_not_before(shared_golden: Path) -> None:
    """Specificity on 60 days before and 60 after a change, from AIM-CU (FDA's regulatory science tool for monitoring).

    Its chart is the same sum in the figure's own units: reference value and limit of 0.5 and 4 standard deviations of
    the first 60 days, written out here from its documentation.
    """
    with (shared_golden / "aimcu_spec-60-60.csv").open(encoding="utf-8") as lines:
        series = np.array([float(row["y"]) for row in csv.DictReader(lines)])
    assert series.size == 120
    mean, deviation = series[:60].mean(), series[:60].std(ddof=1)
    falls = [0.0]
    for value in series:
        falls.append(max(0.0, falls[-1] + (mean - 0.5 * deviation) - value))
    first = next(i for i, total in enumerate(falls[1:]) if total > 4.0 * deviation)
    chart = cusum((series - mean) / deviation, reference=0.5, limit=4.0)
    assert chart.lower * deviation == pytest.approx(falls[1:], abs=1e-12)
    assert chart.alarm == first == 63
    assert not (chart.upper > 4.0).any()
