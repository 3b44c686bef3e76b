"""What each column of a case table is for, and which are sealed away until the predictions are made."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evalsuite.errors import InputError, Problem
from evalsuite.protocol.drift import drift_attributes
from evalsuite.protocol.localisation import LOCALISATION_COLUMNS
from evalsuite.protocol.shortcuts import shortcut_columns
from evalsuite.protocol.source_checks import analysis_columns
from evalsuite.testset.table import row_list, suggest

if TYPE_CHECKING:
    import pandas as pd

    from evalsuite.protocol.schema import StudyProtocol

OPEN_COLUMNS = ("study_id", "site", "acquired_at", "sample_weight")
REFERENCE_STATUSES = ("established", "equivocal", "missing")
DICOM_PREFIX = "dicom:"
_HINTS = {
    "case column": "say which column names the cases: --case-column, or unit.case of the protocol",
    "patient column": "say which column names the patients: --patient-column, or unit.cluster of the protocol",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """Names of the columns by what they are for. `files` are sealed columns whose cells name files (masks)."""

    case: str
    patient: str | None
    images: tuple[str, ...]
    unsealed: tuple[str, ...]
    sealed: tuple[str, ...]
    files: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "case": self.case,
            "patient": self.patient,
            "image": list(self.images),
            "unsealed": list(self.unsealed),
            "sealed": list(self.sealed),
            "reference_files": list(self.files),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked of a table: column names with who asks for them, and DICOM attributes for strata."""

    case: str
    patient: str
    patient_required: bool
    reference: Mapping[str, str] | None
    disclosed: Mapping[str, str]
    attributes: tuple[str, ...]
    regions: tuple[str, ...] = ()


def what_is_wanted(
    *, reference: Sequence[str] | None, protocol: StudyProtocol | None, case_column: str, patient_column: str
) -> Wanted:
    """Join what the caller names with what the protocol names. `reference` maps a column to who asks for it.

    Raises
    ------
    InputError
        If caller and protocol name different case or patient columns.
    """
    named: dict[str, str] = dict.fromkeys(reference or (), "--reference")
    disclosed: dict[str, str] = {}
    attributes: list[str] = []
    required = patient_column != "patient_id"
    if protocol is not None:
        for given, default, stated, option in (
            (case_column, "case_id", protocol.unit.case, "unit.case"),
            (patient_column, "patient_id", protocol.unit.cluster, "unit.cluster"),
        ):
            if given not in (default, stated):
                raise InputError(
                    f"the protocol's {option} is {stated!r}, the command says {given!r}",
                    hint="Leave the option out: the protocol decides.",
                )
        case_column, patient_column = protocol.unit.case, protocol.unit.cluster
        required = patient_column != "patient_id"
        task = [protocol.task.reference] if isinstance(protocol.task.reference, str) else protocol.task.reference
        named.update(dict.fromkeys(task, "task.reference"))
        for column, who in analysis_columns(protocol).items():
            named.setdefault(column, who)
        for spec in protocol.strata:
            column = spec.column or spec.name
            if spec.cross is not None:
                continue
            if column.startswith(DICOM_PREFIX):
                attributes.append(column.removeprefix(DICOM_PREFIX))
            else:
                named.setdefault(column, f"stratum {spec.name!r}")
        attributes += drift_attributes(protocol.analyses.drift)
        for column in protocol.disclose:
            if column.startswith(DICOM_PREFIX):
                attributes.append(column.removeprefix(DICOM_PREFIX))
            else:
                disclosed[column] = "disclose"
    return Wanted(
        case=case_column,
        patient=patient_column,
        patient_required=required,
        reference=named if (reference is not None or protocol is not None) else None,
        disclosed=disclosed,
        attributes=tuple(dict.fromkeys(attributes)),
        regions=() if protocol is None else shortcut_columns(protocol),
    )


