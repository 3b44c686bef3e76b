"""Reporting checklists as shipped data: what each asks for in our words, and what of a run answers it."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Literal

import yaml
from pydantic import ConfigDict, Field

from evalsuite.protocol.blocks import Block
from evalsuite.resources import bundled

Day = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]


class ChecklistItem(Block):
    """One thing a checklist asks for, paraphrased."""

    id: Annotated[str, Field(min_length=1, max_length=40)]
    text: Annotated[str, Field(min_length=3, max_length=300)]
    where: list[Annotated[str, Field(pattern=r"^R\d\d$")]] = Field(description="sections of the report that answer it")
    needs: list[str] = Field(default_factory=list, description="facts of a run or fields of study.yaml; see facts.py")
    outside: str = Field(default="", description="why no report of an evaluation can answer it")


class Checklist(Block):
    """A checklist: where it comes from, how far it was checked against its source, and its items."""

    name: str
    title: str
    source: str
    standing: Literal["binding", "final guidance", "draft guidance", "consensus statement"]
    evidence_status: str = Field(description="how far the paraphrases were checked against the source")
    checked_on: Day
    licence_note: str
    items: list[ChecklistItem]

    model_config = ConfigDict(frozen=True, extra="forbid")


@cache
def load_checklists() -> dict[str, Checklist]:
    """Every shipped checklist by name, in alphabetical order."""
    folder = bundled("protocols", "checklists")
    found = {}
    for path in sorted(folder.glob("*.yaml")):
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        found[path.stem] = Checklist.model_validate({"name": path.stem, **data})
    return found


def find_checklist(name: str) -> Checklist | None:
    """The shipped checklist of this name, or the only one whose name begins so (`fda_lifecycle`); None otherwise."""
    known = load_checklists()
    if name in known:
        return known[name]
    found = [c for n, c in known.items() if name and n.startswith(name)]
    return found[0] if len(found) == 1 else None
