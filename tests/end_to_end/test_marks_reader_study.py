"""A study of readers who mark lesions: RJafroc's figures of Zanca's data, from tables of marks to the report."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalsuite.stats import obuchowski_rockette as orh
from evalsuite.stats.detection import Detections
from evalsuite.stats.reader_location import location_figures

from .conftest import Study, protocol_text

TOLERANCE = 1e-6  # the sidecar of the golden figures states it
READERS = "1345"
AREAS = {"wafroc": "wAFROC", "afroc": "AFROC", "wafroc1": "wAFROC1", "auroc": "HrAuc"}
STUDY: dict[str, Any] = {
    "id": "zanca",
    "kind": "reader_study",
    "task": {
        "kind": "detection",
        "reference": "lesions",
        "score": "score",
        "matching": {"rule": "distance", "distance_mm": 5},
    },
    "operating_points": [{"name": "sure", "threshold": 4, "source": "the scale's own upper half"}],
    "readers": {"test": "one", "control": "five"},
    "missing_reference": {"primary": "exclude"},
    "strata": [],
    "disclose": [],
    "confidence": {"bootstrap": {"replicates": 1000}},
}


def _endpoints(areas: list[str]) -> list[dict[str, Any]]:
    gain = {"name": f"gain {areas[0]}", "metric": f"reader_{areas[0]}_gain", "role": "primary"}
    return [
        {**gain, "criterion": {"bound": "lower", "op": ">", "value": 0.0}},
        *({"name": f"gain {a}", "metric": f"reader_{a}_gain"} for a in areas[1:]),
        *({"name": f"with one, {a}", "metric": f"reader_{a}"} for a in areas),
    ]


def _run(folder: Path, cli: Any, *, code: tuple[int, ...] = (0, 1)) -> dict[str, Any]:
    study = Study(folder)
    done = cli("lock", study.cases, "--protocol", study.protocol, "--out", study.testset)
    assert done.code == 0, done.err
    on = ("--testset", study.testset, "--model", study.predictions, "--out", study.run)
    done = cli("predict", study.protocol, *on)
    assert done.code == 0, done.err
    done = cli("score", study.run)
    assert done.code in code, done.err
    return json.loads((study.run / "evidence.json").read_text())


def _finding(evidence: dict[str, Any], endpoint: str, **where: object) -> dict[str, Any]:
    wanted = {"stratum": {}, "rater": "device", "condition": None, "analysis": "readers", **where}
    hits = [f for f in evidence["findings"] if f["endpoint"] == endpoint and all(f[k] == v for k, v in wanted.items())]
    assert len(hits) == 1, (endpoint, where)
    return hits[0]["estimate"]


def _zanca(golden: Path, folder: Path, modalities: dict[str, str], **changes: Any) -> None:
    """Lesion k lies 100 k mm along x; a mark on it lies there, a wrong one far away."""
    with (golden / "froc_federica_cases.csv").open() as file:
        lesions = {int(r["case"]): int(r["n_lesions"]) for r in csv.DictReader(file)}
    (folder / "cases.csv").write_text(
        "case_id,patient_id,lesions\n" + "".join(f"c{c:03d},p{c:03d},lesions.csv\n" for c in lesions)
    )
    (folder / "lesions.csv").write_text(
        "case_id,x,y\n" + "".join(f"c{c:03d},{100 * k},0\n" for c, n in lesions.items() for k in range(1, n + 1))
    )
    rows, told = [], set()
    with (golden / "froc_federica_marks.csv").open() as file:
        for m in csv.DictReader(file):
            if m["modality"] not in modalities:
                continue
            x = 100 * int(m["lesion"]) if m["kind"] == "LL" else -1000
            who = f"c{int(m['case']):03d},reader {m['reader']},{modalities[m['modality']]}"
            told.add(who)
            rows.append(f"{who},{m['rating']},{x},0\n")
    nothing = (f"c{c:03d},reader {r},{t}" for c in lesions for r in READERS for t in modalities.values())
    rows += [f"{who},,,\n" for who in nothing if who not in told]
    (folder / "predictions.csv").write_text("case_id,rater,condition,score,x,y\n" + "".join(rows))
    (folder / "protocol.yaml").write_text(protocol_text(**{**STUDY, **changes}))


@pytest.fixture(scope="module")
def zanca(shared_golden: Path, tmp_path_factory: pytest.TempPathFactory, cli: Any) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("zanca")
    _zanca(shared_golden, folder, {"1": "one", "5": "five"}, endpoints=_endpoints(list(AREAS)))
    return _run(folder, cli)


def test_figures_of_rjafroc(zanca: dict[str, Any], shared_golden: Path) -> None:
    expected = json.loads((shared_golden / "froc_federica.expected.json").read_text())
    checked = 0
    for area, named in AREAS.items():
        of = {row["row"]: row for row in expected[named]["foms"]}
        mean = {row["row"]: row["Estimate"] for row in expected[named]["trtMeans"]}
        for r in READERS:
            for condition, modality in (("one", "trt1"), ("five", "trt5")):
                ours = _finding(zanca, f"with one, {area}", rater=f"reader {r}", condition=condition)
                assert ours["value"] == pytest.approx(of[modality][f"rdr{r}"], abs=TOLERANCE)
                checked += 1
        gain = _finding(zanca, f"gain {area}")
        assert gain["value"] == pytest.approx(mean["trt1"] - mean["trt5"], abs=TOLERANCE)
        whole = _finding(zanca, f"with one, {area}")
        assert whole["value"] == pytest.approx(mean["trt1"], abs=TOLERANCE)
        for row in expected[named]["RRRC"]["ciAvgRdrEachTrt"]:
            if row["row"] == "trt1":
                assert whole["low"] == pytest.approx(row["CILower"], abs=TOLERANCE)
                assert whole["high"] == pytest.approx(row["CIUpper"], abs=TOLERANCE)
                checked += 1
    assert checked == 4 * (8 + 1)


def test_the_curves_of_the_readers_have_the_areas_that_are_printed(zanca: dict[str, Any]) -> None:
    for area in AREAS:
        for condition in ("one", "five"):
            (line,) = (c for c in zanca["curves"] if c["metric"] == area and c["series"] == condition)
            each = [_finding(zanca, f"with one, {area}", rater=f"reader {r}", condition=condition) for r in READERS]
            drawn = np.trapezoid(line["y"], line["x"])
            assert drawn == pytest.approx(np.mean([e["value"] for e in each]), abs=0.006), area


N = 24


def _small(seed: int = 2) -> tuple[np.ndarray, dict[tuple[str, str], dict[int, list[tuple[float, float]]]]]:
    """Cases with a lesion at x = 0, and marks `(x, score)` of two readers and the device, by reading and case."""
    rng = np.random.default_rng(seed)
    abnormal = np.arange(N) % 2 == 0
    made: dict[tuple[str, str], dict[int, list[tuple[float, float]]]] = {}
    for who, better in ((("ann", "aided"), 1.0), (("ann", ""), 0.0), (("bob", "aided"), 0.8), (("bob", ""), 0.2),
                        (("device", ""), 0.5)):  # fmt: skip
        of_case: dict[int, list[tuple[float, float]]] = {}
        for i in range(N):
            marks = [(0.0, round(float(rng.normal(1 + better, 1)), 3))] if abnormal[i] and rng.random() < 0.8 else []
            if rng.random() < 0.4:
                marks.append((50.0, round(float(rng.normal(0, 1)), 3)))
            of_case[i] = marks
        made[who] = of_case
    return abnormal, made


def _write_small(folder: Path, *, left_out: tuple[str, str, int] | None = None, **changes: Any) -> None:
    abnormal, made = _small()
    (folder / "cases.csv").write_text(
        "case_id,patient_id,lesions\n" + "".join(f"c{i:02d},p{i:02d},lesions.csv\n" for i in range(N))
    )
    (folder / "lesions.csv").write_text("case_id,x,y\n" + "".join(f"c{i:02d},0,0\n" for i in range(N) if abnormal[i]))
    rows = []
    for (reader, condition), of_case in made.items():
        named = condition or ("unaided" if reader != "device" else "")
        for i, marks in of_case.items():
            if (reader, named, i) == left_out:
                continue
            rows += [f"c{i:02d},{reader},{named},{s},{x},0\n" for x, s in marks] or [f"c{i:02d},{reader},{named},,,\n"]
    (folder / "predictions.csv").write_text("case_id,rater,condition,score,x,y\n" + "".join(rows))
    endpoints = [
        {"name": "gain", "metric": "reader_wafroc_gain", "role": "primary",
         "criterion": {"bound": "lower", "op": ">", "value": 0.0}},
        {"name": "first choice", "metric": "reader_lroc_gain"},
        {"name": "device", "metric": "standalone_wafroc_gain"},
        {"name": "calls", "metric": "reader_sensitivity", "at": "sure"},
        {"name": "agree", "metric": "reader_agreement_kappa", "at": "sure"},
    ]  # fmt: skip
    study = {
        **STUDY, "endpoints": endpoints, "readers": {"test": "aided", "control": "unaided", "covariance": "bootstrap"},
        "operating_points": [{"name": "sure", "threshold": 0.5, "source": "the scale's own middle"}],
    }  # fmt: skip
    (folder / "protocol.yaml").write_text(protocol_text(**{**study, **changes}))


def _found(who: tuple[str, str], lost: dict[int, str] | None = None) -> Detections:
    """One reader's findings, made apart; cases of `lost` count "against" or "for" the reader."""
    abnormal, made = _small()
    lesions, false = [], []
    for i, marks in made[who].items():
        fate = (lost or {}).get(i)
        if fate is not None:
            marks = [(0.0, np.inf)] if fate == "for" and abnormal[i] else []
            marks += [(50.0, np.inf)] if fate == "against" and not abnormal[i] else []
        if abnormal[i]:
            lesions.append((i, max([s for x, s in marks if x == 0.0], default=-np.inf)))
        false += [(i, s) for x, s in marks if x == 50.0]
    return Detections(
        abnormal=abnormal,
        lesion_case=np.array([i for i, _ in lesions]), lesion_score=np.array([s for _, s in lesions]),
        false_case=np.array([i for i, _ in false], dtype=int), false_score=np.array([s for _, s in false]),
    )  # fmt: skip


