"""A drift audit's evidence: what is compared, who counts, which way it points, and how many alarms it may raise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evalsuite.analyses.common import Results
from evalsuite.analyses.drift import drift_analysis, for_performance
from evalsuite.analyses.drift_periods import EarlierAudit, Figure, Period
from evalsuite.errors import InputError
from evalsuite.protocol.checks import check_protocol
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.stats.sequential import DetectorState, e_detector
from evalsuite.stats.unlabelled import BLIND
from evalsuite.types import Finding

CALENDAR = {"audits": 4, "false_alarm": 0.2}
WATCHED = {"endpoint": "sensitivity", "action": 0.7, "warning": 0.8, "planned_patients": 400}


def study(**drift: Any) -> StudyProtocol:
    asked = {
        "calendar": CALENDAR,
        "covariates": ["scanner", {"column": "age", "kind": "numeric", "range": [0, 120]}],
        "monitor": [WATCHED],
        **drift,
    }
    protocol = StudyProtocol.model_validate(
        {
            "schema": "evalsuite/protocol/1",
            "id": "t",
            "version": "1",
            "title": "t",
            "kind": "drift_audit",
            "intended_use": {},
            "unit": {},
            "task": {"kind": "binary", "reference": "truth", "score": "p"},
            "operating_points": [{"name": "primary", "threshold": 0.5}],
            "endpoints": [
                {
                    "name": "sensitivity",
                    "metric": "sensitivity",
                    "at": "primary",
                    "role": "primary",
                    "interval": "sequence",
                    "criterion": {"bound": "lower", "op": ">", "value": 0.7},
                },
                {"name": "brier", "metric": "brier"},
            ],
            "strata": [{"name": "scanner", "column": "scanner"}],
            "small_strata": {"suppress_below": 5, "flag_below": 10},
            "confidence": {"bootstrap": {"replicates": 100, "interval": "percentile"}},
            "analyses": {"drift": asked},
            "seed": 1,
        }
    )
    assert check_protocol(protocol) == []
    return protocol


def period(
    n: int,
    seed: int,
    *,
    prevalence: float = 0.4,
    sensitivity: float = 0.9,
    new: float = 0.0,
    age: float = 60.0,
    lost: Sequence[int] = (),
    unlabelled: Sequence[int] = (),
    **columns: Sequence[str],
) -> Period:
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < prevalence
    called = rng.random(n) < np.where(positive, sensitivity, 0.1)
    score = np.where(called, rng.uniform(0.55, 0.95, n), rng.uniform(0.05, 0.45, n))
    scanner = np.where(rng.random(n) < new, "new", np.where(rng.random(n) < 0.5, "a", "b"))
    truth = ["" if i in unlabelled else str(int(v)) for i, v in enumerate(positive)]
    status = ["failed" if i in lost else "ok" for i in range(n)]
    ids = tuple(f"{seed}-{i}" for i in range(n))
    frame = pd.DataFrame(
        {"truth": truth, "scanner": scanner, "age": [f"{v:.1f}" for v in rng.normal(age, 10, n)], **columns}
    )
    score = np.where(np.array(status) == "ok", score, np.nan)
    return Period(
        case_id=ids,
        patient_id=ids,
        frame=frame,
        predictions=pd.DataFrame({"case_id": ids, "status": status, "p": score}),
    )


BASELINE = period(400, 1)


def audited(window: Period, protocol: StudyProtocol | None = None, earlier: Sequence[EarlierAudit] = ()) -> Results:
    protocol = protocol or study()
    labelled = for_performance(protocol, window)
    return drift_analysis(protocol, baseline=BASELINE, window=window, labelled=labelled, earlier=earlier)


def statuses(results: Results) -> dict[str, str]:
    return {f.endpoint: str(f.condition) for f in results.findings if f.metric.startswith("indicator_")}


def found(results: Results, endpoint: str, metric: str, **more: Any) -> Finding:
    wanted = {"condition": None, "stratum": {}, **more}
    (one,) = (
        f
        for f in results.findings
        if f.endpoint == endpoint and f.metric == metric and all(getattr(f, k) == v for k, v in wanted.items())
    )
    return one


@pytest.fixture(scope="module")
def stable() -> Results:
    return audited(period(150, 2))


@pytest.fixture(scope="module")
def worse() -> Results:
    return audited(period(300, 3, sensitivity=0.4, new=0.3, lost=(0, 1)))


def test_a_window_like_the_baseline_raises_nothing(stable: Results) -> None:
    assert set(statuses(stable).values()) == {"normal"}
    assert all(t.p_adjusted is None or t.p_adjusted > 0.025 for t in stable.tests)


def test_every_change_is_named_and_points_the_right_way(worse: Results) -> None:
    said = statuses(worse)
    assert said["Input: scanner"] == "action"
    assert said["Unseen groups of scanner"] == "warning"
    assert said["Input: age"] == "normal"
    assert said["Output: calls"] == "action"
    assert said["Performance: sensitivity"] == "action"
    difference = found(worse, "sensitivity", "sensitivity_difference", reference_group="baseline").estimate
    assert difference.high is not None
    assert difference.high < 0
    # Fewer calls on the same population look like fewer diseased: the estimate without labels says so, and is no pass.
    assert any(BLIND in note for note in worse.notes)
    from_calls = found(worse, "prevalence", "prevalence", condition="from_calls").estimate
    counted = found(worse, "prevalence", "prevalence", condition="window").estimate
    assert from_calls.value is not None
    assert counted.value is not None
    assert from_calls.value < counted.value - 0.1


def test_what_is_missing_counts_against_the_window_and_for_the_baseline() -> None:
    whole = period(200, 4)
    positives = [i for i, t in enumerate(whole.frame["truth"]) if t == "1"][:10]
    gaps = period(200, 4, lost=positives)
    protocol = study()
    same = drift_analysis(protocol, baseline=whole, window=whole, labelled=whole)
    against = drift_analysis(protocol, baseline=whole, window=gaps, labelled=gaps)
    for_it = drift_analysis(protocol, baseline=gaps, window=whole, labelled=whole)

    def value(results: Results, condition: str) -> float:
        made = found(results, "sensitivity", "sensitivity", condition=condition, operating_point="primary").estimate
        assert made.value is not None
        return made.value

    assert value(same, "window") == value(same, "baseline")
    assert value(against, "window") < value(same, "window")
    assert value(for_it, "baseline") >= value(same, "baseline")


def test_parts_of_a_change_add_up_to_it(worse: Results) -> None:
    window = period(300, 3, sensitivity=0.4)
    results = audited(window)
    parts = [
        f.estimate.value or 0.0
        for f in results.findings
        if f.metric == "sensitivity_difference" and f.condition in ("within", "mix")
    ]
    whole = found(results, "sensitivity", "sensitivity_difference", reference_group="baseline").estimate
    assert len(parts) == 4
    assert sum(parts) == pytest.approx(whole.value, abs=1e-12)


def test_a_detector_goes_on_where_the_last_audit_stopped() -> None:
    protocol = study()
    windows = [period(80, seed, sensitivity=0.65) for seed in (5, 6)]
    first = audited(windows[0], protocol)
    state = next(c for c in first.curves if c.kind == "detector_state")
    left = EarlierAudit(
        figures={"sensitivity": Figure(value=0.6, n=30)},
        detectors={"sensitivity": DetectorState(log_processes=state.y, seen=int(str(state.n)))},
    )
    second = audited(windows[1], protocol, [left])
    path = next(c for c in second.curves if c.kind == "detector")
    calls: list[float] = []
    for w in windows:
        positive = (w.frame["truth"] == "1").to_numpy()
        calls += list((w.predictions["p"].to_numpy()[positive] >= 0.5).astype(float))
    block = protocol.analyses.drift
    assert block is not None
    whole = e_detector(calls, np.ones(len(calls)), limit=0.7, planned=400, false_alarm=block.alpha_detector)
    assert path.y == pytest.approx(whole.log_evidence[-len(path.y) :], rel=1e-12)
    assert path.x[-1] == len(calls)
    series = next(c for c in second.curves if c.kind == "audit_series" and c.metric == "sensitivity")
    assert series.x == (1.0, 2.0)
    assert series.y[0] == 0.6


def test_an_alarm_stays_until_the_calendar_ends() -> None:
    left = EarlierAudit(alarmed=("sensitivity",))
    assert statuses(audited(period(60, 7), earlier=[left]))["Performance: sensitivity"] == "action"


def test_more_patients_than_planned_are_not_watched_silently() -> None:
    results = audited(period(150, 8), study(monitor=[{**WATCHED, "planned_patients": 20}]))
    assert statuses(results)["Performance: sensitivity"] == "not assessed"
    (test,) = (t for t in results.tests if t.endpoint is None and "below" in t.name)
    assert "20 were planned" in str(test.undefined)
    # A window that is below the limit by itself is never hidden behind that.
    poor = audited(period(150, 8, sensitivity=0.3), study(monitor=[{**WATCHED, "planned_patients": 20}]))
    assert statuses(poor)["Performance: sensitivity"] == "action"


def test_without_labels_nothing_is_known_of_performance() -> None:
    results = audited(period(100, 9, unlabelled=range(100)))
    assert statuses(results)["Performance: sensitivity"] == "not assessed"
    assert found(results, "expected sensitivity", "sensitivity", condition="without_labels").estimate.value is not None


def test_performance_is_of_the_cases_chosen_for_labels_and_inputs_of_all() -> None:
    protocol = study(labelled="chosen")
    chosen = ["yes" if i % 2 else "" for i in range(100)]
    window = period(100, 10, unlabelled=range(0, 100, 2), chosen=chosen)
    labelled = for_performance(protocol, window)
    assert labelled.n == 50
    assert all(labelled.frame["truth"] != "")
    nobody = period(20, 11, chosen=["0"] * 20)
    assert set(for_performance(protocol, nobody).frame["truth"]) == {""}
    with pytest.raises(InputError, match="neither yes nor no"):
        for_performance(protocol, period(2, 12, chosen=["perhaps", "1"]))


def test_a_column_of_numbers_has_numbers() -> None:
    window = period(30, 13, age=60.0)
    spoilt = Period(
        case_id=window.case_id,
        patient_id=window.patient_id,
        frame=window.frame.assign(age=["old", *window.frame["age"][1:]]),
        predictions=window.predictions,
    )
    with pytest.raises(InputError, match="1 cells of 'age'"):
        audited(spoilt)


def test_values_out_of_range_and_repeated_cases_are_counted() -> None:
    window = period(60, 14)
    twice = Period(
        case_id=window.case_id,
        patient_id=(window.patient_id[0], window.patient_id[0], *window.patient_id[2:]),
        frame=pd.concat([window.frame[:1], window.frame[:1], window.frame[2:]], ignore_index=True).assign(
            age=["60", "60", "400", *window.frame["age"][3:]]
        ),
        predictions=pd.concat([window.predictions[:1], window.predictions[:1], window.predictions[2:]]).assign(
            case_id=list(window.case_id)
        ),
    )
    said = statuses(audited(twice))
    assert said["age out of range"] == "warning"
    assert said["Cases that look like another"] == "warning"


def test_embeddings_that_moved_raise_an_alarm() -> None:
    rng = np.random.default_rng(15)

    def with_embedding(p: Period, shift: float) -> Period:
        table = p.predictions.assign(e0=rng.normal(shift, 1, p.n), e1=rng.normal(0, 1, p.n))
        return Period(case_id=p.case_id, patient_id=p.patient_id, frame=p.frame, predictions=table)

    protocol = study(embeddings=["e0", "e1"], monitor=[], calendar={"audits": 1, "false_alarm": 0.2})
    base = with_embedding(period(80, 16), 0.0)
    for shift, status in ((0.0, "normal"), (1.5, "action")):
        window = with_embedding(period(60, 17), shift)
        results = drift_analysis(protocol, baseline=base, window=window, labelled=window)
        assert statuses(results)["Input: embedding"] == status
    with pytest.raises(InputError, match="e0, e1"):
        audited(period(10, 18), protocol)
    every = study(embeddings=["e*"], monitor=[], calendar={"audits": 1, "false_alarm": 0.2})
    moved = with_embedding(period(60, 17), 1.5)
    results = drift_analysis(every, baseline=base, window=moved, labelled=moved)
    assert statuses(results)["Input: embedding"] == "action"
    part = replace(moved, predictions=moved.predictions.drop(columns="e1"))
    with pytest.raises(InputError, match="embedding: e1"):  # never a part of it alone
        drift_analysis(every, baseline=base, window=part, labelled=part)


def test_driftless_years_seldom_raise_an_alarm() -> None:
    """A tiny version of the campaign (`make campaign-drift`): six years under a budget of one in five."""
    protocol = study(covariates=["scanner"], calendar={"audits": 3, "false_alarm": 0.2})
    years = 0
    for year in range(6):
        base = period(120, 1000 + year)
        alarmed = False
        left: list[EarlierAudit] = []
        for month in range(3):
            window = period(60, 2000 + 10 * year + month)
            results = drift_analysis(protocol, baseline=base, window=window, labelled=window, earlier=left)
            alarmed |= any(
                status == "action" and name.split(":")[0] in ("Input", "Output", "Performance")
                for name, status in statuses(results).items()
            )
            state = next(c for c in results.curves if c.kind == "detector_state")
            left.append(
                EarlierAudit(detectors={"sensitivity": DetectorState(log_processes=state.y, seen=int(str(state.n)))})
            )
        years += alarmed
    assert years <= 3  # the chance of more is below 2 % at the budget's edge, and the draws are fixed


def test_a_prevalence_that_no_calls_allow_is_not_estimable() -> None:
    """Calls rarer than the baseline's false positives: solved for prevalence they would give less than none."""
    silent = audited(period(300, 3, sensitivity=0.0))
    from_calls = found(silent, "prevalence", "prevalence", condition="from_calls").estimate
    assert from_calls.value is None
    assert "more than the prevalence changed" in (from_calls.undefined or "")
