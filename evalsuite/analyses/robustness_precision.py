"""The same images run twice: within what limits the two answers of a case agree, whatever the setting that differed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from evalsuite.analyses.cuts import two_sided_level
from evalsuite.analyses.robustness_answers import ANALYSIS, ANSWERS, CLEAN, Pair
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.stats.agreement import bland_altman
from evalsuite.stats.clustered import clustered_proportion
from evalsuite.types import Estimate, Finding

_LIMITS = {"agreement_lower": "lower_limit", "agreement_upper": "upper_limit"}


def precision_findings(protocol: StudyProtocol, pair: Pair, name: str, point: str | None) -> Iterator[Finding]:
    """Limits of agreement of each score between a setting and the run's own (mean ± 1.96 SD of the differences), and
    the share of cases whose answer is the same to the bit; why there is none where the setting is not offered."""
    level = two_sided_level(protocol.confidence)

    def finding(metric: str, estimate: Estimate, target: str | None) -> Finding:
        return Finding(
            analysis=ANALYSIS,
            endpoint=ANSWERS,
            metric=metric,
            role="secondary",
            target=target,
            operating_point=point,
            condition=name,
            reference_group=CLEAN,
            estimate=estimate,
        )

    why = pair.not_offered
    if why is not None:
        yield finding("same_answer", Estimate.not_estimable(why, n=0, level=level), None)
        return
    if pair.both.any():
        share = clustered_proportion(pair.same[pair.both], pair.patient_index[pair.both], level=level)
        yield finding("same_answer", share, None)
    for target, (other, own) in pair.scores.items():
        both = np.isfinite(other) & np.isfinite(own)
        found = bland_altman(other[both], own[both], patient=pair.patient_index[both], level=level)
        for metric, attribute in _LIMITS.items():
            yield finding(metric, getattr(found, attribute), target)
