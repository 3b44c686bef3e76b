"""Patients with several cases or studies: allowed, but their cases are not independent of each other."""

from __future__ import annotations

from collections import Counter, defaultdict

from evalsuite.testset.intake.types import CheckResult, Intake, plural

_TITLE = "Several cases or studies per patient"
_WHY = (
    "Cases of one patient are not independent: intervals are computed by patient. A patient under two identifiers "
    "would be taken for two."
)


def several_per_patient(intake: Intake) -> CheckResult:
    """How many patients have more than one case, and more than one study; DICOM studies that two patients share."""
    if intake.roles.patient is None:
        return CheckResult(
            check="several_per_patient",
            title=_TITLE,
            outcome="warning",
            summary="no patient column: every case is taken for a patient of its own",
            why=_WHY,
            action="Add a patient_id column where a patient may have several cases.",
        )
    cases = Counter(intake.patients)
    studies: dict[str, set[str]] = defaultdict(set)
    owners: dict[str, set[str]] = defaultdict(set)
    column = intake.frame["study_id"].tolist() if "study_id" in intake.frame.columns else [""] * len(intake.case_ids)
    for patient, names, study in zip(intake.patients, intake.images, column, strict=True):
        if not names and not study:
            continue  # a set for every patient of a large table without images would cost more than all other checks
        uids = {h.study_uid for n in names if (k := intake.looks.get(n)) and (h := k.header) and h.study_uid}
        for uid in uids:
            owners[uid].add(patient)
        studies[patient] |= uids or ({study.strip()} - {""})
    several_cases = [p for p, n in cases.items() if n > 1]
    several_studies = [p for p, found in studies.items() if len(found) > 1]
    shared = [found for found in owners.values() if len(found) > 1]
    empty = int((intake.frame[intake.roles.patient].str.strip() == "").sum())
    said = (
        f"{plural(len(cases), 'patient')}; {len(several_cases):,} with several cases, "
        f"{len(several_studies):,} with several studies"
    )
    if empty:
        said += f"; {plural(empty, 'case')} without a patient"
    if shared:
        said += f"; {plural(len(shared), 'study', 'studies')} under more than one patient"
    strangers = {p for found in shared for p in found}
    return CheckResult(
        check="several_per_patient",
        title=_TITLE,
        outcome="problem" if shared else ("warning" if empty else "ok"),
        summary=said,
        counts={
            "patients": len(cases),
            "patients_with_several_cases": len(several_cases),
            "patients_with_several_studies": len(several_studies),
            "studies_under_several_patients": len(shared),
            "cases_without_patient": empty,
        },
        cases=tuple(c for c, p in zip(intake.case_ids, intake.patients, strict=True) if p in strangers),
        why=_WHY,
        action="Put right which patient these cases belong to." if shared else "",
    )
