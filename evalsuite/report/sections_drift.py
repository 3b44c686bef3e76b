"""Section on drift: what changed since the baseline, how sure that is, what to do, and the limits one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from evalsuite.protocol.drift import Drift
from evalsuite.report.figures_drift import audits_in_a_row, detector_path, limits_while_labels_arrive
from evalsuite.report.format import format_count, format_number, format_percent
from evalsuite.report.material import Material, anchor, drawn_from, metric_title
from evalsuite.report.sections_drift_change import (
    INDICATOR,
    URGENCY,
    change_log,
    first_seen,
    kind_of,
    marks,
    model_or_data,
    periodic_annex,
    plainly,
    standing_at,
)
from evalsuite.report.sections_sources import row, table_of
from evalsuite.report.text import clean, short_digest
from evalsuite.report.view import (
    Block,
    Bullets,
    Cell,
    Column,
    Facts,
    Figure,
    Heading,
    Item,
    Notice,
    Prose,
    Row,
    Section,
    Table,
    Tone,
)
from evalsuite.types import Finding

_GROUPS = {
    "performance": "Labelled performance",
    "input": "Inputs",
    "output": "Outputs",
    "integrity": "Integrity of the data",
    "chart": "Charts across audits",
}
_TONES: dict[str, Tone] = {"action": "not_met", "warning": "warning", "not assessed": "inconclusive", "normal": "met"}
_MARKS = {"action": "■ action", "warning": "▲ warning", "not assessed": "△ not assessed", "normal": "● normal"}
_EFFECTS = {
    "ks": "Kolmogorov-Smirnov distance",
    "wasserstein": "Wasserstein distance (SD of the baseline)",
    "jensen_shannon": "Jensen-Shannon divergence",
    "psi": "Population stability index",
    "total_variation": "Total variation",
    "mmd": "Squared maximum mean discrepancy",
}
#: The effects printed: those that are tested, and the customary index. The others are in the evidence.
_SHOWN = ("ks", "jensen_shannon", "psi", "mmd")
_Found = list[tuple[int, Finding]]


def drift(material: Material) -> Section | None:
    """The audit's section; None where the study is none."""
    asked = material.protocol.analyses.drift
    found = list(material.findings(analysis="drift"))
    if asked is None or not found:
        return None
    lines = _indicators(found)
    blocks: list[Block] = [
        *_summary(material, found, [f for _, f in lines]),
        _about(material, asked),
        Heading(text="Indicators and limits", id="drift-limits"),
        _limits(material, lines),
        Heading(text="Performance beside the baseline", id="drift-performance"),
        *_performance(material, found),
        *_paths(material, asked),
        *_without_labels(material, found),
        *_carried(material, found),
        *model_or_data(material, found),
        Heading(text="Inputs and outputs", id="drift-inputs"),
        *_shifts(material, found),
        *change_log(found),
        *_charts(material, marks(found)),
        *_next(lines),
        *periodic_annex(material, asked, found, [f for _, f in lines]),
    ]
    return Section(id="monitoring", number="", title="Drift and monitoring", code="R24", blocks=tuple(blocks))


def stands(material: Material) -> tuple[Item, ...]:
    """One line for the first pages: what stands at its action limit and what warns; nothing where there is no audit."""
    lines = _indicators(list(material.findings(analysis="drift")))
    if material.protocol.analyses.drift is None or not lines:
        return ()
    said = []
    for status, words in (("action", "Action limit passed"), ("warning", "Warning")):
        names = [plainly(f.endpoint) for f in standing_at([f for _, f in lines], status)]
        said += [f"{words}: {_listed(names)}."] if names else []
    acting = any(f.condition == "action" for _, f in lines)
    value = "\n".join(said) or "No alarm and no warning. That alone is not a pass."
    return (Item(name="Drift", value=value, tone="warning" if acting else "neutral"),)


def _indicators(found: _Found) -> _Found:
    return [(i, f) for i, f in found if f.metric.startswith(INDICATOR)]


# --- in plain words -------------------------------------------------------------------------------------------------


