"""What a detection protocol must say, what it must not, and what of it this version does not carry out."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from evalsuite.analyses.tasks import computable
from evalsuite.errors import Problem, ProtocolError
from evalsuite.protocol.load import parse_protocol
from evalsuite.protocol.support import unsupported

GOOD: dict[str, Any] = {
    "schema": "evalsuite/protocol/1",
    "id": "nodules",
    "version": "1.0.0",
    "title": "Nodules",
    "kind": "standalone",
    "intended_use": {"indications": "x"},
    "task": {
        "kind": "detection",
        "reference": "lesions",
        "score": "score",
        "matching": {"rule": "overlap", "overlap": 0.1},
        "lesion_strata": [{"name": "size", "bins": [6, 8]}],
    },
    "unit": {"case": "case_id", "cluster": "patient_id"},
    "operating_points": [{"name": "primary", "threshold": 0.5}],
    "endpoints": [
        {
            "name": "sensitivity",
            "metric": "lesion_sensitivity",
            "at": "primary",
            "role": "primary",
            "criterion": {"bound": "lower", "op": ">", "value": 0.8},
        },
        {"name": "quality", "metric": "panoptic_quality", "at": "primary", "maximum": 3},
        {"name": "curve", "metric": "froc_sensitivity", "false_positives": 1, "counted_in": "normal"},
    ],
    "seed": 7,
}
Change = Callable[[dict[str, Any]], object]


def _problems(change: Change) -> list[Problem]:
    data = copy.deepcopy(GOOD)
    change(data)
    with pytest.raises(ProtocolError) as caught:
        parse_protocol(yaml.safe_dump(data).encode())
    return list(caught.value.problems)


def test_a_detection_protocol_is_valid_and_carried_out() -> None:
    protocol = parse_protocol(yaml.safe_dump(GOOD).encode())
    assert unsupported(protocol, computable()) == []
    assert protocol.task.matching is not None
    assert protocol.task.matching.assignment == "by_score"


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda d: d["task"].pop("matching"), "task.matching"),
        (lambda d: d["task"].update(matching={"rule": "overlap"}), "task.matching.overlap"),
        (lambda d: d["task"].update(matching={"rule": "distance", "overlap": 0.1}), "task.matching.overlap"),
        (lambda d: d["task"].update(matching={"rule": "inside", "distance_mm": 3}), "task.matching.distance_mm"),
        (lambda d: d["task"]["matching"].update(rule="inside", assignment="best_total"), "task.matching.assignment"),
        (lambda d: d["task"].update(matching={"rule": "distance"}), "endpoints[1].metric"),
        (lambda d: d["task"].update(score="a + b"), "task.score"),
        (lambda d: d["task"].update(reference=["a", "b"]), "task.reference"),
        (lambda d: d["task"].update(classes=["a", "b"]), "task.classes"),
        (lambda d: d["task"]["lesion_strata"][0].update(bins=[8, 6]), "task.lesion_strata[0].bins"),
        (lambda d: d.update(strata=["size"]), "task.lesion_strata[0].name"),
        (lambda d: d.update(missing_outputs={"primary": "as_negative"}), "missing_outputs.primary"),
        (lambda d: d.update(missing_reference={"primary": "tipping_point"}), "missing_reference.primary"),
        (lambda d: d["endpoints"][2].pop("false_positives"), "endpoints[2].false_positives"),
        (lambda d: d["endpoints"][0].pop("at"), "endpoints[0].at"),
        (lambda d: d["endpoints"][0].update(counted_in="all"), "endpoints[0].counted_in"),
        (lambda d: d["endpoints"][1].update(maximum=-1), "endpoints[1].maximum"),
        (lambda d: d["endpoints"][0].update(metric="sensitivity"), "endpoints[0].metric"),
        (lambda d: d["endpoints"][0].update(target="a"), "endpoints[0].target"),
        (lambda d: d["endpoints"][0].update(interval="bca"), "endpoints[0].interval"),
    ],
)  # fmt: skip
def test_every_contradiction_is_named(change: Change, where: str) -> None:
    assert where in [p.where for p in _problems(change)]


def test_keys_of_detection_mean_nothing_elsewhere() -> None:
    def binary(d: dict[str, Any]) -> None:
        d["task"].update(kind="binary", score="p")
        d["endpoints"] = [{**d["endpoints"][0], "metric": "sensitivity"}]

    assert {p.where for p in _problems(binary)} == {"task.matching", "task.lesion_strata"}


def test_what_is_not_carried_out_is_said() -> None:
    data = copy.deepcopy(GOOD)
    data["analyses"] = {"weighting": {}}
    protocol = parse_protocol(yaml.safe_dump(data).encode())
    assert "analyses.weighting" in [p.where for p in unsupported(protocol, computable())]
