"""A reviewer's categories of wrong cases: read back from the line listing, and shown in a copy of the report.

The run stays as it was sealed. The copy lies elsewhere, says on its first page that it is one, and names the digest of
the reviewer's file, which the ledger has too.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from evalsuite.errors import InputError, OutputError, Problem
from evalsuite.protocol.checks import did_you_mean
from evalsuite.protocol.load import load_protocol
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.record.canonical import read_json
from evalsuite.record.digest import sha256_file
from evalsuite.record.files import atomic_write, walk_files
from evalsuite.spine import history, states
from evalsuite.spine.exhibits import read_exhibits
from evalsuite.spine.folder import RunFolder, require_intact
from evalsuite.spine.running_context import Who
from evalsuite.spine.running_score import remembered_set
from evalsuite.spine.views import refusal
from evalsuite.types import Evidence, Exhibits, Listing, Verdict

LISTING = "failures"
_LONGEST_COMMENT = 1000
_MOST_PROBLEMS = 20


def review_run(
    run_path: Path, review: Path, *, out: Path, who: Who, testset_path: Path | None = None, store: str | None = None
) -> dict[str, Any]:
    """Write a copy of a run's report with a reviewer's categories into the new folder `out`; enter it in the ledger.

    `review` is the run's `arrays/failures.csv` with `category` (one of those the protocol lists, or empty) and
    `comment` filled in. Rows are found by `case_id` and `kind`, in any order; other columns are not read, rows may be
    left out. Returns the run, its counts by kind and category, and the files written.

    Raises
    ------
    InputError
        If the protocol lists no wrong cases, the file does not fit the run (every problem at once), or the role may not
        see single cases.
    IntegrityError
        If the run is not as it was sealed, or the ledger does not know it.
    OutputError
        If `out` holds something, lies in the run, or cannot be written.
    """
    folder = RunFolder(Path(run_path))
    require_intact(folder)
    if not folder.verdict.exists():
        raise InputError(f"{run_path} has no verdict yet.", hint=f"First: evalsuite score {run_path}")
    protocol = load_protocol(folder.protocol)
    exhibits = read_exhibits(folder)
    listing = next((x for x in exhibits.listings if x.name == LISTING), None)
    if listing is None or protocol.analyses.failures is None:
        raise InputError(
            "This run lists no wrong cases to review.", hint="Protocol key analyses.failures; see docs/failures.md."
        )
    said = read_review(Path(review), protocol, listing)
    _require_elsewhere(out, folder)
    record = read_json(folder.record)
    refused = refusal("assessor", who, protocol)
    if refused is not None:
        raise InputError(
            f"A review shows single cases, and is refused: {refused}.", hint="Review with --role reviewer."
        )
    digest = sha256_file(Path(review))
    filled = with_review(listing, said)
    counts = counts_of(filled)
    kept = history.open_ledger(testset_path or remembered_set(record), store)
    states.state_of(kept.entries(), record["run"]["id"])
    # The line is on disk before anything is written from the run.
    chain = history.step(
        kept,
        "exported",
        who,
        record["run"]["id"],
        {"view": "review", "review": digest},
        reason=who.reason or "report copied with a review of wrong cases",
    )
    shown = {**record, "review": {"sha256": digest, "by": who.actor, "counts": counts}}
    _write(folder, protocol, shown, replace(exhibits, listings=_exchanged(exhibits, filled)), filled, out)
    return {
        "run": record["run"]["id"],
        "review": digest,
        "counts": counts,
        "files": walk_files(out),
        "ledger_entry": chain[-1].seq,
    }


def _require_elsewhere(out: Path, folder: RunFolder) -> None:
    target, run = Path(out).resolve(), folder.path.resolve()
    if target == run or run in target.parents:
        raise OutputError("A sealed run is not added to.", hint="Choose an --out beside the run, not in it.")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise OutputError(f"{out} already holds something.", hint="Choose a new or empty folder with --out.")


def read_review(path: Path, protocol: StudyProtocol, listing: Listing) -> dict[tuple[str, str], tuple[str, str]]:
    """(case, kind) → (category, comment) of every row of a reviewer's file that says something.

    Raises InputError listing everything wrong with it; what the reviewer wrote is never part of the message.
    """
    from evalsuite.testset.table import read_table

    asked = protocol.analyses.failures
    assert asked is not None, "the caller has checked"
    table = read_table(path, error=InputError)
    absent = [c for c in ("case_id", "kind", "category") if c not in table.columns]
    if absent:
        raise InputError(
            f"{path.name} is no review: it has no column {', '.join(absent)}.",
            hint="Fill in a copy of arrays/failures.csv of the run; separate columns by commas.",
        )
    known = {(row[0], row[1]) for row in _keys(listing)}
    cases = {case for case, _ in known}
    said: dict[tuple[str, str], tuple[str, str]] = {}
    problems: list[Problem] = []
    seen: set[tuple[str, str]] = set()
    comments = table["comment"] if "comment" in table.columns else [""] * len(table)
    rows = zip(table["case_id"], table["kind"], table["category"], comments, strict=True)
    for number, (case, kind, category, comment) in enumerate(rows, start=2):
        key, where = (str(case).strip(), str(kind).strip()), f"row {number}"
        category, comment = str(category).strip(), str(comment).strip()
        if key not in known:
            what = "not a wrong case of this run" if key[0] not in cases else "the case is not listed under this kind"
            problems.append(Problem(what, where, "leave case_id and kind as the run lists them"))
        elif key in seen:
            problems.append(Problem("the same case and kind a second time", where))
        elif category and category not in asked.categories:
            hint = did_you_mean(category, asked.categories)
            problems.append(Problem("a category that the protocol does not list", where, hint))
        elif len(comment) > _LONGEST_COMMENT:
            problems.append(Problem("a comment that is too long", where, f"{_LONGEST_COMMENT} characters at most"))
        elif category or comment:
            said[key] = (category, comment)
        seen.add(key)
    if problems:
        n = len(problems)
        raise InputError(
            f"{path.name} does not fit this run: {n} problem{'s' * (n != 1)}.",
            problems=[*problems[:_MOST_PROBLEMS], *_more(n)],
        )
    if not said:
        raise InputError(f"{path.name} says nothing: no row has a category or a comment.", hint="Fill in `category`.")
    return said


def _more(n: int) -> list[Problem]:
    return [Problem(f"and {n - _MOST_PROBLEMS} more")] if n > _MOST_PROBLEMS else []


def _keys(listing: Listing) -> list[tuple[str, str]]:
    at, kind = listing.columns.index("case_id"), listing.columns.index("kind")
    return [(row[at], row[kind]) for row in listing.rows]


def with_review(listing: Listing, said: Mapping[tuple[str, str], tuple[str, str]]) -> Listing:
    """The listing with what a reviewer said in its columns `category` and `comment`."""
    category, comment = listing.columns.index("category"), listing.columns.index("comment")
    rows = []
    for key, row in zip(_keys(listing), listing.rows, strict=True):
        cells = list(row)
        cells[category], cells[comment] = said.get(key, ("", ""))
        rows.append(tuple(cells))
    return replace(listing, rows=tuple(rows))


def counts_of(listing: Listing) -> dict[str, dict[str, int]]:
    """Kind → category → how many; "" counts what was not put into one."""
    category = listing.columns.index("category")
    counted = Counter((kind, row[category]) for (_, kind), row in zip(_keys(listing), listing.rows, strict=True))
    made: dict[str, dict[str, int]] = {}
    for (kind, name), n in counted.items():
        made.setdefault(kind, {})[name] = n
    return made


def _exchanged(exhibits: Exhibits, filled: Listing) -> tuple[Listing, ...]:
    return tuple(filled if x.name == LISTING else x for x in exhibits.listings)


def _write(
    folder: RunFolder,
    protocol: StudyProtocol,
    record: Mapping[str, Any],
    exhibits: Exhibits,
    filled: Listing,
    out: Path,
) -> None:
    from evalsuite.report import write_report

    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows((filled.columns, *filled.rows))
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"Cannot write {out}: {error.strerror}.", hint="Choose another --out.") from error
    atomic_write(out / f"{LISTING}.csv", text.getvalue().encode("utf-8"))
    write_report(
        out / folder.pdf.name,
        protocol=protocol,
        evidence=Evidence.from_json(read_json(folder.evidence)),
        verdict=Verdict.from_json(read_json(folder.verdict)),
        record=record,
        exhibits=exhibits,
        html_path=out / folder.html.name,
    )
