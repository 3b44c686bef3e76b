"""Opening a locked test set: everything is compared with the lock first, and whatever differs is named."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.errors import InputError, LedgerError, LockError, Problem
from evalsuite.record import ledger
from evalsuite.record.canonical import read_json
from evalsuite.record.digest import hash_files, hashing_threads, in_threads, sha256_bytes
from evalsuite.record.files import walk_files
from evalsuite.record.shared import is_url, size_of
from evalsuite.record.signed_head import KEY_OBJECT
from evalsuite.record.store import STORE_NAMES, LedgerStore, check_signed_head, open_store
from evalsuite.record.trust import NO_TRUST, Check, Expected, Trust, check_file_signature
from evalsuite.testset import manifest
from evalsuite.testset.columns import weight
from evalsuite.testset.encryption import ReferenceKey, decrypt, encryption_of, require_key, require_reference_key
from evalsuite.testset.images import files_of, stored_name
from evalsuite.testset.kept import Last
from evalsuite.testset.places import image_root, locator
from evalsuite.testset.types import Case, LockedTestSet

if TYPE_CHECKING:
    import pandas as pd

OnProgress = Callable[[int, int], None]

_ASKING = 32  # questions to shared storage at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """All that was found when a set was compared with its lock. `cases` is None where the rows are damaged."""

    path: Path
    lock: Mapping[str, Any]
    digest: str
    root: Path | None
    cases: pd.DataFrame | None
    checks: tuple[Check, ...]
    problems: tuple[Problem, ...]


def open_testset(
    path: Path,
    *,
    verify: bool = True,
    reference_key: ReferenceKey | None = None,
    trust: Trust = NO_TRUST,
    on_progress: OnProgress | None = None,
    store: str | None = None,
) -> LockedTestSet:
    """Open a locked test set after comparing all of it with its lock; the reference standard stays closed.

    Parameters
    ----------
    path
        The folder `lock_testset` wrote.
    verify
        False leaves out only the hashing of the image files; that they are there, their sizes, the tables and the
        ledger are checked all the same.
    reference_key
        Opens an encrypted reference standard later on; its content is then compared with the lock here too.
    trust
        Keys one of which must have signed the lock.
    on_progress
        Called with bytes hashed and bytes in all.
    store
        Database that holds its ledger, where the set itself does not say.

    Raises
    ------
    InputError
        If there is no locked test set at `path`, its store cannot be used, or a key is given and the
        reference standard is not encrypted.
    LockError
        If anything was changed, removed or added (a signature too), or the reference key is another one; every file is
        named in `problems`.
    """
    seen = examine(
        Path(path),
        hash_images=verify,
        reference_key=reference_key,
        trust=trust,
        on_progress=on_progress,
        store=store,
    )
    if seen.problems or seen.cases is None or seen.root is None:
        raise _differs(seen)
    return _build(seen, seen.cases, seen.root, reference_key)


def open_record(path: Path, *, reference_key: ReferenceKey | None = None) -> LockedTestSet:
    """Open what a set's lock and tables say, whatever became of its image files: a newer version replaces them.

    Raises
    ------
    InputError
        If there is no locked test set at `path`.
    LockError
        If the lock, a table, the intake report, the ledger or a signature does not hold.
    """
    seen = examine(Path(path), hash_images=False, reference_key=reference_key)
    of_files = ("files", "no extra files")
    broken = [
        Problem(what=c.detail, where=c.name) for c in seen.checks if c.status == "broken" and c.name not in of_files
    ]
    if broken or seen.cases is None or seen.root is None:
        raise _differs(replace(seen, problems=tuple(broken)))
    return _build(seen, seen.cases, seen.root, reference_key)


def open_reference(testset: LockedTestSet) -> pd.DataFrame:
    """Open the reference standard and all columns to stratify by, as text, in the order of `testset.cases`.

    Columns: the open ones without image paths, the sealed ones, and `dicom:…` attributes. An empty cell of the patient
    column is filled with the id under which the case counts as a patient of its own.

    Raises
    ------
    InputError
        If the reference standard is encrypted and the set was opened without its key.
    LockError
        If a table differs from the lock under which the set was opened.
    """
    require_reference_key(testset, testset.reference_key)
    rows = _table(testset.path, testset.lock, "rows")
    sealed = _table(testset.path, testset.lock, "reference", testset.reference_key)
    columns = testset.lock["columns"]
    frame: pd.DataFrame = rows.drop(columns=[c for c in columns["image"] if c != columns["case"]])
    if columns["patient"] is not None:
        frame[columns["patient"]] = [case.patient_id for case in testset.cases]
    for name in sealed.columns:
        frame[name] = sealed[name]
    return frame


def examine(
    path: Path,
    *,
    hash_images: bool,
    reference_key: ReferenceKey | None = None,
    trust: Trust = NO_TRUST,
    on_progress: OnProgress | None = None,
    store: str | None = None,
) -> Examination:
    """Compare a set with its lock. Raises only when there is no readable lock to compare with, or for a wrong key."""
    lock, digest = read_lock(path)
    if reference_key is not None:
        require_key(lock, reference_key)
    problems: list[Problem] = []
    checks = [Check(name="lock", status="holds", detail=f"root {lock['root']}")]

    def add(name: str, found: list[Problem], detail: str) -> None:
        problems.extend(found)
        text = "; ".join(str(p) for p in found) if found else detail
        checks.append(Check(name=name, status="broken" if found else "holds", detail=text))

    def add_check(check: Check) -> None:
        checks.append(check)
        if check.status == "broken":
            problems.append(Problem(what=check.detail, where=check.name))

    cases: pd.DataFrame | None = None
    closed = encryption_of(lock) is not None and reference_key is None
    as_locked = f"{lock['counts']['cases']} rows as locked"
    for name, key in (("case rows", "rows"), ("reference standard", "reference")):
        found = []
        try:
            if key == "rows":
                cases = _sound_rows(_table(path, lock, key), lock)
            elif closed:
                _sealed_bytes(path, lock)
            elif len(_table(path, lock, key, reference_key)) != lock["counts"]["cases"]:
                raise LockError(f"{manifest.reference_name(lock)} does not have one row per case")
        except LockError as e:
            found = [Problem(what=e.message)]
        add(name, found, "encrypted, the ciphertext as locked" if closed and key == "reference" else as_locked)

    if "intake" in lock:
        intake_problems = _check_intake(path, lock)
        add(
            "intake report",
            intake_problems,
            f"{lock['intake']['problems']} problems, {lock['intake']['warnings']} warnings",
        )

    root, location_problems = image_root(path)
    changed: list[Problem] = []
    extra = _extra_in_set(path, lock)
    if root is not None and (lock["files"] or lock["copied"]):
        place = locator(root, lock)
        changed = _compare_files(lock, place, hash_images, on_progress)
        if cases is not None:
            extra += _extra_in_series(lock, cases, place)
    add("files", location_problems + changed, f"{len(lock['files'])} files as locked")
    if lock["files"] and not hash_images and checks[-1].status == "holds":
        checks[-1] = Check(name="files", status="not checked", detail="present with the locked sizes; not hashed")
    add("no extra files", extra, "nothing was added")
    kept = ledger_of(path, lock, store)
    entries, ledger_problems = _check_ledger(kept, digest)
    add("ledger", ledger_problems, f"{len(entries)} entr{'y' if len(entries) == 1 else 'ies'}, chain intact")
    if entries:
        add_check(check_signed_head(kept, entries, trust=trust))
    entered = next((e for e in entries if e.objects.get("testset_lock") == digest), None)
    keyid = None if entered is None else entered.objects.get(KEY_OBJECT)
    expected = None if entered is None or keyid is None else Expected(keyid=keyid, by=f"ledger entry {entered.seq}")
    add_check(
        check_file_signature("signature", path / manifest.LOCK_NAME, lock["signature"], trust=trust, expected=expected)
    )
    return Examination(
        path=path,
        lock=lock,
        digest=digest,
        root=root,
        cases=cases,
        checks=tuple(checks),
        problems=tuple(problems),
    )


def read_lock(path: Path) -> tuple[dict[str, Any], str]:
    """The lock of the set at `path`, and the SHA-256 of its file. InputError if there is none, LockError if damaged."""
    file = path / manifest.LOCK_NAME
    try:
        data = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as e:
        if any((path / name).exists() for name in manifest.OWN_NAMES):
            raise LockError(f"{file} is missing", hint="Restore the file, or lock the test set again.") from e
        raise InputError(
            f"{path} is not a locked test set", hint="Make one with: evalsuite lock CASES --out SET"
        ) from e
    except OSError as e:
        raise InputError(f"{file} cannot be read ({e.strerror})", hint="Check the permissions.") from e
    return manifest.parse_lock(data, str(file)), sha256_bytes(data)


def _table(path: Path, lock: Mapping[str, Any], key: str, reference_key: ReferenceKey | None = None) -> pd.DataFrame:
    if key == "rows":
        file = manifest.CASES_NAME
        data = _bytes_as_locked(path / file, lock[key]["sha256"])
    else:
        file = manifest.reference_name(lock)
        data = _sealed_bytes(path, lock)
        if reference_key is not None:
            data = decrypt(data, reference_key, root=lock["root"])
            if sha256_bytes(data) != lock[key]["sha256"]:
                raise LockError(f"{file} does not have the content its lock states", hint="Restore the file.")
    parsed = (
        _Parsed.of(data, file)
        if reference_key is not None
        else _PARSED.get(sha256_bytes(data), make=lambda: _Parsed.of(data, file))
    )
    if parsed.digest != lock[key]["digest"]:
        raise LockError(f"{file} does not have the content its lock states", hint="Restore the file.")
    return parsed.frame.copy()


@dataclass(frozen=True, slots=True)
class _Parsed:
    """A table and the digest of its content."""

    frame: pd.DataFrame
    digest: str

    @classmethod
    def of(cls, data: bytes, file: str) -> _Parsed:
        frame = manifest.parquet_frame(data, file)
        return cls(frame, manifest.table_digest(frame))


_PARSED: Last[_Parsed] = Last(most=4)  # rows and reference standard of two sets: an audit's window and its baseline
_CASES: Last[tuple[Case, ...]] = Last(most=2)  # of the same two sets


def _sealed_bytes(path: Path, lock: Mapping[str, Any]) -> bytes:
    """The reference standard's file, plain or encrypted, as the lock has it."""
    encryption = encryption_of(lock)
    sha256 = lock["reference"]["sha256"] if encryption is None else encryption["sha256"]
    return _bytes_as_locked(path / manifest.reference_name(lock), sha256)


