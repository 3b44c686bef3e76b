"""Section on stated uncertainty: errors among the surest cases, conformal sets, scores of unfamiliarity."""

from __future__ import annotations

from collections.abc import Iterator

from evalsuite.report.figures_uncertainty import risk_coverage
from evalsuite.report.format import format_count, format_percent, format_stratum
from evalsuite.report.material import Material, drawn_from
from evalsuite.report.sections_sources import p_words, row, table_of
from evalsuite.report.text import clean
from evalsuite.report.view import Block, Cell, Figure, Heading, Prose, Row, Section
from evalsuite.types import Finding, TestOutcome

ANALYSIS = "uncertainty"
SELECTIVE, CONFORMAL, OUTLIERS = "selective prediction", "conformal prediction", "unfamiliar cases"
_SCORES = {
    "max_softmax": "1 − largest probability",
    "energy": "Energy of the logits",
    "mahalanobis": "Mahalanobis distance of the embedding",
    "neighbours": "Distance to the nearest neighbours of the embedding",
}
_SETS = {
    "conformal_coverage": "Sets that hold the right answer",
    "conformal_expected": "Expected of valid sets, and band of chance",
    "conformal_set_size": "Answers in a set, mean",
    "conformal_single": "Sets of one answer",
    "conformal_empty": "Sets without an answer",
}
_GAP = "\u00a0"


def uncertainty(material: Material) -> Section | None:
    """Everything `analyses.uncertainty` found; None where the protocol does not ask."""
    asked = material.protocol.analyses.uncertainty
    found = list(material.findings(analysis=ANALYSIS))
    if asked is None or not found:
        return None
    text = (
        "Whether the device knows when it may be wrong. No criterion is judged on these figures, and a device that "
        "knows its errors still makes them. Cases without a usable output or an established reference are left out."
    )
    blocks: list[Block] = [Prose(paragraphs=(text,))]
    if asked.selective is not None:
        blocks += _selective(material, [x for x in found if x[1].endpoint == SELECTIVE])
    if asked.conformal is not None:
        blocks += _conformal(material, [x for x in found if x[1].endpoint == CONFORMAL])
    if asked.outliers is not None:
        blocks += _outliers(material, [x for x in found if x[1].endpoint == OUTLIERS])
    return Section(id="uncertainty", number="", title="Stated uncertainty", code="R20", blocks=tuple(blocks))


# --- refusing the unsure cases --------------------------------------------------------------------------------------


def _selective(m: Material, found: list[tuple[int, Finding]]) -> Iterator[Block]:
    asked = m.protocol.analyses.uncertainty
    assert asked is not None
    assert asked.selective is not None
    yield Heading(text="Errors among the cases it is surest of", id="selective-prediction")
    sure = (
        f"the output “{clean(asked.selective.confidence, longest=60)}” "
        f"({'higher' if asked.selective.higher_is == 'surer' else 'lower'} is surer)"
        if asked.selective.confidence is not None
        else "the distance of the score from the threshold"
        if m.protocol.task.kind == "binary"
        else "the output of the class called"
    )
    yield Prose(
        paragraphs=(
            f"Confidence is {sure}. Accepting only the surest cases should leave fewer errors among them; the area "
            "under the curve (AURC) is the mean share of errors over all numbers of cases accepted, 0 without any "
            "error. Its excess is over the AURC of an order that puts every error last: 0 where confidence ranks the "
            "errors perfectly.",
        )
    )
    yield from _figure(m)
    rows: list[Row] = []
    shown: list[Finding] = []
    group: str | None = None
    for index, f in found:
        name = "All cases" if not f.stratum else format_stratum(f.stratum)
        if name != group:
            rows.append(Row(cells=(Cell(text=name),), group=True))
            group = name
        rows.append(row(m, index, f, _selective_words(f), percent=f.metric == "selective_risk"))
        shown.append(f)
    yield table_of(m, "Errors among the surest cases", rows, shown)


def _selective_words(f: Finding) -> str:
    if f.metric == "aurc":
        return "AURC"
    if f.metric == "excess_aurc":
        return "Excess AURC"
    share = float((f.condition or "coverage 1").removeprefix("coverage "))
    return "Errors among all" if share == 1.0 else f"Errors among the surest {_percent(share)}{_GAP}%"


def _percent(share: float) -> str:
    """ "80" for what a protocol declares as 0.8: no digit more than was declared."""
    return f"{100.0 * share:.10g}"


def _figure(m: Material) -> Iterator[Block]:
    curves = {c.series: c for c in m.curves("risk_coverage")}
    line = curves.get("device")
    if line is None:
        return
    points = ", ".join(
        f"{format_percent(y)}{_GAP}% of the surest {_percent(x)}{_GAP}%"
        for x, y in zip(line.x, line.y, strict=True)
        if round(100 * x) in (20, 50, 80, 100)
    )
    alt = f"Share of errors among the cases accepted, surest first: {points}."
    yield Figure(
        label="",
        caption="Errors among the accepted, over the share of cases accepted",
        alt=alt,
        notes=(
            f"Band: {m.interval_title} at each share by itself ({clean(line.method or '', longest=100)}); none is "
            "drawn where no resample has an error.",
            "Dashed: errors among all cases.",
            m.set_note,
        ),
        source=drawn_from(m, line),
        svg=risk_coverage(line, curves.get("band"), alt=alt),
    )


# --- conformal sets -------------------------------------------------------------------------------------------------


