"""Whether a mean difference lies inside its margins: t tests of the criteria on a bias, beside their intervals."""

from __future__ import annotations

import math
from collections.abc import Iterator

from evalsuite.analyses.measurement_population import MeasurementPopulation
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.stats.deviation import tost
from evalsuite.types import TestOutcome


def bias_tests(protocol: StudyProtocol, population: MeasurementPopulation) -> Iterator[TestOutcome]:
    """One-sided t tests of criteria on the bias in the whole set; with one on each side two one-sided tests of both.

    The interval decides; a test says how clearly. Undefined where a case lacks an output or a reference, for which the
    interval takes the worst case.
    """
    asked = [
        (e.name, e.criterion)
        for e in protocol.endpoints
        if e.metric == "bias" and e.criterion is not None and e.criterion.bound != "point" and e.each is None
        if not e.stratum
    ]
    margins = [
        (name, c.value if c.bound == "lower" else -math.inf, c.value if c.bound == "upper" else math.inf)
        for name, c in asked
    ]
    low, high = max((m[1] for m in margins), default=-math.inf), min((m[2] for m in margins), default=math.inf)
    if math.isfinite(low) and math.isfinite(high) and low < high:
        margins.append((margins[-1][0], low, high))
    for name, lower, upper in margins:
        both = math.isfinite(lower) and math.isfinite(upper)
        title = f"{name}: {lower:g} to {upper:g}" if both else f"{name} {'>' if upper == math.inf else '<'} "
        title += "" if both else f"{lower if upper == math.inf else upper:g}"
        if not population.both.all():
            yield TestOutcome(
                name=title,
                statistic=None,
                p_value=None,
                method="two one-sided t tests" if both else "one-sided t test",
                endpoint=name,
                undefined="cases without an output or a reference, for which the interval takes the worst case",
            )
            continue
        yield tost(
            population.device,
            population.reference,
            lower=lower,
            upper=upper,
            patient=population.patient_index,
            name=title,
            endpoint=name,
        )
