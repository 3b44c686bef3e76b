"""The published JSON Schemas accept what the suite writes, and refuse what it never would."""

from __future__ import annotations

import copy
import csv
import io
import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from evalsuite.judging import judge
from evalsuite.protocol.freeze import freeze
from evalsuite.protocol.jsonschema import SCHEMAS, json_schema
from evalsuite.protocol.load import load_protocol, normalised_dict, protocol_digest, shipped_protocols
from evalsuite.protocol.template import case_table_template
from evalsuite.record import ledger
from evalsuite.record.seal import write_seal
from evalsuite.types import Account, CriterionResult, Curve, Estimate, Evidence, Finding, TestOutcome, Verdict

_TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "integer": int,
    "number": (int, float),
}


def faults(value: Any, schema: Any, root: Any, path: str = "$") -> list[str]:
    """A reader of the part of JSON Schema (draft 2020-12) that the published schemas use."""
    found: list[str] = []
    for key, rule in schema.items():
        match key:
            case "$ref":
                at = root
                for step in rule.removeprefix("#/").split("/"):
                    at = at[step]
                found += faults(value, at, root, path)
            case "type":
                ok = isinstance(value, _TYPES[rule]) and not (isinstance(value, bool) and rule in ("integer", "number"))
                found += [] if ok else [f"{path}: not of type {rule}"]
            case "const":
                found += [] if value == rule else [f"{path}: not {rule}"]
            case "enum":
                found += [] if value in rule else [f"{path}: not one of {rule}"]
            case "anyOf":
                ok = any(not faults(value, s, root, path) for s in rule)
                found += [] if ok else [f"{path}: none of {len(rule)}"]
            case "oneOf":
                ok = sum(not faults(value, s, root, path) for s in rule) == 1
                found += [] if ok else [f"{path}: not exactly one of {len(rule)}"]
            case "allOf":
                found += [f for s in rule for f in faults(value, s, root, path)]
            case "required" if isinstance(value, dict):
                found += [f"{path}: {name} missing" for name in rule if name not in value]
            case "properties" if isinstance(value, dict):
                found += [f for k, s in rule.items() if k in value for f in faults(value[k], s, root, f"{path}.{k}")]
            case "additionalProperties" if isinstance(value, dict) and rule is not True:
                for name in set(value) - set(schema.get("properties", ())):
                    found += [f"{path}: {name} unknown"] if rule is False else faults(value[name], rule, root, path)
            case "items" if isinstance(value, list):
                found += [f for i, item in enumerate(value) for f in faults(item, rule, root, f"{path}[{i}]")]
            case "pattern" if isinstance(value, str):
                found += [] if re.search(rule, value) else [f"{path}: pattern"]
            case "minLength" if isinstance(value, str):
                found += [] if len(value) >= rule else [f"{path}: too short"]
            case "maxLength" if isinstance(value, str):
                found += [] if len(value) <= rule else [f"{path}: too long"]
            case "minItems" if isinstance(value, list):
                found += [] if len(value) >= rule else [f"{path}: too few"]
            case "minimum" | "exclusiveMinimum" | "maximum" | "exclusiveMaximum" if isinstance(value, int | float):
                ok = {
                    "minimum": value >= rule,
                    "exclusiveMinimum": value > rule,
                    "maximum": value <= rule,
                    "exclusiveMaximum": value < rule,
                }[key]
                found += [] if ok else [f"{path}: {key}"]
    return found


def check(kind: str, value: Any) -> list[str]:
    schema = json_schema(kind)
    return faults(json.loads(json.dumps(value)), schema, schema)


PROTOCOL = load_protocol("generic_binary_standalone")
ESTIMATE = Estimate(value=0.9, low=0.85, high=0.95, method="Clopper-Pearson", n=30, n_positive=30)
UNDEFINED = Estimate.not_estimable("no reference-positive cases", n=3)


def evidence() -> Evidence:
    def finding(estimate: Estimate, **stratum: str) -> Finding:
        return Finding(
            analysis="performance",
            endpoint="sensitivity",
            metric="sensitivity",
            role="primary",
            target="target_present",
            operating_point="primary",
            stratum=stratum,
            estimate=estimate,
        )

    return Evidence(
        protocol={"id": "p", "version": "1", "digest": protocol_digest(PROTOCOL)},
        testset={"set_id": "s", "version": "1", "root": "0" * 64, "n_cases": 30, "n_patients": 30},
        model={"digest": "0" * 64, "name": "m"},
        predictions={"digest": "0" * 64},
        software={"evalsuite": "0.1.0"},
        findings=(finding(ESTIMATE), finding(UNDEFINED, sex="female")),
        curves=(
            Curve(analysis="performance", metric="auroc", kind="roc", x=(0.0, 1.0), y=(0.0, 1.0)),
            Curve(
                analysis="calibration",
                metric="ece",
                kind="reliability",
                x=(0.5,),
                y=(0.4,),
                low=(0.3,),
                high=(0.5,),
                n=(30,),
                series="positive",
            ),
        ),
        accounting=(Account(status="ok", reference="positive", n=30, n_patients=30),),
        tests=(TestOutcome(name="t", statistic=None, p_value=None, method="m", undefined="no cases"),),
        notes=("A note.",),
    )


