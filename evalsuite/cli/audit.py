"""`evalsuite audit`: a drift audit of a window of production cases, or how the deployment stands."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.text import Text

from evalsuite.cli import keys, show
from evalsuite.cli.console import emit_json, errors_as_exit_codes, stages, stdout
from evalsuite.cli.grouped import grouped
from evalsuite.cli.options import Acting, Json, Reason, ReferenceKeyFile
from evalsuite.cli.signals import stop_requested
from evalsuite.errors import InputError

if TYPE_CHECKING:
    from evalsuite.spine.audit_history import Standing


@grouped
def audit(
    *,
    protocol: Annotated[str | None, typer.Argument(help="protocol of kind drift_audit")] = None,
    window: Annotated[
        Path | None,
        typer.Option(
            "--window",
            help="case table of the window, with the outputs where there is no --model; or, with --log, a folder or "
            "pattern (in quotes) of DICOM files",
        ),
    ] = None,
    log: Annotated[
        Path | None, typer.Option("--log", help="the deployment's prediction log about the DICOM files of --window")
    ] = None,
    case_uid: Annotated[
        Literal["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"] | None,
        typer.Option(
            "--case-uid",
            help="with --log: files with the same UID are a case, which a column of the log has; SOPInstanceUID if not "
            "given",
        ),
    ] = None,
    baseline: Annotated[Path | None, typer.Option("--baseline", help="run folder of the validation")] = None,
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="run folder; the same command goes on where it stopped")
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", help="the deployed model; else the window's table is its prediction log")
    ] = None,
    contract: Annotated[Path | None, typer.Option("--contract", help="contract of a model without one")] = None,
    former: Annotated[
        Path | None,
        typer.Option("--former", help="run of the replaced version on the baseline's set; needs --former-outputs"),
    ] = None,
    former_outputs: Annotated[
        Path | None,
        typer.Option("--former-outputs", help="table of the replaced version's outputs on the window's cases"),
    ] = None,
    history: Annotated[
        str | None,
        typer.Option(
            "--history",
            envvar="EVALSUITE_HISTORY",
            help="SQLite file or database URL of the deployment's history; else drift-history.sqlite beside --out",
        ),
    ] = None,
    deployment: Annotated[str, typer.Option("--deployment", help="name of the chain in a shared history")] = "default",
    check: Annotated[
        bool, typer.Option("--check", help="no audit: exit 1 where an action limit was passed or an audit is overdue")
    ] = False,
    prometheus: Annotated[
        Path | None, typer.Option("--prometheus", help="write the latest indicators to this text file")
    ] = None,
    reference_key: ReferenceKeyFile = None,
    unsandboxed: Annotated[bool, typer.Option("--unsandboxed", help="run the package's code in this process")] = False,
    acting: Acting,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Audit a window of production cases against the validation, or say how a deployment stands."""
    with errors_as_exit_codes(as_json=as_json):
        if check:
            if protocol or window or log or baseline or out_folder or model or history is None:
                hint = "evalsuite audit --check --history H"
                raise InputError("--check looks at a history and at nothing else.", hint=hint)
            _check(history, deployment, prometheus, as_json)
        if protocol is None or window is None or baseline is None or out_folder is None:
            raise InputError(
                "An audit needs a protocol, a window, a baseline and a folder.",
                hint="evalsuite audit PROTOCOL --window CASES --baseline RUN --out RUN, or --check --history H",
            )
        if (former is None) != (former_outputs is None):
            raise InputError("--former and --former-outputs belong together: its run, and its outputs on the window.")
        if log is None and case_uid is not None:
            raise InputError("--case-uid is of DICOM files: it belongs to --log, the prediction log about them.")
        if log is None and window.is_dir():
            raise InputError(
                f"{window} is a folder: with it an audit needs the deployment's prediction log.",
                hint="evalsuite audit PROTOCOL --window FOLDER --log PREDICTIONS --baseline RUN --out RUN",
            )
    with errors_as_exit_codes(as_json=as_json), stop_requested() as should_stop:
        from evalsuite.sandbox.policy import Sandbox
        from evalsuite.spine import audit as audit_window
        from evalsuite.spine.audit_dicom import DicomWindow
        from evalsuite.spine.audit_history import write_prometheus
        from evalsuite.spine.audit_versions import FormerVersion

        with stages() as on_stage:
            made = audit_window(
                protocol,
                window=window if log is None else DicomWindow(files=window, log=log, uid=case_uid or "SOPInstanceUID"),
                baseline=baseline,
                out=out_folder,
                who=acting.who(reason),
                model=model,
                contract=contract,
                former=None if former is None else FormerVersion(run=former, outputs=former_outputs or former),
                history=history,
                deployment=deployment,
                reference_key=keys.reference_key(reference_key),
                store=acting.store,
                on_stage=on_stage,
                should_stop=should_stop,
                sandbox=Sandbox(required=not unsandboxed),
            )
        if prometheus is not None:
            write_prometheus(prometheus, made.standing, deployment)
        code = 0 if made.run.verdict.overall == "met" else 1
        if as_json:
            emit_json({**show.run_facts(made.run), "audit": made.standing.to_json(), "exit_code": code})
        else:
            show.verdict(made.run)
            _print(made.standing)
        raise SystemExit(code)


def _check(history: str, deployment: str, prometheus: Path | None, as_json: bool) -> None:
    """Print how the deployment stands and leave: 0 in order, 1 an action limit was passed or an audit is overdue."""
    from evalsuite.spine.audit_history import open_history, standing, write_prometheus

    if "://" not in history and not Path(history).exists():
        raise InputError(f"There is no history at {history}.", hint="The first audit makes it.")
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    found = standing(open_history(history, deployment), now=now)
    if prometheus is not None:
        write_prometheus(prometheus, found, deployment)
    code = 0 if found.in_order else 1
    if as_json:
        emit_json({**found.to_json(), "exit_code": code})
    else:
        _print(found)
    raise SystemExit(code)


def _print(found: Standing) -> None:
    last = found.last
    overdue = " OVERDUE" if found.overdue else ""
    stdout().print(Text(f"Audit {found.n_audits}: {last.status}. Next due {last.next_due}{overdue}."))
    for line in last.indicators:
        if line["status"] in ("action", "warning"):
            style = "red" if line["status"] == "action" else ""
            stdout().print(Text(f"  {line['status']:8} {line['name']}", style=style))
