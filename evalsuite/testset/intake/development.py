"""Leakage: patients or images that were used to develop the device, found by identifiers, UIDs and digests."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from evalsuite.errors import InputError, Problem
from evalsuite.testset.intake.types import CheckResult, Intake, Look, coverage, plural
from evalsuite.testset.table import read_table

if TYPE_CHECKING:
    import pandas as pd

CHECK = "development"
_TITLE = "Shared with development data"
_WHY = "A model performs better on patients and images it has seen: shared cases inflate every figure."
_NAMES = {
    "patient_id": ("patient_id", "patientid", "patient"),
    "study_uid": ("study_uid", "studyinstanceuid", "study_instance_uid", "study_id"),
    "series_uid": ("series_uid", "seriesinstanceuid", "series_instance_uid"),
    "sop_uid": ("sop_uid", "sopinstanceuid", "sop_instance_uid", "instance_uid"),
    "file_sha256": ("file_sha256", "sha256", "file_digest"),
    "pixel_sha256": ("pixel_sha256", "pixels_sha256", "pixel_digest"),
}
_WORDS = {
    "patient_id": "patient identifier",
    "study_uid": "study UID",
    "series_uid": "series UID",
    "sop_uid": "image UID",
    "file_sha256": "file digest",
    "pixel_sha256": "pixel digest",
}


def shared_with_development(intake: Intake) -> CheckResult:
    """Cases that share a patient, a UID or an image with the development manifest.

    Raises
    ------
    InputError
        If the manifest cannot be read, or has none of the columns that can be compared.
    """
    if intake.development is None:
        return CheckResult(
            check=CHECK,
            title=_TITLE,
            outcome="not_checked",
            summary="not verifiable: no development manifest was given",
            why=_WHY,
            action="Ask the developer for a list of patients, UIDs or digests and lock with --development MANIFEST.",
        )
    known = read_manifest(intake.development)
    readers = _readers(intake)
    found: dict[str, dict[str, None]] = {}
    not_comparable = []
    for kind, values in known.items():
        cases = readers[kind](values)
        if cases is None:
            not_comparable.append(_WORDS[kind])
        else:
            found[kind] = dict.fromkeys(cases)
    shared = {c for cases in found.values() for c in cases}
    counts = {f"by_{kind}": len(cases) for kind, cases in found.items()} | {"cases": len(shared)}
    compared = ", ".join(_WORDS[k] for k in found) or "nothing"
    said = (
        f"none; compared by {compared}"
        if not shared
        else f"{plural(len(shared), 'case')}: "
        + ", ".join(f"{len(cases):,} by {_WORDS[kind]}" for kind, cases in found.items() if cases)
    )
    if not_comparable:
        said += f"; the set has nothing to compare with: {', '.join(not_comparable)}"
    if "pixel_sha256" in found:
        said += coverage(intake)
    return CheckResult(
        check=CHECK,
        title=_TITLE,
        outcome="problem" if shared else ("ok" if found else "not_checked"),
        summary=said,
        counts=counts,
        cases=tuple(c for c in intake.case_ids if c in shared),
        why=_WHY,
        action="Retire these cases (--retire) or exclude them from the table." if shared else "",
    )


def read_manifest(path: Path) -> dict[str, frozenset[str]]:
    """Identifiers by kind. Columns are known by name; case, spaces and dashes in names do not matter."""
    frame: pd.DataFrame = read_table(path, error=InputError)
    by_name = {re.sub(r"[\s-]+", "_", c.strip().casefold()): c for c in frame.columns}
    known: dict[str, frozenset[str]] = {}
    for kind, names in _NAMES.items():
        values: set[str] = set()
        for name in names:
            if name in by_name:
                cells = (cell.strip() for cell in frame[by_name[name]].tolist())
                values |= {c.casefold() if kind.endswith("sha256") else c for c in cells if c}
        if values:
            known[kind] = frozenset(values)
    if not known:
        raise InputError(
            f"{path} has no column that can be compared with the test set",
            problems=[Problem(what=f"column {names[0]}", where="absent or empty") for names in _NAMES.values()],
            hint="Give at least one of these columns.",
        )
    return known


def _readers(intake: Intake) -> dict[str, Callable[[frozenset[str]], list[str] | None]]:
    """Per kind of identifier: the cases among given values, or None where the set has nothing of that kind."""
    ids = list(intake.case_ids)

    def by_look(part: Callable[[Look], str]) -> Callable[[frozenset[str]], list[str] | None]:
        def cases(values: frozenset[str]) -> list[str] | None:
            seen, hits = False, []
            for case_id, names in zip(ids, intake.images, strict=True):
                texts = [part(intake.looks[n]) for n in names if n in intake.looks]
                seen = seen or any(texts)
                if any(t in values for t in texts if t):
                    hits.append(case_id)
            return hits if seen else None

        return cases

    def patient(values: frozenset[str]) -> list[str] | None:
        in_headers = by_look(lambda x: x.header.patient_id if x.header else "")(values)
        has_column = intake.roles.patient is not None
        if not has_column and in_headers is None:
            return None
        shared = set(in_headers or ())
        if has_column:
            shared |= {c for c, p in zip(ids, intake.patients, strict=True) if p in values}
        return [c for c in ids if c in shared]

    def study(values: frozenset[str]) -> list[str] | None:
        in_headers = by_look(lambda x: x.header.study_uid if x.header else "")(values)
        if "study_id" not in intake.frame.columns:
            return in_headers
        cells = zip(ids, intake.frame["study_id"].tolist(), strict=True)
        shared = set(in_headers or ()) | {c for c, cell in cells if cell.strip() in values}
        return [c for c in ids if c in shared]

    def file(values: frozenset[str]) -> list[str] | None:
        if not intake.digests:
            return None
        pairs = zip(ids, intake.images, strict=True)
        return [c for c, names in pairs if any(intake.digests.get(n) in values for n in names)]

    return {
        "patient_id": patient,
        "study_uid": study,
        "series_uid": by_look(lambda x: x.header.series_uid if x.header else ""),
        "sop_uid": by_look(lambda x: x.header.sop_uid if x.header else ""),
        "file_sha256": file,
        "pixel_sha256": by_look(lambda x: x.pixel_digest),
    }
