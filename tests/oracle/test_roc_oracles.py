"""AUROC, its variances, partial areas and comparisons against pROC and a plain-loop Obuchowski (generators/roc.R)."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from evalsuite.stats._rank import delong_covariance, placements
from evalsuite.stats.roc import auroc, auroc_variance
from evalsuite.stats.roc_compare import paired_auroc_difference, unpaired_auroc_difference
from evalsuite.stats.roc_operating import partial_auroc_value, sensitivity_at_specificity, specificity_at_sensitivity

DATA = Path(__file__).parent / "data"


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


ROWS = _read(DATA / "two_class.csv")
COLUMNS = {
    name: np.array([float(r[name]) for r in ROWS])
    for name in ("patient", "reference", "score_a", "score_b", "probability")
}
N = len(ROWS)
SETS = {"all": slice(0, N), "first60": slice(0, 60), "last150": slice(N - 150, N), "first25": slice(0, 25)}
FIGURES = {(r["set"], r["score"], r["statistic"]): r["value"] for r in _read(DATA / "roc.csv")}
UNDER_DIAGONAL = "NA"


def _part(name: str, column: str) -> np.ndarray:
    return COLUMNS[column][SETS[name]]


def _single() -> Iterator[tuple[str, str, str]]:
    for key in FIGURES:
        if key[1] in ("score_a", "score_b") and not key[2].startswith("boot_"):
            yield key


def _computed(subset: str, score: str, statistic: str) -> float | None:
    y, s, patient = _part(subset, "reference"), _part(subset, score), _part(subset, "patient")
    words = statistic.split("_")
    if statistic == "auroc":
        return auroc(y, s).value
    if statistic in ("delong_variance", "obuchowski_variance"):
        spread = auroc_variance(y, s, cluster=patient)
        assert spread is not None
        return spread.naive if words[0] == "delong" else spread.robust
    if words[0] == "delong":
        e = auroc(y, s, level=int(words[2]) / 100)
        return e.low if words[1] == "low" else e.high
    if words[0] == "partial":
        return partial_auroc_value(
            y,
            s,
            focus=words[1],  # type: ignore[arg-type]
            range=(int(words[2]) / 100, int(words[3]) / 100),
            corrected=words[-1] == "corrected",
        )
    at = int(words[-1]) / 100
    function = sensitivity_at_specificity if words[0] == "sensitivity" else specificity_at_sensitivity
    return function(y, s, at, replicates=2).value


@pytest.mark.parametrize(("subset", "score", "statistic"), list(_single()))
def test_single_curve_matches_proc(subset: str, score: str, statistic: str) -> None:
    printed = FIGURES[subset, score, statistic]
    value = _computed(subset, score, statistic)
    if printed == UNDER_DIAGONAL:
        # pROC declines to correct an area under the diagonal; McClish's formula still holds and stays below one half.
        assert value is not None
        assert value < 0.5
        return
    assert value == pytest.approx(float(printed), abs=1e-10)


@pytest.mark.parametrize("subset", list(SETS))
def test_paired_difference_matches_proc(subset: str) -> None:
    y, a, b = (_part(subset, c) for c in ("reference", "score_a", "score_b"))
    d = paired_auroc_difference(y, a, b)

    def figure(name: str) -> float:
        return float(FIGURES[subset, "both", name])

    assert d.test.statistic == pytest.approx(figure("paired_z"), abs=1e-9)
    assert d.test.p_value == pytest.approx(figure("paired_p"), rel=1e-9)
    assert d.estimate.low == pytest.approx(figure("paired_low_95"), abs=1e-10)
    assert d.estimate.high == pytest.approx(figure("paired_high_95"), abs=1e-10)
    truth = y.astype(bool)
    covariance = delong_covariance(placements(truth, a), placements(truth, b))
    assert covariance == pytest.approx(figure("delong_covariance"), abs=1e-12)


def test_unpaired_difference_matches_proc() -> None:
    y, a, b = COLUMNS["reference"], COLUMNS["score_a"], COLUMNS["score_b"]
    d = unpaired_auroc_difference((y[:200], a[:200]), (y[200:380], b[200:380]))
    # pROC refers the same statistic to a t distribution; here it is a z, as in DeLong's paper.
    assert d.test.statistic == pytest.approx(float(FIGURES["split", "both", "unpaired_d"]), abs=1e-9)
    assert d.standard_error is not None
    assert d.standard_error**2 == pytest.approx(float(FIGURES["split", "both", "unpaired_var"]), abs=1e-12)


@pytest.mark.parametrize("at", [70, 80, 90])
def test_bootstrap_of_sensitivity_at_specificity_matches_proc(at: int) -> None:
    y, s = COLUMNS["reference"], COLUMNS["score_b"]
    e = sensitivity_at_specificity(y, s, at / 100, replicates=4000, seed=3, stratified=True)
    # 10,000 stratified replicates there, 4,000 here.
    assert e.low == pytest.approx(float(FIGURES["all", "score_b", f"boot_se_low_{at}"]), abs=0.02)
    assert e.high == pytest.approx(float(FIGURES["all", "score_b", f"boot_se_high_{at}"]), abs=0.02)


def test_obuchowski_with_one_case_per_patient_is_delong() -> None:
    y, s = COLUMNS["reference"], COLUMNS["score_a"]
    alone = auroc(y, s, cluster=np.arange(N))
    assert alone == auroc(y, s)
