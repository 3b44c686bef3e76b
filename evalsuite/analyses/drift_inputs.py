"""Whether what the device is given, and what it gives, still looks like the baseline; each test within one budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evalsuite.analyses.drift_periods import (
    ANALYSIS,
    BASELINE,
    Indicator,
    Kind,
    Period,
    call_threshold,
    calls,
    cells_of_column,
    disclosed,
    plain,
)
from evalsuite.analyses.embedding import embedding_columns
from evalsuite.analyses.population import Population
from evalsuite.errors import InputError
from evalsuite.protocol.drift import Drift, DriftCovariate
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.stats.distribution_shift import LEAST_SHUFFLES, METHOD, Covariate, Shift, shifts
from evalsuite.stats.mmd import MOST_CASES, median_distance, mmd_test
from evalsuite.stats.multiplicity import adjust_tests
from evalsuite.testset.strata import number
from evalsuite.types import Estimate, Finding, TestOutcome

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
SCORE, CALLS, USABLE, EMBEDDING = "score", "calls", "usable output", "embedding"
#: Groups of a covariate that are listed, those whose share changed most first.
_MOST_LEVELS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What came of comparing inputs and outputs."""

    findings: tuple[Finding, ...]
    tests: tuple[TestOutcome, ...]
    indicators: tuple[Indicator, ...]
    notes: tuple[str, ...] = ()


def compare_inputs(
    protocol: StudyProtocol, baseline: Period, window: Period, populations: tuple[Population, Population]
) -> Compared:
    """Integrity, shifts of inputs and outputs, and embeddings; `populations` are those of baseline and window.

    Every test shares the audit's level by Holm's method. Nothing is tested that the protocol does not name.
    """
    asked = protocol.analyses.drift
    assert asked is not None, "the protocol's checks require it"
    covariates = [_covariate(c, baseline, window) for c in asked.asked]
    kinds: dict[str, Kind] = {c.name: "input" for c in covariates}
    if asked.outputs:
        made = _outputs(protocol, populations)
        covariates += made
        kinds |= dict.fromkeys((c.name for c in made), "output")
    found = shifts(
        covariates,
        baseline.patient_id,
        window.patient_id,
        shuffles=max(LEAST_SHUFFLES, asked.most_shuffles),
        seed=protocol.seed,
    )
    tests = [_test(s) for s in found]
    findings = [f for s in found for f in _effects(s)]
    notes: list[str] = []
    if asked.embeddings:
        test, more, note = _embeddings(protocol, asked, baseline, window)
        tests.append(test)
        findings += more
        notes += [note] if note else []
        kinds[EMBEDDING] = "input"
    adjusted = adjust_tests(tests, "holm")
    indicators = [_shift_indicator(t, asked, kinds[_named(t)], window.n) for t in adjusted]
    findings += [
        f for c in asked.asked if c.kind == "categorical" for f in _levels(protocol, c.column, baseline, window)
    ]
    return Compared(
        findings=tuple(findings),
        tests=adjusted,
        indicators=(*_integrity(protocol, asked, found, baseline, window), *indicators),
        notes=tuple(notes),
    )


# --- what is compared -----------------------------------------------------------------------------------------------


def _covariate(asked: DriftCovariate, baseline: Period, window: Period) -> Covariate:
    if asked.kind == "categorical":
        first, second = (np.array(list(cells_of_column(p, asked.column)), dtype=object) for p in (baseline, window))
        return Covariate(name=asked.column, kind="categorical", baseline=first, window=second)
    return Covariate(
        name=asked.column,
        kind="numeric",
        baseline=_numbers(baseline, asked.column, "baseline"),
        window=_numbers(window, asked.column, "window"),
    )


