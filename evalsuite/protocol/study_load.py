"""Read a study description, say everything that is wrong with it at once, and list what it leaves open."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from evalsuite.errors import InputError, Problem
from evalsuite.protocol.checklists import find_checklist, load_checklists
from evalsuite.protocol.load import form_problems
from evalsuite.protocol.reading import count, parse_yaml
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.protocol.study import STUDY_SCHEMA, StudyDescription

#: How the file is called beside a protocol and in a scaffolded study.
STUDY_FILE = "study.yaml"
#: Lists of which an empty one says: there are none. Any other empty list is left open.
_MAY_BE_NONE = frozenset(
    {
        *("device.tested_vs_released", "device.history", "design.deviations", "participants.excluded"),
        *("demographics.unavailable", "anomalies"),
    }
)
#: Bytes within which a file says what it is.
_HEAD = 1 << 16
_ABOUT_THE_FILE = ("schema_", "protocol", "checklists", "not_applicable")


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyField:
    """A field of the study description: its path (`dataset.sampling`), what it asks for, whether it is a list."""

    path: str
    asks: str
    several: bool

    @property
    def words(self) -> str:
        """The field's name in words: `dataset.sampling` is "sampling"."""
        return self.path.rpartition(".")[2].replace("_", " ")


@cache
def study_fields() -> tuple[StudyField, ...]:
    """Every field a person fills, in the order of the file."""
    return tuple(_fields())


def _fields() -> Iterator[StudyField]:
    for name, info in StudyDescription.model_fields.items():
        if name in _ABOUT_THE_FILE:
            continue
        block = info.annotation
        if isinstance(block, type) and issubclass(block, BaseModel):
            for inner, field in block.model_fields.items():
                several = "list[" in str(field.annotation)
                yield StudyField(path=f"{name}.{inner}", asks=field.description or "", several=several)
        else:
            yield StudyField(path=name, asks=info.description or "", several=True)


def value_at(stated: Mapping[str, Any], path: str) -> Any:
    """What a description (as plain values) says at a path; None where it says nothing."""
    value: Any = stated
    for step in path.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def is_stated(stated: Mapping[str, Any], path: str) -> bool:
    """Whether the field is filled. An empty list counts where it can only mean: there are none."""
    value = value_at(stated, path)
    if isinstance(value, list | tuple):
        return bool(value) or path in _MAY_BE_NONE
    return value not in (None, "")


