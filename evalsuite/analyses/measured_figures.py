"""Figures of measurements by resampling patients, and two devices measuring the same cases.

In a difference a case without the candidate's output is as far off as the comparison's `maximum`, one without the
baseline's is exact (the reverse as best case).
"""

from __future__ import annotations

from collections.abc import Sequence

from evalsuite.analyses.figure_pair import PairUp, Sides
from evalsuite.analyses.measurement_population import Direction, Measured, MeasurementPopulation, measured
from evalsuite.analyses.metrics import two_sided_level
from evalsuite.analyses.paired import OPPOSITE, unsearched
from evalsuite.analyses.population import Bools, OutputPolicy, ReferencePolicy
from evalsuite.analyses.resampling import Resampling
from evalsuite.analyses.several import enough
from evalsuite.protocol.comparisons import compared_metric, criteria
from evalsuite.protocol.schema import Comparison, Endpoint, StudyProtocol
from evalsuite.stats.bootstrap import Replicated
from evalsuite.stats.deviation import within_tolerance
from evalsuite.stats.measured_bootstrap import measured_replicates
from evalsuite.types import Estimate

#: An error of a known largest size is the worst case of these; of the others a far-off case can raise or lower.
OF_ERRORS = frozenset({"bias", "mae", "rmse", "loa_lower", "loa_upper", "tdi"})


def replicates(resampling: Resampling, e: Endpoint, view: Measured, mask: Bools, *, with_jackknife: bool) -> Replicated:
    """Replicates of the endpoint's metric on the cases of `mask`."""
    return measured_replicates(
        resampling.draw,
        view.device,
        view.reference,
        [e.metric],
        mask=mask,
        tolerance=e.tolerance,
        coverage=e.coverage or 0.9,
        variance_ratio=e.variance_ratio or 1.0,
        with_jackknife=with_jackknife,
    )


class MeasuredFigures:
    """Errors and agreement as two devices are compared on them."""

    def absent(
        self, protocol: StudyProtocol, endpoint: Endpoint, view: Measured, mask: Bools, *, whole: bool
    ) -> Estimate | None:
        n, level = int(mask.sum()), two_sided_level(protocol.confidence)
        if n == 0:
            return Estimate.not_estimable("no cases", n=n, level=level)
        return enough(protocol, whole, {"cases": n}, level, n)

    def right(self, endpoint: Endpoint, view: Measured) -> Bools | None:
        """`(n,)` where the measurement lies within the tolerance, for the coverage probability; None for others."""
        if endpoint.metric != "coverage_probability":
            return None
        assert endpoint.tolerance is not None, "the protocol's loader requires it"
        return within_tolerance(view.device, view.reference, endpoint.tolerance)

    def replicates(
        self,
        resampling: Resampling,
        endpoints: Sequence[Endpoint],
        view: Measured,
        masks: Bools,
        *,
        with_jackknife: bool,
    ) -> Replicated:
        (endpoint,), (mask,) = endpoints, masks
        return replicates(resampling, endpoint, view, mask, with_jackknife=with_jackknife)


def paired_measurements(candidate: MeasurementPopulation, baseline: MeasurementPopulation, asked: Comparison) -> PairUp:
    """How two devices are seen by one figure of their measurements."""
    metric = compared_metric(asked)
    # Any error beyond the tolerance is as bad as another.
    maximum = 2.0 * (asked.tolerance or 0.0) + 1.0 if metric == "coverage_probability" else asked.maximum

    def pair_up(outputs: OutputPolicy, references: ReferencePolicy, within: Bools) -> Sides:
        other = OPPOSITE.get(outputs, outputs)
        include = within.copy()
        if outputs == "exclude":
            include &= candidate.has_output & baseline.has_output
        if references == "exclude":
            include &= candidate.has_reference
        direction = _direction(asked)
        first, second = (
            measured(p, outputs=policy, references="exclude", maximum=maximum, direction=direction or "above")
            for p, policy in ((candidate, outputs), (baseline, other))
        )
        undefined = None
        open_ = int((include & ~candidate.has_reference).sum())
        far = int((include & ~candidate.has_output).sum() if outputs == "worst_case" else 0)
        far += int((include & ~baseline.has_output).sum() if other == "worst_case" else 0)
        lost = int((include & ~(candidate.has_output & baseline.has_output)).sum())
        if open_:
            undefined = unsearched(open_)
        elif lost and metric not in ("bias", "mae", "rmse", "coverage_probability"):
            undefined = f"{lost} cases lack an output, for which a difference of this measure has no worst case"
        elif far and maximum is None:
            undefined = f"{far} cases lack an output, and the comparison declares no largest error (maximum)"
        elif far and direction is None:
            undefined = f"{far} cases lack an output, and it is not said to which side a bias is worse"
        return Sides(
            candidate=first,
            baseline=second,
            include=include & candidate.has_reference,
            undefined=undefined,
        )

    return pair_up


def _direction(asked: Comparison) -> Direction | None:
    """To which side an unknown error is worse for the candidate; None for a bias whose criterion is not one-sided."""
    if compared_metric(asked) != "bias":
        return "above"
    sides = {c.op in (">", ">=") for c in criteria(asked)}
    if len(sides) != 1:
        return None
    return "below" if sides.pop() else "above"
