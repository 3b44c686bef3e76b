"""What a drift audit is held against, as two sealed files of its run: the baseline's cases, and the audits before."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evalsuite.errors import InputError, IntegrityError
from evalsuite.protocol.load import protocol_digest
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.record.canonical import canonical_json, read_json
from evalsuite.record.digest import digest_json, sha256_bytes, sha256_file
from evalsuite.record.files import atomic_write
from evalsuite.spine import history
from evalsuite.spine.audit_baseline import baseline_digest, read_baseline, write_baseline
from evalsuite.spine.audit_images import image_numbers
from evalsuite.spine.folder import RunFolder, require_intact

if TYPE_CHECKING:
    import pandas as pd

    from evalsuite.analyses.drift_periods import AuditInputs, EarlierAudit
    from evalsuite.record.ledger import Entry
    from evalsuite.spine.running_context import Who
    from evalsuite.testset import LockedTestSet
    from evalsuite.testset.encryption import ReferenceKey

EARLIER_SCHEMA = "evalsuite/drift-earlier/1"
_OUTPUT, _CELL = "output:", "cell:"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditOf:
    """An audit's inputs as they will be sealed. `device` is the digest of the model that made the baseline's outputs,
    `contract` that of its contract (None for recorded outputs), `cases` and `files` are the ids of the baseline's cases
    and the digests of their images; `images` has the numbers of the window's images, `former` the outputs of the
    version that was replaced. `key` opens the reference standard of the baseline's set, which has this `root`; the
    table is sealed encrypted with it."""

    table: bytes
    earlier: bytes
    device: str
    contract: str | None
    cases: frozenset[str]
    files: frozenset[str]
    images: bytes | None = None
    former: bytes | None = None
    key: ReferenceKey | None = None
    root: str = ""

    @property
    def digest(self) -> str:
        """Digest of all files; part of what the run is."""
        return _digest(sha256_bytes(self.table), self.earlier, self.images, self.former)

    def write(self, folder: RunFolder) -> None:
        """Put the files into the run."""
        write_baseline(folder, self.table, self.key, root=self.root)
        atomic_write(folder.drift_earlier, self.earlier)
        for path, data in ((folder.drift_images, self.images), (folder.drift_former, self.former)):
            if data is not None:
                atomic_write(path, data)

    def with_images(self, numbers: Mapping[str, Sequence[str]], case_id: Sequence[str]) -> AuditOf:
        """The same with the numbers of the window's images: columns of one text per case."""
        columns = {f"{_CELL}{name}": list(cells) for name, cells in numbers.items()}
        return replace(self, images=_parquet({"case_id": list(case_id), **columns}))


def _digest(table: str, earlier: bytes, images: bytes | None, former: bytes | None) -> str:
    more = {"images": images, "former": former}
    given = {name: sha256_bytes(data) for name, data in more.items() if data is not None}
    return digest_json({"baseline": table, "earlier": sha256_bytes(earlier), **given})


#: Ledger entry of a set whose reference standard was read for an audit; no run, and no use of its cases.
READ = "reference_read"


