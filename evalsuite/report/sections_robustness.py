"""Section on degraded images: what must not matter, what each amount changes, and where a criterion would be lost."""

from __future__ import annotations

from collections.abc import Iterator

from evalsuite.imaging.degrade import KINDS
from evalsuite.protocol.robustness import IDENTITY, Condition, Robustness, conditions_of, endpoints_of, kinds_of
from evalsuite.protocol.schema import Endpoint
from evalsuite.report.figures_robustness import Step, ladders
from evalsuite.report.format import (
    format_count,
    format_interval,
    format_stratum,
    format_value,
    not_estimable,
)
from evalsuite.report.material import Material, anchor, bounds, metric_title, places
from evalsuite.report.sections_unchanged import (
    ANSWERS,
    CLEAN,
    Found,
    checks,
    found_of,
    of_target,
    share,
    targets_of,
)
from evalsuite.report.text import clean
from evalsuite.report.view import Block, Cell, Column, Figure, Heading, Prose, Row, Section, Table
from evalsuite.types import Finding

_MOST_GROUPS = 40
_SCORE = "Mean change of the score"
#: What a score is, by kind of task.
_OF = {
    "regression": "Mean change of the measured value",
    "detection": "Mean change of the number of marks",
    "ordinal": "Mean change of the grade",
}


def robustness(material: Material) -> Section | None:
    """Everything `analyses.robustness` found; None where the protocol does not ask."""
    m = material
    asked = m.protocol.analyses.robustness
    found = found_of(m)
    if asked is None or not found:
        return None
    blocks: list[Block] = [Prose(paragraphs=tuple(_words(m, asked, found)))]
    blocks += checks(m, asked, found)
    for endpoint in endpoints_of(m.protocol) if kinds_of(asked) else ():
        blocks += _endpoint(m, asked, endpoint, found)
    blocks += _answers(m, asked, found)
    blocks += _masks(m, asked, found)
    blocks += _labels(m, asked, found)
    blocks += _groups(m, asked, found)
    return Section(id="robustness", number="", title="Robustness to degraded images", code="R19", blocks=tuple(blocks))


def _words(m: Material, asked: Robustness, found: Found) -> Iterator[str]:
    shown = found.get((ANSWERS, "flip_rate", IDENTITY, CLEAN, ())) or next(iter(found.values()))
    n = shown[1].estimate.n
    sample = f"{format_count(n)} cases, whole patients drawn by the protocol's seed while the reference was closed"
    if asked.modality is None:
        yield f"{sample}, were shown to the device again in ways that must not matter."
        return
    kinds, steps = len(kinds_of(asked)), len(set(asked.severities))
    yield (
        f"{sample}, were shown to the device again with their images made worse in {kinds} "
        f"{'way' if kinds == 1 else 'ways'}, each in {steps} {'severity' if steps == 1 else 'severities'} (ladders of "
        f"{clean(asked.modality)} images). Every amount is the one declared, in a unit that can be measured on the "
        "image. Changes are paired: the same cases, degraded less unchanged."
    )
    yield (
        "These images are computed, not acquired: they show how the device answers to a known change of the image, "
        "not how often such images occur, nor that a real scanner's defect looks alike. No criterion of the study is "
        "judged on them."
    )
    failed = m.recorded("robustness.n_failed", 0)
    if failed:
        yield (
            f"{format_count(failed)} answers to degraded images are missing (the image could not be degraded, or the "
            "device gave none); differences count them as the protocol counts missing outputs."
        )


# --- endpoints ------------------------------------------------------------------------------------------------------


