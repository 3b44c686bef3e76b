"""`evalsuite review`: what a reviewer says of the wrong cases, in a copy of the report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evalsuite.cli import show
from evalsuite.cli.console import emit_json, errors_as_exit_codes
from evalsuite.cli.grouped import grouped
from evalsuite.cli.options import Acting, Json, Reason


@grouped
def review(
    *,
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="finished run with a listing of wrong cases")],
    review_file: Annotated[
        Path, typer.Argument(metavar="FILE", help="copy of RUN/arrays/failures.csv with categories filled in")
    ],
    out: Annotated[Path, typer.Option("--out", help="folder to make, outside the run")],
    testset: Annotated[Path | None, typer.Option("--testset", help="the locked set, where it has moved")] = None,
    acting: Acting,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Copy a run's report with a reviewer's categories of wrong cases; the sealed run is not touched."""
    with errors_as_exit_codes(as_json=as_json):
        from evalsuite.spine.review import review_run

        done = review_run(
            run_folder,
            review_file,
            out=out,
            who=acting.who(reason, role="reviewer"),
            testset_path=testset,
            store=acting.store,
        )
        if as_json:
            emit_json({**done, "path": str(out), "exit_code": 0})
            return
        rows = [
            (kind, ", ".join(f"{name or 'without a category'} {n}" for name, n in sorted(counts.items())))
            for kind, counts in done["counts"].items()
        ]
        show.facts(f"The reviewed copy of the report is in {out}", [*rows, ("ledger", f"entry {done['ledger_entry']}")])
