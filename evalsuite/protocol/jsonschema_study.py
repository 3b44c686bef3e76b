"""Published JSON Schemas of the study description and of what checklists still miss."""

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


def _several(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _closed(properties: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
