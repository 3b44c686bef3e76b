"""Qualify an installation: IQ (is it what was released, is the environment complete) and OQ (does it work here).

    python docs/validation/qualify.py iq --out iq.json
    python docs/validation/qualify.py oq --out oq.json

Run it with the Python that evalsuite is installed in. The record is JSON, to be kept with name, date and signature of
the person who ran it. Exit code 0 where every step holds, 3 otherwise.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import importlib.metadata
import json
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "recorded_predictions"
#: What the example has to give: verdict, and figures with the place of their digits.
EXPECTED = {"overall": "inconclusive", "discrimination": 0.916, "sensitivity": 0.815}


class StepError(Exception):
    """A step that does not hold, with what was seen."""


def command(*arguments: object, codes: tuple[int, ...] = (0,)) -> dict[str, Any]:
    """Run evalsuite with --json; its answer. StepError where it leaves with another code."""
    words = [sys.executable, "-m", "evalsuite", *map(str, arguments), "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode not in codes:
        raise StepError(f"evalsuite {arguments[0]} left with {done.returncode}: {done.stderr.strip()[-300:]}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def installed_files() -> str:
    """Every file of the installed package has the digest its wheel recorded."""
    distribution = importlib.metadata.distribution("evalsuite")
    files = [f for f in distribution.files or () if f.hash is not None and str(f).startswith("evalsuite/")]
    if not any(str(f) == "evalsuite/__init__.py" for f in files):
        return "not verified: this is no installation from a wheel (editable checkout)"
    wrong = []
    for file in files:
        path = Path(str(distribution.locate_file(file)))
        data = path.read_bytes() if path.exists() else b""
        digest = base64.urlsafe_b64encode(hashlib.new(file.hash.mode, data).digest()).rstrip(b"=").decode()
        if digest != file.hash.value:
            wrong.append(str(file))
    if wrong:
        raise StepError(f"{len(wrong)} files differ from the wheel, first {wrong[0]}")
    return f"{len(files)} files as in the wheel"


def environment() -> str:
    """`evalsuite doctor` finds nothing missing."""
    checks = command("doctor", codes=(0, 2))["checks"]
    lacking = [c["what"] for c in checks if c["status"] == "missing"]
    if lacking:
        raise StepError(f"missing: {', '.join(lacking)}")
    return "; ".join(f"{c['what']}: {c['detail']}" for c in checks)


def packages() -> str:
    """Names and versions of what is installed, for the record."""
    found = sorted(f"{d.metadata['Name']} {d.version}" for d in importlib.metadata.distributions())
    return ", ".join(found)


def known_answers() -> str:
    """`evalsuite selftest` reproduces every known answer."""
    result = command("selftest", codes=(0, 3))
    if result["failed"]:
        raise StepError(f"{len(result['failed'])} known answers not reproduced: {', '.join(result['failed'][:5])}")
    return f"{result['n']} known answers, {result['id']}"


def study(work: Path) -> str:
    """Lock, freeze and run the example of recorded predictions; its figures and verdict are the expected ones."""
    for name in ("cases.csv", "predictions.csv", "protocol.yaml"):
        shutil.copy(EXAMPLE / name, work / name)
    model = ("--model", work / "predictions.csv")
    command("lock", work / "cases.csv", "--out", work / "set", "--protocol", work / "protocol.yaml")
    command("freeze", work / "protocol.yaml", "--testset", work / "set", *model, "--out", work / "frozen")
    command("run", work / "frozen", "--testset", work / "set", *model, "--out", work / "run", codes=(0, 1))
    verdict = json.loads((work / "run" / "verdict.json").read_text())
    figures = {c["endpoint"]: round(c["estimate"]["value"], 3) for c in verdict["criteria"]}
    seen = {"overall": verdict["overall"], **{k: v for k, v in figures.items() if k in EXPECTED}}
    if seen != EXPECTED:
        raise StepError(f"expected {EXPECTED}, found {seen}")
    return f"{seen}; report {hashlib.sha256((work / 'run' / 'report.pdf').read_bytes()).hexdigest()}"


def verified(work: Path) -> str:
    """The finished run is intact."""
    command("verify", work / "run")
    return "intact"


def tampered(work: Path) -> str:
    """One digit of the evidence is changed in a copy, and verify notices."""
    shutil.copytree(work / "run", work / "tampered")
    path = work / "tampered" / "evidence.json"
    text = path.read_text()
    place = text.index('"value":') + len('"value":')
    digit = next(i for i in range(place, len(text)) if text[i].isdigit() and text[i] != "0")
    path.write_text(text[:digit] + str(int(text[digit]) % 9 + 1) + text[digit + 1 :])
    command("verify", work / "tampered", codes=(3,))
    return "the change was found"


def qualify(kind: str) -> dict[str, Any]:
    """Carry out every step, also after one that does not hold; the record."""
    with tempfile.TemporaryDirectory(prefix="evalsuite-oq-") as folder:
        work = Path(folder)
        steps: dict[str, Callable[[], str]] = {
            "installed files": installed_files,
            "environment": environment,
            "packages": packages,
        }
        if kind == "oq":
            steps = {
                "known answers": known_answers,
                "study from lock to report": lambda: study(work),
                "verification of the run": lambda: verified(work),
                "verification of a changed run": lambda: tampered(work),
            }
        done = [carried_out(name, step) for name, step in steps.items()]
    return {
        "schema": "evalsuite/qualification/1",
        "kind": kind.upper(),
        "evalsuite": importlib.metadata.version("evalsuite"),
        "python": platform.python_version(),
        "utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "steps": done,
        "holds": all(s["holds"] for s in done),
        "carried out by": "",
        "reviewed by": "",
    }


def carried_out(name: str, step: Callable[[], str]) -> dict[str, Any]:
    """One step with what was seen; a fault is a step that does not hold."""
    try:
        return {"step": name, "holds": True, "seen": step()}
    except (StepError, OSError, ValueError, KeyError, IndexError) as error:
        return {"step": name, "holds": False, "seen": f"{type(error).__name__}: {error}"}


def main() -> int:
    """Write the record and say what holds."""
    parser = argparse.ArgumentParser(description="Qualification of an installation of evalsuite.")
    parser.add_argument("kind", choices=("iq", "oq"))
    parser.add_argument("--out", type=Path, required=True, help="file of the record (JSON)")
    asked = parser.parse_args()
    record = qualify(asked.kind)
    asked.out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    for step in record["steps"]:
        sys.stdout.write(f"{'holds' if step['holds'] else 'FAILS'}  {step['step']}: {step['seen'][:160]}\n")
    return 0 if record["holds"] else 3


if __name__ == "__main__":
    raise SystemExit(main())
