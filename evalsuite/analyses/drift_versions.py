"""Whether the model changed or the data did: both versions' performance on the baseline's cases and on the window's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from evalsuite.analyses.drift_periods import Former, Period, plain
from evalsuite.analyses.drift_shares import SHARES, counted_in
from evalsuite.analyses.metrics import two_sided_level
from evalsuite.analyses.population import Floats
from evalsuite.protocol.comparisons import SUFFIX
from evalsuite.protocol.schema import Endpoint, StudyProtocol
from evalsuite.stats.bootstrap_interval import bootstrap_interval
from evalsuite.types import Estimate, Finding

#: Conditions of the four figures: which version, on whose cases.
CELLS = ("former_baseline", "current_baseline", "former_window", "current_window")
#: Conditions of the difference's parts, and of the whole.
MODEL, DATA, BOTH = "model_changed", "data_changed", "both_changed"
_METHOD = "patient bootstrap, percentile"
_CHUNK = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    """Right calls and cases of each patient, shape (patients,), of one version on one period's cases; how many these
    are, unweighted."""

    good: Floats
    total: Floats
    cases: int


def versions(protocol: StudyProtocol, baseline: Period, labelled: Period, former: Former) -> list[Finding]:
    """Every share of cases of both versions in both periods, and how much of the whole change is each one's.

    With figures f and c of the former and the current version on the baseline's (b) and the window's (w) cases, the
    change is c_w − f_b. The model's part is ½ [(c_b − f_b) + (c_w − f_w)], the data's ½ [(f_w − f_b) + (c_w − c_b)]
    (Shapley's values of the two): they add up to it. Each version is asked about the same patients, in every resample
    of them. Cases without a reference are left out, those without output count as the protocol says.
    """
    out: list[Finding] = []
    for endpoint in protocol.endpoints:
        if endpoint.metric not in SHARES or endpoint.stratum or endpoint.each is not None:
            continue
        if endpoint.prevalence is not None:
            continue
        cells: dict[str, Floats | None] = {}
        n: dict[str, int] = {}
        for period, rows, name in ((baseline, former.baseline, "baseline"), (labelled, former.window, "window")):
            replaced = replace(period, predictions=_aligned(rows, period))
            pair = [_counted(protocol, endpoint, p) for p in (replaced, period)]
            drawn = _figures(pair, replicates=protocol.confidence.bootstrap.replicates, seed=[protocol.seed, len(name)])
            cells |= {f"former_{name}": drawn[0], f"current_{name}": drawn[1]}
            n |= dict.fromkeys((f"former_{name}", f"current_{name}"), pair[1].cases)
        out += _findings(protocol, endpoint, cells, n)
    return out


def _aligned(rows: pd.DataFrame, period: Period) -> pd.DataFrame:
    return rows.set_index("case_id").loc[list(period.case_id)].reset_index()


def _counted(protocol: StudyProtocol, endpoint: Endpoint, period: Period) -> _Counted:
    population = period.population(protocol)
    success, among, weight = counted_in(protocol, endpoint, population, protocol.missing_outputs.primary)
    counts = among.astype(np.float64) * (1.0 if weight is None else weight)
    size = population.n_patients
    good, total = (np.bincount(population.patient_index, weights=w, minlength=size) for w in (counts * success, counts))
    return _Counted(
        good=np.asarray(good, dtype=np.float64),
        total=np.asarray(total, dtype=np.float64),
        cases=int(among.sum()),
    )


def _figures(pair: list[_Counted], *, replicates: int, seed: list[int]) -> list[Floats | None]:
    """Each version's share as it is and in every resample of the same patients, shape (1 + replicates,); None where no
    case counts."""
    patients = pair[0].total.size
    rng = np.random.default_rng(seed)
    columns = np.stack([c for p in pair for c in (p.good, p.total)], axis=1)
    sums = [columns.sum(axis=0, keepdims=True)]
    for start in range(0, replicates, _CHUNK):
        drawn = rng.multinomial(patients, np.full(patients, 1.0 / patients), size=min(_CHUNK, replicates - start))
        sums.append(drawn @ columns)
    every = np.concatenate(sums)
    shares: list[Floats | None] = []
    for i, one in enumerate(pair):
        if not one.total.sum() > 0.0:
            shares.append(None)
            continue
        good, total = every[:, 2 * i], every[:, 2 * i + 1]
        shares.append(np.divide(good, total, out=np.full(total.shape, np.nan), where=total > 0.0))
    return shares


def _findings(
    protocol: StudyProtocol, endpoint: Endpoint, cells: Mapping[str, Floats | None], n: Mapping[str, int]
) -> list[Finding]:
    level = two_sided_level(protocol.confidence)
    made: dict[tuple[str, str], Floats | None] = {(endpoint.metric, name): cells[name] for name in CELLS}
    difference = f"{endpoint.metric}{SUFFIX}"
    f_b, c_b, f_w, c_w = (cells[name] for name in CELLS)
    parts: dict[str, Floats | None] = {BOTH: None, MODEL: None, DATA: None}
    if f_b is not None and c_b is not None and f_w is not None and c_w is not None:
        parts = {
            BOTH: c_w - f_b,
            MODEL: 0.5 * ((c_b - f_b) + (c_w - f_w)),
            DATA: 0.5 * ((f_w - f_b) + (c_w - c_b)),
        }
    made |= {(difference, name): values for name, values in parts.items()}
    return [
        plain(
            endpoint.name,
            metric,
            _estimate(values, n=n.get(name, n["current_baseline"] + n["current_window"]), level=level),
            condition=name,
            operating_point=endpoint.at,
        )
        for (metric, name), values in made.items()
    ]


def _estimate(values: Floats | None, *, n: int, level: float) -> Estimate:
    if values is None:
        return Estimate.not_estimable("a period has no case that counts", n=n, level=level, method=_METHOD)
    found = bootstrap_interval(values[1:], float(values[0]), method="percentile", level=level)
    return Estimate(
        value=float(values[0]),
        low=found.low,
        high=found.high,
        n=n,
        level=level,
        method=_METHOD,
        interval_undefined=found.undefined,
    )
