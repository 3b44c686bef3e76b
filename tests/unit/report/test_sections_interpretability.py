"""The pages on what answers depend on: verdicts on shortcuts with their direction, maps by measure and by lesion."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evalsuite.report.anchors import untraced
from evalsuite.report.material import Material
from evalsuite.report.sections_interpretability import interpretability, map_name
from evalsuite.report.sections_shortcuts import verdict_words
from evalsuite.report.view import Figure, Prose, Table
from evalsuite.types import Estimate, Finding
from tests.golden.factory import study

RECORDED = {"methods": [{"name": "grad_cam", "layer": "features", "noise": 0.1}], "refused": {"deep_lift": "no tree"}}
TAG = {"name": "tag", "region": {"text": True}, "change": "remove", "margins": {"score": 0.05}}
CONVICTED = Estimate(value=1.0, method="m", n=60, interval_undefined="a verdict has no interval")
ACQUITTED = replace(CONVICTED, value=0.0)
OPEN = Estimate.not_estimable("inconclusive: the interval of the change reaches over the margin", n=60)
FEW = Estimate.not_estimable("not assessable: the region was changed in 3 cases, fewer than 10", n=3)


def found(endpoint: str, metric: str, estimate: Estimate, condition=None, group=None, **stratum: str) -> Finding:
    return Finding(
        analysis="interpretability", endpoint=endpoint, metric=metric, role="secondary", target=None,
        operating_point=None, condition=condition, reference_group=group, stratum=stratum, estimate=estimate,
    )  # fmt: skip


def about(value: float, half: float = 0.02, n: int = 60) -> Estimate:
    return Estimate(value=value, low=value - half, high=value + half, method="patient bootstrap", n=n)


def section(findings, block=None):
    base = study()
    asked = {"interpretability": block or {"shortcuts": [TAG]}}
    protocol = base.protocol.model_copy(update={"analyses": type(base.protocol.analyses).model_validate(asked)})
    evidence = replace(base.evidence, findings=(*base.evidence.findings, *findings))
    record = {**base.record, "interpretability": RECORDED}
    made = interpretability(Material(protocol=protocol, evidence=evidence, verdict=base.verdict, record=record))
    assert made is None or untraced([made]) == []
    return made


def shortcut(change: float, verdict: Estimate, control: float = 0.01):
    here, there, unchanged = "shortcut/tag", "shortcut/tag/control", "unchanged images"
    share = Estimate(value=0.25, low=0.2, high=0.3, method="cp", n=240, numerator=60, denominator=240)
    return [
        found("answers", "cases_with_region", share, here),
        found("answers", "score_change", about(change), here, unchanged),
        found("answers", "score_change", about(change, n=30), here, unchanged, sex="male"),
        found("answers", "score_change", about(control), there, unchanged),
        found("answers", "score_change", about(change - control), here, "another place"),
        found("score", "shortcut_verdict", verdict, here),
        found("all margins", "shortcut_verdict", verdict, here),
    ]


def words(made) -> str:
    return " ".join(p for b in made.blocks if isinstance(b, Prose) for p in b.paragraphs)


def cells(made) -> list[str]:
    return [c.text for b in made.blocks if isinstance(b, Table) for r in b.rows for c in r.cells]


@pytest.mark.parametrize(
    ("change", "verdict", "said"),
    [
        (-0.21, CONVICTED, "Taking out the tag lowers the score by 0.210 on average"),
        (0.21, CONVICTED, "Taking out the tag raises the score by 0.210 on average"),
        (0.01, ACQUITTED, "Taking out the tag raises the score by 0.010 on average"),
    ],
)
def test_the_sentence_has_the_direction_and_the_verdict(change, verdict, said):
    made = section(shortcut(change, verdict))
    assert said in words(made)
    word = "convicted" if verdict is CONVICTED else "acquitted"
    other = "acquitted" if verdict is CONVICTED else "convicted"
    assert f": {word}." in words(made)
    assert f": {other}." not in words(made)
    assert f"{'■' if verdict is CONVICTED else '●'} {word}" in cells(made)
    assert not any(other in c for c in cells(made))
    (figure,) = [b for b in made.blocks if isinstance(b, Figure)]
    assert word in figure.svg
    assert f"the region itself {change:.3f}" in figure.alt


@pytest.mark.parametrize(("verdict", "word"), [(OPEN, "inconclusive"), (FEW, "not assessable")])
def test_an_open_verdict_says_why(verdict, word):
    made = section(shortcut(0.05, verdict))
    assert f"△ {word}" in cells(made)
    assert verdict_words(verdict)[0] == word
    assert verdict_words(verdict)[1] in words(made)
    assert not any("convicted" in c or "acquitted" in c for c in cells(made))


def test_limits_are_stated_and_nothing_is_shown_where_nothing_was_asked():
    made = section(shortcut(-0.2, CONVICTED))
    assert "not why" in words(made)
    assert "No map and no measure of one is an acceptance criterion" in words(made)
    assert "60 of 240 cases drawn have the region" in " ".join(
        n for b in made.blocks if isinstance(b, Table) for n in b.notes
    )
    assert section([]) is None


def test_measures_stand_beside_maps_that_know_nothing():
    maps = [
        found("grad_cam", "deletion_auc", about(0.3)),
        found("grad_cam", "deletion_auc", about(-0.2), None, "baseline_image"),
        found("grad_cam", "deletion_auc", about(-0.1), None, "baseline_edges"),
        found("baseline_image", "deletion_auc", about(0.5)),
        found("grad_cam", "randomisation_ssim", about(0.2)),
        found("grad_cam", "randomisation_ssim", about(0.01), None, "another patient's map"),
        found("grad_cam", "deletion_auc", about(0.3), None, None, sex="male"),
    ]
    made = section(maps)
    tables = [b for b in made.blocks if isinstance(b, Table)]
    assert [t.caption.split(":")[0] for t in tables if "Deletion" in t.caption] == ["Deletion"]
    shown = cells(made)
    assert "the image itself †" in shown
    assert "another patient's map" in shown
    assert any("Lower is better" in n for t in tables for n in t.notes)
    assert len([b for b in made.blocks if isinstance(b, Figure)]) == 2
    assert map_name("integrated_gradients") == "integrated gradients"


def test_maps_beside_lesions_have_chance_beside_them():
    rate = Estimate(value=0.5, low=0.3, high=0.7, method="cp", n=20, numerator=10, denominator=20)
    maps = [
        found("grad_cam", "localisation_hit_rate", rate),
        found("grad_cam", "localisation_iou", about(0.2)),
        found("grad_cam", "localisation_iou_true_positive", about(0.3)),
        found("grad_cam", "localisation_chance", about(0.04)),
        found("baseline_centre", "localisation_hit_rate", rate),
    ]
    made = section(maps, {"localisation": {"reference": "lesion_mask"}})
    shown = cells(made)
    assert "50.0\u00a0%" in shown
    assert "0.040" in shown
    assert "a blob at the centre †" in shown
    assert "the brightest 0.05 of the map's pixels" in words(made)
