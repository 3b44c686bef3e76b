"""Golden files: compared as text, rewritten with `pytest tests/golden --update-golden` and reviewed like code."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", default=False, help="rewrite the golden files")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with tests/golden/NAME, or rewrite the file."""

    def compare(name: str, text: str) -> None:
        path = HERE / name
        if request.config.getoption("update_golden", default=False):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{name} is missing: run pytest tests/golden --update-golden and review it"
        expected = path.read_text(encoding="utf-8")
        assert text == expected, f"{name} differs: run pytest tests/golden --update-golden and review the difference"

    return compare
