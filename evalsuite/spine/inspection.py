"""Say what a path is (model, test set, protocol, frozen protocol, run) and whether it fits the others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from evalsuite.errors import EvalsuiteError, InputError, IntegrityError
from evalsuite.protocol.load import load_protocol, protocol_digest, shipped_protocols
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.protocol.study_load import is_stated, is_study, parse_study, stated_values, study_fields
from evalsuite.protocol.support import unsupported
from evalsuite.record.bag import PAYLOAD
from evalsuite.record.canonical import read_json
from evalsuite.record.files import atomic_write
from evalsuite.record.usage import RunState, intervals, summary
from evalsuite.sandbox.policy import SANDBOXED, Sandbox
from evalsuite.spine import history
from evalsuite.spine.fit import column_problems
from evalsuite.spine.folder import RunFolder
from evalsuite.spine.package_contents import INDEX


def inspect(
    path: Path,
    *,
    testset: Path | None = None,
    contract: Path | None = None,
    store: str | None = None,
    draft: Path | None = None,
    sandbox: Sandbox = SANDBOXED,
) -> dict[str, Any]:
    """Facts about `path` as a mapping with a `kind`. Opens no reference standard and runs no model.

    With `draft`, a contract to complete is written there for a model that has none.
    """
    if draft is not None and draft.exists():
        raise InputError(f"{draft} exists already", hint="A draft never overwrites a contract: name another file.")
    found = _facts(path, testset=testset, contract=contract, store=store, sandbox=sandbox)
    if draft is None:
        return found
    if not found.get("draft"):
        why = "states its contract already" if found["kind"] == "model" else "is no model"
        raise InputError(f"{path} {why}: there is nothing to draft")
    atomic_write(draft, _draft_text(found["draft"]).encode())
    return {**found, "draft written to": str(draft)}


def _draft_text(draft: Mapping[str, Any]) -> str:
    head = (
        "# A draft: names and shapes are the package's own where it states them.\n"
        "# Check value_range, colour, normalise, meaning, activation and classes against the model's documentation.\n"
    )
    return head + yaml.safe_dump(dict(draft), sort_keys=False)


def _facts(
    path: Path, *, testset: Path | None, contract: Path | None, store: str | None, sandbox: Sandbox
) -> dict[str, Any]:
    if path.is_dir() and (path / PAYLOAD / INDEX).exists():
        try:
            return _package(read_json(path / PAYLOAD / INDEX))
        except (KeyError, TypeError) as error:
            raise IntegrityError(
                f"{INDEX} does not have the form it was written in.", hint=f"See: evalsuite verify {path}"
            ) from error
    if path.is_dir() and (path / "testset.lock.json").exists() and not RunFolder(path).record.exists():
        return _testset(path, store)
    if path.is_dir() and RunFolder(path).record.exists():
        return _run(RunFolder(path))
    is_protocol = (path.is_dir() and (path / "freeze.json").exists()) or (
        not path.exists() and str(path) in shipped_protocols()
    )
    if path.suffix in (".yaml", ".yml") and path.is_file() and is_study(path):
        return _study(path)
    if is_protocol or (path.suffix in (".yaml", ".yml") and path.is_file()):
        return _protocol(path, testset)
    return _model(path, contract, testset, sandbox)


def _study(path: Path) -> dict[str, Any]:
    """What a study description states and leaves open; what only its protocol can tell is checked by a run."""
    study = parse_study(path.read_bytes(), str(path), None)
    says, fields = stated_values(study), study_fields()
    left = [f.path for f in fields if not is_stated(says, f.path) and f.path not in study.not_applicable]
    return {
        "kind": "study description",
        "protocol": study.protocol,
        "stated": f"{sum(is_stated(says, f.path) for f in fields)} of {len(fields)} fields",
        "not applicable": list(study.not_applicable),
        "open": left,
        "checklists": list(study.checklists),
    }


def _package(index: Mapping[str, Any]) -> dict[str, Any]:
    """What a submission package says of itself; `verify` says whether that holds."""
    return {
        "kind": "package",
        "written by": f"evalsuite {index['software']}",
        "runs": [
            f"{r['run']}: {r['protocol']['id']} {r['protocol']['version']}, {r['overall']}" for r in index["runs"]
        ],
        "not evidence": [r["run"] for r in index["runs"] if not r["evidence"]],
        "unsigned reports": [r["run"] for r in index["runs"] if not r["signatures"]],
        "clauses": len({c["clause"] for c in index["clauses"]}),
        "test sets": [f"{h['root']}, {h['entries']} ledger entries, {len(h['runs'])} runs" for h in index["ledgers"]],
    }


def _testset(path: Path, store: str | None) -> dict[str, Any]:
    from evalsuite.testset import open_testset, read_intake

    found = open_testset(path, store=store)
    lock = found.lock
    kept = history.open_ledger(path, store)
    entries, index = kept.entries(), kept.index()
    uses = summary(index.uses)
    return {
        "kind": "test set",
        "set_id": found.set_id,
        "version": found.version,
        "root": found.root,
        "locked_utc": lock.get("created_utc"),
        "signed": lock.get("signature") is not None,
        "reference": "encrypted" if "encryption" in lock["reference"] else "sealed, in the clear",
        "n_cases": len(found.cases),
        "n_patients": len({c.patient_id for c in found.cases}),
        "n_files": len(lock.get("files", [])),
        "n_bytes": sum(int(f["size"]) for f in lock.get("files", [])),
        "columns": lock.get("columns", {}),
        "attributes": lock.get("attributes", {}),
        "intake": read_intake(found),
        "draw": lock.get("draw"),
        "retired": [r["case_id"] for r in lock.get("retired") or ()],
        "lineage": lock.get("lineage"),
        "ledger": f"{len(entries)} entries in {kept.place}, the last on {entries[-1].utc}",
        "uses per case": f"least {uses['min']}, median {uses['median']:g}, most {uses['max']}",
        "runs": [_run_line(run, len(found.cases)) for run in index.runs],
        "intact": True,
    }


def _run_line(run: RunState, n_cases: int) -> str:
    """ "3f2a…: reported, 120 of 120 cases, small-study, by ada on 2026-01-05T10:00:00.000Z"."""
    used = sum(last - first + 1 for first, last in intervals(run.cases, n_cases))
    return f"{run.run}: {run.state}, {used} of {n_cases} cases, {run.protocol_id}, by {run.actor} on {run.utc}"


def _run(folder: RunFolder) -> dict[str, Any]:
    record = read_json(folder.record)
    verdict = read_json(folder.verdict) if folder.verdict.exists() else None
    return {
        "kind": "run",
        "run_id": record["run"]["id"],
        "protocol": f"{record['protocol']['id']} {record['protocol']['version']}",
        "model": record["model"]["name"],
        "test set": f"{record['testset']['set_id']} {record['testset']['version']}",
        "evidence": record["evidence_status"]["evidence"],
        "overall": None if verdict is None else verdict["overall"],
        "started_utc": record["run"]["started_utc"],
        "finished_utc": record["run"]["finished_utc"],
    }


def _protocol(path: Path, testset: Path | None) -> dict[str, Any]:
    from evalsuite.analyses.tasks import computable

    protocol = load_protocol(path)
    found: dict[str, Any] = {
        "kind": "protocol",
        "id": protocol.id,
        "version": protocol.version,
        "title": protocol.title,
        "study kind": protocol.kind,
        "task": protocol.task.kind,
        "endpoints": [f"{e.name} ({e.metric}, {e.role})" for e in protocol.endpoints],
        **(
            {"comparisons": [f"{c.name} ({c.metric}, {c.role})" for c in protocol.comparisons]}
            if protocol.comparisons
            else {}
        ),
        "strata": [s.name for s in protocol.strata],
        "digest": protocol_digest(protocol),
        "not supported": [str(p) for p in unsupported(protocol, computable())],
    }
    if testset is not None:
        found["fits"] = _protocol_fits(protocol, testset)
    return found


def _protocol_fits(protocol: StudyProtocol, testset: Path) -> list[str]:
    """What the set lacks for this protocol; names of columns only, no cell is read."""
    from evalsuite.testset import open_testset

    return [str(p) for p in column_problems(protocol, open_testset(testset, verify=False))]


def _model(path: Path, contract: Path | None, testset: Path | None, sandbox: Sandbox) -> dict[str, Any]:
    from evalsuite.sandbox.open import inspect_model

    found = {"kind": "model", **inspect_model(path, contract=contract, sandbox=sandbox)}
    if testset is not None:
        found["fits"] = _model_fits(path, contract, testset, sandbox)
    return found


def _model_fits(path: Path, contract: Path | None, testset: Path, sandbox: Sandbox) -> list[str]:
    from evalsuite.inference.hooks import bind_inputs
    from evalsuite.sandbox.open import open_model
    from evalsuite.testset import open_testset

    try:
        found = open_testset(testset, verify=False)
        model = open_model(path, contract=contract, case_column=found.lock["columns"]["case"], sandbox=sandbox)
        model.close()
        if model.format != "recorded":
            bind_inputs(model.contract, found.cases)
    except EvalsuiteError as error:
        return [str(error)]
    return []
