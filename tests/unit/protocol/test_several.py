"""What a protocol with several classes, labels or grades must say, and how it is told what it does not."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from evalsuite.errors import ProtocolError
from evalsuite.protocol.load import parse_protocol
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.protocol.several import outputs, targets
from evalsuite.protocol.support import unsupported
from evalsuite.protocol.template import case_table_template

CRITERION = {"bound": "lower", "op": ">", "value": 0.1}
MULTICLASS = {"kind": "multiclass", "reference": "dx", "classes": ["a", "b", "c"], "score": ["p_a", "p_b", "p_c"]}
MULTILABEL = {"kind": "multilabel", "reference": ["x", "y"], "score": ["p_x", "p_y"]}
ORDINAL = {"kind": "ordinal", "reference": "grade", "classes": ["0", "1", "2", "3"], "score": "g"}


def load(task: dict[str, Any], endpoint: dict[str, Any], **more: Any) -> StudyProtocol:
    raw = {
        "schema": "evalsuite/protocol/1",
        "id": "t",
        "version": "1",
        "title": "t",
        "kind": "standalone",
        "intended_use": {},
        "task": task,
        "unit": {},
        "endpoints": [{"name": "e", "role": "primary", "criterion": CRITERION, **endpoint}],
        "seed": 1,
        **more,
    }
    return parse_protocol(yaml.safe_dump(raw).encode())


def test_sound_protocols_load_and_name_their_targets_and_outputs():
    p = load(MULTICLASS, {"metric": "macro_f1"})
    assert (targets(p), outputs(p)) == (("a", "b", "c"), ("p_a", "p_b", "p_c"))
    assert targets(load(MULTICLASS, {"metric": "sensitivity", "target": "b"})) == ("a", "b", "c")
    assert targets(load(MULTILABEL, {"metric": "macro_auroc"})) == ("x", "y")
    assert outputs(load(ORDINAL, {"metric": "quadratic_kappa"})) == ("g",)
    assert load(ORDINAL, {"metric": "accuracy"}).task.kind == "ordinal"
    assert unsupported(p, ["macro_f1"]) == []


@pytest.mark.parametrize(
    ("task", "endpoint", "where", "words"),
    [
        ({**MULTICLASS, "classes": None}, {"metric": "accuracy"}, "task.classes", "required"),
        ({**MULTICLASS, "classes": ["a"]}, {"metric": "accuracy"}, "task.classes", "at least two"),
        ({**MULTICLASS, "classes": ["a", "b", "a"]}, {"metric": "accuracy"}, "task.classes[2]", "given twice"),
        ({**MULTICLASS, "score": ["p_a", "p_b"]}, {"metric": "accuracy"}, "task.score", "2 outputs for 3 classes"),
        ({**MULTICLASS, "score": "p_a"}, {"metric": "accuracy"}, "task.score", "one output per class"),
        ({**MULTICLASS, "reference": ["x", "y"]}, {"metric": "accuracy"}, "task.reference", "one reference column"),
        ({**MULTICLASS, "negative": [0]}, {"metric": "accuracy"}, "task.negative", "no negative values"),
        (MULTICLASS, {"metric": "sensitivity"}, "endpoints[0].target", "of one class"),
        (MULTICLASS, {"metric": "sensitivity", "target": "z"}, "endpoints[0].target", "unknown class"),
        (MULTICLASS, {"metric": "macro_f1", "target": "a"}, "endpoints[0].target", "of all of them"),
        (MULTICLASS, {"metric": "quadratic_kappa"}, "endpoints[0].metric", "does not fit"),
        (MULTICLASS, {"metric": "accuracy", "at": "p"}, "endpoints[0].at", "needs no operating point"),
        (MULTICLASS, {"metric": "top_k_accuracy"}, "endpoints[0].top", "required"),
        (MULTICLASS, {"metric": "top_k_accuracy", "top": 3}, "endpoints[0].top", "hold every one"),
        (MULTICLASS, {"metric": "net_benefit", "target": "a"}, "endpoints[0].metric", "threshold"),
        (MULTILABEL, {"metric": "macro_f1"}, "endpoints[0].at", "needs an operating point"),
        (MULTILABEL, {"metric": "hand_till"}, "endpoints[0].metric", "does not fit"),
        ({**MULTILABEL, "reference": "x"}, {"metric": "macro_auroc"}, "task.reference", "list of reference columns"),
        ({**MULTILABEL, "score": ["p_x"]}, {"metric": "macro_auroc"}, "task.score", "1 outputs for 2 labels"),
        ({**MULTILABEL, "classes": ["x", "y"]}, {"metric": "macro_auroc"}, "task.classes", "named by their columns"),
        (ORDINAL, {"metric": "rps"}, "endpoints[0].metric", "probability of every grade"),
        (ORDINAL, {"metric": "accuracy", "target": "1"}, "endpoints[0].target", "no target"),
        ({**ORDINAL, "score": ["a", "b"]}, {"metric": "accuracy"}, "task.score", "2 outputs for 4 grades"),
        (
            {"kind": "binary", "reference": "x", "score": "p"},
            {"metric": "auroc", "target": "x"},
            "endpoints[0].target",
            "no target",
        ),
        (
            {"kind": "binary", "reference": "x", "score": "p"},
            {"metric": "macro_f1"},
            "endpoints[0].metric",
            "does not fit",
        ),
    ],
)
def test_every_contradiction_is_said_where_it_is(task, endpoint, where, words):
    with pytest.raises(ProtocolError) as error:
        load({k: v for k, v in task.items() if v is not None}, endpoint)
    assert any(p.where == where and words in p.what for p in error.value.problems), [
        str(p) for p in error.value.problems
    ]


@pytest.mark.parametrize("task", [MULTICLASS, ORDINAL])
def test_a_case_with_one_of_several_classes_cannot_count_as_negative(task):
    with pytest.raises(ProtocolError, match="as_negative"):
        load(task, {"metric": "accuracy"}, missing_outputs={"primary": "as_negative"})


@pytest.mark.parametrize(("word", "meant"), [("mAP", "macro_average_precision"), ("qwk", "quadratic_kappa")])
def test_words_of_other_packages_are_recognised(word, meant):
    with pytest.raises(ProtocolError, match=meant):
        load(MULTICLASS, {"metric": word})


def test_the_case_table_template_shows_classes_and_labels():
    header, first, second = case_table_template(load(MULTICLASS, {"metric": "accuracy"})).splitlines()
    assert dict(zip(header.split(","), first.split(","), strict=True))["dx"] == "a"
    assert dict(zip(header.split(","), second.split(","), strict=True))["dx"] == "b"
    header, first, _ = case_table_template(load(MULTILABEL, {"metric": "macro_auroc"})).splitlines()
    assert dict(zip(header.split(","), first.split(","), strict=True))["y"] == "1"