def test_bootstrap_covariances_and_a_reading_that_lacks(tmp_path: Path, cli: Any) -> None:
    """The run draws with the protocol's seed and replicates; the missing reading counts against the device."""
    _write_small(tmp_path, left_out=("bob", "aided", 3))
    evidence = _run(tmp_path, cli)
    for endpoint, area in (("gain", "wafroc"), ("first choice", "lroc")):
        rows = [[_found(("ann", "aided")), _found(("bob", "aided"), {3: "against"})],
                [_found(("ann", "")), _found(("bob", ""))]]  # fmt: skip
        figures, made = location_figures(rows, area, covariance="bootstrap", replicates=1000, seed=11)  # type: ignore[arg-type]
        expected = orh.difference(figures, made, 0, 1).estimate
        ours = _finding(evidence, endpoint)
        assert (ours["value"], ours["low"], ours["high"]) == pytest.approx(
            (expected.value, expected.low, expected.high)
        )
        assert "bootstrap, B=1000" in ours["method"]
        best = _finding(evidence, endpoint, analysis="missing_data", condition="missing_outputs=best_case")
        excluded = _finding(evidence, endpoint, analysis="missing_data", condition="missing_outputs=exclude")
        assert best["value"] >= ours["value"]
        kept = np.arange(N) != 3
        few, made = location_figures([[one.of_cases(kept) for one in row] for row in rows], area)  # type: ignore[arg-type]
        assert excluded["value"] == pytest.approx(float(few.value[0].mean() - few.value[1].mean()))
    alone = [[_found(("ann", "")), _found(("bob", "")), _found(("device", ""))]]
    figures, made = location_figures(alone, "wafroc", covariance="bootstrap", replicates=1000, seed=11)
    assert _finding(evidence, "device")["value"] == pytest.approx(
        orh.against_standalone(figures, made, 2).estimate.value
    )
    assert any("1 of 96 readings are missing" in n for n in evidence["notes"])
    assert _finding(evidence, "agree")["value"] is not None


