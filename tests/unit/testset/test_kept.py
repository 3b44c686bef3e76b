"""What is kept from one opening of a set to the next: as much as is said, and never what was made of something else."""

from __future__ import annotations

from pathlib import Path

from evalsuite.testset import lock_testset, open_testset
from evalsuite.testset.kept import Last


def test_the_last_few_are_kept_and_no_more() -> None:
    made: list[str] = []

    def of(key: str) -> str:
        return kept.get(key, "b", make=lambda: made.append(key) or key)  # type: ignore[func-returns-value]

    kept: Last[str] = Last(most=2)
    assert [of(k) for k in ("x", "y", "x", "z", "x", "y")] == ["x", "y", "x", "z", "x", "y"]
    assert made == ["x", "y", "z", "y"]


def test_cases_of_the_same_bytes_are_the_same_and_of_other_bytes_others(tmp_path: Path) -> None:
    for name, patient in (("one", "p"), ("two", "q")):
        (tmp_path / f"{name}.csv").write_text(f"case_id,patient_id,label\na,{patient},1\nb,{patient},0\n")
        lock_testset(tmp_path / f"{name}.csv", tmp_path / name, actor="A", utc="2026-01-01T00:00:00Z")
    first, second = open_testset(tmp_path / "one"), open_testset(tmp_path / "two")
    assert [c.patient_id for c in first.cases] == ["p", "p"]
    assert [c.patient_id for c in second.cases] == ["q", "q"]
    assert open_testset(tmp_path / "one").cases is first.cases
