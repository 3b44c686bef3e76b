"""A reader study from the case table to the report: readings of several readers, with and without the device."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from evalsuite.stats import obuchowski_rockette as orh
from evalsuite.stats import reader_ustatistics as ustat
from evalsuite.stats.reader_figures import reader_figures, readings

from .conftest import Study, protocol_text

N, READERS = 80, ("anna", "ben", "carl", "dora")
STUDY = {
    "id": "reader-study",
    "kind": "reader_study",
    "task": {"kind": "binary", "reference": "truth", "score": "suspicion", "probability": False},
    "operating_points": [{"name": "recall", "threshold": 50, "source": "the scale's own middle"}],
    "readers": {"test": "aided", "control": "unaided"},
    "missing_reference": {"primary": "exclude"},
    "endpoints": [
        {
            "name": "gain",
            "metric": "reader_auroc_gain",
            "role": "primary",
            "criterion": {"bound": "lower", "op": ">", "value": 0.0},
        },
        {"name": "aided readers", "metric": "reader_auroc"},
        {"name": "calls", "metric": "reader_sensitivity_gain", "at": "recall"},
        {"name": "device alone", "metric": "standalone_auroc_gain"},
    ],
    "strata": ["sex"],
    "disclose": ["sex"],
}


def readings_of(seed: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Truth (n,) and suspicion (2, readers, n), aided first: aid adds to what the readers see themselves."""
    rng = np.random.default_rng(seed)
    truth = np.arange(N) % 2 == 0
    case = rng.normal(0, 12, N)
    seen = 50 + np.where(truth, 10, -10) + case + rng.normal(0, 14, (2, len(READERS), N))
    seen[0] += np.where(truth, 9, -9)
    return truth, np.clip(np.round(seen), 0, 100)


def write(folder: Path, rows: list[str], **changes: object) -> Study:
    truth, _ = readings_of()
    (folder / "cases.csv").write_text(
        "case_id,patient_id,truth,sex\n"
        + "".join(f"c{i:03d},p{i:03d},{int(truth[i])},{'f' if i % 4 < 2 else 'm'}\n" for i in range(N))
    )
    (folder / "predictions.csv").write_text("case_id,rater,condition,suspicion\n" + "".join(rows))
    (folder / "protocol.yaml").write_text(protocol_text(**{**STUDY, **changes}))
    return Study(folder)


def all_rows(left_out: frozenset[tuple[str, str, int]] = frozenset(), device: bool = True) -> list[str]:
    truth, suspicion = readings_of()
    rows = [
        f"c{i:03d},{name},{condition},{suspicion[t, r, i]:g}\n"
        for t, condition in enumerate(("aided", "unaided"))
        for r, name in enumerate(READERS)
        for i in range(N)
        if (name, condition, i) not in left_out
    ]
    if device:
        rng = np.random.default_rng(9)
        rows += [f"c{i:03d},device,,{50 + 25 * (truth[i] - 0.5) + rng.normal(0, 12):.3f}\n" for i in range(N)]
    return rows


def run(study: Study, cli) -> tuple[int, dict]:
    assert cli("lock", study.cases, "--protocol", study.protocol, "--out", study.testset).code == 0
    frozen = ("--testset", study.testset, "--model", study.predictions)
    done = cli("freeze", study.protocol, *frozen, "--out", study.frozen)
    assert done.code == 0, done.err
    done = cli("run", study.frozen, *frozen, "--out", study.run)
    assert done.code in (0, 1), done.err
    return done.code, json.loads((study.run / "evidence.json").read_text())


def finding(evidence: dict, endpoint: str, **where: object) -> dict:
    wanted = {"stratum": {}, "rater": "device", "condition": None, "analysis": "readers", **where}
    hits = [f for f in evidence["findings"] if f["endpoint"] == endpoint and all(f[k] == v for k, v in wanted.items())]
    assert len(hits) == 1
    return hits[0]["estimate"]


