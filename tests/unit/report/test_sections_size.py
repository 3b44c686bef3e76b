"""R10: what was planned, beside what there is."""

from __future__ import annotations

import json

import pytest
import yaml


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    from evalsuite.analyses.planning import planned_findings
    from evalsuite.protocol.load import load_protocol
    from evalsuite.types import Account
    from tests.end_to_end.conftest import protocol_text

    path = tmp_path_factory.mktemp("plan") / "protocol.yaml"
    text = yaml.safe_load(protocol_text())
    text["plan"] = {
        "prevalence": 0.4,
        "assume": {"sensitivity": {"value": 0.6, "source": "pilot"}, "discrimination": {"value": 0.65}},
    }
    path.write_text(json.dumps(text))
    protocol = load_protocol(path)
    accounts = [
        Account(status="ok", reference="positive", n=90, n_patients=90),
        Account(status="failed", reference="positive", n=10, n_patients=10),
        Account(status="ok", reference="negative", n=150, n_patients=150),
        Account(status="ok", reference="positive", stratum={"sex": "f"}, n=40, n_patients=40),
    ]
    return protocol, planned_findings(protocol, accounts)


def test_the_set_is_counted_by_the_kind_of_case_whatever_became_of_it(planned):
    from evalsuite.stats.planning import cases_for_proportion, proportion_power

    _, findings = planned
    size = next(f for f in findings if f.endpoint == "sensitivity" and f.metric == "cases_needed")
    power = next(f for f in findings if f.endpoint == "sensitivity" and f.metric == "planned_power")
    assert size.estimate.value == cases_for_proportion(0.6, 0.5)
    assert size.estimate.n == 100
    assert power.estimate.value == pytest.approx(proportion_power(100, 0.6, 0.5))


def test_a_goal_above_the_assumption_has_a_reason_instead_of_a_size(planned):
    _, findings = planned
    found = [f for f in findings if f.endpoint == "discrimination"]
    assert [f.metric for f in found] == ["cases_needed"]
    assert "does not clear the goal" in str(found[0].estimate.undefined)
    assert not [f for f in findings if f.endpoint == "brier"]
