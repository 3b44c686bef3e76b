"""The part on shortcuts: what answers did when a suspected part of the image was taken out or put in; the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from evalsuite.protocol.schema import StudyProtocol
from evalsuite.protocol.shortcuts import CALLS, SCORE, Shortcut, questions_of
from evalsuite.report.figures_bias import GapRow, gap_plot
from evalsuite.report.format import (
    format_count,
    format_estimate,
    format_interval,
    format_number,
    format_percent,
    format_stratum,
    format_value,
    not_estimable,
)
from evalsuite.report.material import Material, anchor, metric_title, places
from evalsuite.report.text import clean
from evalsuite.report.view import Block, Cell, Column, Figure, Heading, Prose, Row, Table, Tone
from evalsuite.types import Estimate, Finding

ANALYSIS = "interpretability"
UNCHANGED, ELSEWHERE, ANSWERS, OVERALL = "unchanged images", "another place", "answers", "all margins"
_SHARE = "prevalence"  # the name of any proportion prints a share in per cent
_MOST_GROUPS = 40
_WORDS: Mapping[str, tuple[str, Tone]] = {
    "convicted": ("■ convicted", "not_met"),
    "acquitted": ("● acquitted", "met"),
    "inconclusive": ("△ inconclusive", "inconclusive"),
    "not assessable": ("△ not assessable", "inconclusive"),
}

Indexed = tuple[int, Finding]
Found = dict[tuple[str | None, str, str, str | None, tuple[tuple[str, str], ...]], Indexed]


def shortcut_blocks(m: Material) -> Iterator[Block]:
    """Everything on shortcuts; nothing where the protocol asks for none or nothing was found."""
    block = m.protocol.analyses.interpretability
    found: Found = {
        (f.condition, f.endpoint, f.metric, f.reference_group, tuple(f.stratum.items())): (index, f)
        for index, f in m.findings(analysis=ANALYSIS)
        if f.condition is not None
    }
    tests = [s for s in (() if block is None else block.shortcuts) if (s.condition, OVERALL) in {k[:2] for k in found}]
    if not tests:
        return
    yield Heading(text="Shortcuts, by behaviour", id="shortcuts")
    yield Prose(paragraphs=(_METHOD, *(sentence(m.protocol, s, found) for s in tests)))
    yield from _figure(m, tests, found)
    for s in tests:
        yield from _tables(m, s, found)
    yield from _groups(m, tests, found)


_METHOD = (
    "A suspected part of the image was taken out of (or put into) images that were then shown to the device again. "
    "Changes are paired: the same cases, changed less as they are. The same treatment of another, random place of "
    "equal size is the control. Convicted: the interval of the change lies wholly beyond the margin that was fixed "
    "beforehand, and the change exceeds that of the other place. Acquitted: the interval lies wholly within every "
    "margin, which says that this region matters little to the answers in these images, not that the device has no "
    "other shortcut. Cases are drawn by the protocol's seed while the reference is closed; no criterion of the study "
    "is judged on them."
)


def verdict_words(estimate: Estimate) -> tuple[str, str]:
    """The word of a verdict, and the reason where it is open: ("convicted", ""), ("inconclusive", "the interval …")."""
    if estimate.value is not None:
        return ("convicted" if estimate.value == 1.0 else "acquitted"), ""
    word, _, reason = str(estimate.undefined).partition(": ")
    return (word, reason) if word in _WORDS else ("not assessable", str(estimate.undefined))


def sentence(protocol: StudyProtocol, asked: Shortcut, found: Found) -> str:
    """What was found of a shortcut with its direction: "Taking out the tag lowers the score by 0.208 …: convicted."."""
    _, overall = found[asked.condition, OVERALL, "shortcut_verdict", None, ()]
    word, reason = verdict_words(overall.estimate)
    name = clean(asked.name, longest=60)
    doing = f"taking out the {name}" if asked.change == "remove" else f"putting in the {name}"
    change = found.get((asked.condition, ANSWERS, "score_change", UNCHANGED, ()))
    said = ""
    if change is not None and change[1].estimate.value is not None:
        e = change[1].estimate
        moves = "raises" if e.value > 0.0 else "lowers" if e.value < 0.0 else "does not move"  # type: ignore[operator]
        by = f" by {format_number(abs(e.value or 0.0))} on average" if e.value else ""
        said = f" {moves} the score{by} (change {format_estimate('score_change', e)}, {format_count(e.n)} cases)"
        control = found.get((asked.control, ANSWERS, "score_change", UNCHANGED, ()))
        if control is not None and control[1].estimate.value is not None:
            said += f"; at another place the change is {format_estimate('score_change', control[1].estimate)}"
    why = f": {clean(reason, longest=200)}" if reason else ""
    return f"{doing[0].upper()}{doing[1:]}{said}: {word}{why}."


# --- tables and figure ----------------------------------------------------------------------------------------------


def _titled(protocol: StudyProtocol, asked: Shortcut, found: Found) -> Iterator[tuple[str, str, str, str]]:
    """(name in words, what the margin is of, endpoint, metric) of each quantity that was estimated."""
    yield "Score, mean change", SCORE, ANSWERS, "score_change"
    yield "of positive cases", "", ANSWERS, "score_change_positive"
    yield "of negative cases", "", ANSWERS, "score_change_negative"
    yield "Calls changed", CALLS, ANSWERS, "flip_rate"
    names = {e.name: e for e in protocol.endpoints}
    for condition, endpoint, metric, against, stratum in found:
        if (condition, against, stratum) == (asked.condition, UNCHANGED, ()) and metric.endswith("_difference"):
            e = names.get(endpoint)
            title = metric_title(metric.removesuffix("_difference"))
            of = f" · {clean(endpoint, longest=60)}" if e is None or title.lower() != endpoint.lower() else ""
            yield f"{title}{of}", endpoint, endpoint, metric


def _tables(m: Material, asked: Shortcut, found: Found) -> Iterator[Block]:
    margins = {q.of: q.margin for q in questions_of(m.protocol, asked)}
    rows: list[Row] = []
    shown: list[Finding] = []
    for title, of, endpoint, metric in _titled(m.protocol, asked, found):
        change = found.get((asked.condition, endpoint, metric, UNCHANGED, ()))
        if change is None:
            continue
        control = found.get((asked.control, endpoint, metric, UNCHANGED, ()))
        beyond = found.get((asked.condition, endpoint, metric, ELSEWHERE, ()))
        shown += [x[1] for x in (change, control, beyond) if x is not None]
        verdict = found.get((asked.condition, of, "shortcut_verdict", None, ()))
        margin = f"margin ±{margins[of]:g}" if of in margins else ""
        rows.append(
            Row(
                cells=(
                    Cell(text=title, sub=margin),
                    _cell(change),
                    _cell(control),
                    _cell(beyond),
                    Cell(text="–", kind="muted") if verdict is None else _verdict_cell(verdict),
                    Cell(text=anchor(change[0]), kind="muted"),
                ),
            )
        )
    overall = found[asked.condition, OVERALL, "shortcut_verdict", None, ()]
    rows.append(
        Row(
            cells=(
                Cell(text="All margins", kind="head"),
                *(Cell(text="") for _ in range(3)),
                _verdict_cell(overall),
                Cell(text=anchor(overall[0]), kind="muted"),
            )
        )
    )
    name = clean(asked.name, longest=60)
    yield Table(
        label="",
        caption=f"Shortcut {name}: {what_was_done(asked)}",
        columns=(
            Column(title="Quantity", width=20),
            Column(title=f"Change, {m.interval_title}", align="right", width=19),
            Column(title="At another place", align="right", width=19),
            Column(title="Beyond that", align="right", width=19),
            Column(title="Verdict", width=16),
            Column(title="Finding", align="right"),
        ),
        rows=tuple(rows),
        notes=(*_counted(asked, found), *_open(asked, found), m.method_note(f.estimate for f in shown), m.set_note),
        compact=True,
    )


def _open(asked: Shortcut, found: Found) -> Iterator[str]:
    """Why verdicts are open, each reason once."""
    reasons: dict[str, list[str]] = {}
    for of in asked.margins:
        verdict = found.get((asked.condition, of, "shortcut_verdict", None, ()))
        if verdict is not None and (reason := verdict_words(verdict[1].estimate)[1]):
            reasons.setdefault(reason, []).append(clean(of, longest=60))
    for reason, names in reasons.items():
        yield f"Open for {', '.join(names)}: {clean(reason, longest=200)}."


def _counted(asked: Shortcut, found: Found) -> Iterator[str]:
    share = found.get((asked.condition, ANSWERS, "cases_with_region", None, ()))
    if share is not None and share[1].estimate.value is not None:
        e = share[1].estimate
        what = "have the region" if asked.change == "remove" else "could take the insertion"
        yield f"{format_count(e.numerator)} of {format_count(e.denominator)} cases drawn {what}; only these count here."


def what_was_done(asked: Shortcut) -> str:
    """The change in words: "printed text taken out, filled from around it"."""
    r = asked.region
    if asked.insert is not None:
        what = f"the text “{clean(asked.insert.text, longest=40)}”" if asked.insert.text else "a picture"
        where = f"the {r.corner.at.replace('_', ' ')} corner" if r.corner is not None else "a fixed rectangle"
        return f"{what} put into {where}"
    if r.text:
        region = "printed text, where a detector finds it,"
    elif r.border is not None:
        region = f"a border of {format_percent(r.border, 0)} % of the shorter side"
    elif r.corner is not None:
        region = f"the {r.corner.at.replace('_', ' ')} corner"
    elif r.box is not None:
        region = "a fixed rectangle"
    else:
        region = f"what the masks in {clean(r.mask, longest=60)} mark"
    filled = "interpolated from around it" if asked.fill == "surroundings" else "the median of what is around it"
    return f"{region} replaced by {'what is ' if asked.fill == 'surroundings' else ''}{filled}"


def _verdict_cell(found: Indexed) -> Cell:
    text, tone = _WORDS[verdict_words(found[1].estimate)[0]]
    return Cell(text=text, kind="verdict", tone=tone, anchor=anchor(found[0]))


def _cell(found: Indexed | None) -> Cell:
    if found is None:
        return Cell(text="–", kind="number")
    index, f = found
    metric = _SHARE if f.metric == "flip_rate" and f.estimate.numerator is not None else f.metric
    if f.estimate.value is None:
        return Cell(text=not_estimable(f.estimate), kind="muted", anchor=anchor(index))
    text, sub = format_value(metric, f.estimate), format_interval(metric, f.estimate)
    return Cell(text=text, sub=sub, kind="number", anchor=anchor(index))


def _figure(m: Material, tests: list[Shortcut], found: Found) -> Iterator[Block]:
    """Change of the score with the region and at another place, against the margin."""
    rows: list[GapRow] = []
    drawn: list[Finding] = []
    for s in tests:
        change = found.get((s.condition, ANSWERS, "score_change", UNCHANGED, ()))
        if change is None or change[1].estimate.value is None:
            continue
        verdict = found.get((s.condition, SCORE, "shortcut_verdict", None, ()))
        word = "" if verdict is None else verdict_words(verdict[1].estimate)[0]
        rows.append(GapRow(label=clean(s.name, longest=60), group=True))
        rows.append(_bar("the region itself", change[1].estimate, s.margins.get(SCORE), word))
        control = found.get((s.control, ANSWERS, "score_change", UNCHANGED, ()))
        drawn += [x[1] for x in (change, control, verdict) if x is not None]
        if control is not None:
            rows.append(_bar("another place of equal size", control[1].estimate, s.margins.get(SCORE), "control"))
    if not rows:
        return
    alt = "Mean change of the score: " + "; ".join(
        row.label if row.group else f"{row.label} {row.value:.3f}" for row in rows if row.group or row.value is not None
    )
    yield Figure(
        label="",
        caption="Change of the score by the region, and by the same treatment of another place",
        alt=f"{alt}.",
        notes=(f"Bars: {m.interval_title}, patients resampled.",),
        of=places(m, drawn),
        svg=gap_plot(rows, alt=f"{alt}.", of="Changed", axis_title="Mean change of the score; 0 is none"),
    )


def _bar(label: str, e: Estimate, margin: float | None, text: str) -> GapRow:
    return GapRow(label=label, text=text, value=e.value, low=e.low, high=e.high, margin=margin)


def _groups(m: Material, tests: list[Shortcut], found: Found) -> Iterator[Block]:
    """Change of the score, else calls changed, in each group."""
    rows: list[Row] = []
    shown: list[Finding] = []
    for s in tests:
        for metric in ("score_change", "flip_rate"):
            made = [
                (key[4], x) for key, x in found.items()
                if key[:4] == (s.condition, ANSWERS, metric, UNCHANGED) and key[4]
            ]  # fmt: skip
            if made:
                rows.append(Row(cells=(Cell(text=clean(s.name, longest=60)),), group=True))
                rows += [
                    Row(
                        cells=(
                            Cell(text=format_stratum(dict(stratum))),
                            Cell(text=format_count(x[1].estimate.n), kind="number"),
                            _cell(x),
                            Cell(text=anchor(x[0]), kind="muted"),
                        ),
                        of=(anchor(x[0]),),
                    )
                    for stratum, x in made
                ]
                shown += [x[1] for _, x in made]
                break
    if not rows:
        return
    yield Table(
        label="",
        caption="Change of the score (without a score: calls changed) in each group",
        columns=(
            Column(title="Group", width=40),
            Column(title="Cases", align="right", width=12),
            Column(title=f"Change, {m.interval_title}", align="right", width=33),
            Column(title="Finding", align="right"),
        ),
        rows=tuple(rows[:_MOST_GROUPS]),
        notes=(
            "Changes of calls and endpoints in these groups are in the attached evidence.json.",
            m.method_note(f.estimate for f in shown),
            m.set_note,
        ),
        compact=True,
    )
