"""The validation kit: every requirement has tests, the matrix says what they say, and a failed step is recorded."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

KIT = Path(__file__).resolve().parents[2] / "docs" / "validation"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"validation_{name}", KIT / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


matrix, qualify = load("matrix"), load("qualify")


def test_every_requirement_has_tests_and_a_risk():
    assert list(matrix.missing()) == []
    found = matrix.requirements()
    assert len({r["id"] for r in found}) == len(found)
    for r in found:
        assert r["risk"] in ("high", "medium", "low")
        assert all(r[key] for key in matrix.COLUMNS)


def test_the_matrix_says_what_requirements_and_tests_say():
    """Files may have been added since it was made (make validation); nothing in it may be gone or changed."""
    written = (KIT / "matrix.md").read_text(encoding="utf-8")
    for r in matrix.requirements():
        assert f"| {' | '.join(r[key] for key in matrix.COLUMNS)} |" in written, f"make validation: {r['id']}"
    listed = re.findall(r"^\| tests/(\S+) \|", written, flags=re.MULTILINE)
    gone = [f for f in listed if not (matrix.TESTS / f).is_file()]
    assert gone == [], "make validation"
    assert len(listed) > 150


def test_a_pattern_without_files_is_told(monkeypatch):
    wrong = [{"id": "REQ-99", "tests": ["unit/nothing_*.py"]}]
    monkeypatch.setattr(matrix, "requirements", lambda: wrong)
    assert list(matrix.missing()) == ["REQ-99: tests/unit/nothing_*.py matches no file", "REQ-99: no test"]


def test_a_step_that_does_not_hold_is_recorded_and_the_others_go_on():
    def broken() -> str:
        raise qualify.StepError("two files differ")

    assert qualify.carried_out("a", lambda: "seen") == {"step": "a", "holds": True, "seen": "seen"}
    assert qualify.carried_out("b", broken) == {"step": "b", "holds": False, "seen": "StepError: two files differ"}


def test_installed_files_are_verified_or_said_not_to_be():
    assert re.search(r"files as in the wheel|not verified", qualify.installed_files())


def test_a_file_that_differs_from_the_wheel_is_found(monkeypatch, tmp_path):
    class File(str):
        hash = type("Hash", (), {"mode": "sha256", "value": "x"})()

    class Distribution:
        files = (File("evalsuite/__init__.py"),)

        def locate_file(self, file: str) -> Path:
            return tmp_path / file

    monkeypatch.setattr(qualify.importlib.metadata, "distribution", lambda name: Distribution())
    with pytest.raises(qualify.StepError, match="1 files differ"):
        qualify.installed_files()
