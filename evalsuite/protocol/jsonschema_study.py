"""Published JSON Schemas of the study description, of what checklists still miss, and of the self-test."""

from __future__ import annotations

from typing import Any

from evalsuite.protocol.checklists import Checklist
from evalsuite.protocol.study import StudyDescription

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TEXT: dict[str, Any] = {"type": "string"}


def study_schema() -> dict[str, Any]:
    """JSON Schema of study.yaml."""
    return {
        "$schema": _DIALECT,
        **StudyDescription.model_json_schema(by_alias=True),
        "title": "Study description (study.yaml)",
    }


def gaps_schema() -> dict[str, Any]:
    """JSON Schema of what `evalsuite gaps --json` prints."""
    fact = _closed({"fact": _TEXT, "words": _TEXT, "section": _TEXT})
    item = _closed(
        {
            "item": _TEXT,
            "text": _TEXT,
            "where": _several(_TEXT),
            "status": {"enum": ["reported", "partly", "not_reported", "not_applicable"]},
            "reported": _several(fact),
            "missing": _several(fact),
            "reason": _TEXT,
            "pages": _several({"type": "integer", "minimum": 1}),
        }
    )
    about = {name: _TEXT for name in Checklist.model_fields if name != "items"}
    return {
        "$schema": _DIALECT,
        "title": "What reporting checklists still miss in a run (evalsuite gaps --json)",
        **_closed(
            {
                "schema": {"const": "evalsuite/gaps/1"},
                "run": _TEXT,
                "checklists": _several(_closed({**about, "items": _several(item)})),
                "exit_code": {"const": 0},
            }
        ),
    }


def selftest_schema() -> dict[str, Any]:
    """JSON Schema of what `evalsuite selftest --json` prints."""
    truth: dict[str, Any] = {"type": "boolean"}
    figure = _closed({"expected": {}, "computed": {}, "agrees": truth})
    answer = {
        **dict.fromkeys(("name", "statistic", "source", "fault"), _TEXT),
        "kind": {"enum": ["published", "software", "definition", "pinned"]},
        "tolerance": {"type": "number", "minimum": 0},
        "holds": truth,
        "figures": {"type": "object", "additionalProperties": figure},
    }
    return {
        "$schema": _DIALECT,
        "title": "Known answers and what this installation computed (evalsuite selftest --json)",
        **_closed(
            {
                "schema": {"const": "evalsuite/selftest/1"},
                "id": {"type": "string", "pattern": "^ST-[0-9A-F]{16}$"},
                "n": {"type": "integer", "minimum": 1},
                "failed": _several(_TEXT),
                "versions": {"type": "object", "additionalProperties": _TEXT},
                "vectors_sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
                "answers": _several(_closed(answer)),
                "exit_code": {"enum": [0, 3]},
            }
        ),
    }


def _several(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _closed(properties: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