def test_every_kind_is_complete_and_described() -> None:
    for kind in SCHEMAS:
        schema = json_schema(kind)
        assert schema["title"]
        assert schema["$schema"].endswith("2020-12/schema")
        assert json.loads(json.dumps(schema)) == schema
    with pytest.raises(ValueError, match="no file kind 'pdf'"):
        json_schema("pdf")


def test_evidence_and_verdict() -> None:
    found = evidence()
    assert check("evidence", found.to_json()) == []
    verdict = judge(PROTOCOL, found, not_evidence_because=["not frozen"])
    assert check("verdict", verdict.to_json()) == []


def test_schemas_name_every_field_of_the_values() -> None:
    evidence_schema, verdict_schema = json_schema("evidence"), json_schema("verdict")

    def names(cls: Any) -> list[str]:
        return sorted(f.name for f in fields(cls))

    items = evidence_schema["properties"]
    for cls, schema in (
        (Evidence, evidence_schema),
        (Estimate, evidence_schema["$defs"]["estimate"]),
        (Finding, evidence_schema["$defs"]["finding"]),
        (Curve, items["curves"]["items"]),
        (Account, items["accounting"]["items"]),
        (TestOutcome, items["tests"]["items"]),
        (Verdict, verdict_schema),
        (CriterionResult, verdict_schema["properties"]["criteria"]["items"]),
    ):
        # Said only where it applies: the class of a curve, what a gap between groups shows, what follows for a version.
        sometimes = {Curve: {"target"}, Finding: {"outcome"}, Verdict: {"decision"}}.get(cls, set())
        assert sorted(schema["properties"]) == names(cls)
        assert set(schema["required"]) == set(names(cls)) - sometimes


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"value": None}, "exactly one"),
        ({"undefined": "also a reason"}, "exactly one"),
        ({"low": None}, "none of 2"),
        ({"level": 1.0}, "exclusiveMaximum"),
        ({"n": -1}, "minimum"),
        ({"n": 1.5}, "integer"),
        ({"unit": "sample"}, "not one of"),
        ({"value": "0.9"}, "none of 2"),
        ({"extra": 1}, "extra unknown"),
    ],
)
def test_an_estimate_that_could_not_be_is_refused(change: dict[str, Any], what: str) -> None:
    data = evidence().to_json()
    data["findings"][0]["estimate"] |= change
    assert any(what in fault for fault in check("evidence", data))


def test_missing_fields_are_refused() -> None:
    data = evidence().to_json()
    for name in data:
        less = {k: v for k, v in data.items() if k != name}
        assert check("evidence", less) == [f"$: {name} missing"]


@pytest.mark.parametrize("name", sorted(shipped_protocols()))
def test_protocols_as_written_and_as_normalised(name: str) -> None:
    assert check("protocol", yaml.safe_load(shipped_protocols()[name].read_bytes())) == []
    data = normalised_dict(load_protocol(name))
    assert check("protocol", data) == []
    wrong = copy.deepcopy(data)
    wrong["endpoints"][0]["margn"] = 0.1
    assert check("protocol", wrong) == ["$.endpoints[0]: margn unknown"]


def test_frozen_ledger_and_seal(tmp_path: Path) -> None:
    out = tmp_path / "F"
    freeze(PROTOCOL, out=out, utc="2026-01-02T03:04:05Z", testset_root="a" * 64, model_digest="b" * 64)
    assert check("frozen", json.loads((out / "freeze.json").read_text())) == []
    ledger.append(
        out / "ledger.jsonl",
        action="frozen",
        actor="a",
        role="author",
        utc="2026-01-02T03:04:05Z",
        reason="",
        objects={},
    )
    assert check("ledger", json.loads((out / "ledger.jsonl").read_text().splitlines()[0])) == []
    write_seal(out)
    assert check("seal", json.loads((out / "SEAL.json").read_text())) == []


def test_a_row_of_recorded_predictions() -> None:
    assert check("predictions", {"case_id": "1", "p_malignant": 0.3}) == []
    assert check("predictions", {"case_id": "1", "status": "failed", "p_malignant": None}) == []
    assert check("predictions", {"p_malignant": 0.3}) == ["$: case_id missing"]
    assert check("predictions", {"case_id": "1", "p_malignant": "high"}) != []


@pytest.mark.parametrize("name", sorted(shipped_protocols()))
def test_the_rows_of_a_case_table_template(name: str) -> None:
    for row in csv.DictReader(io.StringIO(case_table_template(load_protocol(name)))):
        assert check("cases", row) == []
        assert check("cases", {**row, "case_id": ""}) == ["$.case_id: too short"]
        assert check("cases", {**row, "reference_status": "unsure"}) != []


def test_a_lock(tmp_path: Path) -> None:
    from evalsuite.testset.lock import lock_testset

    table = tmp_path / "cases.csv"
    table.write_text("case_id,patient_id,target_present,sex,age\nc1,p1,1,female,50\nc2,p2,0,male,40\n")
    lock_testset(table, tmp_path / "SET", reference=None, protocol=PROTOCOL, actor="a", utc="2026-01-02T03:04:05Z")
    assert check("lock", json.loads((tmp_path / "SET" / "testset.lock.json").read_text())) == []