def _endpoint(m: Material, asked: Robustness, endpoint: Endpoint, found: Found) -> Iterator[Block]:
    title = f"{metric_title(endpoint.metric)} · {clean(endpoint.name, longest=60)}"
    before = found.get((endpoint.name, endpoint.metric, CLEAN, None, ()))
    if before is None:
        return
    yield Heading(text=title, id=f"robustness-{anchor(before[0])}")
    lost = tuple(_lost_words(m, asked, endpoint, found))
    if lost:
        yield Prose(paragraphs=lost)
    yield from _figure(m, asked, endpoint, found, before)
    difference = f"{endpoint.metric}_difference"
    rows: list[Row] = [_row("Images as they are", "–", before, None)]
    group = None
    for c in conditions_of(asked):
        if not c.severity:
            continue
        own = found.get((endpoint.name, endpoint.metric, c.name, None, ()))
        change = found.get((endpoint.name, difference, c.name, CLEAN, ()))
        if own is None:
            continue
        if c.kind != group:
            rows.append(Row(cells=(Cell(text=KINDS[c.kind].title),), group=True))
            group = c.kind
        rows.append(_row(f"Severity {c.severity}", c.amount, own, change))
    yield Table(
        label="",
        caption=f"{metric_title(endpoint.metric)} on degraded images",
        columns=(
            Column(title="Images", width=18),
            Column(title="Amount", width=24),
            Column(title=f"Estimate, {m.interval_title}", align="right", width=24),
            Column(title=f"Change, {m.interval_title}", align="right", width=24),
            Column(title="Finding", align="right"),
        ),
        rows=tuple(rows),
        notes=(
            m.method_note(f.estimate for _, f in _of(found, endpoint.name) if not f.stratum),
            m.set_note,
        ),
        compact=True,
    )


def _of(found: Found, endpoint: str) -> list[tuple[int, Finding]]:
    return [x for key, x in found.items() if key[0] == endpoint and key[1] != "criterion_lost_at"]


def _row(said: str, amount: str, own: tuple[int, Finding], change: tuple[int, Finding] | None) -> Row:
    return Row(
        cells=(
            Cell(text=said),
            Cell(text=amount, of=(anchor(own[0]),)),
            _estimate(own),
            Cell(text="–", kind="number") if change is None else _estimate(change),
            Cell(text=anchor(own[0]), kind="muted"),
        ),
    )


def _estimate(found: tuple[int, Finding]) -> Cell:
    index, f = found
    if f.estimate.value is None:
        return Cell(text=not_estimable(f.estimate), kind="muted", anchor=anchor(index))
    text, sub = format_value(f.metric, f.estimate), format_interval(f.metric, f.estimate)
    return Cell(text=text, sub=sub, kind="number", anchor=anchor(index))


def _lost_words(m: Material, asked: Robustness, endpoint: Endpoint, found: Found) -> Iterator[str]:
    """At which severity of each kind the criterion would not be met by this sample."""
    mine = {k: found.get((endpoint.name, "criterion_lost_at", k, None, ())) for k in kinds_of(asked)}
    known = {k: x[1].estimate for k, x in mine.items() if x is not None}
    if not known or endpoint.criterion is None:
        return
    goal = f"{endpoint.criterion.bound} bound {endpoint.criterion.op} {endpoint.criterion.value:g}"
    if all(e.undefined is not None and "unchanged" in e.undefined for e in known.values()):
        yield (
            f"The criterion ({goal}) is not met by the unchanged images of this sample, which is smaller than the test "
            "set: at which severity it would be lost cannot be said."
        )
        return
    ladder = {c.name: c for c in conditions_of(asked)}
    lost = [
        f"{KINDS[k].title.lower()} from severity {int(e.value)} ({ladder[f'{k}/{int(e.value)}'].amount})"
        for k, e in known.items()
        if e.value is not None
    ]
    kept = [KINDS[k].title.lower() for k, e in known.items() if e.value is None]
    if lost:
        yield f"In this sample the criterion ({goal}) would be lost by {'; '.join(lost)}."
    if kept:
        yield f"It would be kept at every severity shown of {', '.join(kept)}."


