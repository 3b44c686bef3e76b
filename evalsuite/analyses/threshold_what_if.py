"""What a threshold for each group would do to its sensitivity and specificity; a what-if that nothing is judged on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from evalsuite.analyses.common import Results
from evalsuite.analyses.metrics import two_sided_level
from evalsuite.analyses.population import Bools, Floats, Population
from evalsuite.analyses.wrong_cases import operating_point
from evalsuite.protocol.failures import ThresholdWhatIf
from evalsuite.protocol.schema import OperatingPoint, StudyProtocol
from evalsuite.stats.clustered import clustered_proportion
from evalsuite.stats.equalising import Rule, for_odds, for_sensitivity
from evalsuite.stats.slices import search_half
from evalsuite.testset.strata import StratumLabels
from evalsuite.types import Estimate, Finding

ANALYSIS = "threshold_what_if"
DECLARED, EQUALISED = "as declared", "equalised"
_NO_RULE = "a half of the patients lacks positive or negative cases of a group, so that no rule can be found there"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cases:
    """The cases with output and reference: scores, truths, group, patient, and the call at the declared threshold."""

    score: Floats
    positive: Bools
    group: np.ndarray
    patient: np.ndarray
    call: Bools

    def rules(self, asked: ThresholdWhatIf, among: Bools, n_groups: int) -> tuple[Rule, ...] | None:
        """The rule of each group, found among some cases alone; None where a group gives none."""
        groups = [(self.score[m], self.positive[m]) for m in (among & (self.group == g) for g in range(n_groups))]
        positive, call = self.positive[among], self.call[among]
        if not positive.any() or positive.all():
            return None
        if asked.equalise == "odds":
            found = for_odds(groups, float(call[~positive].mean()))
            return None if found is None else found[1]
        rules = [for_sensitivity(score, truth, float(call[positive].mean())) for score, truth in groups]
        return tuple(r for r in rules if r is not None) if all(r is not None for r in rules) else None


def thresholds_what_if(protocol: StudyProtocol, population: Population, labels: Mapping[str, StratumLabels]) -> Results:
    """What `analyses.threshold_what_if` asks for: sensitivity and specificity of each group now and with own rules.

    Findings carry `condition` "as declared" or "equalised". Every case is called by the rule found on the half of the
    patients it does not belong to; the metric `threshold` is of all cases, for groups whose rule is one threshold.
    Groups with fewer positives or negatives than `small_strata` allows take no part. Cases without output or reference
    are left out. Nothing without the block.
    """
    asked = protocol.analyses.threshold_what_if
    if asked is None:
        return Results(findings=(), curves=(), accounting=(), tests=(), notes=())
    point = operating_point(protocol, asked.at)
    group = labels[asked.stratum]
    settled = population.has_output & population.has_reference
    least = protocol.small_strata.suppress_below
    taking_part: list[tuple[int, str]] = []
    small: list[tuple[int, str]] = []
    for i, level in enumerate(group.levels):
        mask = group.mask(i) & settled
        n_positive = int((population.positive & mask).sum())
        (taking_part if min(n_positive, int(mask.sum()) - n_positive) >= max(least, 1) else small).append((i, level[0]))
    part = settled & np.isin(group.index, [i for i, _ in taking_part])
    code = np.searchsorted([i for i, _ in taking_part], group.index[part]) if taking_part else np.zeros(0, np.intp)
    score = population.score[part]
    cases = _Cases(
        score=score,
        positive=population.positive[part],
        group=code,
        patient=population.patient_index[part],
        call=np.asarray(score > point.threshold if point.comparison == ">" else score >= point.threshold),
    )
    notes = []
    if small:
        said = ", ".join(name for _, name in small)
        notes.append(f"What-if thresholds: groups too small to take part ({asked.stratum}): {said}.")
    if len(taking_part) < 2:
        notes.append(f"What-if thresholds: fewer than two groups of '{asked.stratum}' are large enough to compare.")
        return Results(findings=(), curves=(), accounting=(), tests=(), notes=tuple(notes))
    names = [name for _, name in taking_part]
    findings = tuple(_findings(protocol, asked, point, cases, group.keys[0], names))
    return Results(findings=findings, curves=(), accounting=(), tests=(), notes=tuple(notes))


def _findings(
    protocol: StudyProtocol, asked: ThresholdWhatIf, point: OperatingPoint, cases: _Cases, key: str, names: list[str]
) -> Iterator[Finding]:
    level = two_sided_level(protocol.confidence)
    equalised = _crossed(asked, cases, len(names), protocol.seed)
    rules = cases.rules(asked, np.ones(len(cases.score), dtype=bool), len(names))
    for g, name in enumerate(names):
        mine = cases.group == g
        if rules is not None and (threshold := rules[g].threshold) is not None:
            why = "read off the test set; not a result"
            e = Estimate(
                value=threshold, interval_undefined=why, level=level, method="highest that reaches the goal",
                n=int(mine.sum()),
            )  # fmt: skip
            yield _finding(protocol, point, "threshold", EQUALISED, {key: name}, e)
        for metric, among, wanted in (("sensitivity", cases.positive, True), ("specificity", ~cases.positive, False)):
            cell = mine & among
            for condition, call in ((DECLARED, cases.call), (EQUALISED, equalised)):
                if call is None:
                    e = Estimate.not_estimable(_NO_RULE, n=int(cell.sum()), level=level)
                else:
                    e = clustered_proportion(
                        call[cell] == wanted,
                        cases.patient[cell],
                        level=level,
                        method=protocol.confidence.proportion,
                    )
                yield _finding(protocol, point, metric, condition, {key: name}, e)


def _crossed(asked: ThresholdWhatIf, cases: _Cases, n_groups: int, seed: int) -> Bools | None:
    """(n,) calls, each by the rule that the other half of the patients gives; where chance has a part, drawn once."""
    half = search_half(cases.patient, seed=seed)
    chance = np.zeros(len(cases.score))
    for side in (half, ~half):
        rules = cases.rules(asked, ~side, n_groups)
        if rules is None:
            return None
        for g, rule in enumerate(rules):
            mine = side & (cases.group == g)
            chance[mine] = rule.chance(cases.score[mine])
    drawn = np.random.Generator(np.random.PCG64DXSM(np.random.SeedSequence(seed, spawn_key=(0x57,))))
    return np.asarray(drawn.random(len(chance)) < chance)


def _finding(
    protocol: StudyProtocol,
    point: OperatingPoint,
    metric: str,
    condition: str,
    stratum: Mapping[str, str],
    estimate: Estimate,
) -> Finding:
    return Finding(
        analysis=ANALYSIS,
        endpoint="what if",
        metric=metric,
        role="exploratory",
        target=str(protocol.task.reference),
        operating_point=point.name,
        stratum=dict(stratum),
        condition=condition,
        prespecified=False,
        estimate=estimate,
    )
