"""Reference measurements that lie in files: a number of a structured report, or the size of an outline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from evalsuite.errors import ImageError, InputError, Problem
from evalsuite.imaging.mask_file import decode_mask
from evalsuite.imaging.measurement_report import read_measurements
from evalsuite.protocol.lesion_blocks import ReferenceFile
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.stats.mask_size import longest_diameter_mm, volume_ml
from evalsuite.testset.reference_files import ReferenceFiles


def with_measured(
    protocol: StudyProtocol, frame: pd.DataFrame, case_id: Sequence[str], files: ReferenceFiles
) -> pd.DataFrame:
    """The frame with its reference column's cells, names of files, replaced by the numbers they hold; empty cells stay.

    Raises
    ------
    InputError
        Every file that holds no such number, or several of them, by case.
    LockError
        If a file is not the one that was locked.
    """
    asked, column = protocol.task.reference_file, str(protocol.task.reference)
    assert asked is not None, "only called for it"
    if column not in frame.columns:
        raise InputError(f"The locked test set has no reference column '{column}'.", hint="Correct task.reference.")
    problems: list[Problem] = []
    cells = [
        _number(asked, str(cell), case, files, problems) for cell, case in zip(frame[column], case_id, strict=True)
    ]
    if problems:
        raise InputError(
            f"{len(problems)} reference files of column '{column}' hold no measurement that can be used.",
            problems=problems[:50],
            hint="task.reference_file says what is read: a concept and its unit, or the size of a mask.",
        )
    return frame.assign(**{column: pd.Series(cells, index=frame.index, dtype="str")})


def _number(asked: ReferenceFile, cell: str, case: str, files: ReferenceFiles, problems: list[Problem]) -> str:
    if not cell.strip():
        return cell
    data = files.read(cell)
    if data is None:
        problems.append(Problem("no file of the locked test set", f"case {case}", "lock the set with --protocol"))
        return ""
    try:
        value = _reported(asked, data) if asked.kind == "report" else _size(asked, data)
    except ImageError as error:
        problems.append(Problem(error.message, f"case {case}"))
        return ""
    if isinstance(value, str):
        problems.append(Problem(value, f"case {case}"))
        return ""
    return repr(value)


def _reported(asked: ReferenceFile, data: bytes) -> float | str:
    """The one number with the concept, or why there is none."""
    wanted = (asked.concept or "").casefold()
    found = [
        n
        for n in read_measurements(data, name="the report")
        if wanted in (n.code.casefold(), n.meaning.casefold()) and asked.tracking in (None, n.tracking)
    ]
    if len(found) != 1:
        return f"the report has {f'{len(found)} measurements' if found else 'no measurement'} of this concept"
    if found[0].unit != asked.unit:
        return f"the report's unit is not {asked.unit}"
    return found[0].value


def _size(asked: ReferenceFile, data: bytes) -> float | str:
    labels, grid = decode_mask(data, name="the mask")
    if grid.spacing_mm is None:
        return "the mask states no spacing"
    mask = np.asarray(labels != 0 if asked.label is None else labels == asked.label)
    measure = volume_ml if asked.kind == "mask_volume_ml" else longest_diameter_mm
    return measure(mask, grid.spacing_mm)
