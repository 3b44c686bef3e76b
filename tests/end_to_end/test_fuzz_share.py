"""A small share of the campaign of damaged files: each is read or refused with a reason, and a fault is noticed."""

from __future__ import annotations

import sys

import pytest

from tests.campaigns import fuzz
from tests.campaigns.fuzz_seeds import images, tables


@pytest.fixture(scope="module")
def seeds():
    return [*images(), *tables()]


def test_undamaged_files_are_read_and_damaged_ones_have_an_outcome(seeds, tmp_path):
    assert fuzz.refused_undamaged(seeds, tmp_path) == {}
    each = fuzz.shares(seeds, 200)
    outcomes = fuzz.campaign(seeds, each=each, jobs=1, scratch=tmp_path)
    assert [o for o in outcomes if o.fault] == []
    assert len(outcomes) == sum(each.values()) == 200
    found = {o.outcome for o in outcomes}
    assert {"read", "truncated", "unreadable", "CaseTableError", "ContractError"} <= found
    assert "| **all** | 200 |" in fuzz.table(outcomes)


@pytest.mark.parametrize(
    ("program", "fault"),
    [
        ("import os, sys; sys.stdin.readline(); os.kill(os.getpid(), 11)", "died of signal 11"),
        ("import sys, time; sys.stdin.readline(); time.sleep(60)", "hang"),
        ('import sys; sys.stdin.readline(); print(\'{"outcome": "!KeyError"}\', flush=True)', "KeyError"),
    ],
)
def test_deaths_hangs_and_tracebacks_are_faults(program, fault, seeds, tmp_path, monkeypatch):
    real = fuzz.subprocess.Popen
    monkeypatch.setattr(fuzz.subprocess, "Popen", lambda words, **how: real([sys.executable, "-c", program], **how))
    limit = 2.0 if fault == "hang" else 60.0
    outcomes = fuzz.campaign(seeds[:1], each={seeds[0].format: 1}, jobs=1, scratch=tmp_path, limit_s=limit)
    assert [(o.outcome, o.fault) for o in outcomes] == [("FAULT", fault)]
    assert len(list((tmp_path / "faults").iterdir())) == 1
