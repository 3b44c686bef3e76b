"""How results look on a terminal: verdicts in words, numbers with n and interval, and the next command to try."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from evalsuite.cli import show_model, show_set
from evalsuite.cli.console import stdout

if TYPE_CHECKING:
    from evalsuite.spine import RunResult, Verification
    from evalsuite.testset import LockedTestSet
    from evalsuite.types import Estimate

_WORDS = {"met": "MET", "not_met": "NOT MET", "inconclusive": "INCONCLUSIVE"}
_FEW_COLUMNS = 4
_STYLES = {"met": "bold green", "not_met": "bold red", "inconclusive": "bold yellow"}


def testset_facts(testset: LockedTestSet) -> dict[str, Any]:
    """What a lock is, for JSON."""
    return {
        "set_id": testset.set_id,
        "version": testset.version,
        "root": testset.root,
        "digest": testset.digest,
        "n_cases": len(testset.cases),
        "n_patients": len({c.patient_id for c in testset.cases}),
        "n_files": len(testset.lock.get("files", [])),
        "signed": testset.lock.get("signature") is not None,
        "signed_by": (testset.lock.get("signature") or {}).get("keyid"),
        "encrypted": "encryption" in testset.lock["reference"],
    }


def run_facts(result: RunResult) -> dict[str, Any]:
    """What a run came to, for JSON."""
    verdict = result.verdict
    return {
        "overall": verdict.overall,
        "reason": verdict.reason,
        "evidence": verdict.evidence,
        "not_evidence_because": list(verdict.not_evidence_because),
        "criteria": [c.to_json() for c in verdict.criteria],
        "run": str(result.folder.path),
        "report": str(result.folder.pdf) if result.folder.pdf.exists() else None,
        "evidence_digest": verdict.evidence_digest,
        "flags": list(result.flags),
        "already_done": result.already_done,
    }


def facts(title: str, rows: Sequence[tuple[str, str]]) -> None:
    console = stdout()
    console.print(Text(title, style="bold"))
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        console.print(Text(f"  {name:<{width}}  {value}"))


def next_commands(*commands: str) -> None:
    """What to try next."""
    console = stdout()
    console.print(Text("Next:", style="bold"))
    for command in commands:
        console.print(Text(f"  {command}"), soft_wrap=True)


def scaffolded(directory: Path, made: Sequence[Path]) -> None:
    facts(f"Study scaffolded in {directory}", [(p.name, "written") for p in made])
    next_commands(f"open {directory / 'README.md'} and follow its six steps")


def key_made(found: Mapping[str, Any]) -> None:
    facts(f"A new key is in {found['private']}", [("key id", str(found["keyid"])), ("keep", str(found["keep"]))])
    next_commands(*found["next"])


def locked(testset: LockedTestSet, out: Path, intake: Mapping[str, Any] | None) -> None:
    found = testset_facts(testset)
    size = sum(int(f["size"]) for f in testset.lock.get("files", []))
    facts(
        f"Test set {found['set_id']}, version {found['version']}, is locked in {out}",
        [
            ("cases", f"{found['n_cases']} of {found['n_patients']} patients"),
            ("files", f"{found['n_files']}, {size / 1e6:.1f} MB"),
            ("identity", found["root"]),
            ("signature", f"signed by key {found['signed_by']}" if found["signed"] else "unsigned"),
            ("reference", "encrypted" if found["encrypted"] else "sealed, in the clear"),
            *show_set.version_facts(testset.lock),
        ],
    )
    if intake is not None:
        show_set.intake(intake)
    show_set.completeness(testset.lock.get("attributes", {}))
    next_commands(f"evalsuite freeze PROTOCOL --testset {out} --model MODEL --out frozen")


#: What follows for a modification, in words.
DECISIONS = {"implement": "the modification may be implemented", "do_not_implement": "DO NOT IMPLEMENT"}


def frozen(
    found: Mapping[str, Any],
    out: Path,
    testset: Path,
    model: Path,
    contract: Path | None,
    baseline: Path | None,
    original: Path | None,
) -> None:
    facts(
        f"Protocol {found['protocol']} is frozen in {out}",
        [
            ("protocol", str(found["protocol_digest"])),
            ("test set", str(found["testset_root"])),
            ("model", str(found["model_digest"])),
            *([("baseline", str(found["baseline_digest"]))] if "baseline_digest" in found else []),
            ("ledger", f"entry {found['ledger_entry']}, {found['utc']}"),
            ("signature", f"signed by key {found['signed_by']}" if found["signed_by"] else "unsigned"),
            ("time", f"timestamped {found['timestamp_utc']}" if found["timestamp_utc"] else "of the local clock"),
        ],
    )
    extra = f" --contract {contract}" if contract else ""
    verb = "run" if baseline is None else "compare"
    extra += f" --baseline {baseline}" if baseline is not None else ""
    extra += f" --original {original}" if original is not None else ""
    next_commands(f"evalsuite {verb} {out} --testset {testset} --model {model}{extra} --out run-1")


def predicted(path: Path) -> None:
    facts(f"Predictions are sealed in {path}", [("reference", "still closed")])
    next_commands(f"evalsuite score {path}", f"evalsuite report {path}")


def inspected(found: Mapping[str, Any]) -> None:
    """What something is, fact by fact; a test set's checks and attributes as tables of their own."""
    if found["kind"] == "model":
        show_model.model(found)
        return
    rows = []
    of_set = found["kind"] == "test set"
    for name, value in found.items():
        if name == "kind" or (of_set and name in show_set.ELSEWHERE):
            continue
        if isinstance(value, (list, tuple)):
            shown = "\n".join(str(v) for v in value) if value else "none"
        elif isinstance(value, Mapping):
            shown = "\n".join(f"{k}: {v}" for k, v in value.items()) if value else "none"
        else:
            shown = "none" if value is None else str(value)
        rows.append({"fact": name, "value": shown})
    if of_set:
        rows += [{"fact": name, "value": value} for name, value in show_set.version_facts(found)]
    table(str(found["kind"]).capitalize(), rows)
    if of_set:
        if found.get("intake"):
            show_set.intake(found["intake"])
        show_set.completeness(found.get("attributes", {}))


