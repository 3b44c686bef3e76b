"""The case table a protocol expects: its header and two example rows to replace."""

from __future__ import annotations

import csv
import io

from evalsuite.protocol.schema import StratumSpec, StudyProtocol, Task
from evalsuite.protocol.source_checks import analysis_columns

_EXAMPLES = {"sex": ("female", "male"), "site": ("site A", "site B"), "age": ("52", "67")}


def case_table_template(protocol: StudyProtocol) -> str:
    """CSV text: every column the protocol names, and two example rows, one of each class of the reference standard.

    DICOM attributes have no column, `lock` reads them from the images. The `image` column may be left out where
    predictions are recorded.
    """
    references = [protocol.task.reference] if isinstance(protocol.task.reference, str) else protocol.task.reference
    columns: dict[str, tuple[str, str]] = {
        protocol.unit.case: ("case-0001", "case-0002"),
        protocol.unit.cluster: ("patient-0001", "patient-0002"),
        "image": ("images/case-0001.dcm", "images/case-0002.dcm"),
    }
    for name in references:
        columns.setdefault(name, _reference_values(protocol.task))
    for spec in protocol.strata:
        if spec.column is not None and not spec.column.startswith("dicom:"):
            columns.setdefault(spec.column, _stratum_values(spec))
    for endpoint in protocol.endpoints:
        if endpoint.repeats is not None:
            columns.setdefault(endpoint.repeats, ("A", "A"))
    if protocol.analyses.weighting is not None:
        columns.setdefault("sample_weight", ("1", "1"))
    for name in analysis_columns(protocol):
        columns.setdefault(name, _analysis_values(protocol, name))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in (0, 1):
        writer.writerow([values[row] for values in columns.values()])
    return text.getvalue()


def _reference_values(task: Task) -> tuple[str, str]:
    if task.kind == "segmentation":
        return "masks/case-0001.nii.gz", "masks/case-0002.nii.gz"
    if task.kind == "detection":
        return "lesions.csv", "lesions.csv"
    if task.classes and len(task.classes) > 1:
        return task.classes[0], task.classes[1]
    given = task.positive if isinstance(task.positive, list) else [task.positive]
    positive = given[0] if given else 1
    if isinstance(positive, bool):
        return str(positive).lower(), str(not positive).lower()
    taken = {str(value) for value in given}
    negative = next(word for word in ("0", "1", "2", "negative", "absent") if word not in taken)
    return str(positive), "negative" if isinstance(positive, str) and "negative" not in taken else negative


def _analysis_values(protocol: StudyProtocol, name: str) -> tuple[str, str]:
    a = protocol.analyses
    if a.truth_panel is not None and name in a.truth_panel.readers:
        return _reference_values(protocol.task)
    if a.verification is not None and name == a.verification.verified:
        return "1", "1"
    if a.change is not None and name == a.change.visit:
        return str(a.change.before), str(a.change.after)
    return _EXAMPLES.get(name, ("A", "B"))


def _stratum_values(spec: StratumSpec) -> tuple[str, str]:
    if spec.bins:
        return f"{spec.bins[0] - 1:g}", f"{spec.bins[0]:g}"
    return _EXAMPLES.get(spec.column or "", ("A", "B"))