def test_what_marks_do_not_have_is_said_before_the_run(tmp_path: Path, cli: Any) -> None:
    _write_small(
        tmp_path,
        readers={"test": "aided", "control": "unaided", "covariance": "delong", "design": "as_read"},
        endpoints=[
            {"name": "gain", "metric": "reader_wafroc_gain", "role": "primary",
             "criterion": {"bound": "lower", "op": ">", "value": 0.0}},
            {"name": "agree", "metric": "reader_agreement_alpha"},
        ],
    )  # fmt: skip
    done = cli("inspect", tmp_path / "protocol.yaml")
    assert done.code == 2
    for said in ("jackknife or bootstrap", "use crossed", "reader_agreement_kappa"):
        assert said in " ".join(done.err.split())
    _write_small(tmp_path, task={"kind": "binary", "reference": "lesions", "score": "score", "probability": False})
    done = cli("inspect", tmp_path / "protocol.yaml")
    assert done.code == 2
    assert "of marks, not of ratings" in " ".join(done.err.split())


def _timed(folder: Path, seconds: np.ndarray) -> Study:
    """The small study with the times `(reader, treatment, case)` in every row of a reading; one is not known."""
    _write_small(
        folder,
        readers={"test": "aided", "control": "unaided", "seconds": "t"},
        endpoints=[
            {"name": "gain", "metric": "reader_wafroc_gain", "role": "primary",
             "criterion": {"bound": "lower", "op": ">", "value": 0.0}},
            {"name": "time", "metric": "reader_seconds"},
            {"name": "saved", "metric": "reader_seconds_gain"},
        ],
    )  # fmt: skip
    study = Study(folder)
    head, *rows = study.predictions.read_text().splitlines()
    table = [f"{head},t"]
    for row in rows:
        case, reader, condition, *_ = row.split(",")
        known = reader != "device"
        which = (["ann", "bob"].index(reader), int(condition != "aided"), int(case[1:])) if known else None
        table.append(f"{row},{seconds[which] if which and not np.isnan(seconds[which]) else ''}")
    study.predictions.write_text("\n".join(table) + "\n")
    return study