def _conformal(m: Material, found: list[tuple[int, Finding]]) -> Iterator[Block]:
    asked = m.protocol.analyses.uncertainty
    assert asked is not None
    assert asked.conformal is not None
    promised = f"{_percent(1.0 - asked.conformal.alpha)}{_GAP}%"
    part = asked.conformal.calibration
    how = (
        f"of {_percent(part.share)}{_GAP}% of patients, drawn by the protocol's seed"
        if part.column is None
        else f"with “{clean(part.value, longest=40)}” in column “{clean(part.column, longest=60)}”"
    )
    per = (
        f" Each group of “{clean(asked.conformal.per_group, longest=60)}” was calibrated by itself."
        if asked.conformal.per_group is not None
        else ""
    )
    yield Heading(text="Sets of answers with a promised coverage", id="conformal-sets")
    yield Prose(
        paragraphs=(
            f"A set holds every answer with enough probability. How much is enough was read from the cases {how} so "
            f"that sets hold the right answer in {promised} of cases like them; the others were then tried.{per} The "
            "promise is for all cases together: it holds for no single case, nor for a group or an answer by itself "
            "unless that was calibrated apart, nor for cases from elsewhere.",
            *_verdict_words(m, promised, 1.0 - asked.conformal.alpha),
        )
    )
    rows: list[Row] = []
    shown: list[Finding] = []
    group: str | None = None
    for index, f in found:
        name = "All cases tried" if not f.stratum else format_stratum(f.stratum)
        if name != group:
            rows.append(Row(cells=(Cell(text=name),), group=True))
            group = name
        said = _SETS.get(f.metric, clean(f.metric))
        if f.condition is not None:
            said = f"{said}, where it is {clean(f.condition.removeprefix('answer '), longest=60)}"
        rows.append(row(m, index, f, said, percent=f.metric != "conformal_set_size"))
        shown.append(f)
    yield table_of(m, f"Conformal sets made for a coverage of {promised}", rows, shown)


def _verdict_words(m: Material, promised: str, aim: float) -> Iterator[str]:
    """What is seen beside the promise, for all cases and each group; a band where there is one, else the interval."""
    tests = [t for t in m.evidence.tests if t.endpoint == CONFORMAL]
    for test in tests:
        key = dict(m.ordered(test.stratum))
        mine = {
            f.metric: f
            for _, f in m.findings(analysis=ANALYSIS)
            if f.endpoint == CONFORMAL and f.condition is None and dict(f.stratum) == key
        }
        seen = mine.get("conformal_coverage")
        if seen is None or seen.estimate.value is None:
            continue
        who = "All cases tried" if not key else format_stratum(key)
        yield f"{who}: {coverage_words(seen, mine.get('conformal_expected'), test, promised, aim=aim)}"


def coverage_words(seen: Finding, expected: Finding | None, test: TestOutcome, promised: str, *, aim: float) -> str:
    """One sentence on a coverage: within the band of chance or not; without a band, where its interval lies."""
    e = seen.estimate
    counted = f"{format_count(e.numerator)} of {format_count(e.denominator)} sets hold the right answer"
    if expected is not None and e.value is not None:
        band = expected.estimate
        assert band.low is not None
        assert band.high is not None
        where = (
            "fewer than chance explains: the sets promise too much"
            if e.value < band.low
            else "more than chance explains: the sets are larger than they need be"
            if e.value > band.high
            else "as chance alone would have it"
        )
        limits = f"{format_percent(band.low)} to {format_percent(band.high)}{_GAP}%"
        return f"{counted}, {where} (valid sets give {limits}; {p_words(test)})."
    why = clean(test.undefined or "no band", longest=120)
    if e.value is None or e.low is None or e.high is None:
        return f"{counted}; {why}."
    where = (
        f"its interval lies below the promised {promised}"
        if e.high < aim
        else f"its interval lies above {promised}"
        if e.low > aim
        else f"its interval holds the promised {promised}, which does not show that the promise is kept"
    )
    return f"{counted}; {where} ({why})."


# --- unfamiliar cases -----------------------------------------------------------------------------------------------


def _outliers(m: Material, found: list[tuple[int, Finding]]) -> Iterator[Block]:
    asked = m.protocol.analyses.uncertainty
    assert asked is not None
    assert asked.outliers is not None
    names = ", ".join(clean(g, longest=40) for g in asked.outliers.groups)
    yield Heading(text="Unfamiliar cases", id="unfamiliar-cases")
    yield Prose(
        paragraphs=(
            f"Unfamiliar: cases whose {clean(asked.outliers.stratum, longest=60)} is {names}; familiar: all others. "
            "Scores that learn what is familiar were fitted to patients who are not counted here. A score that tells "
            "these groups apart need not notice another kind of unfamiliar case.",
        )
    )
    rows: list[Row] = []
    shown: list[Finding] = []
    for name in asked.outliers.scores:
        rows.append(Row(cells=(Cell(text=_SCORES[name]),), group=True))
        for index, f in found:
            if f.condition != name:
                continue
            said = (
                "AUROC, unfamiliar against familiar"
                if f.metric == "ood_auroc"
                else f"Unfamiliar cases let through where 95{_GAP}% of familiar ones are"
            )
            rows.append(row(m, index, f, said, percent=f.metric == "ood_fpr95"))
            shown.append(f)
    yield table_of(m, "Scores of unfamiliarity", rows, shown)


__all__ = ["coverage_words", "uncertainty"]
