"""The pages on wrong cases: sentences in the right direction, the worst first, what is said where nothing is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evalsuite.report.dossier import build_dossier
from evalsuite.report.sections_failures import groups_in_words
from evalsuite.report.sections_slices import slices_in_words
from evalsuite.report.view import Prose, Table
from evalsuite.types import Evidence, Exhibits, Finding, Listing, Picture, TestOutcome
from tests.golden.factory import proportion, study

COLUMNS = (
    *("case_id", "kind", "reference", "reference_status", "called", "score", "beyond", "nearly", "reference_error"),
    *("same_image_as", "other_reference", "output_status", "reason", "group: sex", "category", "comment"),
)


def row(case: str, kind: str, score: str, beyond: str, **more: str) -> tuple[str, ...]:
    cells = dict.fromkeys(COLUMNS, "")
    cells |= {"case_id": case, "kind": kind, "score": score, "beyond": beyond, "group: sex": "female"}
    said = {"false negative": ("positive", "negative"), "false positive": ("negative", "positive")}
    cells["reference"], cells["called"] = said.get(kind, ("positive", "positive"))
    return tuple({**cells, **more}.values())


def outcome(kind: str, level: str, p: float, adjusted: float) -> TestOutcome:
    return TestOutcome(
        name=f"{kind}: sex {level} above all others", statistic=3.0, p_value=p, p_adjusted=adjusted,
        method="Fisher's exact test, one-sided", endpoint=kind, stratum={"sex": level},
    )  # fmt: skip


def share(kind: str, k: int, n: int, stratum: dict[str, str], rest: str | None = None) -> Finding:
    metric = {"false negative": "false_negative_rate", "false positive": "false_positive_rate"}[kind]
    return Finding(
        analysis="failures", endpoint=kind, metric=metric, role="exploratory", target="malignant",
        operating_point="screening", stratum=stratum, reference_group=rest, prespecified=False,
        estimate=proportion(k, n),
    )  # fmt: skip


def shown(*rows: tuple[str, ...], pictures: tuple[Picture, ...] = (), adjusted: float = 0.004, **changes: object):
    base = study()
    protocol = base.protocol.model_copy(
        update={
            "analyses": type(base.protocol.analyses).model_validate({"failures": {"confident": 0.1, "near": 0.05}}),
            "clauses": {"sensitivity": "H-07 missed lesion"},
            **changes,
        }
    )
    added = (
        share("false negative", 12, 60, {}),
        share("false negative", 9, 20, {"sex": "male"}),
        share("false negative", 3, 40, {"sex": "male"}, "all others"),
    )
    evidence: Evidence = replace(
        base.evidence,
        findings=(*base.evidence.findings, *added),
        tests=(*base.evidence.tests, outcome("false negative", "male", 0.001, adjusted)),
    )
    exhibits = Exhibits(listings=(Listing(name="failures", columns=COLUMNS, rows=rows),), pictures=pictures)
    dossier = build_dossier(protocol, evidence, base.verdict, base.record, exhibits)
    return next(s for s in dossier.sections if s.code == "R17")


def words(section) -> str:
    return " ".join(p for b in section.blocks if isinstance(b, Prose) for p in b.paragraphs)


def tables(section) -> list[Table]:
    return [b for b in section.blocks if isinstance(b, Table)]


def test_the_listing_is_printed_in_its_order_with_scores_and_groups():
    section = shown(
        row("c1", "false negative", "0.02", "0.48", reference_error="candidate", reference_status="established"),
        row("c2", "false negative", "0.4", "0.1", nearly="yes"),
        row("c3", "false positive", "0.9", "0.4", same_image_as="c1", other_reference="yes"),
    )
    assert section.title == "Failure analysis"
    missed, alarms, doubtful, groups = tables(section)
    assert "positive cases called negative (all, worst first)" in missed.caption
    assert [r.cells[0].text for r in missed.rows] == ["c1", "c2"]
    assert [c.text for c in missed.rows[0].cells[1:]] == ["0.020", "0.480", "sex female", "confidently wrong"]
    assert missed.rows[1].cells[-1].text == "within the band"
    assert alarms.rows[0].cells[-1].text == "same image, other reference"
    assert [r.cells[0].text for r in doubtful.rows] == ["c1", "c3"]
    assert doubtful.rows[0].cells[2].text == "established"
    cells = [c.text for c in groups.rows[0].cells]
    assert cells[1] == "sex = male"
    assert cells[2].startswith("9/20 · 45.0")
    assert cells[3].startswith("3/40 · 7.5")
    assert cells[4] == "0.0040"
    assert "H-07 missed lesion" in words(section)
    assert "False negatives: 12 of 60 (20.0" in words(section)


@pytest.mark.parametrize(
    ("tests", "says", "never"),
    [
        ([outcome("false negative", "male", 0.001, 0.01)], "false negatives among sex = male", "None of"),
        ([outcome("false positive", "male", 0.001, 0.05)], "false positives among sex = male", "negatives among"),
        ([outcome("false negative", "male", 0.04, 0.2)], "None of 1 comparison", "More frequent"),
        ([outcome("false negative", "male", 0.99, 0.99)], "None of 1 comparison", "sex = male"),
        (
            [outcome("false negative", "male", 0.001, 0.01), outcome("false negative", "female", 0.999, 0.999)],
            "among sex = male",
            "female",
        ),
        ([], "No group could be compared", "More frequent"),
    ],
)
def test_a_sentence_names_groups_with_more_failures_and_no_other(tests, says, never):
    said = groups_in_words(tests)
    assert says in said
    assert never not in said
    assert "fair" not in said


def test_what_was_not_found_is_not_said_to_be_absent():
    assert "not shown to be absent" in words(shown(row("c1", "false negative", "0.02", "0.48"), adjusted=0.4))


def test_without_a_wrong_case_the_page_says_so():
    section = shown()
    assert "No case was wrong" in words(section)
    assert "failures.csv (0 rows)" in words(section)


def test_pictures_stand_in_the_section_or_it_says_why_not():
    one = row("c1", "false negative", "0.02", "0.48")
    assert "no images of these cases" in words(shown(one))
    made = Picture(
        group="false negative", title="score 0.02", note="reference positive", case_id="c1", width=2, height=2,
        aspect=1.0, image=None, drawn=(),
    )  # fmt: skip
    figures = [b for b in shown(one, pictures=(made,)).blocks if b.block == "figure"]
    assert [f.caption for f in figures] == ["False negatives"]
    assert "score 0.02 (c1)" in figures[0].alt


def test_a_case_passed_over_for_want_of_an_image_is_named():
    made = Picture(
        group="false negative", title="score 0.1", note="", case_id="c2", width=2, height=2, aspect=1.0, image=None,
        drawn=(),
    )  # fmt: skip
    rows = [row(c, "false negative", "0.1", "0.4") for c in ("c1", "c2", "c3")]
    (figure,) = [b for b in shown(*rows, pictures=(made,)).blocks if b.block == "figure"]
    assert "Without a picture, for want of an image that can be read: c1." in figure.notes


def test_long_lists_say_how_many_more_there_are():
    many = [row(f"c{i}", "false negative", "0.1", "0.4") for i in range(30)]
    assert "12 of 30" in tables(shown(*many))[0].caption


def checked(level: str, adjusted: float) -> TestOutcome:
    return replace(outcome("false negative", level, adjusted, adjusted), name=f"slice {level}, held-out half")


@pytest.mark.parametrize(
    ("tests", "says", "never"),
    [
        ([checked("male", 0.01)], "false negatives among sex = male", "None of"),
        ([checked("male", 0.01), checked("female", 0.9)], "among sex = male", "sex = female"),
        ([checked("male", 0.2)], "None of the 1 slices", "More frequent"),
        ([], "not evidence that there is none", "More frequent"),
    ],
)
def test_a_slice_is_named_only_where_it_holds_on_patients_held_out(tests, says, never):
    said = slices_in_words(tests, 0.05)
    assert says in said
    assert never not in said
