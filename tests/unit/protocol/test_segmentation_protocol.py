"""What a segmentation protocol must say, what it must not, and which labels its structures have."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from evalsuite.analyses.tasks import computable
from evalsuite.errors import ProtocolError
from evalsuite.protocol.load import parse_protocol
from evalsuite.protocol.segmentation import structure_of, structures
from evalsuite.protocol.support import unsupported

GOOD: dict[str, Any] = {
    "schema": "evalsuite/protocol/1",
    "id": "organs",
    "version": "1.0.0",
    "title": "Organs",
    "kind": "standalone",
    "intended_use": {"indications": "x"},
    "task": {
        "kind": "segmentation",
        "reference": "mask",
        "score": "mask",
        "classes": ["liver", "spleen"],
        "labels": [3, 7],
        "empty": {"both": "perfect"},
    },
    "unit": {"case": "case_id", "cluster": "patient_id"},
    "endpoints": [
        {
            "name": "overlap",
            "metric": "dice",
            "target": "liver",
            "role": "primary",
            "criterion": {"bound": "lower", "op": ">", "value": 0.8},
        },
        {"name": "far", "metric": "hd95", "target": "spleen", "maximum": 100, "definition": "surfel", "quantile": 0.9},
        {"name": "near", "metric": "nsd", "target": "spleen", "tolerance": 2},
    ],
    "seed": 7,
}
Change = Callable[[dict[str, Any]], object]


def test_a_segmentation_protocol_is_valid_and_carried_out() -> None:
    protocol = parse_protocol(yaml.safe_dump(GOOD).encode())
    assert unsupported(protocol, computable()) == []
    assert structures(protocol) == {"liver": 3, "spleen": 7}


def test_labels_that_are_not_given() -> None:
    data = copy.deepcopy(GOOD)
    del data["task"]["labels"]
    assert structures(parse_protocol(yaml.safe_dump(data).encode())) == {"liver": 1, "spleen": 2}
    data["task"]["classes"] = ["lesion"]
    data["endpoints"] = [{**data["endpoints"][0]}]
    del data["endpoints"][0]["target"]
    one = parse_protocol(yaml.safe_dump(data).encode())
    assert structures(one) == {"lesion": None}
    assert structure_of(one, one.endpoints[0]) == "lesion"


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda d: d["task"].pop("classes"), "task.classes"),
        (lambda d: d["task"].update(classes=["liver", "liver"]), "task.classes[1]"),
        (lambda d: d["task"].update(labels=[1]), "task.labels"),
        (lambda d: d["task"].update(labels=[1, 1]), "task.labels[1]"),
        (lambda d: d["task"].update(labels=[0, 1]), "task.labels[0]"),
        (lambda d: d["task"].update(score="a + b"), "task.score"),
        (lambda d: d["task"].update(reference=["a", "b"]), "task.reference"),
        (lambda d: d["task"].update(negative=[0]), "task.negative"),
        (lambda d: d["endpoints"][0].pop("target"), "endpoints[0].target"),
        (lambda d: d["endpoints"][0].update(target="kidney"), "endpoints[0].target"),
        (lambda d: d["endpoints"][0].update(definition="voxel"), "endpoints[0].definition"),
        (lambda d: d["endpoints"][0].update(metric="auroc"), "endpoints[0].target"),
        (lambda d: d["endpoints"][1].pop("maximum"), "endpoints[1].maximum"),
        (lambda d: d["endpoints"][2].pop("tolerance"), "endpoints[2].tolerance"),
        (lambda d: d.update(operating_points=[{"name": "x", "threshold": 0.5}]), "operating_points[0]"),
        (lambda d: d.update(missing_outputs={"primary": "as_positive"}), "missing_outputs.primary"),
        (lambda d: d.update(missing_reference={"primary": "tipping_point"}), "missing_reference.primary"),
        (lambda d: d["task"].update(matching={"rule": "inside"}), "task.matching"),
    ],
)
def test_every_contradiction_is_named(change: Change, where: str) -> None:
    data = copy.deepcopy(GOOD)
    change(data)
    with pytest.raises(ProtocolError) as caught:
        parse_protocol(yaml.safe_dump(data).encode())
    assert where in [p.where for p in caught.value.problems]