def open_audit(
    protocol: StudyProtocol,
    baseline: Path,
    earlier: Sequence[Mapping[str, Any]],
    *,
    window: Path,
    who: Who,
    cache: Path | None = None,
    store: str | None = None,
    reference_key: ReferenceKey | None = None,
) -> AuditOf:
    """Read the baseline run's sealed predictions and the columns of its set that the protocol looks at.

    `earlier` are the audits before this one, as the deployment's history has them; `cache` keeps the numbers of the
    baseline's images from one audit to the next. Before the baseline's reference standard is read, the ledger of its
    set is told who reads it for the audit of which window; once, however often the audit is begun. `reference_key`
    opens one that is encrypted.

    Raises
    ------
    InputError
        If `baseline` is no scored run, its set is not where it was, it does not say which model made its outputs, or
        its reference standard is encrypted and no key is given (or the reverse).
    CaseTableError
        If its set does not have what the protocol names.
    OutputError
        If the ledger of its set cannot be written.
    IntegrityError
        If run or set are not as they were sealed, or the key is another one.
    """
    from evalsuite.inference.predictions import read_predictions
    from evalsuite.spine.fit import require_columns
    from evalsuite.spine.running_score import remembered_set
    from evalsuite.spine.scoring import cases_of
    from evalsuite.testset import open_reference, open_testset
    from evalsuite.testset.encryption import require_reference_key

    folder = RunFolder(Path(baseline))
    if not folder.record.exists() or not folder.verdict.exists():
        raise InputError(
            f"{baseline} is not a finished run.",
            hint="The baseline is the run folder of the validation: evalsuite run … --out RUN",
        )
    require_intact(folder)
    record = read_json(folder.record)
    if record["limit"] is not None:
        raise InputError("The baseline was run with --limit: it is no evidence.", hint="Run it on its whole set.")
    testset = open_testset(remembered_set(record), verify=False)
    if testset.root != record["testset"]["root"]:
        raise IntegrityError("Another test set is now where the baseline's was.", hint="Restore the baseline's set.")
    require_reference_key(testset, reference_key)
    testset = replace(testset, reference_key=reference_key)
    require_columns(_of_baseline(protocol), testset)
    predictions = read_predictions(folder.predictions)
    _enter_reading(protocol, testset, record, window, who, store)
    case_id, patient_id, frame, device = cases_of(protocol, testset, predictions, open_reference(testset))
    table = {"case_id": list(case_id), "patient_id": list(patient_id), "status": [str(s) for s in device["status"]]}
    columns: dict[str, Any] = dict(table)
    for name in predictions.outputs:
        columns[f"{_OUTPUT}{name}"] = device[name].to_numpy(dtype=np.float64)
    for name in _columns(protocol, list(frame.columns)):
        columns[f"{_CELL}{name}"] = list(map(str, frame[name].tolist()))
    asked = protocol.analyses.drift
    if asked is not None and asked.of_images:
        place = {c.case_id: i for i, c in enumerate(testset.cases)}
        for name, cells in image_numbers(testset, asked.of_images, whose="baseline", cache=cache).items():
            columns[f"{_CELL}{name}"] = [cells[place[c]] for c in case_id]
    return AuditOf(
        table=_parquet(columns),
        earlier=canonical_json({"schema": EARLIER_SCHEMA, "audits": [dict(a) for a in earlier]}),
        device=device_digest(record),
        contract=None if record["model"]["format"] == "recorded" else record["model"]["contract_digest"],
        cases=frozenset(case_id),
        files=frozenset(str(f["sha256"]) for f in testset.lock.get("files", []) if "sha256" in f),
        key=reference_key,
        root=testset.root,
    )


def _enter_reading(
    protocol: StudyProtocol,
    testset: LockedTestSet,
    record: Mapping[str, Any],
    window: Path,
    who: Who,
    store: str | None,
) -> None:
    try:
        of_window = sha256_file(window)
    except OSError as error:
        raise InputError(f"The window {window} cannot be read: {error.strerror}.") from error
    objects = {
        "protocol": protocol_digest(protocol),
        "protocol_id": protocol.id,
        "baseline_run": str(record["run"]["id"]),
        "window": of_window,
    }

    def entered(found: tuple[Entry, ...]) -> bool:
        return not any(e.action == READ and objects.items() <= e.objects.items() for e in found)

    kept = history.open_ledger(testset.path, store)
    history.add(kept, READ, who, objects, reason="baseline of a drift audit", decide=entered)


def _of_baseline(protocol: StudyProtocol) -> StudyProtocol:
    """What is asked of the baseline's columns: which cases of a window were chosen to be labelled is not among it."""
    asked = protocol.analyses.drift
    assert asked is not None, "the protocol's checks require it"
    drift = asked.model_copy(update={"labelled": None})
    return protocol.model_copy(update={"analyses": protocol.analyses.model_copy(update={"drift": drift})})


def device_digest(record: Mapping[str, Any]) -> str:
    """The digest of the model that made a run's outputs. InputError where the run does not say which one it was."""
    model = record["model"]
    if model["format"] != "recorded":
        return str(model["digest"])
    named = (record.get("inference") or {}).get("model_digests") or []
    if len(named) != 1:
        said = "does not say which model made its outputs" if not named else f"has outputs of {len(named)} models"
        raise InputError(
            f"The baseline run {said}.",
            hint="Its recorded predictions need a column model_digest with one value: the deployed model's.",
        )
    return str(named[0])


def _columns(protocol: StudyProtocol, known: Sequence[str]) -> list[str]:
    """Columns of the set that an audit looks at."""
    asked = protocol.analyses.drift
    named = [str(protocol.task.reference), "reference_status"]
    named += [s.column or s.name for s in protocol.strata if s.cross is None]
    named += [] if asked is None else [c.column for c in asked.asked]
    return [name for name in dict.fromkeys(named) if name in known]