def _numbers(period: Period, column: str, whose: str) -> Floats:
    plain_cells = _plain_numbers(period.frame[column])
    if plain_cells is not None:
        return plain_cells
    cells = [str(c).strip() for c in period.frame[column].tolist()]
    values = [number(c) for c in cells]
    wrong = sum(v is None and c.lower() not in _ABSENT for v, c in zip(values, cells, strict=True))
    if wrong:
        raise InputError(
            f"{wrong} cells of '{column}' in the {whose} are not numbers.",
            hint="Leave a cell empty where there is no value, or compare the column as groups (kind: categorical).",
        )
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def _plain_numbers(column: pd.Series[Any]) -> Floats | None:
    """What `number` says of cells that are finite numbers or empty, all at once; None where any is something else."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = column if str(column.dtype) == "str" else list(map(str, column.tolist()))
    cells = pa.array(text, type=pa.large_string())
    empty = pc.equal(cells, "")
    try:
        values = pc.cast(pc.if_else(empty, None, cells), pa.float64())
    except pa.ArrowInvalid:
        return None
    found: Floats = np.array(values.to_numpy(zero_copy_only=False))
    # Infinity and "nan" are numbers to Arrow; a cell that is absent altogether is none to anybody.
    plain_only = cells.null_count == 0 and int((~np.isfinite(found)).sum()) == int(pc.sum(empty).as_py() or 0)
    return found if plain_only else None


_ABSENT = ("", "nan", "na", "n/a", "none", "null", "unknown", "missing")


def _outputs(protocol: StudyProtocol, populations: tuple[Population, Population]) -> list[Covariate]:
    threshold = call_threshold(protocol)
    scores = [np.where(np.isfinite(p.score), p.score, np.nan) for p in populations]
    states = [np.where(p.has_output, "ok", _outcomes(p)) for p in populations]
    made = [
        Covariate(name=SCORE, kind="numeric", baseline=scores[0], window=scores[1]),
        Covariate(name=USABLE, kind="categorical", baseline=states[0], window=states[1]),
    ]
    if threshold is not None:
        called = [
            np.where(p.has_output, np.where(calls(p, threshold), "positive", "negative"), "none") for p in populations
        ]
        made.insert(1, Covariate(name=CALLS, kind="categorical", baseline=called[0], window=called[1]))
    return made


def _outcomes(p: Population) -> NDArray[np.str_]:
    """How each case without a usable output ended; of the others whatever the reference makes of them."""
    return np.array([s if s in ("rejected", "failed", "indeterminate") else "ok" for s in p.status])


def _embeddings(
    protocol: StudyProtocol, asked: Drift, baseline: Period, window: Period
) -> tuple[TestOutcome, list[Finding], str]:
    columns, absent = embedding_columns(asked.embeddings, [str(c) for c in baseline.predictions.columns])
    now, also_absent = embedding_columns(asked.embeddings, [str(c) for c in window.predictions.columns])
    absent = list(dict.fromkeys((*absent, *also_absent, *sorted(set(columns) ^ set(now)))))
    if absent:
        raise InputError(
            f"Baseline and window do not both have the outputs of the embedding: {', '.join(absent)}.",
            hint="Record them with both, or take analyses.drift.embeddings out of the protocol.",
        )
    sides, owners, left_out = [], [], 0
    for period in (baseline, window):
        values = period.predictions[columns].to_numpy(dtype=np.float64)
        kept = np.flatnonzero(np.isfinite(values).all(axis=1))
        left_out += period.n - kept.size
        if kept.size > MOST_CASES:
            rng = np.random.default_rng(protocol.seed)
            kept = np.sort(rng.permutation(kept)[:MOST_CASES])
        sides.append(values[kept])
        owners.append([period.patient_id[i] for i in kept])
    name = f"{ANALYSIS}: {EMBEDDING}"
    if min(len(s) for s in sides) < 2:
        why = "fewer than two cases of baseline or window have an embedding"
        return TestOutcome(name=name, statistic=None, p_value=None, method=_MMD, undefined=why), [], ""
    found = mmd_test(
        sides[0],
        sides[1],
        bandwidth=median_distance(sides[0], seed=protocol.seed),
        permutations=asked.most_shuffles,
        seed=protocol.seed,
        baseline_patients=owners[0],
        window_patients=owners[1],
    )
    estimate = Estimate(
        value=found.mmd2,
        n=found.n_window,
        method=_MMD,
        interval_undefined="compared with what reshuffled patients show, by its test",
    )
    note = f"{left_out} cases without an embedding take no part in its comparison." if left_out else ""
    outcome = TestOutcome(name=name, statistic=found.mmd2, p_value=found.p_value, method=_MMD)
    return outcome, [plain(EMBEDDING, "mmd", estimate)], note


_MMD = "maximum mean discrepancy, reshuffled patients"


# --- what was found -------------------------------------------------------------------------------------------------


def _test(s: Shift) -> TestOutcome:
    return TestOutcome(
        name=f"{ANALYSIS}: {s.name}",
        statistic=s.effects.get(s.statistic),
        p_value=s.p_value,
        method=f"{_EFFECTS[s.statistic]}, {METHOD}",
        undefined=s.undefined,
    )


_EFFECTS = {"ks": "Kolmogorov-Smirnov distance", "jensen_shannon": "Jensen-Shannon divergence"}


def _effects(s: Shift) -> list[Finding]:
    """Every effect size, with what chance alone shows at this size beside it."""
    if s.undefined is not None:
        nothing = Estimate.not_estimable(s.undefined, n=s.n_window, method=METHOD)
        return [plain(s.name, s.statistic, nothing)]
    why = f"compared with what {s.shuffles} reshuffles of patients show"
    out = []
    for condition, values in ((None, s.effects), ("chance_mean", s.expected), ("chance_95", s.high)):
        for metric, value in values.items():
            estimate = Estimate(value=value, n=s.n_window, method=METHOD, interval_undefined=why)
            out.append(plain(s.name, metric, estimate, condition=condition))
    return out


def _named(test: TestOutcome) -> str:
    return test.name.removeprefix(f"{ANALYSIS}: ")


def _shift_indicator(test: TestOutcome, asked: Drift, kind: Kind, n: int) -> Indicator:
    limits = f"action: adjusted p at most {asked.alpha_shifts:.2g}"
    what = {"input": "Input", "output": "Output"}[kind]
    name = f"{what}: {_named(test)}"
    if test.p_adjusted is None:
        return Indicator(
            name=name, kind=kind, status="not assessed", value=None, limits=limits, n=n, reason=test.undefined or ""
        )
    changed = test.p_adjusted <= asked.alpha_shifts
    said = f"adjusted p {test.p_adjusted:.2g}: {'more than chance explains' if changed else 'as chance would have it'}"
    return Indicator(
        name=name,
        kind=kind,
        status="action" if changed else "normal",
        value=test.statistic,
        limits=limits,
        n=n,
        reason=said,
    )


def _levels(protocol: StudyProtocol, column: str, baseline: Period, window: Period) -> list[Finding]:
    """Shares of a column's groups in both periods, where the protocol lets its cells be named; most changed first."""
    if column not in disclosed(protocol):
        return []
    counts: list[dict[str, int]] = []
    for period in (baseline, window):
        found: dict[str, int] = {}
        for cell in cells_of_column(period, column):
            found[cell] = found.get(cell, 0) + 1
        counts.append(found)

    def change(level: str) -> float:
        first, second = (c.get(level, 0) / max(1, p.n) for c, p in zip(counts, (baseline, window), strict=True))
        return abs(second - first)

    ranked = sorted({*counts[0], *counts[1]}, key=lambda level: (-change(level), level))[:_MOST_LEVELS]
    out = []
    for level in ranked:
        for condition, seen, period in ((BASELINE, counts[0], baseline), (None, counts[1], window)):
            estimate = Estimate(
                value=seen.get(level, 0) / max(1, period.n),
                n=period.n,
                numerator=float(seen.get(level, 0)),
                denominator=float(period.n),
                method="counted",
                interval_undefined="a count of the cases themselves",
            )
            out.append(plain(column, "share_of_cases", estimate, condition=condition, stratum={column: level}))
    return out