def _bytes_as_locked(file: Path, sha256: str) -> bytes:
    try:
        data = file.read_bytes()
    except FileNotFoundError as e:
        raise LockError(f"{file.name} is missing", hint="Restore the file.") from e
    except OSError as e:
        raise LockError(f"{file.name} cannot be read ({e.strerror})", hint="Check the permissions.") from e
    found = sha256_bytes(data)
    if found != sha256:
        raise LockError(
            f"{file.name} differs from the locked copy: {_digests(sha256, found)}", hint="Restore the file."
        )
    return data


def _check_intake(path: Path, lock: Mapping[str, Any]) -> list[Problem]:
    try:
        found = sha256_bytes((path / manifest.INTAKE_NAME).read_bytes())
    except OSError as e:
        return [Problem(what=f"{manifest.INTAKE_NAME} cannot be read ({e.strerror})")]
    locked = lock["intake"]["digest"]
    return [] if found == locked else [Problem(what=f"{manifest.INTAKE_NAME} was changed: {_digests(locked, found)}")]


def read_intake(testset: LockedTestSet) -> dict[str, Any] | None:
    """The intake report of a set, None for a set that was locked without one. LockError if it was changed."""
    if "intake" not in testset.lock:
        return None
    if problems := _check_intake(testset.path, testset.lock):
        raise LockError(problems[0].what, hint="Restore the file.")
    report: dict[str, Any] = read_json(testset.path / manifest.INTAKE_NAME, error=LockError)
    return report


