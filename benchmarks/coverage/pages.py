"""The tables as pages of the documentation, and the summary inside `docs/statistics.md`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.coverage import store
from benchmarks.coverage.campaign import FAMILIES
from benchmarks.coverage.study import CONSERVATIVE, FEWEST, GOAL, Tally
from benchmarks.coverage.summary import Judged, Row, instead, judged, number, of_setting, positives, where

TITLES = {
    "proportions": "proportions and their differences",
    "tables": "two-by-two tables",
    "roc": "AUROC",
    "calibration": "calibration, closed forms",
    "bootstrap": "patient bootstrap of two-class metrics",
    "several": "several classes, labels, grades",
    "measurement": "measurements",
    "generalisation": "other sites and populations",
}
METHOD_PAGES = (
    *("proportions", "roc", "calibration", "bootstrap", "decision_curve", "comparison"),
    *("multiclass", "agreement", "generalisation", "weighting"),
)
"""Pages of `docs/statistics` that say of their own defaults where not to use them."""
ENOUGH = 10_000
GONE = ("bootstrap, basic, extended",)
"""Intervals that finished pieces may hold and that the suite no longer offers."""
BEGIN, END = "<!-- coverage: made by `make coverage-study` -->", "<!-- coverage: end -->"


def finished(place: Path, kept: Path) -> list[store.Done]:
    """What was counted in every design, in the order of families and designs, less intervals that are `GONE`."""
    found = store.results(place, [cell for family in FAMILIES for cell in family.cells], kept)
    return [
        replace(found[cell.key], tallies={k: t for k, t in found[cell.key].tallies.items() if k[1] not in GONE})
        for family in FAMILIES
        for cell in family.cells
        if cell.key in found
    ]


def rows_of(counted: Sequence[store.Done]) -> list[Row]:
    """Every line of the tables."""
    designs = {cell.key: (family.page, cell) for family in FAMILIES for cell in family.cells}
    return [
        Row(page=designs[done.cell][0], cell=designs[done.cell][1], quantity=quantity, method=method, tally=tally)
        for done in counted
        for (quantity, method), tally in done.tallies.items()
    ]


Spot = tuple[str, ...]
"""Page, quantity, interval, design, patients, prevalence and cases of a line."""


def published(folder: Path) -> dict[Spot, list[str]]:
    """Lines of the tables as they stand, by what they are about."""
    found: dict[Spot, list[str]] = {}
    for page in TITLES:
        quantity = ""
        text = (folder / f"{page}.md").read_text(encoding="utf-8") if (folder / f"{page}.md").exists() else ""
        for line in text.splitlines():
            cells = line[2:-2].split(" | ")
            if line.startswith("## "):
                quantity = line[3:]
            elif line.startswith("| ") and cells[0] not in ("interval", "---"):
                found[page, quantity, cells[0].removesuffix(r" \*"), *cells[1:5]] = cells[6:13]
    return found


def not_fewer(row: Row, before: dict[Spot, list[str]]) -> Row:
    """The row, or, where its published line rests on more studies than there are counts of, that line's shares.

    Counts of some early campaigns were not kept. Until as many studies have been made again, what was published stands:
    its shares are known to a tenth of a per cent, far less than their error.
    """
    said = before.get(_spot(row))
    if said is None or "–" in said or int(said[0].replace(",", "")) <= row.tally.studies:
        return row
    studies, (held, _, below, above, none) = int(said[0].replace(",", "")), (float(v) / 100.0 for v in said[1:6])
    made = studies - round(none * studies)
    tallies = [
        replace(row.tally, held=made - low - high, truth_below=low, truth_above=high, none=studies - made)
        for low in _about(below * made)
        for high in _about(above * made)
    ]
    # Of the counts that print as these shares the first; of others, should a page be edited, those with their coverage.
    return replace(
        row,
        tally=min(
            tallies,
            key=lambda t: ([*_shares(t), _verdict(t)] != [*said[1:5], said[6]], abs(t.coverage - held), t.truth_below),
        ),
    )


def _about(count: float) -> range:
    """Whole numbers of up to 20,000 that print as the same tenth of a per cent."""
    return range(max(0, round(count) - 10), round(count) + 11)


def _spot(row: Row) -> Spot:
    c, q = row.cell, row.quantity
    return row.page, q[0].upper() + q[1:], row.method, of_setting(c), f"{c.n:,}", number(c.prevalence), str(c.cases)


def write(place: Path, docs: Path) -> None:
    """Write the pages, the generated part of `statistics.md` and the counts behind them below `docs`."""
    folder = docs / "statistics" / "coverage"
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / store.KEPT.name
    counted = finished(place, kept)
    store.keep(kept, counted)
    before = published(folder)
    own = rows_of(counted)
    rows = [not_fewer(row, before) for row in own]
    stand = sum(row.tally != mine.tally for row, mine in zip(rows, own, strict=True))
    everything = judged(rows)
    for page, title in TITLES.items():
        mine = [j for j in everything if j.rows[0].page == page]
        if mine:
            (folder / f"{page}.md").write_text(_page(title, mine), encoding="utf-8")
    (docs / "statistics" / "coverage.md").write_text(_overview(rows, everything, stand), encoding="utf-8")
    put_between(docs / "statistics.md", _summary(everything))
    for page in METHOD_PAGES:
        put_between(docs / "statistics" / f"{page}.md", _of_method(page, everything))


def method_page(j: Judged) -> str:
    """The page of `docs/statistics` that defines the quantity."""
    q, page = j.quantity, j.rows[0].page
    if "net benefit" in q:
        return "decision_curve"
    if q.startswith(("difference of", "difference, paired", "ratio, paired")):
        return "comparison"
    if "of change" in q or "of response" in q:
        return "generalisation"
    if q.startswith(("weighted kappa", "AC2", "tau-b", "VUS", "RPS", "agreement within")):
        return "agreement"
    if ("weighted" in q and page == "generalisation") or "partial verification" in q or "sampling weights" in q:
        return "weighting"
    return {"tables": "proportions", "several": "multiclass", "measurement": "agreement"}.get(page, page)


def _of_method(page: str, everything: Sequence[Judged]) -> str:
    """Where the defaults of one page are not to be used, and which were found to hold everywhere."""
    mine = [j for j in everything if method_page(j) == page]
    unasked = [j for j in mine if j.unasked]
    table = _unsuitable(mine, unasked=True, among=everything)
    lines = ["## Where not to use a default", ""]
    if not any(j.unsuitable for j in unasked):
        lines += ["No default of this page was found to hold the truth too rarely in the designs studied."]
    else:
        lines += [
            "Simulated designs in which the interval that a protocol gets unasked held the truth too rarely; what a "
            "column means: [statistics](../statistics.md).",
            "",
            table,
        ]
    fine = [j.quantity for j in unasked if not j.unsuitable and any(r.verdict != "too few intervals" for r in j.rows)]
    if fine and any(j.unsuitable for j in unasked):
        lines += ["", f"Suitable or conservative in every design studied: {'; '.join(dict.fromkeys(fine))}."]
    lines += ["", "Which of these rest on fewer than 10,000 simulated studies: [coverage](coverage.md)."]
    pages = dict.fromkeys(j.rows[0].page for j in mine)
    if pages:
        lines += ["", "Every design: " + ", ".join(f"[{TITLES[p]}](coverage/{p}.md)" for p in pages) + "."]
    return "\n".join(lines)


def put_between(path: Path, text: str) -> None:
    """Replace what stands between the markers.

    Raises
    ------
    SystemExit
        If the page has no markers.
    """
    page = path.read_text(encoding="utf-8")
    if BEGIN not in page or END not in page:
        raise SystemExit(f"{path} has no lines {BEGIN!r} and {END!r}")
    before, rest = page.split(BEGIN, 1)
    path.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{rest.split(END, 1)[1]}", encoding="utf-8")


def _table(header: Sequence[str], lines: Iterable[Sequence[str]], right: int = 0) -> list[str]:
    """Markdown; the last `right` columns but the very last are numbers."""
    rule = ["---"] * (len(header) - right - 1) + ["---:"] * right + ["---"] if right else ["---"] * len(header)
    return [f"| {' | '.join(cells)} |" for cells in (header, rule, *lines)]


def _page(title: str, mine: Sequence[Judged]) -> str:
    lines = [
        f"# Coverage: {title}",
        "",
        "What is simulated and how to read a line: [coverage](../coverage.md).",
        "",
    ]
    quantities = list(dict.fromkeys(j.quantity for j in mine))
    for quantity in quantities:
        lines += [f"## {quantity[0].upper()}{quantity[1:]}", ""]
        header = (
            "interval",
            "design",
            "patients",
            "prevalence",
            "cases ≤",
            "truth",
            "studies",
            "coverage %",
            "± error",
            "below",
            "above",
            "none %",
            "verdict",
        )
        lines += _table(header, (_line(j, row) for j in mine if j.quantity == quantity for row in j.rows), right=10)
        lines.append("")
    return "\n".join(lines)


def _line(j: Judged, row: Row) -> tuple[str, ...]:
    t, c = row.tally, row.cell
    made = t.made
    shares = _shares(t) if made else ["–"] * 4
    return (
        j.title,
        of_setting(c),
        f"{c.n:,}",
        number(c.prevalence),
        str(c.cases),
        "varies" if row.quantity == "share at a new site" else f"{t.truth if abs(t.truth) > 1e-12 else 0.0:.4g}",
        f"{t.studies:,}",
        *shares,
        f"{100.0 * t.none / t.studies:.1f}",
        _verdict(t),
    )


def _verdict(t: Tally) -> str:
    return {"unsuitable": "**unsuitable here**"}.get(t.verdict, t.verdict)


def _shares(t: Tally) -> list[str]:
    """Coverage, its error, and the shares missed on either side, as printed."""
    held, below, above = (f"{100.0 * k / t.made:.1f}" for k in (t.held, t.truth_below, t.truth_above))
    return [held, f"{100.0 * t.error:.2f}", below, above]


def _unsuitable(mine: Sequence[Judged], *, unasked: bool, among: Sequence[Judged]) -> str:
    """Table of `mine`; what to declare instead is looked for in `among`."""
    lines = []
    for j in mine:
        if j.unsuitable and j.unasked == unasked:
            lines.append(
                (
                    j.quantity,
                    j.title,
                    where(j.unsuitable, j.rows),
                    positives(j.unsuitable),
                    f"{100.0 * j.worst.coverage:.1f}",
                    f"{100.0 * j.worst.truth_below / j.worst.made:.1f}",
                    f"{100.0 * j.worst.truth_above / j.worst.made:.1f}",
                    instead(j, among),
                )
            )
    header = ("quantity", "interval", "not to be used", "rarer class", "lowest %", "below", "above", "declare instead")
    return "\n".join(_table(header, lines))


def _summary(everything: Sequence[Judged]) -> str:
    by_quantity: dict[str, list[str]] = {}
    for j in everything:
        if not j.unsuitable and any(row.verdict != "too few intervals" for row in j.rows):
            by_quantity.setdefault(j.quantity, []).append(j.title)
    return _filled(
        "summary.md",
        unasked=_unsuitable(everything, unasked=True, among=everything),
        others=_unsuitable(everything, unasked=False, among=everything),
        clean="\n".join(_table(("quantity", "intervals"), [(q, "; ".join(found)) for q, found in by_quantity.items()])),
    )


def _overview(rows: Sequence[Row], everything: Sequence[Judged], stand: int) -> str:
    count = Counter(row.verdict for row in rows)
    fewer = sum(row.tally.studies < ENOUGH for row in rows)
    conservative = [
        (j.quantity, j.title, where(j.having("conservative"), j.rows), f"{100.0 * j.highest:.1f}")
        for j in everything
        if j.having("conservative")
    ]
    pages = [
        (f"[{title}](coverage/{page}.md)", f"{sum(r.page == page for r in rows):,}")
        for page, title in TITLES.items()
        if any(r.page == page for r in rows)
    ]
    most = max((row.tally.error for row in rows if row.tally.made >= FEWEST), default=0.0)
    counts = (
        f"{len(rows):,} lines: {count['ok']:,} suitable, {count['conservative']:,} conservative, "
        f"{count['unsuitable']:,} not to be used, {count['too few intervals']:,} with too few intervals to say.\n"
        f"{len(rows) - fewer:,} rest on {ENOUGH:,} studies or more, with a Monte Carlo error of at most 0.5 points; "
        f"{fewer:,}, most of which resample within every study, on fewer: each says on how many, and the error that "
        f"leaves (at most {100.0 * most:.1f} points where a verdict is given)."
    )
    if stand:
        counts += (
            f"\n{stand:,} of these lines stand as they were published: the counts of the campaign behind them were not "
            "kept, and fewer studies have been made since."
        )
    return _filled(
        "overview.md",
        counts=counts,
        pages="\n".join(_table(("page", "lines"), pages)),
        thin=_thin(everything),
        conservative="\n".join(_table(("quantity", "interval", "conservative", "highest %"), conservative)),
    )


def _thin(everything: Sequence[Judged]) -> str:
    """Defaults that no design has tried in as many studies as it takes, with what their best studied design leaves."""
    lines = []
    for j in everything:
        best = max((row.tally for row in j.rows), key=lambda tally: tally.studies)
        if j.unasked and best.made and best.studies < ENOUGH:
            lines.append((j.quantity, j.method, f"{best.studies:,}", f"{100.0 * best.error:.2f}"))
    starred = sum(j.unasked for j in everything)
    said = (
        f"Of {starred} intervals that a protocol gets unasked, {starred - len(lines)} were tried by {ENOUGH:,} studies "
        "or more in at least one design."
    )
    if not lines:
        return said
    header = ("quantity", "interval", "most studies of a design", "± error")
    rest = " The others, and what the best studied of their designs leaves open:"
    return "\n".join((said + rest, "", *_table(header, sorted(lines), right=2)))


def _filled(template: str, **parts: str) -> str:
    text = (Path(__file__).parent / template).read_text(encoding="utf-8")
    return text.format(goal=f"{100 * GOAL:g}", conservative_from=f"{100 * CONSERVATIVE:g}", fewest=FEWEST, **parts)