def _figure(
    m: Material, asked: Robustness, endpoint: Endpoint, found: Found, before: tuple[int, Finding]
) -> Iterator[Block]:
    panels: list[tuple[str, list[Step]]] = []
    drawn = [before[1]]
    for kind in kinds_of(asked):
        steps = [_step(0, before[1])]
        for c in conditions_of(asked):
            own = found.get((endpoint.name, endpoint.metric, c.name, None, ()))
            if c.kind == kind and c.severity and own is not None:
                steps.append(_step(c.severity, own[1]))
                drawn.append(own[1])
        known = [s for s in steps if s is not None]
        if len(known) > 1:
            panels.append((KINDS[kind].title, known))
    if not panels:
        return
    title = metric_title(endpoint.metric)
    alt = f"{title} by severity: " + "; ".join(
        f"{name.lower()} " + ", ".join(f"{s.value:.3f}" for s in steps) for name, steps in panels
    )
    goal = None if endpoint.criterion is None else endpoint.criterion.value
    yield Figure(
        label="",
        caption=f"{title} by kind and severity of degradation",
        alt=f"{alt}.",
        notes=(
            "Bars: intervals. Open circles: the same cases unchanged."
            + ("" if goal is None else " Dashed: the criterion's goal."),
        ),
        of=places(m, drawn),
        svg=ladders(panels, goal=goal, unit_range=bounds(endpoint.metric) == (0.0, 1.0), alt=f"{alt}."),
    )


def _step(severity: int, f: Finding) -> Step | None:
    e = f.estimate
    return None if e.value is None else Step(severity=severity, value=e.value, low=e.low, high=e.high)


# --- answers and groups ---------------------------------------------------------------------------------------------


def _answers(m: Material, asked: Robustness, found: Found) -> Iterator[Block]:
    rows: list[Row] = []
    shown: list[Finding] = []
    group = None
    for c in conditions_of(asked):
        flips = found.get((ANSWERS, "flip_rate", c.name, CLEAN, ()))
        change = found.get((ANSWERS, "score_change", c.name, CLEAN, ()))
        first = change or flips
        if not c.severity or first is None:
            continue
        if c.kind != group:
            rows.append(Row(cells=(Cell(text=KINDS[c.kind].title),), group=True))
            group = c.kind
        shown += [x[1] for x in (flips, change) if x is not None]
        rows.append(_answer_row(c, first[0], change, flips))
    if not rows:
        return
    yield Heading(text="Scores and calls", id="robustness-answers")
    yield Table(
        label="",
        caption="Change of the answers, case by case",
        columns=(
            Column(title="Images", width=18),
            Column(title="Amount", width=24),
            Column(title=f"{_OF.get(m.protocol.task.kind, _SCORE)}, {m.interval_title}", align="right", width=24),
            Column(title=f"Calls changed, {m.interval_title}", align="right", width=24),
            Column(title="Finding", align="right"),
        ),
        rows=tuple(rows),
        notes=(m.method_note(f.estimate for f in shown), m.set_note),
        compact=True,
    )


def _answer_row(c: Condition, index: int, change: tuple[int, Finding] | None, flips: tuple[int, Finding] | None) -> Row:
    return Row(
        cells=(
            Cell(text=f"Severity {c.severity}"),
            Cell(text=c.amount, of=(anchor(index),)),
            Cell(text="–", kind="number") if change is None else _estimate(change),
            share(flips),
            Cell(text=anchor(index), kind="muted"),
        ),
    )


