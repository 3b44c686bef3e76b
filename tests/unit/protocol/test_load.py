"""Loading a protocol: short forms, every problem at once, and hints."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from evalsuite.errors import Problem, ProtocolError
from evalsuite.protocol.comparisons import criteria
from evalsuite.protocol.load import (
    dump_protocol,
    load_protocol,
    normalised_dict,
    parse_protocol,
    protocol_digest,
    unsupported,
)

GOOD: dict[str, Any] = {
    "schema": "evalsuite/protocol/1",
    "id": "derm",
    "version": "1.0.0",
    "title": "Standalone performance",
    "kind": "standalone",
    "intended_use": {"indications": "x"},
    "task": {"kind": "binary", "reference": "malignant", "positive": 1, "score": "p_malignant"},
    "unit": {"case": "case_id", "cluster": "patient_id"},
    "operating_points": [{"name": "primary", "threshold": 0.5}],
    "endpoints": [
        {
            "name": "discrimination",
            "metric": "auroc",
            "role": "primary",
            "criterion": {"bound": "lower", "op": ">", "value": 0.85},
        },
        {
            "name": "sensitivity",
            "metric": "sensitivity",
            "at": "primary",
            "role": "primary",
            "criterion": {"bound": "lower", "op": ">", "value": 0.80},
        },
    ],
    "strata": ["sex", {"name": "age", "column": "age", "bins": [40, 60]}],
    "seed": 7,
}


def parse(data: dict[str, Any]) -> Any:
    return parse_protocol(yaml.safe_dump(data).encode(), "study.yaml")


def problems(data: dict[str, Any] | bytes) -> list[Problem]:
    with pytest.raises(ProtocolError) as caught:
        parse_protocol(data if isinstance(data, bytes) else yaml.safe_dump(data).encode(), "study.yaml")
    return list(caught.value.problems)


def changed(path: str, value: Any) -> dict[str, Any]:
    """GOOD with one value replaced, added (also at the end of a list) or, for `...`, removed."""
    data = copy.deepcopy(GOOD)
    *parents, last = [int(s) if s.isdigit() else s for s in path.split(".")]
    at: Any = data
    for step in parents:
        at = at.setdefault(step, {}) if isinstance(at, dict) else at[step]
    if value is ...:
        del at[last]
    elif isinstance(at, list) and last == len(at):
        at.append(value)
    else:
        at[last] = value
    return data


def only(data: dict[str, Any] | bytes) -> Problem:
    found = problems(data)
    assert len(found) == 1, [str(p) for p in found]
    return found[0]


def test_a_sound_protocol_loads_with_defaults_and_short_forms_written_out() -> None:
    protocol = parse(GOOD)
    assert protocol.strata[0].name == protocol.strata[0].column == "sex"
    assert protocol.confidence.level == 0.95
    assert protocol.missing_outputs.primary == "worst_case"
    assert protocol.small_strata.suppress_below == 10
    assert protocol.operating_point("primary").comparison == ">="


def test_contract_example_loads() -> None:
    text = """
schema: evalsuite/protocol/1
id: derm-malignancy-standalone
version: 1.0.0
title: Standalone performance of a dermoscopic malignancy classifier
kind: standalone            # standalone | comparison | reader_study | drift_audit | site_acceptance
intended_use: {indications: a, population: b, users: c, setting: d, autonomy: CADx, inputs: e, outputs: f}
task:
  kind: binary
  reference: malignant
  positive: 1
  score: p_mel + p_bcc + p_akiec
unit: {case: case_id, cluster: patient_id}
operating_points:
  - {name: primary, threshold: 0.5, comparison: ">=", source: fixed on the tuning set}
endpoints:
  - {name: discrimination, metric: auroc, role: primary, criterion: {bound: lower, op: ">", value: 0.85}}
  - {name: sensitivity, metric: sensitivity, at: primary, role: primary,
     criterion: {bound: lower, op: ">", value: 0.80}}
  - {name: brier, metric: brier, role: secondary}
decision_rule: all_primary
confidence: {level: 0.95, sided: two, proportion: clopper-pearson,
             bootstrap: {replicates: 2000, interval: bca}}
multiplicity: {method: none}
strata:
  - sex
  - {name: age, column: age, bins: [40, 60]}
  - {name: scanner, column: "dicom:Manufacturer"}
  - {name: sex and age, cross: [sex, age]}