def _parquet(columns: Mapping[str, Any]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {
        name: pa.array(values, pa.float64(), from_pandas=True)
        if name.startswith(_OUTPUT)
        else pa.array(values, pa.string())
        for name, values in columns.items()
    }
    buffer = io.BytesIO()
    pq.write_table(pa.table(arrays), buffer, compression="zstd")
    return buffer.getvalue()


def audit_digest(folder: RunFolder) -> str | None:
    """Digest of what the audit in this folder was held against, as `AuditOf.digest`; None where it is no audit."""
    table = baseline_digest(folder)
    if table is None:
        return None
    more = (p.read_bytes() if p.exists() else None for p in (folder.drift_images, folder.drift_former))
    return _digest(table, folder.drift_earlier.read_bytes(), *more)


def read_audit(folder: RunFolder, key: ReferenceKey | None = None) -> AuditInputs | None:
    """The sealed inputs of the audit in this folder; None where it is none. `key` opens an encrypted baseline.

    Raises
    ------
    IntegrityError
        If they do not parse, or the key is another one.
    InputError
        If the baseline is encrypted and no key is given, or the reverse.
    """
    import pandas as pd

    from evalsuite.analyses.drift_periods import AuditInputs, Former, Period

    digest = audit_digest(folder)
    if digest is None:
        return None
    table = read_baseline(folder, key)
    images, former = (p.read_bytes() if p.exists() else None for p in (folder.drift_images, folder.drift_former))
    try:
        frame: pd.DataFrame = pd.read_parquet(io.BytesIO(table))
        audits = read_json(folder.drift_earlier)["audits"]
        period = Period(
            case_id=tuple(map(str, frame["case_id"])),
            patient_id=tuple(map(str, frame["patient_id"])),
            frame=_renamed(frame, _CELL),
            predictions=pd.concat([frame[["case_id", "status"]], _renamed(frame, _OUTPUT)], axis=1),
        )
        return AuditInputs(
            baseline=period,
            earlier=tuple(earlier_audit(a["left"]) for a in audits),
            digest=digest,
            images=None if images is None else _without(pd.read_parquet(io.BytesIO(images))),
            former=None
            if former is None
            else Former(**{side: _side(pd.read_parquet(io.BytesIO(former)), side) for side in _SIDES}),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise IntegrityError(
            "What the audit was held against (the files drift_*) is not what an audit writes.",
            hint="Restore the run folder from its copy.",
        ) from error


def _without(frame: pd.DataFrame) -> pd.DataFrame:
    """A table with its columns named as the analysis names them."""
    return frame.rename(columns={c: str(c).removeprefix(_CELL).removeprefix(_OUTPUT) for c in frame.columns})


_SIDES = ("baseline", "window")


def former_table(outputs: Sequence[str], sides: Mapping[str, pd.DataFrame]) -> bytes:
    """Outputs of the version that was replaced, on the baseline's cases and on the window's, as they are sealed.

    Each side has `case_id`, `status` and the outputs.
    """
    columns: dict[str, Any] = {"period": [s for s in _SIDES for _ in range(len(sides[s]))]}
    for name in ("case_id", "status"):
        columns[name] = [str(c) for s in _SIDES for c in sides[s][name]]
    for name in outputs:
        columns[f"{_OUTPUT}{name}"] = np.concatenate([sides[s][name].to_numpy(dtype=np.float64) for s in _SIDES])
    return _parquet(columns)


def _side(frame: pd.DataFrame, side: str) -> pd.DataFrame:
    own = _without(frame[frame["period"] == side])
    return own.drop(columns="period").reset_index(drop=True)


def _renamed(frame: pd.DataFrame, prefix: str) -> pd.DataFrame:
    own = [c for c in frame.columns if str(c).startswith(prefix)]
    return frame[own].rename(columns={c: str(c).removeprefix(prefix) for c in own})


def earlier_audit(left: Mapping[str, Any]) -> EarlierAudit:
    """What an audit left to the next, from the JSON of the history."""
    from evalsuite.analyses.drift_labels import keys_in
    from evalsuite.analyses.drift_periods import EarlierAudit, Figure
    from evalsuite.stats.sequential import DetectorState

    return EarlierAudit(
        figures={name: Figure(value=float(f["value"]), n=int(f["n"])) for name, f in left["figures"].items()},
        detectors={
            name: DetectorState(log_processes=tuple(float(v) for v in d["log"]), seen=int(d["seen"]))
            for name, d in left["detectors"].items()
        },
        alarmed=tuple(str(a) for a in left["alarmed"]),
        **{name: keys_in(str(text)) for name, text in left.get("labels", {}).items()},
        utc=str(left.get("utc", "")),
        noted=tuple(str(name) for name in left.get("noted", ())),
    )
