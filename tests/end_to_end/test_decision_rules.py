"""Decision rules other than "every one": from the protocol file to the sealed verdict."""

from __future__ import annotations

import json

import pytest

from tests.end_to_end.conftest import protocol_text


def endpoint(name: str, metric: str, goal: float, **more: object) -> dict[str, object]:
    return {
        "name": name,
        "metric": metric,
        "role": "primary",
        "criterion": {"bound": "lower", "op": ">", "value": goal},
        **more,
    }


def endpoints(area: float, sensitivity: float, specificity: float) -> list[dict[str, object]]:
    return [
        endpoint("discrimination", "auroc", area),
        endpoint("sensitivity", "sensitivity", sensitivity, at="primary"),
        endpoint("specificity", "specificity", specificity, at="primary"),
    ]


def ran(study, cli, **changes):
    study.protocol.write_text(protocol_text(**changes))
    frozen = cli(
        "freeze", study.protocol, "--testset", study.testset, "--model", study.predictions, "--out", study.frozen
    )
    assert frozen.code == 0, frozen.err
    done = cli(
        "run", study.frozen, "--testset", study.testset, "--model", study.predictions, "--out", study.run, "--json"
    )
    assert done.code in (0, 1), done.err
    evidence = json.loads((study.run / "evidence.json").read_text())
    assert cli("verify", study.run).code == 0
    return done, done.json(), evidence


@pytest.mark.parametrize("method", ["holm", "hochberg"])
def test_any_primary_is_met_by_one_endpoint_on_its_adjusted_bound(locked, cli, method):
    done, verdict, evidence = ran(
        locked,
        cli,
        endpoints=endpoints(0.8, 0.999, 0.999),
        decision_rule="any_primary",
        multiplicity={"method": method},
    )
    assert (done.code, verdict["overall"]) == (0, "met")
    by_name = {c["endpoint"]: c for c in verdict["criteria"]}
    assert by_name["discrimination"]["outcome"] == "met"
    assert by_name["discrimination"]["estimate"]["level"] > 0.95
    assert by_name["sensitivity"]["outcome"] != "met"
    adjusted = {t["endpoint"]: t for t in evidence["tests"] if t["p_adjusted"] is not None}
    assert set(adjusted) == {"discrimination", "sensitivity", "specificity"}
    for test in adjusted.values():
        assert test["p_adjusted"] >= test["p_value"]
    assert any(f["condition"] == f"multiplicity={method}" for f in evidence["findings"])
    assert (locked.run / "report.pdf").stat().st_size > 0


def test_gatekeeping_stops_at_the_first_gate_that_is_not_met(locked, cli):
    done, verdict, _ = ran(
        locked,
        cli,
        endpoints=endpoints(0.7, 0.999, 0.5),
        decision_rule="gatekeeping",
        multiplicity={"order": ["discrimination", "sensitivity", "specificity"]},
    )
    assert done.code == 1
    found = {c["endpoint"]: c for c in verdict["criteria"]}
    assert found["discrimination"]["outcome"] == "met"
    assert found["sensitivity"]["outcome"] != "met"
    assert found["specificity"]["outcome"] == "inconclusive"
    assert "an earlier gate was not met" in found["specificity"]["reason"]
    assert verdict["overall"] != "met"


def test_a_fixed_sequence_tests_each_at_the_full_level(locked, cli):
    done, verdict, _ = ran(
        locked,
        cli,
        endpoints=endpoints(0.7, 0.5, 0.999),
        decision_rule="any_primary",
        multiplicity={"method": "fixed_sequence", "order": ["discrimination", "sensitivity", "specificity"]},
    )
    assert (done.code, verdict["overall"]) == (0, "met")
    assert {c["estimate"]["level"] for c in verdict["criteria"]} == {0.95}
    assert [c["outcome"] for c in verdict["criteria"][:2]] == ["met", "met"]


def test_rules_that_contradict_themselves_are_refused_with_their_place(locked, cli):
    locked.protocol.write_text(
        protocol_text(
            endpoints=endpoints(0.7, 0.5, 0.5),
            decision_rule="gatekeeping",
            multiplicity={"method": "holm", "order": ["discrimination", "sensitivity", "specificity"]},
        )
    )
    done = cli("run", locked.protocol, "--testset", locked.testset, "--model", locked.predictions, "--out", locked.run)
    assert done.code == 2
    assert "multiplicity.method" in done.err
