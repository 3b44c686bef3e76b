"""`evalsuite plan`: the size of a study before anything is collected."""

from __future__ import annotations

import json
from types import SimpleNamespace

import yaml

from evalsuite.cli.plan import _by_both
from evalsuite.report.format import format_count

from .conftest import protocol_text

PLAN = {
    "cases": 1000,
    "prevalence": 0.2,
    "design_effect": 1.1,
    "attrition": 0.05,
    "assume": {"discrimination": {"value": 0.8}, "sensitivity": {"value": 0.62, "source": "tuning set"}},
}


def test_a_study_is_planned_and_its_curves_drawn(tmp_path, cli):
    path = tmp_path / "protocol.yaml"
    path.write_text(protocol_text(plan=PLAN))
    done = cli("plan", path, "--out", tmp_path / "plan", "--simulate", "200", "--json")
    assert done.code == 0, done.err
    found = done.json()
    rows = {r["name"]: r for r in found["endpoints"]}
    assert rows["sensitivity"]["counted"] == "positives"
    assert rows["sensitivity"]["planned"] == 200
    assert rows["sensitivity"]["cases"] >= 5 * rows["sensitivity"]["needed"]
    assert 0.5 < found["simulated"]["sensitivity"] <= 1
    assert rows["brier"]["needed"] is None
    assert "simulation" in rows["brier"]["reason"]
    assert json.loads((tmp_path / "plan" / "plan.json").read_text())["schema"] == "evalsuite/plan/1"
    assert len(list((tmp_path / "plan").glob("power-*.svg"))) == 2
    shown = cli("plan", path)
    assert "discrimination" in shown.out
    assert "tuning set" in shown.out


def test_a_locked_set_that_is_too_small_is_said_without_opening_it(locked, cli):
    text = yaml.safe_load(locked.protocol.read_text())
    path = locked.folder / "planned.yaml"
    path.write_text(yaml.safe_dump({**text, "plan": PLAN}, sort_keys=False))
    before = (locked.testset / "ledger.jsonl").read_bytes()
    done = cli("plan", path, "--testset", locked.testset, "--json")
    assert done.code == 0, done.err
    assert any("the locked set has 120 cases" in w for w in done.json()["warnings"])
    assert (locked.testset / "ledger.jsonl").read_bytes() == before


def test_assumptions_that_cannot_be_are_refused_together(tmp_path, cli):
    path = tmp_path / "protocol.yaml"
    plan = {"assume": {"sensitivty": {"value": 0.9}, "discrimination": {"value": -0.2, "discordant": 0.1}}}
    path.write_text(protocol_text(plan=plan))
    done = cli("plan", path)
    assert done.code == 2
    assert "unknown endpoint 'sensitivty'" in done.err
    assert "no share or area" in done.err


def test_goals_that_are_not_above_the_assumption_have_no_size(tmp_path, cli):
    path = tmp_path / "protocol.yaml"
    path.write_text(protocol_text(plan={"prevalence": 0.3, "assume": {"sensitivity": {"value": 0.4}}}))
    done = cli("plan", path, "--json")
    rows = {r["name"]: r for r in done.json()["endpoints"]}
    assert rows["sensitivity"]["needed"] is None
    assert "whatever the number of cases" in rows["sensitivity"]["reason"]
    assert "no value is assumed" in rows["discrimination"]["reason"]


def test_the_report_prints_the_plan_beside_what_the_set_holds(study, cli):
    text = yaml.safe_load(study.protocol.read_text())
    # One size of several thousands, and a goal that no size reaches.
    assume = {"discrimination": {"value": 0.5}, "sensitivity": {"value": 0.53, "source": "tuning set"}}
    study.protocol.write_text(yaml.safe_dump({**text, "plan": {**PLAN, "assume": assume}}, sort_keys=False))
    assert cli("lock", study.cases, "--protocol", study.protocol, "--out", study.testset).code == 0
    done = cli("run", study.protocol, "--testset", study.testset, "--model", study.predictions, "--out", study.run)
    assert done.code == 1, done.err
    page = (study.run / "report.html").read_text()
    assert "Sample size" in page
    assert "tuning set" in page
    findings = json.loads((study.run / "evidence.json").read_text())["findings"]
    sizes = {f["endpoint"]: f["estimate"] for f in findings if f["metric"] == "cases_needed"}
    assert sizes["sensitivity"]["value"] >= 1000
    assert format_count(int(sizes["sensitivity"]["value"])) in page
    assert sizes["discrimination"]["undefined"] in page
    assert {f["metric"] for f in findings if f["analysis"] == "planning"} == {"cases_needed", "planned_power"}


