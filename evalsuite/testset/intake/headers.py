"""Headers that cannot be right: dates in the future, ages of 200 years, spacings of 0, sizes in the wrong unit."""

from __future__ import annotations

from collections import defaultdict

from evalsuite.testset.intake.types import CheckResult, Intake, plural

_TITLE = "Implausible DICOM headers"
_WHY = "A wrong spacing or orientation changes what a model sees; a wrong date or age puts a case in the wrong group."


def implausible_headers(intake: Intake) -> CheckResult:
    """Count every kind of implausible header entry; the phrases name tags, never values."""
    dicom = [n for n in intake.image_files if (k := intake.looks.get(n)) and k.is_dicom]
    if not dicom:
        return CheckResult(check="headers", title=_TITLE, outcome="not_checked", summary="no DICOM file", why=_WHY)
    by_kind: dict[str, list[str]] = defaultdict(list)
    for name in dicom:
        seen = intake.looks[name]
        if seen.header_broken:
            by_kind["header is damaged"].append(name)
        elif seen.header is not None:
            for kind in seen.header.implausible:
                by_kind[kind].append(name)
    concerned = list(dict.fromkeys(n for names in by_kind.values() for n in names))
    said = f"none in {plural(len(dicom), 'file')}"
    if by_kind:
        listed = "; ".join(f"{kind} ({len(names):,})" for kind, names in sorted(by_kind.items()))
        said = f"{plural(len(concerned), 'file')} of {len(dicom):,}: {listed}"
    return CheckResult(
        check="headers",
        title=_TITLE,
        outcome="warning" if by_kind else "ok",
        summary=said,
        counts={"files": len(concerned), "dicom_files": len(dicom), **{k: len(v) for k, v in sorted(by_kind.items())}},
        cases=intake.cases_of(concerned),
        why=_WHY,
        action="Compare with the source system; correct the export, not the files." if by_kind else "",
    )