small_strata: {suppress_below: 10, flag_below: 30}
missing_outputs: {primary: worst_case}
missing_reference: {primary: worst_case}
analyses:
inference: {}
comparisons: []
disclose: []
reuse_policy: {max_uses_per_case: 3, on_excess: warn}
seed: 20260101
clauses: {}
"""
    protocol = parse_protocol(text.encode())
    assert [s.name for s in protocol.strata] == ["sex", "age", "scanner", "sex and age"]
    assert unsupported(protocol, {"auroc", "sensitivity", "brier"}) == []


@pytest.mark.parametrize("key", ["schema", "id", "version", "title", "kind", "intended_use", "task", "unit", "seed"])
def test_each_required_key_is_asked_for(key: str) -> None:
    assert only(changed(key, ...)) == Problem("required field missing", key)


def test_endpoints_are_required_and_not_empty() -> None:
    assert only(changed("endpoints", ...)).what == "required field missing"
    assert "at least 1 item" in only(changed("endpoints", [])).what


def test_every_problem_is_reported_at_once_with_path_and_hint() -> None:
    data = changed("task.score", "p_a ** 2")
    data["endpoints"][0] |= {"metric": "auc", "criterion": {"bound": "lower", "op": ">", "valu": 0.85}}
    data["endpoints"][1]["at"] = "primry"
    data["kind"] = "standalon"
    data["unit"] = {"clustr": "patient_id"}
    del data["seed"]
    assert {str(p) for p in problems(data)} == {
        "'standalon' is not one of standalone, comparison, reader_study, drift_audit, site_acceptance @ kind   "
        "did you mean 'standalone'?",
        "extra fields found (clustr) @ unit   did you mean 'cluster'?",
        "required field missing @ endpoints[0].criterion.value   written 'valu'?",
        "extra fields found (valu) @ endpoints[0].criterion   did you mean 'value'?",
        "required field missing @ seed",
        "score holds 'p_a ** 2', which is not allowed @ task.score   "
        "allowed are names of outputs, numbers, + - * /, parentheses, min() and max()",
        "unknown metric 'auc' @ endpoints[0].metric   did you mean 'auroc'?",
        "unknown operating point 'primry' @ endpoints[1].at   did you mean 'primary'?",
    }


def test_the_message_counts_the_problems() -> None:
    with pytest.raises(ProtocolError, match=r"^study\.yaml has 1 problem\n"):
        parse(changed("seed", ...))
    assert ProtocolError("x").exit_code == 2


SEMANTIC = {
    "twin endpoints": (("endpoints.1.name", "discrimination"), "endpoints[1].name", "given twice"),
    "twin operating points": (
        ("operating_points.1", {"name": "primary", "threshold": 0.6}),
        "operating_points[1].name",
        "given twice",
    ),
    "twin strata": (("strata.2", "sex"), "strata[2].name", "given twice"),
    "no operating point": (("endpoints.1.at", ...), "endpoints[1].at", "needs an operating point"),
    "needless operating point": (("endpoints.0.at", "primary"), "endpoints[0].at", "needs no operating point"),
    "metric of another task": (("endpoints.0.metric", "dice"), "endpoints[0].metric", "does not fit a binary task"),
    "probability": (
        ("endpoints.2", {"name": "b", "metric": "brier", "at": "primary"}),
        "endpoints[2].at",
        "needs no operating point",
    ),
    "primary without criterion": (("endpoints.0.criterion", ...), "endpoints[0].criterion", "needs a criterion"),
    "point": (
        ("endpoints.0.criterion.bound", "point"),
        "endpoints[0].criterion.justification",
        "needs a justification",
    ),
    "empty claim": (("endpoints.0.criterion.op", "<"), "endpoints[0].criterion", "demonstrates nothing"),
    "beyond the range": (("endpoints.0.criterion.value", 1.0), "endpoints[0].criterion.value", "cannot be reached"),
    "alpha": (("confidence", {"level": 0.9}), "confidence.justification", "one-sided alpha of 0.05"),
    "alpha one-sided": (
        ("confidence", {"level": 0.95, "sided": "one"}),
        "confidence.justification",
        "one-sided alpha of 0.05",
    ),
    "any_primary": (("decision_rule", "any_primary"), "multiplicity.method", "needs a multiplicity method"),
    "sequence": (("multiplicity", {"method": "fixed_sequence"}), "multiplicity.order", "needs the order"),
    "order": (
        ("multiplicity", {"method": "fixed_sequence", "order": ["discrimination", "sensitivity", "x"]}),
        "multiplicity.order[2]",
        "unknown endpoint 'x'",
    ),
    "needless order": (("multiplicity", {"order": ["sensitivity"]}), "multiplicity.order", "an order is for"),
    "gates": (("decision_rule", "gatekeeping"), "multiplicity.order", "gatekeeping needs the order"),
    "cross of nothing": (
        ("strata.2", {"name": "x", "cross": ["sex", "site"]}),
        "strata[2].cross[1]",
        "unknown stratum 'site'",
    ),
    "cross of one": (("strata.2", {"name": "x", "cross": ["sex"]}), "strata[2].cross", "at least two"),
    "cross with column": (
        ("strata.2", {"name": "x", "cross": ["sex", "age"], "column": "x"}),
        "strata[2]",
        "no column and no bins",
    ),
    "bins": (("strata.1.bins", [60, 40]), "strata[1].bins", "must increase"),
    "no bins": (("strata.1.bins", []), "strata[1].bins", "no bin edge"),
    "each": (("endpoints.1.each", "sexes"), "endpoints[1].each", "unknown stratum 'sexes'"),
    "stratum": (("endpoints.1.stratum", {"sx": "f"}), "endpoints[1].stratum.sx", "unknown stratum 'sx'"),
    "stratum level": (("endpoints.1.stratum", {"age": "<30"}), "endpoints[1].stratum.age", "no group '<30'"),
    "no cross": (("endpoints.1.stratum", {"age": "<40", "sex": "f"}), "endpoints[1].stratum", "no stratum crosses"),
    "foreign setting": (("endpoints.0.prevalence", 0.1), "endpoints[0].prevalence", "has no setting"),
    "needed setting": (
        ("endpoints.2", {"name": "x", "metric": "sensitivity_at_specificity"}),
        "endpoints[2].specificity",
        "required field missing",
    ),
    "range": (
        ("endpoints.2", {"name": "x", "metric": "partial_auroc", "range": [0.9, 0.8]}),
        "endpoints[2].range",
        "lies within 0 and 1",
    ),
    "interval": (("endpoints.0.interval", "wilson"), "endpoints[0].interval", "does not fit 'auroc'"),
    "empty positive": (("task.positive", []), "task.positive", "no value"),
    "two references": (("task.reference", ["a", "b"]), "task.reference", "one reference column"),
}


@pytest.mark.parametrize("name", SEMANTIC)
def test_contradictions_are_found(name: str) -> None:
    (path, value), where, what = SEMANTIC[name]
    found = only(changed(path, value))
    assert found.where == where
    assert what in found.what


def test_a_calibration_metric_needs_a_probability() -> None:
    data = changed("endpoints.2", {"name": "b", "metric": "brier"})
    assert parse(data).endpoints[2].metric == "brier"
    data["task"]["probability"] = False
    assert "needs a probability" in only(data).what


def test_a_metric_named_otherwise_elsewhere_is_hinted_at() -> None:
    assert only(changed("endpoints.1.metric", "recall")).hint == "did you mean 'sensitivity'?"
    assert only(changed("endpoints.1.metric", "ppv_at_prevalence")).hint == "did you mean 'ppv'?"


def test_without_an_operating_point_the_candidates_are_named_and_none_is_guessed() -> None:
    data = changed("operating_points.1", {"name": "rule-out", "threshold": 0.2})
    del data["endpoints"][1]["at"]
    assert only(data).hint == "one of: primary, rule-out"


def test_without_a_primary_endpoint_there_is_nothing_to_judge() -> None:
    data = copy.deepcopy(GOOD)
    for endpoint in data["endpoints"]:
        endpoint["role"] = "secondary"
    assert "nothing to judge" in only(data).what


def test_justified_choices_load() -> None:
    data = changed("confidence", {"level": 0.9, "justification": "agreed with the authority"})
    data["endpoints"][0]["criterion"] |= {"bound": "point", "justification": "precedent"}
    assert parse(data).confidence.alpha == pytest.approx(0.05)
    assert parse(data).confidence.two_sided_level == 0.9
    one = parse(changed("confidence", {"level": 0.975, "sided": "one"}))
    assert one.confidence.two_sided_level == pytest.approx(0.95)


def test_a_criterion_in_a_cross_names_a_level_of_each() -> None:
    data = changed("strata.2", {"name": "both", "cross": ["sex", "age"]})
    data["endpoints"][1]["stratum"] = {"sex": "female", "age": "40-<60"}
    assert parse(data).endpoints[1].stratum == {"sex": "female", "age": "40-<60"}
    data["endpoints"][1]["stratum"] = {"both": "female"}
    assert only(data).hint == "name a level of each: sex, age"


# --- YAML -----------------------------------------------------------------------------------------------------------


def test_a_syntax_error_has_line_and_column() -> None:
    found = only(b"schema: evalsuite/protocol/1\nid: [a, b\nversion: 1\n")
    assert found.where.startswith("line 3, column ")


def test_duplicate_keys_are_refused_all_at_once() -> None:
    found = problems(b"id: a\nid: b\ntask: {kind: binary,\n  kind: binary}\n")
    assert [(p.what, p.where, p.hint) for p in found] == [
        ("key 'id' given twice", "line 2", "first in line 1"),
        ("key 'kind' given twice", "line 4", "first in line 3"),
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"# only a comment\n",
        b"- a\n- b\n",
        b"just text",
        b"a: !!python/object/apply:os.system ['true']\n",
        b"a: &a [*a]\n",
        b"\xff\xfe\x00",
        b"a: 1\n---\nb: 2\n",
        b"{" * 3000,
        b"a: " + b"[" * 500 + b"]" * 500,
        b"a: 2026-99-99\n",
        b"? [1, 2]\n: 3\n",
        b"? {a: 1}\n: 3\n",
        b"1: 2\n",
        b"a: .inf\n",
        b"a: 2026-01-01\n",
        b"a: !!binary aGk=\n",
    ],
)
def test_what_is_no_protocol_is_refused_as_one(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_protocol(data)


def test_references_that_multiply_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(ProtocolError, match="too large"):
        parse_protocol("\n".join(lines).encode())


def test_a_version_without_quotes_is_explained() -> None:
    text = yaml.safe_dump(changed("version", ...)) + "version: 1.0\n"
    assert only(text.encode()) == Problem("should be text", "version", "put it in quotes")


def test_an_unquoted_sign_is_explained() -> None:
    text = "endpoints:\n- name: a\n  metric: auroc\n  criterion:\n    bound: lower\n    op: >\n    value: 0.8\n"
    found = [p for p in problems(text.encode()) if p.where == "endpoints[0].criterion.op"]
    assert found[0].hint == 'put the sign in quotes: op: ">"'


def test_a_newer_schema_is_named() -> None:
    with pytest.raises(ProtocolError, match=r"evalsuite/protocol/2; this version reads"):
        parse(changed("schema", "evalsuite/protocol/2"))


# --- names, digests, dumps ------------------------------------------------------------------------------------------


def test_a_file_a_name_and_nothing(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(GOOD))
    assert load_protocol(file) == load_protocol(str(file)) == parse(GOOD)
    assert load_protocol("generic_binary_standalone").id == "generic_binary_standalone"
    with pytest.raises(ProtocolError, match="Did you mean the shipped 'generic_binary_standalone'"):
        load_protocol("generic_binary_standalon")
    with pytest.raises(ProtocolError, match="no frozen study"):
        load_protocol(tmp_path)


def test_digest_ignores_layout_and_default_values_but_no_content() -> None:
    digest = protocol_digest(parse(GOOD))
    assert len(digest) == 64
    reordered = dict(reversed(list(GOOD.items()))) | {"decision_rule": "all_primary", "analyses": None}
    assert protocol_digest(parse(reordered)) == digest
    assert protocol_digest(parse(changed("endpoints.0.criterion.value", 0.86))) != digest


def test_a_dump_loads_to_an_equal_protocol() -> None:
    data = changed("strata.1.bins", [1e-7, 0.1 + 0.2])
    data["clauses"] = {"a": None, "b": ["<40", "yes", "1.0", "é\u2028"]}
    protocol = parse(data)
    again = parse_protocol(dump_protocol(protocol).encode())
    assert again == protocol
    assert protocol_digest(again) == protocol_digest(protocol)
    assert normalised_dict(again)["schema"] == "evalsuite/protocol/1"


# --- what this version cannot run -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        ("analyses", {"interpretability": {}}, "analyses.interpretability"),
        ("analyses", {"calibration": {"bins": 5}}, "analyses.calibration.bins"),
    ],
)
def test_what_a_run_would_leave_out_is_listed(path: str, value: Any, where: str) -> None:
    protocol = parse(changed(path, value))
    assert [p.where for p in unsupported(protocol, {"auroc", "sensitivity"})] == [where]


def test_metrics_and_tasks_that_are_not_computed_are_listed() -> None:
    assert [p.where for p in unsupported(parse(GOOD), {"auroc"})] == ["endpoints[1].metric"]
    data = changed("task.kind", "segmentation")
    data["operating_points"] = []
    data["task"]["classes"] = ["lesion"]
    data["endpoints"] = [{**GOOD["endpoints"][0], "metric": "dice"}]
    assert [p.where for p in unsupported(parse(data), {"auroc"})] == ["endpoints[0].metric"]
    rule = changed("decision_rule", "any_primary") | {"multiplicity": {"method": "holm"}}
    assert unsupported(parse(rule), {"auroc", "sensitivity"}) == []


def test_two_faults_in_one_list_of_texts_are_both_told() -> None:
    found = problems(changed("sources", [[], True]))
    assert [(p.what, p.where) for p in found] == [("should be text", "sources[0]"), ("should be text", "sources[1]")]


def test_an_empty_calibration_block_is_carried_out() -> None:
    assert unsupported(parse(changed("analyses", {"calibration": {}})), {"auroc", "sensitivity"}) == []


def test_a_rule_that_adjusts_needs_bounds_and_a_fitting_method() -> None:
    names = [e["name"] for e in GOOD["endpoints"]]
    gates = changed("decision_rule", "gatekeeping") | {"multiplicity": {"method": "holm", "order": names}}
    assert {p.where for p in problems(gates)} >= {"multiplicity.method"}
    point = changed("endpoints.0.criterion", {"bound": "point", "op": ">", "value": 0.8, "justification": "x"})
    point |= {"decision_rule": "any_primary", "multiplicity": {"method": "holm"}}
    assert {p.where for p in problems(point)} == {"endpoints[0].criterion.bound"}


def test_hypotheses_become_criteria_on_candidate_minus_baseline() -> None:
    block = {"name": "x", "metric": "auroc_difference", "role": "primary"}

    def meant(**more: Any) -> list[tuple[str, str, float]]:
        protocol = parse(changed("comparisons", [{**block, **more}]))
        return [(c.bound, c.op, c.value) for c in criteria(protocol.comparisons[0])]

    assert meant(hypothesis="superiority") == [("lower", ">", 0.0)]
    assert meant(hypothesis="superiority", margin=0.02) == [("lower", ">", 0.02)]
    assert meant(hypothesis="non_inferiority", margin=0.05) == [("lower", ">", -0.05)]
    assert meant(hypothesis="equivalence", margin=0.05) == [("lower", ">", -0.05), ("upper", "<", 0.05)]
    assert meant(hypothesis="superiority", metric="brier") == [("upper", "<", 0.0)]
    assert meant(hypothesis="non_inferiority", metric="brier", margin=0.01) == [("upper", "<", 0.01)]
    written = {"bound": "lower", "op": ">", "value": -0.05}
    assert meant(hypothesis="non_inferiority", margin=0.05, criterion=written) == [("lower", ">", -0.05)]


def test_a_decision_curve_needs_a_probability_and_an_increasing_grid() -> None:
    found = only(changed("analyses", {"utility": {"thresholds": [0.5, 0.1, 9]}}))
    assert found.where == "analyses.utility.thresholds"
    data = changed("analyses", {"utility": {"thresholds": [0.1, 0.5, 9]}})
    assert unsupported(parse(data), {"auroc", "sensitivity", "brier"}) == []
    data["task"]["probability"] = False
    assert "needs a probability" in {p.where: p.what for p in problems(data)}["analyses.utility"]


@pytest.mark.parametrize(
    ("source", "refused"),
    [
        ("Youden on the test set", True),
        ("optimised on the locked set", True),
        ("fixed on the tuning set", False),
        ("fixed beforehand; not searched on the test set", False),
        ("tuned on validation data, tested on the test set", False),
    ],
)
def test_an_operating_point_is_not_searched_on_the_set_that_judges_it(source, refused):
    data = changed("operating_points.0", {"name": "primary", "threshold": 0.5, "source": source})
    if not refused:
        parse(data)
        return
    with pytest.raises(ProtocolError) as caught:
        parse(data)
    assert [p.where for p in caught.value.problems] == ["operating_points[0].source"]


def test_a_threshold_is_a_number_never_a_search():
    with pytest.raises(ProtocolError) as caught:
        parse(changed("operating_points.0", {"name": "primary", "threshold": "youden"}))
    assert [p.where for p in caught.value.problems] == ["operating_points[0].threshold"]
