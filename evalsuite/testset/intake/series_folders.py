"""Folders that stand for a DICOM series: in order, complete, and of one series only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from evalsuite.imaging.series import SeriesFacts, examine_series
from evalsuite.testset.intake.types import CheckResult, Intake, plural

_TITLE = "DICOM series folders"
_WHY = "A missing, doubled or foreign slice changes the volume that the model sees, without any error."


def read_order(intake: Intake) -> dict[str, SeriesFacts]:
    """Per folder its slices in order, and what is wrong with them. Folders without any DICOM file are left out."""
    found = {}
    for folder, names in intake.series.items():
        looks = [intake.looks.get(n) for n in names]
        slices = [k.header.slice for k in looks if k is not None and k.header is not None]
        if slices or any(k is not None and k.is_dicom for k in looks):
            found[folder] = examine_series(slices, n_other=len(names) - len(slices))
    return found


def series_folders(intake: Intake, facts: Mapping[str, SeriesFacts]) -> CheckResult:
    """What is wrong with the series of the set, counted by kind."""
    if not facts:
        said = "no case is a DICOM series" if not intake.series else "the folders hold no DICOM files"
        return CheckResult(check="series", title=_TITLE, outcome="not_checked", summary=said, why=_WHY)
    bad = [folder for folder, f in facts.items() if f.findings]
    vague = [folder for folder, f in facts.items() if f.notes and not f.findings]
    slices = sum(f.n_slices for f in facts.values())
    listed = Counter(text for f in facts.values() for text in (*f.findings, *f.notes))
    said = f"{plural(len(facts), 'series', 'series')} of {plural(slices, 'slice')}, complete and in order"
    if bad or vague:
        said = f"{plural(len(bad) + len(vague), 'series', 'series')} of {len(facts):,}: " + "; ".join(
            f"{text} ({n:,} series)" if n > 1 else text for text, n in sorted(listed.items())
        )
    concerned = [name for folder in (*bad, *vague) for name in intake.series[folder]]
    return CheckResult(
        check="series",
        title=_TITLE,
        outcome="problem" if bad else ("warning" if vague else "ok"),
        summary=said,
        counts={"series": len(facts), "slices": slices, "with_problems": len(bad)},
        cases=intake.cases_of(concerned),
        why=_WHY,
        action="Export these series again; one folder holds the slices of one series." if bad else "",
    )
