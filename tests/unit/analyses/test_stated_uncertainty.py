"""Stated uncertainty as a protocol asks for it: who counts, what is promised to whom, what is said where nothing is."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from evalsuite.analyses.tasks import evaluate_task
from evalsuite.errors import InputError, ProtocolError
from evalsuite.protocol.source_checks import analysis_columns
from evalsuite.protocol.support import unsupported
from tests.unit.analyses.test_beside_performance import AREA, of, protocol, run
from tests.unit.protocol.test_analysis_blocks import only, parse

STRATA = [{"name": "site", "column": "site"}]


def asking(block: dict, **more: object):
    return protocol(AREA, analyses={"uncertainty": block}, strata=STRATA, **more)


def figure(results, metric: str, condition: str | None = None, **stratum: str):
    (hit,) = [
        f.estimate
        for f in of(results, "uncertainty")
        if (f.metric, f.condition, dict(f.stratum)) == (metric, condition, stratum)
    ]
    return hit


def compared(results):
    return {tuple(t.stratum.items()): t for t in results.tests if t.endpoint == "conformal prediction"}


# --- selective ------------------------------------------------------------------------------------------------------

FIVE = {"truth": ["1", "1", "0", "1", "0"], "p": [0.95, 0.9, 0.2, 0.4, 0.55]}


def test_confidence_is_the_distance_from_the_threshold():
    results = run(asking({"selective": {"coverages": [0.6, 1.0]}}), FIVE)
    assert figure(results, "aurc").value == pytest.approx(0.13)
    assert figure(results, "selective_risk", "coverage 0.6").value == 0.0
    assert figure(results, "selective_risk", "coverage 1").value == pytest.approx(0.4)
    (line, *_) = [c for c in results.curves if c.kind == "risk_coverage"]
    assert line.y[-1] == pytest.approx(0.4)
    assert "not assessable" in str(figure(results, "aurc", site="a").undefined)


def test_cases_without_output_or_reference_are_left_out_and_counted():
    more = {"truth": [*FIVE["truth"], "", "1"], "p": [*FIVE["p"], 0.9, None]}
    results = run(asking({"selective": {}}), more)
    assert figure(results, "aurc").value == pytest.approx(0.13)
    assert any("2 of 7 cases" in n for n in results.notes)


def predicted(p, columns: dict[str, list], outputs: dict[str, list], patients: list[str] | None = None):
    n = len(columns["truth"])
    ids = tuple(f"c{i}" for i in range(n))
    table = pd.DataFrame(
        {"case_id": ids, "rater": "device", "condition": None, "status": "ok", "reason": None, **outputs}
    )
    frame = pd.DataFrame(columns).astype(str)
    who = tuple(patients or [f"p{i}" for i in range(n)])
    return evaluate_task(p, case_id=ids, patient_id=who, frame=frame, predictions=table)


def test_an_output_may_say_how_sure_the_device_is():
    columns = {"truth": FIVE["truth"], "site": ["a"] * 5}
    block = {"selective": {"confidence": "variance", "higher_is": "less_sure"}}
    outputs = {"p": FIVE["p"], "variance": [4.0, 3.0, 5.0, 2.0, 1.0]}
    worst = (1 + 1 + 2 / 3 + 2 / 4 + 2 / 5) / 5
    assert figure(predicted(asking(block), columns, outputs), "aurc").value == pytest.approx(worst)
    outputs["variance"][2] = math.nan
    results = predicted(asking(block), columns, outputs)
    assert figure(results, "aurc").n == 4
    assert any("1 cases have no confidence" in n for n in results.notes)
    with pytest.raises(InputError, match="variance"):
        predicted(asking(block), columns, {"p": FIVE["p"]})


def test_classes_are_as_sure_as_their_output():
    task = {
        "kind": "multiclass", "reference": "truth", "classes": ["a", "b", "c"],
        "score": ["p_a", "p_b", "p_c"]
    }  # fmt: skip
    p = asking(
        {"selective": {"coverages": [0.5]}, "conformal": {"calibration": {"share": 0.5}, "alpha": 0.4}},
        task=task, operating_points=[], endpoints=[{"name": "accuracy", "metric": "accuracy"}],
    )  # fmt: skip
    sure = [0.9, 0.8, 0.7, 0.6]
    columns = {"truth": ["a", "a", "b", "b"], "site": ["x"] * 4}
    results = predicted(p, columns, {"p_a": sure, "p_b": [1 - s for s in sure], "p_c": [0.0] * 4})
    assert figure(results, "selective_risk", "coverage 0.5").value == 0.0
    assert figure(results, "aurc").value == pytest.approx((1 / 3 + 2 / 4) / 4)


# --- conformal ------------------------------------------------------------------------------------------------------


def honest(n: int, seed: int = 0, patients: int | None = None):
    rng = np.random.default_rng(seed)
    p = np.round(rng.beta(0.6, 0.6, n), 4)
    truth = (rng.random(n) < p).astype(int)
    return {"truth": [str(t) for t in truth], "p": p.tolist(), "site": ["a", "b"] * (n // 2)}


def test_coverage_of_an_honest_device_lies_in_the_band():
    results = run(asking({"conformal": {}}), honest(800))
    seen, expected = figure(results, "conformal_coverage"), figure(results, "conformal_expected")
    assert expected.low < seen.value < expected.high
    assert expected.method == "beta-binomial, 400 cases, Beta(361, 40)"
    assert compared(results)[()].p_value > 0.01
    assert figure(results, "conformal_set_size").value == pytest.approx(
        2.0 - figure(results, "conformal_single").value - 2.0 * figure(results, "conformal_empty").value
    )


def test_the_draw_does_not_depend_on_the_order_of_cases():
    data = honest(200)
    turned = {k: v[::-1] for k, v in data.items()}
    n = len(data["truth"])
    p = asking({"conformal": {}})
    names = [f"p{i}" for i in range(n)]
    first = predicted(p, {k: data[k] for k in ("truth", "site")}, {"p": data["p"]}, names)
    second = predicted(p, {k: turned[k] for k in ("truth", "site")}, {"p": turned["p"]}, names[::-1])
    assert figure(first, "conformal_coverage").numerator == figure(second, "conformal_coverage").numerator


def test_groups_have_a_band_only_where_they_were_calibrated_apart():
    results = run(asking({"conformal": {}}), honest(400))
    assert "nothing is promised" in str(compared(results)[("site", "a"),].undefined)
    assert not [f for f in of(results, "uncertainty") if f.metric == "conformal_expected" and f.stratum]
    apart = run(asking({"conformal": {"per_group": "site"}}), honest(400))
    assert compared(apart)[("site", "a"),].p_value is not None
    assert compared(apart)[()].p_value is None


def test_several_cases_per_patient_have_a_clustered_interval_and_no_band():
    results = run(asking({"conformal": {}}), honest(400), patients=100)
    assert "several cases per patient" in str(compared(results)[()].undefined)
    assert figure(results, "conformal_coverage").design_effect is not None


def test_too_few_calibration_cases_leave_every_answer_in():
    results = run(asking({"conformal": {"alpha": 0.01}}), honest(60))
    assert figure(results, "conformal_set_size").value == 2.0
    assert any("need 99 calibration cases" in n for n in results.notes)


def test_a_column_may_say_who_calibrates():
    data = {**honest(400), "part": ["calibrate"] * 200 + ["try"] * 200}
    p = asking({"conformal": {"calibration": {"column": "part", "value": "calibrate"}}})
    assert analysis_columns(p) == {"part": "analyses.uncertainty.conformal.calibration.column"}
    assert figure(run(p, data), "conformal_coverage").n == 200
    with pytest.raises(InputError, match="patients have cases in both parts"):
        run(p, data, patients=150)
    with pytest.raises(InputError, match="every usable case"):
        run(p, {**data, "part": ["calibrate"] * 400})


def test_sets_need_a_probability():
    results = run(asking({"conformal": {}}), {"truth": ["1", "0"] * 10, "p": [3.0, -1.0] * 10})
    assert not of(results, "uncertainty")
    assert any("there are no sets" in n for n in results.notes)


# --- unfamiliar cases -----------------------------------------------------------------------------------------------


def strangers(n: int = 120):
    rng = np.random.default_rng(4)
    site = ["b" if i % 4 == 0 else "a" for i in range(n)]
    odd = np.array([s == "b" for s in site])
    emb = rng.normal(1.0, 0.3, (n, 3))
    emb[odd, 0] -= 4.0
    p = np.where(odd, 0.5, 0.9)
    columns = {"truth": ["1", "0"] * (n // 2), "site": site}
    return columns, {"p": p, **{f"emb_{j}": emb[:, j] for j in range(3)}, "logit": np.where(odd, 0.0, 4.0)}


def outliers(**more: object) -> dict:
    scores = ["max_softmax", "energy", "mahalanobis", "neighbours"]
    return {
        "outliers": {
            "stratum": "site", "groups": ["b"], "scores": scores, "logits": ["logit"], "embedding": ["emb_*"], **more
        }
    }  # fmt: skip


def test_every_score_finds_cases_that_are_plainly_strange():
    columns, outputs = strangers()
    results = predicted(asking(outliers()), columns, outputs)
    for score in ("max_softmax", "energy", "mahalanobis", "neighbours"):
        found = figure(results, "ood_auroc", score)
        assert found.value == 1.0
        assert found.low < 1.0
        assert (found.n, found.n_positive) == (75, 30)  # half of 90 familiar patients were fitted to
        assert figure(results, "ood_fpr95", score).value == pytest.approx(0.0, abs=1e-9)


def test_what_a_score_lacks_is_said():
    columns, outputs = strangers()
    few = predicted(asking(outliers(neighbours=80)), columns, outputs)
    assert "fewer than 80" in str(figure(few, "ood_auroc", "neighbours").undefined)
    with pytest.raises(InputError, match="not in the set: c"):
        predicted(asking(outliers(groups=["c"])), columns, outputs)
    with pytest.raises(InputError, match="feature_"):
        predicted(asking(outliers(embedding=["feature_*"])), columns, outputs)


# --- the block ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "path", "words"),
    [
        ({}, "analyses.uncertainty", "asks for nothing"),
        ({"selective": {"at": "primery"}}, "analyses.uncertainty.selective.at", "did you mean 'primary'"),
        ({"conformal": {"groups": ["both"]}}, "analyses.uncertainty.conformal.groups[0]", "cross"),
        ({"conformal": {"per_group": "sitte"}}, "analyses.uncertainty.conformal.per_group", "did you mean 'site'"),
        ({"conformal": {"calibration": {"column": "c"}}}, "analyses.uncertainty.conformal.calibration", "together"),
        (outliers(logits=[]), "analyses.uncertainty.outliers.logits", "none is named"),
        (outliers(embedding=[]), "analyses.uncertainty.outliers.embedding", "emb_*"),
    ],
)
def test_what_cannot_be_is_refused_at_its_place(block, path, words):
    problem = only({"uncertainty": block})
    assert problem.where == path
    assert words in f"{problem.what} {problem.hint}"


def test_a_column_that_means_something_else_is_refused():
    block = {"conformal": {"calibration": {"column": "truth", "value": 1}}}
    assert only({"uncertainty": block}).where.endswith("calibration.column")


def test_other_tasks_are_told_so():
    p = parse({"uncertainty": {"selective": {}}})
    assert not unsupported(p, ["auroc", "brier", "ppv"])
    other = p.model_copy(update={"task": p.task.model_copy(update={"kind": "regression"})})
    assert any(x.where == "analyses.uncertainty" for x in unsupported(other, ["auroc", "brier", "ppv"]))
    with pytest.raises(ProtocolError):
        parse({"uncertainty": {"selectiv": {}}})
