"""Every command of docs/walkthrough.md, run in its order in one shell; what the page says they print, they print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PAGE = "docs/walkthrough.md"
_BLOCK = re.compile(r"(?:<!-- ends with (\d+) -->\n)?```sh\n(.*?)```\n(?:```text\n(.*?)```\n)?", re.DOTALL)
_END = "--- the next step ---"


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


def script_of(steps: list[Step]) -> str:
    """One shell script; every step prints its last exit code and a line that ends it."""
    parts = [f"{step.commands}echo; echo exit $?\necho '{_END}'\n" for step in steps]
    return "".join(part.replace("echo; echo exit $?", "code=$?; echo; echo exit $code") for part in parts)


def test_the_walkthrough_does_what_it_says(checkout: Path, tmp_path: Path) -> None:
    steps = steps_of((checkout / PAGE).read_text())
    assert len(steps) >= 10
    environment = {
        **os.environ,
        "EXAMPLE": str(checkout / "examples/recorded_predictions"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "400",
    }
    done = subprocess.run(
        ["bash", "-c", f"exec 2>&1\n{script_of(steps)}"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    printed = done.stdout.split(f"{_END}\n")[:-1]
    assert len(printed) == len(steps)
    for step, text in zip(steps, printed, strict=True):
        assert text.rstrip().endswith(f"exit {step.code}"), f"{step.commands}\n{text}"
        plain = " ".join(text.split())
        for line in step.said:
            assert " ".join(line.split()) in plain, f"{line!r} is not printed by:\n{step.commands}\n{text}"


def test_every_command_of_the_page_is_run(checkout: Path) -> None:
    page = (checkout / PAGE).read_text()
    assert page.count("```sh") == len(steps_of(page))