READERS = {
    "id": "readers",
    "kind": "reader_study",
    "readers": {"test": "aided", "control": "unaided"},
    "missing_reference": {"primary": "exclude"},
    "endpoints": [
        {"name": "gain", "metric": "reader_auroc_gain", "role": "primary",
         "criterion": {"bound": "lower", "op": ">", "value": 0.0}},
        {"name": "aided", "metric": "reader_auroc"},
    ],
    "plan": {
        "readers": 6, "cases": 251,
        # RJafroc on Van Dyke's study, difference 0.05, 6 readers: 251 cases have a power of 0.892, 170 of 0.802.
        "assume": {"gain": {"value": 0.05, "source": "Van Dyke's study", "pilot": {
            "cases": 114, "treatment_reader": 0.00020040252, "error": 0.00080228827, "cov1": 0.00034661371,
            "cov2": 0.00034407483, "cov3": 0.00023902837}}},
    },
}  # fmt: skip


def test_readers_and_cases_are_planned_from_a_pilot(tmp_path, cli):
    path = tmp_path / "protocol.yaml"
    path.write_text(protocol_text(**READERS))
    done = cli("plan", path, "--simulate", "20000", "--json")
    assert done.code == 0, done.err
    row = next(r for r in done.json()["endpoints"] if r["name"] == "gain")
    assert row["needed"] == 170
    assert abs(row["power"] - 0.89228) < 1e-4
    assert abs(done.json()["simulated"]["gain"] - 0.8016) < 0.02
    cases = dict(row["by_readers"])
    assert cases[6] == 170
    assert cases[20] < cases[8] < cases[6]
    assert cases[3] is None, "the readers' own differences alone hide a gain of 0.05 from three readers"
    assert "readers never" in cli("plan", path).out
    for change, said in (
        ({"value": 1.5}, "less than 1"),
        ({"pilot": {**READERS["plan"]["assume"]["gain"]["pilot"], "cov1": 0.01}}, "no smaller than their variance"),
    ):
        plan = {**READERS["plan"], "assume": {"gain": {**READERS["plan"]["assume"]["gain"], **change}}}
        path.write_text(protocol_text(**{**READERS, "plan": plan}))
        done = cli("plan", path)
        assert done.code == 2
        assert said in done.err