def test_times_of_readings_of_marks(tmp_path: Path, cli: Any) -> None:
    seconds = np.random.default_rng(4).uniform(20, 90, (2, 2, N)).round(1)
    seconds[:, 0] -= 8
    seconds[1, 0, 5] = np.nan
    _timed(tmp_path, seconds)
    evidence = _run(tmp_path, cli)
    means = np.nanmean(seconds, axis=2)
    assert _finding(evidence, "time")["value"] == pytest.approx(means[:, 0].mean())
    saved = _finding(evidence, "saved")
    assert saved["value"] == pytest.approx((means[:, 0] - means[:, 1]).mean())
    assert saved["low"] < saved["value"] < saved["high"]
    assert _finding(evidence, "time", rater="bob", condition="unaided")["value"] == pytest.approx(means[1, 1])
    assert any("1 of 96 readings have no known time" in n for n in evidence["notes"])


def test_a_reading_with_two_times_is_refused(tmp_path: Path, cli: Any) -> None:
    study = _timed(tmp_path, np.full((2, 2, N), 30.0))
    assert cli("lock", study.cases, "--protocol", study.protocol, "--out", study.testset).code == 0
    on = ("--testset", study.testset, "--model", study.predictions, "--out", study.run)
    text = study.predictions.read_text()
    first = next(row for row in text.splitlines() if ",ann," in row)
    study.predictions.write_text(f"{text}{first.rsplit(',', 1)[0]},31.5\n")
    done = cli("predict", study.protocol, *on)
    assert done.code == 2
    assert "several values of t" in " ".join(done.err.split())
    study.predictions.write_text("\n".join(row.rsplit(",", 1)[0] for row in text.splitlines()) + "\n")
    done = cli("predict", study.protocol, *on[:-1], tmp_path / "second")
    assert done.code == 2
    assert "the column t is absent" in " ".join(done.err.split())


def test_marks_of_the_device_under_a_condition_are_refused(tmp_path: Path, cli: Any) -> None:
    _write_small(tmp_path)
    study = Study(tmp_path)
    rows = study.predictions.read_text().replace("device,,", "device,aided,")
    study.predictions.write_text(rows)
    assert cli("lock", study.cases, "--protocol", study.protocol, "--out", study.testset).code == 0
    on = ("--testset", study.testset, "--model", study.predictions, "--out", study.run)
    done = cli("predict", study.protocol, *on)
    assert done.code == 2
    assert "under a condition" in done.err
