"""A detection study from lesion tables and marks to a verified report, its figures counted by hand, and bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

N = 60
PROTOCOL: dict[str, Any] = {
    "schema": "evalsuite/protocol/1",
    "id": "nodules",
    "version": "1.0.0",
    "title": "A small detection study",
    "kind": "standalone",
    "intended_use": {"indications": "none: a test"},
    "task": {
        "kind": "detection",
        "reference": "lesions",
        "score": "score",
        "matching": {"rule": "distance"},
        "lesion_strata": [{"name": "size", "column": "diameter_mm", "bins": [8]}, {"name": "texture"}],
    },
    "unit": {"case": "case_id", "cluster": "patient_id"},
    "operating_points": [{"name": "primary", "threshold": 0.5, "source": "fixed on other data"}],
    "endpoints": [
        {
            "name": "sensitivity",
            "metric": "lesion_sensitivity",
            "at": "primary",
            "role": "primary",
            "criterion": {"bound": "lower", "op": ">", "value": 0.4},
        },
        {
            "name": "false marks",
            "metric": "false_positives_per_case",
            "at": "primary",
            "role": "primary",
            "maximum": 4,
            "criterion": {"bound": "upper", "op": "<", "value": 2},
        },
        {"name": "at one", "metric": "froc_sensitivity", "false_positives": 1, "maximum": 4},
    ],
    "confidence": {"bootstrap": {"replicates": 200}},
    "strata": ["site"],
    "disclose": ["site"],
    "seed": 5,
}
Lesion = tuple[str, np.ndarray, float]
Mark = tuple[str, float, np.ndarray]


def _data() -> tuple[list[Lesion], list[Mark]]:
    """Every third case is normal; 80 % of the lesions have a mark 1 mm away, and every case one elsewhere or none."""
    rng = np.random.default_rng(4)
    lesions: list[Lesion] = []
    marks: list[Mark] = []
    for i in range(N):
        for _ in range(0 if i % 3 == 0 else 1 + i % 2):
            place, size = rng.uniform(50, 250, 3).round(1), round(float(rng.uniform(3, 15)), 1)
            lesions.append((f"c{i:03d}", place, size))
            if rng.random() < 0.8:
                marks.append((f"c{i:03d}", round(float(rng.beta(5, 2)), 3), place + np.array([1.0, 0.0, 0.0])))
        if rng.random() < 0.5:
            marks.append((f"c{i:03d}", round(float(rng.beta(2, 4)), 3), rng.uniform(300, 400, 3).round(1)))
    return lesions, marks


def _write(folder: Path, *, failed: tuple[str, ...] = (), changes: dict[str, Any] | None = None) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "protocol.yaml").write_text(yaml.safe_dump({**PROTOCOL, **(changes or {})}, sort_keys=False))
    lesions, marks = _data()
    cases = [f"c{i:03d},p{i // 2:03d},lesions.csv,{'A' if i % 4 else 'B'}" for i in range(N)]
    (folder / "cases.csv").write_text("\n".join(["case_id,patient_id,lesions,site", *cases]) + "\n")
    rows = [f"{c},{x},{y},{z},{d},{'solid' if d > 6 else ''}" for c, (x, y, z), d in lesions]
    (folder / "lesions.csv").write_text("\n".join(["case_id,x,y,z,diameter_mm,texture", *rows]) + "\n")
    table = [f"{c},ok,{s},{x},{y},{z}" for c, s, (x, y, z) in marks if c not in failed]
    told = {c for c, _, _ in marks}
    table += [f"c{i:03d},ok,,,," for i in range(N) if f"c{i:03d}" not in told]
    table += [f"{c},failed,,,," for c in failed]
    (folder / "marks.csv").write_text("\n".join(["case_id,status,score,x,y,z", *table]) + "\n")


def _locked(folder: Path, cli: Any) -> None:
    done = cli("lock", folder / "cases.csv", "--protocol", folder / "protocol.yaml", "--out", folder / "set")
    assert done.code == 0, done.err


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, cli: Any) -> Path:
    folder = tmp_path_factory.mktemp("detection")
    _write(folder, failed=("c001",))
    _locked(folder, cli)
    frozen = folder / "frozen"
    protocol, testset, model = folder / "protocol.yaml", folder / "set", folder / "marks.csv"
    assert cli("freeze", protocol, "--testset", testset, "--model", model, "--out", frozen).code == 0
    done = cli("run", frozen, "--testset", testset, "--model", model, "--out", folder / "run")
    assert done.code == 0, done.err
    return folder


def _find(folder: Path, endpoint: str, stratum: dict[str, str] | None = None, condition: str | None = None) -> Any:
    evidence = json.loads((folder / "run" / "evidence.json").read_text())
    (found,) = [
        f["estimate"]
        for f in evidence["findings"]
        if f["endpoint"] == endpoint and f["stratum"] == (stratum or {}) and f["condition"] == condition
    ]
    return found


def _by_hand() -> tuple[dict[str, int], dict[str, int]]:
    """Lesions found and false marks at 0.5, with the case that failed at its worst."""
    lesions, marks = _data()
    lesions_found = {"all": 0, "small": 0, "n": len(lesions), "n_small": 0}
    right: set[int] = set()
    for case, place, size in lesions:
        near = [
            i
            for i, (c, s, p) in enumerate(marks)
            if c == case and c != "c001" and s >= 0.5 and float(np.linalg.norm(p - place)) <= size / 2
        ]
        right |= {i for i, (c, _, p) in enumerate(marks) if c == case and np.linalg.norm(p - place) <= size / 2}
        lesions_found["all"] += bool(near)
        lesions_found["small"] += bool(near) and size < 8
        lesions_found["n_small"] += size < 8
    false = [c for i, (c, s, _) in enumerate(marks) if i not in right and s >= 0.5 and c != "c001"]
    normal = sum(int(c[1:]) % 3 == 0 for c in false)
    return lesions_found, {"all": len(false) + 4, "normal": normal}


def test_figures_are_those_counted_by_hand(study: Path) -> None:
    lesions, false = _by_hand()
    found = _find(study, "sensitivity")
    assert (found["numerator"], found["denominator"]) == (lesions["all"], lesions["n"])
    assert found["unit"] == "lesion"
    small = _find(study, "sensitivity", {"size": "<8"})
    assert (small["numerator"], small["denominator"]) == (lesions["small"], lesions["n_small"])
    rate = _find(study, "false marks")
    assert (rate["numerator"], rate["denominator"]) == (false["all"], N)
    normal = _find(study, "false_positives_per_normal_case")
    assert (normal["numerator"], normal["denominator"]) == (false["normal"], N / 3)
    # Lesions without a texture are a group of their own.
    assert _find(study, "sensitivity", {"texture": "missing"})["n"] > 0
    best, without = (_find(study, "false marks", condition=f"missing_outputs={p}") for p in ("best_case", "exclude"))
    assert best["numerator"] == without["numerator"] == false["all"] - 4
    assert without["denominator"] == N - 1


def test_the_evidence_holds_the_curve_and_the_run_verifies(study: Path, cli: Any) -> None:
    evidence = json.loads((study / "run" / "evidence.json").read_text())
    curve = next(c for c in evidence["curves"] if c["kind"] == "froc" and not c["stratum"])
    assert curve["y"] == sorted(curve["y"])
    assert all(low <= y <= high for low, y, high in zip(curve["low"], curve["y"], curve["high"], strict=True))
    assert {f["analysis"] for f in evidence["findings"]} <= {"detection", "missing_data"}
    assert sum(a["n"] for a in evidence["accounting"] if not a["stratum"]) == N
    assert "FROC curve" in (study / "run" / "report.html").read_text()
    assert cli("verify", study / "run").code == 0
    before = (study / "run" / "evidence.json").read_bytes()
    assert cli("score", study / "run").code == 0
    assert (study / "run" / "evidence.json").read_bytes() == before


def test_a_lesion_table_changed_after_locking_breaks_the_run(study: Path, cli: Any, tmp_path: Path) -> None:
    table = study / "lesions.csv"
    before = table.read_text()
    try:
        table.write_text(before.replace(",solid", ",other", 1))
        again = cli("score", study / "run")
        assert again.code == 3, again.err
        assert "lesions.csv" in again.err
    finally:
        table.write_text(before)


def test_every_bad_mark_is_a_failed_case_with_its_reason(study: Path, cli: Any, tmp_path: Path) -> None:
    lines = (study / "marks.csv").read_text().splitlines()
    first = {line.split(",")[0]: i for i, line in reversed(list(enumerate(lines))) if line.split(",")[2] > "0"}
    chosen = [i for case, i in sorted(first.items()) if case != "case_id"][:3]
    for i, score in zip(chosen, ("nan", "inf", ""), strict=True):
        cells = lines[i].split(",")
        lines[i] = ",".join([*cells[:2], score, *cells[3:]])
    (tmp_path / "marks.csv").write_text("\n".join(lines) + "\n")
    protocol = study / "protocol.yaml"
    done = cli(
        "predict", protocol, "--testset", study / "set", "--model", tmp_path / "marks.csv", "--out", tmp_path / "r"
    )
    assert done.code == 0, done.err
    from evalsuite.inference.predictions import read_predictions

    found = read_predictions(tmp_path / "r" / "predictions.parquet")
    reasons = found.table.loc[found.table["status"] == "failed", "reason"].tolist()
    assert "a mark lacks its score or a part of its place" in reasons
    assert "a mark's score or place is not finite" in reasons
    assert found.lists == ("score", "x", "y", "z")
    no_marks = [len(c) for c in found.table["score"] if c is not None]
    assert min(no_marks) == 0


@pytest.mark.parametrize(
    ("what", "code", "says"),
    [
        ("no lesion place", 2, "no columns that say where a lesion lies"),
        ("a word for a number", 2, "not given in finite numbers @ lesions.csv, row 2"),
        ("a box needed", 2, "needs the boxes of lesions"),
        ("a table of cases", 2, "score"),
        ("an unknown case", 2, "not in the test set"),
    ],
)
def test_bad_tables_are_named(cli: Any, tmp_path: Path, what: str, code: int, says: str) -> None:
    changes: dict[str, Any] = {}
    if what == "a box needed":
        changes = {"task": {**PROTOCOL["task"], "matching": {"rule": "overlap", "overlap": 0.1}}}
    _write(tmp_path, changes=changes)
    lesions, marks = tmp_path / "lesions.csv", tmp_path / "marks.csv"
    if what == "no lesion place":
        lesions.write_text(lesions.read_text().replace("case_id,x,y,z", "case_id,a,b,c"))
    if what == "a word for a number":
        rows = lesions.read_text().splitlines()
        rows[1] = ",".join([rows[1].split(",")[0], "left", *rows[1].split(",")[2:]])
        lesions.write_text("\n".join(rows) + "\n")
    if what == "a table of cases":
        marks.write_text("case_id,p\nc000,0.5\n")
    if what == "an unknown case":
        marks.write_text(marks.read_text() + "zzz,ok,0.5,1,2,3\n")
    _locked(tmp_path, cli)
    done = cli(
        "run", tmp_path / "protocol.yaml", "--testset", tmp_path / "set", "--model", marks, "--out", tmp_path / "run"
    )
    assert done.code == code, done.err
    assert says in done.err