def read_rows(testset: LockedTestSet) -> pd.DataFrame:
    """The open columns of the case table, as text. LockError if they differ from the lock."""
    return _table(testset.path, testset.lock, "rows")


def _sound_rows(frame: pd.DataFrame, lock: Mapping[str, Any]) -> pd.DataFrame:
    columns = lock["columns"]
    needed = {columns["case"], *columns["image"]} | ({columns["patient"]} - {None})
    if not needed <= set(frame.columns) or len(frame) != lock["counts"].get("cases"):
        raise LockError(f"{manifest.CASES_NAME} does not fit the columns and counts of its lock")
    return frame


def _compare_files(
    lock: Mapping[str, Any], place: Callable[[str], str], hash_images: bool, on_progress: OnProgress | None
) -> list[Problem]:
    problems: dict[str, Problem] = {}
    to_hash: dict[str, str] = {}  # texts, not Path: a set may hold a million files
    expected = {f["path"]: f for f in lock["files"]}
    sizes = _sizes({name: place(name) for name in expected})
    for name, entry in expected.items():
        path, size = place(name), sizes[name]
        if isinstance(size, OSError):
            problems[name] = Problem(what=f"{name} cannot be read ({size.strerror})")
        elif size is None:
            problems[name] = Problem(what=f"{name} is missing")
        elif hash_images:
            to_hash[path] = name
        elif size != entry["size"]:
            problems[name] = Problem(what=f"{name} differs from the locked copy: {entry['size']} bytes, found {size}")
    total = sum(expected[name]["size"] for name in to_hash.values())
    done = 0
    mutex = threading.Lock()

    def report(n: int) -> None:
        nonlocal done
        with mutex:
            done += n
            if on_progress is not None:
                on_progress(min(done, total), total)

    def failed(path: str, cause: OSError) -> None:
        problems[to_hash[path]] = Problem(what=f"{to_hash[path]} cannot be read ({cause.strerror})")

    workers = _ASKING if any(map(is_url, to_hash)) else hashing_threads(len(to_hash), total)
    for path, digest in hash_files(to_hash, workers=workers, on_bytes=report, on_error=failed).items():
        name = to_hash[path]
        if digest != expected[name]["sha256"]:
            what = f"{name} differs from the locked copy: {_digests(expected[name]['sha256'], digest)}"
            problems[name] = Problem(what=what)
    return [problems[name] for name in expected if name in problems]


