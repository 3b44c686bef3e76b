"""The verb `plan`: what size of study the goals take, before anything is collected or opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from evalsuite.cli.console import emit_json, errors_as_exit_codes, stderr, stdout
from evalsuite.cli.options import Json, Store

if TYPE_CHECKING:
    from evalsuite.analyses.planning_rows import Planned
    from evalsuite.spine.planning import StudyPlan


def plan(
    protocol: Annotated[str, typer.Argument(help="protocol file or the name of a shipped one")],
    testset: Annotated[
        Path | None, typer.Option("--testset", help="a locked set: warn where it is too small, without opening it")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="folder for plan.json and the power curves (SVG)")] = None,
    simulate: Annotated[
        int, typer.Option("--simulate", min=0, max=100_000, help="check each figure by so many simulated studies")
    ] = 0,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Sample size, power and precision of a protocol's endpoints, from what its plan assumes."""
    with errors_as_exit_codes(as_json=as_json):
        from evalsuite.spine.planning import plan_study, write_plan

        made = plan_study(protocol, testset_path=testset, simulate=simulate, store=store)
        files = [] if out is None else write_plan(made, out)
        if as_json:
            emit_json({**made.to_json(), "files": [str(p) for p in files], "exit_code": 0})
            return
        _shown(made)
        for path in files:
            stdout().print(f"  wrote {path}")


def _shown(made: StudyPlan) -> None:
    console = stdout()
    console.print(Text(f"Size of the study {made.protocol_id} {made.version}", style="bold"))
    table = Table(box=None, pad_edge=False)
    for name in ("endpoint", "assumed", "goal", "needed", "cases in all", "planned", "power", "± width"):
        table.add_column(name, justify="left" if name in ("endpoint", "goal") else "right")
    for row in made.rows:
        name = f"{row.name} ({row.group})" if row.group else row.name
        table.add_row(
            name,
            "–" if row.assumed is None else f"{row.assumed:g}",
            row.goal or "–",
            "–" if row.needed is None else f"{row.needed:,} {row.counted}",
            "–" if row.cases is None else f"{row.cases:,}",
            "–" if row.planned is None else f"{row.planned:,}",
            "–" if row.power is None else f"{row.power:.1%}",
            "–" if row.half_width is None else f"{row.half_width:.3f}",
        )
    console.print(table)
    for row in made.rows:
        if row.reason:
            console.print(Text(f"  {row.name}: {row.reason}", style="dim"))
        elif row.name in made.simulated:
            console.print(Text(f"  {row.name}: {made.simulated[row.name]:.1%} of the simulated studies", style="dim"))
    for row in made.rows:
        if row.power_error is not None:
            console.print(Text(f"  {row.name}: {_by_both(row)}", style="dim"))
        if row.by_readers:
            each = (f"{k} readers {'never' if n is None else f'{n:,}'}" for k, n in row.by_readers)
            console.print(Text(f"  {row.name}, cases it takes with: " + " · ".join(each), style="dim"))
    for line in made.assumptions:
        console.print(f"  {line}")
    for warning in made.warnings:
        stderr().print(Text(f"Warning: {warning}", style="yellow"))


def _by_both(row: Planned) -> str:
    """What was simulated beside what the formula gives."""
    said = []
    if row.needed is not None and row.needed_power is not None:
        said.append(f"{row.needed:,} cases simulated {row.needed_power:.1%}")
    if row.formula_needed is not None:
        said.append(f"by formula {row.formula_needed:,} cases")
    if row.power is not None:
        formula = "" if row.formula_power is None else f", by formula {row.formula_power:.1%}"
        said.append(f"{row.planned:,} cases simulated {row.power:.1%}{formula}")
    return "; ".join((*said, f"Monte Carlo standard error {row.power_error:.1%}"))