def test_detection_studies_and_readers_who_mark_are_planned(tmp_path, cli):
    task = {
        "kind": "detection",
        "reference": "lesions",
        "score": "s",
        "matching": {"rule": "distance", "distance_mm": 5},
    }
    endpoints = [
        {"name": "at one", "metric": "froc_sensitivity", "false_positives": 1, "maximum": 5, "role": "primary",
         "criterion": {"bound": "lower", "op": ">", "value": 0.7}},
        {"name": "found", "metric": "lesion_sensitivity", "at": "primary",
         "criterion": {"bound": "lower", "op": ">", "value": 0.7}},
    ]  # fmt: skip
    marking = {"lesions": 1.5, "marked": 0.95, "false_marks": 6, "correlation": 0.2}
    plan = {
        "cases": 300, "prevalence": 0.4,
        "assume": {"at one": {"value": 0.85, "marking": marking}, "found": {"value": 0.82, "marking": marking}},
    }  # fmt: skip
    path = tmp_path / "protocol.yaml"
    path.write_text(protocol_text(task=task, endpoints=endpoints, plan=plan, strata=[], disclose=[]))
    done = cli("plan", path, "--out", tmp_path / "plan", "--simulate", "60", "--json")
    assert done.code == 0, done.err
    found = done.json()
    rows = {r["name"]: r for r in found["endpoints"]}
    assert "FROC" in rows["at one"]["method"]
    assert rows["at one"]["needed"] < rows["found"]["needed"] < 300
    assert min(rows["at one"]["power"], rows["found"]["power"]) > 0.8
    assert 0 < rows["at one"]["half_width"] < 0.15
    assert all(0.6 < found["simulated"][name] <= 1 for name in rows)
    assert len(list((tmp_path / "plan").glob("power-*.svg"))) == 2
    plan["assume"]["at one"]["marking"] = {"false_marks": 0.5}
    path.write_text(protocol_text(task=task, endpoints=endpoints, plan=plan, strata=[], disclose=[]))
    rows = {r["name"]: r for r in cli("plan", path, "--json").json()["endpoints"]}
    assert "not below the 0.5 marks" in rows["at one"]["reason"]
    pilot = {"cases": 200, "treatment_reader": 0.0, "error": 0.00093, "cov1": 0.00042, "cov2": 0.00034, "cov3": 0.0003}
    readers = {
        "kind": "reader_study", "task": task, "readers": {"test": "aided", "control": "unaided"},
        "missing_reference": {"primary": "exclude"},
        "endpoints": [{"name": "gain", "metric": "reader_wafroc_gain", "role": "primary",
                       "criterion": {"bound": "lower", "op": ">", "value": 0.0}}],
        "plan": {"readers": 5, "cases": 200, "prevalence": 0.5, "assume": {"gain": {"value": 0.04, "pilot": pilot}}},
        "strata": [], "disclose": [],
    }  # fmt: skip
    path.write_text(protocol_text(**readers))
    done = cli("plan", path, "--simulate", "300", "--json")
    assert done.code == 0, done.err
    (row,) = done.json()["endpoints"]
    assert row["needed"] is not None
    assert len(row["by_readers"]) >= 9
    assert abs(done.json()["simulated"]["gain"] - 0.8) < 0.1
    readers["plan"]["assume"]["gain"]["marking"] = marking
    path.write_text(protocol_text(**readers))
    done = cli("plan", path)
    assert done.code == 2
    assert "marks belong to" in done.err


def test_power_of_readers_is_simulated_from_the_pilot(tmp_path, cli):
    """Beside the formula's, with its Monte Carlo error; what is impossible is refused, what lacks is said."""
    pilot = {**READERS["plan"]["assume"]["gain"]["pilot"], "treatment_reader": 0.0002, "reader": 0.0015}
    gain = {"value": 0.08, "pilot": {**pilot, "control": 0.85, "positives": 45}}
    changed = {**READERS, "plan": {"readers": 5, "cases": 90, "assume": {"gain": gain}}}
    path = tmp_path / "protocol.yaml"
    path.write_text(protocol_text(**changed))
    done = cli("plan", path, "--json")
    assert done.code == 0, done.err
    row = next(r for r in done.json()["endpoints"] if r["name"] == "gain")
    assert 0.8 <= row["needed_power"] < 0.83
    assert 0.0 < row["power_error"] < 0.01
    assert row["formula_power"] is not None
    assert "Hillis" in row["method"]
    assert abs(row["needed"] - row["formula_needed"]) < 0.4 * row["formula_needed"]
    assert row["power"] > row["needed_power"] if row["needed"] < 85 else row["power"] < 0.95
    by_readers = dict(row["by_readers"])
    assert by_readers[5] == row["needed"]
    assert by_readers[20] < by_readers[5] < by_readers[4]
    curve = done.json()["curves"]["gain"]
    at = min(range(len(curve["n"])), key=lambda i: abs(curve["n"][i] - row["needed"]))
    assert abs(curve["power"][at] - 0.8) < 0.06
    words = _by_both(SimpleNamespace(**row))
    assert "Monte Carlo standard error" in words
    assert f"by formula {row['formula_needed']} cases" in words
    gain["pilot"]["positives"], gain["pilot"]["control"] = 114, 0.95
    path.write_text(protocol_text(**changed))
    refused = cli("plan", path)
    assert refused.code == 2
    assert "fewer than its cases" in refused.err
    gain["pilot"]["positives"] = 45
    path.write_text(protocol_text(**changed))
    assert "together between 0 and 1" in cli("plan", path).err
