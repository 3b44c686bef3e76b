"""A small study on disk, made on the spot: sixteen images, recorded predictions, and the commands that run it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import yaml

from tests.people import make_ca, make_person

CASES = 16
COMMAND = (sys.executable, "-m", "evalsuite")
SIGNERS = {"author": "A. Author", "reviewer": "R. Reviewer", "qa": "Q. Approver"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallStudy:
    """Where the parts of the study lie, and the three commands from case table to sealed report."""

    folder: Path

    @property
    def testset(self) -> Path:
        return self.folder / "testset"

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def frozen(self) -> Path:
        return self.folder / "frozen"

    @property
    def predictions(self) -> Path:
        return self.folder / "predictions.csv"

    @property
    def custodian(self) -> Path:
        return self.folder / "keys" / "custodian.key"

    @property
    def operator(self) -> Path:
        return self.folder / "keys" / "operator.key"

    @property
    def ca(self) -> Path:
        """Certificate of the authority of those who sign the report."""
        return self.folder / "keys" / "test-ca.pem"

    def steps(self, *, signed: bool = False) -> tuple[tuple[str, ...], ...]:
        """Arguments of lock, freeze and run, in their order; with `signed` each signs, and the report is signed too."""
        protocol = str(self.folder / "protocol.yaml")
        bound = ("--testset", str(self.testset), "--model", str(self.predictions))
        keeper = ("--key", str(self.custodian), "--actor", "C. Keeper") if signed else ()
        runner = ("--key", str(self.operator), "--actor", "O. Runner") if signed else ()
        return (
            ("lock", str(self.folder / "cases.csv"), "--protocol", protocol, "--out", str(self.testset), *keeper),
            ("freeze", protocol, *bound, "--out", str(self.frozen), *runner),
            ("run", str(self.frozen) if signed else protocol, *bound, "--out", str(self.run), *runner),
            *(self.sign(role) for role in SIGNERS if signed),
        )

    def sign(self, role: str) -> tuple[str, ...]:
        """Arguments that sign the report in a role; the operator's key signs the head of the ledger."""
        key = self.folder / "keys" / f"{role}.p12"
        return ("sign", str(self.run), "--role", role, "--key", str(key), "--ledger-key", str(self.operator))


def make_study(folder: Path) -> SmallStudy:
    """Write images, case table, predictions and protocol; the same bytes every time."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(3)
    rows, scores = ["case_id,patient_id,image,truth,sex"], ["case_id,p_disease"]
    for i in range(CASES):
        cv2.imwrite(str(folder / f"images/{i:02d}.png"), rng.integers(0, 256, (24, 24), dtype=np.uint8))
        truth = i % 2
        rows.append(f"c{i:02d},p{i:02d},images/{i:02d}.png,{truth},{'female' if i % 4 < 2 else 'male'}")
        scores.append(f"c{i:02d},{(0.75 if truth else 0.25) + 0.4 * (rng.random() - 0.5):.4f}")
    (folder / "cases.csv").write_text("\n".join(rows) + "\n")
    (folder / "predictions.csv").write_text("\n".join(scores) + "\n")
    (folder / "protocol.yaml").write_text(yaml.safe_dump(PROTOCOL, sort_keys=False))
    return SmallStudy(folder=folder)


def command(arguments: Sequence[str], *, check: Sequence[int] = (0, 1)) -> subprocess.CompletedProcess[str]:
    """Run `evalsuite` in a process of its own; AssertionError with its words where the exit code is not expected."""
    done = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode in check, f"{arguments[0]} ended with {done.returncode}:\n{done.stderr}"
    return done


def here(arguments: Sequence[str]) -> None:
    """Carry out a command in this process; AssertionError where it ends otherwise than expected."""
    from typer.testing import CliRunner

    from evalsuite.cli.app import app

    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code in (0, 1), f"{arguments[0]} ended with {done.exit_code}:\n{done.output}"


def carry_out(study: SmallStudy, *, signed: bool = False) -> SmallStudy:
    """Lock, freeze and run; with `signed`, everything is signed by keys and people made for it."""
    if signed:
        authority = make_ca(study.folder / "keys")
        for key in (study.custodian, study.operator):
            here(("keygen", str(key)))
        for role, name in SIGNERS.items():
            make_person(study.folder / "keys" / f"{role}.p12", name, authority)
    for arguments in study.steps(signed=signed):
        here(arguments)
    return study


PROTOCOL = {
    "schema": "evalsuite/protocol/1",
    "id": "small-study",
    "version": "1.0.0",
    "title": "A small study",
    "kind": "standalone",
    "intended_use": {"indications": "none: a campaign of tests"},
    "task": {"kind": "binary", "reference": "truth", "score": "p_disease"},
    "unit": {"case": "case_id", "cluster": "patient_id"},
    "operating_points": [{"name": "primary", "threshold": 0.5, "source": "fixed beforehand"}],
    "endpoints": [
        {
            "name": "sensitivity",
            "metric": "sensitivity",
            "at": "primary",
            "role": "primary",
            "criterion": {"bound": "lower", "op": ">", "value": 0.3},
        }
    ],
    "strata": ["sex"],
    "disclose": ["sex"],
    "seed": 11,
}
