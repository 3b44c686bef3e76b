"""The index of a submission package: which document and page answers which clause; a pure function of its files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evalsuite.protocol.clauses import clauses_of
from evalsuite.protocol.load import load_protocol
from evalsuite.protocol.schema import Comparison, Endpoint, StudyProtocol
from evalsuite.record import ledger
from evalsuite.record.canonical import read_json
from evalsuite.record.digest import digest_json
from evalsuite.record.files import walk_files
from evalsuite.record.seal import SIGNED_REPORT
from evalsuite.record.usage import run_states
from evalsuite.report.material import anchor
from evalsuite.report.pdf_places import PdfPlaces, pdf_places
from evalsuite.spine.folder import RunFolder
from evalsuite.spine.signing import NAME, signatures_of
from evalsuite.spine.views import SUMMARIES

PACKAGE_SCHEMA = "evalsuite/package/1"
RUNS, LEDGERS, SBOMS, LISTINGS = "runs", "ledgers", "sbom", "line-listings"
#: What stays with the run: masks and maps are images, and a program's log may say anything.
WITHHELD = ("arrays/", "logs/")
_ROOT = 16


def build_index(data: Path, software: str) -> dict[str, Any]:
    """Everything index.json says, read from the payload in `data` and from nothing else.

    Parameters
    ----------
    software
        Version of evalsuite that writes the index.

    Raises
    ------
    EvalsuiteError
        If a file of a run or a ledger cannot be read.
    """
    folders = [RunFolder(p) for p in sorted((data / RUNS).iterdir()) if p.is_dir()]
    records = {f.path.name: read_json(f.record) for f in folders}
    order = sorted(folders, key=lambda f: (records[f.path.name]["run"]["started_utc"], f.path.name))
    runs = [_run(data, f, records[f.path.name]) for f in order]
    return {
        "schema": PACKAGE_SCHEMA,
        "software": software,
        "runs": runs,
        "clauses": [c for f in order for c in _clauses(f)],
        "ledgers": [_history(p, set(records)) for p in sorted((data / LEDGERS).glob("*/ledger.jsonl"))],
    }


def withheld_of(folder: RunFolder) -> frozenset[str]:
    """Sealed files of a packaged run that are not in the package and need not be: masks, maps and logs."""
    sealed = read_json(folder.seal)["files"]
    return frozenset(n for n in sealed if n.startswith(WITHHELD) and not (folder.path / n).exists())


def ledger_place(root: str) -> str:
    """Where the extract of a test set's ledger lies in the payload."""
    return f"{LEDGERS}/{root[:_ROOT]}/ledger.jsonl"


def report_name(folder: RunFolder) -> str:
    """The report to read: with its signatures where it has some."""
    return SIGNED_REPORT if (folder.path / SIGNED_REPORT).exists() else folder.pdf.name


def _run(data: Path, folder: RunFolder, record: Mapping[str, Any]) -> dict[str, Any]:
    name = folder.path.name
    verdict, protocol = read_json(folder.verdict), load_protocol(folder.protocol)
    signed = signatures_of(ledger.read(folder.ledger), name)
    places = pdf_places(folder.path / report_name(folder))
    return {
        "run": name,
        "protocol": {**{k: record["protocol"][k] for k in ("id", "version", "digest")}, "title": protocol.title},
        "frozen_utc": (record["protocol"]["frozen"] or {}).get("utc"),
        "model": {k: record["model"].get(k) for k in ("name", "digest")},
        "testset": {k: record["testset"][k] for k in ("set_id", "version", "root")},
        "started_utc": record["run"]["started_utc"],
        "finished_utc": record["run"]["finished_utc"],
        "overall": verdict["overall"],
        "evidence": verdict["evidence"],
        "not_evidence_because": list(verdict["not_evidence_because"]),
        "evidence_digest": digest_json(read_json(folder.evidence)),
        "signatures": [{"role": e.role, "name": e.objects.get(NAME, e.actor), "utc": e.utc} for e in signed],
        "report": f"{RUNS}/{name}/{report_name(folder)}",
        "pages": places.pages,
        "sections": [{"section": p.section, "page": p.page} for p in places.sections],
        "documents": [f"{RUNS}/{name}/{p}" for p in walk_files(folder.path)],
        "withheld": sorted(withheld_of(folder)),
        "ledger": ledger_place(record["testset"]["root"]),
        "sbom": f"{SBOMS}/{name}.cdx.json",
        "line_listings": [f"{LISTINGS}/{p.name}" for p in sorted((data / LISTINGS).glob(f"{name}*.csv"))],
    }


def _clauses(folder: RunFolder) -> Iterator[dict[str, Any]]:
    """One row for each clause and each place of the run that the protocol says answers it."""
    protocol = load_protocol(folder.protocol)
    findings = read_json(folder.evidence)["findings"]
    places = pdf_places(folder.path / report_name(folder))
    in_html = set(re.findall(r'id="(f-\d{4,})"', folder.html.read_text(encoding="utf-8")))
    for clause, endpoint, words in clauses_of(protocol):
        ids = [] if endpoint is None else _answers(findings, endpoint, protocol)
        yield {
            "run": folder.path.name,
            "clause": clause,
            "endpoint": endpoint,
            "says": words,
            "places": [_place(folder, name, places, in_html) for name in ids],
        }


def _place(folder: RunFolder, name: str, places: PdfPlaces, in_html: set[str]) -> dict[str, Any]:
    found, base = places.findings.get(name), f"{RUNS}/{folder.path.name}"
    return {
        "finding": name,
        "report": f"{base}/{report_name(folder)}",
        "page": None if found is None else found.page,
        "section": None if found is None else found.section,
        "html": f"{base}/{folder.html.name}#{name}" if name in in_html else None,
        "evidence": f"{base}/{folder.evidence.name}",
    }


def _answers(findings: Sequence[Mapping[str, Any]], endpoint: str, protocol: StudyProtocol) -> list[str]:
    """Findings that answer an endpoint as it was asked: the whole set, or the groups the criterion is judged in."""
    asked = _asked(protocol)[endpoint]
    own = [
        (i, f)
        for i, f in enumerate(findings)
        if f["endpoint"] == endpoint and f["analysis"] in SUMMARIES and f["condition"] is None
    ]
    if asked.each is not None:
        spec = protocol.stratum(asked.each)
        return [anchor(i) for i, f in own if set(f["stratum"]) == set(spec.cross or [spec.name])]
    return [anchor(i) for i, f in own if dict(f["stratum"]) == dict(asked.stratum)][:1]


def _asked(protocol: StudyProtocol) -> dict[str, Endpoint | Comparison]:
    every: list[Endpoint | Comparison] = [*protocol.endpoints, *protocol.comparisons]
    return {e.name: e for e in every}


def _history(path: Path, packaged: set[str]) -> dict[str, Any]:
    """What the ledger of a test set says of all its runs, those that are not in the package too."""
    entries = ledger.read(path)
    head = ledger.head_of(entries)
    return {
        "ledger": f"{LEDGERS}/{path.parent.name}/{path.name}",
        "root": next((e.objects["testset_root"] for e in entries if "testset_root" in e.objects), ""),
        "entries": head.count,
        "head": head.digest,
        "runs": [
            {
                "run": r.run,
                "protocol": r.protocol_id,
                "model": r.model,
                "started_utc": r.utc,
                "state": r.state,
                "in_package": r.run in packaged,
            }
            for r in run_states(entries).values()
        ],
    }
