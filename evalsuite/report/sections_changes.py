"""Two versions beside each other: what differs in their packages, how long they take, and which decisions changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from evalsuite.protocol.comparisons import compared_with
from evalsuite.report.comparison_words import WHO
from evalsuite.report.figures_pictures import gallery
from evalsuite.report.format import (
    format_bytes,
    format_count,
    format_number,
    format_p,
    format_percent,
    format_stratum,
    not_estimable,
)
from evalsuite.report.material import Material, places, tested
from evalsuite.report.sections_sources import p_words
from evalsuite.report.text import clean, given, sentence, short_digest
from evalsuite.report.view import Block, Cell, Column, Figure, Heading, Prose, Row, Table
from evalsuite.types import Estimate, Finding, Picture, TestOutcome

FLIPS = "flips"
_KINDS = {
    "broken": ("Newly wrong", "right by {who}, wrong by the candidate; the largest change first"),
    "fixed": ("Newly right", "wrong by {who}, right by the candidate; the largest change first"),
}
_COUNTS = ("fixed_rate", "broken_rate", "kept_right_rate", "kept_wrong_rate")
_MOST_ROWS = 60


def of_a_flip(picture: Picture) -> bool:
    """Whether a picture is of a case that two devices decided differently."""
    return picture.group.partition(": ")[0] in _KINDS


def versions(m: Material) -> Iterator[Block]:
    """What was compared: packages and their contracts, and how long each took."""
    devices = {"Candidate": m.recorded("model"), **{_title(w): m.recorded(w) for w in compared_with(m.protocol)}}
    known: dict[str, Mapping[str, Any]] = {k: v for k, v in devices.items() if isinstance(v, Mapping)}
    if len(known) < 2:
        return
    rows = [
        _facts("Name", [given(d.get("name"), "not stated") for d in known.values()]),
        _facts("Format", [given(d.get("format"), "not stated") for d in known.values()]),
        _facts("Package, SHA-256", [short_digest(d.get("digest")) for d in known.values()]),
        _facts("Contract, SHA-256", [short_digest(d.get("contract_digest")) for d in known.values()]),
    ]
    if any(isinstance(d.get("size_bytes"), int) for d in known.values()):
        sizes = [d.get("size_bytes") for d in known.values()]
        rows.append(_facts("Size", [format_bytes(s) if isinstance(s, int) else "not recorded" for s in sizes]))
    rows += _times(m, list(known))
    notes = (
        "Latency is that of a case: reading and decoding it, then the model for its whole batch, as recorded when each "
        "was run; it is judged by nobody. Times of runs on other machines, or of cached images, are not comparable.",
        *_contracts(known),
    )
    columns = (Column(title="", width=22), *(Column(title=k, width=78 / len(known)) for k in known))
    yield Table(
        label="",
        caption="The versions that were compared",
        columns=columns,
        rows=tuple(rows),
        notes=notes,
        compact=True,
        source="record.json",
    )


def _title(who: str) -> str:
    return {"baseline": "Baseline", "original": "Original version"}[who]


def _facts(name: str, cells: list[str]) -> Row:
    return Row(cells=(Cell(text=name, kind="head"), *(Cell(text=clean(c, longest=80)) for c in cells)))


def _times(m: Material, devices: list[str]) -> Iterator[Row]:
    """Latency and rate of every device, from what each run recorded."""
    places = {"Candidate": "inference", "Baseline": "baseline.inference", "Original version": "original.inference"}
    for key, name in (("p50", "Latency, median"), ("p95", "Latency, 95th percentile")):
        cells = [_milliseconds(m.recorded(f"{places[d]}.latency_ms.{key}")) for d in devices]
        yield _facts(name, cells)
    rates = [m.recorded(f"{places[d]}.cases_per_s") for d in devices]
    yield _facts("Cases per second", [format_number(r, 1) if _is_number(r) else "not recorded" for r in rates])
    where = [m.recorded(f"{places[d]}.device") for d in devices]
    yield _facts("On", [given(w, "not recorded") for w in where])


def _milliseconds(value: object) -> str:
    return f"{format_number(value, 1)} ms" if isinstance(value, int | float) else "not recorded"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _contracts(known: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Which parts of the contracts differ: other inputs or outputs are another device, whatever the figures say."""
    own = known["Candidate"].get("contract")
    for name, device in known.items():
        other = device.get("contract")
        if name == "Candidate" or not isinstance(own, Mapping) or not isinstance(other, Mapping):
            continue
        parts = sorted(
            k
            for k in {*own, *other}
            if own.get(k) != other.get(k) and k not in ("name", "version", "schema_", "schema")
        )
        if not parts:
            yield f"The contracts of candidate and {name.lower()} are alike but for names and versions."
            continue
        differ = ", ".join(p.replace("_", " ") for p in parts)
        grave = {"inputs", "outputs", "task"} & set(parts)
        more = (
            ": whether the authorised plan covers that has to be assessed, and a new submission may be needed"
            if grave
            else ""
        )
        yield f"The contracts of candidate and {name.lower()} differ in: {clean(differ, longest=160)}{more}."


# --- decisions that changed -------------------------------------------------------------------------------------------


