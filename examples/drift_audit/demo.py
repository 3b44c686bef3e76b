"""Twelve simulated months of a deployment, audited one by one: which alarms rise when, and which must not.

Three months are stable; then a new scanner appears; then more of the patients are diseased; then the device loses
sensitivity. Every month is an audit of its own, with a report; `make demo-drift` runs it and fails where an alarm is
missing or one is raised that should not be.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import simulate

from evalsuite.record.canonical import read_json
from evalsuite.spine import Who, audit, freeze, lock, run

HERE = Path(__file__).resolve().parent
N_VALIDATION, N_MONTH = 800, 300
#: The world month by month, and the alarms that belong to it: must rise, and may rise beside it.
STABLE = (simulate.World(), set[str](), set[str]())
SCANNER = (simulate.World(new_scanner=0.3), {"Input: scanner"}, set[str]())
OUTPUTS = {"Output: score", "Output: calls"}
PREVALENCE = (simulate.World(new_scanner=0.3, prevalence=0.55), {"Input: scanner", "Output: score"}, OUTPUTS)
LOSS = (
    simulate.World(new_scanner=0.3, prevalence=0.55, separation=1.2),
    {"Input: scanner", "Performance: sensitivity"},
    OUTPUTS,
)
YEAR = (*(STABLE,) * 3, *(SCANNER,) * 3, *(PREVALENCE,) * 3, *(LOSS,) * 3)


def main() -> int:
    """Validate, audit twelve months, and say for each which alarms rose; 1 where one is missing or too many."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo-drift"))
    parser.add_argument("--months", type=int, default=len(YEAR))
    asked = parser.parse_args()
    out: Path = asked.out
    if out.exists():
        print(f"{out} exists: remove it, or name another --out.", file=sys.stderr)
        return 2
    out.mkdir(parents=True)
    validated = validate(out)
    wrong = 0
    for number, (world, must, may) in enumerate(YEAR[: asked.months], start=1):
        name = f"month-{number:02d}"
        rows = simulate.cases(world, N_MONTH, prefix=name, seed=100 + number)
        window = simulate.write(out / f"{name}.csv", rows)
        made = audit(
            out / "audit.yaml",
            window=window,
            baseline=validated,
            out=out / name,
            who=Who(actor="demo", now=lambda n=number: f"2026-{n:02d}-28T12:00:00.000Z"),  # type: ignore[misc]
            history=str(out / "history.sqlite"),
        )
        indicators = made.standing.last.indicators
        alarms = {str(i["name"]) for i in indicators if i["status"] == "action"}
        right = must <= alarms <= must | may
        wrong += not right
        said = ", ".join(sorted(alarms)) or "no alarm"
        print(
            f"{name}: {made.run.verdict.overall.replace('_', ' '):12} {said}{'' if right else '   <- NOT AS EXPECTED'}"
        )
    print(f"Reports: {out}/month-*/report.pdf. How the deployment stands:")
    print(f"  evalsuite audit --check --history {out}/history.sqlite")
    return 1 if wrong else 0


def validate(out: Path) -> Path:
    """The run that validated the device: the baseline of every audit."""
    rows = simulate.cases(simulate.World(), N_VALIDATION, prefix="validation", seed=1)
    inputs = ("case_id", "patient_id", "malignant", "scanner", "sex", "age")
    simulate.write(out / "validation.csv", rows, inputs)
    simulate.write(out / "outputs.csv", rows, ("case_id", "p_malignant", "status", "model_digest"))
    shipped = (HERE.parents[1] / "protocols" / "drift_audit.yaml").read_text(encoding="utf-8")
    few = shipped.replace("    outputs: true\n", "    outputs: true\n    shuffles: 6000  # a demo does with fewer\n")
    (out / "audit.yaml").write_text(few, encoding="utf-8")
    who = Who(actor="demo", now=lambda: "2026-01-01T12:00:00.000Z")
    lock(out / "validation.csv", out=out / "validation", who=who, reference=list(inputs[2:]))
    bound = {"testset_path": out / "validation", "model_path": out / "outputs.csv", "who": who}
    freeze(HERE / "validation.yaml", out=out / "frozen", **bound)  # type: ignore[arg-type]
    made = run(out / "frozen", out=out / "validation-run", **bound)  # type: ignore[arg-type]
    overall = read_json(made.folder.verdict)["overall"]
    print(f"validation: {overall.replace('_', ' ')}")
    return out / "validation-run"


if __name__ == "__main__":
    sys.exit(main())
