"""Sealing a test set: every file, row and reference label gets a digest, so that any later change shows."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.errors import CaseTableError, InputError, Problem
from evalsuite.record import ledger
from evalsuite.record.canonical import canonical_json, write_json
from evalsuite.record.digest import sha256_bytes
from evalsuite.record.envelope import declaration, sign_file
from evalsuite.record.files import atomic_write, output_error, sync_folder, writing
from evalsuite.record.signing import Signer
from evalsuite.record.store import database, record_url
from evalsuite.record.usage import USED
from evalsuite.testset import lineage as versions
from evalsuite.testset import manifest
from evalsuite.testset.attributes import Attributes, attribute_problems
from evalsuite.testset.columns import (
    DICOM_PREFIX,
    OPEN_COLUMNS,
    Roles,
    Wanted,
    assign_roles,
    cell_problems,
    column_problems,
    what_is_wanted,
)
from evalsuite.testset.encryption import ReferenceKey, encrypt, encryption_entry
from evalsuite.testset.images import expand, path_columns, resolve
from evalsuite.testset.intake import IntakeOptions
from evalsuite.testset.intake.report import require_clean
from evalsuite.testset.open import ledger_of, open_testset
from evalsuite.testset.selection import Draw, Retired, draw_cases, read_retired, without_retired
from evalsuite.testset.table import FIRST_ROW, read_table, suggest
from evalsuite.testset.taking_in import Taken, take_in
from evalsuite.testset.types import LockedTestSet

if TYPE_CHECKING:
    import pandas as pd

    from evalsuite.protocol.schema import StudyProtocol

OnProgress = Callable[[int, int], None]
_DEFAULT_INTAKE = IntakeOptions()


def lock_testset(
    cases: Path,
    out: Path,
    *,
    reference: Sequence[str] | None = None,
    protocol: StudyProtocol | None = None,
    case_column: str = "case_id",
    patient_column: str = "patient_id",
    copy: bool = False,
    set_id: str | None = None,
    set_version: str = "1",
    actor: str,
    role: str = "custodian",
    utc: str,
    signer: Signer | None = None,
    reference_key: ReferenceKey | None = None,
    intake: IntakeOptions = _DEFAULT_INTAKE,
    draw: Draw | None = None,
    retire: Path | None = None,
    supersedes: Path | None = None,
    on_progress: OnProgress | None = None,
    store: str | None = None,
) -> LockedTestSet:
    """Lock the case table `cases` and the files it names into the new folder `out`.

    Parameters
    ----------
    cases
        CSV or Parquet, one row per case. Paths in it are relative to its folder, or absolute.
    out
        A folder that does not exist yet, or is empty. It appears whole, when everything has succeeded.
    reference, protocol
        Which columns are sealed; without both, all but the open ones (see `assign_roles`). A protocol also names the
        case and patient columns, and DICOM attributes to read.
    copy
        Copy the files into `out/files`; otherwise they stay where they are.
    set_id
        Name of the set; by default the name of `out`.
    actor, role, utc
        Who locks, in which role, and the time, for lock file and ledger.
    signer
        Signs the lock and the ledger's head; without it both are unsigned, which `verify` and every report say.
    reference_key
        Encrypts the reference standard and everything sealed with it; files it names (masks) stay as they are.
    intake
        How closely the files are looked at; what is found is stored in `out/intake.json`, whose digest the lock binds.
    draw
        Lock a random part of the table instead of all of it.
    retire
        A table of cases (case column, `reason`) that are on record and no longer evaluated.
    supersedes
        The older version of this set: the lock lists what changed, both ledgers say so, and its retired cases stay
        retired.
    on_progress
        Called with bytes done and bytes in all.
    store
        URL of the database that is to hold the ledger; by default it is a file in `out`.

    Raises
    ------
    CaseTableError
        If the table is empty, or columns, case ids or files are not what they should be (everything listed at once).
    InputError
        If `out` holds something already, or lies inside a folder that is part of the test set; if a table of retired
        cases or development data, or the older version, cannot be used.
    OutputError
        If `out` cannot be written: permission, disk full.
    """
    cases, out = Path(cases), Path(os.path.abspath(out))
    _require_free(out)
    if store is not None:
        database(store, testset="", n_cases=0)  # a store that cannot be used is said before the files are read
    frame = read_table(cases)
    if frame.empty:
        raise CaseTableError(f"{cases} has no rows", hint="A test set needs at least one case.")
    folder = Path(os.path.abspath(cases)).parent
    wanted = what_is_wanted(
        reference=reference, protocol=protocol, case_column=case_column, patient_column=patient_column
    )
    old = versions.open_old(Path(supersedes), reference_key) if supersedes is not None else None
    retired = () if old is None else old.retired
    if retire is not None:
        given = read_retired(Path(retire), wanted.case)
        retired = (*(r for r in retired if r.case_id not in {g.case_id for g in given}), *given)
    frame = without_retired(frame, wanted.case, retired, cases)
    drawn = None
    if draw is not None:
        _require_rows(frame, wanted, cases)
        frame, drawn = draw_cases(frame, draw, case_column=wanted.case, patient_column=wanted.patient, table=cases)
    frame, roles = _checked(frame, folder, wanted, cases)
    members = expand(_path_cells(frame, roles), folder)
    _require_outside(out, folder, members)

    staging = _stage(out)
    try:
        taken = take_in(
            frame,
            roles,
            wanted,
            members,
            folder=folder,
            table=cases,
            protocol=protocol,
            options=intake,
            today=date.fromisoformat(utc[:10]),
            target=staging / manifest.FILES_NAME if copy else None,
            encrypted=reference_key is not None,
            on_progress=on_progress,
        )
        _require_attributes(frame, wanted, taken.attributes, cases)
        if intake.strict:
            require_clean(taken.report, str(cases))
        rows = frame[list(roles.unsealed)]
        sealed = frame[list(roles.sealed)].copy()
        for name, texts in taken.attributes.columns.items():
            sealed[name] = list(texts)
        rows_bytes, sealed_bytes = manifest.parquet_bytes(rows), manifest.parquet_bytes(sealed)
        intake_bytes = canonical_json(taken.report.to_json())
        changes = None if old is None else _changes(old, frame, roles, taken, retired)
        lock: dict[str, Any] = {
            "schema": manifest.LOCK_SCHEMA,
            "set_id": set_id if set_id is not None else (out.name if old is None else old.testset.set_id),
            "version": set_version,
            "created_utc": utc,
            "files": taken.files,
            "merkle_root": manifest.files_root(taken.files),
            "rows": manifest.table_entry(rows, rows_bytes),
            "reference": manifest.table_entry(sealed, sealed_bytes),
            "counts": _counts(frame, roles, taken.files),
            "columns": {**roles.to_json(), "dicom": list(taken.attributes.columns)},
            "unit": {"case_column": roles.case, "patient_column": roles.patient},
            "attributes": taken.attributes.completeness(),
            "reuse_policy": _reuse_policy(protocol),
            "protocol": _protocol_entry(protocol),
            "copied": copy,
            "signature": declaration(staging / manifest.LOCK_NAME, signer),
            "intake": {
                "digest": sha256_bytes(intake_bytes),
                "problems": taken.report.count("problem"),
                "warnings": taken.report.count("warning"),
            },
            "series": taken.series_order,
            "draw": drawn,
            "retired": [r.to_json() for r in retired],
            "lineage": changes,
        }
        lock["root"] = manifest.set_root(lock)
        if reference_key is not None:
            sealed_bytes = encrypt(sealed_bytes, reference_key, root=lock["root"])
            lock["reference"]["encryption"] = encryption_entry(reference_key, sealed_bytes)
        atomic_write(staging / manifest.CASES_NAME, rows_bytes)
        atomic_write(staging / manifest.reference_name(lock), sealed_bytes)
        atomic_write(staging / manifest.INTAKE_NAME, intake_bytes)
        _write_location(staging, out, folder, copy)
        data = canonical_json(lock)
        atomic_write(staging / manifest.LOCK_NAME, data)
        if signer is not None:
            sign_file(staging / manifest.LOCK_NAME, signer, utc=utc)
        said = "test set locked" if changes is None else f"new version locked: {versions.described(changes)}"
        objects = {"testset_lock": sha256_bytes(data), "testset_root": lock["root"]}
        if changes is not None:
            objects |= {f"supersedes_{k}": changes["supersedes"][k] for k in ("root", "lock")}
        if old is not None and (used := versions.uses_brought_along(old, frame[roles.case].tolist())):
            objects[USED] = used
        if store is not None:
            record_url(staging, store)
        entry = ledger.Draft(action="locked", actor=actor, role=role, utc=utc, reason=said, objects=objects)
        ledger_of(staging, lock, store).append(lambda _: entry, signer=signer)
        _publish(staging, out)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    if old is not None and changes is not None:
        replaced = ledger.Draft(
            action="testset_superseded",
            actor=actor,
            role=role,
            utc=utc,
            reason=f"superseded by version {set_version}: {versions.described(changes)}",
            objects={"superseded_by_lock": sha256_bytes(data), "superseded_by_root": lock["root"]},
        )
        ledger_of(old.testset.path, old.testset.lock).append(lambda _: replaced, signer=signer)
    return open_testset(out, verify=False, reference_key=reference_key, store=store)


def _require_free(out: Path) -> None:
    try:
        if not os.path.lexists(out) or (out.is_dir() and not any(out.iterdir())):
            return
    except OSError as e:
        raise output_error(out, e) from e
    if (out / manifest.LOCK_NAME).exists():
        raise InputError(
            f"{out} holds a locked test set already",
            hint="A lock is never overwritten: choose another folder for the new version.",
        )
    raise InputError(f"{out} exists and is not empty", hint="Choose a folder that does not exist yet.")


def _stage(out: Path) -> Path:
    """A temporary folder on the same disk: beside `out`, or inside it where it exists (it may be a mount point)."""
    with writing(out):
        parent = out if out.is_dir() else out.parent
        parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=parent))
        staging.chmod(0o755)
    return staging


def _publish(staging: Path, out: Path) -> None:
    """Move the finished set to its place; into an existing folder the lock file goes last."""
    with writing(out):
        if staging.parent == out:
            for item in sorted(staging.iterdir(), key=lambda p: p.name == manifest.LOCK_NAME):
                os.rename(item, out / item.name)
            staging.rmdir()
            sync_folder(out)
        else:
            os.rename(staging, out)
            sync_folder(out.parent)


def _checked(frame: pd.DataFrame, folder: Path, wanted: Wanted, cases: Path) -> tuple[pd.DataFrame, Roles]:
    """The table with its paths in one form, and its columns' roles; CaseTableError with everything that is wrong."""
    problems = column_problems(list(frame.columns), wanted)
    problems += cell_problems(frame, wanted.case)
    problems += attribute_problems(wanted.attributes)
    never = {wanted.case, wanted.patient, "reference_status", *OPEN_COLUMNS}
    paths = path_columns(frame, folder, never)
    roles = assign_roles(list(frame.columns), paths, wanted)
    ids = [f"in row {i + FIRST_ROW}" for i in range(len(frame))]
    if wanted.case in frame.columns:
        ids = frame[wanted.case].tolist()
    replaced = {}
    missing = 0
    for column in paths:
        resolved = resolve(frame[column].tolist(), ids, column, folder)
        replaced[column] = list(resolved.cells)
        problems += resolved.problems
        if column == wanted.case:
            problems += [
                Problem(
                    what=f"{path}: is written in another way", where=f"case {i}", hint="this column names the cases"
                )
                for path, i in zip(resolved.cells, ids, strict=True)
                if path != i
            ]
        missing += len(resolved.problems)
    if problems:
        raise CaseTableError(
            f"{cases} has {len(problems)} problem{'s' if len(problems) > 1 else ''}",
            problems=problems,
            hint="Paths are relative to the folder of the table." if missing else "",
        )
    frame = frame.copy()
    for column, cells in replaced.items():
        frame[column] = cells
    return frame, roles


