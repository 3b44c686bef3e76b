"""The demonstrations of detection and segmentation, small: from drawing scans to a verified report with pictures."""

from __future__ import annotations

import csv
import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.traced, pytest.mark.full_pdf]


@pytest.fixture
def walk(checkout: Path, cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Run a demo's script in this process, its commands through the command line's own function."""

    def run(name: str, patients: int) -> Path:
        monkeypatch.syspath_prepend(str(checkout / "examples"))
        import journey

        def command(console: object, *arguments: object) -> int:
            done = cli(*arguments)
            assert done.code in (0, 1), done.err
            return int(done.code)

        monkeypatch.setattr(journey, "evalsuite", command)
        out = tmp_path / "out"
        monkeypatch.setattr(sys, "argv", ["demo", "--small", "--patients", str(patients), "--out", str(out)])
        monkeypatch.setattr(sys, "path", list(sys.path))
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(checkout / "examples" / name / "demo.py"), run_name="__main__")
        assert ended.value.code == 0
        return out / "run-1"

    return run


def _listing(run: Path, name: str) -> list[dict[str, str]]:
    with (run / "arrays" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _attached(run: Path) -> set[str]:
    import pikepdf

    with pikepdf.open(run / "report.pdf") as pdf:
        return set(pdf.attachments.keys())


def test_the_detection_demo_shows_lesions_and_marks(walk: Callable[..., Path]) -> None:
    run = walk("nodule_ct", 8)
    lesions, marks = _listing(run, "lesions"), _listing(run, "marks")
    evidence = json.loads((run / "evidence.json").read_text())
    sensitivity = next(
        f["estimate"] for f in evidence["findings"] if f["endpoint"] == "sensitivity per nodule" and not f["stratum"]
    )
    assert sensitivity["denominator"] == len(lesions) > 0
    assert sensitivity["numerator"] == sum(row["at shown"] == "yes" for row in lesions)
    assert {row["outcome"] for row in marks} <= {"found", "false", "ignored"}
    assert sum(row["outcome"] == "found" for row in marks) == sum(row["outcome"] == "found" for row in lesions)
    pictures = json.loads((run / "arrays" / "pictures.json").read_text())["pictures"]
    assert pictures
    for picture in pictures:
        assert picture["image"]
        middle = (picture["width"] / 2, picture["height"] / 2)
        if picture["group"] in ("found", "missed"):
            circles = [d["lines"] for d in picture["drawn"] if d["kind"] == picture["group"]]
            x, y = (min(sum(line[k] for line in c) / len(c) - middle[k] for c in circles) for k in (0, 1))
            assert abs(x) < middle[0], "the lesion shown lies in the picture"
            assert abs(y) < middle[1]
    assert {"lesions.csv", "marks.csv"} <= _attached(run)
    assert "Single cases" in (run / "report.html").read_text()


def test_the_segmentation_demo_outlines_best_median_and_worst(walk: Callable[..., Path]) -> None:
    run = walk("abdomen_ct", 3)
    rows = [row for row in _listing(run, "structures") if row["structure"] == "liver"]
    assert len(rows) == 3
    evidence = json.loads((run / "evidence.json").read_text())
    liver = next(f["estimate"] for f in evidence["findings"] if f["endpoint"] == "liver" and not f["stratum"])
    dice = [float(row["dice"]) for row in rows]
    assert liver["value"] == pytest.approx(sum(dice) / 3, abs=1e-5)
    assert liver["value"] > 0.3
    second = next(f for f in evidence["findings"] if f["endpoint"] == "second reader, liver")
    assert second["rater"] == "second reader"
    assert second["estimate"]["n"] == 3
    assert 0.8 < second["estimate"]["value"] < 1.0
    assert "Dice coefficient of the device and of a second reader" in (run / "report.html").read_text()
    pictures = json.loads((run / "arrays" / "pictures.json").read_text())["pictures"]
    shown = {p["title"].split(":")[0]: p for p in pictures if p["group"] == "liver"}
    assert set(shown) == {"best", "median", "worst"}
    assert shown["best"]["title"].endswith(f"{max(dice):.3f}")
    assert shown["worst"]["title"].endswith(f"{min(dice):.3f}")
    assert all(p["image"] and [d["kind"] for d in p["drawn"]] == ["reference", "device"] for p in pictures)
    assert "structures.csv" in _attached(run)