def _sizes(paths: Mapping[str, str]) -> dict[str, int | OSError | None]:
    """Bytes of each file by its name; None where no file is there, or why that cannot be told."""

    def one(path: str) -> int | OSError | None:
        try:
            if is_url(path):
                return size_of(path)
            found = os.stat(path)
            return found.st_size if stat.S_ISREG(found.st_mode) else None
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as e:
            return e

    far = any(map(is_url, paths.values()))  # each question takes a journey there and back: ask many at once
    return dict(zip(paths, in_threads(one, list(paths.values()), workers=_ASKING if far else 1), strict=True))


def _unknown(folder: Path, unknown: Callable[[list[str]], list[str]]) -> list[Problem]:
    try:
        names = walk_files(folder)
    except OSError as e:
        return [Problem(what=f"{e.filename} cannot be read ({e.strerror})")]
    return [Problem(what=f"{name} is not part of the locked test set") for name in unknown(names)]


def _extra_in_set(path: Path, lock: Mapping[str, Any]) -> list[Problem]:
    known = {*STORE_NAMES, *manifest.OWN_NAMES, *manifest.SIGNATURE_NAMES} - {manifest.REFERENCE_NAME}
    known.add(manifest.reference_name(lock))
    if lock["copied"]:
        known |= {f"{manifest.FILES_NAME}/{stored_name(f['path'])}" for f in lock["files"]}
    return _unknown(path, lambda names: [name for name in names if name not in known])


def _extra_in_series(lock: Mapping[str, Any], cases: pd.DataFrame, place: Callable[[str], str]) -> list[Problem]:
    if lock["copied"]:
        return []  # the set's own folder was searched as a whole
    files = {f["path"] for f in lock["files"]}
    series = {cell for c in lock["columns"]["image"] for cell in cases[c].unique() if cell and cell not in files}
    found: dict[Problem, None] = {}  # one folder may lie inside another
    for folder in sorted(series):

        def unlocked(names: list[str], folder: str = folder) -> list[str]:
            return [path for name in names if (path := os.path.normpath(f"{folder}/{name}")) not in files]

        if os.path.isdir(place(folder)):
            found.update(dict.fromkeys(_unknown(Path(place(folder)), unlocked)))
    return list(found)


def ledger_of(path: Path, lock: Mapping[str, Any], store: str | None = None) -> LedgerStore:
    """The ledger of the set at `path`, whose lock is `lock`. InputError if a database is named that cannot be used."""
    return open_store(path, testset=str(lock["root"]), n_cases=int(lock["counts"]["cases"]), url=store)


