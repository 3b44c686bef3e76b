"""What reporting checklists still miss in a finished run, with the page of the report that answers each item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from evalsuite.errors import InputError
from evalsuite.protocol.checklists import Checklist, find_checklist, load_checklists
from evalsuite.protocol.load import load_protocol
from evalsuite.record.canonical import read_json
from evalsuite.record.seal import SIGNED_REPORT
from evalsuite.report.facts import facts_of, not_applicable
from evalsuite.report.gaps import gaps_of
from evalsuite.report.material import Material
from evalsuite.report.pdf_places import pdf_places
from evalsuite.spine.exhibits import read_exhibits
from evalsuite.spine.folder import RunFolder, require_intact
from evalsuite.types import Evidence, Verdict

SIGNATURES = "run.signatures"
GAPS_SCHEMA = "evalsuite/gaps/1"


def gaps(run_path: Path, names: Sequence[str]) -> dict[str, Any]:
    """The status of every item of the named checklists in a run; `all` names every shipped one.

    Raises
    ------
    InputError
        For a name that is not shipped (the hint lists them; the beginning of one name alone will do), or a run that
        has no verdict yet.
    IntegrityError
        If the run is not as it was sealed.
    """
    chosen = _chosen(names)
    folder = RunFolder(Path(run_path))
    if not folder.record.exists():
        raise InputError(f"{run_path} is not the folder of a run.", hint="evalsuite gaps RUN --checklist NAME")
    require_intact(folder)
    if not folder.verdict.exists():
        raise InputError(f"{run_path} has no verdict yet.", hint=f"First: evalsuite score {run_path}")
    material = Material(
        protocol=load_protocol(folder.protocol),
        evidence=Evidence.from_json(read_json(folder.evidence)),
        verdict=Verdict.from_json(read_json(folder.verdict)),
        record=read_json(folder.record),
        exhibits=read_exhibits(folder),
    )
    facts, waived = dict(facts_of(material)), not_applicable(material)
    if (folder.path / SIGNED_REPORT).exists():  # signed after the report was written, so the report cannot know
        facts[SIGNATURES] = replace(facts[SIGNATURES], state="reported")
    pages = _pages(folder)
    return {
        "schema": GAPS_SCHEMA,
        "run": str(material.recorded("run.id")),
        "checklists": [
            {
                **{k: v for k, v in checklist.model_dump(mode="json").items() if k != "items"},
                "items": [
                    {**g.to_json(), "pages": [p for s in g.item.where for p in pages.get(s, ())]}
                    for g in gaps_of(checklist, facts, waived)
                ],
            }
            for checklist in chosen
        ],
    }


def _chosen(names: Sequence[str]) -> list[Checklist]:
    known = load_checklists()
    wanted = list(known) if "all" in names else list(dict.fromkeys(names))
    found = {n: find_checklist(n) for n in wanted}
    unknown = [n for n, c in found.items() if c is None]
    if unknown:
        raise InputError(f"No shipped checklist '{unknown[0]}'.", hint=f"Shipped: {', '.join(known)}; or all.")
    return list({c.name: c for c in found.values() if c is not None}.values())


def _pages(folder: RunFolder) -> Mapping[str, tuple[int, ...]]:
    """First page of the sections of the report by their name in its order of contents (R12); nothing without a PDF."""
    if not folder.pdf.exists():
        return {}
    found: dict[str, tuple[int, ...]] = {}
    for place in pdf_places(folder.pdf).sections:
        if place.section == "Summary":
            found["R01"] = (place.page,)
        number = place.section.split()[0].partition(".")[0] if place.section else ""
        if number.isdigit():
            found.setdefault(f"R{int(number):02d}", (place.page,))
    return found
