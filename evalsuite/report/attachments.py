"""Files inside the report's PDF: what its numbers rest on, and how they were made."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

from evalsuite.protocol.schema import StudyProtocol
from evalsuite.record.canonical import canonical_json
from evalsuite.record.sbom import bill_of_materials
from evalsuite.report.model_card import ModelCard
from evalsuite.report.model_card_files import LONGEST, chai_xml, markdown
from evalsuite.report.pdf import Attached
from evalsuite.types import Evidence, Exhibits, Verdict

#: Attached to a copy that is not the whole report: says of which run it is one. `verify` reads it.
COPY = "copy.json"


def attachments(
    protocol: StudyProtocol,
    evidence: Evidence,
    verdict: Verdict,
    record: Mapping[str, Any],
    exhibits: Exhibits | None,
    card: ModelCard,
) -> tuple[Attached, ...]:
    """Everything attached, in a fixed order. A view for others (`record` says so) has no record, bill or listing."""
    whole = record.get("view") is None
    return (
        Attached(
            name="evidence.json",
            data=canonical_json(evidence.to_json()),
            description="Every finding, curve and count of this report",
        ),
        Attached(
            name="verdict.json", data=canonical_json(verdict.to_json()), description="The verdict with its reasons"
        ),
        Attached(
            name="protocol.yaml",
            data=protocol_yaml(protocol),
            description="The protocol as it was executed",
            relationship="Source",
        ),
        Attached(
            name="model-card.xml",
            data=chai_xml(card),
            description="Applied Model Card (Coalition for Health AI, draft v0.2); open fields say so",
            relationship="Supplement",
        ),
        Attached(
            name="model-card.md",
            data=markdown(card).encode("utf-8"),
            description="The same card for people, with a list of its open items",
            relationship="Supplement",
        ),
        *(_of_the_run(record) if whole else _of_the_copy(record)),
        *(_listings(exhibits) if whole else ()),
    )


def custom_entries(files: tuple[Attached, ...], record: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The document information by which programs find the card: the XML itself, where it fits, and who wrote it."""
    card = next(f.data for f in files if f.name == "model-card.xml").decode("ascii")
    version = (record.get("software") or {}).get("evalsuite", "")
    software = f"evalsuite {version}".encode("ascii", "replace").decode("ascii")[:80].strip()
    named = ("chaiMcSoftwareId", software)
    return (("chaiMcXml", card), named) if len(card) <= LONGEST else (named,)


def _of_the_run(record: Mapping[str, Any]) -> Iterator[Attached]:
    found = (record.get("testset") or {}).get("intake")
    if found:
        # the same bytes as SET/intake.json
        described = "What was found when the test set was taken in, with every case concerned"
        yield Attached(name="intake.json", data=canonical_json(found), description=described)
    if record:
        # Where files lay on somebody's computer is nobody's business outside.
        data = canonical_json({k: v for k, v in record.items() if k != "paths"})
        described = "The run as it was recorded: what ran, on what, when and by whom (record.json without its paths)"
        yield Attached(name="record.json", data=data, description=described)
    if (record.get("software") or {}).get("evalsuite") and {"id", "finished_utc"} <= set(record.get("run") or {}):
        bill = json.dumps(bill_of_materials(record), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        described = "The software behind the numbers as a bill of materials (CycloneDX)"
        yield Attached(
            name="software.cdx.json", data=bill.encode("utf-8"), description=described, relationship="Supplement"
        )


def _of_the_copy(record: Mapping[str, Any]) -> Iterator[Attached]:
    if record.get("copy"):
        described = "Of which run this is a copy, and what was left out"
        yield Attached(name=COPY, data=canonical_json(record["copy"]), description=described, relationship="Supplement")


def _listings(exhibits: Exhibits | None) -> Iterator[Attached]:
    """One CSV per listing, as it lies in the run folder."""
    for listing in () if exhibits is None else exhibits.listings:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows((listing.columns, *listing.rows))
        described = f"Line listing of {listing.name}: one row each"
        yield Attached(name=f"{listing.name}.csv", data=text.getvalue().encode("utf-8"), description=described)


def protocol_yaml(protocol: StudyProtocol) -> bytes:
    """The protocol with every default written out."""
    import yaml

    plain = protocol.model_dump(mode="json", by_alias=True)
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100).encode("utf-8")
