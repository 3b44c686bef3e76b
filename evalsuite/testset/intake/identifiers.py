"""Direct identifiers in headers, file names and column names: reported by tag and column, never by value."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import date

from evalsuite.testset.intake.types import CheckResult, Intake, plural

_WHY = "Whoever reads the set would learn who the patients are; models and reports must never carry it on."
_COLUMNS = re.compile(
    r"(^|_)(name|surname|firstname|lastname|forename|givenname|familyname|birth|birthdate|birthday|dob|dateofbirth|address|"
    r"street|phone|telephone|mobile|email|mrn|ssn|nhs|insurance|passport|accession)(_|$)"
)
_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)[-_.]?(0[1-9]|1[0-2])[-_.]?(0[1-9]|[12]\d|3[01])(?!\d)")
_PERSON = re.compile(r"[A-Za-zÀ-ž]{2,}\^[A-Za-zÀ-ž]")


def identifiers_in_headers(intake: Intake) -> CheckResult:
    """Attributes of the confidentiality profile (PS3.15, table E.1-1) that hold something."""
    title = "Direct identifiers in DICOM headers"
    headers = {n: k.header for n, k in intake.looks.items() if k.header is not None}
    if not headers:
        return CheckResult(check="identifiers", title=title, outcome="not_checked", summary="no DICOM file", why=_WHY)
    tags = Counter(tag for h in headers.values() for tag in h.identifiers)
    concerned = [n for n, h in headers.items() if h.identifiers]
    claimed = sum(1 for n in concerned if headers[n].identity_removed)
    said = f"none in {plural(len(headers), 'file')}"
    if tags:
        said = f"{plural(len(concerned), 'file')} of {len(headers):,}: " + ", ".join(
            f"{tag} ({n:,})" for tag, n in sorted(tags.items(), key=lambda item: (-item[1], item[0]))
        )
        if claimed:
            said += f"; {claimed:,} of them state PatientIdentityRemoved"
    return CheckResult(
        check="identifiers",
        title=title,
        outcome="problem" if tags else "ok",
        summary=said,
        counts={"files": len(concerned), "dicom_files": len(headers), **dict(sorted(tags.items()))},
        cases=intake.cases_of(concerned),
        why=_WHY,
        action="De-identify the files (DICOM PS3.15, Basic Profile) and lock those." if tags else "",
    )


def identifiers_in_names(intake: Intake) -> CheckResult:
    """File names that hold a header's identifier, a name in DICOM form or a date; columns named like identifiers."""
    title = "Identifiers in file and column names"
    by_header = [n for n, k in intake.looks.items() if k.header is not None and k.header.named_in_path]
    tags = sorted({t for n in by_header if (h := intake.looks[n].header) for t in h.named_in_path})
    persons = [n for n in intake.digests if _PERSON.search(n)]
    dated = [n for n in intake.digests if _has_date(n, intake.today)]
    columns = identifying_columns(list(intake.frame.columns), intake.roles.case)
    concerned = list(dict.fromkeys([*by_header, *persons, *dated]))
    parts = []
    if by_header:
        parts.append(f"{plural(len(by_header), 'file name')} with the value of {', '.join(tags)}")
    if persons:
        parts.append(f"{plural(len(persons), 'file name')} in the form of a person's name")
    if dated:
        parts.append(f"{plural(len(dated), 'file name')} with a date")
    if columns:
        parts.append(f"{plural(len(columns), 'column')} named like an identifier: {', '.join(columns)}")
    searched = f"{plural(len(intake.digests), 'file name')} and {plural(len(intake.frame.columns), 'column name')}"
    certain = bool(by_header or persons)
    return CheckResult(
        check="names",
        title=title,
        outcome="problem" if certain else ("warning" if parts else "ok"),
        summary="; ".join(parts) if parts else f"none in {searched}",
        counts={
            "files": len(concerned),
            "header_value": len(by_header),
            "person": len(persons),
            "date": len(dated),
            "columns": len(columns),
        },
        cases=intake.cases_of(concerned),
        why=f"{_WHY} File names stand in the lock and in messages about changed files.",
        action="Rename the files, and leave these columns out of the table." if parts else "",
    )


def identifying_columns(columns: Sequence[str], case: str) -> list[str]:
    """Columns whose name says that they hold a direct identifier."""
    return [c for c in columns if c != case and _COLUMNS.search(re.sub(r"[\s.-]+", "_", c.strip().casefold()))]


def _has_date(name: str, today: date) -> bool:
    for match in _DATE.finditer(name):
        year, month, day = (int(g) for g in match.groups())
        if 1900 <= year <= today.year:
            try:
                date(year, month, day)
            except ValueError:
                continue
            return True
    return False


def private_tags(intake: Intake) -> CheckResult:
    """DICOM files with private entries: vendors put names and free text there."""
    title = "Private tags in DICOM headers"
    why = "Private entries are not covered by a list of identifiers; vendors repeat names and dates in them."
    headers = {n: k.header for n, k in intake.looks.items() if k.header is not None}
    if not headers:
        return CheckResult(check="private_tags", title=title, outcome="not_checked", summary="no DICOM file", why=why)
    concerned = [n for n, h in headers.items() if h.n_private]
    total = sum(h.n_private for h in headers.values())
    return CheckResult(
        check="private_tags",
        title=title,
        outcome="warning" if concerned else "ok",
        summary=f"{total:,} in {plural(len(concerned), 'file')} of {len(headers):,}"
        if concerned
        else f"none in {plural(len(headers), 'file')}",
        counts={"files": len(concerned), "dicom_files": len(headers), "tags": total},
        cases=intake.cases_of(concerned),
        why=why,
        action="Remove private entries that the model does not need." if concerned else "",
    )
