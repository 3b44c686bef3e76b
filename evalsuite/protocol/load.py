"""Load a study protocol from its YAML file and say everything that is wrong with it at once."""

from __future__ import annotations

import copy
import difflib
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from evalsuite.errors import Problem, ProtocolError
from evalsuite.protocol.checks import UNREADABLE, check_protocol
from evalsuite.protocol.reading import count, parse_yaml
from evalsuite.protocol.schema import PROTOCOL_SCHEMA, StudyProtocol
from evalsuite.protocol.support import unsupported
from evalsuite.record.digest import digest_json
from evalsuite.resources import bundled

__all__ = [
    "dump_protocol",
    "form_problems",
    "load_protocol",
    "normalised_dict",
    "parse_protocol",
    "protocol_digest",
    "shipped_protocols",
    "unsupported",
]

_Path = tuple[str | int, ...]

# What takes the place of an unreadable part, so that the checks of all other parts still run. Never returned.
_STANDINS: dict[str, Any] = {
    "schema": PROTOCOL_SCHEMA,
    "id": "unreadable",
    "version": UNREADABLE,
    "title": UNREADABLE,
    "kind": "standalone",
    "intended_use": {},
    "task": {"kind": "binary", "reference": "x", "score": "x"},
    "reference": "x",
    "score": "x",
    "unit": {},
    "endpoints": [{"name": UNREADABLE, "metric": UNREADABLE}],
    "name": UNREADABLE,
    "metric": UNREADABLE,
    "threshold": 0.5,
    "bound": "lower",
    "op": ">",
    "value": 0.0,
    "seed": 0,
}
_ITEM_STANDINS: dict[str, Any] = {
    "endpoints": {"name": UNREADABLE, "metric": UNREADABLE},
    "strata": {"name": UNREADABLE, "column": UNREADABLE},
    "operating_points": {"name": UNREADABLE, "threshold": 0.5},
    "comparisons": {"name": UNREADABLE, "metric": UNREADABLE},
}


def load_protocol(path: str | Path) -> StudyProtocol:
    """The protocol in a YAML file, in a frozen folder, or shipped under this name.

    Parameters
    ----------
    path
        A YAML file, a folder written by `freeze` (its digests are verified), or the name of a shipped protocol
        (`generic_binary_standalone`). An existing path wins over a name.

    Raises
    ------
    ProtocolError
        With every problem of the file, each with its path and, where one is at hand, a hint.
    IntegrityError
        If a frozen folder is no longer what was frozen.
    """
    where = Path(path)
    if where.is_dir():
        from evalsuite.protocol.freeze import FREEZE_FILE, load_frozen

        if not (where / FREEZE_FILE).exists():
            raise ProtocolError(
                f"{where} is a folder without {FREEZE_FILE}, so no frozen study.",
                hint="Give a YAML file, a folder written by evalsuite freeze, or the name of a shipped protocol.",
            )
        return load_frozen(where).protocol
    if not where.exists():
        shipped = shipped_protocols()
        if str(path) in shipped:
            where = shipped[str(path)]
        else:
            close = difflib.get_close_matches(where.stem, shipped, n=1)
            hint = f"Did you mean the shipped '{close[0]}'?" if close else f"Shipped: {', '.join(shipped)}."
            raise ProtocolError(f"{path}: no such protocol file, frozen folder or shipped protocol.", hint=hint)
    try:
        data = where.read_bytes()
    except OSError as error:
        raise ProtocolError(f"{where} cannot be read: {error.strerror}.") from error
    return parse_protocol(data, str(where))


def parse_protocol(data: bytes, name: str = "protocol") -> StudyProtocol:
    """The protocol in these bytes of YAML; `name` is what error messages call it. Raises ProtocolError."""
    raw = parse_yaml(data, name)
    version = raw.get("schema")
    if isinstance(version, str) and version.startswith("evalsuite/protocol/") and version != PROTOCOL_SCHEMA:
        raise ProtocolError(
            f"{name} is written in {version}; this version reads {PROTOCOL_SCHEMA}.",
            hint="Install the version of evalsuite that wrote it.",
        )
    normalised = _normalise(raw)
    problems, model, tainted = _validate(normalised)
    if model is not None:
        problems += [p for p in check_protocol(model) if not _overlaps(p.where, tainted)]
    if problems or model is None:
        problems = list(dict.fromkeys(problems))
        raise ProtocolError(f"{name} has {count(problems)}", problems=problems)
    return model


