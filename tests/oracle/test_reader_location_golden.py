"""Federica Zanca's data (200 cases, 142 lesions, 4 readers, 5 modalities): every figure of RJafroc."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalsuite.stats import obuchowski_rockette as orh
from evalsuite.stats.detection import Detections
from evalsuite.stats.reader_figures import reader_figures
from evalsuite.stats.reader_location import location_figures

TOLERANCE = 1e-6  # the sidecar states it
READERS, MODALITIES = "1345", "12345"


@pytest.fixture(scope="module")
def want(shared_golden: Path) -> dict[str, Any]:
    return json.loads((shared_golden / "froc_federica.expected.json").read_text())


@pytest.fixture(scope="module")
def marked(shared_golden: Path) -> list[list[Detections]]:
    with (shared_golden / "froc_federica_cases.csv").open() as file:
        n_lesions = np.array([int(r["n_lesions"]) for r in csv.DictReader(file)])
    with (shared_golden / "froc_federica_marks.csv").open() as file:
        marks = list(csv.DictReader(file))
    first = np.cumsum(n_lesions) - n_lesions

    def one(modality: str, reader: str) -> Detections:
        own = [m for m in marks if (m["modality"], m["reader"]) == (modality, reader)]
        score = np.full(n_lesions.sum(), -np.inf)
        for m in own:
            if m["kind"] == "LL":
                score[first[int(m["case"]) - 1] + int(m["lesion"]) - 1] = float(m["rating"])
        wrong = [(int(m["case"]) - 1, float(m["rating"])) for m in own if m["kind"] != "LL"]
        return Detections(
            abnormal=n_lesions > 0,
            lesion_case=np.repeat(np.arange(n_lesions.size), n_lesions),
            lesion_score=score,
            false_case=np.array([c for c, _ in wrong]),
            false_score=np.array([r for _, r in wrong]),
        )

    return [[one(m, r) for r in READERS] for m in MODALITIES]


def _contrast(found: orh.Comparison, statistic: str, p: str, df: str | None) -> dict[str, float | None]:
    made = {
        "Estimate": found.estimate.value, "StdErr": found.standard_error, statistic: found.test.statistic,
        p: found.test.p_value, "CILower": found.estimate.low, "CIUpper": found.estimate.high,
    }  # fmt: skip
    return made if df is None else {**made, df: found.df}


@pytest.mark.parametrize(
    ("named", "area"), [("wAFROC", "wafroc"), ("AFROC", "afroc"), ("wAFROC1", "wafroc1"), ("HrAuc", "auroc")]
)
def test_every_figure_of_rjafroc(want: dict[str, Any], marked: list[list[Detections]], named: str, area: Any) -> None:
    expected = want[named]
    figures, study = location_figures(marked, "wafroc" if area == "auroc" else area)
    if area == "auroc":
        figures = reader_figures(study)
    checked = 0

    def same(ours: float | None, theirs: float) -> None:
        nonlocal checked
        assert ours == pytest.approx(theirs, abs=TOLERANCE, rel=TOLERANCE)
        checked += 1

    for t, row in enumerate(expected["foms"]):
        for r, reader in enumerate(READERS):
            same(figures.value[t, r], row[f"rdr{reader}"])
    for t, row in enumerate(expected["trtMeans"]):
        same(float(figures.value[t].mean()), row["Estimate"])
    parts = orh.variance_parts(figures)
    ours = {
        "VarR": parts.reader, "VarTR": parts.treatment_reader, "Cov1": parts.cov1, "Cov2": parts.cov2,
        "Cov3": parts.cov3, "Var": parts.error,
    }  # fmt: skip
    for row in expected["VarCom"]:
        same(ours[row["row"]], row["Estimates"])
    for block, generalise, statistic, p, df in (
        ("RRRC", "readers_and_cases", "t", "PrGTt", "DF"),
        ("FRRC", "cases", "z", "PrGTz", None),
        ("RRFC", "readers", "t", "PrGTt", "DF"),
    ):
        if block not in expected:
            continue
        overall = orh.equality_of_treatments(figures, generalise=generalise)  # type: ignore[arg-type]
        same(overall.p_value, expected[block]["FTests"][0]["p"])
        for row in expected[block]["ciDiffTrt"]:
            one, two = (int(name.removeprefix("trt")) - 1 for name in row["row"].split("-"))
            found = orh.difference(figures, study, one, two, generalise=generalise)  # type: ignore[arg-type]
            for key, value in _contrast(found, statistic, p, df).items():
                same(value, row[key])
    assert checked >= 20 + 5 + 6 + 1 + 70


@pytest.mark.parametrize("area", ["wafroc", "lroc"])
def test_a_bootstrap_of_cases_agrees_with_the_jackknife(marked: list[list[Detections]], area: Any) -> None:
    """Covariances within simulation error (4,000 resamples), and with them the test of two modalities."""
    two = marked[:2]
    jack, study = location_figures(two, area)
    boot, _ = location_figures(two, area, covariance="bootstrap", replicates=4000, seed=3)
    flat = [x.covariance.reshape(8, 8) for x in (jack, boot)]
    assert np.abs(flat[0] - flat[1]).max() < 0.15 * flat[0].max()
    assert np.array_equal(jack.value, boot.value)
    ours = [orh.difference(x, study, 0, 1) for x in (jack, boot)]
    assert ours[1].standard_error == pytest.approx(ours[0].standard_error, rel=0.1)
    again, _ = location_figures(two, area, covariance="bootstrap", replicates=4000, seed=3)
    assert np.array_equal(again.covariance, boot.covariance)


def _marks(n: int) -> Detections:
    """`n` cases, the first with a lesion that was found."""
    return Detections(
        abnormal=np.arange(n) == 0, lesion_case=np.array([0]), lesion_score=np.array([1.0]),
        false_case=np.array([], dtype=int), false_score=np.array([]),
    )  # fmt: skip


def test_readers_of_different_cases_are_refused() -> None:
    for found, said in (
        ([[_marks(3), _marks(2)]], "same cases"),
        ([[_marks(3)], []], "same readers"),
        ([], "same readers"),
        ([[_marks(3)]], "two patients each"),
    ):
        with pytest.raises(ValueError, match=said):
            location_figures(found, "wafroc")
