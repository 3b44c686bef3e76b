"""Lesion detection against figures of others: RJafroc's curves, picai_eval's matching, scikit-learn's rankings."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalsuite.stats import detection, matching
from evalsuite.stats._resampled import replicated
from evalsuite.stats.detection import Detections
from evalsuite.stats.draw import PatientDraw
from evalsuite.stats.roc import auroc


def value(found: Detections, asked: detection.DetectionFigures) -> float:
    draw = PatientDraw(np.arange(found.n), 1, 1)
    return float(replicated(draw, asked.material, asked.statistics, with_jackknife=False).point[0, 0])


def test_areas_under_localisation_curves_of_every_reader_and_modality_are_those_of_rjafroc(shared_golden: Path) -> None:
    # Federica Zanca's data: 200 cases, 142 lesions, 4 readers, 5 modalities; RJafroc St(method="OR").
    want = json.loads((shared_golden / "froc_federica.expected.json").read_text())
    with (shared_golden / "froc_federica_cases.csv").open() as file:
        n_lesions = np.array([int(r["n_lesions"]) for r in csv.DictReader(file)])
    with (shared_golden / "froc_federica_marks.csv").open() as file:
        marks = list(csv.DictReader(file))
    first = np.cumsum(n_lesions) - n_lesions
    n, draw = n_lesions.size, PatientDraw(np.arange(n_lesions.size), 1, 1)
    checked = 0
    for modality in "12345":
        for reader in "1345":
            lesion_score, false = np.full(n_lesions.sum(), -np.inf), []
            for m in marks:
                if (m["modality"], m["reader"]) != (modality, reader):
                    continue
                case, rating = int(m["case"]) - 1, float(m["rating"])
                if m["kind"] == "LL":
                    lesion_score[first[case] + int(m["lesion"]) - 1] = rating
                else:
                    false.append((case, rating))
            found = Detections(
                abnormal=n_lesions > 0,
                lesion_case=np.repeat(np.arange(n), n_lesions),
                lesion_score=lesion_score,
                false_case=np.array([c for c, _ in false]),
                false_score=np.array([r for _, r in false]),
            )
            highest = np.maximum(found.highest(), 0.0)  # ratings start at 1
            ours = {
                "wAFROC": value(found, detection.localisation_area(draw, found, "wafroc")),
                "AFROC": value(found, detection.localisation_area(draw, found, "afroc")),
                "wAFROC1": value(found, detection.localisation_area(draw, found, "wafroc1")),
                "HrAuc": auroc(found.abnormal, highest).value,
            }
            for figure, figures in ours.items():
                row = next(r for r in want[figure]["foms"] if r["row"] == f"trt{modality}")
                assert figures == pytest.approx(row[f"rdr{reader}"], abs=1e-6), (figure, modality, reader)
                checked += 1
    assert checked == 80


def _picai(shared_golden: Path, least: float, measure: matching.Overlap) -> dict[str, Any]:
    """Every case of picai_eval's sample, matched: lesion results, and the figures of the whole."""
    maps = np.load(shared_golden / "picai_maps.npz")
    rows: dict[str, list[list[float]]] = {}
    lesion_case, lesion_score, false_case, false_score, abnormal = [], [], [], [], []
    for i in range(10):
        lesions, n_lesions = matching.components(maps[f"lab_case-{i}"] > 0)
        marks, n_marks = matching.components(maps[f"det_case-{i}"] > 0)
        score = np.array([maps[f"det_case-{i}"][marks == k + 1].max() for k in range(n_marks)])
        pairs = matching.pairs_by_overlap(lesions, marks, least=least, measure=measure)
        m = matching.match(pairs, score, n_lesions, assignment="best_total", extra="ignored")
        of_case = [
            [1.0, float(score[k]) if k >= 0 else 0.0, float(c) if k >= 0 else 0.0]
            for k, c in zip(m.mark_of, m.closeness, strict=True)
        ]
        rows[f"case-{i}"] = of_case + [[0.0, float(s), 0.0] for s in score[m.false]]
        abnormal.append(n_lesions > 0)
        lesion_case += [i] * n_lesions
        lesion_score += [float(score[k]) if k >= 0 else -np.inf for k in m.mark_of]
        false_case += [i] * int(m.false.sum())
        false_score += score[m.false].tolist()
    found = Detections(
        abnormal=np.array(abnormal),
        lesion_case=np.array(lesion_case),
        lesion_score=np.array(lesion_score),
        false_case=np.array(false_case, dtype=np.int64),
        false_score=np.array(false_score, dtype=np.float64),
    )
    draw = PatientDraw(np.arange(found.n), 1, 1)
    return {
        "rows": rows,
        "found": found,
        "AP": value(found, detection.lesion_average_precision(draw, found)),
        "TP": int((found.lesion_score > -np.inf).sum()),
        "FP": found.false_score.size,
    }


