"""The verbs around a run: what may leave it, what ends it, and what excuses one use too many."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.text import Text

from evalsuite.cli import show
from evalsuite.cli.console import emit_json, errors_as_exit_codes, stderr
from evalsuite.cli.grouped import grouped
from evalsuite.cli.options import Acting, Json, Reason
from evalsuite.errors import InputError

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="run folder with a verdict")]
View = Literal["developer", "assessor", "public"]
MovedSet = Annotated[Path | None, typer.Option("--testset", help="the locked set, where it has moved")]


@grouped
def export(
    *,
    run_folder: RunFolder,
    view: Annotated[
        View,
        typer.Option(
            "--view", help="developer: verdict, whole-set estimates; public: no cases, no small groups; assessor: all"
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="folder to make")],
    testset: MovedSet = None,
    acting: Acting,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Copy of a run for developers (a summary, no cases) or assessors (everything); entered in the ledger."""
    _export(run_folder, view, out, testset, acting, reason, as_json)


def _export(
    run_folder: Path, view: View, out: Path, testset: Path | None, acting: Acting, reason: str, as_json: bool
) -> None:
    with errors_as_exit_codes(as_json=as_json):
        from evalsuite.spine.views import export_view

        done = export_view(
            run_folder, view=view, out=out, who=acting.who(reason), testset_path=testset, store=acting.store
        )
        if as_json:
            emit_json({**done, "path": str(out), "exit_code": 0})
        else:
            show.facts(
                f"The {view} view of run {done['run']} is in {out}",
                [("files", f"{len(done['files'])}"), ("ledger", f"entry {done['ledger_entry']}")],
            )


def public_copy(
    run_folder: Path,
    public: bool,
    out: Path | None,
    study: Path | None,
    testset: Path | None,
    acting: Acting,
    as_json: bool,
) -> None:
    """`report --public`: the public view, beside the run unless a folder is given."""
    with errors_as_exit_codes(as_json=as_json):
        if not public:
            raise InputError(
                "--out is for a public copy or a model card.", hint="Add --public or --model-card, and not --study."
            )
        if study is not None:
            raise InputError("A public copy holds no study description.", hint="Leave out --study.")
    where = out or run_folder.resolve().with_name(f"{run_folder.resolve().name}-public")
    _export(run_folder, "public", where, testset, acting, "public copy written", as_json)


def model_card(run_folder: Path, out: Path | None, as_json: bool) -> None:
    """`report --model-card`: the card of a finished run, on the screen or in a file outside the run."""
    with errors_as_exit_codes(as_json=as_json):
        from evalsuite.spine.views import card_of_run

        card, text = card_of_run(run_folder, out)
        if as_json:
            emit_json({"open_items": list(card.open_items), "path": None if out is None else str(out), "exit_code": 0})
        elif out is None:
            typer.echo(text)


@grouped
def package(
    *,
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="finished runs, of one or several test sets")],
    out: Annotated[Path, typer.Option("--out", help="folder to make, or FILE.zip")],
    testset: Annotated[
        list[Path] | None, typer.Option("--testset", help="a locked set that has moved; repeat it for several")
    ] = None,
    acting: Acting,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Collect reports, evidence, protocols, locks, ledgers and line listings into one package that can be verified."""
    with errors_as_exit_codes(as_json=as_json):
        from evalsuite import __version__
        from evalsuite.spine.package import package_runs

        done = package_runs(
            runs,
            out=out,
            who=acting.who(reason),
            testsets=testset or (),
            store=acting.store,
            software=__version__,
        )
        if as_json:
            emit_json({**done, "path": str(out), "exit_code": 0})
            return
        entries = ", ".join(str(e) for e in done["ledger_entries"])
        rows = [("runs", ", ".join(done["runs"])), ("files", str(done["files"])), ("ledger", f"entry {entries}")]
        show.facts(f"Package written to {out}", [*rows, ("sha-256", done["package"])])
        for warning in done["warnings"]:
            stderr().print(Text(f"Warning: {warning}", style="yellow"))
        show.next_commands(f"evalsuite verify {out}")


@grouped
def void(
    *,
    run_folder: RunFolder,
    reason: Annotated[str, typer.Option("--reason", help="why, for the ledger")],
    superseded_by: Annotated[
        Path | None, typer.Option("--superseded-by", metavar="RUN", help="the run that takes its place")
    ] = None,
    testset: MovedSet = None,
    acting: Acting,
    as_json: Json = False,
) -> None:
    """Declare a run void, or superseded by another, for good; what it did stays on record and counts as use."""
    with errors_as_exit_codes(as_json=as_json):
        from evalsuite.spine.ending import end_run

        done = end_run(
            run_folder,
            who=acting.who(reason, role="custodian"),
            superseded_by=superseded_by,
            testset_path=testset,
            store=acting.store,
        )
        if as_json:
            emit_json({**done, "exit_code": 0})
        else:
            show.facts(f"The run {done['run']} is {done['state']}", [("ledger", f"entry {done['ledger_entry']}")])


@grouped
def waive(
    *,
    testset: Annotated[Path, typer.Argument(metavar="SET", help="the locked test set")],
    reason: Annotated[str, typer.Option("--reason", help="why the cases are used once more than the policy allows")],
    out: Annotated[Path, typer.Option("--out", help="waiver file to write, e.g. waiver.yaml")],
    runs: Annotated[int | None, typer.Option("--runs", min=1, help="for how many runs")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="DATE", help="last day, UTC, e.g. 2026-12-31")] = None,
    acting: Acting,
    as_json: Json = False,
) -> None:
    """Grant a waiver of the reuse limit, signed with the custodian's key; `run --waiver` uses it."""
    with errors_as_exit_codes(as_json=as_json):
        from evalsuite.spine.ending import waive as grant

        done = grant(
            testset, out=out, who=acting.who(reason, role="custodian"), runs=runs, until=until, store=acting.store
        )
        if as_json:
            emit_json({**done.to_json(), "path": str(out), "exit_code": 0})
        else:
            show.facts(
                f"Waiver written to {out}",
                [
                    ("reason", done.reason),
                    ("by", f"{done.who}, {done.role}, key {done.keyid}"),
                    ("allows", " ".join(_allows(done.runs, done.until))),
                ],
            )


def _allows(runs: int | None, until: str | None) -> list[str]:
    return [
        *([f"{runs} run{'s' * (runs != 1)}"] if runs is not None else []),
        *([f"until {until}"] if until is not None else []),
    ]
