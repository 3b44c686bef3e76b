"""A window given as DICOM files and the deployment's prediction log: the case table that the two make together."""

from __future__ import annotations

import glob
import io
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from evalsuite.errors import CaseTableError, ImageError, InputError, Problem
from evalsuite.imaging.attributes import is_dicom
from evalsuite.imaging.headers import read_header
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.record.digest import in_threads
from evalsuite.record.files import walk_files
from evalsuite.testset.table import read_table, row_list

if TYPE_CHECKING:
    import pandas as pd

    from evalsuite.imaging.headers import Header

CaseUid = Literal["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"]
_SUFFIXES = (".dcm", ".dicom", ".ima")
_INDEX = "DICOMDIR"  # an index of a medium, no image


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomWindow:
    """Where the files of a window are (a folder, or a pattern such as `2026-03/**/*.dcm`), the prediction log about
    them, and the UID that tells which files are a case."""

    files: Path
    log: Path
    uid: CaseUid = "SOPInstanceUID"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A file that is DICOM, or is named so; `header` is None where it cannot be read."""

    path: str
    header: Header | None


def window_table(window: DicomWindow, protocol: StudyProtocol, folder: Path) -> bytes:
    """The case table as CSV: the log's rows in their order, with `image` relative to `folder`, and the patient.

    Files with the same value of `window.uid` are one case; several of them are a series, which has a folder of its own.
    The value is found in the log's column of that name, which is then left out of the table, or else in its column of
    case ids. Where the log does not name the patients, a number of the window stands for each PatientID: no value of
    it enters the table.

    Raises
    ------
    InputError
        If there is no DICOM file, files cannot be read or lack an identifier, files and rows do not belong together one
        to one, or files of a case are no series of their own. Counts and row numbers are said, no value of a header.
    CaseTableError
        If the log cannot be read or has no column of cases, or one named `image`.
    """
    table = read_table(window.log)
    case, patient = protocol.unit.case, protocol.unit.cluster
    key = window.uid if window.uid in table.columns else case
    _require_columns(table, window, case, key)
    found = _dicom_files(window.files)
    by_uid = _cases(found, window)
    cells = [str(cell).strip() for cell in table[key]]
    _require_one_to_one(cells, by_uid, window)
    images = {uid: _image(files, window) for uid, files in by_uid.items()}
    named = {uid: {f.header.patient_id for f in files if f.header is not None} for uid, files in by_uid.items()}
    made = table.drop(columns=[key]) if key != case else table.copy()
    made["image"] = [os.path.relpath(images[uid], folder).replace(os.sep, "/") for uid in cells]
    if patient not in made.columns:
        made[patient] = _pseudonyms([named[uid] for uid in cells], window)
    buffer = io.StringIO()
    made.to_csv(buffer, index=False, lineterminator="\n")
    return buffer.getvalue().encode()


def _require_columns(table: pd.DataFrame, window: DicomWindow, case: str, key: str) -> None:
    problems = []
    if table.empty:
        problems.append(Problem("it has no rows"))
    if case not in table.columns:
        problems.append(Problem(f"no column {case!r}", hint="a row per case, named as unit.case of the protocol says"))
    if "image" in table.columns:
        problems.append(Problem("a column 'image'", hint="the files are those of the window: leave it out"))
    if not problems:
        cells = table[key].map(lambda cell: str(cell).strip())
        empty, twice = cells == "", cells.duplicated(keep=False) & (cells != "")
        for wrong, what in ((empty, "without a value"), (twice, "with the value of another")):
            rows = [int(i) for i in wrong.to_numpy().nonzero()[0]]
            if rows:
                problems.append(Problem(f"{len(rows)} rows {what} in {key!r}", row_list(rows)))
    if problems:
        raise CaseTableError(f"{window.log.name} is not the prediction log of DICOM files.", problems=problems)


def _dicom_files(place: Path) -> list[_Found]:
    """Every DICOM file of a folder or pattern, sorted by path; other files are none of the window."""
    text = os.path.abspath(place)
    hits = [text] if os.path.exists(text) else sorted(glob.glob(text, recursive=True))
    paths: set[str] = set()
    try:
        for hit in hits:
            if os.path.isdir(hit):
                paths.update(os.path.join(hit, name) for name in walk_files(Path(hit)))
            else:
                paths.add(hit)
    except OSError as error:
        raise InputError(f"The window {place} cannot be read: {error.strerror}.") from error
    chosen = [p for p in sorted(paths) if os.path.basename(p) != _INDEX and (_named_so(p) or is_dicom(Path(p)))]
    if not chosen:
        raise InputError(
            f"{place} holds no DICOM file.",
            hint="--window names a folder, or a pattern in quotes: --window 'march/**/*.dcm'. Without --log it is a "
            "case table.",
        )
    return in_threads(_read, chosen)


def _named_so(path: str) -> bool:
    return path.lower().endswith(_SUFFIXES)


def _read(path: str) -> _Found:
    try:
        with open(path, "rb") as file:
            header = read_header(file, name=os.path.basename(path), today=datetime.now(UTC).date())
    except (ImageError, OSError):
        return _Found(path=path, header=None)  # counted by `_cases`, which refuses it
    return _Found(path=path, header=header)


def _uid(header: Header, uid: CaseUid) -> str:
    return {
        "SOPInstanceUID": header.sop_uid,
        "SeriesInstanceUID": header.series_uid,
        "StudyInstanceUID": header.study_uid,
    }[uid]


def _cases(found: Sequence[_Found], window: DicomWindow) -> dict[str, list[_Found]]:
    """Files by the UID that tells their case."""
    unreadable = [f for f in found if f.header is None]
    cases: dict[str, list[_Found]] = defaultdict(list)
    for f in found:
        if f.header is not None:
            cases[_uid(f.header, window.uid)].append(f)
    without = cases.pop("", [])
    problems = []
    if unreadable:
        problems.append(Problem(f"{len(unreadable)} of {len(found)} files cannot be read as DICOM"))
    if without:
        problems.append(Problem(f"{len(without)} of {len(found)} files have no {window.uid}"))
    if problems:
        raise InputError(
            f"{len(unreadable) + len(without)} DICOM files of the window cannot be cases.",
            problems=problems,
            hint="Export them again, or leave them out by a pattern; `evalsuite audit` leaves none out by itself.",
        )
    return dict(cases)


def _require_one_to_one(cells: Sequence[str], by_uid: Mapping[str, Any], window: DicomWindow) -> None:
    """InputError where a case has files and no row, or a row and no file."""
    known = set(cells)
    unlogged = [uid for uid in by_uid if uid not in known]
    fileless = [row for row, cell in enumerate(cells) if cell not in by_uid]
    problems = []
    if unlogged:
        n_files = sum(len(by_uid[uid]) for uid in unlogged)
        problems.append(Problem(f"{len(unlogged)} cases ({n_files} files) have no row in the log", window.uid))
    if fileless:
        problems.append(Problem(f"{len(fileless)} rows of the log have no file", row_list(fileless)))
    if problems:
        raise InputError(
            f"Files and prediction log do not belong together: {len(by_uid)} cases, {len(cells)} rows.",
            problems=problems,
            hint="Complete the log (a case that the device failed on has a `status`) and the folder; files that the "
            "device was never given are left out by a pattern. --case-uid says which UID the log has.",
        )


def _image(files: Sequence[_Found], window: DicomWindow) -> str:
    """The file of a case, or the folder that holds its series and nothing else."""
    if len(files) == 1:
        return files[0].path
    if window.uid == "SOPInstanceUID":
        raise InputError(
            f"{len(files)} files of the window have the same SOPInstanceUID: an instance is stored once.",
            hint="Leave the copies out, or say what a case is: --case-uid SeriesInstanceUID",
        )
    folders = {os.path.dirname(f.path) for f in files}
    series = {f.header.series_uid for f in files if f.header is not None}
    folder = sorted(folders)[0]
    own = len(folders) == 1 and set(walk_files(Path(folder))) == {os.path.basename(f.path) for f in files}
    if len(series) != 1 or not own:
        raise InputError(
            f"{len(files)} files of a case are not one series in a folder of its own.",
            problems=[
                Problem(f"{len(series)} series in {len(folders)} folders, or with others beside them", window.uid)
            ],
            hint="A case is a file, or a folder with the slices of one series: export each series into its own folder.",
        )
    return folder


def _pseudonyms(named: Sequence[set[str]], window: DicomWindow) -> list[str]:
    """A number per PatientID, in the order of the rows."""
    nobody = [i for i, ids in enumerate(named) if ids == {""}]
    several = [i for i, ids in enumerate(named) if len(ids) > 1]
    problems = []
    for rows, what in ((nobody, "have no PatientID"), (several, "have several PatientIDs")):
        if rows:
            problems.append(Problem(f"the files of {len(rows)} cases {what}", row_list(rows)))
    if problems:
        raise InputError(
            "It is not known which cases are of one patient.",
            problems=problems,
            hint=f"Name the patients by pseudonyms in {window.log.name}, in the column that unit.cluster names.",
        )
    numbers: dict[str, int] = {}
    return [f"patient-{numbers.setdefault(next(iter(ids)), len(numbers) + 1):05d}" for ids in named]
