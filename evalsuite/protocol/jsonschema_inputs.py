"""JSON Schemas of what a study takes in: one row of a case table, and what was noted of the model."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_DIGEST: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}


def case_row() -> Schema:
    """One row of a case table, all cells as text. Columns may be called otherwise: the protocol's `unit` says how."""
    said = {
        "case_id": "unique",
        "patient_id": "all cases of one patient have the same; empty: a patient of its own",
        "image": "path, relative to the table or absolute; a folder for a DICOM series",
        "study_id": "pseudonym",
        "site": "where the case comes from",
        "acquired_at": "date or time",
        "sample_weight": "a number above 0",
    }
    properties: Schema = {name: {**_TEXT, "description": text} for name, text in said.items()}
    properties["case_id"]["minLength"] = 1
    properties["reference_status"] = {"enum": ["", "established", "equivocal", "missing"]}
    return {
        "title": "One row of a case table (CSV or Parquet)",
        "type": "object",
        "properties": properties,
        "required": ["case_id"],
        "additionalProperties": {
            **_TEXT,
            "description": "reference standard, columns to stratify by, further images; empty where unknown",
        },
    }


def model_facts() -> Schema:
    """model.json of a run."""
    properties: Schema = {
        "schema": {"const": "evalsuite/model/1"},
        "name": _TEXT,
        "format": {**_TEXT, "description": "as `evalsuite list models` names it"},
        "digest": _DIGEST,
        "contract_digest": _DIGEST,
        "contract": {"type": "object", "description": "inputs, outputs and settings: `evalsuite schema contract`"},
        "size_bytes": {"type": "integer", "minimum": 0},
        "notes": {"type": "array", "items": _TEXT},
    }
    return {
        "title": "The model of a run (model.json)",
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
