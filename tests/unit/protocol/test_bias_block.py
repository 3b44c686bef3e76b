"""The bias block of a protocol: short forms, every contradiction at once, and what the schema says."""

from __future__ import annotations

import pytest
import yaml

from evalsuite.errors import ProtocolError
from evalsuite.protocol.jsonschema import json_schema
from evalsuite.protocol.load import parse_protocol
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.protocol.support import unsupported

BASE = {
    "schema": "evalsuite/protocol/1",
    "id": "t",
    "version": "1",
    "title": "t",
    "kind": "standalone",
    "intended_use": {},
    "task": {"kind": "binary", "reference": "truth", "score": "p"},
    "unit": {},
    "operating_points": [{"name": "primary", "threshold": 0.5}],
    "endpoints": [
        {
            "name": "sens",
            "metric": "sensitivity",
            "at": "primary",
            "role": "primary",
            "criterion": {"bound": "lower", "op": ">", "value": 0.5},
        }
    ],
    "strata": ["sex", {"name": "age", "column": "age", "bins": [40, 60]}, {"name": "both", "cross": ["sex", "age"]}],
    "seed": 7,
}


def parse(block: dict, **more: object) -> StudyProtocol:
    return parse_protocol(yaml.safe_dump({**BASE, **more, "analyses": {"bias": block}}).encode())


def problems(block: dict, **more: object) -> dict[str, str]:
    with pytest.raises(ProtocolError) as caught:
        parse(block, **more)
    return {p.where: p.what for p in caught.value.problems}


def test_a_name_alone_is_an_attribute():
    asked = parse({"attributes": ["sex", {"stratum": "age", "reference": "40-<60"}]}).analyses.bias
    assert [(a.stratum, a.reference) for a in asked.attributes] == [("sex", None), ("age", "40-<60")]
    assert asked.adjustment == "holm"
    assert "auroc" in asked.compared


def test_a_loaded_protocol_written_out_loads_again():
    from evalsuite.protocol.load import dump_protocol

    p = parse({"attributes": ["sex"], "margins": {"auroc": 0.05}}, task={**BASE["task"], "probability": False})
    assert parse_protocol(dump_protocol(p).encode()) == p


def test_every_contradiction_is_said_at_once():
    found = problems(
        {
            "attributes": [
                "sexx",
                "age",
                {"stratum": "age", "reference": "young"},
                {"stratum": "both", "reference": "male"},
            ],
            "at": "elsewhere",
            "metrics": ["sensitivity", "fnr", "brier", "brier"],
            "margins": {"auroc": 0.05, "sensitivity": 1.5},
            "case_mix": ["nowhere"],
            "verification": "both",
            "criteria": [
                {"name": "sens", "attribute": "sex", "metric": "npv", "margin": 0.1, "role": "primary"},
            ],
        },
        task={**BASE["task"], "probability": False},
    )
    path = "analyses.bias"
    assert set(found) == {
        f"{path}.attributes[0].stratum",
        f"{path}.attributes[2].stratum",
        f"{path}.attributes[2].reference",
        f"{path}.attributes[3].reference",
        f"{path}.at",
        f"{path}.metrics[2]",
        f"{path}.metrics[3]",
        f"{path}.margins.auroc",
        f"{path}.margins.sensitivity",
        f"{path}.case_mix[0]",
        f"{path}.verification",
        f"{path}.criteria[0].name",
        f"{path}.criteria[0].attribute",
        f"{path}.criteria[0].metric",
        f"{path}.criteria[0].rationale",
    }


def test_several_operating_points_need_a_name():
    points = [{"name": "primary", "threshold": 0.5}, {"name": "other", "threshold": 0.7}]
    assert problems({"attributes": ["sex"]}, operating_points=points) == {
        "analyses.bias.at": "several operating points, and none is named"
    }


def test_a_reference_of_a_cross_names_each_of_its_parts():
    found = problems({"attributes": [{"stratum": "both", "reference": {"sex": "male", "site": "a"}}]})
    assert found == {"analyses.bias.attributes[0].reference": "the reference group does not say which 'age'"}


def test_an_exploratory_analysis_cannot_decide():
    criterion = {"name": "g", "attribute": "sex", "metric": "sensitivity", "margin": 0.1}
    found = problems({"attributes": ["sex"], "adjustment": "bh", "criteria": [criterion]})
    assert found == {"analyses.bias.criteria[0]": "an exploratory analysis cannot decide"}


def test_other_tasks_and_comparators_are_told_what_to_do():
    p = parse({"attributes": ["sex"]})
    assert not [x for x in unsupported(p, {"sensitivity"}) if "bias" in x.where]
    comparator = p.model_copy(update={"task": p.task.model_copy(update={"reference_is": "comparator"})})
    several = p.model_copy(update={"task": p.task.model_copy(update={"kind": "multilabel"})})
    for other in (comparator, several):
        assert [x for x in unsupported(other, {"sensitivity"}) if x.where == "analyses.bias"]


def test_the_schema_admits_a_name_alone():
    items = json_schema("protocol")["$defs"]["Bias"]["properties"]["attributes"]["items"]
    assert {"type": "string"} in items["anyOf"]


def test_a_figure_and_its_mirror_image_have_one_margin():
    found = problems({"attributes": ["sex"], "margins": {"sensitivity": 0.1, "fnr": 0.05}})
    assert list(found.values()) == ["'sensitivity' and its mirror image have two margins"]
    assert parse({"attributes": ["sex"], "margins": {"fnr": 0.05}}).analyses.bias.margin("sensitivity") == 0.05
