"""Every command of docs/walkthrough.md, run in its order; what the page says they print, they print."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

PAGE = "docs/walkthrough.md"
_BLOCK = re.compile(r"(?:<!-- ends with (\d+) -->\n)?```sh\n(.*?)```\n(?:```text\n(.*?)```\n)?", re.DOTALL)


@dataclass(frozen=True)
class Step:
    """Commands that belong together, the exit code of the last, and lines that must be in what they print."""

    commands: str
    code: int
    said: tuple[str, ...]


def steps_of(page: str) -> list[Step]:
    """The steps of a page in their order."""
    return [
        Step(commands, int(code or 0), tuple(line.strip() for line in (said or "").splitlines() if line.strip()))
        for code, commands, said in _BLOCK.findall(page)
    ]


@dataclass
class Shell:
    """Carries the commands of the page out one after the other, those of the suite in this process.

    Starting Python anew for each of them would take most of the time; that the installed command starts, and how its
    process ends, is tested elsewhere.
    """

    folder: Path
    environment: dict[str, str]

    def __call__(self, commands: str) -> tuple[int, str]:
        """Exit code of the last command, and everything that was printed."""
        code, said = 0, ""
        for line in commands.strip().splitlines():
            code, text = self._suite(line) if line.startswith("evalsuite ") else self._bash(line)
            said += text
        return code, said

    def _suite(self, line: str) -> tuple[int, str]:
        from typer.testing import CliRunner

        from evalsuite.cli.app import app

        with contextlib.chdir(self.folder):
            done = CliRunner().invoke(app, shlex.split(line)[1:], env=self.environment)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.output

    def _bash(self, line: str) -> tuple[int, str]:
        script = f'{line}\ncode=$?; pwd > "$PLACE"; exit $code'
        place = self.folder.parent / "place"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env={**os.environ, **self.environment, "PLACE": str(place)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.folder = Path(place.read_text().strip())
        return done.returncode, done.stdout


@pytest.mark.full_pdf
def test_the_walkthrough_does_what_it_says(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = steps_of((checkout / PAGE).read_text())
    assert len(steps) >= 14
    monkeypatch.delenv("EVALSUITE_P12_PASSWORD", raising=False)
    (tmp_path / "work").mkdir()
    shell = Shell(tmp_path / "work", {"EXAMPLE": str(checkout / "examples/recorded_predictions"), "COLUMNS": "400"})
    for step in steps:
        code, text = shell(step.commands)
        assert code == step.code, f"{step.commands}\n{text}"
        plain = " ".join(text.split())
        for line in step.said:
            assert " ".join(line.split()) in plain, f"{line!r} is not printed by:\n{step.commands}\n{text}"


def test_every_command_of_the_page_is_run(checkout: Path) -> None:
    page = (checkout / PAGE).read_text()
    assert page.count("```sh") == len(steps_of(page))
