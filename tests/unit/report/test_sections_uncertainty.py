"""The pages on stated uncertainty: sentences in the right direction, nothing promised that is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evalsuite.report.material import Material
from evalsuite.report.sections_uncertainty import coverage_words, uncertainty
from evalsuite.report.view import Figure, Prose, Table
from evalsuite.types import Curve, Estimate, Finding, TestOutcome
from tests.golden.factory import proportion, study

BLOCK = {
    "selective": {"coverages": [0.8, 1.0]},
    "conformal": {},
    "outliers": {"stratum": "site", "groups": ["B"], "scores": ["max_softmax"]},
}


def found(endpoint: str, metric: str, estimate: Estimate, condition: str | None = None) -> Finding:
    return Finding(
        analysis="uncertainty", endpoint=endpoint, metric=metric, role="secondary", target=None, operating_point=None,
        condition=condition, estimate=estimate,
    )  # fmt: skip


def share(value: float, low: float, high: float) -> Estimate:
    return Estimate(value=value, low=low, high=high, method="m", n=300)


TEST = TestOutcome(
    name="conformal coverage of 0.9", statistic=265.0, p_value=0.5, method="beta-binomial",
    endpoint="conformal prediction",
)  # fmt: skip
BAND = found("conformal prediction", "conformal_expected", share(0.9, 0.85, 0.94))


def section():
    base = study()
    analyses = type(base.protocol.analyses).model_validate({"uncertainty": BLOCK})
    findings = (
        found("selective prediction", "aurc", share(0.1, 0.05, 0.2)),
        found("selective prediction", "selective_risk", share(0.05, 0.02, 0.1), "coverage 0.8"),
        found("conformal prediction", "conformal_coverage", proportion(265, 300)),
        BAND,
        found("unfamiliar cases", "ood_auroc", share(0.7, 0.6, 0.8), "max_softmax"),
    )
    x = (0.2, 0.5, 0.8, 1.0)
    curves = (
        Curve(
            analysis="uncertainty", metric="selective_risk", kind="risk_coverage", series="device", x=x,
            y=(0.0, 0.02, 0.05, 0.1), n=300, method="patient bootstrap",
        ),
        Curve(
            analysis="uncertainty", metric="selective_risk", kind="risk_coverage", series="band", x=x[1:],
            y=(0.02, 0.05, 0.1), low=(0.01, 0.02, 0.05), high=(0.05, 0.1, 0.2), n=300, method="patient bootstrap",
        ),
    )  # fmt: skip
    evidence = replace(
        base.evidence,
        findings=(*base.evidence.findings, *findings),
        curves=(*base.evidence.curves, *curves),
        tests=(*base.evidence.tests, TEST),
    )
    protocol = base.protocol.model_copy(update={"analyses": analyses})
    made = uncertainty(Material(protocol=protocol, evidence=evidence, verdict=base.verdict, record=base.record))
    assert made is not None
    return made


def test_the_section_says_what_was_promised_and_seen():
    made = section()
    text = " ".join(p for b in made.blocks if isinstance(b, Prose) for p in b.paragraphs)
    assert "265 of 300 sets hold the right answer, as chance alone would have it" in text
    assert "holds for no single case" in text
    (figure,) = [b for b in made.blocks if isinstance(b, Figure)]
    assert "5.0\u00a0% of the surest 80\u00a0%" in figure.alt
    rows = [r.cells[0].text for b in made.blocks if isinstance(b, Table) for r in b.rows]
    assert "Errors among the surest 80\u00a0%" in rows
    assert "1 − largest probability" in rows


def test_there_is_no_section_where_nothing_is_asked():
    base = study()
    material = Material(protocol=base.protocol, evidence=base.evidence, verdict=base.verdict, record=base.record)
    assert uncertainty(material) is None


@pytest.mark.parametrize(
    ("k", "words"),
    [(240, "promise too much"), (270, "as chance alone"), (295, "larger than they need be")],
)
def test_the_band_decides_what_is_said(k, words):
    seen = found("conformal prediction", "conformal_coverage", proportion(k, 300))
    assert words in coverage_words(seen, BAND, TEST, "90 %", aim=0.9)


@pytest.mark.parametrize(
    ("k", "words"),
    [(240, "lies below the promised"), (270, "does not show that the promise is kept"), (295, "lies above")],
)
def test_without_a_band_the_interval_does(k, words):
    seen = found("conformal prediction", "conformal_coverage", proportion(k, 300))
    without = replace(TEST, p_value=None, undefined="several cases per patient: no band by chance alone is known")
    said = coverage_words(seen, None, without, "90 %", aim=0.9)
    assert words in said
    assert "several cases per patient" in said
