"""Before a run: scaffold a study, lock its test set, freeze its protocol."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.errors import InputError, OutputError
from evalsuite.protocol import freeze as freezing
from evalsuite.protocol.load import load_protocol, protocol_digest, shipped_protocols
from evalsuite.protocol.study_load import STUDY_FILE, study_template
from evalsuite.protocol.template import case_table_template
from evalsuite.record.files import atomic_write
from evalsuite.sandbox.policy import SANDBOXED, Sandbox
from evalsuite.spine import history
from evalsuite.spine.baseline import bound_digest, open_baseline
from evalsuite.spine.fit import require_columns
from evalsuite.spine.scoring import require_baseline, require_supported

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from evalsuite.models.base import AnyModel
    from evalsuite.spine.running_context import Who
    from evalsuite.testset import Draw, IntakeOptions, LockedTestSet
    from evalsuite.testset.encryption import ReferenceKey

_NEXT_STEPS = """# {title}

1. Edit `protocol.yaml`: intended use, endpoints, acceptance criteria, strata. Every key is explained in the field
   reference (`protocols/README.md`); `evalsuite inspect protocol.yaml` lists every problem at once.
   `study.yaml` holds what only a person knows: data, reference standard, risks, people. What is left empty is listed
   in the report as open, and can be filled after the run: `evalsuite report run-1 --study study.yaml`.
2. Fill `cases.csv`: one row per case, image paths relative to it. The two rows in it are examples.
3. Seal the test set: `evalsuite lock cases.csv --protocol protocol.yaml --out testset`
4. Freeze, before anyone sees a result:
   `evalsuite freeze protocol.yaml --testset testset --model MODEL --out frozen`