# --- integrity ------------------------------------------------------------------------------------------------------


def _integrity(
    protocol: StudyProtocol, asked: Drift, found: Sequence[Shift], baseline: Period, window: Period
) -> list[Indicator]:
    """What should not be there at all: unseen groups, values out of range, new gaps, the same case twice."""
    by_name = {s.name: s for s in found}
    out = []
    for c in asked.asked:
        s = by_name[c.column]
        if c.kind == "categorical":
            new = set(cells_of_column(window, c.column)) - set(cells_of_column(baseline, c.column))
            count = sum(cell in new for cell in cells_of_column(window, c.column)) if new else 0
            named = f": {', '.join(sorted(new)[:5])}" if new and c.column in disclosed(protocol) else ""
            said = f"not in the baseline: {len(new)} group{'s' * (len(new) > 1)}{named}" if new else "all are known"
            out.append(_counted(f"Unseen groups of {c.column}", count, window.n, said))
            continue
        if c.range is not None:
            low, high = c.range
            values = _numbers(window, c.column, "window")
            outside = int(((values < low) | (values > high)).sum())
            out.append(_counted(f"{c.column} out of range", outside, window.n, f"outside {low:g} to {high:g}"))
        new_gaps = s.missing_window if not s.missing_baseline else 0
        if s.missing_window:
            shares = (
                f"{s.missing_window} of {window.n} cells empty, {s.missing_baseline} of {baseline.n} in the baseline"
            )
            gaps = _counted(f"{c.column} missing", s.missing_window, window.n, shares)
            out.append(replace(gaps, status=_if(new_gaps)))
    twice = _twice(asked, window)
    out.append(_counted("Cases that look like another", twice, window.n, "same patient, inputs and outputs"))
    return out


def _counted(name: str, count: int, n: int, said: str) -> Indicator:
    return Indicator(
        name=name,
        kind="integrity",
        status=_if(count),
        value=float(count),
        limits="warning: any case",
        n=n,
        reason=said,
    )


def _if(count: int) -> Any:
    return "warning" if count else "normal"


def _twice(asked: Drift, window: Period) -> int:
    """Usable cases with patient, covariates and every output the same as of an earlier row."""
    outputs = window.predictions.drop(columns=["case_id", "rater", "condition", "reason"], errors="ignore")
    rows = outputs.assign(patient=list(window.patient_id))
    usable = (outputs["status"] == "ok").to_numpy()
    several = rows["patient"].duplicated(keep=False).to_numpy()  # only their rows can be alike
    covariates = {f"covariate {i}": window.frame[c.column].array[several] for i, c in enumerate(asked.asked)}
    rows = rows[several].assign(**covariates)
    return int(rows.duplicated().to_numpy()[usable[several]].sum())