def _summary(material: Material, found: _Found, lines: Sequence[Finding]) -> list[Block]:
    """What changed, how sure, and what to do; a notice where somebody has to act."""
    said = [_verdict_words(material)]
    said += [w for f in lines if kind_of(f) == "performance" and (w := _performance_words(f, found))]
    since = first_seen(found)
    changed = [
        _short(f.endpoint) + since.get(f.endpoint, "")
        for f in lines
        if f.condition == "action" and kind_of(f) in ("input", "output")
    ]
    if changed:
        said.append(
            f"Changed by more than chance explains: {_listed(changed)}. That alone does not say that the device is "
            "worse."
        )
    else:
        said.append("No input or output changed by more than chance explains at this audit's level.")
    warned = standing_at(lines, "warning")
    if warned:
        said.append(f"Warnings: {_listed([plainly(f.endpoint) for f in warned])}.")
    acting = any(f.condition == "action" for f in lines) or material.verdict.overall == "not_met"
    if not acting:
        return [Prose(paragraphs=(" ".join(said),))]
    return [Notice(title="Somebody has to act", text=" ".join(said), tone="not_met")]


def _verdict_words(material: Material) -> str:
    return {
        "met": "Performance was shown to be above its action limit in this window.",
        "not_met": "Performance was shown to be below its action limit in this window.",
        "inconclusive": "This window does not show that performance is above its action limit: no alarm is not a pass.",
    }[material.verdict.overall]


def _performance_words(line: Finding, found: _Found) -> str:
    """Which way an endpoint went and how sure that is."""
    name = line.endpoint.removeprefix("Performance: ")
    gap = next(
        (f.estimate for _, f in found if f.endpoint == name and f.reference_group == "baseline" and not f.stratum), None
    )
    title = clean(name, longest=60).capitalize()
    raised = " An alarm was raised, in this audit or an earlier one of this calendar."
    alarm = raised if line.condition == "action" else ""
    if gap is None or gap.value is None:
        return f"{title}: not known, for want of labels.{alarm}"
    if gap.low is not None and gap.high is not None and gap.high < 0:
        way = f"is lower than in the validation by {format_percent(-gap.value)} points, and more than chance explains"
    elif gap.low is not None and gap.low > 0:
        way = f"is higher than in the validation by {format_percent(gap.value)} points, and more than chance explains"
    else:
        way = "differs from the validation by no more than chance explains"
    return f"{title} {way}.{alarm}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _short(name: str) -> str:
    return plainly(name.partition(": ")[2] or name)


# --- what was audited -----------------------------------------------------------------------------------------------


def _about(material: Material, asked: Drift) -> Facts:
    calendar = asked.calendar
    series = [c for c in material.evidence.curves if c.kind == "audit_series"]
    number = int(max((c.x[-1] for c in series), default=1.0))
    facts = (
        ("Window", f"{material.set_name}, {format_count(material.n_cases)} cases"),
        ("Audit", f"{number} of {calendar.audits} in this calendar; the next is due {calendar.every_days} days later"),
        (
            "False alarms accepted",
            f"{format_percent(calendar.false_alarm)} % for the whole calendar while nothing changes; in this audit "
            f"{format_percent(asked.alpha_shifts, 3)} % for {asked.n_tests} tests of inputs and outputs together",
        ),
        ("Model", f"{short_digest(material.recorded('audit.device'))}, the one that was validated"),
    )
    return Facts(items=tuple(Item(name=name, value=value) for name, value in facts))


def _limits(material: Material, lines: _Found) -> Table:
    rows: list[Row] = []
    for kind in URGENCY:
        own = [(i, f) for i, f in lines if kind_of(f) == kind]
        if not own:
            continue
        rows.append(Row(cells=(Cell(text=_GROUPS[kind]),), group=True))
        for index, f in own:
            e = f.estimate
            value = "–" if e.value is None else _number(f)
            why = e.undefined or e.interval_undefined or ""
            rows.append(
                Row(
                    cells=(
                        Cell(text=clean(_short(f.endpoint), longest=70), sub=clean(why, longest=170)),
                        Cell(text=value, kind="number"),
                        Cell(text=clean(e.method, longest=80), kind="muted"),
                        Cell(text=_MARKS[str(f.condition)], kind="verdict", tone=_TONES[str(f.condition)]),
                        Cell(text=anchor(index), kind="muted"),
                    ),
                    anchor=anchor(index),
                )
            )
    titles = (("Indicator", 42.0), ("Value", 10.0), ("Limits", 24.0), ("Status", 14.0), ("Finding", 10.0))
    return Table(
        label="",
        caption="Every indicator, its limits and how it stands",
        columns=tuple(Column(title=t, width=w, align="right" if t == "Value" else "left") for t, w in titles),
        rows=tuple(rows),
        notes=(
            "Detectors and tests of inputs and outputs spend the budget of false alarms; integrity and charts warn, "
            "outside it.",
            material.set_note,
        ),
    )


