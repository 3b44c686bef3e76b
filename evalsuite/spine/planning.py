"""The size of a study from its protocol: planned before anything is collected, compared before anything is opened."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evalsuite.protocol.load import load_protocol, protocol_digest
from evalsuite.protocol.planning import Plan
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.record.canonical import write_json
from evalsuite.record.files import atomic_write

if TYPE_CHECKING:
    from evalsuite.analyses.planning_rows import Planned

PLAN_SCHEMA = "evalsuite/plan/1"
_POINTS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPlan:
    """Every endpoint's size and power, what they rest on, and what is short of them.

    `joint` are lower limits of the chance that all primary goals are reached together: with the cases needed, and with
    those planned. `simulated` holds the share of simulated studies that reached a goal with the cases needed.
    """

    protocol_id: str
    version: str
    digest: str
    rows: tuple[Planned, ...]
    joint: Mapping[str, float | None]
    assumptions: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    simulated: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": PLAN_SCHEMA,
            "protocol": {"id": self.protocol_id, "version": self.version, "digest": self.digest},
            "endpoints": [row.to_json() for row in self.rows],
            "joint_power": dict(self.joint),
            "assumptions": list(self.assumptions),
            "simulated": dict(self.simulated),
            "curves": {k: dict(v) for k, v in self.curves.items()},
            "warnings": list(self.warnings),
        }


def plan_study(
    protocol: str | Path, *, testset_path: Path | None = None, simulate: int = 0, store: str | None = None
) -> StudyPlan:
    """Sample size, power and precision of every endpoint of a protocol.

    Parameters
    ----------
    testset_path
        A locked set: its counts of cases and patients, and what the custodian's intake found on locking, are compared
        with the plan. Nothing sealed is opened.
    simulate
        So many studies are drawn for each figure, from the protocol's seed, and judged by the suite's own intervals.
    """
    from evalsuite.analyses.planning import joint_power, study_plan

    loaded = load_protocol(protocol)
    plan = loaded.plan or Plan()
    rows = study_plan(loaded, by_readers=True)
    warnings = [
        f"{row.name}: {row.planned:,} {row.counted} are planned, {row.needed:,} are needed"
        for row in rows
        if row.too_small
    ]
    if testset_path is not None:
        warnings += _set_warnings(loaded, rows, testset_path, store)
    joint = {
        "needed": joint_power(rows, at="needed", power=plan.power),
        "planned": joint_power(rows, at="planned", power=plan.power),
    }
    return StudyPlan(
        protocol_id=loaded.id,
        version=loaded.version,
        digest=protocol_digest(loaded),
        rows=rows,
        joint=joint,
        assumptions=_assumptions(loaded, plan, joint["needed"]),
        warnings=tuple(warnings),
        simulated=_simulated(loaded, rows, simulate) if simulate else {},
        curves=_curves(loaded, rows),
    )


def write_plan(made: StudyPlan, out: Path) -> list[Path]:
    """`plan.json` and one power curve (SVG) for each endpoint that has one; the paths written."""
    from evalsuite.report.figures_power import power_curve

    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "plan.json", made.to_json())
    written = [out / "plan.json"]
    for row in made.rows:
        curve = made.curves.get(_key(row))
        if curve is None or row.needed is None:
            continue
        picture = power_curve(
            curve["n"], curve["power"], goal=curve["goal"], needed=row.needed, planned=row.planned, counted=row.counted,
            alt=f"Power of {row.name} over the number of {row.counted}",
        )  # fmt: skip
        path = out / f"power-{len(written)}-{''.join(c if c.isalnum() else '-' for c in _key(row))[:60]}.svg"
        atomic_write(path, picture.encode())
        written.append(path)
    return written


def _key(row: Planned) -> str:
    return f"{row.name} {row.group}".strip()


def _assumptions(protocol: StudyProtocol, plan: Plan, joint: float | None) -> tuple[str, ...]:
    from evalsuite.analyses.planning import planning_level

    level, note = planning_level(protocol)
    lines = [f"two-sided level {level:.4g}{note}; power aimed at {plan.power:.0%} for each goal"]
    if joint is not None:
        lines.append(f"all primary goals together: at least {joint:.0%} with the cases needed")
    lines.append(
        f"design effect {plan.design_effect:g}, {plan.cases_per_patient:g} cases per patient, attrition "
        f"{plan.attrition:.0%}" + ("" if plan.prevalence is None else f", {plan.prevalence:.1%} positives")
    )
    lines += [f"{name}: {a.value:g} is assumed – {a.source or 'no source given'}" for name, a in plan.assume.items()]
    return tuple(lines)


def _set_warnings(protocol: StudyProtocol, rows: tuple[Planned, ...], path: Path, store: str | None) -> list[str]:
    from evalsuite.testset import open_testset, read_intake

    testset = open_testset(path, verify=False, store=store)
    counts = testset.lock["counts"]
    warnings = []
    for row in rows:
        least = row.cases if row.cases is not None else row.needed
        if not row.group and least is not None and counts["cases"] < least:
            warnings.append(f"{row.name}: the locked set has {counts['cases']:,} cases, {least:,} are needed")
    intake = read_intake(testset) or {}
    for check in intake.get("checks", []):
        if check.get("check") == "plan" and check.get("outcome") not in ("passed", "ok", "not_checked"):
            warnings.append(f"on locking: {check['summary']}")
    return warnings


def _level(protocol: StudyProtocol) -> float:
    from evalsuite.analyses.planning import planning_level

    return planning_level(protocol)[0]


def _curves(protocol: StudyProtocol, rows: tuple[Planned, ...]) -> dict[str, dict[str, Any]]:
    """Power over a grid of cases, from a quarter of what is needed to twice as many."""
    from evalsuite.analyses.planning import power_curve

    power = (protocol.plan or Plan()).power
    curves: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row.needed is None:
            continue
        top = 2 * max(row.needed, row.planned or 0)
        grid = sorted({max(2, math.ceil(top * k / _POINTS)) for k in range(1, _POINTS + 1)} | {row.needed})
        values = power_curve(protocol, row, grid)
        curves[_key(row)] = {"counted": row.counted, "n": grid, "power": values, "goal": power}
    return curves


def _simulated(protocol: StudyProtocol, rows: tuple[Planned, ...], studies: int) -> dict[str, float]:
    """Share of simulated studies of independent cases whose interval clears the goal, with the cases needed."""
    from evalsuite.analyses.planning import simulate_row

    found: dict[str, float] = {}
    for i, row in enumerate(rows):
        rng = np.random.default_rng([protocol.seed, i])
        share = simulate_row(protocol, row, studies, rng)
        if share is not None:
            found[_key(row)] = share
    return found