5. Run: `evalsuite run frozen --testset testset --model MODEL --out run-1`
6. Read `run-1/report.pdf`; check it at any later time with `evalsuite verify run-1`.
"""


def scaffold(directory: Path, source: str) -> list[Path]:
    """Write protocol.yaml, study.yaml, cases.csv and README.md into a new or empty folder; returns their paths.

    Raises InputError for a name that is not shipped, OutputError where the folder is taken or cannot be written.
    """
    shipped = shipped_protocols()
    path = Path(source)
    if source not in shipped and not path.is_file():
        raise InputError(f"No shipped protocol or file '{source}'.", hint=f"Shipped: {', '.join(shipped)}.")
    protocol = load_protocol(source)
    text = (path if path.is_file() else shipped[source]).read_bytes()
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise OutputError(f"{directory} already holds something.", hint="Choose a new or empty folder.")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"Cannot make {directory}: {error.strerror}.") from error
    files = {
        "protocol.yaml": text,
        STUDY_FILE: study_template(protocol.id).encode(),
        "cases.csv": case_table_template(protocol).encode(),
        "README.md": _NEXT_STEPS.format(title=protocol.title).encode(),
    }
    for name, data in files.items():
        atomic_write(directory / name, data)
    return [directory / name for name in files]


def lock(
    cases: Path,
    *,
    out: Path,
    who: Who,
    reference: Sequence[str] | None = None,
    protocol: str | Path | None = None,
    copy: bool = False,
    case_column: str | None = None,
    patient_column: str | None = None,
    version: str = "1",
    set_id: str | None = None,
    intake: IntakeOptions | None = None,
    draw: Draw | None = None,
    retire: Path | None = None,
    supersedes: Path | None = None,
    reference_key: ReferenceKey | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    store: str | None = None,
) -> LockedTestSet:
    """Seal a test set; the columns come from `protocol` where one is given, else from the arguments.

    It is signed where `who` has a key, and its reference standard encrypted where `reference_key` is given.
    """
    from evalsuite.testset import IntakeOptions, lock_testset

    study = None if protocol is None else load_protocol(protocol)
    return lock_testset(
        cases,
        out,
        reference=reference,
        protocol=study,
        case_column=case_column or ("case_id" if study is None else study.unit.case),
        patient_column=patient_column or ("patient_id" if study is None else study.unit.cluster),
        copy=copy,
        set_id=set_id,
        set_version=version,
        actor=who.actor,
        role=who.role,
        utc=who.now(),
        signer=who.signer,
        reference_key=reference_key,
        intake=intake or IntakeOptions(),
        draw=draw,
        retire=retire,
        supersedes=supersedes,
        on_progress=on_progress,
        store=store,
    )


def _timestamp_objects(frozen: freezing.Frozen) -> dict[str, str]:
    if frozen.timestamped_utc is None or frozen.timestamp_sha256 is None:
        return {}
    return {"timestamp": frozen.timestamp_sha256, "timestamp_utc": frozen.timestamped_utc}


def freeze(
    protocol: str | Path,
    *,
    testset_path: Path,
    model_path: Path,
    out: Path,
    who: Who,
    contract: Path | None = None,
    baseline_path: Path | None = None,
    baseline_contract: Path | None = None,
    original_path: Path | None = None,
    original_contract: Path | None = None,
    tsa: str | None = None,
    tsa_roots: Sequence[Certificate] = (),
    store: str | None = None,
    sandbox: Sandbox = SANDBOXED,
    admit: Callable[[AnyModel], None] | None = None,
) -> dict[str, Any]:
    """Bind protocol, model digest and test-set root, and enter it in the set's ledger.

    With `baseline_path` (a model, recorded predictions or a run of this test set) what it is compared with is bound
    too, and with `original_path` the original version. With `tsa`, the address of a timestamp authority, an RFC
    3161 timestamp proves when; without, the time is that of the local clock. `admit` is asked about the opened model
    before anything is written, and raises where it must not be bound.

    The reference standard stays closed. Raises ProtocolError where the protocol asks for what this version cannot do:
    freezing it would promise a verdict that no run can give.
    """
    from evalsuite.sandbox.open import open_model
    from evalsuite.testset import open_testset

    study = load_protocol(protocol)
    require_supported(study)
    testset = open_testset(testset_path, store=store)
    require_columns(study, testset)
    model = open_model(model_path, contract=contract, case_column=testset.lock["columns"]["case"], sandbox=sandbox)
    model.close()
    if admit is not None:
        admit(model)
    kept = history.open_ledger(testset_path, store)
    known = kept.entries()
    amended = history.amendment(known, study)
    baseline = None
    if baseline_path is not None:
        require_baseline(study, given=True, original=original_path is not None)

        def digest(path: Path, given: Path | None) -> str:
            opened = open_baseline(path, testset=testset, contract=given, limit=None, sandbox=sandbox)
            if opened.model is not None:
                opened.model.close()
            return opened.digest

        first = None if original_path is None else digest(original_path, original_contract)
        baseline = bound_digest(digest(baseline_path, baseline_contract), first)
    frozen = freezing.freeze(
        study,
        out=out,
        utc=who.now(),
        testset_root=testset.root,
        set_id=testset.set_id,
        set_version=testset.version,
        model_digest=model.digest,
        contract_digest=model.contract_digest,
        baseline_digest=baseline,
        signer=who.signer,
        tsa=tsa,
        tsa_roots=tsa_roots,
        entered={e.objects["freeze"] for e in known if "freeze" in e.objects},
    )
    entry = history.add(
        kept,
        "frozen",
        who,
        {
            "protocol": protocol_digest(study),
            "protocol_id": study.id,
            "protocol_version": study.version,
            "testset": testset.root,
            "model": model.digest,
            "freeze": frozen.digest,
            **({} if baseline is None else {"baseline": baseline}),
            **amended,
            **_timestamp_objects(frozen),
        },
        reason=who.reason or "protocol frozen before unblinding",
    )[-1]
    return {
        "protocol": f"{study.id} {study.version}",
        "protocol_digest": frozen.protocol_digest,
        "testset_root": frozen.testset_root,
        "model_digest": frozen.model_digest,
        **({} if baseline is None else {"baseline_digest": baseline}),
        "digest": frozen.digest,
        **({} if not amended else {"amendment": amended["amendment"]}),
        "ledger_entry": entry.seq,
        "utc": frozen.utc,
        "signed_by": frozen.keyid,
        "timestamp_utc": frozen.timestamped_utc,
    }
