"""The verb `gaps`: what reporting checklists still miss in a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from evalsuite.cli.console import emit_json, errors_as_exit_codes, stdout
from evalsuite.cli.options import Json

_WORDS = {
    "reported": "reported",
    "partly": "partly",
    "not_reported": "not reported",
    "not_applicable": "not applicable",
}
_STYLES = {"reported": "green", "partly": "yellow", "not_reported": "bold yellow", "not_applicable": "dim"}


def gaps(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="run folder with a verdict")],
    checklist: Annotated[
        list[str], typer.Option("--checklist", help="name of a shipped checklist, or all; repeat it for several")
    ],
    as_json: Json = False,
) -> None:
    """Say what a reporting checklist still misses; a list of items, never a score."""
    with errors_as_exit_codes(as_json=as_json):
        from evalsuite.spine.gaps import gaps as find_gaps

        found = find_gaps(run_folder, checklist)
        if as_json:
            emit_json({**found, "exit_code": 0})
        else:
            for one in found["checklists"]:
                _show(one)


def _show(checklist: Mapping[str, Any]) -> None:
    console = stdout()
    console.print(Text(f"{checklist['title']} ({checklist['standing']})", style="bold"))
    console.print(Text(f"  {checklist['source']}"))
    console.print(Text(f"  {checklist['evidence_status']}; checked on {checklist['checked_on']}", style="dim"))
    for item in checklist["items"]:
        line = Text(f"  {item['item']:<8} ")
        line.append(f"{_WORDS[item['status']]:<15}", style=_STYLES[item["status"]])
        pages = f", page {', '.join(map(str, item['pages']))}" if item["pages"] else ""
        line.append(f"{item['text']} [{' '.join(item['where'])}{pages}]")
        console.print(line)
        if item["missing"]:
            console.print(Text(f"{'':>26}missing: {'; '.join(f['words'] for f in item['missing'])}", style="dim"))
        if item["reason"]:
            console.print(Text(f"{'':>26}why not: {item['reason']}", style="dim"))
    console.print(
        Text("  Whether an item is reported says nothing of its quality; no score is made of it.", style="dim")
    )