def load_study(path: Path, protocol: StudyProtocol) -> StudyDescription:
    """The study description in a file, checked against the protocol it belongs to.

    Raises
    ------
    InputError
        With every problem of the file, or where it cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    return parse_study(data, str(path), protocol)


def parse_study(data: bytes, name: str, protocol: StudyProtocol | None) -> StudyDescription:
    """The study description in these bytes of YAML; `name` is what error messages call it. Raises InputError.

    Without a protocol nothing is checked that only a protocol can tell.
    """
    raw = _days_as_text({k: v for k, v in parse_yaml(data, name).items() if v is not None})
    version = raw.get("schema")
    if isinstance(version, str) and version.startswith("evalsuite/study/") and version != STUDY_SCHEMA:
        raise InputError(f"{name} is written in {version}; this version reads {STUDY_SCHEMA}.")
    try:
        study = StudyDescription.model_validate(raw)
    except ValidationError as error:
        problems = form_problems(error, raw, StudyDescription)
        raise InputError(f"{name} has {count(problems)}", problems=problems) from error
    problems = list(_against(study, protocol))
    if problems:
        raise InputError(f"{name} has {count(problems)}", problems=problems)
    return study


def _days_as_text(raw: dict[str, Any]) -> dict[str, Any]:
    """A block left empty (`use:` with nothing below) is the same as none; a field left empty too."""
    return {k: ({i: v for i, v in x.items() if v is not None} if isinstance(x, dict) else x) for k, x in raw.items()}


def _against(study: StudyDescription, protocol: StudyProtocol | None) -> Iterator[Problem]:
    """What does not fit the protocol or the checklists."""
    if protocol is not None:
        yield from _against_protocol(study, protocol)
    known = load_checklists()
    for i, name in enumerate(study.checklists):
        if find_checklist(name) is None:
            yield Problem("no shipped checklist", f"checklists[{i}]", f"known: {', '.join(known)}")
    paths = {f.path for f in study_fields()}
    items = {f"{c.name} {item.id}" for c in known.values() for item in c.items}
    for key in study.not_applicable:
        if key not in paths and key not in items:
            hint = "a field such as device.udi_di, or a checklist and its item such as claim2024 31"
            yield Problem("neither a field of this file nor an item of a checklist", f"not_applicable.{key}", hint)


def _against_protocol(study: StudyDescription, protocol: StudyProtocol) -> Iterator[Problem]:
    """What belongs to another protocol, and endpoints it does not have."""
    if study.protocol != protocol.id:
        yield Problem(f"belongs to the protocol '{study.protocol}', not to '{protocol.id}'", "protocol")
    names = {e.name for e in protocol.endpoints} | {c.name for c in protocol.comparisons}
    if protocol.analyses.bias is not None:
        names |= {c.name for c in protocol.analyses.bias.criteria}
    for i, risk in enumerate(study.risks or ()):
        for j, endpoint in enumerate(risk.endpoints):
            if endpoint not in names:
                hint = f"endpoints and comparisons: {', '.join(sorted(names))}"
                yield Problem("no endpoint or comparison of the protocol", f"risks[{i}].endpoints[{j}]", hint)


def stated_values(study: StudyDescription) -> dict[str, Any]:
    """What the description says, as plain values, without what it leaves open."""
    return study.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def is_study(path: Path) -> bool:
    """Whether a YAML file says that it is a study description; what is wrong with it is said when it is loaded."""
    try:
        head = path.read_bytes()[:_HEAD]
    except OSError:
        return False
    return re.search(rb"^schema:\s*[\"']?evalsuite/study/", head, flags=re.MULTILINE) is not None


def changed_paths(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """Fields that say something else in `after` than in `before`."""
    return tuple(f.path for f in study_fields() if value_at(before, f.path) != value_at(after, f.path))


def study_template(protocol_id: str) -> str:
    """An empty study description: every field with what it asks for, to be filled where it applies."""
    lines = [
        "# What only a person knows about this study. Every field may stay empty: the report then lists it as open.",
        "# Lists: [] says that there are none; an example of a row stands beside each. Nothing here changes a result.",
        f"schema: {STUDY_SCHEMA}",
        f"protocol: {protocol_id}",
        "checklists: [claim2024]  # printed in the report; evalsuite list checklists shows all",
        "not_applicable: {}  # what does not apply, and why, e.g. {device.udi_di: not yet assigned}",
    ]
    block = ""
    for field in study_fields():
        head, dot, name = field.path.rpartition(".")
        if head != block and head:
            described = StudyDescription.model_fields[head].annotation
            lines += ["", f"# {' '.join((getattr(described, '__doc__', '') or '').split())}", f"{head}:"]
        if not head:
            lines.append("")
        block = head
        empty = "" if field.several or _is_number(field.path) else ' ""'
        lines.append(f"{'  ' if dot else ''}{name}:{empty}  # {field.asks}{_row(field.path)}")
    return "\n".join(lines) + "\n"


def _is_number(path: str) -> bool:
    return path in ("participants.identified", "participants.eligible")


def _row(path: str) -> str:
    """The keys of a row of a list, for the template."""
    head, _, name = path.rpartition(".")
    owner: Any = StudyDescription.model_fields[head].annotation if head else StudyDescription
    inner = re.findall(r"evalsuite\.protocol\.study_blocks\.(\w+)", str(owner.model_fields[name].annotation))
    if not inner:
        return ""
    import evalsuite.protocol.study_blocks as blocks

    keys = ", ".join(f"{k}: …" for k in getattr(blocks, inner[0]).model_fields)
    return f"; rows: - {{{keys}}}"
