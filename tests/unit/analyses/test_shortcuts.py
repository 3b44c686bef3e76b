"""Shortcut tests: paired changes worked out by hand, and the verdict in both directions."""

from __future__ import annotations

import pandas as pd
import pytest

from evalsuite.analyses.shortcuts import shortcut_figures
from evalsuite.analyses.tasks import evaluate_task
from evalsuite.errors import InputError
from evalsuite.protocol.checks import check_protocol
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.protocol.shortcuts import NO_REGION, NO_ROOM
from evalsuite.protocol.support import unsupported
from tests.unit.analyses.test_beside_performance import SENSITIVITY, goal, protocol

N = 80
MARKED = 40
MARGINS = {"score": 0.05, "sens": 0.1, "calls": 0.1}


def asking(margins: dict[str, float] | None = None, **more: object) -> StudyProtocol:
    shortcut = {"name": "tag", "region": {"text": True}, "change": "remove", "margins": margins or MARGINS}
    return protocol(goal(SENSITIVITY, 0.7), analyses={"interpretability": {"shortcuts": [shortcut], **more}})


def made(change: float, control: float = 0.0, *, spread: float = 0.02):
    """The first 40 of 80 cases have the region; every answer to them moves by `change`, a little more or less."""
    ids = [f"c{i}" for i in range(N)]
    frame = pd.DataFrame({"truth": ["1", "0"] * (N // 2), "site": ["a", "a", "b", "b"] * (N // 4)})
    clean = [0.7 if i % 2 == 0 else 0.3 for i in range(N)]

    def table(name: str | None, by: float) -> pd.DataFrame:
        wobble = [spread * ((i * 7) % 5 - 2) / 2 for i in range(N)]
        there = [name is None or i < MARKED for i in range(N)]
        return pd.DataFrame(
            {
                "case_id": ids,
                "rater": "device",
                "condition": name,
                "status": ["ok" if t else "failed" for t in there],
                "reason": [None if t else NO_REGION for t in there],
                "p": [
                    c if name is None else c + by + w if t else float("nan")
                    for c, w, t in zip(clean, wobble, there, strict=True)
                ],
            }
        )

    return {
        "case_id": tuple(ids),
        "patient_id": tuple(f"p{i}" for i in range(N)),
        "frame": frame,
        "predictions": table(None, 0.0),
        "conditions": pd.concat([table("shortcut/tag", change), table("shortcut/tag/control", control)]),
    }


def figures(p: StudyProtocol | None = None, **cases: object):
    return shortcut_figures(p or asking(), **cases, evaluate=evaluate_task)


def one(
    results, metric: str, *, endpoint="answers", against: str | None = "unchanged images", control=False, **stratum
):
    name = "shortcut/tag/control" if control else "shortcut/tag"
    (hit,) = [
        f.estimate
        for f in results.findings
        if (f.endpoint, f.metric, f.condition, f.reference_group, dict(f.stratum))
        == (endpoint, metric, name, against, stratum)
    ]
    return hit


def verdict(results, of: str = "all margins"):
    return one(results, "shortcut_verdict", endpoint=of, against=None)


def test_changes_are_those_of_cases_that_have_the_region():
    results = figures(**made(-0.3, 0.01))
    assert {f.analysis for f in results.findings} == {"interpretability"}
    assert one(results, "cases_with_region", against=None).value == pytest.approx(MARKED / N)
    assert one(results, "score_change").n == MARKED
    assert one(results, "score_change").value == pytest.approx(-0.3)
    assert one(results, "score_change", control=True).value == pytest.approx(0.01)
    assert one(results, "score_change", against="another place").value == pytest.approx(-0.31)
    assert one(results, "score_change_positive").n == MARKED // 2
    # 0.7 - 0.3 lies below the threshold of a half, 0.3 - 0.3 does too: the 20 positives change.
    assert one(results, "flip_rate").numerator == 20
    assert one(results, "flip_rate", control=True).numerator == 0
    assert one(results, "flip_rate", against="another place").value == pytest.approx(0.5)
    assert one(results, "sensitivity", endpoint="sens", against=None).value == 0.0
    assert one(results, "sensitivity_unchanged", endpoint="sens").value == 1.0
    assert one(results, "sensitivity_difference", endpoint="sens").value == pytest.approx(-1.0)
    assert one(results, "sensitivity_difference", endpoint="sens", against="another place").value == pytest.approx(-1.0)
    assert one(results, "sensitivity_difference", endpoint="sens", control=True).value == pytest.approx(0.0)
    assert one(results, "score_change", site="a").n == MARKED // 2
    assert "40 of 80 cases" in results.notes[0]
    assert not [f for f in figures(asking(groups=[]), **made(-0.3)).findings if f.stratum]


@pytest.mark.parametrize("change", [-0.3, 0.3])
def test_a_change_beyond_the_margin_and_beyond_the_control_convicts(change):
    results = figures(**made(change))
    for of in ("score", "calls", "all margins"):
        assert verdict(results, of).value == 1.0


def test_a_change_within_every_margin_acquits():
    results = figures(asking({"score": 0.05, "calls": 0.1}), **made(0.01))
    assert {verdict(results, of).value for of in ("score", "calls", "all margins")} == {0.0}
    # None of 20 positives changed, which says less of sensitivity than 40 scores do of the mean.
    open_ = figures(**made(0.01))
    assert verdict(open_, "score").value == 0.0
    assert verdict(open_, "sens").undefined is not None
    assert verdict(open_).undefined == verdict(open_, "sens").undefined


@pytest.mark.parametrize(
    ("change", "control", "words"),
    [
        (-0.3, -0.35, "another place may do as much"),
        (-0.3, -0.3, "another place may do as much"),
        (0.05, 0.0, "reaches over the margin"),
    ],
)
def test_what_is_neither_stays_open(change, control, words):
    found = verdict(figures(asking({"score": 0.05}), **made(change, control)))
    assert found.value is None
    assert words in str(found.undefined)
    assert str(found.undefined).startswith("inconclusive")


def test_without_room_for_a_control_nothing_is_convicted():
    cases = made(-0.3)
    table = cases["conditions"]
    table.loc[table["condition"] == "shortcut/tag/control", ["status", "reason", "p"]] = ["failed", NO_ROOM, None]
    assert "no control" in str(verdict(figures(**cases), "score").undefined)


def test_few_cases_with_the_region_are_not_assessable():
    cases = made(-0.3)
    table = cases["conditions"]
    late = table["case_id"].isin([f"c{i}" for i in range(5, N)])
    table.loc[late, ["status", "reason", "p"]] = ["failed", NO_REGION, None]
    found = verdict(figures(**cases))
    assert "not assessable: the region was changed in 5 cases" in str(found.undefined)


def test_a_device_that_fails_on_changed_images_is_counted_as_missing():
    cases = made(0.0, spread=0.0)
    table = cases["conditions"]
    lost = (table["condition"] == "shortcut/tag") & table["case_id"].isin(["c0", "c2"])
    table.loc[lost, ["status", "reason", "p"]] = ["failed", "output is not finite", None]
    results = figures(**cases)
    assert one(results, "flip_rate").numerator == 2
    assert one(results, "score_change").n == MARKED - 2
    assert one(results, "sensitivity_difference", endpoint="sens").value == pytest.approx(-2 / 20)


def test_answers_that_are_not_there_are_no_silent_omission():
    cases = made(-0.3)
    cases["conditions"] = cases["conditions"][cases["conditions"]["condition"] == "shortcut/tag"]
    with pytest.raises(InputError, match="shortcut/tag/control"):
        figures(**cases)
    assert not figures(protocol(goal(SENSITIVITY, 0.7)), **made(-0.3)).findings


def test_classes_are_tested_by_their_calls():
    task = {"kind": "multiclass", "reference": "truth", "classes": ["0", "1"], "score": ["a", "b"]}
    shortcut = {"name": "tag", "region": {"text": True}, "change": "remove", "margins": {"calls": 0.1}}
    p = protocol(
        {"name": "acc", "metric": "accuracy"}, task=task, operating_points=[],
        analyses={"interpretability": {"shortcuts": [shortcut]}},
    )  # fmt: skip
    cases = made(-0.3)
    for key in ("predictions", "conditions"):
        cases[key] = cases[key].assign(a=1 - cases[key]["p"], b=cases[key]["p"]).drop(columns="p")
    results = figures(p, **cases)
    assert one(results, "flip_rate").numerator == 20
    assert verdict(results, "calls").value == 1.0


def problems(p: StudyProtocol) -> str:
    return " | ".join(f"{x.where}: {x.what}" for x in check_protocol(p))


def test_margins_are_of_something_that_is_measured():
    assert problems(asking()) == ""
    said = problems(asking({"scor": 0.1, "score": 0.05}))
    assert "margins.scor" in said
    twice = asking()
    block = twice.analyses.interpretability
    assert block is not None
    again = block.model_copy(update={"shortcuts": block.shortcuts * 2})
    twice = twice.model_copy(update={"analyses": twice.analyses.model_copy(update={"interpretability": again})})
    assert "named twice" in problems(twice)
    assert unsupported(asking(), {"sensitivity"}) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"region": {"text": True, "border": 0.1}}, "exactly one"),
        ({"region": {}}, "exactly one"),
        ({"change": "insert"}, "what is put in"),
        ({"change": "insert", "insert": {"text": "X"}}, "a corner or a box"),
        ({"insert": {"text": "X"}}, "belong to change: insert"),
        ({"change": "insert", "region": {"corner": {"at": "top_left", "height": 0.1, "width": 0.2}},
          "insert": {"picture": "bm8="}}, "PNG"),
        ({"region": {"box": {"top": 0.5, "left": 0.0, "bottom": 0.5, "right": 1.0}}}, "top lies above"),
        ({"margins": {}}, "at least 1"),
    ],
)  # fmt: skip
def test_a_test_that_contradicts_itself_is_refused(change, words):
    from pydantic import ValidationError

    from evalsuite.protocol.shortcuts import Shortcut

    whole = {"name": "tag", "region": {"text": True}, "change": "remove", "margins": {"score": 0.1}, **change}
    with pytest.raises(ValidationError, match=words):
        Shortcut.model_validate(whole)
