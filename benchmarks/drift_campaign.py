"""How often a year of audits without any drift raises an alarm: `make campaign-drift`, at most 37 of 500 under 5 %.

A year is a baseline and twelve months of the shipped protocol `drift_audit`, cases of one patient each, numbers instead
of images. A year alarms where any audit has an indicator at "action". By chance alone more than 37 of 500 years would
be expected once in a hundred campaigns at a true rate of 5 %.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd

from evalsuite.analyses.drift import drift_analysis
from evalsuite.analyses.drift_periods import EarlierAudit, Period
from evalsuite.protocol.load import load_protocol
from evalsuite.stats.sequential import DetectorState

ROOT = Path(__file__).resolve().parents[1]
N_BASELINE, N_MONTH, MONTHS = 600, 200, 12


def _simulation() -> ModuleType:
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


def year(number: int) -> str:
    """The first alarm of a simulated year: month and indicator; empty where there is none."""
    sim, protocol = _simulation(), load_protocol("drift_audit")
    # Estimates of secondary figures raise no alarm: without them a year takes seconds.
    kept = [e for e in protocol.endpoints if e.metric in ("sensitivity", "specificity")]
    protocol = protocol.model_copy(update={"endpoints": kept, "strata": [], "seed": number})
    baseline = _period(sim, N_BASELINE, 1_000_000 + number, "b")
    earlier: list[EarlierAudit] = []
    for month in range(MONTHS):
        window = _period(sim, N_MONTH, 2_000_000 + 100 * number + month, f"m{month}")
        found = drift_analysis(protocol, baseline=baseline, window=window, labelled=window, earlier=earlier)
        alarms = [f.endpoint for f in found.findings if f.metric.startswith("indicator_") and f.condition == "action"]
        if alarms:
            return f"month {month + 1}: {', '.join(alarms)}"
        states = {str(c.series): c for c in found.curves if c.kind == "detector_state"}
        detectors = {k: DetectorState(log_processes=c.y, seen=int(str(c.n))) for k, c in states.items()}
        earlier.append(EarlierAudit(detectors=detectors))
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--years", type=int, default=500)
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    begun = time.process_time()
    if asked.jobs == 1:
        found = [year(i) for i in range(asked.years)]
    else:
        with ProcessPoolExecutor(asked.jobs) as pool:
            found = list(pool.map(year, range(asked.years), chunksize=5))
    alarmed = [f for f in found if f]
    lines = [
        "# Years without drift",
        "",
        f"{len(alarmed)} of {asked.years} simulated years without drift raised an alarm "
        f"({MONTHS} audits of {N_MONTH} cases, baseline of {N_BASELINE}; protocol drift_audit, budget 5 %).",
        "",
        *(f"- {f}" for f in alarmed),
    ]
    text = "\n".join(lines) + "\n"
    print(text, f"({time.process_time() - begun:.0f} CPU seconds in this process)")
    if asked.out is not None:
        asked.out.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