def test_readers_gain_with_the_device_is_judged_and_printed(tmp_path, cli):
    study = write(tmp_path, all_rows())
    code, evidence = run(study, cli)
    truth, suspicion = readings_of()
    made = readings(truth, suspicion)
    figures = reader_figures(made)
    expected = orh.difference(figures, made, 0, 1)
    ours = finding(evidence, "gain")
    assert (ours["value"], ours["low"], ours["high"]) == pytest.approx(
        (expected.estimate.value, expected.estimate.low, expected.estimate.high)
    )
    assert code == (0 if expected.estimate.low > 0 else 1)
    test = next(t for t in evidence["tests"] if t["endpoint"] == "gain")
    assert test["p_value"] == pytest.approx(expected.test.p_value)
    for r, name in enumerate(READERS):
        assert finding(evidence, "aided readers", rater=name, condition="aided")["value"] == figures.value[0, r]
        assert finding(evidence, "aided readers", rater=name, condition="unaided")["value"] == figures.value[1, r]
    half = np.arange(N) % 4 < 2
    part = readings(truth[half], suspicion[:, :, half])
    assert finding(evidence, "gain", stratum={"sex": "f"})["value"] == pytest.approx(
        orh.difference(reader_figures(part), part, 0, 1).estimate.value
    )
    calls = readings(truth, (suspicion >= 50).astype(float))
    assert finding(evidence, "calls")["low"] == pytest.approx(
        orh.difference(reader_figures(calls, figure="sensitivity"), calls, 0, 1).estimate.low
    )
    assert finding(evidence, "device alone")["value"] is not None
    page = (study.run / "report.html").read_text()
    for words in ("Reader study", "anna", "Obuchowski-Rockette", "All readers together"):
        assert words in page
    assert cli("verify", study.run).code == 0


def test_readings_that_lack_count_against_the_device(tmp_path, cli):
    """Three aided readings are missing: each counts at its worst, and every other assumption stands beside it."""
    truth, suspicion = readings_of()
    lost = frozenset({("anna", "aided", 0), ("ben", "aided", 1), ("ben", "unaided", 2)})
    study = write(tmp_path, all_rows(lost, device=False))
    _, evidence = run(study, cli)
    worst = suspicion.copy()
    worst[0, 0, 0], worst[0, 1, 1], worst[1, 1, 2] = -np.inf, np.inf, np.inf  # 0 and 2 positive, 1 negative
    made = readings(truth, worst)
    assert finding(evidence, "gain")["value"] == pytest.approx(
        orh.difference(reader_figures(made), made, 0, 1).estimate.value
    )
    without = suspicion.copy()
    without[0, 0, 0] = without[0, 1, 1] = without[1, 1, 2] = np.nan
    made = readings(truth, without)
    left_out = finding(evidence, "gain", analysis="missing_data", condition="missing_outputs=exclude")
    assert left_out["value"] == pytest.approx(orh.difference(reader_figures(made), made, 0, 1).estimate.value)
    assert finding(evidence, "device alone")["undefined"] == "the device was not run alone"
    assert any("3 of 640 readings are missing" in n for n in evidence["notes"])


def test_u_statistics_of_a_split_plot_design(tmp_path, cli):
    truth, suspicion = readings_of()
    left_out = frozenset(
        (name, condition, i)
        for r, name in enumerate(READERS)
        for condition in ("aided", "unaided")
        for i in range(N)
        if (r < 2) != (i < N // 2)
    )
    changes = {
        "readers": {"test": "aided", "control": "unaided", "method": "u_statistics", "design": "as_read"},
        "endpoints": STUDY["endpoints"][:2],
    }
    study = write(tmp_path, all_rows(left_out, device=False), **changes)
    _, evidence = run(study, cli)
    split = suspicion.copy()
    split[:, :2, N // 2 :] = split[:, 2:, : N // 2] = np.nan
    expected, _ = ustat.auroc_difference(readings(truth, split), 0, 1)
    ours = finding(evidence, "gain")
    assert (ours["value"], ours["low"]) == pytest.approx((expected.value, expected.low))
    assert not [f for f in evidence["findings"] if f["analysis"] == "missing_data"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"readers": None}, "says which readings it evaluates"),
        ({"missing_reference": {"primary": "worst_case"}}, "truth is unknown"),
        ({"kind": "standalone"}, "belongs to a reader study"),
        ({"readers": {"test": "aided"}}, "a gain needs a control"),
        (
            {"readers": {"test": "aided", "control": "unaided", "method": "u_statistics"}},
            "u_statistics is of the AUROC",
        ),
        ({"endpoints": [{**STUDY["endpoints"][0], "metric": "auroc"}]}, "is not of a reader study"),
        ({"endpoints": [{**STUDY["endpoints"][0], "metric": "reader_seconds"}]}, "a reading time needs its column"),
    ],
)
def test_what_is_no_reader_study_is_refused(tmp_path, cli, changes, said):
    study = write(tmp_path, all_rows(device=False), **changes)
    done = cli("inspect", study.protocol)
    assert done.code == 2
    assert said in " ".join(done.err.split())


def test_readings_that_do_not_fit_are_refused_with_what_there_is(tmp_path, cli):
    rows = [r.replace(",unaided,", ",control,") for r in all_rows(device=False)]
    study = write(tmp_path, rows)
    assert cli("lock", study.cases, "--protocol", study.protocol, "--out", study.testset).code == 0
    done = cli("run", study.protocol, "--testset", study.testset, "--model", study.predictions, "--out", study.run)
    assert done.code == 2
    assert "aided, control" in done.err