def shipped_protocols() -> dict[str, Path]:
    """Name and file of every shipped protocol, in alphabetical order."""
    return {path.stem: path for path in sorted(bundled("protocols").glob("*.yaml"))}


def normalised_dict(protocol: StudyProtocol) -> dict[str, Any]:
    """The protocol as plain values, every default written out."""
    return protocol.model_dump(mode="json", by_alias=True)


def protocol_digest(protocol: StudyProtocol) -> str:
    """SHA-256 (hex) over what the protocol says beyond the defaults: layout, comments, key order do not count.

    A default written out and a default left out are the same protocol. Because only what differs from the defaults of
    its schema enters, a later version that knows further keys gives an old protocol the same digest; the defaults of
    one schema version never change.
    """
    return digest_json(protocol.model_dump(mode="json", by_alias=True, exclude_defaults=True))


def dump_protocol(protocol: StudyProtocol) -> str:
    """The normalised protocol as YAML, every default written out; loading it gives an equal protocol."""
    return yaml.safe_dump(normalised_dict(protocol), sort_keys=False, allow_unicode=True, width=100)


# --- form -----------------------------------------------------------------------------------------------------------


def _normalise(raw: dict[str, Any]) -> dict[str, Any]:
    """Short forms written out: a stratum given as `sex` is the column `sex` under its own name."""
    data = copy.deepcopy(raw)
    strata = data.get("strata")
    if isinstance(strata, list):
        data["strata"] = [_normalise_stratum(s) for s in strata]
    # An empty block (`analyses:` with nothing below it) is the default, as if the key were not there.
    return {k: v for k, v in data.items() if v is not None or k not in StudyProtocol.model_fields}


def _normalise_stratum(entry: Any) -> Any:
    if isinstance(entry, str):
        return {"name": entry, "column": entry}
    if isinstance(entry, dict) and isinstance(entry.get("name"), str) and not {"column", "cross"} & set(entry):
        return {**entry, "column": entry["name"]}
    return entry


def _validate(data: dict[str, Any]) -> tuple[list[Problem], StudyProtocol | None, list[str]]:
    """Problems of form, the model, and the paths that were put aside to get one (empty if there were no problems)."""
    problems: list[Problem] = []
    tainted: list[str] = []
    current = copy.deepcopy(data)
    for _ in range(6):
        try:
            return problems, StudyProtocol.model_validate(current), tainted
        except ValidationError as error:
            grouped: dict[_Path, list[ErrorDetails]] = {}
            for detail in error.errors(include_url=False):
                grouped.setdefault(_real_path(detail, current), []).append(detail)
            for path, details in grouped.items():
                where = _text(path)
                if not any(where == t or where.startswith((f"{t}.", f"{t}[")) for t in tainted):
                    problems.append(_problem(path, details, current))
            for path, details in grouped.items():
                tainted.append(_text(path))
                _put_aside(current, path, details[0])
    return problems, None, tainted


def _real_path(detail: ErrorDetails, data: Any) -> _Path:
    """The error's location without the steps pydantic adds for the branches of a union."""
    path: list[str | int] = []
    current = data
    for i, step in enumerate(detail["loc"]):
        last = i == len(detail["loc"]) - 1
        if isinstance(current, dict) and (step in current or (last and detail["type"] == "missing")):
            path.append(step)
            current = current.get(step)
        elif isinstance(current, list) and isinstance(step, int) and step < len(current):
            path.append(step)
            current = current[step]
        elif last and detail["type"] in ("missing", "extra_forbidden"):
            path.append(step)
    return tuple(path)


def _text(path: _Path) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def _at(data: Any, path: _Path) -> Any:
    for step in path:
        data = data[step]
    return data


def _put_aside(data: dict[str, Any], path: _Path, detail: ErrorDetails) -> None:
    if not path:
        return
    try:
        parent, key = _at(data, path[:-1]), path[-1]
    except (KeyError, IndexError, TypeError):
        return  # a larger part around it was put aside already
    if isinstance(key, int):
        owner = str(path[-2]) if len(path) > 1 else ""
        if owner in _ITEM_STANDINS:
            parent[key] = copy.deepcopy(_ITEM_STANDINS[owner])
        else:
            _put_aside(data, path[:-1], detail)
    elif detail["type"] == "extra_forbidden" or key not in _STANDINS:
        parent.pop(key, None)
    else:
        parent[key] = copy.deepcopy(_STANDINS[str(key)])