def _check_ledger(kept: LedgerStore, digest: str) -> tuple[tuple[ledger.Entry, ...], list[Problem]]:
    try:
        entries = kept.entries()
    except LedgerError as e:
        return (), [Problem(what=e.message)]
    locks = [e.objects.get("testset_lock") for e in entries if e.action == "locked"]
    if not entries or entries[0].action != "locked" or digest not in locks:
        return entries, [
            Problem(what=f"{Path(kept.place).name} does not begin with this lock: one of the two was changed")
        ]
    return entries, []


def _digests(locked: str, found: str) -> str:
    return f"locked sha256 {locked[:4]}…{locked[-4:]}, found {found[:4]}…{found[-4:]}"


def _differs(seen: Examination) -> LockError:
    lock = seen.lock
    name = f"test set {lock['set_id']} {lock['version']} (locked {lock['created_utc']})"
    hint = "Restore what is named, or lock a new version: evalsuite lock CASES --out NEW_SET"
    if all(p.what.endswith(" is missing") for p in seen.problems) and len(seen.problems) == len(lock["files"]):
        hint = f"If the images were moved, say where in {manifest.LOCATION_NAME}: 'root', relative to the set or a URL."
    if len(seen.problems) == 1:
        return LockError(f"{seen.problems[0]}", problems=[Problem(what=name)], hint=hint)
    return LockError(f"{name} differs from its lock in {len(seen.problems)} places", problems=seen.problems, hint=hint)


def _build(seen: Examination, frame: pd.DataFrame, root: Path, reference_key: ReferenceKey | None) -> LockedTestSet:
    # The lock binds the rows, and `examine` compared them with it: cases follow from the lock and where its files are.
    cases = _CASES.get(seen.digest, str(root), make=lambda: _cases(seen.lock, frame, root))
    return LockedTestSet(
        path=seen.path,
        lock=seen.lock,
        root=seen.lock["root"],
        digest=seen.digest,
        set_id=seen.lock["set_id"],
        version=seen.lock["version"],
        cases=cases,
        has_images=any(case.images for case in cases),
        reference_key=reference_key,
    )


def _cases(lock: Mapping[str, Any], frame: pd.DataFrame, root: Path) -> tuple[Case, ...]:
    columns = lock["columns"]
    n = len(frame)

    def texts(name: str | None) -> list[str]:
        return frame[name].tolist() if name in frame.columns else [""] * n

    ids = frame[columns["case"]].tolist()
    weights = {cell: weight(cell) for cell in set(texts("sample_weight"))}
    place = locator(root, lock)
    image_cells = {c: frame[c].tolist() for c in columns["image"]}
    named = (cell for cells in image_cells.values() for cell in cells)
    members = files_of(named, [f["path"] for f in lock["files"]])
    paths = {cell: tuple(Path(place(name)) for name in _in_order(names, lock, cell)) for cell, names in members.items()}
    return tuple(
        Case(
            case_id=case_id,
            patient_id=patient,
            study_id=study,
            site=site,
            acquired_at=acquired,
            sample_weight=weights[sample_weight],
            images={c: paths[cells[i]] for c, cells in image_cells.items() if cells[i]},
        )
        for i, (case_id, patient, study, site, acquired, sample_weight) in enumerate(
            zip(
                ids,
                patients_of(ids, texts(columns["patient"])),
                texts("study_id"),
                texts("site"),
                texts("acquired_at"),
                texts("sample_weight"),
                strict=True,
            )
        )
    )


def _in_order(names: tuple[str, ...], lock: Mapping[str, Any], cell: str) -> tuple[str, ...]:
    """Files of a series in the order of their positions, where the lock found another than that of their names."""
    order = lock.get("series", {}).get(cell)
    return names if order is None or len(order) != len(names) else tuple(names[i] for i in order)


def patients_of(ids: list[str], patients: list[str]) -> list[str]:
    """Patient ids; a case without one is a patient of its own, under an id that no other patient has."""
    named = {p for p in patients if p.strip()}
    return [p if p.strip() else (c if c not in named else f"case:{c}") for c, p in zip(ids, patients, strict=True)]