def column_problems(columns: Sequence[str], wanted: Wanted) -> list[Problem]:
    """Columns that are named somewhere and not in the table, each with a hint."""
    regions = dict.fromkeys(wanted.regions, "analyses.interpretability.shortcuts")
    asked = {wanted.case: "case column", **(wanted.reference or {}), **wanted.disclosed, **regions}
    if wanted.patient_required:
        asked[wanted.patient] = "patient column"
    problems = [
        Problem(what=f"no column {name!r}", where=who, hint=suggest(name, columns) or _HINTS.get(who, ""))
        for name, who in asked.items()
        if name not in columns
    ]
    if "reference_status" in (wanted.case, wanted.patient):
        problems.append(Problem(what="column 'reference_status' cannot name cases or patients"))
    problems += [
        Problem(what=f"column {name!r} names cases, patients or images", where=who, hint="it cannot be the reference")
        for name, who in (wanted.reference or {}).items()
        if who != f"stratum {name!r}" and name in (wanted.case, "image")
    ]
    return problems


def assign_roles(columns: Sequence[str], path_columns: Iterable[str], wanted: Wanted) -> Roles:
    """Decide what every column is for.

    Open are the case, patient and image columns, study_id, site, acquired_at and sample_weight. Of the others, all are
    sealed, or, where `--reference` or a protocol names the sealed ones, those, reference_status and labelled_at. Image
    columns are `image`, the columns of file names that are neither sealed by name nor masks, and the masks of regions
    that are suspected as shortcuts: the model is shown images without them before the reference is opened.
    """
    named = wanted.reference
    files_too = ("--reference", "task.reference", "analyses.failures.outline", *LOCALISATION_COLUMNS)
    by_caller = {n for n, who in (named or {}).items() if who in files_too}
    paths = [c for c in columns if c in set(path_columns)]
    patient = wanted.patient if wanted.patient in columns else None
    images = tuple(c for c in paths if c == "image" or c in wanted.regions or (c not in by_caller and not _is_mask(c)))
    always_open = {wanted.case, patient, *images, *(c for c in OPEN_COLUMNS if c not in by_caller)}

    def is_sealed(column: str) -> bool:
        if column in always_open:
            return False
        return named is None or column in named or column in ("reference_status", "labelled_at")

    sealed = tuple(c for c in columns if is_sealed(c))
    return Roles(
        case=wanted.case,
        patient=patient,
        images=images,
        unsealed=tuple(c for c in columns if not is_sealed(c)),
        sealed=sealed,
        files=tuple(c for c in paths if c not in images),
    )


def _is_mask(column: str) -> bool:
    words = column.casefold().replace("-", "_").split("_")
    return bool({"mask", "masks", "boxes", "marks", "segmentation", "contour", "contours"} & set(words))


def cell_problems(frame: pd.DataFrame, case: str) -> list[Problem]:
    """Case ids that are empty or used twice, and cells of reference_status and sample_weight that cannot be."""
    problems = []
    if case in frame.columns:
        ids = frame[case]
        empty = ids.str.strip() == ""
        if empty.any():
            problems.append(Problem(what=f"empty {case}", where=row_list(_positions(empty))))
        repeated = ids.duplicated(keep=False) & ~empty
        if repeated.any():
            rows_of: dict[str, list[int]] = {}
            for row in _positions(repeated):
                rows_of.setdefault(str(ids.iloc[row]), []).append(row)
            problems += [
                Problem(what=f"{case} {name} is not unique", where=row_list(rows)) for name, rows in rows_of.items()
            ]
    if "reference_status" in frame.columns:
        wrong = ~frame["reference_status"].isin(REFERENCE_STATUSES)
        if wrong.any():
            problems.append(
                Problem(
                    what=f"reference_status is none of {', '.join(REFERENCE_STATUSES)}",
                    where=row_list(_positions(wrong)),
                )
            )
    if "sample_weight" in frame.columns:
        good = {cell: weight(cell) is not None for cell in frame["sample_weight"].unique()}
        wrong = ~frame["sample_weight"].map(good).astype(bool)
        if wrong.any():
            problems.append(Problem(what="sample_weight is not a number above 0", where=row_list(_positions(wrong))))
    return problems


def weight(cell: str) -> float | None:
    """A sample weight: finite and above 0, or None."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def _positions(mask: Any) -> list[int]:
    return [int(i) for i in mask.to_numpy().nonzero()[0]]
