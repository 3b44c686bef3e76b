"""Whether a device names each class as often as the reference standard does: a test on the whole confusion matrix."""

from __future__ import annotations

from evalsuite.analyses.classes import ClassPopulation
from evalsuite.stats.clustered_tests import clustered_stuart_maxwell
from evalsuite.types import TestOutcome

#: What the report finds the test by.
NAME = "device and reference use the classes equally often"


def marginal_homogeneity(p: ClassPopulation) -> TestOutcome:
    """Stuart-Maxwell's test on the cases with an output and an established reference, patients as clusters."""
    m = p.has_output & p.has_reference
    return clustered_stuart_maxwell(p.predicted[m], p.reference[m], p.patient_index[m], p.k, name=NAME)