def changes(m: Material) -> list[Block]:
    """Per comparison of decisions: one sentence, the table with tests, and pictures; nothing where none is compared."""
    found = [f for _, f in m.findings(analysis=FLIPS)]
    blocks: list[Block] = []
    for name in dict.fromkeys(f.endpoint for f in found):
        mine = [f for f in found if f.endpoint == name]
        tests = {_key(t.stratum): t for t in m.evidence.tests if t.analysis == FLIPS and t.endpoint == name}
        title = clean(name[:1].upper() + name[1:], longest=100)
        blocks += [
            Heading(text=title, id=f"flips-{len(blocks)}"),
            Prose(paragraphs=(_sentence(m, mine, tests.get(())),), of=places(m, _whole(mine).values())),
            _table(m, title, mine, tests),
            *_galleries(m, name, mine[0].reference_group or "baseline"),
        ]
    return blocks


def _key(stratum: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(stratum.items()))


def _whole(found: list[Finding]) -> dict[str, Finding]:
    return {f.metric: f for f in found if not f.stratum and f.condition is None}


def _sentence(m: Material, found: list[Finding], test: TestOutcome | None) -> str:
    """How many are newly right and newly wrong, and whether that could be chance."""
    whole = {metric: f.estimate for metric, f in _whole(found).items()}
    who = WHO.get(found[0].reference_group or "", "the baseline")
    fixed, broken = whole["fixed_rate"], whole["broken_rate"]
    if fixed.value is None or broken.value is None:
        return f"Nothing can be counted: {not_estimable(fixed)}."
    unit = f"{fixed.unit}s"
    text = (
        f"Of {format_count(fixed.denominator)} {unit} that both the candidate and {who} decided, "
        f"{format_count(fixed.numerator)} are newly right and {format_count(broken.numerator)} newly wrong"
    )
    if test is not None and test.p_value is not None:
        text += f" ({p_words(test)} for as many of one as of the other)"
    listing = next((x for x in m.exhibits.listings if x.name == FLIPS), None)
    gone = 0
    if listing is not None:
        at = listing.columns.index("change"), listing.columns.index("comparison")
        gone = sum(r[at[0]] == "output lost" and r[at[1]] == found[0].endpoint for r in listing.rows)
    lost = f" {format_count(gone)} more lost their output." if gone else ""
    return f"{text}.{lost} Each newly wrong one is a harm that users of {who} did not have: look at them first."


def _table(
    m: Material, title: str, found: list[Finding], tests: Mapping[tuple[tuple[str, str], ...], TestOutcome]
) -> Table:
    groups: dict[tuple[tuple[tuple[str, str], ...], str | None], dict[str, Finding]] = {}
    for f in found:
        groups.setdefault((_key(f.stratum), f.condition), {})[f.metric] = f
    rows = []
    chosen: list[Estimate] = []
    for (stratum, condition), by in list(groups.items())[:_MOST_ROWS]:
        first = by[_COUNTS[0]]
        name = format_stratum(first.stratum) if stratum else (condition or "All")
        cells = [Cell(text=clean(name, longest=80), kind="head" if not stratum and condition is None else "text")]
        if first.estimate.value is None:
            why = not_estimable(first.estimate)
            cells.append(Cell(text=why, kind="muted", span=5, of=places(m, [first])))
        else:
            chosen += [by["fixed_rate"].estimate, by["broken_rate"].estimate]
            n = format_count(first.estimate.denominator)
            cells.append(Cell(text=n, kind="number", of=places(m, [first])))
            for metric in _COUNTS:
                e = by[metric].estimate
                share = f"{format_percent(e.value)}\u00a0%" if e.value is not None and metric in _COUNTS[:2] else ""
                count = format_count(e.numerator)
                cells.append(Cell(text=count, sub=share, kind="number", of=places(m, [by[metric]])))
        test = tests.get(stratum) if condition is None else None
        p = None if test is None else test.p_value if not stratum else test.p_adjusted
        cells.append(Cell(text=format_p(p), kind="number", of=tested(m, test)))
        rows.append(Row(cells=tuple(cells)))
    methods = "; ".join(dict.fromkeys(t.method for t in tests.values()))
    notes = [
        f"p: two-sided, of as many newly right as newly wrong ({clean(methods, longest=160)}); of groups adjusted "
        "after Holm for how many there are. Exploratory: the criteria are on differences."
        if tests
        else "No test: nothing changed, or no group could be assessed.",
        m.set_note,
    ]
    if len(groups) > _MOST_ROWS:
        notes.append(f"{len(groups) - _MOST_ROWS} more rows are in the attached evidence.json (analysis: flips).")
    return Table(
        label="",
        caption=title,
        columns=(
            Column(title="Group", width=30),
            Column(title="n", align="right", width=10),
            Column(title="Newly right", align="right", width=13),
            Column(title="Newly wrong", align="right", width=13),
            Column(title="Right in both", align="right", width=12),
            Column(title="Wrong in both", align="right", width=12),
            Column(title="p", align="right", width=10),
        ),
        rows=tuple(rows),
        notes=tuple(notes),
    )


def _galleries(m: Material, name: str, who: str) -> Iterator[Figure]:
    for kind, (title, chosen) in _KINDS.items():
        mine = [p for p in m.exhibits.pictures if p.group == f"{kind}: {name}"]
        if not mine:
            continue
        alt = f"{title}. " + "; ".join(clean(f"{p.title} ({p.case_id})", longest=120) for p in mine) + "."
        notes = (
            sentence(chosen.format(who=WHO.get(who, who))),
            "Titles: score, or what was called, before → now. All are in the attached line listing flips.csv.",
        )
        yield Figure(
            label="", caption=f"{title}: {clean(name, longest=80)}", svg=gallery(mine, alt=alt, across=4), alt=alt,
            notes=notes, source="flips.csv",
        )  # fmt: skip
