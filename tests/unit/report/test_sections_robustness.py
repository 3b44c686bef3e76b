"""The pages on degraded images: ladders, sentences on criteria, and what must not matter."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evalsuite.protocol.robustness import Robustness
from evalsuite.report.material import Material
from evalsuite.report.sections_robustness import robustness
from evalsuite.report.sections_unchanged import check_words
from evalsuite.report.view import Figure, Prose, Table
from evalsuite.types import Estimate, Finding
from tests.golden.factory import proportion, study

BLOCK = {"modality": "xray", "perturbations": ["dose", "jpeg"], "severities": [1, 3], "symmetric": ["flip_horizontal"]}


def found(endpoint: str, metric: str, estimate: Estimate, condition: str, group: str | None, **stratum: str) -> Finding:
    return Finding(
        analysis="robustness", endpoint=endpoint, metric=metric, role="secondary", target=None, operating_point=None,
        condition=condition, reference_group=group, stratum=stratum, estimate=estimate,
    )  # fmt: skip


def share(value: float, half: float) -> Estimate:
    return Estimate(value=value, low=value - half, high=min(value + half, 1.0), method="m", n=200)


def largest(value: float) -> Estimate:
    return Estimate(value=value, method="largest over all cases", n=200, interval_undefined="none")


def section(lost: dict[str, Estimate]):
    base = study()
    protocol = base.protocol.model_copy(
        update={"analyses": type(base.protocol.analyses).model_validate({"robustness": BLOCK})}
    )
    endpoint = next(e for e in protocol.endpoints if e.criterion is not None and e.role == "primary")
    clean = "clean images"
    findings = [
        found(endpoint.name, endpoint.metric, share(0.9, 0.04), clean, None),
        *(
            found("answers", "flip_rate", proportion(k, 200), name, clean)
            for name, k in (("identity", 0), ("batch", 0), ("flip_horizontal", 3))
        ),
        *(
            found("answers", "largest_score_change", largest(v), name, clean)
            for name, v in (("identity", 0.0), ("batch", 2e-4), ("flip_horizontal", 0.3))
        ),
    ]
    for kind in ("dose", "jpeg"):
        for severity in (1, 3):
            name = f"{kind}/{severity}"
            findings += [
                found(endpoint.name, endpoint.metric, share(0.9 - severity / 20, 0.04), name, None),
                found(endpoint.name, f"{endpoint.metric}_difference", share(-severity / 20, 0.03), name, clean),
                found("answers", "flip_rate", proportion(5 * severity, 200), name, clean),
                found("answers", "score_change", share(-0.01 * severity, 0.005), name, clean),
                found("answers", "flip_rate", proportion(2, 50), name, clean, sex="male"),
            ]
    findings += [found(endpoint.name, "criterion_lost_at", e, k, None) for k, e in lost.items()]
    evidence = replace(base.evidence, findings=(*base.evidence.findings, *findings))
    made = robustness(Material(protocol=protocol, evidence=evidence, verdict=base.verdict, record=base.record))
    assert made is not None
    return made


def text_of(made) -> str:
    return " ".join(p for b in made.blocks if isinstance(b, Prose) for p in b.paragraphs)


def test_the_section_says_where_the_criterion_is_lost_and_kept():
    first = Estimate(value=3.0, method="m", n=200, interval_undefined="none")
    kept = Estimate.not_estimable("kept at every severity shown", n=200)
    made = section({"dose": first, "jpeg": kept})
    text = text_of(made)
    assert "would be lost by quantum noise of a lower dose from severity 3 (32 dB PSNR)" in text
    assert "kept at every severity shown of jpeg compression" in text
    assert "computed, not acquired" in text
    assert "200 cases" in text
    (figure,) = [b for b in made.blocks if isinstance(b, Figure)]
    assert "jpeg compression 0.900, 0.850, 0.750" in figure.alt
    captions = [b.caption for b in made.blocks if isinstance(b, Table)]
    assert "Calls changed in each group" in captions


def test_nothing_is_said_to_be_lost_that_was_never_held():
    never = Estimate.not_estimable("not met by the unchanged images of this sample either", n=200)
    text = text_of(section({"dose": never, "jpeg": never}))
    assert "cannot be said" in text
    assert "would be lost" not in text.replace("it would be lost cannot be said", "")


def test_checks_hold_or_do_not():
    made = section({})
    table = next(b for b in made.blocks if isinstance(b, Table))
    said = {r.cells[0].text: r.cells[-1].text for r in table.rows}
    assert said["The same images once more, among others"] == "holds"
    assert said["In reverse order, in batches of another size"] == "does not hold"
    assert "changes calls" in said["Left and right exchanged"]


@pytest.mark.parametrize(
    ("name", "k", "words"),
    [("identity", 0, "holds"), ("identity", 1, "does not hold"), ("flip_horizontal", 0, "no call changed")],
)
def test_a_task_without_scores_is_judged_by_its_calls(name, k, words):
    flips = (0, found("answers", "flip_rate", proportion(k, 50), name, "clean images"))
    assert words in check_words(name, Robustness.model_validate(BLOCK), None, flips)


def test_there_is_no_section_where_nothing_is_asked():
    base = study()
    material = Material(protocol=base.protocol, evidence=base.evidence, verdict=base.verdict, record=base.record)
    assert robustness(material) is None