def _masks(m: Material, asked: Robustness, found: Found) -> Iterator[Block]:
    """How far the masks of degraded images agree with those of the unchanged ones, structure by structure."""
    rows: list[Row] = []
    shown: list[Finding] = []
    for structure in targets_of(found, "mask_agreement"):
        rows.append(Row(cells=(Cell(text=clean(structure, longest=60)),), group=True))
        for c in conditions_of(asked):
            x = found.get((of_target(structure), "mask_agreement", c.name, CLEAN, ()))
            if x is not None and c.severity:
                said = f"{KINDS[c.kind].title}, severity {c.severity}"
                cells = (Cell(text=said), Cell(text=c.amount), _estimate(x), Cell(text=anchor(x[0]), kind="muted"))
                rows.append(Row(cells=cells, anchor=anchor(x[0])))
                shown.append(x[1])
    if not shown:
        return
    yield Heading(text="Masks beside those of the unchanged images", id="robustness-masks")
    yield Table(
        label="",
        caption="Agreement of masks, case by case (Dice)",
        columns=(
            Column(title="Images", width=36),
            Column(title="Amount", width=24),
            Column(title=f"Mean agreement, {m.interval_title}", align="right", width=26),
            Column(title="Finding", align="right"),
        ),
        rows=tuple(rows),
        notes=(
            "Agreement needs no reference: 1 where the same was drawn. Masks of turned, cropped or flipped images are "
            "brought back first; what was cut off the picture counts as not drawn.",
            m.method_note(f.estimate for f in shown),
            m.set_note,
        ),
        compact=True,
    )


def _labels(m: Material, asked: Robustness, found: Found) -> Iterator[Block]:
    """Scores and calls of each label, at the highest severity of each kind; all others are in the evidence."""
    highest = max(asked.severities)
    rows: list[Row] = []
    shown: list[Finding] = []
    for kind in kinds_of(asked):
        made = []
        for label in targets_of(found, "score_change"):
            change = found.get((of_target(label), "score_change", f"{kind}/{highest}", CLEAN, ()))
            flips = found.get((of_target(label), "flip_rate", f"{kind}/{highest}", CLEAN, ()))
            if change is not None:
                number = Cell(text=anchor(change[0]), kind="muted")
                made.append(Row(cells=(Cell(text=clean(label, longest=60)), _estimate(change), share(flips), number)))
                shown.append(change[1])
        if made:
            rows += [Row(cells=(Cell(text=KINDS[kind].title),), group=True), *made]
    if not rows:
        return
    yield Table(
        label="",
        caption="Answers of each label",
        columns=(
            Column(title="Label", width=30),
            Column(title=f"{_SCORE}, {m.interval_title}", align="right", width=30),
            Column(title=f"Calls changed, {m.interval_title}", align="right", width=30),
            Column(title="Finding", align="right"),
        ),
        rows=tuple(rows),
        notes=(f"At severity {highest}; all others are in the attached evidence.json.", m.set_note),
        compact=True,
    )


def _groups(m: Material, asked: Robustness, found: Found) -> Iterator[Block]:
    """Calls changed in each group, at the highest severity of each kind; all others are in the evidence."""
    highest = max(asked.severities)
    keys = [key[4] for key in found if key[0] == ANSWERS and key[1] == "flip_rate" and key[4]]
    rows: list[Row] = []
    shown: list[Finding] = []
    for kind in kinds_of(asked):
        made = []
        for key in dict.fromkeys(keys):
            x = found.get((ANSWERS, "flip_rate", f"{kind}/{highest}", CLEAN, key))
            if x is not None:
                made.append(
                    Row(cells=(Cell(text=format_stratum(dict(key))), share(x), Cell(text=anchor(x[0]), kind="muted")))
                )
                shown.append(x[1])
        if made:
            rows += [Row(cells=(Cell(text=KINDS[kind].title),), group=True), *made]
    if not rows:
        return
    note = (
        f"At severity {highest}; other severities and the changes of every endpoint in these groups are in the "
        "attached evidence.json."
    )
    yield Table(
        label="",
        caption="Calls changed in each group",
        columns=(
            Column(title="Group", width=45),
            Column(title=f"Calls changed, {m.interval_title}", align="right", width=35),
            Column(title="Finding", align="right"),
        ),
        rows=tuple(rows[:_MOST_GROUPS]),
        notes=(note, m.method_note(f.estimate for f in shown), m.set_note),
        compact=True,
    )
