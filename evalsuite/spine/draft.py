"""The record of a run as far as it is known once its predictions are made."""

from __future__ import annotations

from typing import Any

from evalsuite.protocol.load import load_protocol, protocol_digest
from evalsuite.record.canonical import read_json
from evalsuite.spine.folder import RunFolder


def draft_record(folder: RunFolder) -> dict[str, Any]:
    """What is known of the run once its predictions are made."""
    from evalsuite.record.environment import environment

    plan, inference = read_json(folder.plan), read_json(folder.work / "inference.json")
    lock, model = read_json(folder.lock), read_json(folder.model)
    protocol = load_protocol(folder.protocol)
    # Recorded predictions were computed elsewhere: torch, slow to load, had no part in the run.
    surroundings = environment(torch=model["format"] != "recorded")
    import evalsuite

    return {
        "schema": "evalsuite/record/1",
        "run": {
            "id": plan["run_id"],
            "started_utc": plan["started_utc"],
            "finished_utc": None,
            "command": plan["command"],
            "actor": plan["actor"],
            "role": plan["role"],
            "resumed": plan["resumed"],
        },
        "software": {
            "evalsuite": evalsuite.__version__,
            "python": surroundings.get("python"),
            "packages": surroundings.get("packages", {}),
        },
        "platform": {
            **surroundings["platform"],
            "cpu": surroundings["cpu"],
            "n_cpu": surroundings["n_cpu"],
            "gpu": "; ".join(map(str, (surroundings["torch"] or {}).get("devices", []))) or None,
            "torch": surroundings["torch"],
        },
        "inference": inference.get("inference", {}),
        "rerun": _rerun(inference.get("inference", {})),
        "model": model,
        **{
            k: inference[k]
            for k in ("baseline", "original", "audit", "study", "robustness", "shortcuts", "interpretability")
            if k in inference
        },
        "testset": {
            "set_id": lock["set_id"],
            "version": lock["version"],
            "root": lock["root"],
            "locked_utc": lock.get("created_utc"),
            "signed": lock.get("signature") is not None,
            "signed_by": (lock.get("signature") or {}).get("keyid"),
            "encrypted": "encryption" in lock["reference"],
            "n_cases": lock["counts"]["cases"],
            "n_patients": lock["counts"]["patients"],
            "n_files": inference["files"]["n_files"],
            "n_bytes": inference["files"]["n_bytes"],
            "patient_column": lock.get("columns", {}).get("patient"),
            "uses": round(plan["use"]["before"]["max"]) + 1,
            "copied": lock["copied"],
            "attributes": lock.get("attributes", {}),
            "intake": inference.get("intake"),
            "draw": lock.get("draw"),
            "lineage": _without_cases(lock.get("lineage")),
            "retired": len(lock.get("retired") or ()),
        },
        "protocol": {
            "id": protocol.id,
            "version": protocol.version,
            "digest": protocol_digest(protocol),
            "frozen": plan["status"]["frozen"],
        },
        "evidence_status": {"evidence": not plan["status"]["reasons"], "reasons": plan["status"]["reasons"]},
        "flags": plan["status"]["flags"],
        "use": plan["use"],
        "limit": plan["identity"]["limit"],
        "paths": {"testset": inference["testset_path"], "model": inference["model_path"]},
        "ledger": None,
    }


def _without_cases(lineage: dict[str, Any] | None) -> dict[str, Any] | None:
    """Which version the set replaces and how much changed; the cases are listed in the lock beside this record."""
    return None if lineage is None else {k: lineage[k] for k in ("supersedes", "counts")}


def _rerun(inference: dict[str, Any]) -> dict[str, Any] | None:
    """What running one batch a second time showed, with a sentence for the report."""
    seen = inference.get("rerun")
    if not seen:
        return None
    outcome = (
        "gave the same outputs to the bit"
        if seen["bitwise_equal"]
        else f"changed an output by at most {seen['max_abs_difference']:.2g}"
    )
    return {**seen, "result": f"one batch of {seen['n']} cases, run a second time, {outcome}"}
