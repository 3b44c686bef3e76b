"""The blocks on sites, weights and partial verification: what is refused, where, and with which hint."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from evalsuite.errors import Problem, ProtocolError
from evalsuite.protocol.load import dump_protocol, parse_protocol, unsupported
from evalsuite.protocol.schema import StudyProtocol, Verification, Weighting
from evalsuite.protocol.source_checks import analysis_columns
from evalsuite.protocol.template import case_table_template

BASE: dict[str, Any] = {
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
            "name": "area",
            "metric": "auroc",
            "role": "primary",
            "criterion": {"bound": "lower", "op": ">", "value": 0.8},
        },
        {"name": "brier", "metric": "brier"},
        {"name": "ppv at 1 %", "metric": "ppv", "at": "primary", "prevalence": 0.01},
    ],
    "strata": ["site", "sex", {"name": "both", "cross": ["site", "sex"]}],
    "seed": 1,
}


def parse(analyses: dict[str, Any], **more: Any) -> StudyProtocol:
    return parse_protocol(yaml.safe_dump({**copy.deepcopy(BASE), **more, "analyses": analyses}).encode())


def only(analyses: dict[str, Any], **more: Any) -> Problem:
    with pytest.raises(ProtocolError) as caught:
        parse(analyses, **more)
    (problem,) = caught.value.problems
    return problem


def over(**changes: Any) -> dict[str, Any]:
    return {"generalisation": {"site": "site", "endpoints": ["area"], **changes}}


def panel(**changes: Any) -> dict[str, Any]:
    return {"truth_panel": {"readers": ["reader_1", "reader_2"], "endpoints": ["area"], **changes}}


def test_the_blocks_are_typed_and_carried_out():
    blocks = {**over(), "weighting": {}, "verification": {"verified": "checked"}, **panel()}
    blocks["variance_components"] = {"factors": ["camera"], "subject": "lesion"}
    study = parse(blocks)
    assert study.analyses.generalisation is not None
    assert study.analyses.generalisation.leave_one_out is True
    assert study.analyses.weighting == Weighting()
    assert study.analyses.verification == Verification(verified="checked", method="begg_greenes")
    assert unsupported(study, {"auroc", "brier", "ppv"}) == []
    assert parse_protocol(dump_protocol(study).encode()) == study


@pytest.mark.parametrize(
    ("analyses", "where", "hint"),
    [
        (over(site="sitee"), "analyses.generalisation.site", "did you mean 'site'?"),
        (over(site="both"), "analyses.generalisation.site", "one of its members: site, sex"),
        (over(endpoints=["arae"]), "analyses.generalisation.endpoints[0]", "did you mean 'area'?"),
        (over(endpoints=["area", "brier"]), "analyses.generalisation.endpoints[1]", "sensitivity"),
        (over(endpoints=["ppv at 1 %"]), "analyses.generalisation.endpoints[0]", "take it out"),
        (over(endpoints=["area", "area"]), "analyses.generalisation.endpoints[1]", ""),
        (over(endpoints=[]), "analyses.generalisation.endpoints", ""),
        (over(sites="site"), "analyses.generalisation", "site"),
        (over(scale="log"), "analyses.generalisation.scale", ""),
        ({"weighting": {"column": "w"}}, "analyses.weighting", ""),
        ({"weighting": {"stratum": "truth"}}, "analyses.weighting.stratum", "sampling strata"),
        ({"verification": {"verified": "v", "covariates": ["v"]}}, "analyses.verification.covariates", "remove"),
        (
            {"verification": {"verified": "v", "covariates": ["sex", "sex"]}},
            "analyses.verification.covariates[1]",
            "remove one",
        ),
        (panel(readers=["a"]), "analyses.truth_panel.readers", ""),
        (panel(readers=["a", "a"]), "analyses.truth_panel.readers[1]", "remove one"),
        (panel(readers=["a", "truth"]), "analyses.truth_panel.readers[1]", "one reader's own readings"),
        (panel(endpoints=["arae"]), "analyses.truth_panel.endpoints[0]", "did you mean 'area'?"),
        (panel(endpoints=["brier"]), "analyses.truth_panel.endpoints[0]", "sensitivity"),
        (panel(endpoints=["area", "area"]), "analyses.truth_panel.endpoints[1]", ""),
        (panel(endpoints=["ppv at 1 %"]), "analyses.truth_panel.endpoints[0]", "take it out"),
        ({"variance_components": {"factors": []}}, "analyses.variance_components.factors", ""),
        ({"variance_components": {"factors": ["a", "a"]}}, "analyses.variance_components.factors[1]", "remove one"),
        ({"variance_components": {"factors": ["truth"]}}, "analyses.variance_components.factors", "operators"),
        ({"variance_components": {"factors": ["subject"]}}, "analyses.variance_components.factors[0]", "rename"),
        (
            {"variance_components": {"factors": ["a"], "subject": "a"}},
            "analyses.variance_components.subject",
            "remove one",
        ),
        (panel(ties="coin"), "analyses.truth_panel.ties", ""),
        ({"verification": {"verified": "truth"}}, "analyses.verification.verified", "got the reference standard"),
        ({"verification": {"verified": "checked", "method": "imputed"}}, "analyses.verification.method", ""),
    ],
)
def test_what_cannot_be_is_refused_at_its_place(analyses: dict[str, Any], where: str, hint: str):
    found = only(analyses)
    assert found.where == where
    assert hint in (found.hint or "")


def test_a_correction_needs_a_call():
    found = only({"verification": {"verified": "checked"}}, operating_points=[], endpoints=BASE["endpoints"][:2])
    assert found.where == "analyses.verification"


@pytest.mark.parametrize("name", ["verification", "truth_panel", "variance_components"])
def test_other_tasks_say_that_they_cannot(name: str):
    blocks = {"verification": {"verified": "checked"}, **panel()}
    blocks["variance_components"] = {"factors": ["camera"], "subject": "lesion"}
    task = {"kind": "multiclass", "reference": "truth", "classes": ["a", "b"], "score": ["p_a", "p_b"]}
    endpoints = [{**BASE["endpoints"][0], "metric": "macro_sensitivity"}]
    study = parse({name: blocks[name]}, task=task, operating_points=[], endpoints=endpoints)
    assert f"analyses.{name}" in {p.where for p in unsupported(study, {"macro_sensitivity"})}


def test_the_case_table_template_has_every_column_an_analysis_names():
    blocks: dict[str, Any] = {
        **panel(),
        "weighting": {"stratum": "drawn"},
        "verification": {"verified": "checked", "covariates": ["sex"]},
        "variance_components": {"factors": ["camera"], "subject": "lesion"},
    }
    study = parse(blocks)
    header, first, _ = case_table_template(study).splitlines()
    wanted = {"reader_1", "reader_2", "drawn", "checked", "camera", "lesion", "sample_weight"}
    assert wanted <= set(header.split(","))
    assert dict(zip(header.split(","), first.split(","), strict=True))["reader_1"] == "1"
    assert set(analysis_columns(study)) == wanted - {"sample_weight"} | {"sex"}


# --- differences between groups ---------------------------------------------------------------------------------------


def groups(**changes: Any) -> dict[str, Any]:
    return {"group_differences": {"stratum": "site", "reference": "a", "endpoints": ["area", "brier"], **changes}}


def test_differences_between_groups_are_of_one_stratum_and_of_figures_that_have_them() -> None:
    asked = parse(groups()).analyses.group_differences
    assert asked is not None
    assert (asked.interval, asked.ratio) == ("newcombe", "koopman")
    path = "analyses.group_differences"
    assert only(groups(stratum="cite")).where == f"{path}.stratum"
    assert "site, sex" in str(only(groups(stratum="both")).hint)
    assert only(groups(endpoints=["area", "aera"])).where == f"{path}.endpoints[1]"
    assert "twice" in only(groups(endpoints=["area", "area"])).what
    error = {"name": "error", "metric": "ece"}
    problem = only(groups(endpoints=["error"]), endpoints=[*BASE["endpoints"], error])
    assert problem.where == f"{path}.endpoints[0]"
    assert "'ece'" in problem.what
