"""What a run and its study description state: each fact a checklist asks for, reported, open or not applicable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from evalsuite.protocol.schema import IntendedUse
from evalsuite.protocol.study_load import is_stated, study_fields
from evalsuite.report.facts_run import RULES
from evalsuite.report.material import Material

State = Literal["reported", "open", "not_applicable"]
#: Section of the report that prints each block of the study description.
STUDY_SECTIONS: Mapping[str, str] = {
    "report": "R00",
    "use": "R02",
    "device": "R03",
    "design": "R04",
    "dataset": "R05",
    "participants": "R06",
    "demographics": "R07",
    "reference_standard": "R08",
    "independence": "R09",
    "analysis": "R11",
    "fairness": "R18",
    "robustness": "R19",
    "readers": "R23",
    "monitoring": "R24",
    "conclusions": "R25",
    "risks": "R26",
    "security": "R27",
    "availability": "R28",
    "tool": "R30",
    "anomalies": "R31",
    "approvers": "R32",
}
#: Fields printed elsewhere than the rest of their block.
_ELSEWHERE = {
    "analysis.sample_size": "R10",
    "analysis.subgroup_size": "R10",
    "robustness.precision": "R20",
    "robustness.explanations": "R21",
    "availability.retention": "R29",
}
#: Fields that need no words where the run itself shows what they ask for.
_SHOWN_BY = {"independence.leakage": "run.leakage"}
_BLOCK_WORDS = {"reference_standard": "reference standard", "use": "clinical context", "tool": "evalsuite here"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One thing that is stated or not: its name, in words, the section that shows it, and why it does not apply."""

    name: str
    words: str
    section: str
    state: State
    reason: str = ""


def section_of(path: str) -> str:
    """The section that prints a field of the study description."""
    return _ELSEWHERE.get(path) or STUDY_SECTIONS[path.partition(".")[0]]


def field_words(path: str) -> str:
    """A field of the study description in words, with its block: "reference standard: truthers"."""
    block, _, name = path.partition(".")
    head = _BLOCK_WORDS.get(block, block.replace("_", " "))
    return f"{head}: {name.replace('_', ' ')}" if name else head


def stated(material: Material) -> Mapping[str, Any]:
    """What the study description says, as plain values; nothing where the run has none."""
    found = material.recorded("study.stated", {})
    return found if isinstance(found, Mapping) else {}


def not_applicable(material: Material) -> Mapping[str, str]:
    """What a person declared not applicable, with the reason: fields of study.yaml and items of checklists."""
    found = stated(material).get("not_applicable", {})
    return found if isinstance(found, Mapping) else {}


def fact_names() -> frozenset[str]:
    """Every name a checklist may ask for."""
    use = [f"protocol.intended_use.{k}" for k in _intended_use()]
    return frozenset([*RULES, *use, *(f.path for f in study_fields())])


def facts_of(material: Material) -> Mapping[str, Fact]:
    """Every fact by name. A pure function of what the report is made from."""
    return material.once("facts", lambda: _facts(material))


def _facts(material: Material) -> dict[str, Fact]:
    facts: dict[str, Fact] = {}
    for name, rule in RULES.items():
        found = rule.holds(material)
        state: State = "not_applicable" if isinstance(found, str) else "reported" if found else "open"
        reason = found if isinstance(found, str) else ""
        facts[name] = Fact(name=name, words=rule.words, section=rule.section, state=state, reason=reason)
    for key in _intended_use():
        name = f"protocol.intended_use.{key}"
        given = bool(str(getattr(material.protocol.intended_use, key)).strip())
        words = f"intended use: {key.replace('_', ' ')}"
        facts[name] = Fact(name=name, words=words, section="R02", state="reported" if given else "open")
    says, waived = stated(material), not_applicable(material)
    for field in study_fields():
        shown = field.path in _SHOWN_BY and facts[_SHOWN_BY[field.path]].state == "reported"
        state = "reported" if shown or is_stated(says, field.path) else "open"
        reason = ""
        if state == "open" and field.path in waived:
            state, reason = "not_applicable", waived[field.path]
        words, section = field_words(field.path), section_of(field.path)
        facts[field.path] = Fact(name=field.path, words=words, section=section, state=state, reason=reason)
    return facts


def _intended_use() -> tuple[str, ...]:
    return tuple(IntendedUse.model_fields)
