"""A protocol that asks every metric of the catalogue, for tests that hold of all of them."""

from __future__ import annotations

from typing import Any

from evalsuite.analyses.tasks import computable
from evalsuite.protocol.checks import check_protocol, intervals_for
from evalsuite.protocol.metrics import METRICS
from evalsuite.protocol.schema import Endpoint, StudyProtocol

KINDS = ("binary", "comparator", "multiclass", "multilabel", "ordinal", "regression")
CALLED_AT = ("binary", "comparator", "multilabel")
CLASSES = ["a", "b", "c"]
GRADES = ["g0", "g1", "g2"]
LABELS = ["one", "two"]
SETTINGS: dict[str, dict[str, Any]] = {
    "partial_auroc": {"range": [0.8, 1.0]},
    "sensitivity_at_specificity": {"specificity": 0.8},
    "specificity_at_sensitivity": {"sensitivity": 0.8},
    "top_k_accuracy": {"top": 2},
    "coverage_probability": {"tolerance": 1.0},
    "category_agreement": {"cuts": [10.5, 11.5]},
    **{name: {"repeats": "lesion"} for name in ("within_subject_cv", "within_subject_sd", "repeatability_coefficient")},
}
TASKS: dict[str, dict[str, Any]] = {
    "binary": {"kind": "binary", "reference": "truth", "score": "p"},
    "comparator": {"kind": "binary", "reference": "truth", "score": "p", "reference_is": "comparator"},
    "multiclass": {"kind": "multiclass", "reference": "truth", "classes": CLASSES, "score": ["p0", "p1", "p2"]},
    "multilabel": {"kind": "multilabel", "reference": LABELS, "score": ["p0", "p1"]},
    "ordinal": {"kind": "ordinal", "reference": "truth", "classes": GRADES, "score": ["p0", "p1", "p2"]},
    "regression": {"kind": "regression", "reference": "truth", "score": "p"},
}


def endpoints_of(kind: str, *, every_interval: bool = True) -> list[dict[str, Any]]:
    """Every metric that a protocol of this kind may ask for, and every interval it may name."""
    task = TASKS[kind]["kind"]
    made: list[dict[str, Any]] = []
    for name, info in METRICS.items():
        several = task in ("multiclass", "multilabel")
        if name not in computable() or (several and task not in info.tasks and name not in ("sensitivity", "auroc")):
            continue  # of one class or label: the same code as in a binary task
        if kind == "comparator" and name not in ("ppa", "npa", "opa"):
            continue
        entry: dict[str, Any] = {"metric": name, **SETTINGS.get(name, {})}
        if info.needs_threshold(task):
            entry["at"] = "primary"
        if several and task not in info.tasks:
            entry["target"] = CLASSES[0] if task == "multiclass" else LABELS[0]
        chosen = () if not every_interval else intervals_for(Endpoint(name="x", metric=name), info)
        variants = [{}, *({"interval": i} for i in chosen)]
        if "prevalence" in info.accepts:
            variants.append({"prevalence": 0.1})
        for more in variants:
            label = " ".join([name, *(str(v) for v in more.values())])
            one = {"name": label, **entry, **more}
            problems = check_protocol(StudyProtocol.model_validate(body(kind, [one])))
            if not [p for p in problems if p.where.startswith("endpoints[")]:
                made.append(one)
    return made


def body(kind: str, endpoints: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {
        "schema": "evalsuite/protocol/1",
        "id": "t",
        "version": "1",
        "title": "t",
        "kind": "standalone",
        "intended_use": {},
        "unit": {},
        "task": TASKS[kind],
        "operating_points": [{"name": "primary", "threshold": 0.5}] if kind in CALLED_AT else [],
        "endpoints": endpoints,
        "strata": [{"name": "site", "column": "site"}],
        "confidence": {"bootstrap": {"replicates": 100}},
        "small_strata": {"suppress_below": 1, "flag_below": 1},
        "seed": 3,
        **more,
    }
