"""The months of the drift demonstration: what changes in a month changes its images, and the rest stays as it was."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pydicom
import pytest


def test_a_month_changes_what_it_says(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(checkout / "examples" / "drift_audit"), *sys.path])
    from phantoms import KNOWN, NEW, Month, draw

    def drawn(name: str, month: Month) -> tuple[list[dict[str, str]], list[pydicom.Dataset]]:
        folder = tmp_path / name / "m"
        table = draw(folder, month, patients=2, seed=3, day="2026-01-27")
        with table.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return rows, [pydicom.dcmread(folder / r["image"]) for r in rows]

    stable, images = drawn("a", Month())
    assert [r["case_id"] for r in stable] == sorted({r["case_id"] for r in stable})
    assert NEW.model not in {i.ManufacturerModelName for i in images}
    again, same = drawn("b", Month())
    assert again == stable
    assert [i.PixelData for i in same] == [i.PixelData for i in images]
    replaced, other = drawn("c", Month(new_scanner=1.0, density=0.5))
    assert {i.ManufacturerModelName for i in other} == {NEW.model} != {KNOWN.model}
    assert [(r["case_id"], r["sex"], r["nodule"]) for r in replaced] == [
        (r["case_id"], r["sex"], r["nodule"]) for r in stable
    ]
