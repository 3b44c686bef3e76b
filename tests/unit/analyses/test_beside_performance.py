"""Sites, tipping points, sampling weights and partial verification, as a protocol asks for them."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from evalsuite.analyses.tasks import evaluate_task
from evalsuite.errors import InputError
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.types import Estimate, Finding

SENSITIVITY = {"name": "sens", "metric": "sensitivity", "at": "primary"}
AREA = {"name": "area", "metric": "auroc"}


def goal(endpoint: dict, value: float, **more: object) -> dict:
    return {**endpoint, "role": "primary", "criterion": {"bound": "lower", "op": ">", "value": value}, **more}


def protocol(*endpoints: dict, **more: object) -> StudyProtocol:
    return StudyProtocol.model_validate(
        {
            "schema": "evalsuite/protocol/1",
            "id": "t",
            "version": "1",
            "title": "t",
            "kind": "standalone",
            "intended_use": {},
            "task": {"kind": "binary", "reference": "truth", "score": "p"},
            "unit": {},
            "operating_points": [{"name": "primary", "threshold": 0.5}],
            "endpoints": list(endpoints or (goal(SENSITIVITY, 0.5), AREA)),
            "confidence": {"bootstrap": {"replicates": 100}},
            "strata": [{"name": "site", "column": "site"}],
            "seed": 7,
            **more,
        }
    )


def run(p: StudyProtocol, columns: dict[str, list], *, patients: int | None = None):
    """`columns`: truth ("1", "0", ""), p (None: no output) and whatever else the protocol names."""
    n = len(columns["truth"])
    ids = tuple(f"c{i}" for i in range(n))
    frame = pd.DataFrame({"site": ["a"] * n, **{k: v for k, v in columns.items() if k != "p"}}).astype(str)
    score = [math.nan if v is None else v for v in columns["p"]]
    status = ["ok" if v is not None else "failed" for v in columns["p"]]
    table = pd.DataFrame(
        {"case_id": ids, "rater": "device", "condition": None, "status": status, "reason": None, "p": score}
    )
    who = tuple(f"p{i % (patients or n)}" for i in range(n))
    return evaluate_task(p, case_id=ids, patient_id=who, frame=frame, predictions=table)


def cases(*groups: tuple[int, str, float | None], **more: list) -> dict[str, list]:
    """(how many, truth, score) after another."""
    truth = [t for n, t, _ in groups for _ in range(n)]
    score = [s for n, _, s in groups for _ in range(n)]
    return {"truth": truth, "p": score, **more}


def of(results, analysis: str) -> list[Finding]:
    return [f for f in results.findings if f.analysis == analysis]


def one(results, analysis: str, endpoint: str, metric: str, condition: str, **stratum: str) -> Estimate:
    hits = [
        f.estimate
        for f in of(results, analysis)
        if (f.endpoint, f.metric, f.condition, dict(f.stratum)) == (endpoint, metric, condition, stratum)
    ]
    assert len(hits) == 1
    return hits[0]


def test_nothing_is_added_where_nothing_is_asked():
    results = run(protocol(), cases((30, "1", 0.9), (30, "0", 0.1), (5, "", 0.9)))
    assert {f.analysis for f in results.findings} <= {"performance", "calibration", "missing_data"}


# --- sites ----------------------------------------------------------------------------------------------------------


def sites(*counts: tuple[int, int], names: str = "abcdefgh") -> dict[str, list]:
    """(true positives, positives) per site, and ten quiet negatives at each."""
    rows = [
        (truth, score, name)
        for (x, n), name in zip(counts, names, strict=False)
        for truth, score, k in (("1", 0.9, x), ("1", 0.1, n - x), ("0", 0.2, 10))
        for _ in range(k)
    ]
    return {"truth": [r[0] for r in rows], "p": [r[1] for r in rows], "site": [r[2] for r in rows]}


OVER = {"generalisation": {"site": "site", "endpoints": ["sens"]}}


def test_sites_are_pooled_by_hand_when_they_do_not_differ():
    # Equal logits: tau² is 0, and the average is the common proportion whatever the weights.
    results = run(protocol(analyses=OVER), sites((40, 50), (80, 100), (16, 20), (32, 40)))
    average = one(results, "generalisation", "sens", "sensitivity", "average_site")
    new = one(results, "generalisation", "sens", "sensitivity", "new_site")
    assert average.value == pytest.approx(0.8)
    assert new.value == pytest.approx(0.8)
    assert new.low < average.low < 0.8 < average.high < new.high
    assert one(results, "generalisation", "sens", "heterogeneity_i2", "between_sites").value == 0.0
    assert one(results, "generalisation", "sens", "heterogeneity_tau", "between_sites").value == 0.0
    assert average.n == 210
    (test,) = [t for t in results.tests if t.endpoint == "sens" and t.method.startswith("Cochran")]
    assert test.statistic == pytest.approx(0.0, abs=1e-12)
    assert test.p_value == pytest.approx(1.0)


def test_cochrans_q_by_hand_where_sites_differ_and_the_odd_one_is_named():
    counts = ((95, 100), (94, 100), (96, 100), (95, 100), (94, 100), (50, 100))
    results = run(protocol(analyses=OVER), sites(*counts))
    logits = np.array([math.log(x / (n - x)) for x, n in counts])
    weight = np.array([1 / (1 / x + 1 / (n - x)) for x, n in counts])
    q = float(weight @ (logits - weight @ logits / weight.sum()) ** 2)
    (test,) = [t for t in results.tests if t.method.startswith("Cochran")]
    assert test.statistic == pytest.approx(q)
    assert test.p_value < 1e-6
    own = one(results, "generalisation", "sens", "sensitivity", "site", site="f")
    without = one(results, "generalisation", "sens", "sensitivity", "leave_out=f")
    assert (own.numerator, own.denominator) == (50, 100)
    assert without.value == pytest.approx(0.948, abs=0.002)
    assert [n for n in results.notes if "lies outside" in n] == [
        "sens: site 'f' lies outside what the other sites predict for it, its own sampling error allowed for."
    ]


def test_a_site_figure_is_the_figure_of_its_group_with_the_protocols_interval():
    study = protocol(
        goal(SENSITIVITY, 0.5),
        AREA,
        analyses={"generalisation": {"site": "site", "endpoints": ["sens", "area"], "leave_one_out": False}},
        confidence={"proportion": "wilson", "auroc": "logit-delong", "bootstrap": {"replicates": 100}},
    )
    results = run(study, sites((40, 50), (85, 100), (16, 20), (33, 40)))
    assert not [f for f in of(results, "generalisation") if str(f.condition).startswith("leave_out")]
    for name, metric in (("sens", "sensitivity"), ("area", "auroc")):
        for site in "abcd":
            own = one(results, "generalisation", name, metric, "site", site=site)
            group = one(results, "performance", name, metric, None, site=site)
            assert (own.value, own.low, own.high, own.method) == (group.value, group.low, group.high, group.method)


def test_sites_that_cannot_enter_are_named_and_unknown_sites_counted():
    data = sites((40, 50), (85, 100), (0, 0), (33, 40))
    data["site"][-10:] = [""] * 10
    results = run(protocol(analyses=OVER), data)
    assert "site 'c' is not in the model of sens over sites: no reference-positive cases." in results.notes
    assert "10 cases without a recorded 'site' are in no model over sites." in results.notes
    assert one(results, "generalisation", "sens", "sensitivity", "average_site").n == 190


def test_one_site_says_why_there_is_no_model():
    results = run(protocol(analyses=OVER), sites((40, 50)))
    assert "cannot be compared" in one(results, "generalisation", "sens", "sensitivity", "average_site").undefined
    (test,) = [t for t in results.tests if t.method.startswith("Cochran")]
    assert test.p_value is None
    assert test.undefined is not None


def test_missing_outputs_count_as_wrong_within_their_site():
    data = sites((40, 50), (85, 100), (33, 40))
    data["p"][0] = None
    results = run(protocol(analyses=OVER), data)
    assert one(results, "generalisation", "sens", "sensitivity", "site", site="a").numerator == 39


# --- tipping points -------------------------------------------------------------------------------------------------


def search(endpoint: dict, data: dict[str, list], **more: object):
    return run(protocol(endpoint, missing_reference={"primary": "tipping_point"}, **more), data)


def test_the_tipping_point_of_a_share_by_trying_every_number():
    from scipy.stats import beta

    # 95 of 100 found; 20 more called negative and 6 called positive, without a reference.
    data = cases((95, "1", 0.9), (5, "1", 0.1), (40, "0", 0.1), (10, "0", 0.9), (20, "", 0.1), (6, "", 0.9))
    results = search(goal(SENSITIVITY, 0.85), data)
    fails = next(
        wrong
        for wrong in range(27)
        for b in range(max(0, wrong - 6), min(wrong, 20) + 1)
        if beta.ppf(0.025, 95 + 6 - (wrong - b), 5 + b + 1) <= 0.85
    )
    found = one(results, "tipping_point", "sens", "cases_wrong_to_fail", "tipping_point")
    assert (found.value, found.denominator, found.n) == (fails, 26, 26)
    expected = one(results, "tipping_point", "sens", "cases_wrong_expected", "tipping_point")
    assert expected.value == pytest.approx(20 * 5 / 45 + 6 * 10 / 105)
    right = one(results, "tipping_point", "sens", "sensitivity", "all_right")
    assert (right.numerator, right.denominator) == (101, 106)
    wrong = one(results, "tipping_point", "sens", "sensitivity", "all_wrong")
    worst = one(results, "missing_data", "sens", "sensitivity", "missing_reference=worst_case")
    assert (wrong.value, wrong.low, wrong.high) == (worst.value, worst.low, worst.high)


@pytest.mark.parametrize("metric", ["sensitivity", "specificity", "ppv", "npv", "accuracy"])
@pytest.mark.parametrize("policy", ["worst_case", "exclude", "as_negative", "as_positive"])
def test_all_wrong_is_the_worst_case_of_the_primary_analysis(metric, policy):
    data = cases(
        *((60, "1", 0.9), (5, "1", 0.1), (40, "0", 0.1), (10, "0", 0.9), (7, "", 0.1), (4, "", 0.9)),
        *((2, "1", None), (3, "0", None), (2, "", None)),
    )
    results = search(
        goal({"name": "x", "metric": metric, "at": "primary"}, 0.5), data, missing_outputs={"primary": policy}
    )
    wrong = one(results, "tipping_point", "x", metric, "all_wrong")
    worst = one(results, "missing_data", "x", metric, "missing_reference=worst_case")
    assert (wrong.numerator, wrong.denominator) == (worst.numerator, worst.denominator)


def test_a_goal_that_holds_under_every_division_says_so():
    results = search(goal(SENSITIVITY, 0.2), cases((95, "1", 0.9), (5, "1", 0.1), (40, "0", 0.1), (9, "", 0.1)))
    found = one(results, "tipping_point", "sens", "cases_wrong_to_fail", "tipping_point")
    assert found.value is None
    assert "every other division" in found.undefined


def test_the_area_has_the_extremes_of_the_primary_analysis():
    rng = np.random.default_rng(2)
    truth = ["1"] * 30 + ["0"] * 40 + [""] * 6
    score = [*rng.normal(0.7, 0.15, 30), *rng.normal(0.4, 0.15, 40), *rng.normal(0.55, 0.2, 6)]
    results = search(goal(AREA, 0.8), {"truth": truth, "p": list(np.clip(score, 0, 1))})
    for condition, policy in (("all_right", "best_case"), ("all_wrong", "worst_case")):
        mine = one(results, "tipping_point", "area", "auroc", condition)
        theirs = one(results, "missing_data", "area", "auroc", f"missing_reference={policy}")
        assert mine.value == pytest.approx(theirs.value)
    assert one(results, "tipping_point", "area", "cases_wrong_to_fail", "tipping_point").denominator == 7


def test_what_is_not_searched_for_says_why():
    data = cases((60, "1", 0.9), (5, "1", 0.1), (40, "0", 0.1), (9, "", 0.1))
    ppv = {"name": "ppv", "metric": "ppv", "at": "primary", "prevalence": 0.1}
    for endpoint, why in (
        (goal({"name": "x", "metric": "brier"}, 0.1), "with this metric"),
        (goal(ppv, 0.1), "declared prevalence"),
        (goal(SENSITIVITY, 0.5, interval="bca"), "bootstrap"),
    ):
        results = search(endpoint, data)
        assert why in one(results, "tipping_point", endpoint["name"], endpoint["metric"], "all_right").undefined
    study = protocol(goal(SENSITIVITY, 0.5), missing_reference={"primary": "tipping_point"})
    found = one(run(study, data, patients=50), "tipping_point", "sens", "sensitivity", "all_right")
    assert "several cases per patient" in found.undefined


# --- sampling weights -----------------------------------------------------------------------------------------------


def test_weights_of_one_change_nothing_and_unequal_ones_are_averages_by_hand():
    data = cases((40, "1", 0.9), (10, "1", 0.1), (30, "0", 0.1), (20, "0", 0.9))
    study = protocol(analyses={"weighting": {}})
    equal = run(study, {**data, "sample_weight": ["1"] * 100})
    uneven = run(study, {**data, "sample_weight": ["1"] * 50 + ["9"] * 50})
    for name in ("sens", "specificity", "ppv", "npv"):
        metric = "sensitivity" if name == "sens" else name
        plain = one(equal, "performance", name, metric, None)
        same = one(equal, "weighting", name, metric, "weighted")
        assert (same.value, same.low, same.high) == (plain.value, plain.low, plain.high)
    assert one(uneven, "weighting", "ppv", "ppv", "weighted").value == pytest.approx(40 / (40 + 9 * 20))
    assert one(uneven, "weighting", "npv", "npv", "weighted").value == pytest.approx(9 * 30 / (10 + 9 * 30))
    brier = (40 * 0.01 + 10 * 0.81 + 9 * (30 * 0.01 + 20 * 0.81)) / 500
    assert one(uneven, "weighting", "brier", "brier", "weighted").value == pytest.approx(brier)
    area = one(uneven, "weighting", "area", "auroc", "weighted").value
    assert area == pytest.approx(one(uneven, "performance", "area", "auroc", None).value)
    assert any("Criteria are judged on the set as it is" in n for n in uneven.notes)
    assert not any("these estimates are of the set as it is, unweighted" in n for n in uneven.notes)


def test_weights_that_are_not_asked_for_are_said_to_be_unused():
    data = cases((40, "1", 0.9), (30, "0", 0.1), sample_weight=["2"] * 70)
    assert any("unweighted" in n for n in run(protocol(), data).notes)
    with pytest.raises(InputError, match="sample_weight"):
        run(protocol(analyses={"weighting": {}}), cases((40, "1", 0.9), (30, "0", 0.1)))


def test_weighted_figures_without_a_positive_call_or_a_class_have_a_reason():
    study = protocol(analyses={"weighting": {}})
    silent = run(study, cases((20, "1", 0.2), (30, "0", 0.1), sample_weight=["1"] * 20 + ["3"] * 30))
    assert one(silent, "weighting", "ppv", "ppv", "weighted").undefined is not None
    none = run(study, cases((30, "0", 0.1), sample_weight=["1", "3"] * 15))
    assert "no reference-positive" in one(none, "weighting", "area", "auroc", "weighted").undefined


# --- partial verification -------------------------------------------------------------------------------------------


def scintigraphy() -> dict[str, list]:
    # Drum & Christacopoulos (1972), as in Zhou, Obuchowski & McClish (2011): corrected .836 and .738.
    groups = ((231, "1", 0.9, 1), (32, "0", 0.9, 1), (166, "", 0.9, 0))
    groups += ((27, "1", 0.1, 1), (54, "0", 0.1, 1), (140, "", 0.1, 0))
    rows = [(t, s, str(v)) for n, t, s, v in groups for _ in range(n)]
    return {"truth": [r[0] for r in rows], "p": [r[1] for r in rows], "checked": [r[2] for r in rows]}


CHECKED = {"verification": {"verified": "checked"}}


def test_the_published_correction():
    results = run(protocol(analyses=CHECKED), scintigraphy())

    def value(metric: str, condition: str) -> float | None:
        hits = [f for f in of(results, "verification_bias") if (f.metric, f.condition) == (metric, condition)]
        assert len(hits) == 1
        assert hits[0].role == "secondary"
        return hits[0].estimate.value

    assert value("sensitivity", "corrected") == pytest.approx(0.836, abs=5e-4)
    assert value("specificity", "corrected") == pytest.approx(0.738, abs=5e-4)
    assert value("sensitivity", "verified_only") == pytest.approx(231 / 258)
    assert value("specificity", "verified_only") == pytest.approx(54 / 86)
    assert value("verified_among_positive_calls", "verified_only") == pytest.approx(263 / 429)
    assert any("no criterion is judged on them" in n for n in results.notes)


def test_contradictions_are_counted_and_cases_without_output_left_out():
    data = scintigraphy()
    data["checked"][0] = "0"
    data["checked"][263] = "yes"
    data["p"][1] = None
    results = run(protocol(analyses=CHECKED), data)
    assert sum("marked verified without" in n and n.startswith("1 ") for n in results.notes) == 1
    assert sum("marked as not verified" in n and n.startswith("1 ") for n in results.notes) == 1
    assert sum("no usable output" in n and n.startswith("1 ") for n in results.notes) == 1
    hit = next(f for f in of(results, "verification_bias") if f.condition == "corrected")
    assert hit.estimate.n == 649


def test_a_column_that_says_neither_yes_nor_no_is_refused():
    data = scintigraphy()
    data["checked"][5] = "perhaps"
    with pytest.raises(InputError, match="neither yes nor no") as caught:
        run(protocol(analyses=CHECKED), data)
    assert "perhaps" not in str(caught.value)
    with pytest.raises(InputError, match="no column 'absent'"):
        run(protocol(analyses={"verification": {"verified": "absent"}}), data)


def test_no_output_at_all_leaves_reasons():
    data = {**scintigraphy(), "p": [None] * 650}
    asked = {**CHECKED, "weighting": {}, **OVER}
    results = run(
        protocol(analyses=asked, missing_outputs={"primary": "exclude"}), {**data, "sample_weight": ["1"] * 650}
    )
    for analysis in ("verification_bias", "weighting", "generalisation"):
        found = of(results, analysis)
        assert found
        assert all(f.estimate.undefined is not None for f in found)


def test_a_site_left_out_is_beside_all_others_pooled():
    study = protocol(
        goal(SENSITIVITY, 0.5), analyses=OVER,
        confidence={"proportion": "wilson", "bootstrap": {"replicates": 100}},
    )  # fmt: skip
    # 56 of 70 at a; 20 of 40 and 28 of 40 elsewhere, together 48 of 80: Newcombe 1998, table II (a).
    results = run(study, sites((56, 70), (20, 40), (28, 40)))
    others = one(results, "generalisation", "sens", "sensitivity", "others=a")
    assert (others.numerator, others.denominator) == (48, 80)
    gap = one(results, "generalisation", "sens", "sensitivity_difference", "gap=a", site="a")
    assert (gap.value, round(gap.low, 4), round(gap.high, 4)) == (pytest.approx(0.2), 0.0524, 0.3339)
    alone = run(study, sites((56, 70)))
    assert not [f for f in of(alone, "generalisation") if str(f.condition).startswith(("gap", "others"))]


def test_a_gap_between_sites_that_share_patients_has_no_interval():
    results = run(protocol(goal(SENSITIVITY, 0.5), analyses=OVER), sites((56, 70), (48, 80)), patients=40)
    gap = one(results, "generalisation", "sens", "sensitivity_difference", "gap=a", site="a")
    assert gap.low is None
    assert "patients have cases in both groups" in str(gap.interval_undefined)
