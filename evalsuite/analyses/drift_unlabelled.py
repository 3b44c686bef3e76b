"""What performance and prevalence may be where there are no labels, and which groups carry a change that was seen."""

from __future__ import annotations

import numpy as np

from evalsuite.analyses.binary_questions import Threshold
from evalsuite.analyses.drift_periods import BASELINE, Period, call_threshold, calls, plain
from evalsuite.analyses.drift_shares import counted_in
from evalsuite.analyses.population import Bools, Population
from evalsuite.protocol.comparisons import SUFFIX
from evalsuite.protocol.schema import Endpoint, StudyProtocol
from evalsuite.stats.unlabelled import calibrated, expected_performance, label_shift
from evalsuite.testset.strata import assign_strata
from evalsuite.types import Estimate, Finding

WITHOUT_LABELS = "without_labels"
FROM_CALLS = "from_calls"


# --- without labels -------------------------------------------------------------------------------------------------


def without_labels(protocol: StudyProtocol, before: Population, window: Population) -> list[Finding]:
    """What performance and prevalence may be in the whole window, from the device's outputs alone; never a pass."""
    threshold = call_threshold(protocol)
    known = before.has_reference & before.has_output
    given = window.has_output
    positive = before.positive[known]
    if threshold is None or not given.any() or not positive.any() or positive.all():
        return []
    probability = calibrated(before.score[known], positive, window.score[given])
    called = calls(window, threshold)[given]
    n = int(given.sum())
    why = "an expectation that no label was compared with"
    method = "confidence-based estimation on the baseline's calibration"
    out = []
    for metric, value in expected_performance(probability, called).items():
        estimate = (
            Estimate.not_estimable("no case with this expected", n=n, method=method)
            if value is None
            else Estimate(value=value, n=n, method=method, interval_undefined=why)
        )
        at = None if metric == "auroc" else _point(protocol)
        out.append(plain(f"expected {metric}", metric, estimate, condition=WITHOUT_LABELS, operating_point=at))
    return [*out, *_prevalence(before, window, threshold, known, given)]


def _point(protocol: StudyProtocol) -> str:
    asked = protocol.analyses.drift
    return (asked.at if asked is not None else None) or protocol.operating_points[0].name


def _prevalence(
    before: Population, window: Population, threshold: Threshold, known: Bools, given: Bools
) -> list[Finding]:
    """Prevalence in both periods where labels say so, and in the window from how often the device calls."""
    out = []
    for population, condition in ((before, BASELINE), (window, "window")):
        k = population.has_reference
        if k.any():
            share = float(population.positive[k].mean())
            estimate = Estimate(
                value=share,
                n=int(k.sum()),
                numerator=float(population.positive[k].sum()),
                denominator=float(k.sum()),
                method="counted",
                interval_undefined="a count of the labelled cases",
            )
            out.append(plain("prevalence", "prevalence", estimate, condition=condition))
    call_before, positive = calls(before, threshold)[known], before.positive[known]
    rates = [float(call_before[~positive].mean()), float(call_before[positive].mean())]
    confusion = [[1 - rates[0], 1 - rates[1]], [rates[0], rates[1]]]
    called = float(calls(window, threshold)[given].mean())
    found = label_shift(confusion, [1 - called, called])
    n, method = int(given.sum()), "black-box shift estimation from calls"
    if found.shares is None:
        estimate = Estimate.not_estimable(found.undefined or "not estimable", n=n, method=method)
    elif not found.plausible:
        said = "no prevalence explains these calls: more than the prevalence changed"
        estimate = Estimate.not_estimable(said, n=n, method=method)
    else:
        said = "holds if only the prevalence changed"
        estimate = Estimate(value=found.shares[1], n=n, method=method, interval_undefined=said)
    return [*out, plain("prevalence", "prevalence", estimate, condition=FROM_CALLS)]


# --- what carries a change ------------------------------------------------------------------------------------------


def carried_by(protocol: StudyProtocol, baseline: Period, labelled: Period) -> list[Finding]:
    """Each group's part in the change of a monitored share: its own change, and the change of how many it has.

    For shares a and b of the cases in a group and performances x and y there (baseline, window): (a + b)/2 · (y − x) is
    the group's own change, (b − a) · (x + y)/2 the change of mix (Kitagawa 1955). Groups that one period lacks have no
    performance there and count as mix alone. All parts add up to the difference where both periods have every group.
    """
    asked = protocol.analyses.drift
    assert asked is not None, "the protocol's checks require it"
    out: list[Finding] = []
    for monitor in asked.monitor:
        endpoint = next(e for e in protocol.endpoints if e.name == monitor.endpoint)
        for spec in (s for s in protocol.strata if s.cross is None):
            sides = [_by_group(protocol, endpoint, p, spec.name) for p in (baseline, labelled)]
            for level in dict.fromkeys((*sides[0], *sides[1])):
                first, second = sides[0].get(level), sides[1].get(level)
                if first is None or second is None:
                    continue
                (a, x), (b, y) = first, second
                n = labelled.n
                for kind, part in (("within", 0.5 * (a + b) * (y - x)), ("mix", 0.5 * (b - a) * (x + y))):
                    estimate = Estimate(
                        value=part, n=n, method="Kitagawa decomposition", interval_undefined="a part of the difference"
                    )
                    out.append(
                        plain(
                            endpoint.name,
                            f"{endpoint.metric}{SUFFIX}",
                            estimate,
                            condition=kind,
                            stratum={spec.name: level},
                            reference_group=BASELINE,
                            operating_point=endpoint.at,
                        )
                    )
    return out


def _by_group(
    protocol: StudyProtocol, endpoint: Endpoint, period: Period, stratum: str
) -> dict[str, tuple[float, float]]:
    """Share of the cases that count, and share of those that are right, in every group that has any."""
    population = period.population(protocol)
    success, among, given = counted_in(protocol, endpoint, population, protocol.missing_outputs.primary)
    weight = np.ones(population.n) if given is None else given
    labels = assign_strata(period.frame, protocol.strata)[stratum]
    out = {}
    for i, level in enumerate(labels.levels):
        mask = labels.mask(i) & among
        if mask.any():
            own = weight[mask]
            out[level[0]] = (float(own.sum() / weight[among].sum()), float((own * success[mask]).sum() / own.sum()))
    return out
