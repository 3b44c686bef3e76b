"""How often a year of audits without any drift raises an alarm: `make campaign-drift`, at most 37 of 500 under 5 %.

A year is a baseline and twelve months of the shipped protocol `drift_audit`, cases of one patient each, numbers instead
of images. A year alarms where any audit has an indicator at "action". By chance alone more than 37 of 500 years would
be expected once in a hundred campaigns at a true rate of 5 %. Two worlds are tried: the device of the demonstration,
and a device exactly at its action limits, which is the worst that is still no loss. Then the other side: how long a
loss of sensitivity stays unnoticed, after many stable months as after none. What is done is kept in the tally and not
done again: an interrupted campaign goes on with the same command.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evalsuite.analyses import drift_performance
from evalsuite.analyses.drift import drift_analysis
from evalsuite.analyses.drift_periods import EarlierAudit, Period
from evalsuite.protocol.drift import Drift
from evalsuite.protocol.load import load_protocol, protocol_digest
from evalsuite.spine.audit_inputs import earlier_audit
from evalsuite.spine.auditing import left_behind
from evalsuite.stats import distribution_shift
from evalsuite.stats.sequential import DetectorState, e_detector, fallen_below

ROOT = Path(__file__).resolve().parents[1]
N_BASELINE, N_MONTH, MONTHS = 600, 200, 12
#: Most alarmed years of 500 that a true rate of 5 % lets one expect in 99 of 100 campaigns.
MOST = 37
#: Name of a part of the campaign, and what it is.
VALIDATED, LIMIT, DELAYS = "validated", "at the limit", "delays"
WORLDS = {
    VALIDATED: "the demonstration's device (sensitivity .91, specificity .88), whole audits",
    LIMIT: "sensitivity and specificity exactly at their action limits of .70, performance alone",
}


def simulation() -> ModuleType:
    """The demonstration's generator of cases."""
    path = ROOT / "examples" / "drift_audit" / "simulate.py"
    spec = importlib.util.spec_from_file_location("drift_simulation", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _period(sim: ModuleType, n: int, seed: int, name: str) -> Period:
    frame = pd.DataFrame(sim.cases(sim.World(), n, prefix=name, seed=seed))
    ids = tuple(frame["case_id"])
    score = pd.to_numeric(frame["p_malignant"], errors="coerce").to_numpy(dtype=np.float64)
    predictions = pd.DataFrame({"case_id": ids, "status": frame["status"], "p_malignant": score})
    return Period(case_id=ids, patient_id=tuple(frame["patient_id"]), frame=frame, predictions=predictions)


@contextmanager
def _in_short() -> Iterator[None]:
    """Leave out what can change no alarm of a year, which then takes a fifth of the time.

    Every month reshuffles as many patients by the same seed: a reshuffle is drawn once. A test's alarm needs a p-value
    of α / tests at least once (Holm's first step), which has ten times its inverse as most reshuffles: one that was
    exceeded ten times cannot raise it any more. The limits along the way are only drawn.
    """
    kept: dict[tuple[int, int], NDArray[np.bool_]] = {}
    draw, sequence = distribution_shift._Members.shuffled, drift_performance._sequence
    least, enough = distribution_shift.LEAST_SHUFFLES, distribution_shift.ENOUGH_EXCEEDED

    def shuffled(self: distribution_shift._Members, number: int) -> NDArray[np.bool_]:
        key = (self.observed.size, number)
        if key not in kept:
            kept[key] = draw(self, number)
        return kept[key]

    distribution_shift._Members.shuffled = shuffled  # type: ignore[method-assign]
    distribution_shift.LEAST_SHUFFLES, distribution_shift.ENOUGH_EXCEEDED = 10, 10
    drift_performance._sequence = lambda *_: ()
    try:
        yield
    finally:
        distribution_shift._Members.shuffled = draw  # type: ignore[method-assign]
        distribution_shift.LEAST_SHUFFLES, distribution_shift.ENOUGH_EXCEEDED = least, enough
        drift_performance._sequence = sequence


def year(number: int) -> str:
    """The first alarm of a simulated year: month and indicator; empty where there is none."""
    sim, protocol = simulation(), load_protocol("drift_audit")
    # Estimates of secondary figures raise no alarm: without them a year takes seconds.
    kept = [e for e in protocol.endpoints if e.metric in ("sensitivity", "specificity")]
    protocol = protocol.model_copy(update={"endpoints": kept, "strata": [], "seed": number})
    baseline = _period(sim, N_BASELINE, 1_000_000 + number, "b")
    left: dict[str, Any] = {}
    earlier: list[EarlierAudit] = []
    for month in range(MONTHS):
        window = _period(sim, N_MONTH, 2_000_000 + 100 * number + month, f"m{month}")
        found = drift_analysis(protocol, baseline=baseline, window=window, labelled=window, earlier=earlier)
        alarms = [f.endpoint for f in found.findings if f.metric.startswith("indicator_") and f.condition == "action"]
        if alarms:
            return f"month {month + 1}: {', '.join(alarms)}"
        evidence = {"findings": [f.to_json() for f in found.findings], "curves": [c.to_json() for c in found.curves]}
        left, _ = left_behind(evidence, left)
        earlier.append(earlier_audit(left))
    return ""


def year_at_the_limit(number: int) -> str:
    """The same of a device exactly at its action limits, by the rule for performance alone: inputs and outputs know
    nothing of limits, and have their own part of the budget."""
    asked = load_protocol("drift_audit").analyses.drift
    assert asked is not None
    for monitor, share in zip(asked.monitor, (PREVALENCE, 1.0 - PREVALENCE), strict=True):
        rng, state = np.random.default_rng([number, round(100 * share)]), None
        for month in range(MONTHS):
            planned = monitor.planned_patients
            alarmed, state = _audit(asked, rng, N_MONTH, monitor.action, planned, state, among=share)
            if alarmed:
                return f"month {month + 1}: Performance: {monitor.endpoint}"
    return ""


# --- delays ---------------------------------------------------------------------------------------------------------

#: Months without a loss before it, sensitivity from then on, and cases of an audit.
STABLE, LOSSES, SIZES = (0, 12, 24), (0.60, 0.50, 0.40), (200, 500)
SENSITIVITY, PREVALENCE, LONGEST = 0.91, 0.3, 12


def delays(number: int) -> dict[str, int | None]:
    """Audits from a loss to its alarm, 1 being the first audit after it; None where twelve do not find it.

    The rule is the product's for one monitored endpoint with the shipped limits, in a calendar of three years; the 24
    stable months of a history are the first 12 and 12 more. A history that alarms before its loss is a false alarm and
    is counted as 0.
    """
    shipped = load_protocol("drift_audit").analyses.drift
    assert shipped is not None
    asked = shipped.model_copy(update={"calendar": shipped.calendar.model_copy(update={"audits": 36})})
    out: dict[str, int | None] = {}
    for size in SIZES:
        rng = np.random.default_rng([number, size])
        planned = round(36 * size * PREVALENCE * 1.2)
        state: DetectorState | None = None
        early = False
        for month in range(max(STABLE) + 1):
            if month in STABLE:
                for loss in LOSSES:
                    own = np.random.default_rng([number, size, month, round(100 * loss)])
                    found = 0 if early else _until_alarm(asked, own, size, loss, planned, state)
                    out[f"{size} {month} {loss:.2f}"] = found
            alarmed, state = _audit(asked, rng, size, SENSITIVITY, planned, state)
            early |= alarmed
    return out


def _until_alarm(
    asked: Drift, rng: np.random.Generator, size: int, share: float, planned: int, state: DetectorState | None
) -> int | None:
    for month in range(1, LONGEST + 1):
        alarmed, state = _audit(asked, rng, size, share, planned, state)
        if alarmed:
            return month
    return None


def _audit(
    asked: Drift,
    rng: np.random.Generator,
    size: int,
    share: float,
    planned: int,
    state: DetectorState | None,
    among: float = PREVALENCE,
) -> tuple[bool, DetectorState]:
    """One audit's labels of the patients that count (a share of all), and whether it alarms."""
    right = (rng.random(rng.binomial(size, among)) < share).astype(np.float64)
    one, limit = np.ones(right.size), asked.monitor[0].action
    detector = e_detector(right, one, limit=limit, planned=planned, false_alarm=asked.alpha_detector, start=state)
    lost = fallen_below(right, one, limit=limit, false_alarm=asked.alpha_window)
    return lost or detector.alarm is not None, detector.state


def delay_table(histories: Sequence[Mapping[str, int | None]]) -> list[str]:
    """Rows of the table: a loss and a size of audit, and the delay after each number of stable months."""
    lines = [
        "# Delay of an alarm",
        "",
        f"Audits from a fall of sensitivity from {SENSITIVITY:.2f} to its alarm (action limit .70, {PREVALENCE:.0%} of "
        f"the cases diseased), 1 being the first audit after it: median, and the share found within 1 and within 3. "
        f"{len(histories)} simulated histories; three years of audits are planned.",
        "",
        "| sensitivity after | cases of an audit | " + " | ".join(f"after {s} stable months" for s in STABLE) + " |",
        "|---|---|" + "---|" * len(STABLE),
    ]
    for loss in LOSSES:
        for size in SIZES:
            cells = []
            for stable in STABLE:
                each = [h[f"{size} {stable} {loss:.2f}"] for h in histories]
                found = np.array([LONGEST + 1 if d is None else d for d in each if d != 0], dtype=np.float64)
                middle = float(np.median(found))
                shown = f"over {LONGEST}" if middle > LONGEST else f"{middle:g}"
                cells.append(f"{shown} ({(found <= 1).mean():.0%}, {(found <= 3).mean():.0%})")
            lines.append(f"| {loss:.2f} | {size} | " + " | ".join(cells) + " |")
    return lines


# --- the campaign ---------------------------------------------------------------------------------------------------


def _one(asked: tuple[str, int]) -> tuple[str, int, Any]:
    kind, number = asked
    if kind == DELAYS:
        return kind, number, delays(number)
    if kind == LIMIT:
        return kind, number, year_at_the_limit(number)
    with _in_short():
        return kind, number, year(number)


def _found(todo: list[tuple[str, int]], jobs: int) -> Iterator[tuple[str, int, Any]]:
    if jobs == 1:
        yield from map(_one, todo)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(_one, todo, chunksize=5)


def tally(path: Path, years: int, jobs: int, kinds: Sequence[str]) -> dict[tuple[str, int], Any]:
    """Every year's first alarm and every history's delays, by kind and number; those the file has are not done again.

    A line of the file is of one version of the shipped protocol: lines of another are passed over.
    """
    digest = protocol_digest(load_protocol("drift_audit"))
    done: dict[tuple[str, int], Any] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            kept = json.loads(line)
            if kept["protocol"] == digest:
                done[kept["world"], kept["year"]] = kept["alarm"]
    todo = [(k, i) for k in kinds for i in range(years) if (k, i) not in done]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        for kind, number, found in _found(todo, jobs):
            done[kind, number] = found
            file.write(json.dumps({"protocol": digest, "world": kind, "year": number, "alarm": found}) + "\n")
            file.flush()
    return {k: v for k, v in done.items() if k[1] < years}


def written(found: Mapping[tuple[str, int], Any], years: int) -> str:
    """The page of results, of what is complete."""
    lines = [
        "# Years without drift",
        "",
        f"A year is {MONTHS} audits of {N_MONTH} cases against a baseline of {N_BASELINE}, by the shipped protocol "
        "`drift_audit`: three inputs, three outputs, sensitivity and specificity watched, a budget of 5 % a year. "
        'A year alarms if any indicator of any audit is at "action". `make campaign-drift`.',
        "",
        "| world | years | years with an alarm | share |",
        "|---|---|---|---|",
    ]
    worlds = [w for w in WORLDS if all((w, i) in found for i in range(years))]
    alarmed = {w: [found[w, i] for i in range(years) if found[w, i]] for w in worlds}
    lines += [f"| {WORLDS[w]} | {years} | {len(a)} | {len(a) / years:.1%} |" for w, a in alarmed.items()]
    lines += ["", f"At a true rate of 5 % more than {MOST} of 500 are seen once in a hundred campaigns."]
    lines += ["What rose first:", ""]
    for world, alarms in alarmed.items():
        what = [name for a in alarms for name in a.partition(": ")[2].split(", ")]
        counted = ", ".join(f"{what.count(name)} × {name}" for name in sorted(set(what)))
        lines.append(f"- {world}: {counted or 'nothing'}")
    if all((DELAYS, i) in found for i in range(years)):
        lines += ["", *delay_table([found[DELAYS, i] for i in range(years)])]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--years", type=int, default=500)
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--only", choices=(*WORLDS, DELAYS), help="one part of the campaign")
    parser.add_argument("--tally", type=Path, default=Path("build/drift_campaign.jsonl"))
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    kinds = (asked.only,) if asked.only else (*WORLDS, DELAYS)
    text = written(tally(asked.tally, asked.years, asked.jobs, kinds), asked.years)
    print(text)
    if asked.out is not None:
        asked.out.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