def _number(f: Finding) -> str:
    value = f.estimate.value or 0.0
    if kind_of(f) == "performance":
        return f"{format_percent(value)}\u00a0%"
    return format_count(value) if kind_of(f) == "integrity" else format_number(value, 3)


# --- performance ----------------------------------------------------------------------------------------------------


def _performance(material: Material, found: _Found) -> list[Block]:
    words = {"baseline": "validation", "window": "this window", None: "difference"}
    rows: list[Row] = []
    shown: list[Finding] = []
    name = None
    for index, f in found:
        paired = f.condition in ("baseline", "window") or (f.reference_group == "baseline" and f.condition is None)
        if f.stratum or not paired or material.endpoint(f.endpoint) is None or f.metric == "chart_figure":
            continue
        if f.endpoint != name:
            name = f.endpoint
            rows.append(Row(cells=(Cell(text=clean(name, longest=80)),), group=True))
        rows.append(row(material, index, f, words[f.condition]))
        shown.append(f)
    if not rows:
        return []
    note = (
        "What is missing counts against the window and for the validation. Intervals are those of one look; the "
        "criterion is judged by limits that hold at every look. Groups are in the attached evidence.json."
    )
    return [table_of(material, "This window beside the validation", rows, shown, notes=(note,))]


def _paths(material: Material, asked: Drift) -> list[Block]:
    blocks: list[Block] = []
    for monitor in asked.monitor:
        title = clean(monitor.endpoint, longest=60)
        for c in (c for c in material.evidence.curves if c.series == monitor.endpoint):
            if c.kind == "sequence":
                alt = f"{title} after {c.x[-1]:g} patients: {format_percent(c.y[-1])} %."
                drawn = limits_while_labels_arrive(c, action=monitor.action, warning=monitor.warning, alt=alt)
                caption = f"{title}: limits as labels arrived"
                source = drawn_from(material, c)
                blocks.append(Figure(label="", caption=caption, svg=drawn, alt=alt, source=source))
            elif c.kind == "detector":
                peak, limit = max(c.y), (c.high or c.y)[0]
                passed = "The alarm line was reached." if peak >= limit else "The alarm line was not reached."
                alt = f"Evidence that {title} is below {monitor.action:g}, over patients. {passed}"
                note = (
                    f"{passed} At or above the action limit it is reached in this calendar with a chance of at most "
                    f"{format_percent(asked.alpha_detector)} %, however often one looks."
                )
                figure = Figure(
                    label="",
                    caption=f"{title}: evidence of a loss, going on from the audits before",
                    svg=detector_path(c, alt=alt),
                    alt=alt,
                    notes=(note,),
                    source=drawn_from(material, c),
                )
                blocks.append(figure)
    return blocks


def _without_labels(material: Material, found: _Found) -> list[Block]:
    names = {"baseline": "labelled cases of the validation", "window": "labelled cases of this window"}
    names["from_calls"] = "this window, from how often the device calls"
    rows: list[Row] = []
    shown: list[Finding] = []
    for index, f in found:
        if f.condition == "without_labels":
            said = f"{metric_title(f.metric)} expected"
        elif f.endpoint == "prevalence":
            said = f"Prevalence: {names[str(f.condition)]}"
        else:
            continue
        rows.append(row(material, index, f, said, alone=True, percent=f.metric != "auroc"))
        shown.append(f)
    if not rows:
        return []
    text = next((n for n in material.evidence.notes if n.startswith("Performance without labels")), "")
    if any(f.condition == "action" and kind_of(f) in ("input", "output") for _, f in _indicators(found)):
        text += " Inputs or outputs have changed here, so the baseline's calibration need not hold: do not rely on it."
    return [
        Heading(text="Without labels", id="drift-unlabelled"),
        Prose(paragraphs=(clean(text),)),
        table_of(material, "What performance and prevalence may be in the whole window", rows, shown),
    ]


