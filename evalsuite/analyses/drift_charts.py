"""Figures of all audits in a row, and control charts on them: early warnings beside the alarms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from evalsuite.analyses.drift_periods import ANALYSIS, BASELINE, EarlierAudit, Figure, Indicator, plain
from evalsuite.protocol.drift import Charts
from evalsuite.stats.control_charts import cusum, cusum_limit
from evalsuite.types import Curve, Estimate, Finding

FIGURE = "chart_figure"


def control_charts(
    asked: Charts, figures: Mapping[str, tuple[Figure, Figure]], earlier: Sequence[EarlierAudit]
) -> tuple[list[Finding], list[Curve], list[Indicator]]:
    """A CUSUM of every figure over the audits so far; `figures` maps a name to the baseline's and this window's.

    Each point is (figure − baseline) / √(p (1 − p) (1/n + 1/n₀)) with the baseline's share p, kept half a case away
    from 0 and 1. The run length that the limit is designed for is that of independent normal points around a known
    baseline; an estimated one makes false signals more frequent, which is why charts warn and do not alarm.
    """
    limit = cusum_limit(asked.reference, asked.run_length)
    findings: list[Finding] = []
    curves: list[Curve] = []
    lines: list[Indicator] = []
    method = f"CUSUM, k {asked.reference:g}, h {limit:.3g}, {asked.run_length:g} audits between false signals"
    for name, (before, now) in figures.items():
        for figure, condition in ((before, BASELINE), (now, None)):
            estimate = Estimate(
                value=figure.value, n=figure.n, method="share", interval_undefined="a point of a control chart"
            )
            findings.append(plain(name, FIGURE, estimate, condition=condition))
        numbered = [(i + 1, a.figures[name]) for i, a in enumerate(earlier) if name in a.figures]
        series = [*numbered, (len(earlier) + 1, now)]
        z = [_standardised(f, before) for _, f in series]
        chart = cusum(z, reference=asked.reference, limit=limit)
        x = tuple(float(i) for i, _ in series)
        curves.append(
            Curve(
                analysis=ANALYSIS,
                metric=name,
                kind="audit_series",
                series=name,
                x=x,
                y=tuple(f.value for _, f in series),
                low=(before.value,) * len(x),
                high=(before.value,) * len(x),
                n=tuple(f.n for _, f in series),
            )
        )
        curves.append(
            Curve(
                analysis=ANALYSIS,
                metric=name,
                kind="control_chart",
                series=name,
                x=x,
                y=tuple(float(v) for v in chart.upper),
                low=tuple(-float(v) for v in chart.lower),
                high=(limit,) * len(x),
                method=method,
            )
        )
        up, down = float(chart.upper[-1]), float(chart.lower[-1])
        beyond = max(up, down) > limit
        direction = "above" if up >= down else "below"
        said = f"has drifted {direction} the baseline over the audits" if beyond else "within its limits"
        lines.append(
            Indicator(
                name=f"Chart: {name}",
                kind="chart",
                status="warning" if beyond else "normal",
                value=max(up, down),
                limits=f"warning: beyond {limit:.3g}",
                n=len(x),
                reason=said,
            )
        )
    return findings, curves, lines


def _standardised(figure: Figure, before: Figure) -> float:
    half = 0.5 / before.n
    p = min(1.0 - half, max(half, before.value))
    return (figure.value - before.value) / float(np.sqrt(p * (1.0 - p) * (1.0 / figure.n + 1.0 / before.n)))
