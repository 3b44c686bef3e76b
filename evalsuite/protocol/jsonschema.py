"""Published JSON Schemas of the suite's files, so that other software can read and check them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from evalsuite.protocol.bias_outcomes import GapOutcome
from evalsuite.protocol.jsonschema_inputs import case_row, model_facts
from evalsuite.protocol.jsonschema_study import gaps_schema, selftest_schema, study_schema
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.types import (
    CASE_STATUSES,
    EVIDENCE_SCHEMA,
    OUTPUT_STATUSES,
    VERDICT_SCHEMA,
    CurveKind,
    Decision,
    Outcome,
    ReferenceClass,
    Role,
    Unit,
)

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_TEXT: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "number"}
_TRUTH: Schema = {"type": "boolean"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_ANY: Schema = {"type": "object"}
_DIGEST: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_UTC: Schema = {"type": "string", "description": "ISO 8601, UTC"}
_STRATUM: Schema = {
    "type": "object",
    "additionalProperties": {"type": "string"},
    "description": "stratum name to level; empty for the whole set",
}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _one_of(literal: Any) -> Schema:
    return {"enum": list(get_args(literal))}


def _object(properties: dict[str, Schema], *, optional: tuple[str, ...] = (), closed: bool = True) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": not closed,
    }


def _file(title: str, schema: Schema) -> Schema:
    return {"$schema": DIALECT, "title": title, **schema}


def _estimate() -> Schema:
    counts = ("n_positive", "n_negative", "n_patients", "replicates", "replicates_undefined")
    numbers = ("value", "low", "high", "numerator", "denominator", "design_effect")
    order = [
        "value",
        "low",
        "high",
        "level",
        "method",
        "n",
        "unit",
        "numerator",
        "denominator",
        "n_positive",
        "n_negative",
        "n_patients",
        "design_effect",
        "replicates",
        "replicates_undefined",
        "undefined",
        "interval_undefined",
    ]
    kinds: dict[str, Schema] = {
        **{name: _or_null(_NUMBER) for name in numbers},
        **{name: _or_null(_COUNT) for name in counts},
        "level": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        "method": _TEXT,
        "n": _COUNT,
        "unit": _one_of(Unit),
        "undefined": {**_or_null(_TEXT), "description": "why there is no value"},
        "interval_undefined": {**_or_null(_TEXT), "description": "why there is a value but no interval"},
    }
    number, null = {"type": "number"}, {"type": "null"}
    return {
        **_object({name: kinds[name] for name in order}),
        "oneOf": [
            {"properties": {"value": number, "undefined": null}},
            {"properties": {"value": null, "undefined": _TEXT, "low": null, "high": null}},
        ],
        "allOf": [
            {
                "anyOf": [
                    {"properties": {"low": number, "high": number}},
                    {"properties": {"low": null, "high": null}},
                ]
            }
        ],
    }


def _finding() -> Schema:
    return _object(
        {
            "analysis": _TEXT,
            "endpoint": _TEXT,
            "metric": _TEXT,
            "role": _one_of(Role),
            "target": _or_null(_TEXT),
            "operating_point": _or_null(_TEXT),
            "stratum": _STRATUM,
            "rater": _TEXT,
            "condition": _or_null(_TEXT),
            "reference_group": _or_null(_TEXT),
            "prespecified": _TRUTH,
            "estimate": {"$ref": "#/$defs/estimate"},
            "outcome": {**_one_of(GapOutcome), "description": "what a gap between two groups shows; analysis bias"},
        },
        optional=("outcome",),
    )


def _curve() -> Schema:
    line = _list(_NUMBER)
    return _object(
        {
            "analysis": _TEXT,
            "metric": _TEXT,
            "kind": _one_of(CurveKind),
            "stratum": _STRATUM,
            "operating_point": _or_null(_TEXT),
            "series": _or_null(_TEXT),
            "target": {**_TEXT, "description": "class or label against the rest that the curve is of"},
            "x": line,
            "y": line,
            "low": _or_null(line),
            "high": _or_null(line),
            "n": {"anyOf": [_COUNT, _list(_COUNT), {"type": "null"}]},
            "method": _or_null(_TEXT),
        },
        optional=("target",),
    )


def _evidence() -> Schema:
    account = _object(
        {
            "status": {"enum": list(CASE_STATUSES)},
            "reference": _one_of(ReferenceClass),
            "stratum": _STRATUM,
            "n": _COUNT,
            "n_patients": _COUNT,
        }
    )
    test = _object(
        {
            "name": _TEXT,
            "statistic": _or_null(_NUMBER),
            "p_value": _or_null(_NUMBER),
            "p_adjusted": _or_null(_NUMBER),
            "method": _TEXT,
            "endpoint": _or_null(_TEXT),
            "stratum": _STRATUM,
            "undefined": _or_null(_TEXT),
            "analysis": _or_null(_TEXT),
        }
    )
    schema = _object(
        {
            "schema": {"const": EVIDENCE_SCHEMA},
            "protocol": _object({"id": _TEXT, "version": _TEXT, "digest": _DIGEST}, closed=False),
            "testset": _object(
                {"set_id": _TEXT, "version": _TEXT, "root": _DIGEST, "n_cases": _COUNT, "n_patients": _COUNT},
                closed=False,
            ),
            "model": _object({"digest": _or_null(_TEXT)}, closed=False),
            "predictions": _object({"digest": _DIGEST}, closed=False),
            "software": {"type": "object", "additionalProperties": {"type": "string"}},
            "findings": _list({"$ref": "#/$defs/finding"}),
            "curves": _list(_curve()),
            "accounting": _list(account),
            "tests": _list(test),
            "notes": _list(_TEXT),
        }
    )
    return _file("Evidence", {**schema, "$defs": {"estimate": _estimate(), "finding": _finding()}})


def _verdict() -> Schema:
    criterion = _object(
        {
            "bound": {"enum": ["lower", "upper", "point"]},
            "op": {"enum": [">", ">=", "<", "<="]},
            "value": _NUMBER,
            "justification": _TEXT,
            "placeholder": _TRUTH,
        }
    )
    result = _object(
        {
            "endpoint": _TEXT,
            "metric": _TEXT,
            "role": _one_of(Role),
            "operating_point": _or_null(_TEXT),
            "stratum": _STRATUM,
            "criterion": criterion,
            "estimate": {"$ref": "#/$defs/estimate"},
            "outcome": _one_of(Outcome),
            "reason": _TEXT,
        }
    )
    schema = _object(
        {
            "schema": {"const": VERDICT_SCHEMA},
            "overall": _one_of(Outcome),
            "decision_rule": {"enum": ["all_primary", "any_primary", "gatekeeping"]},
            "criteria": _list(result),
            "reason": _TEXT,
            "evidence": {**_TRUTH, "description": "whether the run counts as evidence"},
            "not_evidence_because": _list(_TEXT),
            "flags": _list(_TEXT),
            "evidence_digest": _DIGEST,
            "decision": {**_one_of(Decision), "description": "of a modification: implemented or not"},
        },
        optional=("decision",),
    )
    return _file("Verdict", {**schema, "$defs": {"estimate": _estimate()}})


def _head() -> Schema:
    return _object({"count": _COUNT, "head": _DIGEST})


def _ledger_state() -> Schema:
    entry = {"seq": _COUNT, "utc": _UTC, "actor": _TEXT, "role": _TEXT, "action": _TEXT, "reason": _TEXT}
    state = {"count": _COUNT, "head": _DIGEST, "signed_by": _or_null(_DIGEST), "entries": _list(_object(entry))}
    return _object(state, optional=("signed_by",))


def _record() -> Schema:
    run = {"id": _TEXT, "started_utc": _UTC, "finished_utc": _or_null(_UTC), "command": {}, "actor": _TEXT}
    run |= {"role": _TEXT, "resumed": _COUNT}
    testset: dict[str, Schema] = {"set_id": _TEXT, "version": _TEXT, "root": _DIGEST, "locked_utc": _or_null(_UTC)}
    testset |= {"signed": _TRUTH, "n_cases": _COUNT, "n_patients": _COUNT, "n_files": _COUNT, "n_bytes": _COUNT}
    frozen = _object({"digest": _TEXT, "utc": _UTC, "ledger_seq": _COUNT}, closed=False)
    return _file(
        "Record of a run: who, when, where and with what; no number of it enters the evidence",
        _object(
            {
                "schema": {"const": "evalsuite/record/1"},
                "run": _object(run, closed=False),
                "software": _object({"evalsuite": _TEXT, "python": _TEXT, "packages": _ANY}, closed=False),
                "platform": _ANY,
                "inference": _ANY,
                "model": _object({"name": _TEXT, "format": _TEXT, "digest": _TEXT}, closed=False),
                "testset": _object(testset, closed=False),
                "protocol": _object(
                    {"id": _TEXT, "version": _TEXT, "digest": _DIGEST, "frozen": _or_null(frozen)}, closed=False
                ),
                "evidence_status": _object({"evidence": _TRUTH, "reasons": _list(_TEXT)}),
                "limit": _or_null(_COUNT),
                "ledger": _or_null(_ledger_state()),
            },
            closed=False,
        ),
    )


def _signature() -> Schema:
    return {
        **_object({"keyid": _DIGEST, "envelope": _TEXT}),
        "description": "key that signed this file, and the DSSE envelope beside it",
    }


def _lock() -> Schema:
    names = _list(_TEXT)
    table: dict[str, Schema] = {"digest": _DIGEST, "sha256": _DIGEST}
    encryption = _object({"cipher": _TEXT, "key_id": _DIGEST, "sha256": _DIGEST})
    return _file(
        "Lock of a test set",
        _object(
            {
                "schema": {"const": "evalsuite/testset/1"},
                "set_id": _TEXT,
                "version": _TEXT,
                "created_utc": _UTC,
                "files": _list(_object({"path": _TEXT, "size": _COUNT, "sha256": _DIGEST})),
                "merkle_root": _DIGEST,
                "rows": _object(table),
                "reference": _object({**table, "encryption": encryption}, optional=("encryption",)),
                "counts": _object({"cases": _COUNT, "patients": _COUNT}, closed=False),
                "columns": _object(
                    {
                        "case": _TEXT,
                        "patient": _or_null(_TEXT),
                        **dict.fromkeys(("image", "unsealed", "sealed", "reference_files", "dicom"), names),
                    }
                ),
                "unit": _object({"case_column": _TEXT, "patient_column": _or_null(_TEXT)}),
                "attributes": _ANY,
                "reuse_policy": _ANY,
                "protocol": _or_null(_ANY),
                "copied": _TRUTH,
                "signature": _or_null(_signature()),
                "intake": _object({"digest": _DIGEST, "problems": _COUNT, "warnings": _COUNT}),
                "series": {"type": "object", "additionalProperties": _list(_COUNT)},
                "draw": _or_null(_ANY),
                "retired": _list(_object({"case_id": _TEXT, "reason": _TEXT})),
                "lineage": _or_null(_ANY),
                "root": _DIGEST,
            }
        ),
    )


def _intake() -> Schema:
    row = {
        "check": _TEXT,
        "title": _TEXT,
        "outcome": {"enum": ["ok", "warning", "problem", "not_checked"]},
        "summary": _TEXT,
        "counts": {"type": "object", "additionalProperties": _COUNT},
        "cases": _list(_TEXT),
        "groups": _list(_list(_TEXT)),
        "why": _TEXT,
        "action": _TEXT,
    }
    return _file(
        "Intake report of a test set",
        _object(
            {
                "schema": {"const": "evalsuite/intake/1"},
                "decode_check": {"enum": ["auto", "none", "sample", "all"]},
                "n_images": _COUNT,
                "n_decoded": _COUNT,
                "outcomes": {"type": "object", "additionalProperties": _COUNT},
                "rows": _list(_object(row)),
            }
        ),
    )


def _seal() -> Schema:
    return _file(
        "Seal of a run folder",
        _object(
            {
                "schema": {"const": "evalsuite/seal/1"},
                "files": {"type": "object", "additionalProperties": _object({"size": _COUNT, "sha256": _DIGEST})},
                "ledger": _or_null(_head()),
                "signature": _or_null(_signature()),
            },
            optional=("signature",),
        ),
    )


def _ledger() -> Schema:
    return _file(
        "One line of a ledger (JSON lines)",
        _object(
            {
                "seq": _COUNT,
                "utc": _UTC,
                "actor": _TEXT,
                "role": _TEXT,
                "action": _TEXT,
                "reason": _TEXT,
                "objects": {"type": "object", "additionalProperties": {"type": "string"}},
                "prev": _DIGEST,
                "digest": _DIGEST,
            }
        ),
    )


def _frozen() -> Schema:
    protocol: dict[str, Schema] = {"id": _TEXT, "version": _TEXT, "digest": _DIGEST, "file_sha256": _DIGEST}
    return _file(
        "What was frozen together before unblinding (freeze.json)",
        _object(
            {
                "schema": {"const": "evalsuite/frozen/1"},
                "protocol": _object({**protocol, "source_sha256": _or_null(_DIGEST)}),
                "testset": _object({"root": _DIGEST, "set_id": _TEXT, "version": _TEXT}),
                "model": _object({"digest": _TEXT, "contract_digest": _or_null(_TEXT)}),
                "baseline": _object({"digest": _TEXT}),
                "utc": _UTC,
                "software": _object({"evalsuite": _TEXT}),
                "signature": _or_null(_signature()),
                "timestamp": _object({"file": _TEXT}),
                "digest": _DIGEST,
            },
            optional=("baseline", "timestamp"),
        ),
    )


def _predictions() -> Schema:
    row = _object(
        {
            "case_id": _TEXT,
            "rater": {**_TEXT, "default": "device"},
            "condition": _or_null(_TEXT),
            "status": {"enum": list(OUTPUT_STATUSES), "default": "ok"},
            "reason": _or_null(_TEXT),
            "model_digest": _TEXT,
        },
        optional=("rater", "condition", "status", "reason", "model_digest"),
    )
    output = {**_or_null(_NUMBER), "description": "one column per output, e.g. p_malignant; empty where there is none"}
    return _file("One row of recorded predictions (CSV or Parquet)", {**row, "additionalProperties": output})


def _protocol() -> Schema:
    schema = StudyProtocol.model_json_schema(by_alias=True)
    # The file may name a column instead of spelling the stratum out.
    strata = schema["properties"]["strata"]
    strata["items"] = {"anyOf": [{"type": "string"}, strata["items"]]}
    schema["$defs"]["StratumSpec"]["description"] += " A text alone is the column of that name."
    compared = schema["$defs"]["Bias"]["properties"]["attributes"]
    compared["items"] = {"anyOf": [{"type": "string"}, compared["items"]]}
    return {"$schema": DIALECT, **schema, "title": "Study protocol"}


def _envelope() -> Schema:
    signature = _object({"keyid": _DIGEST, "sig": _TEXT}, closed=False)
    return _file(
        "Signature of a file (DSSE envelope, *.dsse.json)",
        _object(
            {
                "payload": {"type": "string", "description": "in-toto statement, base64: the file's name and SHA-256"},
                "payloadType": {"const": "application/vnd.in-toto+json"},
                "signatures": {**_list(signature), "minItems": 1},
            }
        ),
    )


def _location() -> Schema:
    root = {"type": "string", "description": "where the images lie, relative to the test set"}
    return _file("Where a test set's images lie", _object({"schema": {"const": "evalsuite/location/1"}, "root": root}))


def _store() -> Schema:
    url = {"type": "string", "description": "database of the ledger, without a password"}
    return _file("Where a test set's ledger is kept", _object({"schema": {"const": "evalsuite/store/1"}, "url": url}))


def _waiver() -> Schema:
    limits: dict[str, Schema] = {
        "runs": {"type": "integer", "minimum": 1},
        "until": {"type": "string", "description": "last day, UTC"},
    }
    return _file(
        "Waiver of the reuse limit (YAML)",
        _object(
            {
                "schema": {"const": "evalsuite/waiver/1"},
                "testset": _DIGEST,
                "reason": {"type": "string", "minLength": 10},
                "who": {"type": "string", "minLength": 1},
                "role": {"type": "string", "minLength": 1},
                **limits,
            },
            optional=tuple(limits),
        ),
    )


def _developer_view() -> Schema:
    verdict, evidence = _verdict(), _evidence()
    return _file(
        "Developers' view of a run (summary.json)",
        _object(
            {
                "schema": {"const": "evalsuite/developer-view/1"},
                "run": _TEXT,
                "protocol": _ANY,
                "testset": _ANY,
                "model": _ANY,
                "run_evidence_digest": _DIGEST,
                "verdict": {k: v for k, v in verdict.items() if k not in ("$schema", "$defs", "title")},
                "findings": evidence["properties"]["findings"],
            }
        )
        | {"$defs": {**verdict.get("$defs", {}), **evidence["$defs"]}},
    )


def _package() -> Schema:
    place = _object(
        {
            "finding": _TEXT,
            "report": _TEXT,
            "page": _or_null(_COUNT),
            "section": _or_null(_TEXT),
            "html": _or_null(_TEXT),
            "evidence": _TEXT,
        }
    )
    run = {
        **dict.fromkeys(("run", "started_utc", "finished_utc", "overall", "report", "ledger", "sbom"), _TEXT),
        **dict.fromkeys(("protocol", "model", "testset"), _ANY),
        **dict.fromkeys(("not_evidence_because", "documents", "withheld", "line_listings"), _list(_TEXT)),
        "frozen_utc": _or_null(_UTC),
        "evidence": _TRUTH,
        "evidence_digest": _DIGEST,
        "signatures": _list(_object({"role": _TEXT, "name": _TEXT, "utc": _UTC})),
        "pages": _COUNT,
        "sections": _list(_object({"section": _TEXT, "page": _COUNT})),
    }
    clause = {"run": _TEXT, "clause": _TEXT, "endpoint": _or_null(_TEXT), "says": _TEXT, "places": _list(place)}
    known = {
        **dict.fromkeys(("run", "protocol", "model", "state"), _TEXT),
        "started_utc": _UTC,
        "in_package": _TRUTH,
    }
    history = {"ledger": _TEXT, "root": _TEXT, "entries": _COUNT, "head": _DIGEST, "runs": _list(_object(known))}
    return _file(
        "Index of a submission package (index.json)",
        _object(
            {
                "schema": {"const": "evalsuite/package/1"},
                "software": _TEXT,
                "runs": _list(_object(run)),
                "clauses": _list(_object(clause)),
                "ledgers": _list(_object(history)),
            }
        ),
    )


SCHEMAS: dict[str, Callable[[], Schema]] = {
    "protocol": _protocol,
    "evidence": _evidence,
    "verdict": _verdict,
    "record": _record,
    "lock": _lock,
    "intake": _intake,
    "seal": _seal,
    "ledger": _ledger,
    "frozen": _frozen,
    "cases": lambda: {"$schema": DIALECT, **case_row()},
    "predictions": _predictions,
    "model": lambda: {"$schema": DIALECT, **model_facts()},
    "envelope": _envelope,
    "location": _location,
    "store": _store,
    "waiver": _waiver,
    "developer_view": _developer_view,
    "package": _package,
    "study": study_schema,
    "gaps": gaps_schema,
    "selftest": selftest_schema,
}


def json_schema(kind: str) -> Schema:
    """The JSON Schema (draft 2020-12) of one kind of file.

    Raises
    ------
    ValueError
        If there is no such kind; `SCHEMAS` lists them.
    """
    if kind not in SCHEMAS:
        raise ValueError(f"no file kind {kind!r}; known: {', '.join(SCHEMAS)}")
    return SCHEMAS[kind]()