def _carried(material: Material, found: _Found) -> list[Block]:
    parts = [(i, f) for i, f in found if f.condition in ("within", "mix")]
    parts.sort(key=lambda item: -abs(item[1].estimate.value or 0.0))
    if not parts:
        return []
    rows = []
    for index, f in parts[:12]:
        group = ", ".join(f"{clean(k, longest=40)} {clean(v, longest=40)}" for k, v in f.stratum.items())
        how = "its own performance" if f.condition == "within" else "how many it has"
        rows.append(row(material, index, f, f"{clean(f.endpoint, longest=40)}: {group}, {how}", alone=True))
    note = "Parts of the difference of each endpoint between the two periods, largest first; for orientation."
    shown = [f for _, f in parts[:12]]
    return [table_of(material, "Which groups carry a change of performance", rows, shown, notes=(note,))]


# --- inputs, outputs, charts ----------------------------------------------------------------------------------------


def _shifts(material: Material, found: _Found) -> list[Block]:
    chance = {
        (f.endpoint, f.metric): (anchor(i), f.estimate.value)
        for i, f in found
        if f.condition == "chance_95" and f.metric in _EFFECTS
    }
    rows: list[Row] = []
    shown: list[Finding] = []
    name = None
    for index, f in found:
        if f.metric not in _SHOWN or f.condition is not None:
            continue
        if f.endpoint != name:
            name = f.endpoint
            rows.append(Row(cells=(Cell(text=plainly(name, 80)),), group=True))
        place, usual = chance.get((f.endpoint, f.metric), ("", None))
        beside = "" if usual is None else f"; by chance up to {format_number(usual)}"
        made = row(material, index, f, f"{_EFFECTS[f.metric]}{beside}", alone=True)
        rows.append(made if usual is None else replace(made, of=(place,)))
        shown.append(f)
    levels = [(i, f) for i, f in found if f.metric == "share_of_cases"]
    for index, f in levels[:24]:
        level = ", ".join(f"{clean(k, longest=40)} {clean(v, longest=50)}" for k, v in f.stratum.items())
        when = "validation" if f.condition == "baseline" else "this window"
        rows.append(row(material, index, f, f"Share of {level}: {when}", alone=True, percent=True))
        shown.append(f)
    note = "By chance: what 95 of 100 reshuffles of patients between both periods stay below, at these sizes."
    return [table_of(material, "How far inputs and outputs lie from the validation", rows, shown, notes=(note,))]


def _charts(material: Material, changes: Mapping[int, str]) -> list[Block]:
    series = [c for c in material.evidence.curves if c.kind == "audit_series" and len(c.x) > 1]
    if not series:
        return []  # one audit is no row of audits
    blocks: list[Block] = [Heading(text="All audits of this calendar", id="drift-charts")]
    for c in series:
        title = clean(c.metric, longest=60).capitalize()
        first = format_percent((c.low or c.y)[0])
        alt = f"{title}: {format_percent(c.y[-1])} % in audit {c.x[-1]:g}, {first} % in the validation."
        drawn = audits_in_a_row(c, changes=changes, alt=alt)
        source = drawn_from(material, c)
        blocks.append(Figure(label="", caption=f"{title}, audit by audit", svg=drawn, alt=alt, source=source))
    return blocks


def _next(lines: _Found) -> list[Block]:
    """What a person answers for; the suite only asks."""
    acting = [plainly(f.endpoint, 80) for f in standing_at([f for _, f in lines], "action")]
    asked = (
        f"Action limits passed: {_listed(acting) if acting else 'none'}. Decided and by whom, with a date: ______",
        "Corrective and preventive action, roll-back, or a change under an authorised plan: ______",
        "Complaints, overrides, misdiagnoses and adverse events of this period, assessed for reporting: ______",
        "Effect on benefit and risk, for the periodic safety update: ______",
    )
    return [Heading(text="To be decided", id="drift-actions"), Bullets(items=asked)]
