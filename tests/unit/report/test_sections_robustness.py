"""The pages on degraded images: ladders, sentences on criteria, and what must not matter."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evalsuite.protocol.robustness import Robustness
from evalsuite.report.anchors import untraced
from evalsuite.report.material import Material
from evalsuite.report.sections_robustness import robustness
from evalsuite.report.sections_unchanged import check_words, precision
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
    assert untraced([made]) == []
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


def asking(block: dict, *findings: Finding) -> Material:
    base = study()
    analyses = type(base.protocol.analyses).model_validate({"robustness": block})
    evidence = replace(base.evidence, findings=(*base.evidence.findings, *findings))
    protocol = base.protocol.model_copy(update={"analyses": analyses})
    return Material(protocol=protocol, evidence=evidence, verdict=base.verdict, record=base.record)


def of(target: str, metric: str, estimate: Estimate, condition: str) -> Finding:
    return replace(found("answers", metric, estimate, condition, "clean images"), target=target)


def rows_of(made, caption: str) -> list[list[str]]:
    assert untraced([made]) == []
    table = next(b for b in made.blocks if isinstance(b, Table) and b.caption == caption)
    return [[c.text for c in row.cells] for row in table.rows]


def test_masks_are_shown_beside_those_of_the_unchanged_images_and_checks_by_the_worst_structure():
    block = {"modality": "ct", "perturbations": ["noise_hu"], "severities": [2], "storage": ["axes", "dicom"]}
    none = Estimate.not_estimable("no case has an answer: storage", n=0)
    made = robustness(
        asking(
            block,
            of("liver", "lowest_mask_agreement", largest(1.0), "axes"),
            of("spleen", "lowest_mask_agreement", largest(0.4), "axes"),
            of("liver", "lowest_mask_agreement", none, "dicom"),
            of("liver", "mask_agreement", share(0.9, 0.05), "noise_hu/2"),
            of("spleen", "mask_agreement", share(0.8, 0.05), "noise_hu/2"),
        )
    )
    assert made is not None
    checks = rows_of(made, "Answers where nothing of substance changed")
    assert [(r[0], r[1], r[3]) for r in checks] == [
        ("Stored with other axes, and their affine", "0.40000", "does not hold"),
        ("Stored as a DICOM series", "not estimable (n = 0: no case has an answer: storage)", "could not be tried"),
    ]
    masks = rows_of(made, "Agreement of masks, case by case (Dice)")
    assert [r[0] for r in masks] == ["liver", "Noise, severity 2", "spleen", "Noise, severity 2"]
    assert masks[1][1] == "20 HU SD"


def test_an_amount_that_reads_like_a_figure_names_the_finding_it_belongs_to():
    block = {"modality": "dermoscopy", "perturbations": ["hair"], "severities": [5]}
    base = study()
    endpoint = next(e for e in base.protocol.endpoints if e.criterion is not None and e.role == "primary")
    made = robustness(
        asking(
            block,
            found(endpoint.name, endpoint.metric, share(0.9, 0.04), "clean images", None),
            found(endpoint.name, endpoint.metric, share(0.7, 0.04), "hair/5", None),
            found("answers", "flip_rate", proportion(5, 40), "hair/5", "clean images"),
        )
    )
    assert made is not None
    assert rows_of(made, "Change of the answers, case by case")[1][1] == "10 % of the area"


def test_labels_have_a_table_of_their_own():
    block = {"modality": "xray", "perturbations": ["dose"], "severities": [1, 4]}
    made = robustness(
        asking(
            block,
            of("effusion", "score_change", share(0.1, 0.05), "dose/4"),
            of("effusion", "flip_rate", proportion(3, 40), "dose/4"),
            found("answers", "flip_rate", proportion(5, 40), "dose/4", "clean images"),
        )
    )
    assert made is not None
    assert rows_of(made, "Answers of each label")[1][0] == "effusion"
    assert rows_of(made, "Answers of each label")[1][2].startswith("3/40")
    assert rows_of(made, "Change of the answers, case by case")[1][3].startswith("5/40")


def test_precision_is_a_table_and_what_is_not_offered_says_why():
    block = {"precision": {"repeats": 1, "devices": ["cuda:0"]}}
    clean = "clean images"
    gone = Estimate.not_estimable("not offered here: no such device", n=0)
    made = precision(
        asking(
            block,
            found("answers", "same_answer", proportion(39, 40), "repeat/1", clean),
            found("answers", "largest_score_change", largest(2e-7), "repeat/1", clean),
            found("answers", "agreement_lower", largest(-3e-7), "repeat/1", clean),
            found("answers", "agreement_upper", largest(1e-7), "repeat/1", clean),
            found("answers", "flip_rate", proportion(0, 40), "repeat/1", clean),
            found("answers", "criteria_changed", largest(0.0), "repeat/1", clean),
            found("answers", "same_answer", gone, "device=cuda:0", clean),
        )
    )
    assert made is not None
    assert made.code == "R20"
    once, device = rows_of(made, "Answers to the same images, run otherwise")
    assert once[:3] == ["Once more, run 1", "2e-07", "−3e−07 to 1e−07"]
    assert once[3].startswith("39/40")
    assert once[5] == "0/200"
    assert device[:2] == ["On cuda:0", "not offered here: no such device"]
