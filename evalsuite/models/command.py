"""A program as a model: `cmd` in evalsuite-model.yaml, a folder of cases in, a table of predictions out."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from evalsuite.errors import ModelLoadError
from evalsuite.models.contract import load_contract
from evalsuite.models.formats import Loaded, Located
from evalsuite.models.package import sidecar_contract
from evalsuite.models.program import Ended, require_success, run_program

TIMEOUT_S = 3600.0
#: Variables that decide speed or bits of a result, and name nobody.
_KEPT = ("OMP_", "MKL_", "CUDA_", "NVIDIA_", "LD_LIBRARY_PATH", "PATH", "LANG", "TZ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the program sees its three folders, and a folder of its own to work in."""

    package: Path
    cases: Path
    predictions: Path
    work: Path


class Launcher(Protocol):
    """What starts a command; the sandbox's closes everything off but the three folders."""

    @property
    def isolation(self) -> str | Mapping[str, object]: ...

    def seen(self, places: Places) -> Places:
        """The folders as the program sees them."""
        ...

    def run(self, command: Sequence[str], places: Places, *, name: str, timeout_s: float, log: Path) -> Ended:
        """Run to the end; ModelRunError as `program.run_program`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenLauncher:
    """No isolation beyond an empty environment and a process group: only for packages that are trusted."""

    isolation: str = "none"

    def seen(self, places: Places) -> Places:
        return places

    def run(self, command: Sequence[str], places: Places, *, name: str, timeout_s: float, log: Path) -> Ended:
        environment = {key: value for key, value in os.environ.items() if key.startswith(_KEPT)}
        environment |= {"HOME": str(places.work), "TMPDIR": str(places.work), "PYTHONDONTWRITEBYTECODE": "1"}
        return run_program(
            command, name=name, environment=environment, folder=places.work, timeout_s=timeout_s, log=log
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRunner:
    """The command of a package, ready to be run on folders."""

    package: Path
    command: tuple[str, ...]
    timeout_s: float
    launcher: Launcher = field(default_factory=OpenLauncher)

    @property
    def isolation(self) -> str | Mapping[str, object]:
        return self.launcher.isolation

    def run(self, cases: Path, predictions: Path, *, log: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="evalsuite-command-") as work:
            places = Places(
                package=self.package.resolve(), cases=cases.resolve(), predictions=predictions.resolve(),
                work=Path(work).resolve(),
            )  # fmt: skip
            seen = self.launcher.seen(places)
            name = f"the command of {self.package.name}"
            ended = self.launcher.run(
                filled(self.command, seen, self.package), places, name=name, timeout_s=self.timeout_s, log=log
            )
        require_success(ended, name)


def filled(command: Sequence[str], places: Places, package: Path) -> list[str]:
    """The command with its folders put in; a program that is a file of the package is named where it is seen."""
    words = {
        "{input}": str(places.cases), "{output}": str(places.predictions), "{package}": str(places.package),
        "{python}": sys.executable,
    }  # fmt: skip
    made = []
    for part in command:
        for word, value in words.items():
            part = part.replace(word, value)
        made.append(part)
    if "/" in command[0] and not command[0].startswith(("/", "{")) and (package / command[0]).is_file():
        made[0] = str(places.package / command[0])
    return made


def load(located: Located) -> Loaded:
    """The command as the package's contract names it; nothing is run.

    Raises
    ------
    ContractError
        If the contract is faulty.
    ModelLoadError
        If the program is a file of the package and not there, or not executable.
    """
    contract = load_contract(sidecar_contract(located) or located.path)
    if contract.cmd is None:
        raise ModelLoadError(f"{located.path.name} names no cmd")
    first = contract.cmd[0]
    if "/" in first and not first.startswith(("/", "{")):
        program = located.path / first
        if not program.is_file():
            raise ModelLoadError(f"{first} is not a file of the package {located.path.name}")
        if not os.access(program, os.X_OK):
            raise ModelLoadError(f"{first} of {located.path.name} is not executable", hint=f"chmod +x {first}")
    runner = CommandRunner(package=located.path, command=contract.cmd, timeout_s=contract.timeout_s or TIMEOUT_S)
    return Loaded(
        runner=runner, contract=contract, notes=(f"The package's program was run: {' '.join(contract.cmd)}.",)
    )