def _path_cells(frame: pd.DataFrame, roles: Roles) -> list[str]:
    return [cell for column in (*roles.images, *roles.files) for cell in frame[column].tolist()]


def _require_outside(out: Path, folder: Path, members: dict[str, tuple[str, ...]]) -> None:
    place = Path(os.path.realpath(out))
    for path, files in members.items():
        if files == (path,):
            continue
        series = Path(os.path.realpath(folder / path))
        if place == series or series in place.parents:
            raise InputError(f"{out} lies inside {path}, which is part of the test set", hint="Choose another folder.")


def _require_attributes(frame: pd.DataFrame, wanted: Wanted, attributes: Attributes, cases: Path) -> None:
    known = (*frame.columns, *attributes.columns)
    absent = [f"{DICOM_PREFIX}{k}" for k in wanted.attributes if f"{DICOM_PREFIX}{k}" not in known]
    if absent:
        raise CaseTableError(
            f"{cases} names no DICOM file to read attributes from, and has no such columns",
            problems=[
                Problem(what=f"no column {c!r}", where="protocol", hint=suggest(c, frame.columns)) for c in absent
            ],
            hint="Add the columns to the table, or take the strata out of the protocol.",
        )


def _changes(
    old: versions.Old, frame: pd.DataFrame, roles: Roles, taken: Taken, retired: Sequence[Retired]
) -> dict[str, Any]:
    return versions.lineage(
        old,
        frame=frame,
        roles_unsealed=roles.unsealed,
        roles_sealed=roles.sealed,
        case_column=roles.case,
        image_columns=roles.images,
        digests_of=taken.digests_by_case,
        retired=retired,
    )


