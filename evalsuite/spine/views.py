"""Copies of a finished run: a summary for developers, a public one without small groups, all of it for assessors."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from evalsuite.errors import InputError, OutputError
from evalsuite.protocol.load import load_protocol
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.record.canonical import read_json, write_json
from evalsuite.record.digest import digest_json
from evalsuite.record.files import atomic_write, walk_files
from evalsuite.record.ledger import Entry
from evalsuite.spine import history, states
from evalsuite.spine.folder import RunFolder, require_intact
from evalsuite.spine.roles import ASSESSORS
from evalsuite.spine.running_context import Who
from evalsuite.spine.running_score import remembered_set
from evalsuite.spine.suppression import Published, publishable
from evalsuite.types import CriterionResult, Estimate, Evidence, Verdict

if TYPE_CHECKING:
    from evalsuite.report.model_card import ModelCard

View = Literal["developer", "assessor", "public"]
VIEW_SCHEMA = "evalsuite/developer-view/1"
#: Analyses whose whole-set figures are summaries; the others list groups, cases or assumptions about single cases.
SUMMARIES = ("performance", "calibration", "comparison", "segmentation", "detection", "readers")
_WITHHELD = "withheld: figures of groups are not part of the developers' view"
_NOT_PUBLIC = "withheld in the public copy: a group that is small, or by which a small one could be worked out"
#: Curves of the whole set without counts of cases by score.
_PUBLIC_CURVES = ("roc", "pr")


def export_view(
    run_path: Path, *, view: View, out: Path, who: Who, testset_path: Path | None = None, store: str | None = None
) -> dict[str, Any]:
    """Write a view of a run into the new folder `out`, and enter in the ledger who got which.

    `developer` is summary.json and a report of it: verdict, estimates of the whole set with their intervals; no case,
    no group, no curve. `public` is a report (PDF and HTML) without cases and without groups that are small or by which
    a small one could be worked out; it is marked on every page. `assessor` is a copy of the whole run.

    Raises
    ------
    InputError
        If the run has no verdict, `out` holds something, or the role may not have this view (the ledger then says so).
    IntegrityError
        If the run is not as it was sealed, or the ledger does not know it.
    """
    folder = RunFolder(run_path)
    require_intact(folder)
    if not folder.verdict.exists():
        raise InputError(f"{run_path} has no verdict yet.", hint=f"First: evalsuite score {run_path}")
    record, protocol = read_json(folder.record), load_protocol(folder.protocol)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out} already holds something.", hint="Choose a new or empty folder with --out.")
    kept = history.open_ledger(testset_path or remembered_set(record), store)
    name = record["run"]["id"]
    refused = refusal(view, who, protocol)
    if refused is not None:

        def known(found: tuple[Entry, ...]) -> None:
            states.state_of(found, name)

        history.add(kept, "export_refused", who, {"run": name, "view": view}, reason=refused, decide=known)
        raise InputError(f"The {view} view is refused: {refused}.", hint=f"It is for: {', '.join(ASSESSORS)}.")
    # The line is on disk before anything leaves the run.
    chain = history.step(kept, "exported", who, name, {"view": view}, reason=who.reason or f"{view} view exported")
    try:
        if view == "assessor":
            shutil.copytree(folder.path, out, dirs_exist_ok=True)
        elif view == "public":
            _write_public(folder, protocol, record, out)
        else:
            out.mkdir(parents=True, exist_ok=True)
            _write_summary(folder, protocol, record, out)
    except OSError as error:
        raise OutputError(f"Cannot write {out}: {error.strerror}.", hint="Choose another --out.") from error
    return {"run": name, "view": view, "files": walk_files(out), "ledger_entry": chain[-1].seq}


def refusal(view: View, who: Who, protocol: StudyProtocol) -> str | None:
    """Why this person may not have this view; None where they may."""
    if view in ("developer", "public"):
        return None
    if who.role not in ASSESSORS:
        return f"the role {who.role} gets summaries only"
    if protocol.roles is not None and who.actor in protocol.roles.developer:
        return f"{who.actor} is named a developer"
    return None


def _write_summary(folder: RunFolder, protocol: StudyProtocol, record: Mapping[str, Any], out: Path) -> None:
    from evalsuite.report import write_report

    evidence = summary_evidence(Evidence.from_json(read_json(folder.evidence)))
    verdict = summary_verdict(Verdict.from_json(read_json(folder.verdict)), digest_json(evidence.to_json()))
    shown = summary_record(record)
    write_json(
        out / "summary.json",
        {
            "schema": VIEW_SCHEMA,
            "run": record["run"]["id"],
            "protocol": {k: record["protocol"][k] for k in ("id", "version", "digest")},
            "testset": {k: record["testset"][k] for k in ("set_id", "version", "root", "n_cases", "n_patients")},
            "model": {k: record["model"].get(k) for k in ("name", "format", "digest")},
            "run_evidence_digest": digest_json(read_json(folder.evidence)),
            "verdict": verdict.to_json(),
            "findings": [f.to_json() for f in evidence.findings],
        },
    )
    write_report(
        out / "report.pdf",
        protocol=protocol,
        evidence=evidence,
        verdict=verdict,
        record=shown,
        html_path=out / "report.html",
    )


def _write_public(folder: RunFolder, protocol: StudyProtocol, record: Mapping[str, Any], out: Path) -> None:
    from evalsuite.report import write_report

    whole = Evidence.from_json(read_json(folder.evidence))
    published = publishable(protocol, whole, protocol.small_strata.suppress_below)
    evidence = public_evidence(protocol, whole, published)
    verdict = public_verdict(Verdict.from_json(read_json(folder.verdict)), published, digest_json(evidence.to_json()))
    out.mkdir(parents=True, exist_ok=True)
    write_report(
        out / "report.pdf",
        protocol=protocol,
        evidence=evidence,
        verdict=verdict,
        record={
            **public_record(record, protocol),
            "copy": {
                "schema": "evalsuite/copy/1",
                "view": "public",
                "run": record["run"]["id"],
                "run_evidence_digest": digest_json(whole.to_json()),
            },
        },
        html_path=out / "report.html",
    )


def public_evidence(protocol: StudyProtocol, evidence: Evidence, published: Published) -> Evidence:
    """Estimates of the whole set and of the groups that may be shown; no case, no count of a withheld group."""
    said = [
        "This is a public copy: cases, counts by status in groups, tests and assumptions about missing cases are left "
        f"out, and groups with fewer than {protocol.small_strata.suppress_below} cases of a class are withheld, with "
        "those by which they could be worked out. Counts of the whole set are as they are."
    ]
    for names, n in sorted(published.withheld.items()):
        where = f"Stratum {' × '.join(names)}"
        said.append(f"{where}: not shown." if not published.shown[names] else f"{where}: {n} groups are withheld.")
    return replace(
        evidence,
        findings=tuple(
            f
            for f in evidence.findings
            if f.analysis in SUMMARIES and f.condition is None and published.shows(f.stratum)
        ),
        curves=tuple(c for c in evidence.curves if not c.stratum and c.kind in _PUBLIC_CURVES),
        accounting=tuple(a for a in evidence.accounting if not a.stratum),
        tests=(),
        notes=tuple(said),
    )


def public_verdict(verdict: Verdict, published: Published, evidence_digest: str) -> Verdict:
    """The same verdict; what was judged in a withheld group keeps its outcome and loses its figures and its name."""
    criteria = tuple(c if published.shows(c.stratum) else _nameless(c) for c in verdict.criteria)
    reason = verdict.reason
    if criteria != verdict.criteria:
        deciding = [c.outcome for c in criteria if c.role == "primary"]
        told = {"met": "met", "not_met": "not met", "inconclusive": "inconclusive"}
        counted = ", ".join(f"{deciding.count(k)} {word}" for k, word in told.items() if k in deciding)
        reason = (
            f"Of {len(deciding)} primary criteria {counted}; which ones in groups is withheld where they are small."
        )
    return replace(verdict, criteria=criteria, reason=reason, flags=(), evidence_digest=evidence_digest)


def _nameless(criterion: CriterionResult) -> CriterionResult:
    return replace(_bare(criterion, _NOT_PUBLIC), stratum=dict.fromkeys(criterion.stratum, "withheld"))


def public_record(record: Mapping[str, Any], protocol: StudyProtocol) -> dict[str, Any]:
    """Of the record what identifies protocol, model, test set and software; no person, place or case."""
    run = {k: v for k, v in record["run"].items() if k in ("id", "started_utc", "finished_utc")}
    kept = {
        k: record[k]
        for k in ("schema", "software", "model", "protocol", "evidence_status", "limit", "selftest")
        if k in record
    }
    shown = ("set_id", "version", "root", "digest", "n_cases", "n_patients", "locked_utc", "signed", "encrypted")
    below = protocol.small_strata.suppress_below
    return {
        **kept,
        "run": {**run, "command": "withheld in the public copy"},
        "testset": {k: record["testset"][k] for k in shown if k in record["testset"]},
        "view": f"public copy: cases are left out, and groups with fewer than {below} cases of a class are withheld",
        "banner": f"PUBLIC COPY — groups with fewer than {below} cases of a class are withheld",
    }


def card_of_run(run_path: Path, out: Path | None) -> tuple[ModelCard, str]:
    """The model card of a finished run and its Markdown, which is written to `out` where that is given.

    Raises
    ------
    InputError
        If the run has no verdict.
    IntegrityError
        If the run is not as it was sealed.
    OutputError
        If `out` lies in the sealed run, or cannot be written.
    """
    from evalsuite.report.dossier import build_model_card
    from evalsuite.report.model_card_files import markdown

    folder = RunFolder(run_path)
    require_intact(folder)
    if not folder.verdict.exists():
        raise InputError(f"{run_path} has no verdict yet.", hint=f"First: evalsuite score {run_path}")
    if out is not None and out.resolve().is_relative_to(run_path.resolve()):
        raise OutputError(f"{out} lies in {run_path}, which is sealed.", hint="Choose an --out beside it.")
    card = build_model_card(
        load_protocol(folder.protocol),
        Evidence.from_json(read_json(folder.evidence)),
        Verdict.from_json(read_json(folder.verdict)),
        read_json(folder.record),
    )
    text = markdown(card)
    if out is not None:
        atomic_write(out, text.encode("utf-8"))
    return card, text


def summary_evidence(evidence: Evidence) -> Evidence:
    """Whole-set estimates and counts; no group, no curve (its steps are cases), no note (it may name one)."""
    return replace(
        evidence,
        findings=tuple(
            f for f in evidence.findings if not f.stratum and f.analysis in SUMMARIES and f.condition is None
        ),
        curves=(),
        accounting=tuple(a for a in evidence.accounting if not a.stratum),
        tests=(),
        notes=("This is the developers' view: figures of groups, curves and cases are withheld.",),
    )


def summary_verdict(verdict: Verdict, evidence_digest: str) -> Verdict:
    """The same verdict, without the figures of criteria that are judged in groups."""
    return replace(
        verdict,
        criteria=tuple(_bare(c) if c.stratum else c for c in verdict.criteria),
        flags=(),
        evidence_digest=evidence_digest,
    )


def _bare(criterion: CriterionResult, why: str = _WITHHELD) -> CriterionResult:
    hidden = Estimate.not_estimable(why, n=0, unit=criterion.estimate.unit, level=criterion.estimate.level)
    return replace(criterion, estimate=hidden, reason=why)


def summary_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record without places, command and ledger: who ran what where is not the developers' to know."""
    kept = {k: v for k, v in record.items() if k not in ("paths", "ledger", "roles", "study", "history")}
    kept["view"] = "developers' view: a summary; figures of groups, curves and cases are withheld"
    kept["run"] = {**record["run"], "command": "withheld in the developers' view"}
    kept["testset"] = {k: v for k, v in record["testset"].items() if k not in ("attributes", "intake")}
    return kept
