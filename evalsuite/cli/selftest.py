"""The verb `selftest`: known answers that this installation must reproduce."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from evalsuite.cli.console import emit_json, errors_as_exit_codes, stdout
from evalsuite.cli.options import Json


def selftest(
    every: Annotated[bool, typer.Option("--all", help="list every known answer, not only those that differ")] = False,
    as_json: Json = False,
) -> None:
    """Compute published figures with the statistics of this installation; exit code 3 where one differs."""
    with errors_as_exit_codes(as_json=as_json):
        from evalsuite.selftest import selftest as compute

        result = compute()
        code = 3 if result.failed else 0
        if as_json:
            emit_json({**result.to_json(), "exit_code": code})
            raise SystemExit(code)
        console = stdout()
        for answer in result.answers:
            if not (every or not answer.holds):
                continue
            line = Text(f"  {'agrees ' if answer.holds else 'DIFFERS'}  {answer.name}")
            line.append(f"  [{answer.source}]", style="dim")
            console.print(line)
            for name, (expected, computed, agrees) in answer.figures.items():
                if not agrees:
                    console.print(Text(f"{'':>11}{name}: expected {expected}, computed {computed} {answer.fault}"))
        n, failed = len(result.answers), len(result.failed)
        said = f"{n} known answers reproduced" if not failed else f"{failed} of {n} known answers NOT reproduced"
        console.print(Text(said, style="bold red" if failed else "bold green"))
        console.print(Text(f"Self-test {result.id}: {', '.join(f'{k} {v}' for k, v in result.versions.items())}"))
        raise SystemExit(code)