def _require_rows(frame: pd.DataFrame, wanted: Wanted, cases: Path) -> None:
    """What a draw needs of the whole pool: unique case ids."""
    problems = [p for p in column_problems(list(frame.columns), wanted) if wanted.case in p.what]
    problems += cell_problems(frame[[c for c in (wanted.case,) if c in frame.columns]], wanted.case)
    if problems:
        raise CaseTableError(f"{cases}: cases cannot be drawn from this table", problems=problems)


def _counts(frame: pd.DataFrame, roles: Roles, files: Sequence[dict[str, Any]]) -> dict[str, int]:
    n = len(frame)
    without_patient = n if roles.patient is None else int((frame[roles.patient].str.strip() == "").sum())
    patients = n
    if roles.patient is not None:
        patients = int(frame[roles.patient][frame[roles.patient].str.strip() != ""].nunique()) + without_patient
    with_image = sum(any(row) for row in zip(*(frame[c].tolist() for c in roles.images), strict=True))
    return {
        "cases": n,
        "patients": patients,
        "cases_without_patient": without_patient,
        "cases_with_image": with_image,
        "files": len(files),
        "bytes": sum(f["size"] for f in files),
    }


def _reuse_policy(protocol: StudyProtocol | None) -> dict[str, Any]:
    from evalsuite.protocol.schema import ReusePolicy

    policy = protocol.reuse_policy if protocol is not None else ReusePolicy()
    return {"max_uses_per_case": policy.max_uses_per_case, "on_excess": policy.on_excess}


def _protocol_entry(protocol: StudyProtocol | None) -> dict[str, str] | None:
    if protocol is None:
        return None
    from evalsuite.protocol.load import protocol_digest

    return {"id": protocol.id, "version": protocol.version, "digest": protocol_digest(protocol)}


def _write_location(staging: Path, out: Path, folder: Path, copy: bool) -> None:
    # relative, so that set and images can move together; both sides without links, or ".." would lead elsewhere
    root = manifest.FILES_NAME if copy else os.path.relpath(os.path.realpath(folder), os.path.realpath(out))
    write_json(
        staging / manifest.LOCATION_NAME, {"schema": manifest.LOCATION_SCHEMA, "root": root.replace(os.sep, "/")}
    )