def test_matching_and_average_precision_are_those_of_picai_eval(shared_golden: Path) -> None:
    want = json.loads((shared_golden / "picai_maps.expected.json").read_text())
    ours = _picai(shared_golden, 0.1, "iou")
    found: Detections = ours["found"]
    assert ours["AP"] == pytest.approx(want["AP"], abs=1e-9)
    assert (ours["TP"], ours["FP"], found.lesion_case.size) == (want["TP"], want["FP"], want["n_lesions"])
    for case, rows in want["lesion_results"].items():
        # picai_eval adds 1e-8 to its overlaps.
        assert sorted(ours["rows"][case]) == [pytest.approx(row, abs=1e-7) for row in sorted(rows)], case
    # case_pred is the highest value of the map, whether or not its mark was counted.
    maps = np.load(shared_golden / "picai_maps.npz")
    highest = np.array([maps[f"det_case-{i}"].max() for i in range(10)])
    assert highest.tolist() == list(want["case_pred"].values())
    assert found.abnormal.astype(int).tolist() == list(want["case_target"].values())
    area = auroc(found.abnormal, highest).value
    assert area == pytest.approx(want["auroc"], abs=1e-9)
    assert area is not None
    assert (ours["AP"] + area) / 2 == pytest.approx(want["score"], abs=1e-9)
    # Its curve leaves out the origin, and ends with the lesions that no threshold finds, at infinitely many marks.
    curve = detection.froc_curve(found)
    assert [*curve.sensitivity[1:], curve.sensitivity[-1]] == pytest.approx(want["lesion_TPR"], abs=1e-9)
    assert [*curve.false_per_case[1:], np.inf] == pytest.approx(want["lesion_FPR"], abs=1e-7)


@pytest.mark.parametrize(("name", "least", "measure"), [("DSC_min0.5", 0.5, "dice"), ("IoU_min0.4", 0.4, "iou")])
def test_other_rules_of_overlap_are_those_of_picai_eval(
    shared_golden: Path, name: str, least: float, measure: matching.Overlap
) -> None:
    want = json.loads((shared_golden / "picai_maps.expected.json").read_text())[name]
    ours = _picai(shared_golden, least, measure)
    assert {k: ours[k] for k in want} == pytest.approx(want, abs=1e-9)


def test_curve_and_average_precision_are_those_of_scikit_learn() -> None:
    # scikit-learn: roc_curve counts false positives at every threshold, average_precision_score is that of all marks as
    # items, times the share of lesions that have a mark.
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(3)
    found = Detections(
        abnormal=np.arange(40) < 25,
        lesion_case=np.sort(rng.integers(0, 25, 60)),
        lesion_score=np.where(rng.random(60) < 0.8, rng.integers(3, 12, 60) / 10, -np.inf),
        false_case=rng.integers(0, 40, 90),
        false_score=rng.integers(0, 9, 90) / 10,
    )
    hit = found.lesion_score[found.lesion_score > -np.inf]
    truth = np.repeat([1, 0], [hit.size, 90])
    score = np.concatenate([hit, found.false_score])
    fpr, tpr, threshold = metrics.roc_curve(truth, score, drop_intermediate=False)
    curve = detection.froc_curve(found)
    np.testing.assert_allclose(curve.false_per_case, fpr * 90 / 40)
    np.testing.assert_allclose(curve.sensitivity, tpr * hit.size / 60)
    np.testing.assert_array_equal(curve.threshold, threshold)
    draw = PatientDraw(np.arange(40), 1, 1)
    theirs = metrics.average_precision_score(truth, score) * hit.size / 60
    assert value(found, detection.lesion_average_precision(draw, found)) == pytest.approx(theirs)
    # Sensitivity at a rate, as LUNA16's script reads it from the same curve: numpy.interp.
    for rate in (0.1, 0.33, 0.9, 1.7, 5.0):
        theirs = np.interp(rate, curve.false_per_case, curve.sensitivity)
        assert value(found, detection.sensitivity_at(draw, found, rate)) == pytest.approx(theirs)
    theirs = np.interp(detection.CPM_RATES, curve.false_per_case, curve.sensitivity).mean()
    assert value(found, detection.cpm(draw, found)) == pytest.approx(theirs)
