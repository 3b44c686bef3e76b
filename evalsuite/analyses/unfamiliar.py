"""Unfamiliar cases: whether scores computed from the device's outputs tell declared groups from all others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from evalsuite.analyses.answers import Answers, output_columns, set_apart
from evalsuite.analyses.common import Results
from evalsuite.analyses.cuts import two_sided_level
from evalsuite.analyses.population import Bools, Floats
from evalsuite.errors import InputError
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.protocol.uncertainty import Outliers
from evalsuite.stats.outliers import energy_score, mahalanobis_score, neighbour_score, softmax_score
from evalsuite.stats.roc import auroc
from evalsuite.stats.roc_operating import sensitivity_at_specificity
from evalsuite.testset.strata import StratumLabels
from evalsuite.types import Estimate, Finding

ANALYSIS = "uncertainty"
ENDPOINT = "unfamiliar cases"
KEY = "analyses.uncertainty.outliers"
#: Share of familiar cases that are let through where the other share is read.
ACCEPTED = 0.95


def outlier_figures(
    protocol: StudyProtocol,
    asked: Outliers,
    answers: Answers,
    labels: Mapping[str, StratumLabels],
    frame: pd.DataFrame,
    predictions: pd.DataFrame,
) -> Results:
    """`ood_auroc` and `ood_fpr95` of each score, `condition` its name.

    `ood_fpr95` is the share of unfamiliar cases let through where 95 % of the familiar ones are. Cases without output
    are left out; those the distance scores were fitted to are evaluated for none of the scores, so that all scores
    are compared on the same cases.
    """
    strange = _strange(asked, labels, answers.n)
    fitted = np.zeros(answers.n, dtype=bool)
    embedding: Floats | None = None
    if {"mahalanobis", "neighbours"} & set(asked.scores):
        _, embedding = output_columns(predictions, asked.embedding, f"{KEY}.embedding")
        usable = answers.has_output & np.isfinite(embedding).all(axis=1)
        fitted = set_apart(asked.fit, f"{KEY}.fit", answers, frame, protocol.seed, usable & ~strange)
        # Another case of a patient it was fitted to is no new case.
        known = set(answers.patient_index[fitted])
        fitted |= np.array([p in known for p in answers.patient_index]) & ~strange
    findings: list[Finding] = []
    notes: list[str] = []
    for name in asked.scores:
        score, there, why = _score(asked, name, answers, predictions, embedding, fitted)
        chosen = there & ~fitted & answers.has_output
        lost = int((answers.has_output & ~fitted & ~there).sum())
        if lost and why is None:
            notes.append(f"Unfamiliar cases: {lost} cases lack an output that '{name}' is made of and are left out.")
        for metric, estimate in _figures(protocol, answers, strange, score, chosen, why):
            findings.append(
                Finding(
                    analysis=ANALYSIS,
                    endpoint=ENDPOINT,
                    metric=metric,
                    role="secondary",
                    target=None,
                    operating_point=None,
                    condition=name,
                    estimate=estimate,
                )
            )
    return Results(findings=tuple(findings), curves=(), accounting=(), tests=(), notes=tuple(notes))


def _strange(asked: Outliers, labels: Mapping[str, StratumLabels], n: int) -> Bools:
    """(n,) cases of the groups declared unfamiliar. InputError where a group is not in the set."""
    group = labels[asked.stratum]
    texts = {" / ".join(level): i for i, level in enumerate(group.levels)}
    absent = [name for name in asked.groups if name not in texts]
    if absent:
        raise InputError(
            f"{KEY}.groups names groups of '{asked.stratum}' that are not in the set: {', '.join(absent)}.",
            hint="Write them as the cells have them.",
        )
    return np.isin(group.index, [texts[name] for name in asked.groups])


def _score(
    asked: Outliers, name: str, answers: Answers, predictions: pd.DataFrame, embedding: Floats | None, fitted: Bools
) -> tuple[Floats, Bools, str | None]:
    """One score of every case, where it is known, and why there is none at all."""
    score = np.zeros(answers.n)
    nowhere = np.zeros(answers.n, dtype=bool)
    if name == "max_softmax":
        if answers.probability is None:
            return score, nowhere, "the scores are no probabilities"
        there = answers.has_output & np.isfinite(answers.probability).all(axis=1)
        made = softmax_score(answers.probability[there]) if there.any() else score[there]
    elif name == "energy":
        _, logits = output_columns(predictions, asked.logits, f"{KEY}.logits")
        there = answers.has_output & np.isfinite(logits).all(axis=1)
        made = energy_score(logits[there]) if there.any() else score[there]
    else:
        assert embedding is not None
        there = answers.has_output & np.isfinite(embedding).all(axis=1)
        behind = fitted & there
        least = asked.neighbours if name == "neighbours" else 2
        if behind.sum() < least:
            return score, nowhere, f"{int(behind.sum())} familiar cases to fit to, fewer than {least}"
        if name == "neighbours":
            made = neighbour_score(embedding[behind], embedding[there], neighbours=asked.neighbours)
        elif not np.ptp(embedding[behind], axis=0).any():
            return score, nowhere, "the embedding is the same in all familiar cases"
        else:
            # Familiar cases without an established reference belong to no class: they make one of their own.
            group = np.where(answers.settled, answers.reference, -1)[behind]
            made = mahalanobis_score(embedding[behind], group, embedding[there])
    score[there] = made
    return score, there, None


def _figures(
    protocol: StudyProtocol, answers: Answers, strange: Bools, score: Floats, chosen: Bools, why: str | None
) -> Iterator[tuple[str, Estimate]]:
    level = two_sided_level(protocol.confidence)
    who, truth, values = answers.patient_index[chosen], strange[chosen], score[chosen]
    n = int(chosen.sum())
    if why is None and (not truth.any() or truth.all()):
        why = "no unfamiliar cases" if not truth.any() else "no familiar cases"
    if why is not None:
        for metric in ("ood_auroc", "ood_fpr95"):
            yield metric, Estimate.not_estimable(why, n=n, level=level)
        return
    patients = len(np.unique(who))
    yield "ood_auroc", auroc(truth, values, level=level, method="newcombe", cluster=who, n_patients=patients)
    found = sensitivity_at_specificity(
        truth,
        values,
        ACCEPTED,
        level=level,
        replicates=protocol.confidence.bootstrap.replicates,
        seed=protocol.seed,
        cluster=who,
    )
    yield "ood_fpr95", _others(found)


def _others(found: Estimate) -> Estimate:
    """The share of what is left over, with its interval the other way round."""
    if found.value is None:
        return found
    low, high = (None, None) if found.low is None or found.high is None else (1.0 - found.high, 1.0 - found.low)
    return replace(found, value=1.0 - found.value, low=low, high=high, numerator=None, denominator=None)