def table(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """A plain table; nothing in a cell is read as markup, and names in the first column stay whole, to be copied.

    Where that would make tall, narrow columns, every row is a paragraph instead.
    """
    names = max((len(str(next(iter(row.values())))) for row in rows), default=0)
    room = stdout().width - names
    if any(
        sum(len(str(v)) for v in row.values()) - names > room * (4 if len(row) <= _FEW_COLUMNS else 1) for row in rows
    ):
        _paragraphs(title, rows)
        return
    made = Table(title=title, title_justify="left", title_style="bold", show_lines=False)
    for i, name in enumerate(rows[0] if rows else ()):
        made.add_column(str(name), overflow="fold", no_wrap=i == 0)
    for row in rows:
        made.add_row(*(Text(str(v)) for v in row.values()))
    stdout().print(made)


def _paragraphs(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    stdout().print(Text(title, style="bold"))
    for row in rows:
        (_, first), *others = row.items()
        stdout().print(Text(str(first), style="bold"))
        for name, value in others:
            for line in textwrap.wrap(
                f"{name}: {value}", stdout().width, initial_indent="  ", subsequent_indent="    "
            ):
                stdout().print(Text(line))


def _estimate(e: Estimate) -> str:
    if e.value is None:
        return f"not estimable ({e.undefined})"
    interval = f" ({e.low:.3f}–{e.high:.3f})" if e.low is not None and e.high is not None else ""
    counts = f"{e.numerator:g}/{e.denominator:g} = " if e.numerator is not None and e.denominator is not None else ""
    return f"{counts}{e.value:.3f}{interval}"


def verdict(result: RunResult) -> None:
    """The verdict in words, the criteria, where everything is, and what to do next."""
    console = stdout()
    found = result.verdict
    if result.already_done:
        console.print(Text("This run was finished before; nothing was run again."))
    made = Table(title="Acceptance criteria", title_justify="left", title_style="bold")
    for name in ("endpoint", "criterion", "estimate (interval)", "outcome"):
        made.add_column(name, overflow="fold")
    for c in found.criteria:
        where = "".join(f", {k} = {v}" for k, v in c.stratum.items())
        goal = f"{c.criterion.get('bound')} bound {c.criterion.get('op')} {c.criterion.get('value')}"
        made.add_row(
            Text(f"{c.endpoint}{where} ({c.role})"),
            Text(goal),
            Text(_estimate(c.estimate)),
            Text(_WORDS[c.outcome], style=_STYLES[c.outcome]),
        )
    console.print(made)
    line = Text("Verdict: ")
    line.append(_WORDS[found.overall], style=_STYLES[found.overall])
    if found.decision is not None:
        line.append(f" · {DECISIONS[found.decision]}", style="bold")
    console.print(line)
    console.print(Text(f"  {found.reason}"))
    if not found.evidence:
        console.print(Text("  NOT EVIDENCE: " + "; ".join(found.not_evidence_because), style="bold yellow"))
    for flag in dict.fromkeys((*result.flags, *found.flags)):
        console.print(Text(f"  Note: {flag}"))
    folder = result.folder
    rows = [("run folder", str(folder.path)), ("evidence", str(folder.evidence))]
    if folder.pdf.exists():
        rows[:0] = [("report", str(folder.pdf)), ("web page", str(folder.html))]
    facts("Where everything is", rows)
    if folder.pdf.exists():
        next_commands(f"evalsuite verify {folder.path}")
    else:
        next_commands(f"evalsuite report {folder.path}")


def signed(found: Mapping[str, Any], run: Path) -> None:
    """Who signed as what, and who is next."""
    stamped = found.get("stamped_utc")
    facts(
        f"Signed: {found['report']}",
        [
            ("by", f"{found['name']}, {found['role']}"),
            ("meaning", str(found["meaning"])),
            ("time", f"{stamped}, by a timestamp authority" if stamped else f"{found['utc']}, by the local clock"),
            ("certificate", str(found["certificate"])),
            ("file", f"SHA-256 {found['sha256']}"),
            ("ledger", f"entry {found['ledger_entry']}"),
        ],
    )
    after = {"author": "reviewer", "reviewer": "qa"}.get(str(found["role"]))
    then = [] if after is None else [f"evalsuite sign {run} --role {after} --key KEY.p12"]
    next_commands(*then, f"evalsuite verify {run} --trust CERT.pem")


def verified(result: Verification) -> None:
    table(
        f"{result.path} ({result.kind})",
        [{"what": c.name, "state": c.status, "detail": c.detail} for c in result.checks],
    )
    word = "Intact: everything that can be checked holds." if result.intact else "BROKEN: see above."
    stdout().print(Text(word, style="bold green" if result.intact else "bold red"))
