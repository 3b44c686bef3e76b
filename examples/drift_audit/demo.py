"""Twelve simulated months of a deployment, audited one by one: which alarms rise when, and which must not.

Three months are as the validation was; then a new scanner appears; then more of the patients are diseased; then nodules
are fainter, and the device misses them. Images are phantoms (examples/chest_phantom), and so is everything else. Every
month is an audit of its own, with a report; `make demo-drift` runs it and fails where an alarm is missing or one is
raised that should not be.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from phantoms import Month, draw

from evalsuite.record.canonical import read_json
from evalsuite.spine import Who, audit, freeze, lock, run

HERE = Path(__file__).resolve().parent
MODEL = HERE.parent / "chest_phantom" / "models" / "onnx" / "model.onnx"
PATIENTS, PATIENTS_A_MONTH = 240, 90
#: The world month by month, and the alarms that belong to it: must rise, and may rise beside it.
SCANNER, IMAGES = (
    {"Input: dicom:ManufacturerModelName"},
    {f"Input: image:{n}" for n in ("sharpness", "noise", "contrast")},
)
OUTPUTS = {"Output: score", "Output: calls"}
STABLE = (Month(), set[str](), set[str]())
NEW_SCANNER = (Month(new_scanner=0.35), SCANNER, IMAGES | OUTPUTS)
PREVALENCE = (Month(new_scanner=0.35, prevalence=0.80), SCANNER | {"Output: score"}, IMAGES | OUTPUTS)
LOSS = (
    Month(new_scanner=0.35, prevalence=0.80, density=0.15),
    SCANNER | {"Performance: sensitivity"},
    IMAGES | OUTPUTS,
)
YEAR = (*(STABLE,) * 3, *(NEW_SCANNER,) * 3, *(PREVALENCE,) * 3, *(LOSS,) * 3)
COLUMNS = ("sex", "age", "nodule")


def main() -> int:
    """Validate, audit twelve months, and say for each which alarms rose; 1 where one is missing or too many."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo-drift"))
    parser.add_argument("--months", type=int, default=len(YEAR))
    parser.add_argument("--jobs", type=int, default=3, help="processes that draw images")
    asked = parser.parse_args()
    out: Path = asked.out
    if out.exists():
        print(f"{out} exists: remove it, or name another --out.", file=sys.stderr)
        return 2
    data = out / "data"
    data.mkdir(parents=True)
    shutil.copyfile(HERE / "audit.yaml", out / "audit.yaml")
    months = YEAR[: asked.months]
    with ProcessPoolExecutor(asked.jobs, mp_context=get_context("spawn")) as pool:
        drawn = pool.submit(draw, data / "validation", Month(), patients=PATIENTS, seed=1, day="2025-12-20")
        windows = [
            pool.submit(
                draw,
                data / f"month-{number:02d}",
                world,
                patients=PATIENTS_A_MONTH,
                seed=100 + number,
                day=f"2026-{number:02d}-27",
            )
            for number, (world, _, _) in enumerate(months, start=1)
        ]
        validated = validate(out, drawn.result())
        wrong = sum(not _month(out, validated, number, window) for number, window in enumerate(windows, start=1))
    print(f"Reports: {out}/month-*/report.pdf. How the deployment stands:")
    print(f"  evalsuite audit --check --history {out}/history.sqlite")
    return 1 if wrong else 0


def validate(out: Path, table: Path) -> Path:
    """The run that validated the device: the baseline of every audit."""
    who = Who(actor="demo", now=lambda: "2026-01-01T12:00:00.000Z")
    protocol = HERE / "validation.yaml"
    lock(table, out=out / "validation", who=who, protocol=str(protocol), reference=None)
    bound = {"testset_path": out / "validation", "model_path": MODEL, "who": who}
    freeze(protocol, out=out / "frozen", **bound)  # type: ignore[arg-type]
    made = run(out / "frozen", out=out / "validation-run", **bound)  # type: ignore[arg-type]
    print(f"validation: {read_json(made.folder.verdict)['overall'].replace('_', ' ')}")
    return out / "validation-run"


def _month(out: Path, validated: Path, number: int, window: Future[Path]) -> bool:
    """Audit a month; whether its alarms are those that belong to it."""
    made = audit(
        out / "audit.yaml",
        window=window.result(),
        baseline=validated,
        out=out / f"month-{number:02d}",
        who=Who(actor="demo", now=lambda: f"2026-{number:02d}-28T12:00:00.000Z"),
        model=MODEL,
        history=str(out / "history.sqlite"),
    )
    _, must, may = YEAR[number - 1]
    alarms = {str(i["name"]) for i in made.standing.last.indicators if i["status"] == "action"}
    right = must <= alarms <= must | may
    said = ", ".join(sorted(alarms)) or "no alarm"
    verdict = made.run.verdict.overall.replace("_", " ")
    print(f"month {number:2}: {verdict:12} {said}{'' if right else '   <- NOT AS EXPECTED'}", flush=True)
    return right


if __name__ == "__main__":
    sys.exit(main())
