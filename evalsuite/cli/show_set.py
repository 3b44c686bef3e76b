"""How a test set's intake checks, versions and attributes look on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from evalsuite.cli.console import stdout

ELSEWHERE = ("intake", "attributes", "draw", "retired", "lineage")
_WORDS = {"ok": "ok", "warning": "WARNING", "problem": "PROBLEM", "not_checked": "not checked"}
_STYLES = {"ok": "green", "warning": "bold yellow", "problem": "bold red", "not_checked": "dim"}
_MOST_CASES = 8


def intake(report: Mapping[str, Any]) -> None:
    """Every check with its outcome; below it, per finding, which cases, why it matters and what to do."""
    console = stdout()
    made = Table(title="Intake checks", title_justify="left", title_style="bold")
    for name in ("check", "outcome", "found"):
        made.add_column(name, overflow="fold")
    for row in report["rows"]:
        made.add_row(
            Text(str(row["title"])),
            Text(_WORDS[row["outcome"]], style=_STYLES[row["outcome"]]),
            Text(str(row["summary"])),
        )
    console.print(made)
    for row in report["rows"]:
        if row["outcome"] not in ("warning", "problem"):
            continue
        console.print(Text(str(row["title"]), style=_STYLES[row["outcome"]]))
        if row["cases"]:
            shown = ", ".join(str(c) for c in row["cases"][:_MOST_CASES])
            more = len(row["cases"]) - _MOST_CASES
            console.print(Text(f"  cases: {shown}{f' and {more:,} more (all in intake.json)' if more > 0 else ''}"))
        console.print(Text(f"  why:   {row['why']}"))
        if row["action"]:
            console.print(Text(f"  do:    {row['action']}"))


def version_facts(lock: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a version took over, how it was drawn and what is retired, in words."""
    facts = []
    found = lock.get("lineage")
    if found:
        old, counts = found["supersedes"], found["counts"]
        words = ", ".join(f"{n} {k}" if n is not None else f"{k} not verifiable" for k, n in counts.items())
        facts.append(("supersedes", f"{old['set_id']} {old['version']} ({old['root'][:16]}…): {words}"))
    draw = lock.get("draw")
    if draw:
        by = f", by {draw['by']}" if draw["by"] else ""
        facts.append(
            (
                "drawn",
                f"{draw['drawn_cases']:,} of {draw['pool_cases']:,} cases ({draw['drawn_patients']:,} of "
                f"{draw['pool_patients']:,} patients), seed {draw['seed']}{by}",
            )
        )
    retired = lock.get("retired")
    if retired:
        facts.append(("retired", f"{len(retired):,} cases, on record and not evaluated"))
    return facts


def completeness(attributes: Mapping[str, Any]) -> None:
    """How many cases state each DICOM attribute; nothing where no case has DICOM."""
    total = int(attributes.get("n_dicom") or 0)
    if not total:
        return
    present = {name: n for name, n in attributes["present"].items() if n}
    made = Table(
        title=f"DICOM attributes stated, of {total:,} cases with DICOM", title_justify="left", title_style="bold"
    )
    for name in ("attribute", "cases", "complete"):
        made.add_column(name, overflow="fold", justify="left" if name == "attribute" else "right")
    for name, n in sorted(present.items(), key=lambda item: (-item[1], item[0])):
        made.add_row(Text(name), Text(f"{n:,}"), Text(f"{100 * n / total:.0f} %"))
    stdout().print(made)
    absent = len(attributes["present"]) - len(present)
    unreadable = int(attributes.get("n_unreadable") or 0)
    said = f"{absent} more attributes are stated by no case."
    stdout().print(Text(said + (f" {unreadable:,} headers cannot be read." if unreadable else "")))
