"""The change log of a deployment, its marks on the charts, model or data, and the annex of a drift report."""

from __future__ import annotations

from evalsuite.analyses.drift_log import NOW, change_log
from evalsuite.analyses.drift_periods import EarlierAudit, Indicator, Kind, Status
from evalsuite.protocol.load import load_protocol
from evalsuite.report.sections_drift_change import first_seen, marks
from evalsuite.report.view import Facts, Heading, Prose, Section, Table
from tests.unit.report.test_drift_section import estimate, finding, indicator, said, section


def _line(name: str, kind: Kind, status: Status) -> Indicator:
    return Indicator(name=name, kind=kind, status=status, value=1.0, limits="", n=1)


def test_a_change_is_logged_when_it_is_first_seen() -> None:
    earlier = [
        EarlierAudit(utc="2026-01-28T12:00:00.000Z"),
        EarlierAudit(utc="2026-02-28T12:00:00.000Z", noted=("Input: scanner", "Unseen groups of scanner")),
    ]
    lines = [
        _line("Input: scanner", "input", "action"),
        _line("Performance: sensitivity", "performance", "action"),
        _line("Unseen groups of site", "integrity", "warning"),
        _line("age out of range", "integrity", "warning"),
        _line("Output: score", "output", "normal"),
    ]
    log = change_log(lines, earlier)
    assert [(f.endpoint, f.estimate.value, f.condition) for f in log] == [
        ("Input: scanner", 2.0, "2026-02-28"),
        ("Unseen groups of scanner", 2.0, "2026-02-28"),
        ("Performance: sensitivity", 3.0, NOW),
        ("Unseen groups of site", 3.0, NOW),
    ]
    found = list(enumerate(log))
    assert first_seen(found)["Input: scanner"] == " (since audit 2, 2026-02-28)"
    assert first_seen(found)["Performance: sensitivity"] == ""
    assert marks(found) == {2: "scanner +1", 3: "sensitivity +1"}


def _headed(made: Section, id_: str) -> object:
    at = next(i for i, b in enumerate(made.blocks) if isinstance(b, Heading) and b.id == id_)
    return made.blocks[at + 1]


def test_the_report_says_since_when_and_who_changed() -> None:
    protocol = load_protocol("drift_audit")
    lines = [
        indicator("Input: scanner", "input", "action"),
        indicator("Performance: sensitivity", "performance", "normal", 0.81),
        finding("Input: scanner", "change_log", estimate(2.0), condition="2026-02-28"),
    ]
    plain = section(protocol, lines)
    assert "scanner (since audit 2, 2026-02-28)" in said(plain)
    assert any(isinstance(b, Table) and b.caption == "Change log of this calendar" for b in plain.blocks)
    same = _headed(plain, "drift-versions")
    assert isinstance(same, Prose)
    assert "not of the model" in same.paragraphs[0]
    annex = _headed(plain, "drift-annex")
    assert isinstance(annex, Facts)
    items = {i.name: i.value for i in annex.items}
    assert items["Action limits passed"] == "Input: scanner"
    assert items["Changes since the calendar began"] == "1"
    assert items["Performance"] == "sensitivity 81.0 % (action limit 70.0 %)"
    part = finding("sensitivity", "sensitivity_difference", estimate(-0.2, -0.3, -0.1), condition="model_changed")
    table = _headed(section(protocol, [*lines, part]), "drift-versions")
    assert isinstance(table, Table)
    assert [r.cells[0].text for r in table.rows if not r.group] == ["of it the model's"]
