"""The inventory of docs/statistics is true: every metric, interval, function and test it names exists."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from evalsuite.analyses.tasks import computable
from evalsuite.protocol.checks import intervals_for
from evalsuite.protocol.metrics import METRICS
from evalsuite.protocol.schema import Endpoint

#: Families with a page of their own; their metrics are not listed here.
ELSEWHERE = {"segmentation", "detection", "readers"}


def _rows(checkout: Path) -> list[list[str]]:
    page = (checkout / "docs" / "statistics" / "inventory.md").read_text(encoding="utf-8")
    rows = [line.strip("| \n").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    return [row for row in rows if row[0] != "estimate"]


def _names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_every_metric_of_the_catalogue_is_listed_once_with_the_intervals_it_may_name(checkout: Path) -> None:
    wanted = {name for name in computable() if not ELSEWHERE & set(METRICS[name].tasks)}
    listed: list[str] = []
    for row in _rows(checkout):
        assert len(row) == 6, row[0]
        for name in _names(row[2]):
            if name not in METRICS:
                continue  # a block of the protocol rather than a metric
            listed.append(name)
            assert tuple(_names(row[1])) == intervals_for(Endpoint(name="x", metric=name), METRICS[name]), name
    assert sorted(listed) == sorted(wanted)


def test_every_function_and_test_it_names_exists(checkout: Path) -> None:
    for row in _rows(checkout):
        assert _names(row[3]), row[0]
        assert _names(row[4]), row[0]
        for path in _names(row[3]):
            module, function = path.rsplit(".", 1)
            assert callable(getattr(importlib.import_module(f"evalsuite.{module}"), function)), path
        for reference in _names(row[4]):
            file, test = reference.split(":")
            source = (checkout / "tests" / "oracle" / file).read_text(encoding="utf-8")
            assert f"def {test}(" in source, reference


def test_there_are_at_least_three_hundred_figures_that_somebody_else_computed(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    oracle = checkout / "tests" / "oracle"
    total = 0
    for path in sorted((oracle / "data").glob("*.csv")):
        lines = path.read_text(encoding="utf-8").splitlines()
        if not lines[0].startswith("# R version"):
            continue  # data that several scripts share
        assert (oracle / "generators" / f"{path.stem}.R").is_file(), path.stem
        read_by = [t for t in oracle.glob("test_*.py") if f"{path.stem}.csv" in t.read_text(encoding="utf-8")]
        assert read_by, f"{path.name} is read by no test"
        total += sum(not line.startswith(("#", "data-")) for line in lines) - 1
    with capsys.disabled():
        print(f"\n{total} figures printed by R in tests/oracle/data")
    assert total >= 300
