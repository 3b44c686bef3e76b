"""Options declared once as a dataclass are options like any other of the verb that takes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from evalsuite.cli.grouped import grouped


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    device: Annotated[str, typer.Option("--device")] = "cpu"
    workers: Annotated[int | None, typer.Option("--workers", min=1)] = None


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer()

    @made.command()
    @grouped
    def run(
        *,
        protocol: Annotated[str, typer.Argument()],
        machine: Machine,
        quiet: Annotated[bool, typer.Option("--quiet")] = False,
    ) -> None:
        """Run it."""
        typer.echo(f"{protocol} {machine.device} {machine.workers} {quiet}")

    return made


@pytest.mark.parametrize(
    ("given", "printed"),
    [
        (["p.yaml"], "p.yaml cpu None False"),
        (["p.yaml", "--device", "cuda", "--workers", "3", "--quiet"], "p.yaml cuda 3 True"),
    ],
)
def test_fields_are_given_as_options(app: typer.Typer, given: list[str], printed: str) -> None:
    result = CliRunner().invoke(app, given)
    assert (result.exit_code, result.output.strip()) == (0, printed)


def test_what_a_field_refuses_is_refused(app: typer.Typer) -> None:
    assert CliRunner().invoke(app, ["p.yaml", "--workers", "0"]).exit_code == 2


def test_help_names_fields_in_the_order_of_the_verb(app: typer.Typer) -> None:
    told = CliRunner().invoke(app, ["--help"]).output
    assert told.index("--device") < told.index("--workers") < told.index("--quiet")
    assert "Run it." in told