def _overlaps(where: str, tainted: list[str]) -> bool:
    def inside(a: str, b: str) -> bool:
        return a == b or a.startswith((f"{b}.", f"{b}["))

    return any(inside(where, t) or inside(t, where) for t in tainted)


_PLAIN = {
    "string_type": "should be text",
    "string_too_short": "should not be empty",
    "int_type": "should be a whole number",
    "int_parsing": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_type": "should be a number",
    "float_parsing": "should be a number",
    "finite_number": "should be a finite number",
    "bool_type": "should be true or false",
    "bool_parsing": "should be true or false",
    "list_type": "should be a list",
    "tuple_type": "should be a list",
    "dict_type": "should hold keys and values",
    "model_type": "should hold keys and values",
    "model_attributes_type": "should hold keys and values",
}


def form_problems(error: ValidationError, data: dict[str, Any], root: type[BaseModel]) -> list[Problem]:
    """Every problem of form of a file that `root` describes, in the words used for protocols."""
    grouped: dict[_Path, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        grouped.setdefault(_real_path(detail, data), []).append(detail)
    return [_problem(path, details, data, root) for path, details in grouped.items()]


def _problem(
    path: _Path, details: list[ErrorDetails], data: dict[str, Any], root: type[BaseModel] = StudyProtocol
) -> Problem:
    detail = details[0]
    where = _text(path)
    kind = detail["type"]
    if kind == "missing":
        return Problem("required field missing", where, _missing_hint(path, data, root))
    if kind == "extra_forbidden":
        known = _field_names(path[:-1], root)
        close = difflib.get_close_matches(str(path[-1]), known, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"
        return Problem(f"extra fields found ({path[-1]})", _text(path[:-1]), hint)
    value = _at(data, path)
    if kind == "literal_error":
        allowed = [w.strip("'") for w in detail["ctx"]["expected"].replace(" or ", ", ").split(", ")]
        return Problem(f"{value!r} is not one of {', '.join(allowed)}", where, _literal_hint(path, value, allowed))
    if kind == "string_pattern_mismatch":
        return Problem("should be lower-case letters, digits, dots, dashes and underscores", where)
    said = list(dict.fromkeys(_PLAIN.get(d["type"], _pydantic_words(d)) for d in details))
    hint = "put it in quotes" if "string_type" in {d["type"] for d in details} and _is_number(value) else ""
    return Problem(" or ".join(said), where, hint)


def _is_number(value: Any) -> bool:
    return isinstance(value, bool | int | float)


def _pydantic_words(detail: ErrorDetails) -> str:
    text = detail["msg"]
    return "should " + text[len("Input should ") :] if text.startswith("Input should ") else text[:1].lower() + text[1:]


def _literal_hint(path: _Path, value: Any, allowed: list[str]) -> str:
    if path[-1] == "op" and value in ("", None):
        return 'put the sign in quotes: op: ">"'
    close = difflib.get_close_matches(str(value), allowed, n=1)
    return f"did you mean '{close[0]}'?" if close else ""


def _missing_hint(path: _Path, data: dict[str, Any], root: type[BaseModel]) -> str:
    """The misspelt key that was probably meant, if there is one."""
    parent = _at(data, path[:-1])
    known = set(_field_names(path[:-1], root))
    extra = [k for k in parent if isinstance(k, str) and k not in known] if isinstance(parent, dict) else []
    close = difflib.get_close_matches(str(path[-1]), extra, n=1)
    return f"written '{close[0]}'?" if close else ""


def _field_names(path: _Path, root: type[BaseModel]) -> list[str]:
    """Keys the schema knows at this place."""
    model: type[BaseModel] | None = root
    for step in path:
        if isinstance(step, int):
            continue
        field = model.model_fields.get(step) if model else None
        model = _block_of(field.annotation) if field else None
    if model is None:
        return []
    return [f.alias or n for n, f in model.model_fields.items()]


def _block_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _block_of(argument)
        if found is not None:
            return found
    return None
