"""Degraded images: paired changes worked out by hand, where a criterion is lost, and what is said of the sample."""

from __future__ import annotations

import pandas as pd
import pytest

from evalsuite.analyses.robustness import clears, robustness_figures
from evalsuite.analyses.tasks import evaluate_task
from evalsuite.errors import InputError
from evalsuite.protocol.robustness import conditions_of, endpoints_of
from evalsuite.protocol.schema import Criterion, StudyProtocol
from evalsuite.protocol.support import unsupported
from evalsuite.types import Estimate
from tests.unit.analyses.test_beside_performance import SENSITIVITY, goal, protocol
from tests.unit.protocol.test_analysis_blocks import only, parse

BLOCK = {"modality": "xray", "perturbations": ["dose"], "severities": [1, 2, 3], "symmetric": ["flip_horizontal"]}
N = 60
POSITIVE = 30
#: Of 30 positive cases at .9 each, how many fall below the threshold at each severity.
LOST = {"dose/1": 0, "dose/2": 6, "dose/3": 15}


def asking(**more: object) -> StudyProtocol:
    return protocol(goal(SENSITIVITY, 0.7), analyses={"robustness": {**BLOCK, **more}})


def made(lost: dict[str, int] | None = None, *, sample: int = N):
    """Everything `robustness_figures` takes: a perfect device, and conditions that lose some positives."""
    ids = [f"c{i}" for i in range(N)]
    frame = pd.DataFrame({"truth": ["1"] * POSITIVE + ["0"] * POSITIVE, "site": ["a", "b"] * (N // 2)})
    clean = [0.9] * POSITIVE + [0.1] * POSITIVE

    def table(name: str | None, scores: list[float | None], cases: list[str]) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "case_id": cases,
                "rater": "device",
                "condition": name,
                "status": ["failed" if s is None else "ok" for s in scores],
                "reason": None,
                "p": [float("nan") if s is None else s for s in scores],
            }
        )

    rows = []
    changed = {"identity": 0, "flip_horizontal": 0, **(LOST if lost is None else lost)}
    for name, k in changed.items():
        scores: list[float | None] = [0.4 if i < k else s for i, s in enumerate(clean)]
        # The last of them first: rows of a condition may come in any order.
        rows.append(table(name, scores[:sample][::-1], ids[:sample][::-1]))
    return {
        "case_id": tuple(ids),
        "patient_id": tuple(f"p{i}" for i in range(N)),
        "frame": frame,
        "predictions": table(None, clean, ids),
        "conditions": pd.concat(rows, ignore_index=True),
    }


def figures(p: StudyProtocol | None = None, **cases: object):
    return robustness_figures(p or asking(), **{**made(), **cases}, evaluate=evaluate_task)


def one(results, endpoint: str, metric: str, condition: str, group: str | None = "clean images", **stratum: str):
    (hit,) = [
        f.estimate
        for f in results.findings
        if (f.endpoint, f.metric, f.condition, f.reference_group, dict(f.stratum))
        == (endpoint, metric, condition, group, stratum)
    ]
    return hit


def test_changes_are_those_of_the_same_cases():
    results = figures()
    assert {f.analysis for f in results.findings} == {"robustness"}
    for name, k in LOST.items():
        assert one(results, "sens", "sensitivity", name, None).value == pytest.approx(1 - k / 30)
        assert one(results, "sens", "sensitivity_difference", name).value == pytest.approx(-k / 30)
        assert one(results, "answers", "flip_rate", name).numerator == k
        assert one(results, "answers", "score_change", name).value == pytest.approx(-0.5 * k / N)
        assert one(results, "answers", "absolute_score_change", name).value == pytest.approx(0.5 * k / N)
    assert one(results, "sens", "sensitivity", "clean images", None).value == 1.0
    assert one(results, "answers", "largest_score_change", "identity").value == 0.0
    assert one(results, "answers", "flip_rate", "flip_horizontal").value == 0.0


def test_changes_are_given_in_groups():
    results = figures()
    assert one(results, "answers", "flip_rate", "dose/3", site="a").numerator == 8
    assert one(results, "sens", "sensitivity_difference", "dose/3", site="a").value == pytest.approx(-8 / 15)
    none = figures(asking(groups=[]))
    assert not [f for f in none.findings if f.stratum]


def test_the_severity_at_which_the_criterion_is_lost():
    # 24 of 30 has a lower limit of .614, below the goal of .7; 30 of 30 one of .884.
    assert one(figures(), "sens", "criterion_lost_at", "dose", None).value == 2.0
    kept = figures(**made({"dose/1": 0, "dose/2": 0, "dose/3": 1}))
    assert "kept at every severity" in str(one(kept, "sens", "criterion_lost_at", "dose", None).undefined)
    few = figures(**made(sample=8))
    assert "unchanged images of this sample" in str(one(few, "sens", "criterion_lost_at", "dose", None).undefined)


def test_a_sample_is_compared_with_its_own_cases_only():
    results = figures(**made(sample=20))
    assert one(results, "answers", "flip_rate", "dose/3").n == 20
    assert one(results, "sens", "sensitivity", "clean images", None).n == 20
    assert any("20 of 60 cases" in n for n in results.notes)


def test_a_missing_answer_is_another_answer_and_the_worst_case():
    cases = made()
    table = cases["conditions"]
    row = (table["condition"] == "dose/1") & (table["case_id"] == "c0")
    table.loc[row, ["status", "p"]] = ["failed", float("nan")]
    results = figures(**cases)
    assert one(results, "answers", "flip_rate", "dose/1").numerator == 1
    assert one(results, "answers", "score_change", "dose/1").n == N - 1
    assert one(results, "sens", "sensitivity", "dose/1", None).value == pytest.approx(29 / 30)


def test_answers_that_are_not_there_are_no_silent_omission():
    cases = made()
    cases["conditions"] = cases["conditions"][cases["conditions"]["condition"] != "dose/2"]
    with pytest.raises(InputError, match="dose/2"):
        figures(**cases)


def test_nothing_is_added_where_nothing_is_asked():
    assert not figures(protocol(goal(SENSITIVITY, 0.7))).findings


def test_classes_have_flips_and_changes_of_accuracy():
    task = {"kind": "multiclass", "reference": "truth", "classes": ["x", "y", "z"], "score": ["a", "b", "c"]}
    p = protocol(
        {"name": "acc", "metric": "accuracy"}, task=task, operating_points=[],
        analyses={"robustness": {**BLOCK, "symmetric": [], "severities": [3], "groups": []}},
    )  # fmt: skip
    ids = [f"c{i}" for i in range(40)]
    frame = pd.DataFrame({"truth": ["x", "y"] * 20, "site": ["s"] * 40})

    def table(name: str | None, wrong: int) -> pd.DataFrame:
        right = [[0.8, 0.1, 0.1] if i % 2 == 0 else [0.1, 0.8, 0.1] for i in range(40)]
        rows = [[0.1, 0.1, 0.8] if i < wrong else r for i, r in enumerate(right)]
        columns = dict(zip("abc", zip(*rows, strict=True), strict=True))
        base = {"case_id": ids, "rater": "device", "condition": name, "status": "ok", "reason": None}
        return pd.DataFrame({**base, **columns})

    results = robustness_figures(
        p, case_id=tuple(ids), patient_id=tuple(ids), frame=frame, predictions=table(None, 0),
        conditions=pd.concat([table("identity", 0), table("dose/3", 10)]), evaluate=evaluate_task,
    )  # fmt: skip
    assert one(results, "answers", "flip_rate", "dose/3").numerator == 10
    assert one(results, "acc", "accuracy_difference", "dose/3").value == pytest.approx(-0.25)


def test_a_bound_clears_a_goal_as_the_verdict_has_it():
    estimate = Estimate(value=0.8, low=0.7, high=0.9, method="m", n=10)
    assert clears(estimate, Criterion(bound="lower", op=">", value=0.69))
    assert not clears(estimate, Criterion(bound="lower", op=">", value=0.7))
    assert clears(estimate, Criterion(bound="lower", op=">=", value=0.7))
    assert clears(estimate, Criterion(bound="upper", op="<", value=0.91))
    assert not clears(Estimate.not_estimable("none", n=0), Criterion(bound="upper", op="<", value=0.91))


# --- the block ------------------------------------------------------------------------------------------------------


def test_the_block_asks_for_the_whole_ladder_and_the_primary_endpoints():
    p = parse({"robustness": {"modality": "xray"}})
    asked = p.analyses.robustness
    assert asked is not None
    assert len(conditions_of(asked)) == 1 + 7 * 5
    assert [e.name for e in endpoints_of(p)] == ["area"]
    assert conditions_of(asked)[1].amount == "40 dB PSNR"
    assert not unsupported(p, ["auroc", "brier", "ppv"])


@pytest.mark.parametrize(
    ("block", "path", "words"),
    [
        ({"perturbations": ["does"]}, "analyses.robustness.perturbations[0]", "did you mean 'dose'"),
        ({"perturbations": ["rician"]}, "analyses.robustness.perturbations[0]", "no ladder 'rician' of xray"),
        ({"perturbations": ["dose", "dose"]}, "analyses.robustness.perturbations[1]", "twice"),
        ({"at": "primery"}, "analyses.robustness.at", "did you mean 'primary'"),
        ({"endpoints": ["aria"]}, "analyses.robustness.endpoints[0]", "did you mean 'area'"),
        ({"groups": ["both"]}, "analyses.robustness.groups[0]", "cross"),
        ({"severities": [6]}, "analyses.robustness.severities[0]", ""),
        ({"modality": "x-ray"}, "analyses.robustness.modality", ""),
    ],
)
def test_what_cannot_be_is_refused_at_its_place(block, path, words):
    problem = only({"robustness": {"modality": "xray", **block}})
    assert problem.where == path
    assert words in f"{problem.what} {problem.hint}"
