"""Each site beside all others taken together: a plot and a table of the gaps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evalsuite.report.figures_cases import ForestRow, forest
from evalsuite.report.format import (
    format_count,
    format_estimate,
    format_interval,
    format_level_name,
    format_value,
    not_estimable,
)
from evalsuite.report.material import Material, anchor, bounds, question
from evalsuite.report.text import clean
from evalsuite.report.view import Block, Cell, Column, Figure, Prose, Row, Table
from evalsuite.types import Finding

_MOST_SITES = 20
Numbered = tuple[int, Finding]


def left_out_view(material: Material, found: Sequence[Numbered], site: str) -> Iterator[Block]:
    """For every endpoint of the site models: each site's figure, that of all others together, and the gap."""
    by_condition: dict[str, dict[str, Numbered]] = {}
    for index, f in found:
        key = f"site={next(iter(f.stratum.values()), '')}" if f.condition == "site" else str(f.condition)
        by_condition.setdefault(f.endpoint, {})[key] = (index, f)
    first = True
    for mine in by_condition.values():
        names = [key.removeprefix("gap=") for key in mine if key.startswith("gap=")]
        if not names:
            continue
        if first:
            yield Prose(
                paragraphs=(
                    f"Each {site} is set beside all others, whose cases count as one group. A gap that its interval "
                    f"keeps away from 0 says that this {site} differs from the rest, not why. With many of them some "
                    "do by chance: nothing is judged by it.",
                )
            )
            first = False
        yield _figure(material, mine, names, site)
        yield _table(material, mine, names, site)


def _figure(m: Material, mine: dict[str, Numbered], names: Sequence[str], site: str) -> Figure:
    some = mine[f"gap={names[0]}"][1]
    own = next((mine[f"site={n}"][1] for n in names if f"site={n}" in mine), some)
    rows: list[ForestRow] = []
    for name in names[:_MOST_SITES]:
        label = format_level_name(name)
        rows.append(ForestRow(label=label, group=True))
        for key, said in ((f"site={name}", "itself"), (f"others={name}", "all others")):
            if key in mine:
                rows.append(_row(mine[key], said))
    whole = m.find(own.endpoint)
    reference = None if whole is None else whole[1].estimate.value
    title = question(own, several_points=len(m.protocol.operating_points) > 1)
    shown = [r for r in rows if not r.group]
    alt = f"{title}, each {site} beside all others: " + "; ".join(f"{r.label}: {r.text}" for r in shown) + "."
    notes = [f"Bars: {m.interval_title}. {m.set_note}"]
    if len(names) > _MOST_SITES:
        notes.insert(0, f"{len(names) - _MOST_SITES} more are in the attached evidence.json.")
    return Figure(
        label="",
        caption=f"{title}: each {site} left out ({clean(own.endpoint, longest=60)})",
        alt=alt,
        notes=tuple(notes),
        of=tuple(r.of for r in rows if r.of),
        svg=forest(
            rows, axis_title=title, goal=None, goal_text="", reference=reference, bounds=bounds(own.metric),
            counts_title="n", alt=alt, of=clean(site, longest=30).capitalize(),
        ),
    )  # fmt: skip


def _row(found: Numbered, said: str) -> ForestRow:
    f, of = found[1], anchor(found[0])
    e = f.estimate
    if e.value is None:
        return ForestRow(label=said, text="not estimable", counts=format_count(e.n), of=of)
    text, n = format_estimate(f.metric, e), format_count(e.n)
    return ForestRow(label=said, text=text, counts=n, value=e.value, low=e.low, high=e.high, of=of)


def _table(m: Material, mine: dict[str, Numbered], names: Sequence[str], site: str) -> Table:
    rows = []
    shown = []
    for name in names[:_MOST_SITES]:
        index, f = mine[f"gap={name}"]
        e = f.estimate
        shown.append(e)
        gap = (
            Cell(text=not_estimable(e), kind="muted")
            if e.value is None
            else Cell(text=format_value(f.metric, e), sub=format_interval(f.metric, e), kind="number")
        )
        cells = [_estimate(mine.get(f"{key}={name}")) for key in ("site", "others")]
        number = Cell(text=anchor(index), kind="muted")
        rows.append(Row(cells=(Cell(text=format_level_name(name)), *cells, gap, number), anchor=anchor(index)))
    title = question(mine[f"gap={names[0]}"][1], several_points=len(m.protocol.operating_points) > 1)
    return Table(
        label="",
        caption=f"{title}: each {site} less all others",
        columns=(
            Column(title=clean(site, longest=30).capitalize(), width=18),
            Column(title="Its own", align="right", width=24),
            Column(title="All others together", align="right", width=24),
            Column(title=f"Gap, {m.interval_title}", align="right", width=24),
            Column(title="Finding", align="right", width=10),
        ),
        rows=tuple(rows),
        notes=(m.method_note(shown), m.set_note),
        compact=True,
    )


def _estimate(found: Numbered | None) -> Cell:
    if found is None:
        return Cell(text="–", kind="number")
    e = found[1].estimate
    if e.value is None:
        return Cell(text=not_estimable(e), kind="muted", anchor=anchor(found[0]))
    text, sub = format_value(found[1].metric, e), format_interval(found[1].metric, e)
    return Cell(text=text, sub=sub, kind="number", anchor=anchor(found[0]))
